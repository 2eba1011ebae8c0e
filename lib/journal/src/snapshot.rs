//! Snapshots: their file, and how a new one comes to be. It is a second fold (the old snapshot and the
//! closed segments), never the live state, and runs on a thread of its caller's choice while the
//! journal goes on.
//!
//! The file: a header like a segment's, then the body as frames of at most 1 MiB, numbered from 1.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::disk::Disk;
use crate::error::{Context, FileError, Flaw, FoldError, OpenError, SnapshotError};
use crate::folder::{self, Lock};
use crate::frame::{self, Next, RECORD_BYTES_MAX, crc32c, u32_at, u64_at};
use crate::shared::{Closed, Shared};
use crate::{Sequence, recover};

const MAGIC: &[u8; 8] = b"HwSnapsh";
const SNAPSHOT_HEADER_BYTES: usize = 36;

/// A state that is a fold of records: what recovery and snapshots rebuild.
pub trait Fold: Sized {
    /// The state that `snapshot` holds; the empty state where there is none yet.
    ///
    /// # Errors
    /// Bytes that are not such a snapshot.
    fn restore(snapshot: Option<&[u8]>) -> Result<Self, FoldError>;

    /// Takes the next record. The same function that changes the live state.
    ///
    /// # Errors
    /// Bytes that are not such a record.
    fn apply(&mut self, record: &[u8]) -> Result<(), FoldError>;

    /// The whole state, as [`Self::restore`] takes it.
    fn snapshot(&self) -> Vec<u8>;
}

/// Makes a snapshot of the closed segments; see [`crate::Journal::snapshotter`].
pub struct Snapshotter {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) dir: PathBuf,
    pub(crate) shared: Arc<Shared>,
    pub(crate) _locks: Arc<Vec<Lock>>,
}

impl Snapshotter {
    /// Folds the closed segments over the old snapshot, writes the new one, and removes what it makes
    /// superfluous. Returns the last record it covers, or nothing where no segment is closed. Blocks
    /// for as long as that takes; two at once wait for each other.
    ///
    /// # Errors
    /// The journal is then as it was, and goes on; the next run tries anew.
    pub fn run<F: Fold>(&self) -> Result<Option<Sequence>, SnapshotError> {
        let _alone = self.shared.one_snapshot_at_a_time();
        let Some(plan) = self.shared.closed() else { return Ok(None) };
        let last = plan.end - 1;
        write(&*self.disk, &self.dir, last, &self.fold::<F>(&plan)?.snapshot())?;
        self.shared.covered_by(last);
        recover::remove_covered(&*self.disk, &self.dir, last)?;
        Ok(Some(Sequence(last)))
    }

    /// Where one folder of two can't be read, the other one is.
    fn fold<F: Fold>(&self, plan: &Closed) -> Result<F, SnapshotError> {
        let places = self.disk.places(&self.dir);
        let mut folds = places.iter().map(|dir| fold(dir, plan));
        let first = folds.next().expect("there is always one place");
        first.or_else(|error| folds.next().and_then(Result::ok).ok_or(error))
    }
}

fn fold<F: Fold>(dir: &Path, plan: &Closed) -> Result<F, SnapshotError> {
    let old = plan.snapshot.map(|last| read(dir, last)).transpose()?;
    let mut fold = F::restore(old.as_deref())?;
    drop(old);
    for (position, &first) in plan.segments.iter().enumerate() {
        let end = plan.segments.get(position + 1).copied().unwrap_or(plan.end);
        for record in recover::closed_segment(dir, first, end)? {
            fold.apply(&record)?;
        }
    }
    Ok(fold)
}

/// Writes the snapshot of everything up to `last`: there under its name, and durable, or not at all.
pub(crate) fn write(disk: &dyn Disk, dir: &Path, last: u64, body: &[u8]) -> Result<(), FileError> {
    let tmp = folder::snapshot_tmp_path(dir);
    let written = write_tmp(disk, &tmp, &encode(last, body)).and_then(|()| {
        disk.rename(&tmp, &folder::snapshot_path(dir, last)).context("rename", &tmp)
    });
    if written.is_err() {
        let _next_time = disk.remove(&tmp);
    }
    written?;
    disk.sync_folder(dir).context("sync", dir)
}

fn write_tmp(disk: &dyn Disk, tmp: &Path, bytes: &[u8]) -> Result<(), FileError> {
    let file = disk.create(tmp).context("create", tmp)?;
    file.write_all_at(bytes, 0).context("write", tmp)?;
    file.sync().context("sync", tmp)
}

fn encode(last: u64, body: &[u8]) -> Vec<u8> {
    let blocks = body.len().div_ceil(RECORD_BYTES_MAX);
    let mut out =
        Vec::with_capacity(SNAPSHOT_HEADER_BYTES + body.len() + blocks * frame::OVERHEAD_BYTES_MAX);
    out.extend_from_slice(MAGIC);
    out.extend_from_slice(&crate::FORMAT_VERSION.to_le_bytes());
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&last.to_le_bytes());
    out.extend_from_slice(&(body.len() as u64).to_le_bytes());
    let crc = crc32c(&out);
    out.extend_from_slice(&crc.to_le_bytes());
    for (number, block) in (1..).zip(body.chunks(RECORD_BYTES_MAX)) {
        frame::encode(&mut out, number, block);
    }
    out
}

/// The body of the snapshot of everything up to `last`.
pub(crate) fn read(dir: &Path, last: u64) -> Result<Vec<u8>, OpenError> {
    let path = folder::snapshot_path(dir, last);
    let image = std::fs::read(&path).context("read", &path)?;
    decode(&image, &path, last)
}

pub(crate) fn decode(image: &[u8], path: &Path, last: u64) -> Result<Vec<u8>, OpenError> {
    let corrupt = |offset: usize, flaw| OpenError::Corrupt {
        file: path.to_owned(),
        offset: offset as u64,
        flaw,
    };
    let header = image.get(..SNAPSHOT_HEADER_BYTES).ok_or_else(|| corrupt(0, Flaw::FileLength))?;
    if header[..8] != MAGIC[..] || crc32c(&header[..32]) != u32_at(header, 32) {
        return Err(corrupt(0, Flaw::FileHeader));
    }
    if u32_at(header, 8) != crate::FORMAT_VERSION {
        return Err(OpenError::Version { file: path.to_owned(), found: u32_at(header, 8) });
    }
    if u64_at(header, 16) != last {
        return Err(corrupt(0, Flaw::FileName));
    }
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
