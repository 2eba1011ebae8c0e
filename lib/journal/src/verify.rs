//! Reading a journal without opening it, for the CLI: it takes no lock and changes nothing, so it
//! works on a journal in use, up to the last complete frame.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::error::OpenError;
use crate::recover::{self, Segment};
use crate::{Sequence, folder, snapshot};

/// A journal in use changes while it is read: a frame is half written, or a covered segment
/// vanishes. Only a flaw that is still there after this many readings counts.
const READINGS_MAX: u32 = 8;

/// What a whole journal holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The last record that the snapshot covers.
    pub snapshot: Option<Sequence>,
    /// Segments after the snapshot.
    pub segments: usize,
    /// Records after the snapshot.
    pub records: u64,
    /// The last record.
    pub last: Sequence,
    /// A frame that a crash cut off, or that is being written now.
    pub torn: Option<Torn>,
}

/// A frame that was not completely written. The next start drops it; it was never acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Torn {
    /// The newest segment.
    pub file: PathBuf,
    /// Where the frame begins.
    pub offset: u64,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.snapshot {
            Some(last) => write!(f, "snapshot of records up to {last}")?,
            None => write!(f, "no snapshot")?,
        }
        write!(
            f,
            ", {} records in {} segments, last record {}",
            self.records, self.segments, self.last
        )?;
        match &self.torn {
            Some(torn) => {
                write!(f, ", torn tail in {} at byte {}", torn.file.display(), torn.offset)
            }
            None => Ok(()),
        }
    }
}

/// Checks every byte that counts.
///
/// # Errors
/// When [`crate::Journal::open`] would refuse the start.
pub fn verify(dir: &Path) -> Result<Report, OpenError> {
    dump(dir, |_, _| {})
}

/// Like [`verify`]; also passes each record after the snapshot on, in order, once all are checked.
///
/// # Errors
/// As for [`verify`]; then no record was passed on.
pub fn dump(dir: &Path, mut visit: impl FnMut(Sequence, &[u8])) -> Result<Report, OpenError> {
    let (report, segments) = patiently(|| read_all(dir))?;
    let covered = report.snapshot.unwrap_or_default().0;
    for (first, segment) in &segments {
        let after = (*first..).zip(segment.records()).filter(|(sequence, _)| *sequence > covered);
        after.for_each(|(sequence, record)| visit(Sequence(sequence), &record));
    }
    Ok(report)
}

/// Retries a reading whose files may change meanwhile.
pub(crate) fn patiently<T>(read: impl Fn() -> Result<T, OpenError>) -> Result<T, OpenError> {
    (1..READINGS_MAX).find_map(|_| read().ok()).map_or_else(read, Ok)
}

/// The newest snapshot, and the last record that it covers.
///
/// # Errors
/// As for [`verify`].
pub fn latest_snapshot(dir: &Path) -> Result<Option<(Sequence, Vec<u8>)>, OpenError> {
    let files = recover::choose(dir, &folder::list(dir)?)?;
    files.snapshot.map(|last| Ok((Sequence(last), snapshot::read(dir, last)?))).transpose()
}

/// Reads all segments before any record is used: a snapshot may remove them at any time.
fn read_all(dir: &Path) -> Result<(Report, Vec<(u64, Segment)>), OpenError> {
    let files = recover::choose(dir, &folder::list(dir)?)?;
    if let Some(last) = files.snapshot {
        snapshot::read(dir, last)?;
    }
    let (segments, last) = recover::read_segments(dir, &files)?;
    let newest = segments.last().filter(|(_, newest)| newest.torn);
    let report = Report {
        snapshot: files.snapshot.map(Sequence),
        segments: segments.len(),
        records: last - files.snapshot.unwrap_or(0),
        last: Sequence(last),
        torn: newest.map(|(first, newest)| recover::torn_at(dir, *first, newest)),
    };
    Ok((report, segments))
}
