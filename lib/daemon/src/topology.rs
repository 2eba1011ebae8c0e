//! The file that says in which rack each host stands (Hadoop: `net.topology.table.file.name`). Both masters read the same one,
//! at their start and again whenever it has changed: it is looked at when a host registers and when metrics are read. What is
//! wrong with it refuses the start; later the table that was read last stays.

use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use ids::{HostName, RackName};

use crate::racks::{RackTable, RackTableError};

/// Why a topology file can't be used.
#[derive(Debug, thiserror::Error)]
pub enum TopologyError {
    /// It can't be read.
    #[error("the topology file {} can't be read: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A line is wrong.
    #[error("the topology file {}, {source}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// Which, and what is wrong with it.
        source: RackTableError,
    },
}

/// Racks of hosts, by a file if there is one. Cheap to clone; all clones are one.
#[derive(Clone, Debug, Default)]
pub struct Topology(Option<Arc<TopologyFile>>);

#[derive(Debug)]
struct TopologyFile {
    path: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    table: RackTable,
    /// What the file was like when it was read last; absent: it could not even be looked at.
    stamp: Option<Stamp>,
    /// Whether it could not be used then.
    is_wrong: bool,
}

/// What changes with every edit of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    file: u64,
    length: u64,
    modified: (i64, i64),
}

impl Stamp {
    fn of(file: &Metadata) -> Self {
        let modified = (file.mtime(), file.mtime_nsec());
        Self { file: file.ino(), length: file.len(), modified }
    }
}

impl Topology {
    /// Reads the file, if there is to be one.
    ///
    /// # Errors
    /// When it can't be read, or a line of it is wrong.
    pub fn open(path: Option<&Path>) -> Result<Self, TopologyError> {
        let Some(path) = path else { return Ok(Self::default()) };
        // First what it is like: an edit in between is seen at the next look.
        let stamp = look(path);
        let table = read(path)?;
        tracing::info!(path = %path.display(), hosts = table.len(), "read the topology file");
        let state = Mutex::new(State { table, stamp, is_wrong: false });
        Ok(Self(Some(Arc::new(TopologyFile { path: path.to_owned(), state }))))
    }

    /// The rack of a host that says to stand in `told`: the file's word counts more than the host's own.
    #[must_use]
    pub fn rack_of(&self, host: &HostName, told: RackName) -> RackName {
        let known = self.up_to_date(|state| state.table.rack_of(host).cloned());
        known.flatten().unwrap_or(told)
    }

    /// Whether the file is such that an older table is gone by.
    #[must_use]
    pub fn is_wrong(&self) -> bool {
        self.up_to_date(|state| state.is_wrong).unwrap_or_default()
    }

    /// Reads the file again if it has changed, then asks for something.
    fn up_to_date<T>(&self, ask: impl FnOnce(&State) -> T) -> Option<T> {
        let file = self.0.as_deref()?;
        let mut state = file.state.lock().unwrap_or_else(PoisonError::into_inner);
        let stamp = look(&file.path);
        if stamp != state.stamp {
            state.stamp = stamp;
            state.read_again(&file.path);
        }
        Some(ask(&state))
    }
}

impl State {
    fn read_again(&mut self, path: &Path) {
        match read(path) {
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

fn look(path: &Path) -> Option<Stamp> {
    path.metadata().ok().map(|file| Stamp::of(&file))
}

fn read(path: &Path) -> Result<RackTable, TopologyError> {
    let text = std::fs::read_to_string(path);
    let text = text.map_err(|source| TopologyError::Read { path: path.to_owned(), source })?;
    RackTable::parse(&text).map_err(|source| TopologyError::Line { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rack(topology: &Topology, host: &str) -> String {
        let told = "/told".parse().expect("a rack");
        topology.rack_of(&host.parse().expect("a host"), told).to_string()
    }

    /// Puts a new file in the place of the old one, as editors do.
    fn replace(path: &Path, text: &str) {
        let beside = path.with_extension("new");
        std::fs::write(&beside, text).unwrap();
        std::fs::rename(beside, path).unwrap();
    }

    #[test]
    fn an_edit_counts_and_a_bad_one_keeps_what_was_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("racks");
        replace(&path, "a /r1\n");
        let topology = Topology::open(Some(&path)).unwrap();
        assert_eq!((rack(&topology, "a"), rack(&topology, "b")), ("/r1".into(), "/told".into()));
        replace(&path, "a /r2\nb /r2\n");
        assert_eq!((rack(&topology, "a"), rack(&topology, "b")), ("/r2".into(), "/r2".into()));
        replace(&path, "a /r3\nb\n");
        assert_eq!((rack(&topology, "a"), topology.is_wrong()), ("/r2".into(), true));
        std::fs::remove_file(&path).unwrap();
        assert_eq!((rack(&topology, "b"), topology.is_wrong()), ("/r2".into(), true));
        replace(&path, "");
        assert_eq!((topology.is_wrong(), rack(&topology, "a")), (false, "/told".into()));
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

    #[test]
    fn without_a_file_hosts_are_believed() {
        let topology = Topology::open(None).unwrap();
        assert_eq!((rack(&topology, "a"), topology.is_wrong()), ("/told".into(), false));
    }
}
