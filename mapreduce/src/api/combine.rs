//! [`Combiner`]: folding equal keys' values before they are sorted, spilled or sent.

use std::marker::PhantomData;

use super::{Datum, Key, Output, Reducer, UserError, Values};

/// An associative fold of two values of one key (Hadoop: `Combiner`, but of two values instead of a
/// list, so that the map side can fold in a hash table). It is called any number of times, also never;
/// the earlier value is always on the left.
///
/// Which values are folded together depends on how the input is split, on buffers and on what is merged when. That is seen of
/// nothing that is truly associative. A sum of `f64` is not, since each addition rounds: its last digits differ
/// between a cluster, `howdah local` and one sequential run, and change with the size of splits and of
/// `task.sort_buffer`. From run to run they stay, since of values that hold floating-point numbers ([`Datum::ROUNDS`]) only maps
/// fold, and those by bytes alone. Who wants them the same everywhere adds whole numbers (cents), or combines nothing.
pub trait Combiner {
    /// Keys of the map output.
    type Key: Key;
    /// Values of the map output.
    type Value: Datum;

    /// Writes the one value that stands for both.
    ///
    /// # Errors
    /// Any error ends the attempt.
    fn combine(
        &mut self,
        key: <Self::Key as Datum>::Ref<'_>,
        left: <Self::Value as Datum>::Ref<'_>,
        right: <Self::Value as Datum>::Ref<'_>,
        out: &mut Combined<'_, Self::Value>,
    ) -> Result<(), UserError>;
}

/// Where a combiner writes its value.
pub struct Combined<'a, V: Datum> {
    out: &'a mut Vec<u8>,
    written: bool,
    value: PhantomData<fn() -> V>,
}

impl<'a, V: Datum> Combined<'a, V> {
    /// `out` will hold nothing but the value.
    #[inline]
    pub(crate) fn new(out: &'a mut Vec<u8>) -> Self {
        out.clear();
        Self { out, written: false, value: PhantomData }
    }

    /// Sets the value; the last call counts.
    #[inline]
    pub fn set(&mut self, value: V::Ref<'_>) {
        self.out.clear();
        V::encode(value, self.out);
        self.written = true;
    }

    /// Whether a value was set.
    #[inline]
    pub(crate) fn is_written(&self) -> bool {
        self.written
    }
}

/// The combiner of jobs that have none; there is no value of this type.
pub enum NoCombiner<K, V> {
    #[doc(hidden)]
    _Never(std::convert::Infallible, PhantomData<fn() -> (K, V)>),
}

impl<K: Key, V: Datum> Combiner for NoCombiner<K, V> {
    type Key = K;
    type Value = V;

    fn combine(
        &mut self,
        _: K::Ref<'_>,
        _: V::Ref<'_>,
        _: V::Ref<'_>,
        _: &mut Combined<'_, V>,
    ) -> Result<(), UserError> {
        match *self {
            Self::_Never(never, _) => match never {},
        }
    }
}

/// The reducer of jobs that name a combiner alone: writes each key once, with all of its values folded, so that nothing depends
/// on which of them the map side had folded already.
pub(crate) struct Folding<C> {
    combiner: C,
    /// The key under way, and what stands for its values so far.
    key: Vec<u8>,
    value: Vec<u8>,
    next: Vec<u8>,
}

impl<C> Folding<C> {
    /// By this combiner.
    pub(crate) fn by(combiner: C) -> Self {
        Self { combiner, key: Vec::new(), value: Vec::new(), next: Vec::new() }
    }
}

impl<C: Combiner> Folding<C> {
    /// Folds one more value of the key under way.
    fn fold(&mut self, right: <C::Value as Datum>::Ref<'_>) -> Result<(), UserError> {
        let (key, left) = (C::Key::decode(&self.key)?, C::Value::decode(&self.value)?);
        let mut combined = Combined::new(&mut self.next);
        self.combiner.combine(key, left, right, &mut combined)?;
        if !combined.is_written() {
            return Err("the combiner set no value".into());
        }
        std::mem::swap(&mut self.value, &mut self.next);
        Ok(())
    }

    fn write(&self, out: &mut Output<'_, C::Key, C::Value>) -> Result<(), UserError> {
        out.emit(C::Key::decode(&self.key)?, C::Value::decode(&self.value)?);
        Ok(())
    }
}

impl<C: Combiner> Reducer for Folding<C> {
    type InKey = C::Key;
    type InValue = C::Value;
    type OutKey = C::Key;
    type OutValue = C::Value;

    fn reduce(
        &mut self,
        _: <C::Key as Datum>::Ref<'_>,
        values: &mut Values<'_, C::Key, C::Value>,
        out: &mut Output<'_, C::Key, C::Value>,
    ) -> Result<(), UserError> {
        let mut has_key = false;
        // Where keys are grouped by fewer of their fields, several come.
        while let Some((key, value)) = values.next_pair() {
            self.next.clear();
            C::Key::encode(key, &mut self.next);
            if has_key && self.next == self.key {
                self.fold(value)?;
                continue;
            }
            if has_key {
                self.write(out)?;
            }
            has_key = true;
            std::mem::swap(&mut self.key, &mut self.next);
            self.value.clear();
            C::Value::encode(value, &mut self.value);
        }
        if has_key { self.write(out) } else { Ok(()) }
    }
}
