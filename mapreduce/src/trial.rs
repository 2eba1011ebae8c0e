//! Trying a job in a test of its author's: given lines in, lines out, in this process.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use mapreduce_protocol::{Formats, InputCompression, OutputForms, TaskKind};

use crate::api::{Counters, Job, StatusSink, TaskContext, UserError};
use crate::local::LOCAL_JOB;
use crate::oracle_input::OracleInput;

/// A job on given inputs, in this process, without files, threads or a cluster: by the plain loop that all outputs are
/// compared with. From [`Job::trial`]; [`Job::run_on`] is the short form.
pub struct Trial<'j> {
    job: &'j Job,
    inputs: Vec<(String, Vec<u8>)>,
    reduces: Option<u32>,
    files: Vec<(String, PathBuf)>,
}

/// What a job has written and counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrialRun {
    /// The lines of all parts, one part after the other; each part of a reduce is sorted by its keys.
    pub lines: Vec<String>,
    /// Its counters, `GROUP.NAME` → sum, without the runtime's own.
    pub counters: BTreeMap<String, u64>,
    /// The lines of named outputs, by their names: those of maps before those of reduces.
    pub named: BTreeMap<String, Vec<String>>,
}

impl Job {
    /// What the job writes of these lines, with one reduce, as where a job file names no number.
    ///
    /// ```
    /// use mapreduce::{Bytes, Job, words};
    ///
    /// let job: Job = Job::map::<Bytes, u64>(|line, out| {
    ///     for word in words(line.value) {
    ///         out.emit(word, 1);
    ///     }
    ///     Ok(())
    /// })
    /// .reduce::<Bytes, u64>(|word, counts, out| {
    ///     out.count("words", "DIFFERENT", 1);
    ///     out.emit(word, counts.sum());
    ///     Ok(())
    /// })
    /// .into();
    ///
    /// let run = job.run_on(["b a", "a"]).unwrap();
    /// assert_eq!(run.lines, ["a\t2", "b\t1"]);
    /// assert_eq!(run.counters["words.DIFFERENT"], 2);
    /// ```
    ///
    /// # Errors
    /// What the job's code fails with.
    pub fn run_on<L: AsRef<[u8]>>(
        &self,
        lines: impl IntoIterator<Item = L>,
    ) -> Result<TrialRun, UserError> {
        self.trial().input("lines", lines).run()
    }

    /// Begins a trial of the job with several inputs, files or reduces:
    ///
    /// ```
    /// use mapreduce::{Job, Text};
    ///
    /// let job: Job = Job::map_input::<(Text, u8), Text>("users", |line, out| {
    ///     let (id, name) = str::from_utf8(line.value)?.split_once(',').ok_or("no comma")?;
    ///     out.emit((id, 0), name);
    ///     Ok(())
    /// })
    /// .map_input("orders", |line, out| {
    ///     let (user, order) = str::from_utf8(line.value)?.split_once(',').ok_or("no comma")?;
    ///     out.emit((user, 1), order);
    ///     Ok(())
    /// })
    /// .group_by::<1>()
    /// .reduce::<Text, u64>(|(user, _), values, out| {
    ///     let mut n = 0;
    ///     while values.next().is_some() {
    ///         n += 1;
    ///     }
    ///     out.emit(user, n);
    ///     Ok(())
    /// })
    /// .into();
    ///
    /// let trial = job.trial().input("users/a", ["1,Ada"]).input("orders/a", ["1,pen", "2,ink"]);
    /// assert_eq!(trial.run().unwrap().lines, ["1\t2", "2\t1"]);
    ///
    /// let failed = job.run_on(["1,Ada"]).unwrap_err().to_string();
    /// assert!(failed.contains("no mapper reads lines"));
    /// ```
    #[must_use]
    pub fn trial(&self) -> Trial<'_> {
        Trial { job: self, inputs: Vec::new(), reduces: None, files: Vec::new() }
    }
}

impl Trial<'_> {
    /// Reads these lines, as of a file with this path.
    #[must_use]
    pub fn input<L: AsRef<[u8]>>(mut self, path: &str, lines: impl IntoIterator<Item = L>) -> Self {
        let mut data = Vec::new();
        for line in lines {
            data.extend_from_slice(line.as_ref());
            data.push(b'\n');
        }
        self.inputs.push((path.to_owned(), data));
        self
    }

    /// Has so many reduces, 0 for none; without that one, as where a job file names no number.
    #[must_use]
    pub fn reduces(self, n: u32) -> Self {
        Self { reduces: Some(n), ..self }
    }

    /// Brings a file along under this name, as `files` of a job file does.
    #[must_use]
    pub fn file(mut self, name: &str, path: &Path) -> Self {
        self.files.push((name.to_owned(), path.to_owned()));
        self
    }

    /// Runs it.
    ///
    /// # Errors
    /// What the job's code fails with, or that a job with a reducer or combiner was given no reduce.
    pub fn run(self) -> Result<TrialRun, UserError> {
        let n_reduces = self.reduces.unwrap_or(1);
        if let Some(why) = self.job.refused_with(n_reduces) {
            return Err(why.into());
        }
        let task = TaskContext {
            attempt: LOCAL_JOB.task(TaskKind::Map, 0).attempt(0),
            job_name: "trial".to_owned(),
            n_maps: 1,
            n_reduces,
            files: self.files,
            status: StatusSink::default(),
        };
        let formats = Formats { input_compression: InputCompression::None, ..Formats::default() };
        let inputs =
            self.inputs.into_iter().map(|(path, data)| OracleInput::of(&path, data, &formats));
        let inputs = inputs.collect::<Result<Vec<_>, _>>();
        let mut counters = Counters::default();
        let output = inputs.and_then(|inputs| {
            let (folder, forms) = (Path::new(""), OutputForms::default());
            self.job.program.run_sequentially(&inputs, &task, &forms, folder, &mut counters)
        });
        let output = output.map_err(|failure| UserError::from(failure.message))?;
        let lines = output.parts.iter().flat_map(|part| lines_of(part)).collect();
        let mut named: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for ((name, _), bytes) in &output.named {
            named.entry(name.clone()).or_default().extend(lines_of(bytes));
        }
        let mut counters = counters.into_sums();
        counters.retain(|name, _| !name.starts_with("task."));
        Ok(TrialRun { lines, counters, named })
    }
}

fn lines_of(bytes: &[u8]) -> impl Iterator<Item = String> {
    bytes
        .split_inclusive(|byte| *byte == b'\n')
        .map(|line| String::from_utf8_lossy(line.strip_suffix(b"\n").unwrap_or(line)).into_owned())
}
