//! Reading a file that is still being written, as far as its chunks are sealed.

use chunkstore_protocol::StorePath;

use crate::{ChunkStore, FileReader, StoreError};

/// Bytes of a file whose chunks are located by one call.
const LOCATE_BYTES: u64 = 256 << 20;

impl ChunkStore {
    /// Opens a file to read at most `length` bytes from `offset` on, even while it is being
    /// written; then only its sealed chunks count. The reader may end before `length` although
    /// there is more: open the file again where it ended. The file may still grow or disappear.
    ///
    /// # Errors
    /// When there is no such file, or the master can't be asked.
    pub async fn open_unfinished(
        &self,
        path: &StorePath,
        offset: u64,
        length: u64,
    ) -> Result<FileReader, StoreError> {
        let length = length.min(LOCATE_BYTES);
        let located = self.locate_so_far(path, offset, Some(length)).await?;
        // The reader must not go further: it would locate what follows as if the file were closed.
        let end = located.chunks.last().map_or(offset, |last| last.offset + last.length);
        let end = end.min(offset.saturating_add(length));
        Ok(FileReader::located(self.clone(), path.clone(), located, offset..end))
    }
}
