//! A supervised cluster from its start to its end: lock, configuration, children, readiness, stop.
//! `dev` and `demo` hold one.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, anyhow};
use config::Config;
use rustix::fs::FlockOperation;
use rustix::io::Errno;

use super::by_hand;
use super::children::{self, Supervised};
use super::layout::Layout;
use super::masters::FirstStarts;
use super::settings::{self, Prepared};
use crate::exit::OrEarly;
use crate::predecessor::patiently;
use crate::signals::{Caught, Termination};

/// Time for all daemons to be ready.
const READY_DEADLINE: Duration = Duration::from_secs(60);
const READY_POLL: Duration = Duration::from_millis(20);
/// Bytes of a log's end that are shown when a daemon does not come up.
const LOG_TAIL_BYTES: u64 = 2000;

/// What a first start makes before cluster.yaml, which it may be cut off from.
const FIRST_FILES: [&str; 4] = ["lock", "logs", "pids", "secret"];

/// What to start.
#[derive(Clone, Debug, Default)]
pub(crate) struct ClusterOptions {
    /// TaskTrackers, and chunkservers; what the folder says, or 3, if absent.
    pub(crate) trackers: Option<usize>,
    /// `--set` overrides.
    pub(crate) overrides: Vec<(String, String)>,
}

/// Another supervisor runs on the same folder.
#[derive(Debug, thiserror::Error)]
#[error("{dir} is in use by a running `howdah dev`: stop that one first, or choose another --dir")]
pub(crate) struct DirInUse {
    dir: PathBuf,
}

/// A running cluster. It must be [stopped](Cluster::stop); if the supervisor just ends, the system
/// ends the daemons.
pub(crate) struct Cluster {
    /// Its configuration.
    pub(crate) config: Config,
    layout: Layout,
    daemons: Vec<Supervised>,
    _lock: File,
}

impl Cluster {
    /// Starts everything in `dir` (made if missing) and returns when all daemons are ready, or the signal
    /// that asks for the end before.
    ///
    /// # Errors
    /// When the folder is in use, a port is taken, or a daemon does not come up.
    ///
    /// Nothing runs where no cluster is returned.
    pub(crate) async fn start(
        dir: &Path,
        options: &ClusterOptions,
        end: &mut Termination,
    ) -> anyhow::Result<Result<Self, Caught>> {
        let layout = open_folder(dir)?;
        let lock = lock(&layout).or_early()?;
        mint_secret(&layout)?;
        let Prepared { config, seats } =
            settings::prepare(&layout, options.trackers, &options.overrides)?;
        let first_starts = FirstStarts::of(&layout, &config).or_early()?;
        let mut cluster = Self { config, layout, daemons: Vec::new(), _lock: lock };
        let started = end.or(cluster.start_all(seats, first_starts)).await;
        if !matches!(started, Ok(Ok(()))) {
            cluster.stop().await;
        }
        match started {
            Ok(started) => started.map(|()| Ok(cluster)),
            Err(caught) => Ok(Err(caught)),
        }
    }

    async fn start_all(
        &mut self,
        seats: Vec<settings::Seat>,
        first_starts: FirstStarts,
    ) -> anyhow::Result<()> {
        for seat in seats {
            let init = first_starts.is_first(&seat.name);
            self.daemons.push(children::spawn(&self.layout, seat, init)?);
        }
        self.await_ready().await?;
        let complete = self.layout.complete();
        FirstStarts::are_over(&self.layout)
            .with_context(|| format!("cannot write {}", complete.display()))
    }

    async fn await_ready(&self) -> anyhow::Result<()> {
        let tls = crate::tls::of_client(&self.config)?;
        let settings = crate::tls::client_settings(&self.config.client, tls);
        let client = net::Client::new(settings);
        let started = clock::Stopwatch::start();
        for daemon in &self.daemons {
            loop {
                let answer = client.request(net::reqwest::Method::GET, &daemon.address, "/readyz");
                let Err(why) = client.send(&daemon.address, answer).await else { break };
                if daemon.ended().is_some() || started.elapsed() > READY_DEADLINE {
                    return Err(self.not_ready(daemon, &why));
                }
                tokio::time::sleep(READY_POLL).await;
            }
        }
        Ok(())
    }

    fn not_ready(&self, daemon: &Supervised, why: &net::CallError) -> anyhow::Error {
        let log = self.layout.log_of(&daemon.name.to_string());
        let tail = end_of(&log).unwrap_or_default();
        anyhow!("{} does not get ready: {why}; end of {}:\n{tail}", daemon.name, log.display())
    }

    /// Stops all daemons, the last started first; those of one kind together. Then those that somebody has started again.
    pub(crate) async fn stop(&mut self) {
        while let Some(last) = self.daemons.last() {
            let kind = last.name.command();
            let first = self.daemons.partition_point(|daemon| daemon.name.command() != kind);
            let mut together = self.daemons.split_off(first);
            futures_util::future::join_all(together.iter_mut().map(Supervised::stop)).await;
        }
        by_hand::stop_all(&self.layout.pids()).await;
    }

    /// The file for `--config`.
    pub(crate) fn config_file(&self) -> PathBuf {
        self.layout.cluster_yaml()
    }

    /// Each daemon's name and URL.
    pub(crate) fn urls(&self) -> impl Iterator<Item = (String, String)> {
        let scheme = crate::tls::scheme(&self.config);
        let daemons = self.daemons.iter();
        daemons
            .map(move |daemon| (daemon.name.to_string(), format!("{scheme}://{}/", daemon.address)))
    }
}

fn end_of(log: &Path) -> std::io::Result<String> {
    let mut file = File::open(log)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(LOG_TAIL_BYTES)))?;
    let mut bytes = Vec::new();
    file.take(LOG_TAIL_BYTES).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn open_folder(dir: &Path) -> anyhow::Result<Layout> {
    check_no_stranger(dir)?;
    let made = || -> std::io::Result<Layout> {
        // All data of the cluster is below it, for its owner alone whatever the umask.
        DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        let layout = Layout::new(dir.canonicalize()?);
        fs::create_dir_all(layout.pids())?;
        fs::create_dir_all(layout.logs())?;
        Ok(layout)
    };
    made().with_context(|| format!("cannot make the folder {}", dir.display())).or_early()
}

/// A folder of something else.
#[derive(Debug, thiserror::Error)]
#[error(
    "{dir} is not empty ({found}), and no cluster of `howdah dev`: it has no cluster.yaml; name an empty or \
     a new folder with --dir"
)]
pub(crate) struct NoCluster {
    dir: PathBuf,
    found: String,
}

/// Refuses a folder with anything that no start of a cluster leaves there before its cluster.yaml.
fn check_no_stranger(dir: &Path) -> anyhow::Result<()> {
    if dir.join("cluster.yaml").exists() {
        return Ok(());
    }
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    let is_ours = |name: &String| {
        FIRST_FILES.contains(&name.as_str()) || name.starts_with(crate::local_file::UNFINISHED)
    };
    match names.filter(|name| !is_ours(name)).min() {
        None => Ok(()),
        Some(found) => Err(NoCluster { dir: dir.to_owned(), found }).or_early(),
    }
}

fn lock(layout: &Layout) -> anyhow::Result<File> {
    let path = layout.lock();
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .with_context(|| format!("cannot open {}", path.display()))
        .or_early()?;
    let take = || rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive);
    match patiently(take, |error| *error == Errno::WOULDBLOCK) {
        Ok(()) => Ok(file),
        Err(Errno::WOULDBLOCK) => Err(DirInUse { dir: layout.dir().to_owned() }.into()),
        Err(error) => Err(error).with_context(|| format!("cannot lock {}", path.display())),
    }
}

fn mint_secret(layout: &Layout) -> anyhow::Result<()> {
    let path = layout.secret();
    if path.exists() {
        return Ok(());
    }
    net::Secret::random().write_file(&path).context("cannot keep the cluster's secret")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_new_clusters_folder_is_for_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let layout = open_folder(&folder.path().join("cluster")).unwrap();
        let mode = fs::metadata(layout.dir()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700, "{mode:o}");
    }

    #[test]
    fn a_folder_of_something_else_is_refused_and_left_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        drop(open_folder(folder.path()).unwrap());
        fs::write(folder.path().join("secret"), "of a start that was cut off").unwrap();
        drop(open_folder(folder.path()).unwrap());
        let other = tempfile::tempdir().unwrap();
        fs::write(other.path().join("thesis.txt"), "").unwrap();
        let refused = open_folder(other.path()).map(drop).unwrap_err().to_string();
        for part in [other.path().to_str().unwrap(), "thesis.txt", "--dir"] {
            assert!(refused.contains(part), "{refused}");
        }
        assert_eq!(fs::read_dir(other.path()).unwrap().count(), 1);
        fs::write(other.path().join("cluster.yaml"), "").unwrap();
        drop(open_folder(other.path()).unwrap());
    }
}
