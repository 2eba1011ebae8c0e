//! The sequential oracle: what a job's output must be, computed the plain way. Every file is read whole,
//! mapped line by line into a list, sorted (stably, by decoded key), and given to the reducer. It never
//! combines, and shares no code with the task runtime (`crate::task`): they check each other.

use std::cell::Cell;
use std::cmp::Ordering;
use std::marker::PhantomData;

use mapreduce_protocol::{Failure, FailureKind};

use crate::api::{
    Counters, Datum, DecodeError, Key, Mapper, Output, Partitioner, Record, Reducer, Sink,
    UserError, ValueSource, Values,
};

/// One file of the input.
pub(crate) struct OracleInput {
    /// Its path.
    pub(crate) path: String,
    /// Its bytes.
    pub(crate) data: Vec<u8>,
}

/// The text of the one part that a job without reduces has.
pub(crate) fn map_only<M: Mapper>(
    mapper: M,
    input: &[OracleInput],
    counters: &mut Counters,
) -> Result<Vec<Vec<u8>>, Failure> {
    let mut text = TextList::<M::Key, M::Value>(Vec::new(), PhantomData);
    map_all(mapper, input, &mut text, counters)?;
    Ok(vec![text.0])
}

/// The text of each part.
pub(crate) fn run<M, R, P>(
    mapper: M,
    mut reducer: R,
    partitioner: &P,
    input: &[OracleInput],
    n_reduces: u32,
    counters: &mut Counters,
) -> Result<Vec<Vec<u8>>, Failure>
where
    M: Mapper,
    R: Reducer<InKey = M::Key, InValue = M::Value>,
    P: Partitioner<M::Key>,
{
    let mut list = PairList::<M::Key, M::Value>(Vec::new(), PhantomData);
    map_all(mapper, input, &mut list, counters)?;
    let mut partitions = vec![Vec::new(); n_reduces as usize];
    for pair in list.0 {
        let key = decode_key::<M::Key>(&pair.0)?;
        let partition = partitioner.partition(key, &pair.0, n_reduces);
        match partitions.get_mut(partition as usize) {
            Some(partition) => partition.push(pair),
            None => {
                let message = format!("the partitioner chose {partition} of {n_reduces} (from 0)");
                return Err(failed(message));
            }
        }
    }
    partitions.into_iter().map(|pairs| reduce_all(&mut reducer, pairs, counters)).collect()
}

fn map_all<M: Mapper>(
    mut mapper: M,
    input: &[OracleInput],
    sink: &mut dyn Sink<M::Key, M::Value>,
    counters: &mut Counters,
) -> Result<(), Failure> {
    mapper.setup(&mut Output::new(sink, counters)).map_err(|e| author(&e))?;
    for OracleInput { path, data } in input {
        let mut offset = 0;
        for line in data.split_inclusive(|byte| *byte == b'\n') {
            let value = match line {
                [value @ .., b'\n'] => value,
                value => value,
            };
            let record = Record { offset, value, path };
            mapper.map(record, &mut Output::new(sink, counters)).map_err(|e| author(&e))?;
            counters.add_own("MAP_INPUT_RECORDS", 1);
            offset += line.len() as u64;
        }
    }
    mapper.finish(&mut Output::new(sink, counters)).map_err(|e| author(&e))
}

type Pair = (Vec<u8>, Vec<u8>);

fn reduce_all<R: Reducer>(
    reducer: &mut R,
    mut pairs: Vec<Pair>,
    counters: &mut Counters,
) -> Result<Vec<u8>, Failure> {
    pairs.iter().try_for_each(|pair| decode_key::<R::InKey>(&pair.0).map(drop))?;
    let compare = |a: &Pair, b: &Pair| match (R::InKey::decode(&a.0), R::InKey::decode(&b.0)) {
        (Ok(a), Ok(b)) => R::InKey::compare(a, b),
        _ => Ordering::Equal,
    };
    pairs.sort_by(compare);
    let mut text = TextList::<R::OutKey, R::OutValue>(Vec::new(), PhantomData);
    reducer.setup(&mut Output::new(&mut text, counters)).map_err(|e| author(&e))?;
    for group in pairs.chunk_by(|a, b| compare(a, b) == Ordering::Equal) {
        let key = decode_key::<R::InKey>(&group[0].0)?;
        let mut values = ListValues { group, given: 0, refused: Cell::new(None) };
        let mut out = Output::new(&mut text, counters);
        reducer.reduce(key, &mut Values::new(&mut values), &mut out).map_err(|e| author(&e))?;
        if let Some(error) = values.refused.take() {
            return Err(failed(format!("a value can't be decoded: {error}")));
        }
        counters.add_own("REDUCE_INPUT_GROUPS", 1);
        counters.add_own("REDUCE_INPUT_RECORDS", group.len() as u64);
    }
    reducer.finish(&mut Output::new(&mut text, counters)).map_err(|e| author(&e))?;
    Ok(text.0)
}

fn decode_key<K: Key>(bytes: &[u8]) -> Result<K::Ref<'_>, Failure> {
    K::decode(bytes).map_err(|error| failed(format!("a key can't be decoded: {error}")))
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

/// Lines of output.
struct TextList<K, V>(Vec<u8>, PhantomData<fn() -> (K, V)>);

impl<K: Datum, V: Datum> Sink<K, V> for TextList<K, V> {
    fn emit(&mut self, key: K::Ref<'_>, value: V::Ref<'_>) {
        let (mut key_text, mut value_text) = (Vec::new(), Vec::new());
        let has_key = K::write_text(key, &mut key_text);
        let has_value = V::write_text(value, &mut value_text);
        let tab: &[u8] = if has_key && has_value { b"\t" } else { b"" };
        self.0.extend([&key_text, tab, &value_text, b"\n"].concat());
    }
}

/// The values of one key.
struct ListValues<'a> {
    group: &'a [Pair],
    given: usize,
    refused: Cell<Option<DecodeError>>,
}

impl ValueSource for ListValues<'_> {
    fn advance(&mut self) -> bool {
        let more = self.given < self.group.len() && self.refused.get().is_none();
        self.given += usize::from(more);
        more
    }

    fn current(&self) -> &[u8] {
        &self.group[self.given - 1].1
    }

    fn refuse(&self, error: DecodeError) {
        self.refused.set(Some(error));
    }
}
