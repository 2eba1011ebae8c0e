//! The file that gives each host's rack (Hadoop: `net.topology.table.file.name`). Both masters read
//! the same file, at their start and again whenever it has changed: they check when a host
//! registers and when metrics are read. An error in it prevents the start; later, the last good
//! table stays in use, also when the file's disk does not answer.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ids::{HostName, RackName};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::FileStamp;
use crate::racks::{RackTable, RackTableError};

/// Time limit for one check of the file.
const PATIENCE: Duration = Duration::from_secs(1);

/// Why a topology file can't be used.
#[derive(Debug, thiserror::Error)]
pub enum TopologyError {
    /// It can't be read.
    #[error("the topology file {} can't be read: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// A line is wrong.
    #[error("the topology file {}, {source}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, and what is wrong with it.
        source: RackTableError,
    },
}

/// The racks of hosts, from a file if there is one. Cheap to clone; all clones share one state.
#[derive(Clone, Debug, Default)]
pub struct Topology(Option<Arc<TopologyFile>>);

#[derive(Debug)]
struct TopologyFile {
    path: PathBuf,
    /// Locked only briefly; never while waiting for the disk.
    state: Mutex<State>,
    look: tokio::sync::Mutex<Look>,
}

/// The check of the file that is under way: another one would only hang as well.
#[derive(Debug, Default)]
struct Look {
    running: Option<JoinHandle<()>>,
    /// Whether it has exceeded its time limit.
    is_late: bool,
}

#[derive(Debug)]
struct State {
    table: RackTable,
    /// The file's stamp when last read; `None` if it could not even be examined.
    stamp: Option<FileStamp>,
    /// Whether it could not be used then.
    is_wrong: bool,
}

impl Topology {
    /// Reads the file, if one is configured.
    ///
    /// # Errors
    /// When it can't be read, or a line of it is wrong.
    pub fn open(path: Option<&Path>) -> Result<Self, TopologyError> {
        let Some(path) = path else { return Ok(Self::default()) };
        // The stamp is taken first, so that an edit in between is seen at the next check.
        let stamp = FileStamp::of(path);
        let table = read(path)?;
        tracing::info!(path = %path.display(), hosts = table.len(), "read the topology file");
        let state = Mutex::new(State { table, stamp, is_wrong: false });
        let (path, look) = (path.to_owned(), tokio::sync::Mutex::default());
        Ok(Self(Some(Arc::new(TopologyFile { path, state, look }))))
    }

    /// The rack of a host that reports `told`: the file takes precedence over the host's own word.
    pub async fn rack_of(&self, host: &HostName, told: RackName) -> RackName {
        let known = self.up_to_date(|state, _| state.table.rack_of(host).cloned()).await;
        known.flatten().unwrap_or(told)
    }

    /// Whether an older table is in use because the file is wrong or does not answer.
    pub async fn is_wrong(&self) -> bool {
        let is_wrong = self.up_to_date(|state, is_late| state.is_wrong || is_late).await;
        is_wrong.unwrap_or_default()
    }

    /// Reads the file again if it has changed, then calls `ask`, which is also told whether the
    /// file has not answered.
    async fn up_to_date<T>(&self, ask: impl FnOnce(&State, bool) -> T) -> Option<T> {
        let file = self.0.as_ref()?;
        let mut look = file.look.lock().await;
        // A check that is under way may have begun before the last edit.
        if look.has_ended(file).await {
            let file = Arc::clone(file);
            look.running = Some(tokio::task::spawn_blocking(move || file.read_again()));
        }
        let is_late = !look.has_ended(file).await;
        drop(look);
        Some(ask(&file.state(), is_late))
    }
}

impl Look {
    /// Waits for the check's end, unless it has timed out before.
    async fn has_ended(&mut self, file: &TopologyFile) -> bool {
        let Some(running) = &mut self.running else { return true };
        if self.is_late && !running.is_finished() {
            return false;
        }
        match timeout(PATIENCE, running).await {
            Ok(ended) => {
                if let Err(error) = ended {
                    tracing::error!(%error, "the topology file was not looked at");
                }
                *self = Self::default();
                true
            }
            Err(_) => {
                let path = file.path.display();
                tracing::error!(%path, "the topology file does not answer within {PATIENCE:?}: the racks that were read before stay");
                self.is_late = true;
                false
            }
        }
    }
}

impl TopologyFile {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads the file if it has changed.
    fn read_again(&self) {
        let stamp = FileStamp::of(&self.path);
        if stamp != self.state().stamp {
            let read = read(&self.path);
            self.state().take(read, stamp, &self.path);
        }
    }
}

impl State {
    fn take(
        &mut self,
        read: Result<RackTable, TopologyError>,
        stamp: Option<FileStamp>,
        path: &Path,
    ) {
        self.stamp = stamp;
        match read {
            Ok(table) => {
                let (hosts, path) = (table.len(), path.display());
                tracing::info!(%path, hosts, "the topology file has changed: it counts for hosts that register from now on");
                (self.table, self.is_wrong) = (table, false);
            }
            Err(error) => {
                tracing::error!(%error, "the topology file is wrong: the racks that were read before stay; mend it");
                self.is_wrong = true;
            }
        }
    }
}

fn read(path: &Path) -> Result<RackTable, TopologyError> {
    let text = std::fs::read_to_string(path);
    let text = text.map_err(|source| TopologyError::Read { path: path.to_owned(), source })?;
    RackTable::parse(&text).map_err(|source| TopologyError::Line { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn rack(topology: &Topology, host: &str) -> String {
        let told = "/told".parse().expect("a rack");
        topology.rack_of(&host.parse().expect("a host"), told).await.to_string()
    }

    /// Puts a new file in place of the old one, as editors do.
    fn replace(path: &Path, text: &str) {
        let beside = path.with_extension("new");
        std::fs::write(&beside, text).unwrap();
        std::fs::rename(beside, path).unwrap();
    }

    #[tokio::test]
    async fn an_edit_counts_and_a_bad_one_keeps_what_was_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("racks");
        replace(&path, "a /r1\n");
        let topology = Topology::open(Some(&path)).unwrap();
        assert_eq!(
            (rack(&topology, "a").await, rack(&topology, "b").await),
            ("/r1".into(), "/told".into())
        );
        replace(&path, "a /r2\nb /r2\n");
        assert_eq!(
            (rack(&topology, "a").await, rack(&topology, "b").await),
            ("/r2".into(), "/r2".into())
        );
        replace(&path, "a /r3\nb\n");
        assert_eq!((rack(&topology, "a").await, topology.is_wrong().await), ("/r2".into(), true));
        std::fs::remove_file(&path).unwrap();
        assert_eq!((rack(&topology, "b").await, topology.is_wrong().await), ("/r2".into(), true));
        replace(&path, "");
        assert_eq!(
            (topology.is_wrong().await, rack(&topology, "a").await),
            (false, "/told".into())
        );
    }

    #[tokio::test]
    async fn a_disk_that_hangs_keeps_nobody_and_the_racks_stay() {
        let folder = tempfile::tempdir().unwrap();
        let (path, pipe) = (folder.path().join("racks"), folder.path().join("pipe"));
        replace(&path, "a /r1\n");
        let topology = Topology::open(Some(&path)).unwrap();
        // Opening it for reading blocks until somebody opens it for writing.
        let made = std::process::Command::new("mkfifo").arg(&pipe).status().unwrap();
        assert!(made.success());
        let beside = path.with_extension("new");
        std::fs::hard_link(&pipe, &beside).and_then(|()| std::fs::rename(beside, &path)).unwrap();
        for _ in 0..2 {
            assert_eq!(
                (rack(&topology, "a").await, topology.is_wrong().await),
                ("/r1".into(), true)
            );
        }
        let file = topology.0.as_ref().unwrap();
        assert!(file.look.lock().await.running.is_some(), "one look hangs, and no other");
        replace(&path, "a /r2\n");
        assert_eq!(rack(&topology, "a").await, "/r1", "it is not looked at before");
        drop(std::fs::OpenOptions::new().write(true).open(&pipe).unwrap());
        while rack(&topology, "a").await != "/r2" {
            tokio::task::yield_now().await;
        }
        assert!(!topology.is_wrong().await);
    }

    #[test]
    fn a_start_with_a_bad_file_is_refused_with_its_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("racks");
        let error = || Topology::open(Some(&path)).unwrap_err().to_string();
        assert!(error().contains("can't be read") && error().contains("racks"), "{}", error());
        std::fs::write(&path, "a /r1\nb rack\n").unwrap();
        assert!(error().contains("racks, line 2: rack name"), "{}", error());
    }

    #[tokio::test]
    async fn without_a_file_hosts_are_believed() {
        let topology = Topology::open(None).unwrap();
        assert_eq!(
            (rack(&topology, "a").await, topology.is_wrong().await),
            ("/told".into(), false)
        );
    }
}
