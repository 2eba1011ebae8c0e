//! Restoring one of a journal's two folders from the other, and comparing the two, for the CLI. A
//! start reunites folders by itself (`reunite`); this is for what it refuses: a damaged folder.
//!
//! Nothing is destroyed: the folder's old contents are moved aside within it. Nothing is lost
//! either: if any record is found in the folder that the other one lacks or holds with other
//! contents, the folder is left as it is. A folder whose repair was interrupted is marked as
//! behind; the next start or repair completes it.

use std::path::{Path, PathBuf};

use crate::disk::{Disk, RealDisk};
use crate::error::{Context, FileError, OpenError, OtherFolder};
use crate::folder::{self, Lock};
use crate::frame::{self, Next};
use crate::marks::{is_behind, mark_behind};
use crate::reunite::{self, Contents};
use crate::segment::SEGMENT_HEADER_BYTES;
use crate::verify::{self, Report};
use crate::{Sequence, recover};

/// The result of a repair.
#[derive(Debug, PartialEq, Eq)]
pub struct Repaired {
    /// The last record, which both folders now have.
    pub last: Sequence,
    /// Where the old contents are now, if there were any.
    pub aside: Option<PathBuf>,
}

/// Why a folder was not repaired. Nothing in it was changed, unless the disk failed.
#[derive(Debug, thiserror::Error)]
pub enum RepairError {
    /// The folder to repair from is no better.
    #[error("nothing can be repaired from {}: {source}", from.display())]
    Source {
        /// That folder.
        from: PathBuf,
        /// What is wrong with it.
        source: OpenError,
    },
    /// Both paths lead to one folder.
    #[error("{} is the same folder: name the journal's other one", from.display())]
    SameFolder {
        /// The folder.
        from: PathBuf,
    },
    /// The folder has records that the other one lacks.
    #[error(
        "{} holds record {found}, or held it, {} ends with record {last}: a repair would lose what only the first one has. \
         Repair in the other direction, if the first is whole; else keep a copy of both",
        dir.display(), from.display()
    )]
    Loses {
        /// The folder.
        dir: PathBuf,
        /// The other one.
        from: PathBuf,
        /// The last record found in the folder, or implied by the names of its files.
        found: u64,
        /// The last record of the other one.
        last: u64,
    },
    /// The folder to repair from may be the older one.
    #[error(
        "{} went on without {}, which may lack what the first one was told since: damage may hide it. Nothing was \
         changed. Restore the first one; only if the second one was in use to the end, start once from it alone with \
         --accept-one-journal-folder, then repair", dir.display(), from.display()
    )]
    WentOn {
        /// The folder that went on alone.
        dir: PathBuf,
        /// The folder that it left behind.
        from: PathBuf,
    },
    /// The folder can't be used or written to.
    #[error(transparent)]
    Folder(#[from] OpenError),
}

impl From<FileError> for RepairError {
    fn from(error: FileError) -> Self {
        Self::Folder(error.into())
    }
}

/// Makes `dir` hold the journal that is in `from`. The old contents of `dir` are moved into a
/// folder `damaged-<label>` in it. Takes the locks of both: no daemon may have them open.
///
/// # Errors
/// See [`RepairError`].
pub fn repair(dir: &Path, from: &Path, label: &str) -> Result<Repaired, RepairError> {
    let refuse = |source| RepairError::Source { from: from.to_owned(), source };
    if folder::list(from)?.is_empty() {
        return Err(refuse(OpenError::Missing { dir: from.to_owned() }));
    }
    folder::make(dir)?;
    if dir.canonicalize().context("find", dir)? == from.canonicalize().context("find", from)? {
        return Err(RepairError::SameFolder { from: from.to_owned() });
    }
    let _locks = [Lock::take(from).map_err(refuse)?, Lock::take(dir)?];
    if is_behind(from)? {
        return Err(refuse(OpenError::Behind { dir: from.to_owned() }));
    }
    let whole = Contents::read(from).map_err(refuse)?;
    let whole = whole.ok_or_else(|| refuse(OpenError::Missing { dir: from.to_owned() }))?;
    if is_behind(dir)? {
        reunite::compare_behind(dir, &whole)?;
    } else {
        refuse_loss(dir, &whole)?;
        if whole.needs_other && folder::list(dir)?.is_empty() {
            let (from, other) = (from.to_owned(), OtherFolder::Empty(dir.to_owned()));
            return Err(refuse(OpenError::OneOfTwo { dir: from, other }));
        }
    }
    let aside = move_aside(dir, label, whole.id.as_deref())?;
    reunite::fill(&RealDisk, &whole, dir, whole.id.as_deref())?;
    Ok(Repaired { last: Sequence(whole.last), aside })
}

/// Examines every readable frame in `dir`, even behind damage, and the names of its files: a
/// snapshot covers everything up to the record in its name, and a segment follows everything before
/// its first record.
fn refuse_loss(dir: &Path, whole: &Contents) -> Result<(), RepairError> {
    reunite::compare_ids(dir, whole)?;
    let listing = folder::list(dir)?;
    let before = listing.segments.iter().map(|first| first.saturating_sub(1));
    let mut found = listing.snapshots.iter().copied().chain(before).max().unwrap_or(0);
    for first in listing.segments {
        let path = folder::segment_path(dir, first);
        let image = std::fs::read(&path).context("read", &path)?;
        for (offset, sequence, stored) in frames(&image) {
            found = found.max(sequence);
            whole.compare_record(sequence, (&path, offset), stored)?;
        }
    }
    let last = whole.last;
    if found > last {
        let (dir, from) = (dir.to_owned(), whole.dir.clone());
        return Err(RepairError::Loses { dir, from, found, last });
    }
    if whole.needs_other && folder::alone_path(dir).try_exists().context("look in", dir)? {
        let (dir, from) = (dir.to_owned(), whole.dir.clone());
        return Err(RepairError::WentOn { dir, from });
    }
    Ok(())
}

/// All frames, wherever they are: (offset, sequence, stored body).
fn frames(image: &[u8]) -> impl Iterator<Item = (u64, u64, &[u8])> {
    let offsets = (SEGMENT_HEADER_BYTES..image.len()).step_by(frame::WORD_BYTES);
    offsets.filter_map(|at| match frame::decode(&image[at..]) {
        Next::Frame(frame) => Some((at as u64, frame.sequence, frame.stored)),
        Next::Mark { .. } | Next::Nothing | Next::Broken(_) => None,
    })
}

/// Moves the journal's files aside; if there are none, nothing is created. The folder is first
/// marked as behind: until it is filled, it is no journal.
fn move_aside(dir: &Path, label: &str, id: Option<&str>) -> Result<Option<PathBuf>, FileError> {
    let found = folder::list(dir)?;
    let segments = found.segments.iter().map(|&first| folder::segment_path(dir, first));
    let snapshots = found.snapshots.iter().map(|&last| folder::snapshot_path(dir, last));
    let ids = [folder::id_path(dir), folder::alone_path(dir)].into_iter().filter(|id| id.exists());
    let files: Vec<PathBuf> = segments.chain(snapshots).chain(ids).collect();
    if files.is_empty() {
        return Ok(None);
    }
    mark_behind(&RealDisk, dir, id).context("mark as behind", dir)?;
    let aside = dir.join(format!("damaged-{label}"));
    folder::make(&aside)?;
    for file in files {
        let name = file.file_name().expect("the journal's files have names");
        RealDisk.rename(&file, &aside.join(name)).context("move aside", &file)?;
    }
    RealDisk.sync_folder(&aside).context("sync", &aside)?;
    RealDisk.sync_folder(dir).context("sync", dir)?;
    Ok(Some(aside))
}

/// Checks every byte that counts in both folders of a journal, and that the records of one are a
/// prefix of the other's. Like [`crate::verify`], it works on a journal in use.
///
/// # Errors
/// When a start with these two folders would be refused.
pub fn verify_both(dir: &Path, other: &Path) -> Result<[Report; 2], OpenError> {
    for folder in [dir, other] {
        if is_behind(folder)? {
            return Err(OpenError::Behind { dir: folder.to_owned() });
        }
    }
    verify::patiently(|| {
        let read = |dir: &Path| {
            let missing = || OpenError::Missing { dir: dir.to_owned() };
            Contents::read(dir)?.ok_or_else(missing)
        };
        let (one, two) = (read(dir)?, read(other)?);
        reunite::compare(&one, &two)?;
        Ok([one, two].map(|contents| contents.report()))
    })
}

impl Contents {
    fn report(&self) -> Report {
        let newest = self.segments.last().filter(|(_, newest)| newest.torn);
        Report {
            snapshot: self.snapshot.map(Sequence),
            segments: self.segments.len(),
            records: self.last - self.snapshot.unwrap_or(0),
            last: Sequence(self.last),
            torn: newest.map(|(first, newest)| recover::torn_at(&self.dir, *first, newest)),
        }
    }
}
