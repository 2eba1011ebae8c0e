//! Where a file goes as it is closed.

use chunkstore_protocol::{CloseInto, FileId, StorePath};
use serde::{Deserialize, Serialize};

use super::Master;
use super::error::FsError;
use super::tree::{Spot, Target};

/// The new place of a file in the record of its close.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moved {
    /// The folder.
    pub parent: FileId,
    /// Its name there.
    pub name: String,
    /// The file whose place it takes.
    pub replaced: Option<FileId>,
}

impl Master {
    /// Where the open file `entry` at `from` can go once it is closed; nothing where it is there already.
    pub(super) fn moved(
        &self,
        (from, entry): (&StorePath, FileId),
        into: &CloseInto,
    ) -> Result<Option<Box<Moved>>, FsError> {
        let CloseInto { path, replace } = into;
        if path.is_root() {
            return Err(FsError::RootStays);
        }
        if path == from {
            return Ok(None);
        }
        let Target { spot: Spot { parent, folders: _, name }, replaced } =
            self.target_at_close(entry, path, *replace, false)?;
        if !self.durable.namespace().fits_at(entry, path) {
            return Err(FsError::PathTooLong { to: path.clone() });
        }
        Ok(Some(Box::new(Moved { parent, name: name.to_owned(), replaced })))
    }
}
