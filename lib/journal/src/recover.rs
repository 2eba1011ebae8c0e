//! Reading a journal back: which files count, which frames are complete, what is a torn tail and
//! what is corruption. Called by `Journal::open`, by the snapshotter, and by `verify` and `dump`.
//!
//! The newest segment is **torn** from its first broken frame on if some sector of that frame was
//! not written (it is zero, which nothing written is) and no later batch says that the frame's
//! record was synced: a crash cut the write off before its sync, so it was never acknowledged. As a
//! disk may write the sectors of one batch in any order, complete frames may follow a torn one.
//! Anything else that fails a check is corruption, and the start is refused.

use std::collections::BTreeSet;
use std::path::Path;

use crate::disk::Disk;
use crate::error::{Context, FileError, Flaw, OpenError};
use crate::folder::{self, Listing};
use crate::frame::{self, Next};
use crate::segment::{self, BadHeader, SEGMENT_HEADER_BYTES};
use crate::snapshot;
use crate::verify::Torn;

const SECTOR_BYTES: usize = 512;

/// The files that make up the state.
pub(crate) struct Files {
    pub(crate) snapshot: Option<u64>,
    /// First sequences of the segments that the snapshot does not cover, or only in part; never
    /// empty.
    pub(crate) segments: Vec<u64>,
}

impl Files {
    /// Number of records of the first segment that the snapshot covers.
    pub(crate) fn covered(&self) -> usize {
        let covered = self.snapshot.unwrap_or(0) + 1 - self.segments[0];
        usize::try_from(covered).unwrap_or(usize::MAX)
    }
}

/// Chooses the newest snapshot and the segments after it; it may end within the first of them.
pub(crate) fn choose(dir: &Path, listing: &Listing) -> Result<Files, OpenError> {
    let snapshot = listing.snapshots.last().copied();
    let covered = snapshot.unwrap_or(0);
    let after = listing.segments.partition_point(|&first| first <= covered);
    let (before, segments) = listing.segments.split_at(after);
    if segments.first() != Some(&(covered + 1))
        && !before.is_empty()
        && snapshot::ends_within_segment(dir, covered)?
    {
        return Ok(Files { snapshot, segments: listing.segments[after - 1..].to_vec() });
    }
    let Some(&first) = segments.first() else {
        return Err(match snapshot {
            None if listing.segments.is_empty() => OpenError::Missing { dir: dir.to_owned() },
            _ => corrupt(&folder::snapshot_path(dir, covered), 0, Flaw::NoSegments),
        });
    };
    if first != covered + 1 {
        return Err(gap_before(dir, first));
    }
    Ok(Files { snapshot, segments: segments.to_vec() })
}

/// Reads the segments of `files`: each with its first sequence, and the last sequence of all.
pub(crate) fn read_segments(
    dir: &Path,
    files: &Files,
) -> Result<(Vec<(u64, Segment)>, u64), OpenError> {
    let (mut segments, mut next) = (Vec::new(), files.segments[0]);
    for (position, &first) in files.segments.iter().enumerate() {
        if first != next {
            return Err(gap_before(dir, first));
        }
        let newest = position + 1 == files.segments.len();
        let segment = read_segment(dir, first, newest)?;
        next += segment.bodies.len() as u64;
        if next <= files.snapshot.unwrap_or(0) {
            return Err(ends_early(dir, first, &segment));
        }
        segments.push((first, segment));
    }
    Ok((segments, next - 1))
}

/// A segment's bytes, checked.
pub(crate) struct Segment {
    pub(crate) image: Vec<u8>,
    /// Where the stored body of each record is, in order.
    pub(crate) bodies: Vec<std::ops::Range<usize>>,
    /// Where the frames that count end.
    pub(crate) end: usize,
    /// Whether incompletely written frames follow.
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
    check_header(&image, path, first)?;
    let mut segment = Segment { image, bodies: Vec::new(), end: SEGMENT_HEADER_BYTES, torn: false };
    match scan(&mut segment, first, None) {
        Ok(()) => Ok(segment),
        Err(broken) => {
            let lost = first + segment.bodies.len() as u64;
            let damage = &segment.image[segment.end..];
            if !newest || !is_torn(damage, segment.end, broken.len) || was_synced(damage, lost) {
                return Err(corrupt(path, segment.end, broken.flaw));
            }
            segment.torn = true;
            Ok(segment)
        }
    }
}

fn check_header(image: &[u8], path: &Path, first: u64) -> Result<(), OpenError> {
    segment::check_header(image, first).map_err(|bad| match bad {
        BadHeader::Flaw(flaw) => corrupt(path, 0, flaw),
        BadHeader::Version(found) => OpenError::Version { file: path.to_owned(), found },
    })
}

/// Scans the frames before the record `until`, or all frames.
fn scan(segment: &mut Segment, first: u64, until: Option<u64>) -> Result<(), frame::Broken> {
    let mut sequence = first;
    while until != Some(sequence) {
        let rest = &segment.image[segment.end..];
        match frame::decode(rest) {
            Next::Frame(found) if found.sequence == sequence => {
                let body = segment.end + frame::HEADER_BYTES;
                segment.bodies.push(body..body + found.stored.len());
                segment.end += found.len;
                sequence += 1;
            }
            Next::Mark { synced } if synced < sequence => segment.end += frame::MARK_BYTES,
            Next::Frame(_) => return Err(frame::Broken { flaw: Flaw::FrameSequence, len: 0 }),
            Next::Mark { .. } => return Err(frame::Broken { flaw: Flaw::Mark, len: 0 }),
            Next::Nothing if rest.iter().all(|&byte| byte == 0) => return Ok(()),
            Next::Nothing => {
                let len = frame::HEADER_BYTES.min(rest.len());
                return Err(frame::Broken { flaw: Flaw::Garbage, len });
            }
            Next::Broken(broken) => return Err(broken),
        }
    }
    Ok(())
}

/// Whether some sector is all zero within the first `len` bytes of `damage`, which begins at
/// `offset` in its file.
fn is_torn(damage: &[u8], offset: usize, len: usize) -> bool {
    let first = SECTOR_BYTES - offset % SECTOR_BYTES;
    let (first, rest) = damage[..len].split_at(first.min(len));
    let is_zero = |part: &[u8]| !part.is_empty() && part.iter().all(|&byte| byte == 0);
    is_zero(first) || rest.chunks(SECTOR_BYTES).any(is_zero)
}

/// Whether a batch in `damage` was written after the record `sequence` had been synced.
fn was_synced(damage: &[u8], sequence: u64) -> bool {
    let marks = damage.chunks(frame::WORD_BYTES).zip((0..).step_by(frame::WORD_BYTES));
    let mut synced = marks.filter_map(|(_, at)| frame::decode_mark(&damage[at..]));
    synced.any(|synced| synced >= sequence)
}

/// The records of a closed segment; the next segment begins with record `end`.
pub(crate) fn closed_segment(dir: &Path, first: u64, end: u64) -> Result<Vec<Vec<u8>>, OpenError> {
    let segment = read_segment(dir, first, false)?;
    if first + segment.bodies.len() as u64 != end {
        return Err(gap_before(dir, end));
    }
    Ok(segment.records().collect())
}

/// The records before `end` of the open segment, which are all durable; what follows them is just
/// being written.
pub(crate) fn durable_records(dir: &Path, first: u64, end: u64) -> Result<Vec<Vec<u8>>, OpenError> {
    let path = folder::segment_path(dir, first);
    let image = std::fs::read(&path).context("read", &path)?;
    check_header(&image, &path, first)?;
    let mut segment = Segment { image, bodies: Vec::new(), end: SEGMENT_HEADER_BYTES, torn: false };
    let broken = scan(&mut segment, first, Some(end)).err().map(|broken| broken.flaw);
    if let Some(flaw) = broken {
        return Err(corrupt(&path, segment.end, flaw));
    }
    if first + segment.bodies.len() as u64 != end {
        return Err(ends_early(dir, first, &segment));
    }
    Ok(segment.records().collect())
}

impl Segment {
    /// The records.
    pub(crate) fn records(&self) -> impl Iterator<Item = Vec<u8>> {
        self.bodies.iter().map(|body| frame::reveal(&self.image[body.clone()]))
    }
}

/// Removes the segments and snapshots that the snapshot of everything up to `last` makes superfluous.
pub(crate) fn remove_covered(disk: &dyn Disk, dir: &Path, last: u64) -> Result<(), FileError> {
    let mut covered = BTreeSet::new();
    for place in disk.places(dir) {
        let listing = folder::list(&place)?;
        // The segment in which the snapshot ends is followed by one that begins later, or by none
        // yet.
        let followed = listing.segments.windows(2).filter(|pair| pair[1] <= last + 1);
        let segments = followed.map(|pair| pair[0]);
        let snapshots = listing.snapshots.into_iter().filter(|&other| other < last);
        covered.extend(segments.map(|first| folder::segment_path(dir, first)));
        covered.extend(snapshots.map(|other| folder::snapshot_path(dir, other)));
    }
    for path in &covered {
        disk.remove(path).context("remove", path)?;
    }
    if covered.is_empty() { Ok(()) } else { disk.sync_folder(dir).context("sync", dir) }
}

/// Where the torn tail of this segment begins.
pub(crate) fn torn_at(dir: &Path, first: u64, segment: &Segment) -> Torn {
    Torn { file: folder::segment_path(dir, first), offset: segment.end as u64 }
}

/// The error that the snapshot covers records which the segment `first` should have but lacks.
pub(crate) fn ends_early(dir: &Path, first: u64, segment: &Segment) -> OpenError {
    corrupt(&folder::segment_path(dir, first), segment.end, Flaw::EndsEarly)
}

/// The error that the records before the segment `first` are missing.
pub(crate) fn gap_before(dir: &Path, first: u64) -> OpenError {
    corrupt(&folder::segment_path(dir, first), 0, Flaw::Gap)
}

fn corrupt(file: &Path, offset: usize, flaw: Flaw) -> OpenError {
    OpenError::Corrupt { file: file.to_owned(), offset: offset as u64, flaw }
}
