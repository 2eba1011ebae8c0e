//! Reading a journal without opening it, for the CLI: no lock is taken and nothing is changed, so it
//! works on a journal in use, up to its last whole frame.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::error::OpenError;
use crate::recover::{self, Segment};
use crate::{Sequence, folder, snapshot};

/// A journal in use changes under the reader: a frame is half written, a covered segment vanishes. A
/// flaw that is still there after so many readings is a flaw.
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

/// A frame that was not written to its end: the next start drops it, nobody was told of it.
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
/// As [`crate::Journal::open`] would refuse the start.
pub fn verify(dir: &Path) -> Result<Report, OpenError> {
    dump(dir, |_, _| {})
}

/// As [`verify`], and passes each record after the snapshot on, in order, once all are checked.
///
/// # Errors
/// As [`verify`]; no record has been passed on.
pub fn dump(dir: &Path, mut visit: impl FnMut(Sequence, &[u8])) -> Result<Report, OpenError> {
    let (report, segments) = patiently(|| read_all(dir))?;
    let covered = report.snapshot.unwrap_or_default().0;
    for (first, segment) in &segments {
        let after = (*first..).zip(segment.records()).filter(|(sequence, _)| *sequence > covered);
        after.for_each(|(sequence, record)| visit(Sequence(sequence), &record));
    }
    Ok(report)
}

/// Reads what may change meanwhile.
pub(crate) fn patiently<T>(read: impl Fn() -> Result<T, OpenError>) -> Result<T, OpenError> {
    (1..READINGS_MAX).find_map(|_| read().ok()).map_or_else(read, Ok)
}

/// The newest snapshot, and the last record that it covers.
///
/// # Errors
/// As [`verify`].
pub fn latest_snapshot(dir: &Path) -> Result<Option<(Sequence, Vec<u8>)>, OpenError> {
    let files = recover::choose(dir, &folder::list(dir)?)?;
    files.snapshot.map(|last| Ok((Sequence(last), snapshot::read(dir, last)?))).transpose()
}

/// All segments are read before one record is used: the snapshot that removes them may come any time.
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
