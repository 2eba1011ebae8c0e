//! Which masters of a supervised cluster are to be initialised: those whose first start never came to its
//! end. A journal that is lost later is never taken for an empty one.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use config::Config;

use super::layout::Layout;
use crate::daemons::DaemonName;
use crate::local_file::write_durably;

/// What files of a journal that hold records are called.
const HOLDERS: [&str; 2] = ["journal-", "snapshot-"];

/// A master's journal is gone.
#[derive(Debug, thiserror::Error)]
pub(crate) enum JournalLost {
    /// The chunk master's.
    #[error(
        "{folder} holds no journal of the chunk master, but this cluster had one: put the journal back from \
         a copy; without it the files of the cluster are lost, and a new one needs another --dir"
    )]
    Chunkmaster {
        /// Where it was.
        folder: PathBuf,
    },
    /// The JobTracker's.
    #[error(
        "{folder} holds no journal of the JobTracker, but this cluster had one: put the journal back from a \
         copy, or remove {complete} to start with a JobTracker that knows no jobs; files are not touched"
    )]
    Jobtracker {
        /// Where it was.
        folder: PathBuf,
        /// The file that says that there was one.
        complete: PathBuf,
    },
}

/// The masters that start for the first time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FirstStarts {
    chunkmaster: bool,
    jobtracker: bool,
}

impl FirstStarts {
    /// Reads it from the disk.
    ///
    /// # Errors
    /// When a journal is gone that was there.
    pub(super) fn of(layout: &Layout, config: &Config) -> Result<Self, JournalLost> {
        let was_complete = layout.complete().exists();
        let chunkmaster = is_unmade(&config.chunkmaster.data_dir);
        let jobtracker = is_unmade(&config.jobtracker.data_dir);
        // The JobTracker's first record says which cluster the chunk master made before.
        if chunkmaster && (was_complete || !jobtracker) {
            let folder = config.chunkmaster.data_dir.clone();
            return Err(JournalLost::Chunkmaster { folder });
        }
        if jobtracker && was_complete {
            let folder = config.jobtracker.data_dir.clone();
            return Err(JournalLost::Jobtracker { folder, complete: layout.complete() });
        }
        Ok(Self { chunkmaster, jobtracker })
    }

    /// Whether this daemon is to be initialised.
    pub(super) fn is_first(self, name: &DaemonName) -> bool {
        match name {
            DaemonName::Chunkmaster => self.chunkmaster,
            DaemonName::Jobtracker => self.jobtracker,
            DaemonName::Chunkserver(_) | DaemonName::Tasktracker(_) => false,
        }
    }

    /// Keeps in mind that all of the cluster has been ready.
    pub(super) fn are_over(layout: &Layout) -> io::Result<()> {
        let text = "All daemons of this cluster have been ready together.\n";
        write_durably(&layout.complete(), text.as_bytes())
    }
}

/// Whether nothing was ever journaled in `folder`: it is empty, or an initialisation was cut off in it.
fn is_unmade(folder: &Path) -> bool {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    let holders = names.filter(|name| HOLDERS.iter().any(|holder| name.starts_with(holder)));
    match holders.count() {
        0 => true,
        1 => journal::verify(folder)
            .is_ok_and(|report| report.records == 0 && report.snapshot.is_none()),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Records = Option<&'static [&'static [u8]]>;
    /// What the masters have journaled, whether the cluster was complete, and who starts for the first time.
    type Case = (Records, Records, bool, Option<(bool, bool)>);

    fn write_journal(folder: &Path, records: &[&[u8]]) {
        let options = journal::Options::with_segments(1);
        journal::Journal::create(folder, options).unwrap();
        let (sender, durable) = std::sync::mpsc::channel();
        let tell = Box::new(move |word| drop(sender.send(word)));
        let mut journal = journal::Journal::open(folder, options, tell).unwrap().journal;
        for record in records {
            journal.append(record).unwrap();
            journal.flush();
            durable.recv().unwrap();
        }
    }

    #[test]
    fn only_a_first_start_that_was_cut_off_is_begun_again() {
        let table: [Case; 8] = [
            (None, None, false, Some((true, true))),
            (Some(&[]), None, false, Some((true, true))),
            (Some(&[b"made"]), None, false, Some((false, true))),
            (Some(&[b"made"]), Some(&[]), false, Some((false, true))),
            (Some(&[b"made"]), Some(&[b"joined"]), true, Some((false, false))),
            (Some(&[b"made"]), None, true, None),
            (None, Some(&[b"joined"]), true, None),
            (None, Some(&[b"joined"]), false, None),
        ];
        for (chunkmaster, jobtracker, complete, expected) in table {
            let folder = tempfile::tempdir().unwrap();
            let layout = Layout::new(folder.path().to_owned());
            let mut config = Config::default();
            config.chunkmaster.data_dir = layout.data_of("chunkmaster");
            config.jobtracker.data_dir = layout.data_of("jobtracker");
            for (records, folder) in [
                (chunkmaster, &config.chunkmaster.data_dir),
                (jobtracker, &config.jobtracker.data_dir),
            ] {
                if let Some(records) = records {
                    write_journal(folder, records);
                }
            }
            if complete {
                FirstStarts::are_over(&layout).unwrap();
            }
            let expected =
                expected.map(|(chunkmaster, jobtracker)| FirstStarts { chunkmaster, jobtracker });
            assert_eq!(FirstStarts::of(&layout, &config).ok(), expected);
        }
    }
}
