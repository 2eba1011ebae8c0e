//! The spill files of one map, and their merge.

use std::path::{Path, PathBuf};

use mapreduce_protocol::{Failure, MapOutputCompression};

use super::fold::Fold;
use super::merge::Merge;
use super::progress::Progress;
use super::run_writer::{Run, RunWriter};
use super::source::Source;

/// Sorted runs in the order in which they were gathered.
pub(crate) struct Spills {
    folder: PathBuf,
    n_partitions: u32,
    merge_factor: usize,
    runs: Vec<Run>,
    created: u32,
    records_written: u64,
    compression: MapOutputCompression,
    progress: Progress,
}

impl Spills {
    /// None yet; files will be made in `folder`, and merges be signs of life to `progress`.
    pub(crate) fn new(
        folder: &Path,
        n_partitions: u32,
        merge_factor: u32,
        compression: MapOutputCompression,
        progress: Progress,
    ) -> Self {
        Self {
            folder: folder.to_owned(),
            n_partitions,
            merge_factor: merge_factor.max(2) as usize,
            runs: Vec::new(),
            created: 0,
            records_written: 0,
            compression,
            progress,
        }
    }

    /// Whether nothing was spilled.
    pub(crate) fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// Records that went to local disk after a sort, or in an intermediate merge (Hadoop: `SPILLED_RECORDS`).
    pub(crate) fn records_written(&self) -> u64 {
        self.records_written
    }

    /// Counts records that were sorted straight into the map output.
    pub(crate) fn count_written(&mut self, records: u64) {
        self.records_written += records;
    }

    /// A new spill file.
    pub(crate) fn create(&mut self) -> Result<RunWriter, Failure> {
        let path = self.folder.join(format!("spill-{:06}", self.created));
        self.created += 1;
        RunWriter::create_temporary(&path, self.n_partitions, self.compression)
    }

    /// Takes a finished spill, later than all before.
    pub(crate) fn push(&mut self, run: Run) {
        self.records_written += run.records;
        self.runs.push(run);
    }

    /// Merges all spills into `writer` and removes them.
    pub(crate) fn merge_into(
        &mut self,
        writer: &mut RunWriter,
        mut fold: Option<&mut (dyn Fold + 'static)>,
    ) -> Result<(), Failure> {
        while self.runs.len() > self.merge_factor {
            // Neighbours only, so that equal keys stay in order; no more than needed in the first pass.
            let excess = self.runs.len() - self.merge_factor + 1;
            let n = excess.min(self.merge_factor);
            let start = self.cheapest(n);
            let mut merged = self.create()?;
            let runs = &self.runs[start..start + n];
            merge_runs(runs, &mut merged, fold.as_deref_mut(), &self.progress)?;
            let merged = merged.finish()?;
            self.records_written += merged.records;
            self.runs.splice(start..start + n, [merged]);
        }
        merge_runs(&self.runs, writer, fold, &self.progress)?;
        self.runs.clear();
        Ok(())
    }

    /// Where the `n` neighbours begin that have the fewest records.
    fn cheapest(&self, n: usize) -> usize {
        let cost = |runs: &[Run]| runs.iter().map(|run| run.records).sum::<u64>();
        let windows = self.runs.windows(n).map(cost).enumerate();
        windows.min_by_key(|(_, cost)| *cost).map_or(0, |(start, _)| start)
    }
}

fn merge_runs(
    runs: &[Run],
    writer: &mut RunWriter,
    mut fold: Option<&mut (dyn Fold + 'static)>,
    progress: &Progress,
) -> Result<(), Failure> {
    let n_partitions = runs.first().map_or(0, |run| run.segments.len());
    for (index, partition) in (0..n_partitions).zip(0..) {
        let sources = runs.iter().map(|run| Source::of(&run.file, &run.segments[index]));
        Merge::new(sources, progress.clone())?.write_to(writer, partition, fold.as_deref_mut())?;
    }
    Ok(())
}
