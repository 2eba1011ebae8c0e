//! What a task reads and writes through: the chunk store in a task process, local files in the local
//! runner. The task side is synchronous; what waits for a network does so on the I/O thread.

use bytes::Bytes;
use mapreduce_protocol::{Failure, SplitPiece};

/// Files of the input.
pub(crate) trait Input: Sync {
    /// Reads `length` bytes from `offset` on, which lie inside the file but perhaps not in the piece of it.
    fn read(&self, of: &SplitPiece, offset: u64, length: u64) -> Result<Box<dyn Blocks>, Failure>;
}

/// A range of a file, block by block; how long a block is, is the file's business.
pub(crate) trait Blocks {
    /// The next block; `None` when the range is over.
    fn next_block(&mut self) -> Result<Option<Bytes>, Failure>;
}

/// The one file that an attempt writes.
pub(crate) trait OutputFile {
    /// Appends bytes.
    fn write(&mut self, bytes: Bytes) -> Result<(), Failure>;

    /// Closes it; on return it is as durable as the store promises.
    fn close(self: Box<Self>) -> Result<(), Failure>;
}

#[cfg(test)]
pub(crate) mod testing {
    //! A file in memory, in blocks of any length.

    use super::*;

    /// One file, whatever its path.
    pub(crate) struct MemoryInput {
        /// Its bytes.
        pub(crate) data: Vec<u8>,
        /// Length of the blocks.
        pub(crate) block: usize,
    }

    struct MemoryBlocks {
        rest: Bytes,
        block: usize,
    }

    impl Input for MemoryInput {
        fn read(
            &self,
            _: &SplitPiece,
            offset: u64,
            length: u64,
        ) -> Result<Box<dyn Blocks>, Failure> {
            let (start, length) = (offset as usize, length as usize);
            let rest = Bytes::copy_from_slice(&self.data[start..start + length]);
            Ok(Box::new(MemoryBlocks { rest, block: self.block }))
        }
    }

    impl Blocks for MemoryBlocks {
        fn next_block(&mut self) -> Result<Option<Bytes>, Failure> {
            let n = self.block.min(self.rest.len());
            Ok((n > 0).then(|| self.rest.split_to(n)))
        }
    }
}
