//! [`Job`]: a mapper with its combiner, partitioner and reducer, first with their types, then as one
//! program that the task runtime, the local runner and the oracle can run.

use std::sync::Arc;

use super::{
    CombineFn, Combined, Combiner, Datum, HashPartitioner, Identity, Key, MapFn, Mapper,
    NoCombiner, Output, Partitioner, Record, ReduceFn, Reducer, UserError, Values,
};
use crate::program::Program;

/// Makes one mapper, combiner or reducer for each attempt.
pub(crate) type Factory<T> = Arc<dyn Fn() -> T + Send + Sync>;

/// What a job runs.
#[derive(Clone)]
pub struct Job {
    pub(crate) program: Arc<dyn Program>,
}

/// A job whose types are still known; it becomes a [`Job`] by `into()`, which [`crate::main`] does itself.
pub struct JobOf<M, C, R, P = HashPartitioner> {
    pub(crate) mapper: Factory<M>,
    pub(crate) combiner: Option<Factory<C>>,
    pub(crate) reducer: Factory<R>,
    pub(crate) partitioner: P,
    /// Whether the author named a reducer.
    pub(crate) reduces: bool,
}

/// A job as [`Job::new`] begins it.
type MapJob<M, K, V> = JobOf<M, NoCombiner<K, V>, Identity<K, V>>;

impl Job {
    /// Begins a job with a factory of mappers: one is made for each attempt. Without a reducer the job
    /// is map-only if it is run with 0 reduces; with more, each writes its pairs sorted.
    #[allow(clippy::new_ret_no_self)] // It becomes one when all its parts are named.
    pub fn new<M, F>(mapper: F) -> MapJob<M, M::Key, M::Value>
    where
        M: Mapper + 'static,
        F: Fn() -> M + Send + Sync + 'static,
    {
        JobOf {
            mapper: Arc::new(mapper),
            combiner: None,
            reducer: Arc::new(Identity::default),
            partitioner: HashPartitioner,
            reduces: false,
        }
    }

    /// Begins a job with a closure as its mapper.
    pub fn map<K, V>(
        map: impl Fn(Record<'_>, &mut Output<'_, K, V>) -> Result<(), UserError>
        + Clone
        + Send
        + Sync
        + 'static,
    ) -> MapJob<impl Mapper<Key = K, Value = V> + 'static, K, V>
    where
        K: Key,
        V: Datum,
    {
        Self::new(move || MapFn::new(map.clone()))
    }

    /// Whether the author named a reducer: such a job needs at least one reduce.
    #[must_use]
    pub fn has_reducer(&self) -> bool {
        self.program.has_reducer()
    }
}

impl<M, C, R, P> JobOf<M, C, R, P>
where
    M: Mapper + 'static,
{
    /// Folds equal keys' values on the map side already.
    pub fn combiner<D, F>(self, combiner: F) -> JobOf<M, D, R, P>
    where
        D: Combiner<Key = M::Key, Value = M::Value> + 'static,
        F: Fn() -> D + Send + Sync + 'static,
    {
        let Self { mapper, reducer, partitioner, reduces, .. } = self;
        JobOf { mapper, combiner: Some(Arc::new(combiner)), reducer, partitioner, reduces }
    }

    /// Folds with an associative closure, which sets the one value that stands for the earlier and the
    /// later one.
    pub fn combine(
        self,
        combine: impl Fn(
            <M::Value as Datum>::Ref<'_>,
            <M::Value as Datum>::Ref<'_>,
            &mut Combined<'_, M::Value>,
        ) + Clone
        + Send
        + Sync
        + 'static,
    ) -> JobOf<M, impl Combiner<Key = M::Key, Value = M::Value> + 'static, R, P> {
        self.combiner(move || CombineFn::<M::Key, M::Value, _>::new(combine.clone()))
    }

    /// Names the reducer, by a factory: one is made for each attempt.
    pub fn reducer<S, F>(self, reducer: F) -> JobOf<M, C, S, P>
    where
        S: Reducer<InKey = M::Key, InValue = M::Value> + 'static,
        F: Fn() -> S + Send + Sync + 'static,
    {
        let Self { mapper, combiner, partitioner, .. } = self;
        JobOf { mapper, combiner, reducer: Arc::new(reducer), partitioner, reduces: true }
    }

    /// Reduces with a closure that writes `K` and `V`.
    pub fn reduce<K, V>(
        self,
        reduce: impl Fn(
            <M::Key as Datum>::Ref<'_>,
            &mut Values<'_, M::Value>,
            &mut Output<'_, K, V>,
        ) -> Result<(), UserError>
        + Clone
        + Send
        + Sync
        + 'static,
    ) -> JobOf<M, C, impl Reducer<InKey = M::Key, InValue = M::Value> + 'static, P>
    where
        K: Datum,
        V: Datum,
    {
        self.reducer(move || ReduceFn::<M::Key, M::Value, K, V, _>::new(reduce.clone()))
    }

    /// Chooses which reduce a key goes to, instead of by its hash.
    pub fn partitioner<Q: Partitioner<M::Key>>(self, partitioner: Q) -> JobOf<M, C, R, Q> {
        let Self { mapper, combiner, reducer, reduces, .. } = self;
        JobOf { mapper, combiner, reducer, partitioner, reduces }
    }
}

impl<M, C, R, P> From<JobOf<M, C, R, P>> for Job
where
    M: Mapper + 'static,
    C: Combiner<Key = M::Key, Value = M::Value> + 'static,
    R: Reducer<InKey = M::Key, InValue = M::Value> + 'static,
    P: Partitioner<M::Key> + Send + Sync + 'static,
{
    fn from(job: JobOf<M, C, R, P>) -> Self {
        Self { program: Arc::new(job) }
    }
}
