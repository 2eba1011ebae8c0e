//! [`Combiner`]: folding equal keys' values before they are sorted, spilled or sent.

use std::marker::PhantomData;

use super::{Datum, Key, UserError};

/// An associative fold of two values of one key (Hadoop: `Combiner`, but of two values instead of a
/// list, so that the map side can fold in a hash table). It is called any number of times, also never;
/// the earlier value is always on the left.
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
