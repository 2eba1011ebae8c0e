//! Snapshots: their file, and how one is made. It is a second fold (over the old snapshot and the
//! closed segments), never the live state, and runs on a thread of the caller's choice while the
//! journal goes on. On a full disk it also covers the durable part of the open segment.
//!
//! The file has a header like a segment's, then the body as frames of at most 1 MiB, numbered
//! upwards from 1. The header says whether more records may follow in the segment that holds the
//! last covered record: then that segment is needed, otherwise one that begins with the next record.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::disk::Disk;
use crate::error::{Context, Flaw, FoldError, OpenError, SnapshotError};
use crate::folder::{self, Lock};
use crate::frame::{self, Next, RECORD_BYTES_MAX, crc32c, u32_at, u64_at};
use crate::shared::{Covered, Shared};
use crate::{Sequence, recover};

const MAGIC: &[u8; 8] = b"HwSnapsh";
const SNAPSHOT_HEADER_BYTES: usize = 36;

/// A state that is a fold of records: what recovery and snapshots rebuild.
pub trait Fold: Sized {
    /// The state that `snapshot` holds; the empty state if there is none yet.
    ///
    /// # Errors
    /// The bytes are not such a snapshot.
    fn restore(snapshot: Option<&[u8]>) -> Result<Self, FoldError>;

    /// Applies the next record: the same function that changes the live state.
    ///
    /// # Errors
    /// The bytes are not such a record.
    fn apply(&mut self, record: &[u8]) -> Result<(), FoldError>;

    /// The whole state, as [`Self::restore`] takes it.
    fn snapshot(&self) -> Vec<u8>;
}

/// Makes snapshots; see [`crate::Journal::snapshotter`].
pub struct Snapshotter {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) dir: PathBuf,
    pub(crate) shared: Arc<Shared>,
    pub(crate) _locks: Arc<Vec<Lock>>,
}

impl Snapshotter {
    /// Folds the closed segments over the old snapshot, writes the new one, and removes what it
    /// makes superfluous. Returns the last record that it covers, or `None` if no segment is
    /// closed. Blocks for as long as that takes; concurrent calls wait for each other.
    ///
    /// # Errors
    /// The journal is unchanged and goes on; the next call tries again.
    pub fn run<F: Fold>(&self) -> Result<Option<Sequence>, SnapshotError> {
        self.make::<F>(Shared::closed)
    }

    /// Like [`Self::run`], but also folds the durable part of the open segment: on a full disk,
    /// where there is no space for another segment, the records that shrink the state may be there.
    /// Returns `None` if no record came since the last snapshot.
    ///
    /// # Errors
    /// Those of [`Self::run`].
    pub fn run_to_the_last<F: Fold>(&self) -> Result<Option<Sequence>, SnapshotError> {
        self.make::<F>(Shared::durable)
    }

    fn make<F: Fold>(
        &self,
        plan: fn(&Shared) -> Option<Covered>,
    ) -> Result<Option<Sequence>, SnapshotError> {
        let mut claim = self.shared.claim();
        let Some(plan) = plan(&self.shared) else { return Ok(None) };
        let last = plan.end - 1;
        let image = encode(last, plan.ends_within, &self.fold::<F>(&plan)?.snapshot());
        let done = claim.write(&*self.disk, &self.dir, last, &image).and_then(|()| {
            self.shared.covered_by(last, image.len() as u64);
            recover::remove_covered(&*self.disk, &self.dir, last)
        });
        // For the next snapshot. If there is no space for it, no segment is prepared until there
        // is.
        let _tried_again_then = claim.hold(&*self.disk, &self.dir);
        done?;
        Ok(Some(Sequence(last)))
    }

    /// If one of two folders can't be read, reads the other one.
    fn fold<F: Fold>(&self, plan: &Covered) -> Result<F, SnapshotError> {
        let places = self.disk.places(&self.dir);
        let mut folds = places.iter().map(|dir| fold(dir, plan));
        let first = folds.next().expect("there is always one place");
        first.or_else(|error| folds.next().and_then(Result::ok).ok_or(error))
    }
}

fn fold<F: Fold>(dir: &Path, plan: &Covered) -> Result<F, SnapshotError> {
    let old = plan.snapshot.map(|last| read(dir, last)).transpose()?;
    let mut fold = F::restore(old.as_deref())?;
    drop(old);
    let covered = plan.snapshot.unwrap_or(0);
    for (position, &first) in plan.segments.iter().enumerate() {
        let records = match plan.segments.get(position + 1) {
            Some(&end) => recover::closed_segment(dir, first, end)?,
            None if plan.ends_within => recover::durable_records(dir, first, plan.end)?,
            None => recover::closed_segment(dir, first, plan.end)?,
        };
        for (_, record) in (first..).zip(&records).filter(|(sequence, _)| *sequence > covered) {
            fold.apply(record)?;
        }
    }
    Ok(fold)
}

pub(crate) fn encode(last: u64, ends_within: bool, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(encoded_bytes(body.len()));
    out.extend_from_slice(MAGIC);
    out.extend_from_slice(&crate::FORMAT_VERSION.to_le_bytes());
    out.extend_from_slice(&u32::from(ends_within).to_le_bytes());
    out.extend_from_slice(&last.to_le_bytes());
    out.extend_from_slice(&(body.len() as u64).to_le_bytes());
    let crc = crc32c(&out);
    out.extend_from_slice(&crc.to_le_bytes());
    for (number, block) in (1..).zip(body.chunks(RECORD_BYTES_MAX)) {
        frame::encode(&mut out, number, block);
    }
    out
}

/// Maximum length of the file of a snapshot with a body of this length.
pub(crate) fn encoded_bytes(body: usize) -> usize {
    SNAPSHOT_HEADER_BYTES + body + body.div_ceil(RECORD_BYTES_MAX) * frame::OVERHEAD_BYTES_MAX
}

/// Whether the snapshot of everything up to `last` says that more records may follow in the same
/// segment.
pub(crate) fn ends_within_segment(dir: &Path, last: u64) -> Result<bool, OpenError> {
    let path = folder::snapshot_path(dir, last);
    let mut header = Vec::new();
    let file = File::open(&path).context("read", &path)?;
    file.take(SNAPSHOT_HEADER_BYTES as u64).read_to_end(&mut header).context("read", &path)?;
    check_header(&header, &path, last)?;
    Ok(u32_at(&header, 12) == u32::from(true))
}

/// The body of the snapshot of everything up to `last`.
pub(crate) fn read(dir: &Path, last: u64) -> Result<Vec<u8>, OpenError> {
    let path = folder::snapshot_path(dir, last);
    let image = std::fs::read(&path).context("read", &path)?;
    decode(&image, &path, last)
}

/// Returns the header.
fn check_header<'a>(image: &'a [u8], path: &Path, last: u64) -> Result<&'a [u8], OpenError> {
    let corrupt = |flaw| OpenError::Corrupt { file: path.to_owned(), offset: 0, flaw };
    let header = image.get(..SNAPSHOT_HEADER_BYTES).ok_or_else(|| corrupt(Flaw::FileLength))?;
    if header[..8] != MAGIC[..] || crc32c(&header[..32]) != u32_at(header, 32) {
        return Err(corrupt(Flaw::FileHeader));
    }
    if u32_at(header, 8) != crate::FORMAT_VERSION {
        return Err(OpenError::Version { file: path.to_owned(), found: u32_at(header, 8) });
    }
    if u64_at(header, 16) != last {
        return Err(corrupt(Flaw::FileName));
    }
    Ok(header)
}

pub(crate) fn decode(image: &[u8], path: &Path, last: u64) -> Result<Vec<u8>, OpenError> {
    let corrupt = |offset: usize, flaw| OpenError::Corrupt {
        file: path.to_owned(),
        offset: offset as u64,
        flaw,
    };
    let header = check_header(image, path, last)?;
    let mut body = Vec::with_capacity(image.len());
    let mut offset = SNAPSHOT_HEADER_BYTES;
    for number in 1.. {
        if offset == image.len() {
            break;
        }
        match frame::decode(&image[offset..]) {
            Next::Frame(block) if block.sequence == number => {
                body.append(&mut frame::reveal(block.stored));
                offset += block.len;
            }
            Next::Frame(_) => return Err(corrupt(offset, Flaw::FrameSequence)),
            Next::Nothing | Next::Mark { .. } => return Err(corrupt(offset, Flaw::FileLength)),
            Next::Broken(broken) => return Err(corrupt(offset, broken.flaw)),
        }
    }
    if body.len() as u64 != u64_at(header, 24) {
        return Err(corrupt(offset, Flaw::FileLength));
    }
    Ok(body)
}
