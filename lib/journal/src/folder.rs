//! The journal's folder: the names of its files, its listing, its lock. No contents. Called by
//! everything else in this crate.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use crate::disk::Disk;
use crate::error::{Context, FileError, OpenError};

/// The segment prepared in advance, whose first sequence is not known yet.
const PREPARED: &str = "prepared.log";
/// The same segment while it is being filled with zeros.
const PREPARING: &str = "prepared.tmp";
const SNAPSHOT_TMP: &str = "snapshot.tmp";
/// A copy of another folder's file, before it gets its name.
const COPYING: &str = "copying.tmp";
/// Marks a folder of a pair that lacks records of the other one.
const BEHIND: &str = "BEHIND";
/// Names the journal of a pair of folders. A folder with this file needs the other one: a journal
/// is not started from it alone.
const ID: &str = "ID";
/// The same file, once the folder has gone on without the other one.
const ALONE: &str = "ALONE";
const LOCK: &str = "LOCK";
/// How long [`Lock::take`] waits for a process that was just killed: it holds its lock until its
/// last thread is gone.
pub(crate) const LOCK_PATIENCE: Duration = Duration::from_secs(2);
const LOCK_PAUSE: Duration = Duration::from_millis(20);
const LOCK_TRIES: u128 = LOCK_PATIENCE.as_millis() / LOCK_PAUSE.as_millis();

/// The files of a journal, by the sequence in their names, in ascending order.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Listing {
    pub(crate) segments: Vec<u64>,
    pub(crate) snapshots: Vec<u64>,
}

impl Listing {
    pub(crate) fn is_empty(&self) -> bool {
        self.segments.is_empty() && self.snapshots.is_empty()
    }
}

pub(crate) fn segment_path(dir: &Path, first: u64) -> PathBuf {
    dir.join(format!("journal-{first:016x}.log"))
}

pub(crate) fn snapshot_path(dir: &Path, last: u64) -> PathBuf {
    dir.join(format!("snapshot-{last:016x}.snap"))
}

pub(crate) fn prepared_path(dir: &Path) -> PathBuf {
    dir.join(PREPARED)
}

pub(crate) fn preparing_path(dir: &Path) -> PathBuf {
    dir.join(PREPARING)
}

pub(crate) fn snapshot_tmp_path(dir: &Path) -> PathBuf {
    dir.join(SNAPSHOT_TMP)
}

pub(crate) fn copying_path(dir: &Path) -> PathBuf {
    dir.join(COPYING)
}

pub(crate) fn behind_path(dir: &Path) -> PathBuf {
    dir.join(BEHIND)
}

pub(crate) fn id_path(dir: &Path) -> PathBuf {
    dir.join(ID)
}

pub(crate) fn alone_path(dir: &Path) -> PathBuf {
    dir.join(ALONE)
}

/// Whether the file only claims space and has no contents that count yet.
pub(crate) fn claims_space(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name == PREPARING || name == SNAPSHOT_TMP)
}

/// Creates the folder if need be. Only the daemon may read what is journaled, whatever the umask.
pub(crate) fn make(dir: &Path) -> Result<(), FileError> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir).context("create", dir)
}

/// Makes the folder's own name durable, and the names of all folders above it on the same file
/// system, which may have been created with it. A folder that may be searched but not read was not
/// created here.
pub(crate) fn sync_above(disk: &dyn Disk, dir: &Path) -> Result<(), FileError> {
    let dir = dir.canonicalize().context("find", dir)?;
    let device = |path: &Path| Ok(std::fs::metadata(path).context("look at", path)?.dev());
    let here = device(&dir)?;
    for above in dir.ancestors().skip(1) {
        if device(above)? != here {
            break;
        }
        match disk.sync_folder(above) {
            Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {}
            synced => synced.context("sync", above)?,
        }
    }
    Ok(())
}

/// Lists the folder. If it does not exist, it has no files. Other names are ignored.
pub(crate) fn list(dir: &Path) -> Result<Listing, FileError> {
    let mut listing = Listing::default();
    let entries = match std::fs::read_dir(dir) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(listing),
        entries => entries.context("list", dir)?,
    };
    for entry in entries {
        let name = entry.context("list", dir)?.file_name();
        let Some(name) = name.to_str() else { continue };
        if let Some(first) = sequence_in(name, "journal-", ".log") {
            listing.segments.push(first);
        } else if let Some(last) = sequence_in(name, "snapshot-", ".snap") {
            listing.snapshots.push(last);
        }
    }
    listing.segments.sort_unstable();
    listing.snapshots.sort_unstable();
    Ok(listing)
}

fn sequence_in(name: &str, prefix: &str, suffix: &str) -> Option<u64> {
    let digits = name.strip_prefix(prefix)?.strip_suffix(suffix)?;
    let sequence = u64::from_str_radix(digits, 16).ok()?;
    (format!("{sequence:016x}") == digits).then_some(sequence)
}

/// Held as long as this process may write in the folder; the system frees it when the process ends.
/// Clones share the lock, which is freed with the last of them.
#[derive(Clone, Debug)]
pub(crate) struct Lock {
    _file: Arc<File>,
}

impl Lock {
    /// Takes the lock, or says which process has it.
    pub(crate) fn take(dir: &Path) -> Result<Self, OpenError> {
        let path = dir.join(LOCK);
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .context("open", &path)?;
        match lock_patiently(&file) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => {
                return Err(OpenError::Locked { dir: dir.to_owned(), holder: holder(&mut file) });
            }
            Err(error) => {
                let source = error.into();
                return Err(FileError { action: "lock", file: path, source }.into());
            }
        }
        // Always of the same length, so that nothing need be truncated.
        let text = format!(
            "howdah journal lock, format {}\n{:010}\n",
            crate::FORMAT_VERSION,
            std::process::id()
        );
        file.write_all(text.as_bytes()).context("write", &path)?;
        Ok(Self { _file: Arc::new(file) })
    }
}

#[expect(clippy::disallowed_methods, reason = "the lock is tried again")]
fn lock_patiently(file: &File) -> Result<(), Errno> {
    for _ in 1..LOCK_TRIES {
        match flock(file, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK) => std::thread::park_timeout(LOCK_PAUSE),
            done => return done,
        }
    }
    flock(file, FlockOperation::NonBlockingLockExclusive)
}

fn holder(file: &mut File) -> String {
    let mut text = String::new();
    let _best_effort = file.take(256).read_to_string(&mut text);
    text.lines().nth(1).map_or("unknown", |pid| pid.trim_start_matches('0')).to_owned()
}
