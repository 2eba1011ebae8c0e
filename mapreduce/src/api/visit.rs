//! What keys and values are made of, for outputs that have fields: `csv` and `json-lines`.

use super::Datum;

/// Is told of a key or value piece by piece, by [`Datum::visit`].
pub trait Visitor {
    /// `()`: there is nothing to write.
    fn nothing(&mut self);

    /// A value that is absent: an empty field of CSV, `null` in JSON.
    fn none(&mut self);

    /// Text, or bytes.
    fn bytes(&mut self, bytes: &[u8]);

    /// A number or a truth value, as JSON writes it.
    fn literal(&mut self, text: &str);

    /// Fields follow, with these names, or without any.
    fn begin(&mut self, names: &'static [&'static str]);

    /// There are no more fields of the last [`Visitor::begin`].
    fn end(&mut self);
}

/// A key and its value on their way into the job's output, whatever their types.
pub(crate) trait Pair {
    /// Appends the key as text; `false` if there is nothing to write.
    fn key_text(&self, out: &mut Vec<u8>) -> bool;

    /// Appends the value as text; `false` if there is nothing to write.
    fn value_text(&self, out: &mut Vec<u8>) -> bool;

    /// Appends both as a record without an end.
    fn record(&self, out: &mut Vec<u8>) {
        self.key_text(out);
        self.value_text(out);
    }

    /// Tells of the key.
    fn visit_key(&self, to: &mut dyn Visitor);

    /// Tells of the value.
    fn visit_value(&self, to: &mut dyn Visitor);
}

/// A pair of an author's types.
pub(crate) struct TypedPair<'k, 'v, K: Datum, V: Datum> {
    /// The key.
    pub(crate) key: K::Ref<'k>,
    /// The value.
    pub(crate) value: V::Ref<'v>,
}

impl<K: Datum, V: Datum> Pair for TypedPair<'_, '_, K, V> {
    fn key_text(&self, out: &mut Vec<u8>) -> bool {
        K::write_text(self.key, out)
    }

    fn value_text(&self, out: &mut Vec<u8>) -> bool {
        V::write_text(self.value, out)
    }

    fn visit_key(&self, to: &mut dyn Visitor) {
        K::visit(self.key, to);
    }

    fn visit_value(&self, to: &mut dyn Visitor) {
        V::visit(self.value, to);
    }
}
