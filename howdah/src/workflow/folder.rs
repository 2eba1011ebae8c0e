//! The folder of a run: what was asked for, what was submitted, how it ended. In the chunk store any client finds it,
//! on whatever host; a local run has it on this host. Its files are written once, whole, and never changed.
//!
//! ```text
//! plan.N             the workflow as it was read the Nth time, its variables, where its programs were put
//! jobs/J.R.T.spec    the Tth try of job J in round R (0: in no loop), before it is submitted
//! jobs/J.R.T.id      what the JobTracker calls it
//! jobs/J.R.T.end     how it ended
//! end                all is done
//! lock               of a local run: held by the client that is at work on it
//! data/              ${work}
//! ```

use std::collections::BTreeMap;
use std::fs::{File, TryLockError};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use chunkstore_client::{ChunkStore, CreateOptions, StoreError};
use chunkstore_protocol::StorePath;
use mapreduce_protocol::JobSpec;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::plan::{Done, Entry, Execution};
use crate::local_file::{LocalFileError, move_new};
use crate::submit::Shipped;

/// Bytes of one of its files, at most.
const FILE_BYTES_MAX: u64 = 64 << 20;
/// Files of a run, at most.
const FILES_MAX: usize = 1_000_000;

/// Where runs are kept in the chunk store, unless it is said.
pub(crate) const RUNS: &str = "/workflows";

/// Where runs are kept.
#[derive(Clone)]
pub(crate) enum RunFolder {
    /// In the chunk store.
    Store { store: ChunkStore, root: StorePath },
    /// On this host.
    Local { root: PathBuf },
}

/// `plan.N`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct StoredRun {
    /// Of this layout.
    pub(crate) version: u32,
    /// The workflow file as it was read.
    pub(crate) text: String,
    /// Where it was.
    pub(crate) file: PathBuf,
    /// From the command line.
    pub(crate) variables: Vec<(String, Value)>,
    /// Local programs and files, by their paths as they are written, in the chunk store.
    #[serde(default)]
    pub(crate) shipped: Shipped,
    /// Tells this run from an earlier one of the same name that was forgotten: it is part of its jobs' idempotency keys.
    #[serde(default)]
    pub(crate) nonce: String,
    /// Whether intermediate data stays.
    #[serde(default)]
    pub(crate) keep: bool,
}

impl StoredRun {
    /// Whether both mean the same jobs: what the text says, with what its variables are.
    pub(crate) fn is_same_workflow(&self, other: &Self) -> bool {
        (&self.text, &self.variables) == (&other.text, &other.variables)
    }
}

/// The layout that this client writes and reads.
pub(crate) const LAYOUT: u32 = 1;

/// `jobs/….end`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct End {
    /// Why it failed, if it did.
    pub(crate) failure: Option<String>,
    /// Its output.
    pub(crate) output: String,
    /// Its counters.
    pub(crate) counters: BTreeMap<String, u64>,
}

/// What is known of one try.
#[derive(Clone, Debug, Default)]
pub(crate) struct Try {
    pub(crate) has_spec: bool,
    pub(crate) id: Option<String>,
    pub(crate) end: Option<End>,
}

/// All that a folder tells of its jobs: by execution, then by try.
#[derive(Clone, Debug, Default)]
pub(crate) struct Saved {
    pub(crate) tries: BTreeMap<Execution, BTreeMap<u32, Try>>,
}

impl Saved {
    /// What has succeeded.
    pub(crate) fn done(&self) -> Done {
        let mut done = Done::new();
        for (execution, tries) in &self.tries {
            let succeeded =
                tries.values().filter_map(|it| it.end.as_ref()).find(|end| end.failure.is_none());
            if let Some(End { output, counters, .. }) = succeeded {
                let entry = Entry { output: output.clone(), counters: counters.clone() };
                done.insert(execution.clone(), entry);
            }
        }
        done
    }

    /// The try that is to be made, or to be waited for, next; whether it was begun before.
    pub(crate) fn next_try(&self, execution: &Execution) -> (u32, bool) {
        match self.tries.get(execution).and_then(|tries| tries.last_key_value()) {
            None => (1, false),
            Some((n, last)) if last.end.is_some() => (n + 1, false),
            Some((n, last)) => (*n, last.has_spec),
        }
    }
}

/// `J.R.T.WHAT` → its parts.
fn parse_name(name: &str) -> Option<(Execution, u32, &str)> {
    let mut parts = name.split('.');
    let (job, round) = (parts.next()?.to_owned(), parts.next()?.parse().ok()?);
    let (n, what) = (parts.next()?.parse().ok()?, parts.next()?);
    parts.next().is_none().then_some((Execution { job, round }, n, what))
}

/// What a file of one try is called.
pub(crate) fn name_of(execution: &Execution, n: u32, what: &str) -> String {
    format!("jobs/{}.{}.{n}.{what}", execution.job, execution.round)
}

impl RunFolder {
    /// The folder of one of the runs that are kept here.
    pub(crate) fn run(&self, run: &str) -> anyhow::Result<Self> {
        Ok(match self {
            Self::Store { store, root } => {
                Self::Store { store: store.clone(), root: root.join(run)? }
            }
            Self::Local { root } => Self::Local { root: root.join(run) },
        })
    }

    /// `${work}`
    pub(crate) fn work(&self) -> anyhow::Result<String> {
        match self {
            Self::Store { root, .. } => Ok(root.join("data")?.to_string()),
            Self::Local { root } => {
                let text = std::path::absolute(root.join("data"))?.to_str().map(str::to_owned);
                text.ok_or_else(|| anyhow!("the path of {} is not UTF-8", root.display()))
            }
        }
    }

    /// As people are told where it is.
    pub(crate) fn shown(&self) -> String {
        match self {
            Self::Store { root, .. } => root.to_string(),
            Self::Local { root } => root.display().to_string(),
        }
    }

    /// The command that goes on with this run, from wherever it is given.
    pub(crate) fn resume_command(&self, run: &str) -> String {
        let (local, above, default) = match self {
            Self::Store { root, .. } => ("", root.parent().map(|it| it.to_string()), RUNS),
            Self::Local { root } => {
                (" --local", root.parent().map(|it| it.display().to_string()), "")
            }
        };
        let runs = above.filter(|above| above != default);
        let runs = runs.map_or_else(String::new, |above| format!(" --runs {}", word(&above)));
        format!("howdah workflow resume {run}{local}{runs}")
    }

    /// Keeps other clients of a local run away while the lock is held; in the chunk store they do no harm.
    pub(crate) fn lock(&self) -> anyhow::Result<Option<File>> {
        let Self::Local { root } = self else { return Ok(None) };
        let cannot = || format!("cannot lock {}", root.display());
        std::fs::create_dir_all(root).with_context(cannot)?;
        let lock = File::options().create(true).append(true).open(root.join("lock"));
        let lock = lock.with_context(cannot)?;
        match lock.try_lock() {
            Ok(()) => Ok(Some(lock)),
            Err(TryLockError::WouldBlock) => {
                Err(anyhow!("another client is at work on this run ({})", root.display()))
            }
            Err(TryLockError::Error(error)) => Err(error).with_context(cannot),
        }
    }

    /// Makes way for another try of a local job, of which one was cut off that may have made this output. Intermediate data
    /// is removed. Anything else is somebody's who put it there meanwhile, for all that can be known: it is given another
    /// name, which is returned.
    pub(crate) async fn make_way(&self, output: &str) -> anyhow::Result<Option<String>> {
        if Path::new(output).starts_with(self.work()?) {
            self.remove_data(output).await?;
            return Ok(None);
        }
        let aside = format!("{}~{}", output.trim_end_matches('/'), net::random_hex(4));
        move_new(Path::new(output), Path::new(&aside))
            .with_context(|| format!("cannot move {output} out of the way"))?;
        Ok(Some(aside))
    }

    /// The names of what is in the folder, or in one below it; nothing where there is none.
    pub(crate) async fn names(&self, below: &str) -> anyhow::Result<Vec<String>> {
        match self {
            Self::Store { store, root } => {
                let folder = if below.is_empty() { root.clone() } else { root.join(below)? };
                match store.list_all(&folder, FILES_MAX).await {
                    Ok(entries) => Ok(entries
                        .iter()
                        .filter_map(|it| it.path.name())
                        .map(str::to_owned)
                        .collect()),
                    Err(StoreError::NotFound { .. }) => Ok(Vec::new()),
                    Err(error) => Err(error).with_context(|| format!("cannot list {folder}")),
                }
            }
            Self::Local { root } => {
                let entries = match std::fs::read_dir(root.join(below)) {
                    Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                        return Ok(Vec::new());
                    }
                    entries => {
                        entries.with_context(|| format!("cannot list {}", root.display()))?
                    }
                };
                let names =
                    entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
                let mut names = names.collect::<std::io::Result<Vec<_>>>()?;
                names.sort();
                Ok(names)
            }
        }
    }

    async fn read<T: DeserializeOwned>(&self, name: &str) -> anyhow::Result<Option<T>> {
        let bytes = match self {
            Self::Store { store, root } => {
                match store.read_all(&below(root, name)?, FILE_BYTES_MAX).await {
                    Ok(bytes) => bytes,
                    Err(StoreError::NotFound { .. }) => return Ok(None),
                    Err(error) => {
                        return Err(error)
                            .with_context(|| format!("cannot read {}/{name}", self.shown()));
                    }
                }
            }
            Self::Local { root } => match std::fs::read(root.join(name)) {
                Ok(bytes) => bytes,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
                Err(error) => {
                    return Err(error)
                        .with_context(|| format!("cannot read {}/{name}", self.shown()));
                }
            },
        };
        let read = serde_json::from_slice(&bytes);
        read.map(Some)
            .with_context(|| format!("{}/{name} is none of this version's files", self.shown()))
    }

    /// Writes a file once; what stands there already stays, and is given back.
    async fn write<T: Serialize + DeserializeOwned>(
        &self,
        name: &str,
        what: T,
    ) -> anyhow::Result<T> {
        let bytes = serde_json::to_vec_pretty(&what).context("cannot encode as JSON")?;
        let beside = format!("{name}~{}", net::random_hex(6));
        let cannot = || format!("cannot write {}/{name}", self.shown());
        let is_taken = match self {
            Self::Store { store, root } => {
                let (beside, path) = (below(root, &beside)?, below(root, name)?);
                let options = CreateOptions { parents: true, ..CreateOptions::default() };
                store.write_all(&beside, bytes, options).await.with_context(cannot)?;
                match store.rename(&beside, &path).await {
                    Ok(()) => false,
                    Err(StoreError::AlreadyExists { .. }) => {
                        store.delete_for_good(&beside, false).await.with_context(cannot)?;
                        true
                    }
                    Err(error) => return Err(error).with_context(cannot),
                }
            }
            Self::Local { root } => {
                let (beside, path) = (root.join(beside), root.join(name));
                std::fs::create_dir_all(path.parent().unwrap_or(Path::new("")))
                    .with_context(cannot)?;
                write_synced(&beside, &bytes).with_context(cannot)?;
                match move_new(&beside, &path) {
                    Ok(()) => {
                        let folder = path.parent().unwrap_or(root);
                        File::open(folder).and_then(|it| it.sync_all()).with_context(cannot)?;
                        false
                    }
                    Err(LocalFileError::Exists { .. }) => {
                        std::fs::remove_file(&beside).with_context(cannot)?;
                        true
                    }
                    Err(error) => return Err(error).with_context(cannot),
                }
            }
        };
        match is_taken {
            false => Ok(what),
            true => self
                .read(name)
                .await?
                .ok_or_else(|| anyhow!("{}/{name} came and went", self.shown())),
        }
    }

    /// The newest plan, and its number.
    pub(crate) async fn plan(&self) -> anyhow::Result<Option<(u32, StoredRun)>> {
        let names = self.names("").await?;
        let numbers =
            names.iter().filter_map(|name| name.strip_prefix("plan.")?.parse::<u32>().ok());
        let Some(newest) = numbers.max() else { return Ok(None) };
        let plan: Option<StoredRun> = self.read(&format!("plan.{newest}")).await?;
        let plan = plan.filter(|plan| plan.version == LAYOUT);
        let plan =
            plan.ok_or_else(|| anyhow!("{} was written by another version", self.shown()))?;
        Ok(Some((newest, plan)))
    }

    pub(crate) async fn write_plan(&self, n: u32, plan: StoredRun) -> anyhow::Result<StoredRun> {
        self.write(&format!("plan.{n}"), plan).await
    }

    pub(crate) async fn write_spec(
        &self,
        of: &Execution,
        n: u32,
        spec: JobSpec,
    ) -> anyhow::Result<JobSpec> {
        self.write(&name_of(of, n, "spec"), spec).await
    }

    pub(crate) async fn spec(&self, of: &Execution, n: u32) -> anyhow::Result<JobSpec> {
        let spec = self.read(&name_of(of, n, "spec")).await?;
        spec.ok_or_else(|| anyhow!("{} has no {}", self.shown(), name_of(of, n, "spec")))
    }

    pub(crate) async fn write_id(
        &self,
        of: &Execution,
        n: u32,
        id: String,
    ) -> anyhow::Result<String> {
        self.write(&name_of(of, n, "id"), id).await
    }

    pub(crate) async fn write_job_end(
        &self,
        of: &Execution,
        n: u32,
        end: End,
    ) -> anyhow::Result<End> {
        self.write(&name_of(of, n, "end"), end).await
    }

    /// Says that all is done.
    pub(crate) async fn write_end(&self) -> anyhow::Result<()> {
        self.write("end", true).await.map(drop)
    }

    pub(crate) async fn has_ended(&self) -> anyhow::Result<bool> {
        Ok(self.read::<bool>("end").await?.unwrap_or(false))
    }

    /// All that is known of its jobs.
    pub(crate) async fn saved(&self) -> anyhow::Result<Saved> {
        let mut saved = Saved::default();
        for name in self.names("jobs").await? {
            let Some((execution, n, what)) = parse_name(&name) else { continue };
            let path = name_of(&execution, n, what);
            let it = saved.tries.entry(execution).or_default().entry(n).or_default();
            match what {
                "spec" => it.has_spec = true,
                "id" => it.id = self.read(&path).await?,
                "end" => it.end = self.read(&path).await?,
                _ => {}
            }
        }
        Ok(saved)
    }

    /// Whether something stands at a path of jobs.
    pub(crate) async fn stands(&self, path: &str) -> anyhow::Result<bool> {
        match self {
            Self::Store { store, .. } => {
                let Ok(path) = path.strip_prefix("howdah://").unwrap_or(path).parse::<StorePath>()
                else {
                    return Ok(false);
                };
                match store.stat(&path).await {
                    Ok(_) => Ok(true),
                    Err(StoreError::NotFound { .. } | StoreError::NotAFolder { .. }) => Ok(false),
                    Err(error) => Err(error.into()),
                }
            }
            Self::Local { .. } => Ok(Path::new(path).symlink_metadata().is_ok()),
        }
    }

    /// Removes a folder of the intermediate data, or all of it; what is gone already is no failure.
    pub(crate) async fn remove_data(&self, path: &str) -> anyhow::Result<()> {
        let work = self.work()?;
        if !Path::new(path).starts_with(&work) {
            return Ok(());
        }
        let cannot = || format!("cannot remove {path}");
        match self {
            Self::Store { store, .. } => match store.delete_for_good(&path.parse()?, true).await {
                Err(StoreError::NotFound { .. }) => Ok(()),
                removed => removed.with_context(cannot),
            },
            Self::Local { .. } => match std::fs::remove_dir_all(path) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
                removed => removed.with_context(cannot),
            },
        }
    }
}

/// A file that has its bytes also after the host has lost its power.
fn write_synced(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut file = File::create_new(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// A word as a shell takes it.
fn word(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+=:@,".contains(c);
    match text.chars().all(is_plain) {
        true => text.to_owned(),
        false => format!("'{}'", text.replace('\'', r"'\''")),
    }
}

fn below(root: &StorePath, name: &str) -> anyhow::Result<StorePath> {
    Ok(name.split('/').try_fold(root.clone(), |path, part| path.join(part))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn execution(job: &str, round: u32) -> Execution {
        Execution { job: job.to_owned(), round }
    }

    #[tokio::test]
    async fn what_is_written_first_stays_and_tells_what_was_done() {
        let folder = tempfile::tempdir().unwrap();
        let run = RunFolder::Local { root: folder.path().to_owned() }.run("r").unwrap();
        assert!(run.plan().await.unwrap().is_none());
        let end = |failure: Option<&str>| End {
            failure: failure.map(str::to_owned),
            output: "/o".to_owned(),
            counters: [("g.c".to_owned(), 3)].into(),
        };
        let job = execution("add", 2);
        let spec: JobSpec = serde_json::from_str(
            r#"{"name":"n","input":["/i"],"output":"/o","program":{"builtin":{"name":"wordcount"}}}"#,
        )
        .unwrap();
        assert_eq!(run.saved().await.unwrap().next_try(&job), (1, false));
        run.write_spec(&job, 1, spec.clone()).await.unwrap();
        let other = JobSpec { output: "/other".to_owned(), ..spec.clone() };
        assert_eq!(run.write_spec(&job, 1, other).await.unwrap(), spec, "the first one counts");
        assert_eq!(run.saved().await.unwrap().next_try(&job), (1, true));
        run.write_job_end(&job, 1, end(Some("broken"))).await.unwrap();
        let saved = run.saved().await.unwrap();
        assert_eq!((saved.next_try(&job), saved.done().len()), ((2, false), 0));
        run.write_spec(&job, 2, spec).await.unwrap();
        run.write_job_end(&job, 2, end(None)).await.unwrap();
        let done = run.saved().await.unwrap().done();
        assert_eq!(done[&job].counters["g.c"], 3);
        assert_eq!(run.names("jobs").await.unwrap().len(), 4, "nothing else is left");
    }

    #[tokio::test]
    async fn what_may_be_somebodys_is_moved_aside_and_only_intermediate_data_goes() {
        let folder = tempfile::tempdir().unwrap();
        let run = RunFolder::Local { root: folder.path().join("runs/r") };
        let (inner, result) = (format!("{}/a", run.work().unwrap()), folder.path().join("result"));
        for made in [Path::new(&inner), &result] {
            std::fs::create_dir_all(made).unwrap();
            std::fs::write(made.join("part"), "x").unwrap();
        }
        assert_eq!(run.make_way(&inner).await.unwrap(), None);
        assert!(!Path::new(&inner).exists());
        let aside = run.make_way(result.to_str().unwrap()).await.unwrap().unwrap();
        assert!(!result.exists());
        assert_eq!(std::fs::read(Path::new(&aside).join("part")).unwrap(), b"x");
    }

    #[test]
    fn one_client_at_a_time_and_hints_that_work_from_any_folder() {
        let folder = tempfile::tempdir().unwrap();
        let run = RunFolder::Local { root: folder.path().join("my runs/r") };
        let held = run.lock().unwrap();
        assert!(run.lock().unwrap_err().to_string().contains("another client is at work"));
        drop(held);
        assert!(run.lock().unwrap().is_some());
        let expected = format!("resume r --local --runs '{}/my runs'", folder.path().display());
        assert!(run.resume_command("r").contains(&expected), "{}", run.resume_command("r"));
        assert_eq!(word("it's"), r"'it'\''s'");
    }

    #[test]
    fn plans_of_before_can_be_read_and_variables_count() {
        let old = r#"{"version":1,"text":"t","file":"/f","variables":[["n",1]]}"#;
        let old: StoredRun = serde_json::from_str(old).unwrap();
        assert!(old.nonce.is_empty() && !old.keep);
        let newer = StoredRun { nonce: "0a".to_owned(), keep: true, ..old.clone() };
        assert!(old.is_same_workflow(&newer));
        let other = StoredRun { variables: vec![("n".to_owned(), 2.into())], ..old.clone() };
        assert!(!old.is_same_workflow(&other));
    }

    #[tokio::test]
    async fn only_intermediate_data_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let run = RunFolder::Local { root: folder.path().join("r") };
        let work = run.work().unwrap();
        std::fs::create_dir_all(format!("{work}/a")).unwrap();
        std::fs::create_dir_all(folder.path().join("result")).unwrap();
        run.remove_data(folder.path().join("result").to_str().unwrap()).await.unwrap();
        run.remove_data(&format!("{work}/a")).await.unwrap();
        run.remove_data(&format!("{work}/a")).await.unwrap();
        assert!(folder.path().join("result").exists() && !Path::new(&work).join("a").exists());
    }
}
