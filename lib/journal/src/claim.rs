//! Space for the next snapshot, claimed in advance in the file that it is written to: on a disk that is full a journal
//! can still make one, and with it give space back. Called by `snapshot`, and by `thread`, which prepares no segment
//! without it.

use std::path::Path;

use crate::disk::{Disk, DiskFile};
use crate::error::{Context, FileError};
use crate::folder;

/// So many segments are claimed while there is no snapshot: the first one lets the segments before it go, but has none
/// to replace.
const SEGMENTS_AT_FIRST: u64 = 2;

/// What is claimed. One at a time uses it.
#[derive(Default)]
pub(crate) struct Claim {
    segment_bytes: u64,
    /// Length of the newest snapshot.
    snapshot_bytes: Option<u64>,
    file: Claimed,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Claimed {
    /// There may be no file.
    #[default]
    Nothing,
    /// There is one, in all folders.
    Some,
    /// There is one that has all the space.
    All,
}

impl Claim {
    /// Of a journal with such segments, whose newest snapshot has that length. Nothing is claimed yet, but for what an
    /// earlier process left.
    pub(crate) fn new(
        disk: &dyn Disk,
        dir: &Path,
        segment_bytes: u64,
        snapshot_bytes: Option<u64>,
    ) -> Self {
        let places = disk.places(dir);
        let is_there = places.iter().all(|place| folder::snapshot_tmp_path(place).is_file());
        let file = if is_there { Claimed::Some } else { Claimed::Nothing };
        Self { segment_bytes, snapshot_bytes, file }
    }

    /// Length of the newest snapshot; 0 where there is none.
    pub(crate) fn snapshot_bytes(&self) -> u64 {
        self.snapshot_bytes.unwrap_or(0)
    }

    /// Sees to it that there is space for a snapshot as long as the last one, and no less than a segment.
    ///
    /// # Errors
    /// The disk is full. What it has given so far is kept.
    pub(crate) fn hold(&mut self, disk: &dyn Disk, dir: &Path) -> Result<(), FileError> {
        if self.file == Claimed::All {
            return Ok(());
        }
        let bytes = match self.snapshot_bytes {
            Some(bytes) => bytes.max(self.segment_bytes),
            None => self.segment_bytes * SEGMENTS_AT_FIRST,
        };
        let tmp = folder::snapshot_tmp_path(dir);
        let file = self.open(disk, dir)?;
        file.reserve(bytes).context("reserve space for", &tmp)?;
        file.set_len(bytes).context("set the length of", &tmp)?;
        self.file = Claimed::All;
        Ok(())
    }

    fn open(&mut self, disk: &dyn Disk, dir: &Path) -> Result<Box<dyn DiskFile>, FileError> {
        let tmp = folder::snapshot_tmp_path(dir);
        let opened = match self.file {
            Claimed::Nothing => disk.create(&tmp).context("create", &tmp),
            Claimed::Some | Claimed::All => disk.open(&tmp).context("open", &tmp),
        };
        self.file = if opened.is_ok() { Claimed::Some } else { Claimed::Nothing };
        opened
    }

    /// Uses the space for this snapshot of everything up to `last`, which is there under its name, and durable, or not at
    /// all. Then nothing is claimed any more.
    pub(crate) fn write(
        &mut self,
        disk: &dyn Disk,
        dir: &Path,
        last: u64,
        image: &[u8],
    ) -> Result<(), FileError> {
        let tmp = folder::snapshot_tmp_path(dir);
        let file = self.open(disk, dir)?;
        file.write_all_at(image, 0).context("write", &tmp)?;
        file.set_len(image.len() as u64).context("set the length of", &tmp)?;
        file.sync().context("sync", &tmp)?;
        self.file = Claimed::Nothing;
        disk.rename(&tmp, &folder::snapshot_path(dir, last)).context("rename", &tmp)?;
        disk.sync_folder(dir).context("sync", dir)?;
        self.snapshot_bytes = Some(image.len() as u64);
        Ok(())
    }
}
