//! The sequential oracle: what a job's output must be, computed the plain way. Every file is read whole,
//! mapped record by record into a list, sorted (stably, by decoded key), and given to the reducer. It never
//! combines, and shares no code with the task runtime (`crate::task`): they check each other.

use std::cell::Cell;
use std::cmp::Ordering;
use std::marker::PhantomData;

use mapreduce_protocol::{Failure, FailureKind, OutputForms, TaskKind};

use crate::api::{
    Compare, Counters, Datum, DecodeError, Grouping, Key, Mapper, Output, Partitioner, Record,
    Reducer, Sink, TaskContext, UserError, ValueSource, Values,
};
use crate::oracle_input::OracleInput;
use crate::oracle_output::{self, NamedLists, OracleOutput, Piece};

/// The text of the one part that a job without reduces has.
pub(crate) fn map_only<M: Mapper>(
    mapper: M,
    input: &[OracleInput],
    (task, forms): (&TaskContext, &OutputForms),
    counters: &mut Counters,
) -> Result<OracleOutput, Failure> {
    let mut list = OutputList::<M::Key, M::Value>::new(forms);
    let mut named = NamedLists::new(task.attempt.task);
    map_all(mapper, input, &mut list, (task, &mut named), counters)?;
    Ok(OracleOutput { parts: vec![list.bytes()?], named: named.written(forms)? })
}

/// A job with reduces.
pub(crate) struct Oracle<'a, K: Key, P> {
    /// Chooses the part.
    pub(crate) partitioner: &'a P,
    /// Which keys go together, if not only equal ones.
    pub(crate) grouping: Option<&'a Grouping<K>>,
    /// What maps are told they are; it knows how many parts there are.
    pub(crate) task: &'a TaskContext,
    /// What it writes.
    pub(crate) forms: &'a OutputForms,
}

impl<K: Key, P: Partitioner<K>> Oracle<'_, K, P> {
    /// All that it writes.
    pub(crate) fn run<M, R>(
        &self,
        mapper: M,
        mut reducer: R,
        input: &[OracleInput],
        counters: &mut Counters,
    ) -> Result<OracleOutput, Failure>
    where
        M: Mapper<Key = K>,
        R: Reducer<InKey = K, InValue = M::Value>,
    {
        let mut list = PairList::<K, M::Value>(Vec::new(), PhantomData);
        let mut named = NamedLists::new(self.task.attempt.task);
        map_all(mapper, input, &mut list, (self.task, &mut named), counters)?;
        let mut partitions = vec![Vec::new(); self.task.n_reduces as usize];
        for pair in list.0 {
            let partition = self.partition(&pair.0)?;
            match partitions.get_mut(partition as usize) {
                Some(partition) => partition.push(pair),
                None => {
                    let n = self.task.n_reduces;
                    let message = format!("the partitioner chose {partition} of {n} (from 0)");
                    return Err(failed(message));
                }
            }
        }
        let mut reduce = |(index, pairs)| {
            named.task = self.task.attempt.task.job.task(TaskKind::Reduce, index);
            self.reduce_all(&mut reducer, &mut named, pairs, counters)
        };
        let parts = (0..).zip(partitions).map(&mut reduce).collect::<Result<_, _>>()?;
        Ok(OracleOutput { parts, named: named.written(self.forms)? })
    }

    fn partition(&self, encoded: &[u8]) -> Result<u32, Failure> {
        let key = decode_key::<K>(encoded)?;
        let encoded = match self.grouping {
            Some(grouping) => grouping.fields.part_of(encoded).map_err(undecodable)?,
            None => encoded,
        };
        Ok(self.partitioner.partition(key, encoded, self.task.n_reduces))
    }

    fn reduce_all<R: Reducer<InKey = K>>(
        &self,
        reducer: &mut R,
        named: &mut NamedLists,
        mut pairs: Vec<Pair>,
        counters: &mut Counters,
    ) -> Result<Vec<u8>, Failure> {
        let attempt = named.task.attempt(0);
        let task = TaskContext { attempt, ..self.task.clone() };
        pairs.iter().try_for_each(|pair| decode_key::<K>(&pair.0).map(drop))?;
        let compare = |a: &Pair, b: &Pair, by: Compare<K>| match (K::decode(&a.0), K::decode(&b.0))
        {
            (Ok(a), Ok(b)) => by(a, b),
            _ => Ordering::Equal,
        };
        pairs.sort_by(|a, b| compare(a, b, K::compare));
        let by: Compare<K> = self.grouping.map_or(K::compare, |grouping| grouping.compare);
        let mut text = OutputList::<R::OutKey, R::OutValue>::new(self.forms);
        reducer
            .setup(&mut Output::new(&mut text, counters, named, &task))
            .map_err(|e| author(&e))?;
        for group in pairs.chunk_by(|a, b| compare(a, b, by).is_eq()) {
            let key = decode_key::<K>(&group[0].0)?;
            let mut values = ListValues { group, given: 0, refused: Cell::new(None) };
            let mut out = Output::new(&mut text, counters, named, &task);
            reducer.reduce(key, &mut Values::new(&mut values), &mut out).map_err(|e| author(&e))?;
            if let Some((what, error)) = values.refused.take() {
                return Err(failed(format!("a {what} can't be decoded: {error}")));
            }
            counters.add_own("REDUCE_INPUT_GROUPS", 1);
            counters.add_own("REDUCE_INPUT_RECORDS", group.len() as u64);
        }
        reducer
            .finish(&mut Output::new(&mut text, counters, named, &task))
            .map_err(|e| author(&e))?;
        text.bytes()
    }
}

fn map_all<M: Mapper>(
    mut mapper: M,
    input: &[OracleInput],
    sink: &mut dyn Sink<M::Key, M::Value>,
    (task, named): (&TaskContext, &mut NamedLists),
    counters: &mut Counters,
) -> Result<(), Failure> {
    mapper.setup(&mut Output::new(sink, counters, named, task)).map_err(|e| author(&e))?;
    for file in input {
        for (offset, key, value) in file.records()? {
            let record = Record { offset, key, value, path: &file.path };
            mapper
                .map(record, &mut Output::new(sink, counters, named, task))
                .map_err(|e| author(&e))?;
            counters.add_own("MAP_INPUT_RECORDS", 1);
        }
    }
    mapper.finish(&mut Output::new(sink, counters, named, task)).map_err(|e| author(&e))
}

type Pair = (Vec<u8>, Vec<u8>);

fn decode_key<K: Key>(bytes: &[u8]) -> Result<K::Ref<'_>, Failure> {
    K::decode(bytes).map_err(undecodable)
}

fn undecodable(error: DecodeError) -> Failure {
    failed(format!("a key can't be decoded: {error}"))
}

fn author(error: &UserError) -> Failure {
    failed(format!("the job's code failed: {error}"))
}

fn failed(message: String) -> Failure {
    Failure { kind: FailureKind::UserCode, message }
}

/// A map output: encoded pairs in the order of their coming.
struct PairList<K, V>(Vec<Pair>, PhantomData<fn() -> (K, V)>);

impl<K: Datum, V: Datum> Sink<K, V> for PairList<K, V> {
    fn emit(&mut self, key: K::Ref<'_>, value: V::Ref<'_>) {
        let mut pair = (Vec::new(), Vec::new());
        K::encode(key, &mut pair.0);
        V::encode(value, &mut pair.1);
        self.0.push(pair);
    }
}

/// A job's output, as pairs of what can be seen of them.
struct OutputList<'a, K, V> {
    forms: &'a OutputForms,
    records: Vec<(Piece, Piece)>,
    pair: PhantomData<fn() -> (K, V)>,
}

impl<'a, K: Datum, V: Datum> OutputList<'a, K, V> {
    fn new(forms: &'a OutputForms) -> Self {
        Self { forms, records: Vec::new(), pair: PhantomData }
    }

    /// Before compression.
    fn bytes(&self) -> Result<Vec<u8>, Failure> {
        oracle_output::written(&self.records, self.forms)
    }
}

impl<K: Datum, V: Datum> Sink<K, V> for OutputList<'_, K, V> {
    fn emit(&mut self, key: K::Ref<'_>, value: V::Ref<'_>) {
        self.records.push((Piece::of::<K>(key), Piece::of::<V>(value)));
    }
}

/// The values of one key.
struct ListValues<'a> {
    group: &'a [Pair],
    given: usize,
    refused: Cell<Option<(&'static str, DecodeError)>>,
}

impl ValueSource for ListValues<'_> {
    fn advance(&mut self) -> bool {
        let more = self.given < self.group.len() && self.refused.get().is_none();
        self.given += usize::from(more);
        more
    }

    fn current_key(&self) -> &[u8] {
        &self.group[self.given - 1].0
    }

    fn current(&self) -> &[u8] {
        &self.group[self.given - 1].1
    }

    fn refuse(&self, what: &'static str, error: DecodeError) {
        self.refused.set(Some((what, error)));
    }
}
