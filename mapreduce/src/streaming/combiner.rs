//! A command as the combiner. The mapper's records are gathered in a sort buffer; whenever it is full, and at the end,
//! they pass through the command, sorted, as a reducer's input does, and what it writes is cut as a reducer's output is
//! (Hadoop: `PipeCombiner`), and goes to the collector. So one command may be both, and it may write any keys in any
//! order, and one process serves all partitions (Hadoop: one for each partition of each spill, whose keys must stay as
//! they are). It does not run again where spills are merged. What a run writes beside its output it writes to a folder of its
//! own, so that none takes another's files for its own.

use std::path::PathBuf;

use mapreduce_protocol::streaming::CommandRole;
use mapreduce_protocol::{Failure, TaskSettings};

use super::beside;
use super::environment::Environment;
use super::input::SortedFeed;
use super::keys::Keys;
use super::output::PairDrain;
use super::records::input_separator;
use super::{Attempt, StreamingProgram};
use crate::api::{Bytes, Counters, Sink};
use crate::task::collector::{Buffer as _, Collector, CollectorSettings, buffer_budget};
use crate::task::map::MapTask;
use crate::task::partitions::Partitions;
use crate::task::progress::Progress;
use crate::task::sort_buffer::SortBuffer;

type Records<'a> = SortBuffer<'a, Bytes, Bytes, Keys>;

/// See the module.
pub(super) struct Combining<'a> {
    attempt: &'a Attempt<'a>,
    /// The attempt's, but for the folder that is named in it.
    environment: Environment,
    /// Folders in which runs have left something, in their order.
    beside: Vec<PathBuf>,
    gathered: Records<'a>,
    collector: Collector<Bytes, Bytes, Records<'a>>,
    progress: Progress,
    /// What the command counts.
    counters: Counters,
    records: u64,
    failure: Option<Failure>,
}

impl<'a> Combining<'a> {
    /// For a map; each of the two buffers gets half of its memory.
    pub(super) fn new(attempt: &'a Attempt<'a>, task: &MapTask<'_>) -> Self {
        let sort_buffer_bytes = task.settings.sort_buffer_bytes / 2;
        let settings = TaskSettings { sort_buffer_bytes, ..task.settings.clone() };
        let budget = buffer_budget(&settings);
        let keys = &attempt.program.keys;
        let buffer = || SortBuffer::new(Partitions::new(keys, task.n_partitions), budget);
        let to = CollectorSettings {
            folder: task.folder,
            n_partitions: task.n_partitions,
            settings: &settings,
            compression: task.forms.map_output,
            progress: &task.progress,
        };
        Self {
            attempt,
            environment: attempt.environment.clone(),
            beside: Vec::new(),
            gathered: buffer(),
            collector: Collector::new(buffer(), &to),
            progress: task.progress.clone(),
            counters: Counters::default(),
            records: 0,
            failure: None,
        }
    }

    /// Why the last record could not be taken, once.
    pub(super) fn take_failure(&mut self) -> Option<Failure> {
        self.failure.take()
    }

    fn add(&mut self, key: &[u8], value: &[u8]) -> Result<(), Failure> {
        self.gathered.add(key, value)?;
        if self.gathered.is_full() { self.combine() } else { Ok(()) }
    }

    /// Passes what is gathered through the command.
    fn combine(&mut self) -> Result<(), Failure> {
        let StreamingProgram { about, keys, .. } = self.attempt.program;
        let beside = self.attempt.workplace.beside_run(self.beside.len())?;
        self.environment.writes_beside(&beside);
        self.gathered.sort();
        let mut input = SortedFeed::new(&self.gathered, keys, input_separator(about));
        let (take_failure, role) = (Collector::take_failure, CommandRole::Combiner);
        let mut output = PairDrain::new(&mut self.collector, take_failure, role, about, keys);
        let (role, progress) = ((role, &self.environment), &self.progress);
        let passed = self.attempt.pass(role, &mut input, &mut output, progress, &mut self.counters);
        passed.map_err(|ended| ended.failure)?;
        self.gathered.clear();
        if !beside::names(&beside)?.is_empty() {
            self.beside.push(beside);
        }
        Ok(())
    }

    /// Writes the map output file, and what the command has written beside; returns the file's digest.
    pub(super) fn finish(mut self, task: &mut MapTask<'_>) -> Result<String, Failure> {
        if !self.gathered.is_empty() {
            self.combine()?;
        }
        let MapTask { named, counters, progress, map_output, .. } = task;
        for folder in &self.beside {
            let role = (CommandRole::Combiner, &self.attempt.program.about);
            beside::take(folder, role, named, progress)?;
        }
        self.gathered.count(counters);
        counters.add_own("MAP_OUTPUT_RECORDS", self.records);
        counters.add_own("COMBINE_INPUT_RECORDS", self.records);
        counters.absorb(self.counters, |name| Some(name));
        let mut behind = Counters::default();
        let run = self.collector.finish(map_output, &mut behind)?;
        // To the collector, what the command wrote is the map's output.
        counters.absorb(behind, |name| match name {
            "MAP_OUTPUT_RECORDS" => Some("COMBINE_OUTPUT_RECORDS"),
            "MAP_OUTPUT_BYTES" => None,
            name => Some(name),
        });
        Ok(run.digest)
    }
}

impl Sink<Bytes, Bytes> for Combining<'_> {
    #[inline]
    fn emit(&mut self, key: &[u8], value: &[u8]) {
        if self.failure.is_some() {
            return;
        }
        self.records += 1;
        if let Err(failure) = self.add(key, value) {
            self.failure = Some(failure);
        }
    }
}
