//! `demo`: a cluster in a temporary folder, real input put into its chunk store, one job, a summary.
//! Nothing is left behind, whatever happens.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use chunkstore_client::ChunkStore;
use chunkstore_protocol::StorePath;
use mapreduce_protocol::builtins::{self, ReducesRule};
use mapreduce_protocol::{Builtin, JobSpec, JobStatus, Program, is_hidden};

use super::report::Report;
use super::top_words::top_words;
use super::{Cluster, ClusterOptions};
use crate::cli::Format;
use crate::copy::{self, CopyOptions};
use crate::exit::{Interrupted, OrEarly, early};
use crate::failures::Failures;
use crate::generate::ZipfText;
use crate::local_file::{LocalFileError, UnfinishedFolder};
use crate::progress::{ByteProgress, JobProgress};
use crate::session::Session;
use crate::signals::{Caught, termination};
use crate::submit;

const INPUT: &str = "/in";
const OUTPUT: &str = "/out";
const SEED: u64 = 42;

/// What to show.
pub(crate) struct Demo {
    /// TaskTrackers.
    pub(crate) trackers: usize,
    /// Local files and folders to read; generated text if empty.
    pub(crate) input: Vec<PathBuf>,
    /// Bytes of generated text.
    pub(crate) size: u64,
    /// The job; its input is set here.
    pub(crate) spec: JobSpec,
    /// Where the output's parts go.
    pub(crate) output: Option<PathBuf>,
    /// Leave the cluster up at the end.
    pub(crate) keep: bool,
    /// `--set` overrides.
    pub(crate) overrides: Vec<(String, String)>,
    /// How the result is printed.
    pub(crate) format: Format,
}

/// The job that runs a builtin program with arguments like `pattern=whale`.
pub(crate) fn job(program: &str, args: &[String]) -> anyhow::Result<JobSpec> {
    let pair = |arg: &String| match arg.split_once('=') {
        Some((name, value)) => Ok((name.to_owned(), value.to_owned())),
        None => Err(early(anyhow!("--arg {arg:?} is not NAME=VALUE"))),
    };
    let args: BTreeMap<String, String> = args.iter().map(pair).collect::<Result<_, _>>()?;
    mapreduce::runtime::builtin(program, &args).map_err(|error| {
        early(anyhow!(error.to_string().replace("under 'args'", "by --arg NAME=VALUE")))
    })?;
    Ok(JobSpec::new(
        format!("demo {program}"),
        vec![INPUT.to_owned()],
        OUTPUT,
        Program::Builtin(Builtin { name: program.to_owned(), args }),
    ))
}

impl Demo {
    /// Runs it, stops the cluster and removes its folder.
    pub(crate) async fn run(mut self) -> anyhow::Result<()> {
        let input = self.check_input()?;
        if let Some(output) = &self.output {
            check_output(output).or_early()?;
        }
        let mut end = termination()?;
        let folder = tempfile::Builder::new().prefix("howdah-demo-").tempdir();
        let folder = folder.context("cannot make a temporary folder")?;
        let options =
            ClusterOptions { trackers: Some(self.trackers), overrides: self.overrides.clone() };
        crate::say::say!("starting a cluster of {}", counted(self.trackers, "host"));
        let started = Cluster::start(folder.path(), &options, &mut end).await?;
        let mut cluster = started.map_err(interrupted)?;
        let shown = end.or(self.show(&cluster, input)).await;
        let shown = shown.unwrap_or_else(|caught| Err(interrupted(caught)));
        if shown.is_ok() && self.keep {
            print_urls(&cluster);
            end.await_signal().await;
        }
        cluster.stop().await;
        folder.close().context("cannot remove the temporary folder")?;
        shown
    }

    /// The local files to read: of a folder those that a job would read of it.
    fn check_input(&self) -> anyhow::Result<Vec<PathBuf>> {
        let files = self.input.iter().map(|path| files_at(path)).collect::<Result<Vec<_>, _>>();
        let files = files.or_early()?.concat();
        if !self.input.is_empty() && files.is_empty() {
            return Err(early(anyhow!(
                "--input has no files to read: what is in subfolders, and names that begin with _ or ., are left out"
            )));
        }
        Ok(files)
    }

    async fn show(&mut self, cluster: &Cluster, input: Vec<PathBuf>) -> anyhow::Result<()> {
        let session = Session::open(cluster.config.clone())?;
        let store = session.store().await?;
        self.put_input(&store, input).await?;
        self.spec.reduces = reduces_for(&self.spec, self.trackers);
        let accepted = session.jobs().submit(&self.spec).await?;
        let since_accepted = clock::Stopwatch::start();
        crate::say::say!("{} {}", accepted.id, self.spec.name);
        let mut progress = JobProgress::new();
        let ended = submit::await_end(&session.jobs(), accepted.id, &mut progress).await?;
        let wall_time = since_accepted.elapsed();
        submit::must_have_succeeded(&ended)?;
        let output: StorePath = OUTPUT.parse()?;
        let top = self.top(&store, &output, &ended).await?;
        Report { status: ended, wall_time, top }.print(self.format)?;
        match &self.output {
            Some(local) => {
                let options = CopyOptions::default();
                let mut failures = Failures::default();
                let from = copy::Sources::one(&output);
                copy::get(&store, from, local, &options, &mut failures).await?;
                failures.end()
            }
            None => Ok(()),
        }
    }

    async fn put_input(&self, store: &ChunkStore, input: Vec<PathBuf>) -> anyhow::Result<()> {
        let folder: StorePath = INPUT.parse()?;
        if input.is_empty() {
            let progress = ByteProgress::new("put", self.size);
            let path = folder.join("text")?;
            let text = ZipfText::new(self.size, SEED);
            let put = copy::put_blocks(store, &path, text, &progress).await;
            progress.finish();
            crate::say::say!("put {} of generated text", shown_size(progress.moved()));
            return put.context("cannot put generated text");
        }
        store.mkdir(&folder, true).await?;
        let bytes = copy::put_files(store, &input, &folder).await?;
        crate::say::say!("put {}, {}", counted(input.len(), "file"), shown_size(bytes));
        Ok(())
    }

    /// The most frequent words, where words are counted.
    async fn top(
        &self,
        store: &ChunkStore,
        output: &StorePath,
        ended: &JobStatus,
    ) -> anyhow::Result<Option<Vec<(String, u64)>>> {
        let counts_words =
            matches!(&self.spec.program, Program::Builtin(builtin) if builtin.name == "wordcount");
        if !counts_words || ended.reduces.total == 0 {
            return Ok(None);
        }
        top_words(store, output).await.map(Some).context("cannot read the output")
    }
}

/// Whether the output can be put there, as far as that shows before.
fn check_output(output: &Path) -> Result<(), LocalFileError> {
    if fs::symlink_metadata(output).is_ok() {
        return Err(LocalFileError::Exists { path: output.to_owned() });
    }
    UnfinishedFolder::beside(output).map(drop)
}

fn interrupted(by: Caught) -> anyhow::Error {
    let remains = "the demo is stopped and leaves nothing behind".to_owned();
    Interrupted { by, remains }.into()
}

fn files_at(path: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let unreadable = || format!("cannot read {}", path.display());
    if !fs::metadata(path).with_context(unreadable)?.is_dir() {
        fs::File::open(path).with_context(unreadable)?;
        return Ok(vec![path.to_owned()]);
    }
    let is_read = |path: &PathBuf| {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
        path.is_file() && name.is_some_and(|name| !is_hidden(&name))
    };
    let entries = fs::read_dir(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let entries = entries.with_context(unreadable)?;
    let mut files: Vec<PathBuf> = entries.iter().map(fs::DirEntry::path).filter(is_read).collect();
    files.sort();
    Ok(files)
}

/// One reduce on each tracker, where the program takes them.
fn reduces_for(spec: &JobSpec, trackers: usize) -> Option<u32> {
    let Program::Builtin(builtin) = &spec.program else { return None };
    match builtins::find(&builtin.name)?.reduces {
        ReducesRule::AtLeastOne | ReducesRule::OptionalDefaultOne => u32::try_from(trackers).ok(),
        ReducesRule::One | ReducesRule::MapOnly | ReducesRule::Optional => None,
    }
}

fn counted(n: usize, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

fn shown_size(bytes: u64) -> String {
    indicatif::BinaryBytes(bytes).to_string()
}

fn print_urls(cluster: &Cluster) {
    crate::say::say!(
        "the cluster stays up until Ctrl-C; --config {}",
        cluster.config_file().display()
    );
    for (name, url) in cluster.urls() {
        // Not written, it is no reason to end: the cluster is still to be stopped.
        let _closed = writeln!(std::io::stdout(), "{name:15} {url}");
    }
}
