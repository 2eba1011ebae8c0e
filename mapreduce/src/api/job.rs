//! [`Job`]: a mapper with its combiner, partitioner and reducer, first with their types, then as one
//! program that the task runtime, the local runner and the oracle can run.

use std::sync::Arc;

use super::{
    CombineFn, Combined, Combiner, Datum, Fields, Grouping, HashPartitioner, Identity,
    InputMappers, Inputs, Key, MapFn, Mapper, NoCombiner, Output, Partitioner, Record, ReduceFn,
    Reducer, UserError, Values,
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
pub struct JobOf<M: Mapper, C, R, P = HashPartitioner> {
    pub(crate) mapper: Factory<M>,
    pub(crate) combiner: Option<Factory<C>>,
    pub(crate) reducer: Factory<R>,
    pub(crate) partitioner: P,
    /// If not by the whole key.
    pub(crate) grouping: Option<Grouping<M::Key>>,
    /// Whether the author named a reducer.
    pub(crate) reduces: bool,
}

/// A job as [`Job::input`] begins it.
type InputsJob<K, V> = MapJob<InputMappers<K, V>, K, V>;

/// A job as [`Job::new`] begins it.
type MapJob<M, K, V> = JobOf<M, NoCombiner<K, V>, Identity<K, V>>;

impl Job {
    /// Begins a job with a factory of mappers: one is made for each attempt. Without a reducer the job
    /// is map-only if it is run with 0 reduces; with more (1 if nobody says), each writes its pairs sorted, and with a
    /// combiner one for each key.
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
            grouping: None,
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

    /// Begins a job of several inputs with a mapper each, by the one of `path`: a file or folder, absolute as in the
    /// job file; or only the last of its folders' names (`orders`, `2026/orders`), wherever they stand in a
    /// path; `/` is every path. Of several that fit, the one that stands deepest in a file's path reads it; where none does,
    /// the job fails.
    ///
    /// ```
    /// use mapreduce::{Job, Text};
    ///
    /// // Of each user, the name and then the orders: what comes first has the smaller number.
    /// let job = Job::map_input::<(Text, u8), Text>("users", |line, out| {
    ///     let (id, name) = str::from_utf8(line.value)?.split_once(',').ok_or("no comma")?;
    ///     out.emit((id, 0), name);
    ///     Ok(())
    /// })
    /// .map_input("orders", |line, out| {
    ///     let (user, order) = str::from_utf8(line.value)?.split_once(',').ok_or("no comma")?;
    ///     out.emit((user, 1), order);
    ///     Ok(())
    /// })
    /// .group_by::<1>();
    /// let _: Job = job.into();
    /// ```
    pub fn map_input<K, V>(
        path: &str,
        map: impl Fn(Record<'_>, &mut Output<'_, K, V>) -> Result<(), UserError>
        + Clone
        + Send
        + Sync
        + 'static,
    ) -> InputsJob<K, V>
    where
        K: Key,
        V: Datum,
    {
        Self::input(path, move || MapFn::new(map.clone()))
    }

    /// Begins a job of several inputs with a mapper each ([`Job::map_input`]), by a factory.
    pub fn input<M, F>(path: &str, mapper: F) -> InputsJob<M::Key, M::Value>
    where
        M: Mapper + 'static,
        F: Fn() -> M + Send + Sync + 'static,
    {
        let inputs = Inputs::and(&[], path, mapper);
        Self::new(move || inputs.mappers())
    }

    /// Whether the author named a reducer: such a job needs at least one reduce.
    #[must_use]
    pub fn has_reducer(&self) -> bool {
        self.program.has_reducer()
    }

    /// Why it can't be run with so many reduces, if it can't.
    pub(crate) fn refused_with(&self, n_reduces: u32) -> Option<&'static str> {
        if n_reduces > 0 {
            return None;
        }
        if self.has_reducer() {
            return Some(
                "the program has a reducer, but the job has no reduces: set 'reduces' to 1 or more",
            );
        }
        self.program.has_combiner().then_some(
            "the program has a combiner, but the job has no reduces, and maps alone combine nothing: set 'reduces' to 1 or more",
        )
    }
}

impl<M, C, R, P> JobOf<M, C, R, P>
where
    M: Mapper + 'static,
{
    /// Folds equal keys' values on the map side already. Without a reducer each key is written once, with what all of its
    /// values fold into.
    ///
    /// ```
    /// use mapreduce::{Bytes, Job, words};
    ///
    /// let job: Job = Job::map::<Bytes, u64>(|line, out| {
    ///     words(line.value).for_each(|word| out.emit(word, 1));
    ///     Ok(())
    /// })
    /// .combine(|earlier, later, one| one.set(earlier + later))
    /// .into();
    /// assert_eq!(job.run_on(["b a", "a"]).unwrap().lines, ["a\t2", "b\t1"]);
    /// ```
    pub fn combiner<D, F>(self, combiner: F) -> JobOf<M, D, R, P>
    where
        D: Combiner<Key = M::Key, Value = M::Value> + 'static,
        F: Fn() -> D + Send + Sync + 'static,
    {
        let Self { mapper, reducer, partitioner, grouping, reduces, .. } = self;
        let combiner: Option<Factory<D>> = Some(Arc::new(combiner));
        JobOf { mapper, combiner, reducer, partitioner, grouping, reduces }
    }

    /// Folds with an associative closure, which sets the one value that stands for the earlier and the
    /// later one. Sums of floating-point numbers are not quite that: see [`Combiner`].
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
        let Self { mapper, combiner, partitioner, grouping, .. } = self;
        let reducer = Arc::new(reducer);
        JobOf { mapper, combiner, reducer, partitioner, grouping, reduces: true }
    }

    /// Reduces with a closure that writes `K` and `V`.
    pub fn reduce<K, V>(
        self,
        reduce: impl Fn(
            <M::Key as Datum>::Ref<'_>,
            &mut Values<'_, M::Key, M::Value>,
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

    /// Groups by the first `N` fields of the key, and sorts by all (Hadoop: secondary sort). One call of the reducer
    /// gets the values of all keys that agree in them, in the order of their keys: by [`Values::next_pair`], each with
    /// its own. Its key is the first of them. These fields alone choose the partition; a combiner still folds
    /// values of equal whole keys.
    ///
    /// ```
    /// use mapreduce::{Bytes, Desc, Job, words};
    ///
    /// // Of lines `station temperature`, each station's maximum: the first one of its values.
    /// let job = Job::map::<(Bytes, Desc<i32>), ()>(|line, out| {
    ///     let mut fields = words(line.value);
    ///     if let (Some(station), Some(text)) = (fields.next(), fields.next()) {
    ///         out.emit((station, str::from_utf8(text)?.parse()?), ());
    ///     }
    ///     Ok(())
    /// })
    /// .group_by::<1>()
    /// .reduce::<Bytes, i32>(|(station, highest), _, out| {
    ///     out.emit(station, highest);
    ///     Ok(())
    /// });
    /// let _: Job = job.into();
    /// ```
    ///
    /// Of more fields than there are it does not compile:
    ///
    /// ```compile_fail,E0080
    /// use mapreduce::{Job, Text};
    ///
    /// let job = Job::map::<(Text, u64), ()>(|_, _| Ok(())).group_by::<3>();
    /// ```
    #[must_use]
    pub fn group_by<const N: usize>(self) -> Self
    where
        M::Key: Fields,
    {
        Self { grouping: Grouping::by::<N>(), ..self }
    }

    /// Chooses which reduce a key goes to, instead of by its hash.
    pub fn partitioner<Q: Partitioner<M::Key>>(self, partitioner: Q) -> JobOf<M, C, R, Q> {
        let Self { mapper, combiner, reducer, grouping, reduces, .. } = self;
        JobOf { mapper, combiner, reducer, partitioner, grouping, reduces }
    }
}

impl<K: Key, V: Datum, C, R, P> JobOf<InputMappers<K, V>, C, R, P> {
    /// Reads one more input, by a closure ([`Job::map_input`]).
    #[must_use]
    pub fn map_input(
        self,
        path: &str,
        map: impl Fn(Record<'_>, &mut Output<'_, K, V>) -> Result<(), UserError>
        + Clone
        + Send
        + Sync
        + 'static,
    ) -> Self {
        self.input(path, move || MapFn::new(map.clone()))
    }

    /// Reads one more input, by a factory ([`Job::input`]).
    #[must_use]
    pub fn input<M, F>(self, path: &str, mapper: F) -> Self
    where
        M: Mapper<Key = K, Value = V> + 'static,
        F: Fn() -> M + Send + Sync + 'static,
    {
        let inputs = Inputs::and((self.mapper)().inputs(), path, mapper);
        Self { mapper: Arc::new(move || inputs.mappers()), ..self }
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
