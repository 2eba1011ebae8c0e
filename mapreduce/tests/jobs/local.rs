//! Running jobs on files of a temporary folder, for the tests beside it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use mapreduce::Job;
use mapreduce::runtime::run_local;
use mapreduce_protocol::{
    Builtin, Failure, JobSpec, LocalJob, Native, Program, TaskSettings, builtins,
};

/// Sizes of one run.
#[derive(Clone, Debug)]
pub(crate) struct Shape {
    pub(crate) split_bytes: u64,
    pub(crate) sort_buffer_bytes: u64,
    pub(crate) fetch_buffer_bytes: u64,
    pub(crate) merge_factor: u32,
    pub(crate) reduces: u32,
    pub(crate) parallelism: u32,
}

impl Default for Shape {
    fn default() -> Self {
        Self {
            split_bytes: 64 << 20,
            sort_buffer_bytes: 1 << 20,
            fetch_buffer_bytes: 1 << 20,
            merge_factor: 4,
            reduces: 2,
            parallelism: 2,
        }
    }
}

/// What tests may put beside the input.
pub(crate) const FILES: &str = "files";

/// Input files in a folder, and room for outputs.
pub(crate) struct Folder(tempfile::TempDir);

impl Folder {
    pub(crate) fn with(files: &[Vec<u8>]) -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        std::fs::create_dir(folder.input()).unwrap();
        for (n, data) in files.iter().enumerate() {
            std::fs::write(folder.input().join(format!("{n:03}")), data).unwrap();
        }
        folder
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn input(&self) -> PathBuf {
        self.path().join("in")
    }

    pub(crate) fn output(&self) -> PathBuf {
        self.path().join("out")
    }
}

/// What a job left.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) parts: BTreeMap<String, Vec<u8>>,
    pub(crate) counters: BTreeMap<String, u64>,
}

pub(crate) fn wordcount() -> Job {
    mapreduce::runtime::builtin("wordcount", &BTreeMap::new()).unwrap()
}

/// The job on the folder's input.
pub(crate) fn local_job(
    name: &str,
    args: BTreeMap<String, String>,
    folder: &Folder,
    shape: &Shape,
    sequential: bool,
) -> LocalJob {
    let program = match builtins::find(name) {
        Some(_) => Program::Builtin(Builtin { name: name.to_owned(), args }),
        None => {
            let executable = "/nowhere".to_owned();
            Program::Native(Native { executable, args: vec![], sha256: None, files: vec![] })
        }
    };
    LocalJob {
        spec: JobSpec {
            reduces: Some(shape.reduces),
            ..JobSpec::new(
                name,
                vec![folder.input().to_str().unwrap().to_owned()],
                folder.output().to_str().unwrap().to_owned(),
                program,
            )
        },
        sequential,
        parallelism: shape.parallelism,
        split_bytes: shape.split_bytes,
        settings: TaskSettings {
            sort_buffer_bytes: shape.sort_buffer_bytes,
            fetch_buffer_bytes: shape.fetch_buffer_bytes,
            parallel_fetches: 2,
            merge_factor: shape.merge_factor,
            fetch_retry_ms: 10,
            fetch_stall_ms: 30_000,
            connect_timeout_ms: 2000,
            request_timeout_ms: 30_000,
            silence_timeout_ms: 3000,
            store_retry_ms: 1000,
            hedge_after_ms: 500,
            output_replication: None,
        },
    }
}

pub(crate) fn run(
    job: &Job,
    name: &str,
    folder: &Folder,
    shape: &Shape,
    sequential: bool,
) -> Result<Ran, Failure> {
    run_with_args(job, name, BTreeMap::new(), folder, shape, sequential)
}

/// Runs the job with arguments.
pub(crate) fn run_with_args(
    job: &Job,
    name: &str,
    args: BTreeMap<String, String>,
    folder: &Folder,
    shape: &Shape,
    sequential: bool,
) -> Result<Ran, Failure> {
    run_and_take(job, &local_job(name, args, folder, shape, sequential), folder)
}

/// Runs the job as it is described, takes its output away, and checks that nothing else is left.
pub(crate) fn run_and_take(job: &Job, local: &LocalJob, folder: &Folder) -> Result<Ran, Failure> {
    let counters = run_local(job, local).outcome;
    let mut parts = BTreeMap::new();
    if counters.is_ok() {
        for entry in std::fs::read_dir(folder.output()).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            parts.insert(name, std::fs::read(entry.path()).unwrap());
        }
        assert_eq!(parts.remove("_SUCCESS"), Some(vec![]));
        std::fs::remove_dir_all(folder.output()).unwrap();
    }
    let mut left: Vec<_> =
        std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.retain(|name| name != FILES);
    assert_eq!(left, ["in"], "nothing else is left behind");
    counters.map(|counters| Ran { parts, counters })
}
