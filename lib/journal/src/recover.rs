//! Reading a journal back: which files count, which frames are whole, what is a torn tail and what is
//! corruption. Called by `Journal::open`, by the snapshotter and by `verify` and `dump`.
//!
//! **Torn** is the newest segment's last frame, if the file is zero from some 512-byte boundary inside
//! it to its end: a write that a crash cut off before its sync, so nobody was told of it. Anything
//! else that fails a check is corruption, and the start is refused.

use std::path::Path;

use crate::disk::Disk;
use crate::error::{Context, FileError, Flaw, OpenError};
use crate::folder::{self, Listing};
use crate::frame::{self, Next};
use crate::segment::{self, BadHeader, SEGMENT_HEADER_BYTES};

const SECTOR_BYTES: usize = 512;

/// The files that make up the state.
pub(crate) struct Files {
    pub(crate) snapshot: Option<u64>,
    /// First sequences of the segments that the snapshot does not cover; never empty.
    pub(crate) segments: Vec<u64>,
}

/// Chooses the newest snapshot and the segments after it.
pub(crate) fn choose(dir: &Path, listing: &Listing) -> Result<Files, OpenError> {
    let snapshot = listing.snapshots.last().copied();
    let covered = snapshot.unwrap_or(0);
    let segments: Vec<u64> =
        listing.segments.iter().copied().filter(|&first| first > covered).collect();
    let Some(&first) = segments.first() else {
        return Err(match snapshot {
            None if listing.segments.is_empty() => OpenError::Missing { dir: dir.to_owned() },
            _ => corrupt(&folder::snapshot_path(dir, covered), 0, Flaw::NoSegments),
        });
    };
    if first != covered + 1 {
        return Err(gap_before(dir, first));
    }
    Ok(Files { snapshot, segments })
}

/// A segment's bytes, checked.
pub(crate) struct Segment {
    pub(crate) image: Vec<u8>,
    /// Where each record's body lies, in order.
    pub(crate) bodies: Vec<std::ops::Range<usize>>,
    /// Where the last whole frame ends.
    pub(crate) end: usize,
    /// Whether a frame that was not written to its end follows.
    pub(crate) torn: bool,
}

/// Reads the segment that begins with record `first`; a torn tail is allowed in the `newest` one only.
pub(crate) fn read_segment(dir: &Path, first: u64, newest: bool) -> Result<Segment, OpenError> {
    let path = folder::segment_path(dir, first);
    let image = std::fs::read(&path).context("read", &path)?;
    check_segment(image, &path, first, newest)
}

pub(crate) fn check_segment(
    image: Vec<u8>,
    path: &Path,
    first: u64,
    newest: bool,
) -> Result<Segment, OpenError> {
    segment::check_header(&image, first).map_err(|bad| match bad {
        BadHeader::Flaw(flaw) => corrupt(path, 0, flaw),
        BadHeader::Version(found) => OpenError::Version { file: path.to_owned(), found },
    })?;
    let mut segment = Segment { image, bodies: Vec::new(), end: SEGMENT_HEADER_BYTES, torn: false };
    match scan(&mut segment, first) {
        Ok(()) => Ok(segment),
        Err(broken) if newest && is_torn(&segment.image, segment.end, broken.len) => {
            segment.torn = true;
            Ok(segment)
        }
        Err(broken) => Err(corrupt(path, segment.end, broken.flaw)),
    }
}

fn scan(segment: &mut Segment, first: u64) -> Result<(), frame::Broken> {
    for sequence in first.. {
        let rest = &segment.image[segment.end..];
        match frame::decode(rest) {
            Next::Frame(found) if found.sequence == sequence => {
                let body = segment.end + frame::HEADER_BYTES;
                segment.bodies.push(body..body + found.body.len());
                segment.end += found.len;
            }
            Next::Frame(_) => return Err(frame::Broken { flaw: Flaw::FrameSequence, len: 0 }),
            Next::Nothing if rest.iter().all(|&byte| byte == 0) => break,
            Next::Nothing => return Err(frame::Broken { flaw: Flaw::Garbage, len: 0 }),
            Next::Broken(broken) => return Err(broken),
        }
    }
    Ok(())
}

/// Whether the file is zero from some sector boundary inside the frame at `start` to its end.
fn is_torn(image: &[u8], start: usize, len: usize) -> bool {
    let written = image.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
    let boundary = written.max(start + 1).next_multiple_of(SECTOR_BYTES);
    boundary < start + len
}

/// The records of a closed segment, whose follower begins with record `end`.
pub(crate) fn closed_segment(dir: &Path, first: u64, end: u64) -> Result<Vec<Vec<u8>>, OpenError> {
    let segment = read_segment(dir, first, false)?;
    if first + segment.bodies.len() as u64 != end {
        return Err(gap_before(dir, end));
    }
    Ok(segment.records().map(<[u8]>::to_vec).collect())
}

impl Segment {
    /// The records' bodies.
    pub(crate) fn records(&self) -> impl Iterator<Item = &[u8]> {
        self.bodies.iter().map(|body| &self.image[body.clone()])
    }
}

/// Removes the segments and snapshots that the snapshot of everything up to `last` makes superfluous.
pub(crate) fn remove_covered(disk: &dyn Disk, dir: &Path, last: u64) -> Result<(), FileError> {
    let listing = folder::list(dir)?;
    let segments = listing.segments.iter().filter(|&&first| first <= last);
    let snapshots = listing.snapshots.iter().filter(|&&other| other < last);
    let mut removed = false;
    for path in segments
        .map(|&first| folder::segment_path(dir, first))
        .chain(snapshots.map(|&other| folder::snapshot_path(dir, other)))
    {
        disk.remove(&path).context("remove", &path)?;
        removed = true;
    }
    if removed { disk.sync_folder(dir).context("sync", dir) } else { Ok(()) }
}

/// That the records before the segment `first` are missing.
pub(crate) fn gap_before(dir: &Path, first: u64) -> OpenError {
    corrupt(&folder::segment_path(dir, first), 0, Flaw::Gap)
}

fn corrupt(file: &Path, offset: usize, flaw: Flaw) -> OpenError {
    OpenError::Corrupt { file: file.to_owned(), offset: offset as u64, flaw }
}
