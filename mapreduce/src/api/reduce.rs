//! The reduce side of a job: [`Reducer`] and the [`Values`] it is given.

use std::marker::PhantomData;

use super::{Datum, DecodeError, Key, Output, UserError};

/// The author's reduce function (Hadoop: `Reducer`). One is made for each attempt, and lives on one
/// thread.
pub trait Reducer {
    /// Keys of the map output.
    type InKey: Key;
    /// Values of the map output.
    type InValue: Datum;
    /// First part of the lines it writes.
    type OutKey: Datum;
    /// Second part of the lines it writes; `()` for none, and then no tab.
    type OutValue: Datum;

    /// Called before the first key.
    ///
    /// # Errors
    /// Any error ends the attempt.
    fn setup(
        &mut self,
        out: &mut Output<'_, Self::OutKey, Self::OutValue>,
    ) -> Result<(), UserError> {
        let _ = out;
        Ok(())
    }

    /// Called for each key, in the order of keys; of several that are grouped ([`crate::JobOf::group_by`]), with the
    /// first. `values` come by key, of one key by map and in the order in which each
    /// map emitted them; those that are not asked for are skipped.
    ///
    /// # Errors
    /// Any error ends the attempt.
    fn reduce(
        &mut self,
        key: <Self::InKey as Datum>::Ref<'_>,
        values: &mut Values<'_, Self::InKey, Self::InValue>,
        out: &mut Output<'_, Self::OutKey, Self::OutValue>,
    ) -> Result<(), UserError>;

    /// Called after the last key.
    ///
    /// # Errors
    /// Any error ends the attempt.
    fn finish(
        &mut self,
        out: &mut Output<'_, Self::OutKey, Self::OutValue>,
    ) -> Result<(), UserError> {
        let _ = out;
        Ok(())
    }
}

/// Where the values of one key come from: a merge, or the oracle's list.
pub(crate) trait ValueSource {
    /// Steps to the next value; `false` after the last one or a failure, which the source keeps.
    fn advance(&mut self) -> bool;

    /// The encoded key of the value stepped to.
    fn current_key(&self) -> &[u8];

    /// The encoding of the value stepped to.
    fn current(&self) -> &[u8];

    /// The pair just given can't be decoded: it is the last one. (By `&self`: a value that is returned
    /// borrows from the source to the end of the call.)
    fn refuse(&self, what: &'static str, error: DecodeError);
}

/// The values of one key, or of the keys that are grouped, each seen once. For types that borrow nothing (numbers, and
/// what is made of them) it is also an [`Iterator`]: `values.sum()`.
pub struct Values<'a, K: Key, V: Datum> {
    source: &'a mut dyn ValueSource,
    pair: PhantomData<fn() -> (K, V)>,
}

impl<'a, K: Key, V: Datum> Values<'a, K, V> {
    pub(crate) fn new(source: &'a mut dyn ValueSource) -> Self {
        Self { source, pair: PhantomData }
    }

    /// The next value, valid until the next call.
    #[allow(clippy::should_implement_trait)] // An Iterator's items can't borrow from it.
    pub fn next(&mut self) -> Option<V::Ref<'_>> {
        if !self.source.advance() {
            return None;
        }
        let source = &*self.source;
        match V::decode(source.current()) {
            Ok(value) => Some(value),
            Err(error) => {
                source.refuse("value", error);
                None
            }
        }
    }

    /// The next value with its whole key, both valid until the next call: for jobs that group by fewer fields
    /// than they sort by.
    pub fn next_pair(&mut self) -> Option<(K::Ref<'_>, V::Ref<'_>)> {
        if !self.source.advance() {
            return None;
        }
        let source = &*self.source;
        let key = K::decode(source.current_key()).map_err(|error| source.refuse("key", error));
        let value = V::decode(source.current()).map_err(|error| source.refuse("value", error));
        key.ok().zip(value.ok())
    }
}

impl<K, V> Iterator for Values<'_, K, V>
where
    K: Key,
    V: for<'r> Datum<Ref<'r> = V>,
{
    type Item = V;

    fn next(&mut self) -> Option<V> {
        Values::next(self)
    }
}

/// The reducer of jobs that name neither one nor a combiner: writes every pair as it is, sorted by key (Hadoop: the default
/// `Reducer`). Behind a combiner it writes what is folded so far, which depends on splits and buffers: there, name none.
pub struct Identity<K, V>(PhantomData<fn() -> (K, V)>);

impl<K, V> Default for Identity<K, V> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<K: Key, V: Datum> Reducer for Identity<K, V> {
    type InKey = K;
    type InValue = V;
    type OutKey = K;
    type OutValue = V;

    fn reduce(
        &mut self,
        _: K::Ref<'_>,
        values: &mut Values<'_, K, V>,
        out: &mut Output<'_, K, V>,
    ) -> Result<(), UserError> {
        while let Some((key, value)) = values.next_pair() {
            out.emit(key, value);
        }
        Ok(())
    }
}
