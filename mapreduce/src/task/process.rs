//! The task process from its description to its last word.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use mapreduce_protocol::{
    AttemptResult, CHANNEL_VERSION, Failure, FailureKind, MapEvent, NamedOutput, Program, Split,
    TaskDescription, Work, staged_name,
};
use tokio::sync::mpsc;

use super::channel::{self, Channel};
use super::failure::{bad_job, failure, words_for_log};
use super::fetch::{self, FetchSettings};
use super::io::Io;
use super::map::MapTask;
use super::merge::Merge;
use super::named::Named;
use super::part_output::PartOutput;
use super::progress::Progress;
use super::reduce::ReduceTask;
use super::segments::{Budget, Segments};
use super::skips::Skips;
use super::source::Source;
use crate::Job;
use crate::api::Counters;
use crate::api::{StatusSink, TaskContext};

/// Exit status when there is no channel to speak on.
const NO_CHANNEL: u8 = 2;

/// Runs one attempt of one task: reads its description from `channel_fd`, asks `program` for the job, and
/// ends with [`mapreduce_protocol::FromTask::Succeeded`] or [`mapreduce_protocol::FromTask::Failed`] on
/// the channel. If the channel closes, the process ends at once.
///
/// To be called once, with a descriptor that the TaskTracker passed for it.
pub fn task_main(
    channel_fd: i32,
    program: impl FnOnce(&TaskDescription) -> Result<Job, Failure>,
) -> ExitCode {
    let (channel, description, events) = match channel::open(channel_fd) {
        Ok(opened) => opened,
        Err(error) => {
            eprintln!("no channel to a TaskTracker: {error}");
            return ExitCode::from(NO_CHANNEL);
        }
    };
    let outcome = check_version(&description)
        .and_then(|()| program(&description))
        .and_then(|job| Attempt { job, description: &description, channel: &channel }.run(events));
    let status = match &outcome {
        Ok(_) => ExitCode::SUCCESS,
        Err(failure) => {
            // The tracker keeps this in the attempt's log.
            eprintln!("{} failed: {}", description.attempt, words_for_log(failure));
            ExitCode::FAILURE
        }
    };
    channel.end(outcome);
    status
}

fn check_version(description: &TaskDescription) -> Result<(), Failure> {
    if description.version == CHANNEL_VERSION {
        return Ok(());
    }
    let message = format!(
        "this executable speaks version {CHANNEL_VERSION} of the task channel, the TaskTracker {}: \
         build it against the cluster's version",
        description.version
    );
    Err(failure(FailureKind::BadJob, message))
}

struct Attempt<'a> {
    job: Job,
    description: &'a TaskDescription,
    channel: &'a Channel,
}

impl Attempt<'_> {
    fn run(&self, events: mpsc::Receiver<Vec<MapEvent>>) -> Result<AttemptResult, Failure> {
        if let Some(why) = self.job.refused_with(self.description.job.n_reduces) {
            return Err(bad_job(why));
        }
        let io = Io::start(self.description).map_err(|error| {
            let message = format!("the I/O thread can't be started: {error}");
            failure(FailureKind::Crashed { exit_code: None, signal: None }, message)
        })?;
        match &self.description.work {
            Work::Map { split } => self.map(&io, split),
            Work::Reduce => self.reduce(&io, events),
        }
    }

    fn map(&self, io: &Io, split: &Split) -> Result<AttemptResult, Failure> {
        let description = self.description;
        let mut task = MapTask {
            split,
            input: io,
            formats: &description.job.formats,
            forms: &description.job.output_forms,
            n_partitions: description.job.n_reduces,
            folder: Path::new(&description.folder),
            map_output: Path::new(&description.map_output),
            settings: &description.settings,
            identity: &self.identity(),
            progress: self.progress(io),
            counters: Counters::default(),
            named: Named::new(|name| self.output(io, Some(name))),
            sizes: None,
            skips: self.skips()?,
        };
        let digest = if description.job.n_reduces == 0 {
            let output = self.output(io, None)?;
            self.job.program.map_to_output(&mut task, output)?
        } else {
            self.job.program.map_to_partitions(&mut task)?
        };
        let MapTask { sizes, mut counters, named, .. } = task;
        let named = taken(io, named.finish(&mut counters)?);
        let (staged, counters) = (io.take_staged(None), counters.into_sums());
        Ok(AttemptResult { digest, counters, staged, sizes, named })
    }

    fn reduce(
        &self,
        io: &Io,
        events: mpsc::Receiver<Vec<MapEvent>>,
    ) -> Result<AttemptResult, Failure> {
        let mut task = ReduceTask {
            folder: Path::new(&self.description.folder),
            identity: &self.identity(),
            progress: self.progress(io),
            counters: Counters::default(),
            named: Named::new(|name| self.output(io, Some(name))),
            skips: self.skips()?,
        };
        let merge = self.gather(io, events, &task.progress, &mut task.counters)?;
        let output = self.output(io, None)?;
        let digest = self.job.program.reduce(merge, output, &mut task)?;
        let ReduceTask { mut counters, named, .. } = task;
        let named = taken(io, named.finish(&mut counters)?);
        let (staged, counters) = (io.take_staged(None), counters.into_sums());
        Ok(AttemptResult { digest, counters, staged, sizes: None, named })
    }

    /// What it leaves out, and where it notes at which record it is.
    fn skips(&self) -> Result<Option<Skips>, Failure> {
        let TaskDescription { skipping, folder, .. } = self.description;
        skipping.as_ref().map(|it| Skips::in_folder(it, Path::new(folder))).transpose()
    }

    fn identity(&self) -> TaskContext {
        let TaskDescription { attempt, job, .. } = self.description;
        let (n_maps, n_reduces) = (job.n_maps, job.n_reduces);
        let names = match &job.program {
            Program::Native(native) => native.files.iter().map(|file| file.name.clone()).collect(),
            Program::Builtin(_) | Program::Streaming(_) => Vec::new(),
        };
        let places = self.description.files.iter().map(PathBuf::from);
        let files = names.into_iter().zip(places).collect();
        let channel = self.channel.clone();
        let status = StatusSink::new(move |text| channel.note_status(text));
        let job_name = job.name.clone();
        TaskContext { attempt: *attempt, job_name, n_maps, n_reduces, files, status }
    }

    /// Told on the channel, from now on.
    fn progress(&self, io: &Io) -> Progress {
        let channel = self.channel.clone();
        let progress = Progress::new(move |share| channel.progress(share));
        io.spawn(progress.clone().keep_due());
        progress
    }

    /// Fetches every map's segment and merges what must be merged before.
    fn gather(
        &self,
        io: &Io,
        events: mpsc::Receiver<Vec<MapEvent>>,
        progress: &Progress,
        counters: &mut Counters,
    ) -> Result<Merge, Failure> {
        let description = self.description;
        let settings = &description.settings;
        let budget = Budget::new(settings.fetch_buffer_bytes);
        let fetch = FetchSettings {
            client: io.client(),
            folder: description.folder.clone().into(),
            job: description.job.job,
            partition: description.attempt.task.index,
            n_maps: description.job.n_maps,
            parallel_fetches: settings.parallel_fetches,
            retry: Duration::from_millis(settings.fetch_retry_ms),
            stall: Duration::from_millis(settings.fetch_stall_ms),
            budget: budget.clone(),
            progress: progress.clone(),
            retries: Arc::default(),
        };
        let retries = Arc::clone(&fetch.retries);
        let (fetcher, mut received) = fetch::start(fetch, self.channel.clone(), events);
        io.spawn(fetcher);
        let folder = description.folder.clone().into();
        let mut segments =
            Segments::new(folder, settings.merge_factor, budget.clone(), progress.clone())
                .compressed(description.job.output_forms.map_output)
                .rewindable(description.skipping.is_some());
        let mut fold = self.job.program.fold();
        let (mut n_segments, mut bytes, mut waited) = (0_usize, 0, Duration::ZERO);
        loop {
            let watch = clock::Stopwatch::start();
            let Some(segment) = received.blocking_recv() else { break };
            waited += watch.elapsed();
            let segment = segment?;
            n_segments += 1;
            bytes += segment.source.remaining();
            match segment.source {
                Source::Memory(blocks) => segments.add_in_memory(segment.map, blocks),
                source @ Source::File { .. } => segments.add_on_disk(segment.map, source),
            }
            let missing = (description.job.n_maps as usize).saturating_sub(n_segments);
            if segments.are_to_be_merged(missing, fold.is_some()) {
                segments.make_room(fold.as_deref_mut())?;
            }
        }
        counters.add_own("SHUFFLED_MAPS", n_segments as u64);
        counters.add_own("REDUCE_SHUFFLE_BYTES", bytes);
        counters.add_own("SHUFFLE_RETRIES", retries.load(Ordering::Relaxed));
        counters.add_own("SHUFFLE_WAIT_MS", u64::try_from(waited.as_millis()).unwrap_or(u64::MAX));
        progress.at(1, 2);
        let (merge, records_written) = segments.into_merge(fold.as_deref_mut())?;
        counters.add_own("SPILLED_RECORDS", records_written);
        Ok(merge)
    }

    /// The attempt's part of the job's output, or its named output: a file in the staging folder, or staged in another store.
    fn output(&self, io: &Io, named: Option<&str>) -> Result<PartOutput, Failure> {
        let TaskDescription { attempt, job, .. } = self.description;
        PartOutput::new(&job.output_forms, || match &job.output {
            Some(url) => io.stage(url, self.description, named),
            None => {
                let folder = job.staging.trim_end_matches('/');
                io.create(&format!("{folder}/{}", staged_name(*attempt, named)))
            }
        })
    }
}

/// Named outputs, with what was staged of them.
fn taken(io: &Io, names: Vec<String>) -> Vec<NamedOutput> {
    let named = |name: String| NamedOutput { staged: io.take_staged(Some(&name)), name };
    names.into_iter().map(named).collect()
}
