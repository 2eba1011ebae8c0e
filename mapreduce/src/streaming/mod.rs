//! Streaming: a job whose mapper, combiner and reducer are commands that read lines from standard input and write lines
//! to standard output (Hadoop: Streaming). A [`Program`] made from the job's description, as builtins are.
//!
//! ```text
//! input.rs ── lines ──▶ child.rs (pipes, poll) ── bytes ──▶ output.rs ──▶ the sort buffer, or the job's output
//!                          └─ standard error ──▶ reporter.rs ──▶ counters, the attempt's log
//! ```
//!
//! One thread does all of it: that of the task. Bytes move in blocks; no line is handed from thread to thread.
//! How lines become records is in `records.rs`; where commands run, and what they find there, in `workplace.rs` and
//! `environment.rs`. `plain.rs` is the sequential oracle of such jobs, and shares none of the ways of records.

mod archive;
mod beside;
mod child;
mod combiner;
mod environment;
mod find;
mod host_copy;
mod input;
mod interpreter;
mod keys;
mod line_ends;
mod output;
mod plain;
mod plain_order;
mod records;
mod reporter;
mod skip_feeds;
mod skipping;
mod workplace;

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use mapreduce_protocol::streaming::CommandRole;
use mapreduce_protocol::{Failure, OutputForms, Streaming, StreamingError};

use crate::api::{Bytes, Counters};
use crate::api::{StatusSink, TaskContext};
use crate::oracle_input::OracleInput;
use crate::oracle_output::OracleOutput;
use crate::program::Program;
use crate::task::collector::{Collector, CollectorSettings, buffer_budget};
use crate::task::fold::Fold;
use crate::task::map::MapTask;
use crate::task::merge::Merge;
use crate::task::part_output::PartOutput;
use crate::task::partitions::Partitions;
use crate::task::progress::Progress;
use crate::task::records::RawRecord;
use crate::task::reduce::ReduceTask;
use crate::task::skips::{keep_aside, keep_line_aside};
use crate::task::sort_buffer::SortBuffer;
use crate::{Job, UserError};

use child::Child;
use combiner::Combining;
use environment::Environment;
use input::{Feed, MapFeed, MergeFeed};
use keys::Keys;
use output::{Drain, PairDrain, PartDrain};
use skip_feeds::{RecordFeed, SplitSource, Wanted};
use skipping::{MergeAgain, SplitAgain};
use workplace::Workplace;

/// The job that `streaming` describes. `files` says where each of its files lies on this host, in their order.
///
/// # Errors
/// When it can't be run as it is written.
pub fn streaming(streaming: &Streaming, files: &[String]) -> Result<Job, UserError> {
    streaming.validate().map_err(|error: StreamingError| UserError::from(error))?;
    if streaming.shipped().count() != files.len() {
        let message = format!(
            "the job brings {} files, and {} of them are said to be here: use the same version of howdah on all hosts",
            streaming.shipped().count(),
            files.len()
        );
        return Err(message.into());
    }
    let files = files.iter().map(PathBuf::from).collect();
    let (about, keys) = (streaming.clone(), Keys::of(streaming));
    Ok(Job { program: Arc::new(StreamingProgram { about, keys, files }) })
}

/// See the module.
struct StreamingProgram {
    about: Streaming,
    keys: Keys,
    /// Where its files lie.
    files: Vec<PathBuf>,
}

/// Why a command, or what it reads or writes, failed.
struct BadEnd {
    failure: Failure,
    /// If it was the command: bytes that it had read, at most.
    consumed: Option<u64>,
}

impl From<Failure> for BadEnd {
    fn from(failure: Failure) -> Self {
        Self { failure, consumed: None }
    }
}

/// An attempt that is ready to run commands.
struct Attempt<'a> {
    program: &'a StreamingProgram,
    workplace: Workplace,
    environment: Environment,
    status: StatusSink,
}

impl StreamingProgram {
    fn attempt(
        &self,
        folder: &Path,
        identity: &TaskContext,
        progress: &Progress,
    ) -> Result<Attempt<'_>, Failure> {
        let workplace = Workplace::make(folder, &self.about, &self.files, progress)?;
        let environment = Environment::new(identity, &self.about, &workplace);
        Ok(Attempt { program: self, workplace, environment, status: identity.status.clone() })
    }

    fn map_attempt(&self, task: &MapTask<'_>) -> Result<Attempt<'_>, Failure> {
        let mut attempt = self.attempt(task.folder, task.identity, &task.progress)?;
        if let Some(piece) = task.split.pieces.first() {
            attempt.environment.reads(piece);
        }
        Ok(attempt)
    }
}

impl Attempt<'_> {
    /// Passes all of `input` through the command of `role`, if there is one, with that environment. Of a command that fails it
    /// is told how much it had read.
    fn pass(
        &self,
        (role, environment): (CommandRole, &Environment),
        input: &mut dyn Feed,
        output: &mut dyn Drain,
        progress: &Progress,
        counters: &mut Counters,
    ) -> Result<(), BadEnd> {
        let about = &self.program.about;
        let Some(command) = about.command(role) else {
            while let Some(block) = input.next_block()? {
                output.take(&block)?;
            }
            return Ok(output.end()?);
        };
        let place = (&self.workplace, environment);
        let mut child = Child::start(role, command, about, place, self.status.clone())?;
        let ran = child.run(input, output, progress, counters);
        ran.map_err(|failure| BadEnd { failure, consumed: child.consumed_at_failure() })?;
        Ok(output.end()?)
    }

    /// Passes the split of `task` through the mapper.
    fn map(&self, task: &mut MapTask<'_>, output: &mut dyn Drain) -> Result<(), Failure> {
        let role = CommandRole::Mapper;
        let source = SplitSource::of(task, self.program.about.line_ends);
        let mut plain = MapFeed::new(task, self.program.about.line_ends);
        let MapTask { split, progress, counters, named, skips, .. } = task;
        let skipped = skips.as_ref().map_or(Vec::new(), |skips| skips.records().to_vec());
        let (passed, records) = if skipped.is_empty() {
            let passed =
                self.pass((role, &self.environment), &mut plain, output, progress, counters);
            (passed, plain.records())
        } else {
            let keep = Box::new(|record: RawRecord<'_>| keep_aside(named, record, source.format()));
            let wanted = Wanted::all_but(&skipped);
            let mut input = RecordFeed::new(source, wanted, progress).keeping(keep);
            let passed =
                self.pass((role, &self.environment), &mut input, output, progress, counters);
            (passed, input.records())
        };
        if let Err(BadEnd { failure, consumed }) = passed {
            if let (Some(consumed), Some(skips)) = (consumed, skips) {
                let again = SplitAgain { source, skipped: &skipped, progress };
                self.look_for_record(role, consumed, &again, progress, skips);
            }
            return Err(failure);
        }
        counters.add_own("MAP_INPUT_RECORDS", records);
        counters.add_own("SPLIT_BYTES", split.length());
        beside::take(self.workplace.beside(), (role, &self.program.about), named, progress)
    }

    /// Passes a merge through the reducer.
    fn reduce(
        &self,
        merge: Merge,
        task: &mut ReduceTask<'_>,
        output: &mut dyn Drain,
    ) -> Result<(), Failure> {
        let role = CommandRole::Reducer;
        let runs = merge.runs();
        let ReduceTask { progress, counters, named, skips, .. } = task;
        let skipped = skips.as_ref().map_or(Vec::new(), |skips| skips.records().to_vec());
        let keep = Box::new(|line: &[u8]| keep_line_aside(named, line));
        let (about, keys) = (&self.program.about, &self.program.keys);
        let mut input =
            MergeFeed::new(merge, about, keys, progress).of(Wanted::all_but(&skipped), Some(keep));
        let passed = self.pass((role, &self.environment), &mut input, output, progress, counters);
        if let Err(BadEnd { failure, consumed }) = passed {
            drop(input);
            if let (Some(consumed), Some(skips), Some(runs)) = (consumed, skips, runs) {
                let again = MergeAgain { attempt: self, runs, skipped: &skipped, progress };
                self.look_for_record(role, consumed, &again, progress, skips);
            }
            return Err(failure);
        }
        input.count(counters);
        drop(input);
        beside::take(self.workplace.beside(), (role, about), named, progress)
    }
}

impl Program for StreamingProgram {
    fn has_reducer(&self) -> bool {
        self.about.command(CommandRole::Reducer).is_some()
    }

    fn has_combiner(&self) -> bool {
        self.about.combiner.is_some()
    }

    fn map_to_partitions(&self, task: &mut MapTask<'_>) -> Result<String, Failure> {
        let attempt = self.map_attempt(task)?;
        let (role, about, keys) = (CommandRole::Mapper, &self.about, &self.keys);
        if about.combiner.is_some() {
            let mut combining = Combining::new(&attempt, task);
            let take_failure = Combining::take_failure;
            let mut drain = PairDrain::new(&mut combining, take_failure, role, about, keys);
            attempt.map(task, &mut drain)?;
            return combining.finish(task);
        }
        let partitions = Partitions::new(keys, task.n_partitions);
        let buffer = SortBuffer::<Bytes, Bytes, _>::new(partitions, buffer_budget(task.settings));
        let to = CollectorSettings {
            folder: task.folder,
            n_partitions: task.n_partitions,
            settings: task.settings,
            compression: task.forms.map_output,
            progress: &task.progress,
        };
        let mut collector = Collector::new(buffer, &to);
        let take_failure = Collector::take_failure;
        let mut drain = PairDrain::new(&mut collector, take_failure, role, about, keys);
        attempt.map(task, &mut drain)?;
        Ok(collector.finish(task.map_output, &mut task.counters)?.digest)
    }

    fn map_to_output(
        &self,
        task: &mut MapTask<'_>,
        mut output: PartOutput,
    ) -> Result<String, Failure> {
        let attempt = self.map_attempt(task)?;
        let mut drain = PartDrain::new(&mut output, CommandRole::Mapper, &self.about);
        attempt.map(task, &mut drain)?;
        output.finish("MAP_OUTPUT_RECORDS", &mut task.counters)
    }

    /// A command can't fold two values: it runs on sorted buffers instead, before they are spilled.
    fn fold(&self) -> Option<Box<dyn Fold>> {
        None
    }

    fn reduce(
        &self,
        merge: Merge,
        mut output: PartOutput,
        task: &mut ReduceTask<'_>,
    ) -> Result<String, Failure> {
        if !self.has_reducer() {
            records::write_all(merge, &mut output, (&self.about, &self.keys), task)?;
            return output.finish("REDUCE_OUTPUT_RECORDS", &mut task.counters);
        }
        let attempt = self.attempt(task.folder, task.identity, &task.progress)?;
        let mut drain = PartDrain::new(&mut output, CommandRole::Reducer, &self.about);
        attempt.reduce(merge, task, &mut drain)?;
        output.finish("REDUCE_OUTPUT_RECORDS", &mut task.counters)
    }

    fn run_sequentially(
        &self,
        input: &[OracleInput],
        task: &TaskContext,
        forms: &OutputForms,
        folder: &Path,
        counters: &mut Counters,
    ) -> Result<OracleOutput, Failure> {
        let n_reduces = task.n_reduces;
        let (about, files) = (&self.about, &self.files[..]);
        let plain =
            plain::Plain { about, forms, files, folder, n_reduces, named: RefCell::default() };
        plain.run(input, counters)
    }
}
