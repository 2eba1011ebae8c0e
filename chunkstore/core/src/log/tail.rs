//! The open end of a log on one server of its chunk: where the next batch goes, and which batches
//! came before.

use std::collections::BTreeMap;

use chunkstore_protocol::WriterId;

/// Writers that a primary remembers for one chunk; when another one comes, the chunk is full.
pub const TAIL_WRITERS_MAX: usize = 65_536;

/// Records of one writer that are appended together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Batch {
    /// Who wrote them.
    pub writer: WriterId,
    /// Number of the first record.
    pub first: u64,
    /// Number of the last record.
    pub last: u64,
    /// Bytes of their frames.
    pub bytes: u64,
}

/// What a primary does with a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// It is written behind everything taken before, and answered once it is on every server.
    Write {
        /// Where it begins in the chunk.
        offset: u64,
    },
    /// It was taken before. It is answered once everything taken so far is on every server.
    Again {
        /// Where it begins in the chunk.
        offset: u64,
    },
    /// It does not fit: the chunk must end.
    Full,
    /// The chunk takes no more batches.
    Ended,
}

/// A writer must number its records upwards, and send a batch again unchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "record {first} of writer {writer} comes behind its record {last}: number a writer's records upwards, append one \
     batch after the other, and send one that got no answer again as it was"
)]
pub struct OutOfOrder {
    /// The writer.
    pub writer: WriterId,
    /// The first record of its batch.
    pub first: u64,
    /// The last record of this writer that was taken.
    pub last: u64,
}

/// A batch that does not begin where the last one ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{length} bytes are here, and the batch begins at {offset}")]
pub struct Gap {
    /// Bytes that are here.
    pub length: u64,
    /// Where the batch begins.
    pub offset: u64,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Tail {
    chunk_bytes: u64,
    length: u64,
    acknowledged: u64,
    ended: bool,
    /// The last batch of each writer.
    writers: BTreeMap<WriterId, Taken>,
}

#[derive(Clone, Copy, Debug)]
struct Taken {
    batch: Batch,
    offset: u64,
}

impl Tail {
    /// The tail of an empty chunk, which takes at most `chunk_bytes`.
    #[must_use]
    pub fn new(chunk_bytes: u64) -> Self {
        Self { chunk_bytes, length: 0, acknowledged: 0, ended: false, writers: BTreeMap::new() }
    }

    /// Lowers or raises the limit of the chunk's bytes.
    pub fn limit(&mut self, chunk_bytes: u64) {
        self.chunk_bytes = chunk_bytes;
    }

    /// Bytes that were taken.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Bytes that every server has.
    #[must_use]
    pub fn acknowledged(&self) -> u64 {
        self.acknowledged
    }

    /// Whether the chunk takes no more.
    #[must_use]
    pub fn is_ended(&self) -> bool {
        self.ended
    }

    /// Admits, on the primary, a batch that a client sends.
    ///
    /// # Errors
    /// When the writer's numbers go backwards; then nothing is taken.
    pub fn admit(&mut self, batch: Batch) -> Result<Admission, OutOfOrder> {
        if self.ended {
            return Ok(Admission::Ended);
        }
        let Batch { writer, first, .. } = batch;
        match self.writers.get(&writer) {
            Some(taken) if taken.batch == batch => {
                return Ok(Admission::Again { offset: taken.offset });
            }
            Some(Taken { batch: Batch { last, .. }, .. }) if first <= *last => {
                return Err(OutOfOrder { writer, first, last: *last });
            }
            None if self.writers.len() >= TAIL_WRITERS_MAX => return Ok(Admission::Full),
            Some(_) | None => {}
        }
        if self.length + batch.bytes > self.chunk_bytes {
            return Ok(Admission::Full);
        }
        let offset = self.length;
        self.length += batch.bytes;
        self.writers.insert(writer, Taken { batch, offset });
        Ok(Admission::Write { offset })
    }

    /// Admits, on another server, the bytes that the server before it in the pipeline sends for
    /// `offset`.
    ///
    /// # Errors
    /// When `offset` is not where this server's bytes end, or the chunk has ended here.
    pub fn follow(&mut self, offset: u64, bytes: u64) -> Result<(), Gap> {
        if self.ended || offset != self.length {
            return Err(Gap { length: self.length, offset });
        }
        self.length += bytes;
        Ok(())
    }

    /// Everything up to this offset is written and synced on every server.
    pub fn acknowledge(&mut self, up_to: u64) {
        debug_assert!(up_to <= self.length, "nobody has more than the primary");
        self.acknowledged = self.acknowledged.max(up_to);
    }

    /// Takes no more from now on. Only `written` bytes of what was taken are in the file.
    pub fn end(&mut self, written: u64) {
        self.ended = true;
        self.length = self.length.min(written);
    }
}
