//! Closures as mappers, combiners and reducers, for jobs that keep no state between calls.

use std::marker::PhantomData;

use super::{Combined, Combiner, Datum, Key, Mapper, Output, Record, Reducer, UserError, Values};

/// A closure as a [`Mapper`]; made by [`crate::Job::map`].
pub struct MapFn<K, V, F> {
    map: F,
    pair: PhantomData<fn() -> (K, V)>,
}

impl<K, V, F> MapFn<K, V, F> {
    pub(crate) fn new(map: F) -> Self {
        Self { map, pair: PhantomData }
    }
}

impl<K, V, F> Mapper for MapFn<K, V, F>
where
    K: Key,
    V: Datum,
    F: FnMut(Record<'_>, &mut Output<'_, K, V>) -> Result<(), UserError>,
{
    type Key = K;
    type Value = V;

    #[inline]
    fn map(&mut self, record: Record<'_>, out: &mut Output<'_, K, V>) -> Result<(), UserError> {
        (self.map)(record, out)
    }
}

/// A closure as a [`Combiner`]; made by [`crate::JobOf::combine`].
pub struct CombineFn<K, V, F> {
    combine: F,
    pair: PhantomData<fn() -> (K, V)>,
}

impl<K, V, F> CombineFn<K, V, F> {
    pub(crate) fn new(combine: F) -> Self {
        Self { combine, pair: PhantomData }
    }
}

impl<K, V, F> Combiner for CombineFn<K, V, F>
where
    K: Key,
    V: Datum,
    F: FnMut(V::Ref<'_>, V::Ref<'_>, &mut Combined<'_, V>),
{
    type Key = K;
    type Value = V;

    #[inline]
    fn combine(
        &mut self,
        _: K::Ref<'_>,
        left: V::Ref<'_>,
        right: V::Ref<'_>,
        out: &mut Combined<'_, V>,
    ) -> Result<(), UserError> {
        (self.combine)(left, right, out);
        Ok(())
    }
}

/// A closure as a [`Reducer`]; made by [`crate::JobOf::reduce`].
pub struct ReduceFn<IK, IV, OK, OV, F> {
    reduce: F,
    #[allow(clippy::type_complexity)] // Four names in a row.
    pairs: PhantomData<fn() -> (IK, IV, OK, OV)>,
}

impl<IK, IV, OK, OV, F> ReduceFn<IK, IV, OK, OV, F> {
    pub(crate) fn new(reduce: F) -> Self {
        Self { reduce, pairs: PhantomData }
    }
}

impl<IK, IV, OK, OV, F> Reducer for ReduceFn<IK, IV, OK, OV, F>
where
    IK: Key,
    IV: Datum,
    OK: Datum,
    OV: Datum,
    F: FnMut(
        IK::Ref<'_>,
        &mut Values<'_, IK, IV>,
        &mut Output<'_, OK, OV>,
    ) -> Result<(), UserError>,
{
    type InKey = IK;
    type InValue = IV;
    type OutKey = OK;
    type OutValue = OV;

    fn reduce(
        &mut self,
        key: IK::Ref<'_>,
        values: &mut Values<'_, IK, IV>,
        out: &mut Output<'_, OK, OV>,
    ) -> Result<(), UserError> {
        (self.reduce)(key, values, out)
    }
}
