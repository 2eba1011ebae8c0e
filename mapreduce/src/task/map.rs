//! The map task: lines of the split → the author's mapper → the collector or the job's output.

use std::path::Path;

use mapreduce_protocol::{Failure, Formats, OutputForms, OutputSizes, Split, TaskSettings};

use super::collector::{Buffer, Collector, CollectorSettings, buffer_budget};
use super::combine_table::CombineTable;
use super::failure;
use super::named::Named;
use super::part_output::{PartOutput, PartSink};
use super::partitions::Partitions;
use super::progress::Progress;
use super::records::{RawRecord, Records};
use super::skips::{Skips, keep_aside};
use super::sort_buffer::SortBuffer;
use super::storage::Input;
use crate::api::{Combiner, Counters, Mapper, Output, Partitioner, Record, Sink, UserError};
use crate::api::{Datum, TaskContext};

/// Records between two reckonings of how far the map is.
const RECORDS_PER_RECKONING: u64 = 64;

/// What a map is given.
pub(crate) struct MapTask<'a> {
    /// What to read.
    pub(crate) split: &'a Split,
    /// From where.
    pub(crate) input: &'a dyn Input,
    /// How its files are read.
    pub(crate) formats: &'a Formats,
    /// How it writes.
    pub(crate) forms: &'a OutputForms,
    /// Reduces of the job.
    pub(crate) n_partitions: u32,
    /// The attempt's folder.
    pub(crate) folder: &'a Path,
    /// Where the map output goes; it does not exist.
    pub(crate) map_output: &'a Path,
    /// Limits.
    pub(crate) settings: &'a TaskSettings,
    /// Who it is.
    pub(crate) identity: &'a TaskContext,
    /// How far it is.
    pub(crate) progress: Progress,
    /// Sums.
    pub(crate) counters: Counters,
    /// What it writes beside its output.
    pub(crate) named: Named<'a>,
    /// How its output is spread over the reduces, once it is written.
    pub(crate) sizes: Option<OutputSizes>,
    /// What it leaves out, where its job may leave records out.
    pub(crate) skips: Option<Skips>,
}

/// Maps through a hash table that combines.
pub(crate) fn with_combiner<M, C, P>(
    mapper: M,
    combiner: C,
    partitions: Partitions<'_, P>,
    task: &mut MapTask<'_>,
) -> Result<String, Failure>
where
    M: Mapper,
    C: Combiner<Key = M::Key, Value = M::Value> + 'static,
    P: Partitioner<M::Key>,
{
    let table = CombineTable::new(combiner, partitions, buffer_budget(task.settings));
    collect(mapper, table, task)
}

/// Maps through a plain sort buffer.
pub(crate) fn without_combiner<M, P>(
    mapper: M,
    partitions: Partitions<'_, P>,
    task: &mut MapTask<'_>,
) -> Result<String, Failure>
where
    M: Mapper,
    P: Partitioner<M::Key>,
{
    let buffer = SortBuffer::new(partitions, buffer_budget(task.settings));
    collect(mapper, buffer, task)
}

fn collect<M, B>(mut mapper: M, buffer: B, task: &mut MapTask<'_>) -> Result<String, Failure>
where
    M: Mapper,
    B: Buffer<M::Key, M::Value>,
{
    let to = CollectorSettings {
        folder: task.folder,
        n_partitions: task.n_partitions,
        settings: task.settings,
        compression: task.forms.map_output,
        progress: &task.progress,
    };
    let mut collector = Collector::new(buffer, &to);
    drive(&mut mapper, &mut collector, Collector::take_failure, task)?;
    let run = collector.finish(task.map_output, &mut task.counters)?;
    task.sizes = Some(OutputSizes::of(run.segments.iter().map(|segment| segment.length)));
    Ok(run.digest)
}

/// Maps into the job's output, in the order of the input.
pub(crate) fn to_output<M: Mapper>(
    mut mapper: M,
    mut output: PartOutput,
    task: &mut MapTask<'_>,
) -> Result<String, Failure> {
    let mut sink =
        Alive { sink: output.sink::<M::Key, M::Value>(), progress: task.progress.clone() };
    drive(&mut mapper, &mut sink, |it| it.sink.take_failure(), task)?;
    output.finish("MAP_OUTPUT_RECORDS", &mut task.counters)
}

/// Each pair is a sign of life: a map may write many of them for one record.
struct Alive<'a, K: Datum, V: Datum> {
    sink: PartSink<'a, K, V>,
    progress: Progress,
}

impl<K: Datum, V: Datum> Sink<K, V> for Alive<'_, K, V> {
    #[inline]
    fn emit(&mut self, key: K::Ref<'_>, value: V::Ref<'_>) {
        self.progress.alive();
        self.sink.emit(key, value);
    }
}

/// Gives the mapper each record; `take_failure` asks the sink how it went.
fn drive<M, S>(
    mapper: &mut M,
    sink: &mut S,
    take_failure: impl Fn(&mut S) -> Option<Failure>,
    task: &mut MapTask<'_>,
) -> Result<(), Failure>
where
    M: Mapper,
    S: Sink<M::Key, M::Value>,
{
    let check = |called: Result<(), UserError>, sink: &mut S, named: &mut Named<'_>, during| {
        called.map_err(|error| failure::user_code(&error, during))?;
        take_failure(sink).or_else(|| named.take_failure()).map_or(Ok(()), Err)
    };
    let MapTask { split, input, formats, progress, counters, named, identity, skips, .. } = task;
    let set_up = mapper.setup(&mut Output::new(sink, counters, named, identity));
    check(set_up, sink, named, "mapper (setup)")?;
    let (mut records, mut passed) = (0_u64, 0);
    let total = split.length();
    // Which record it is at, who skips must know of each.
    let looks_ahead = skips.is_none() && mapper.looks_ahead();
    for (index, piece) in split.pieces.iter().enumerate() {
        let mut reader = Records::open(*input, piece, formats)?;
        loop {
            if looks_ahead {
                let passed_over = reader.pass_over(|lines| mapper.look_ahead(lines));
                if passed_over > 0 {
                    records += passed_over;
                    progress.at(passed + reader.passed(), total);
                }
            }
            let Some(raw) = reader.next_record()? else { break };
            let RawRecord { offset, key, value } = raw;
            if let Some(skips) = skips
                && skips.at_next(index, offset, key.unwrap_or(value))
            {
                keep_aside(named, raw, &formats.input)?;
                continue;
            }
            let record = Record { offset, key, value, path: &piece.path };
            let mapped = mapper.map(record, &mut Output::new(sink, counters, named, identity));
            check(mapped, sink, named, "mapper")?;
            records += 1;
            progress.alive();
            if records.is_multiple_of(RECORDS_PER_RECKONING) {
                progress.at(passed + reader.passed(), total);
            }
        }
        passed += piece.length;
    }
    skips.iter_mut().for_each(Skips::at_none);
    let finished = mapper.finish(&mut Output::new(sink, counters, named, identity));
    check(finished, sink, named, "mapper (finish)")?;
    counters.add_own("MAP_INPUT_RECORDS", records);
    counters.add_own("SPLIT_BYTES", total);
    Ok(())
}
