//! One segment as a file: its header, its preparation in advance, and writing into it. Where frames
//! begin and end is the caller's business (`thread`); reading is in `recover`.
//!
//! A segment is filled with zeros before it is used, so that a sync of a record changes no metadata
//! and can't run out of space. Its header is written, into a sector of its own, when it comes into
//! use.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use crate::disk::{Disk, DiskFile};
use crate::error::{Context, FileError, Flaw};
use crate::folder;
use crate::frame::{crc32c, u32_at, u64_at};

/// Where the first frame begins: after a whole sector, so that no write of a frame touches the
/// header.
pub(crate) const SEGMENT_HEADER_BYTES: usize = 512;

const MAGIC: &[u8; 8] = b"HwJournl";
/// Bytes written at a time when a segment is filled; few, because records wait meanwhile.
const FILL_BYTES: usize = 1 << 20;

/// The header of a segment that begins with record `first` and is `bytes` long.
pub(crate) fn encode_header(first: u64, bytes: u64) -> Vec<u8> {
    let mut header = MAGIC.to_vec();
    header.extend_from_slice(&crate::FORMAT_VERSION.to_le_bytes());
    header.extend_from_slice(&[0; 4]);
    header.extend_from_slice(&first.to_le_bytes());
    header.extend_from_slice(&bytes.to_le_bytes());
    let crc = crc32c(&header);
    header.extend_from_slice(&crc.to_le_bytes());
    header.resize(SEGMENT_HEADER_BYTES, 0);
    header
}

/// A header other than the expected one.
pub(crate) enum BadHeader {
    Flaw(Flaw),
    Version(u32),
}

/// Checks the header of the segment `image`, named after record `first`.
pub(crate) fn check_header(image: &[u8], first: u64) -> Result<(), BadHeader> {
    let Some(header) = image.get(..SEGMENT_HEADER_BYTES) else {
        return Err(BadHeader::Flaw(Flaw::FileLength));
    };
    if header[..8] != MAGIC[..] || crc32c(&header[..32]) != u32_at(header, 32) {
        return Err(BadHeader::Flaw(Flaw::FileHeader));
    }
    if u32_at(header, 8) != crate::FORMAT_VERSION {
        return Err(BadHeader::Version(u32_at(header, 8)));
    }
    if header[36..].iter().any(|&byte| byte != 0) {
        return Err(BadHeader::Flaw(Flaw::FileHeader));
    }
    if u64_at(header, 16) != first {
        return Err(BadHeader::Flaw(Flaw::FileName));
    }
    if u64_at(header, 24) != image.len() as u64 {
        return Err(BadHeader::Flaw(Flaw::FileLength));
    }
    Ok(())
}

/// The segment that is written to.
pub(crate) struct Active {
    file: Box<dyn DiskFile>,
    path: PathBuf,
    /// Where the next frame goes.
    offset: u64,
    unsynced: bool,
}

impl Active {
    pub(crate) fn new(file: Box<dyn DiskFile>, path: PathBuf, offset: u64) -> Self {
        Self { file, path, offset, unsynced: false }
    }

    /// Writes whole frames after the last one. They are durable after [`Self::sync`].
    pub(crate) fn write(&mut self, frames: &[u8]) -> Result<(), FileError> {
        self.unsynced = true;
        self.file.write_all_at(frames, self.offset).context("write", &self.path)?;
        self.offset += frames.len() as u64;
        Ok(())
    }

    /// Makes everything written durable. Returns whether a sync was needed.
    pub(crate) fn sync(&mut self) -> Result<bool, FileError> {
        let needed = std::mem::take(&mut self.unsynced);
        if needed {
            self.file.sync().context("sync", &self.path)?;
        }
        Ok(needed)
    }
}

/// A segment that is being filled with zeros, a step at a time.
pub(crate) struct Filling {
    file: Box<dyn DiskFile>,
    bytes: u64,
    filled: u64,
}

/// A segment full of zeros, ready for use.
pub(crate) struct Prepared {
    file: Box<dyn DiskFile>,
    bytes: u64,
}

/// The outcome of one step of filling.
pub(crate) enum Filled {
    Partly(Filling),
    Wholly(Prepared),
}

impl Filling {
    /// Claims the space. On failure nothing is left behind.
    pub(crate) fn start(disk: &dyn Disk, dir: &Path, bytes: u64) -> Result<Self, FileError> {
        let path = folder::preparing_path(dir);
        let file = disk.create(&path).context("create", &path)?;
        if let Err(error) = file.reserve(bytes).context("reserve space for", &path) {
            remove_partial(disk, dir);
            return Err(error);
        }
        Ok(Self { file, bytes, filled: 0 })
    }

    /// Fills and syncs the next piece. On failure the partial file is removed.
    pub(crate) fn step(self, disk: &dyn Disk, dir: &Path) -> Result<Filled, FileError> {
        let done = self.fill(disk, dir);
        if done.is_err() {
            remove_partial(disk, dir);
        }
        done
    }

    fn fill(mut self, disk: &dyn Disk, dir: &Path) -> Result<Filled, FileError> {
        let path = folder::preparing_path(dir);
        let piece = (self.bytes - self.filled).min(FILL_BYTES as u64);
        let zeros = vec![0; usize::try_from(piece).unwrap_or(FILL_BYTES)];
        self.file.write_all_at(&zeros, self.filled).context("write", &path)?;
        self.file.sync().context("sync", &path)?;
        self.filled += piece;
        if self.filled < self.bytes {
            return Ok(Filled::Partly(self));
        }
        let prepared = folder::prepared_path(dir);
        disk.rename(&path, &prepared).context("rename", &path)?;
        Ok(Filled::Wholly(Prepared { file: self.file, bytes: self.bytes }))
    }

    /// Fills the whole segment at once.
    pub(crate) fn finish(self, disk: &dyn Disk, dir: &Path) -> Result<Prepared, FileError> {
        let mut filling = self;
        loop {
            match filling.step(disk, dir)? {
                Filled::Partly(more) => filling = more,
                Filled::Wholly(prepared) => return Ok(prepared),
            }
        }
    }
}

/// Removes what a preparation leaves when it fails or is given up. If that fails, the next
/// preparation overwrites the file.
pub(crate) fn remove_partial(disk: &dyn Disk, dir: &Path) {
    let _next_time = disk.remove(&folder::preparing_path(dir));
}

/// Whether a file has no byte but zeros.
fn is_blank(path: &Path) -> io::Result<bool> {
    let (mut file, mut piece) = (File::open(path)?, vec![0; 1 << 20]);
    loop {
        match file.read(&mut piece)? {
            0 => return Ok(true),
            n if piece[..n].iter().any(|&byte| byte != 0) => return Ok(false),
            _ => {}
        }
    }
}

impl Prepared {
    /// The prepared segment that an earlier process left, if it is complete and of this length.
    pub(crate) fn leftover(disk: &dyn Disk, dir: &Path, bytes: u64) -> Option<Self> {
        for place in disk.places(dir) {
            let path = folder::prepared_path(&place);
            if std::fs::metadata(&path).ok()?.len() != bytes {
                return None;
            }
            if !is_blank(&path).ok()? {
                return None;
            }
        }
        let path = folder::prepared_path(dir);
        Some(Self { file: disk.open(&path).ok()?, bytes })
    }

    /// Puts the segment to use for the records from `first` on; it is durable under its name when
    /// this returns.
    pub(crate) fn activate(
        self,
        disk: &dyn Disk,
        dir: &Path,
        first: u64,
    ) -> Result<Active, FileError> {
        let prepared = folder::prepared_path(dir);
        let path = folder::segment_path(dir, first);
        let header = encode_header(first, self.bytes);
        self.file.write_all_at(&header, 0).context("write", &prepared)?;
        self.file.sync().context("sync", &prepared)?;
        disk.rename(&prepared, &path).context("rename", &prepared)?;
        disk.sync_folder(dir).context("sync", dir)?;
        Ok(Active::new(self.file, path, SEGMENT_HEADER_BYTES as u64))
    }
}
