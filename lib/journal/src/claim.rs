//! Space for the next snapshot, claimed in advance in the file that it is written to: so even on a
//! full disk, a journal can still make one, and thereby free space. Called by `snapshot`, and by
//! `thread`, which prepares no segment without it.

use std::path::Path;

use crate::disk::{Disk, DiskFile};
use crate::error::{Context, FileError};
use crate::folder;

/// Segments' worth of space claimed while there is no snapshot. The first snapshot makes the
/// segments before it superfluous, but replaces no older snapshot.
const SEGMENTS_AT_FIRST: u64 = 2;

/// The claimed space. Only one snapshot uses it at a time.
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
    /// There is a file in all folders.
    Some,
    /// There is a file, and all of the space is claimed in it.
    All,
}

impl Claim {
    /// For a journal with segments of this length, whose newest snapshot has this length. Nothing
    /// is claimed yet except what an earlier process left.
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

    /// Length of the newest snapshot; 0 if there is none.
    pub(crate) fn snapshot_bytes(&self) -> u64 {
        self.snapshot_bytes.unwrap_or(0)
    }

    /// Claims space for a snapshot as long as the last one, and no shorter than a segment.
    ///
    /// # Errors
    /// The disk is full. The space claimed so far is kept.
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

    /// Writes the snapshot of everything up to `last` into the claimed space. It is then under its
    /// name and durable, or not there at all. Afterwards nothing is claimed any more.
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
