//! A whole job on local files, in threads of this process: the same task runtime as on a cluster, or the
//! sequential oracle. The output folder appears by a rename, with its parts and `_SUCCESS`, or not at all.

mod files;
mod plan;
mod sample;
mod skips;
mod stage;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use mapreduce_protocol::{
    Failure, FailureKind, Formats, JobId, JobSpec, LocalJob, LocalResult, OutputForms, Program,
    Skipping, Split, TaskId, TaskKind, builtins,
};

use crate::api::{Counters, Job};
use crate::api::{StatusSink, TaskContext};
use crate::oracle_input::OracleInput;
use crate::oracle_output;
use crate::task::failure::{bad_job, broken_run, disk, failure};
use crate::task::map::MapTask;
use crate::task::merge::Merge;
use crate::task::named::Named;
use crate::task::part_output::PartOutput;
use crate::task::progress::Progress;
use crate::task::reduce::ReduceTask;
use crate::task::segments::{Budget, Segments};
use crate::task::skips::Skips;
use crate::task::source::{RunFile, Source, read_index};
use files::{LocalInput, LocalOutput};
use skips::{Allowance, Attempted, caught, remove_parts};
use stage::Stage;

pub use sample::sample_local;
pub use stage::LocalTraces;

/// What its tasks call a job that no JobTracker has numbered.
pub(crate) const LOCAL_JOB: JobId = JobId { date: 0, ordinal: 1 };

/// Runs `job` as `local` says: its input, output, number of reduces, threads and limits.
pub fn run_local(job: &Job, local: &LocalJob) -> LocalResult {
    LocalResult { outcome: run(job, local) }
}

fn run(job: &Job, local: &LocalJob) -> Result<BTreeMap<String, u64>, Failure> {
    let n_reduces = builtins::check(&local.spec).map_err(|error| bad_job(error.to_string()))?;
    if let Some(why) = job.refused_with(n_reduces) {
        return Err(bad_job(why));
    }
    let mut spec = local.spec.clone();
    spec.write_compression_down();
    let (formats, forms) = (spec.formats(), spec.output_forms());
    let splits = plan::splits(&spec, &formats, local.split_bytes)?;
    let stage = Stage::create(Path::new(&local.spec.output))?;
    let counters = if local.sequential {
        run_sequentially(job, local, &splits, (&formats, &forms), n_reduces, &stage)?
    } else {
        let (formats, forms) = (&formats, &forms);
        let (splits, stage) = (&splits, &stage);
        let allowance = Allowance::new(spec.skip_records, spec.max_attempts);
        LocalRun { job, local, formats, forms, splits, n_reduces, stage, allowance }.run()?
    };
    stage.publish()?;
    Ok(counters)
}

fn part_name(forms: &OutputForms, n_reduces: u32, index: usize) -> String {
    let kind = if n_reduces == 0 { TaskKind::Map } else { TaskKind::Reduce };
    forms.part_name(local_task(kind, index))
}

fn run_sequentially(
    job: &Job,
    local: &LocalJob,
    splits: &[Split],
    (formats, forms): (&Formats, &OutputForms),
    n_reduces: u32,
    stage: &Stage,
) -> Result<BTreeMap<String, u64>, Failure> {
    let mut paths: Vec<&str> = Vec::new();
    for piece in splits.iter().flat_map(|split| &split.pieces) {
        // A file's pieces are neighbours, and begin with its first byte.
        if piece.offset == 0 {
            paths.push(&piece.path);
        }
    }
    let read = |path: &str| match std::fs::read(path) {
        Ok(data) => OracleInput::of(path, data, formats),
        Err(error) => Err(files::unreadable(path, &error)),
    };
    let input = paths.into_iter().map(read).collect::<Result<Vec<_>, _>>()?;
    let mut counters = Counters::default();
    let task = context(&local.spec, 1, n_reduces);
    let output =
        job.program.run_sequentially(&input, &task, forms, &stage.work(), &mut counters)?;
    let parts = (0..).zip(output.parts);
    let parts = parts.map(|(index, part)| (part_name(forms, n_reduces, index), part));
    let named = output.named.into_iter();
    let named = named.map(|((name, task), bytes)| (forms.part_name_of(&name, task), bytes));
    for (name, bytes) in parts.chain(named).filter(|_| forms.has_parts()) {
        let path = stage.output().join(name);
        oracle_output::compressed(&bytes, forms)
            .and_then(|bytes| std::fs::write(&path, bytes))
            .map_err(|error| disk(&error, "write", &path))?;
    }
    Ok(counters.into_sums())
}

/// One job under way.
struct LocalRun<'a> {
    job: &'a Job,
    local: &'a LocalJob,
    formats: &'a Formats,
    forms: &'a OutputForms,
    splits: &'a [Split],
    n_reduces: u32,
    stage: &'a Stage,
    allowance: Allowance,
}

impl LocalRun<'_> {
    fn run(&self) -> Result<BTreeMap<String, u64>, Failure> {
        let mut sums = BTreeMap::new();
        self.in_threads(self.splits.len(), &mut sums, |index| {
            let map = |skipping: Option<&Skipping>| self.map(index, skipping);
            let clean = || self.clean(TaskKind::Map, index);
            let mapped = self.allowance.attempts(map, clean);
            mapped.map_err(|failure| of_split(&self.splits[index], failure))
        })?;
        self.in_threads(self.n_reduces as usize, &mut sums, |index| {
            let reduce = |skipping: Option<&Skipping>| self.reduce(index, skipping);
            self.allowance.attempts(reduce, || self.clean(TaskKind::Reduce, index))
        })?;
        Ok(sums)
    }

    /// Runs `n` tasks; the first failure, by index, ends the job.
    fn in_threads(
        &self,
        n: usize,
        sums: &mut BTreeMap<String, u64>,
        task: impl Fn(usize) -> Result<Counters, Failure> + Sync,
    ) -> Result<(), Failure> {
        let next = AtomicUsize::new(0);
        let failed: Mutex<BTreeMap<usize, Failure>> = Mutex::default();
        let run_some = || {
            let mut sums = BTreeMap::new();
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                if index >= n || !lock(&failed).is_empty() {
                    return sums;
                }
                match task(index) {
                    Ok(counters) => add(&mut sums, counters.into_sums()),
                    Err(failure) => drop(lock(&failed).insert(index, failure)),
                }
            }
        };
        let n_threads = (self.local.parallelism.max(1) as usize).min(n);
        let ended: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..n_threads).map(|_| scope.spawn(run_some)).collect();
            threads.into_iter().map(std::thread::ScopedJoinHandle::join).collect()
        });
        for own in ended {
            add(sums, own.map_err(|_| panicked())?);
        }
        lock(&failed).pop_first().map_or(Ok(()), |(_, failure)| Err(failure))
    }

    fn map_output(&self, index: usize) -> PathBuf {
        self.stage.work().join(format!("map-{index:06}"))
    }

    fn map(&self, index: usize, skipping: Option<&Skipping>) -> Attempted {
        let split = &self.splits[index];
        let (map_output, identity) = (self.map_output(index), self.identity(TaskKind::Map, index));
        let folder = match self.folder(TaskKind::Map, index) {
            Ok(folder) => folder,
            Err(failure) => return Attempted { outcome: Err(failure), record: None },
        };
        let mut task = MapTask {
            split,
            input: &LocalInput,
            formats: self.formats,
            forms: self.forms,
            n_partitions: self.n_reduces,
            folder: &folder,
            map_output: &map_output,
            settings: &self.local.settings,
            identity: &identity,
            progress: Progress::untold(),
            counters: Counters::default(),
            named: self.named(TaskKind::Map, index),
            sizes: None,
            skips: skipping.map(Skips::in_memory),
        };
        let mapped = caught(skipping, || {
            if self.n_reduces == 0 {
                self.job.program.map_to_output(&mut task, self.output(index)?)
            } else {
                self.job.program.map_to_partitions(&mut task)
            }
        });
        let MapTask { mut counters, named, skips, .. } = task;
        let record = skips.and_then(|skips| skips.noted(Some(split)));
        let outcome = mapped.and_then(|_| named.finish(&mut counters)).map(|_| counters);
        Attempted { outcome, record }
    }

    fn reduce(&self, index: usize, skipping: Option<&Skipping>) -> Attempted {
        let identity = self.identity(TaskKind::Reduce, index);
        let (folder, merge, records_written) = match self.gather(index, skipping) {
            Ok(gathered) => gathered,
            Err(failure) => return Attempted { outcome: Err(failure), record: None },
        };
        let mut task = ReduceTask {
            folder: &folder,
            identity: &identity,
            progress: Progress::untold(),
            counters: Counters::default(),
            named: self.named(TaskKind::Reduce, index),
            skips: skipping.map(Skips::in_memory),
        };
        task.counters.add_own("SPILLED_RECORDS", records_written);
        let reduced =
            caught(skipping, || self.job.program.reduce(merge, self.output(index)?, &mut task));
        let ReduceTask { mut counters, named, skips, .. } = task;
        let record = skips.and_then(|skips| skips.noted(None));
        let outcome = reduced.and_then(|_| named.finish(&mut counters)).map(|_| counters);
        Attempted { outcome, record }
    }

    /// What a reduce works in, what it reads, and how many records were written for that.
    fn gather(
        &self,
        index: usize,
        skipping: Option<&Skipping>,
    ) -> Result<(PathBuf, Merge, u64), Failure> {
        let settings = &self.local.settings;
        let budget = Budget::new(settings.fetch_buffer_bytes);
        let folder = self.folder(TaskKind::Reduce, index)?;
        let mut segments =
            Segments::new(folder.clone(), settings.merge_factor, budget, Progress::untold())
                .compressed(self.forms.map_output)
                .rewindable(skipping.is_some());
        for (map, ordinal) in (0..self.splits.len()).zip(0..) {
            // It lies on this host's disk already: to read it first would only copy it.
            segments.add_on_disk(ordinal, self.segment(map, index)?);
        }
        let mut fold = self.job.program.fold();
        let (merge, records_written) = segments.into_merge(fold.as_deref_mut())?;
        Ok((folder, merge, records_written))
    }

    /// Removes what a failed attempt has left.
    fn clean(&self, kind: TaskKind, index: usize) -> Result<(), Failure> {
        let folder = self.folder_of(kind, index);
        std::fs::remove_dir_all(&folder).map_err(|error| disk(&error, "remove", &folder))?;
        if kind == TaskKind::Map {
            // It is only there if it was finished.
            let _ = std::fs::remove_file(self.map_output(index));
        }
        let output = self.stage.output();
        remove_parts(&output, local_task(kind, index))
            .map_err(|error| disk(&error, "clean", &output))
    }

    /// What a task writes beside its part.
    fn named(&self, kind: TaskKind, index: usize) -> Named<'_> {
        let task = local_task(kind, index);
        Named::new(move |name| {
            let path = self.stage.output().join(self.forms.part_name_of(name, task));
            PartOutput::new(self.forms, || Ok(Box::new(LocalOutput::create(path)?)))
        })
    }

    fn identity(&self, kind: TaskKind, index: usize) -> TaskContext {
        let n_maps = u32::try_from(self.splits.len()).unwrap_or(u32::MAX);
        let context = context(&self.local.spec, n_maps, self.n_reduces);
        TaskContext { attempt: local_task(kind, index).attempt(0), ..context }
    }

    /// A map's output for one reduce. The file is not left open: there may be very many.
    fn segment(&self, map: usize, partition: usize) -> Result<Source, Failure> {
        let path = self.map_output(map);
        let segment = read_index(&RunFile::kept(&path))?
            .get(partition)
            .copied()
            .ok_or_else(|| broken_run("it has too few partitions", &path))?;
        Ok(Source::of(&RunFile::kept(&path), &segment))
    }

    fn output(&self, index: usize) -> Result<PartOutput, Failure> {
        let path = self.stage.output().join(part_name(self.forms, self.n_reduces, index));
        PartOutput::new(self.forms, || Ok(Box::new(LocalOutput::create(path)?)))
    }

    fn folder_of(&self, kind: TaskKind, index: usize) -> PathBuf {
        let letter = if kind == TaskKind::Map { 'm' } else { 'r' };
        self.stage.work().join(format!("{letter}-{index:06}"))
    }

    fn folder(&self, kind: TaskKind, index: usize) -> Result<PathBuf, Failure> {
        let folder = self.folder_of(kind, index);
        std::fs::create_dir(&folder).map_err(|error| disk(&error, "create", &folder))?;
        Ok(folder)
    }
}

fn local_task(kind: TaskKind, index: usize) -> TaskId {
    LOCAL_JOB.task(kind, u32::try_from(index).unwrap_or(u32::MAX))
}

/// Of the first map.
fn context(spec: &JobSpec, n_maps: u32, n_reduces: u32) -> TaskContext {
    // Under `local` they are where the job says.
    let files = match &spec.program {
        Program::Native(native) => {
            native.files.iter().map(|file| (file.name.clone(), file.path.clone().into())).collect()
        }
        Program::Builtin(_) | Program::Streaming(_) => Vec::new(),
    };
    let attempt = LOCAL_JOB.task(TaskKind::Map, 0).attempt(0);
    let (job_name, status) = (spec.name.clone(), StatusSink::default());
    TaskContext { attempt, job_name, n_maps, n_reduces, files, status }
}

/// Names what the map has read.
fn of_split(split: &Split, failure: Failure) -> Failure {
    Failure { message: format!("the map of {split}: {}", failure.message), ..failure }
}

fn add(sums: &mut BTreeMap<String, u64>, more: BTreeMap<String, u64>) {
    for (name, sum) in more {
        *sums.entry(name).or_insert(0) += sum;
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn panicked() -> Failure {
    let kind = FailureKind::Crashed { exit_code: None, signal: None };
    failure(kind, "the job's code panicked; its message is above".to_owned())
}
