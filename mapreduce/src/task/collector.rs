//! The map side's collector: gathers a map's pairs in a buffer, decides when it spills, and merges the
//! spills into the map output. How pairs are buffered is in `sort_buffer.rs` and `combine_table.rs`.
//!
//! Whether to spill depends on the bytes gathered alone, never on time or on a hash's seed: the same
//! split gives the same spills.

use std::marker::PhantomData;
use std::path::Path;

use mapreduce_protocol::{Failure, MapOutputCompression, TaskSettings};

use super::fold::Fold;
use super::progress::Progress;
use super::run_writer::{Run, RunWriter};
use super::spills::Spills;
use crate::api::{Counters, Datum, Key, Sink};

/// Limit of a sort buffer, whatever the settings say: places in it are 32-bit numbers, and the last
/// record may exceed it by a block's limit.
const BUFFER_BYTES_MAX: usize = 2 << 30;

/// Pairs in memory.
pub(crate) trait Buffer<K: Datum, V: Datum> {
    /// Takes a pair.
    fn add(&mut self, key: K::Ref<'_>, value: V::Ref<'_>) -> Result<(), Failure>;

    /// Whether it takes all the memory that it may. Depends on what was added alone.
    fn is_full(&self) -> bool;

    /// Whether nothing was added since the last `clear`.
    fn is_empty(&self) -> bool;

    /// Writes all by partition and key.
    fn write_sorted(&mut self, writer: &mut RunWriter) -> Result<(), Failure>;

    /// Forgets all, keeps the memory.
    fn clear(&mut self);

    /// Adds the buffer's own counters.
    fn count(&self, counters: &mut Counters);

    /// The combiner, for the merge of the spills.
    fn fold(&mut self) -> Option<&mut (dyn Fold + 'static)>;
}

/// A map's output under way.
pub(crate) struct Collector<K, V, B> {
    buffer: B,
    n_partitions: u32,
    compression: MapOutputCompression,
    spills: Spills,
    progress: Progress,
    failure: Option<Failure>,
    records: u64,
    pair: PhantomData<fn() -> (K, V)>,
}

/// Where and how much.
pub(crate) struct CollectorSettings<'a> {
    /// The attempt's folder, for spills.
    pub(crate) folder: &'a Path,
    /// Of the job.
    pub(crate) n_partitions: u32,
    /// The merge factor, and what the buffer was made with.
    pub(crate) settings: &'a TaskSettings,
    /// Of all that it writes.
    pub(crate) compression: MapOutputCompression,
    /// Each pair is a sign of life to it.
    pub(crate) progress: &'a Progress,
}

/// Bytes of memory for a buffer under `settings`.
pub(crate) fn buffer_budget(settings: &TaskSettings) -> usize {
    usize::try_from(settings.sort_buffer_bytes).unwrap_or(usize::MAX).min(BUFFER_BYTES_MAX)
}

impl<K: Key, V: Datum, B: Buffer<K, V>> Collector<K, V, B> {
    /// An empty one.
    pub(crate) fn new(buffer: B, to: &CollectorSettings<'_>) -> Self {
        Self {
            buffer,
            n_partitions: to.n_partitions,
            compression: to.compression,
            spills: Spills::new(
                to.folder,
                to.n_partitions,
                to.settings.merge_factor,
                to.compression,
                to.progress.clone(),
            ),
            progress: to.progress.clone(),
            failure: None,
            records: 0,
            pair: PhantomData,
        }
    }

    /// Why the last emit failed, once.
    #[inline]
    pub(crate) fn take_failure(&mut self) -> Option<Failure> {
        self.failure.take()
    }

    fn add(&mut self, key: K::Ref<'_>, value: V::Ref<'_>) -> Result<(), Failure> {
        self.buffer.add(key, value)?;
        if self.buffer.is_full() { self.spill() } else { Ok(()) }
    }

    #[cold]
    fn spill(&mut self) -> Result<(), Failure> {
        let mut writer = self.spills.create()?;
        self.buffer.write_sorted(&mut writer)?;
        self.buffer.clear();
        self.spills.push(writer.finish()?);
        Ok(())
    }

    /// Writes the map output file; the buffer goes there directly if nothing was spilled.
    pub(crate) fn finish(mut self, output: &Path, counters: &mut Counters) -> Result<Run, Failure> {
        let mut writer = RunWriter::create_output(output, self.n_partitions, self.compression)?;
        if self.spills.is_empty() {
            self.buffer.write_sorted(&mut writer)?;
            self.spills.count_written(writer.records());
        } else {
            if !self.buffer.is_empty() {
                self.spill()?;
            }
            self.spills.merge_into(&mut writer, self.buffer.fold())?;
        }
        counters.add_own("MAP_OUTPUT_RECORDS", self.records);
        counters.add_own("SPILLED_RECORDS", self.spills.records_written());
        self.buffer.count(counters);
        let run = writer.finish()?;
        let written = run.segments.iter().map(|segment| segment.length).sum();
        counters.add_own("MAP_OUTPUT_MATERIALIZED_BYTES", written);
        if self.compression != MapOutputCompression::None {
            let raw = run.segments.iter().map(|segment| segment.raw_bytes).sum();
            counters.add_own("MAP_OUTPUT_UNCOMPRESSED_BYTES", raw);
        }
        Ok(run)
    }
}

impl<K: Key, V: Datum, B: Buffer<K, V>> Sink<K, V> for Collector<K, V, B> {
    #[inline]
    fn emit(&mut self, key: K::Ref<'_>, value: V::Ref<'_>) {
        if self.failure.is_some() {
            return;
        }
        self.records += 1;
        self.progress.alive();
        if let Err(failure) = self.add(key, value) {
            self.failure = Some(failure);
        }
    }
}
