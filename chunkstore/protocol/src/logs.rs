//! Logs: files that many clients append records to, at once (GFS 2003, section 3.3). Each record is whole in one
//! chunk, and readers see it once.
//!
//! A log consists of sealed chunks, as every file, and at most one open chunk. [`OpenLog`] tells which servers
//! have that one; the first of them is its primary, which numbers the batches that clients send it, has them
//! written and synced on all servers of the chunk in that order, and answers then. Before its first answer it
//! says [`BeginLog`] to the master: from there on the chunk may hold what somebody was promised. A chunk ends
//! when it is full, or when any of its servers fails: what the survivors have in common is sealed, and
//! [`EndLog`] tells the master.
//!
//! A chunk's bytes are frames, each a [`RecordHeader`] and the record.

use std::fmt;

use ids::{HostName, RequestStamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Allocation, ChunkId, FileId, SealedChunk, ServerAddress, StorePath, Version};

/// Bytes of one record, at most; fewer where the log's chunks are smaller.
pub const RECORD_BYTES_MAX: usize = 1 << 20;
/// Bytes before a record.
pub const RECORD_HEADER_BYTES: usize = 32;
/// Bytes of the frames of one batch, at most: the longest record fits, many short ones make it worthwhile.
pub const BATCH_BYTES_MAX: usize = RECORD_BYTES_MAX + RECORD_HEADER_BYTES;

/// Who wrote a record: a random number, new for each writer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WriterId(pub u128);

impl fmt::Display for WriterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// What stands before a record in its chunk: `length: u32, crc32c: u32, writer: u128, sequence: u64`, all little-endian.
/// The CRC32C covers all of it but itself, and the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordHeader {
    /// Bytes of the record.
    pub length: u32,
    /// CRC32C of the other fields and the record.
    pub checksum: u32,
    /// Who wrote it.
    pub writer: WriterId,
    /// Its number among that writer's records, from 1: each higher than the one before. A record that was sent again,
    /// because nobody knew whether it had arrived, has the same one.
    pub sequence: u64,
}

impl RecordHeader {
    /// The header's bytes.
    #[must_use]
    pub fn encode(self) -> [u8; RECORD_HEADER_BYTES] {
        let mut bytes = [0; RECORD_HEADER_BYTES];
        bytes[..4].copy_from_slice(&self.length.to_le_bytes());
        bytes[4..8].copy_from_slice(&self.checksum.to_le_bytes());
        bytes[8..24].copy_from_slice(&self.writer.0.to_le_bytes());
        bytes[24..].copy_from_slice(&self.sequence.to_le_bytes());
        bytes
    }

    /// Reads a header; `None` if no record is that long, or has that number.
    #[must_use]
    pub fn decode(bytes: &[u8; RECORD_HEADER_BYTES]) -> Option<Self> {
        let (length, rest) = bytes.split_first_chunk()?;
        let (checksum, rest) = rest.split_first_chunk()?;
        let (writer, rest) = rest.split_first_chunk()?;
        let (sequence, _) = rest.split_first_chunk()?;
        let header = Self {
            length: u32::from_le_bytes(*length),
            checksum: u32::from_le_bytes(*checksum),
            writer: WriterId(u128::from_le_bytes(*writer)),
            sequence: u64::from_le_bytes(*sequence),
        };
        (header.length as usize <= RECORD_BYTES_MAX && header.sequence > 0).then_some(header)
    }
}

/// `POST /v1/logs/create` → [`crate::FileStatus`]. Makes an empty log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CreateLog {
    /// Makes a retry safe.
    pub stamp: RequestStamp,
    /// Where it appears.
    pub path: StorePath,
    /// Make missing folders above.
    #[serde(default)]
    pub parents: bool,
    /// Replicas asked for; the master's default if absent. A record counts as appended when all of them have it.
    #[serde(default)]
    pub replication: Option<u8>,
    /// Length limit of its chunks ([`crate::is_chunk_limit`]); the master's default if absent.
    #[serde(default)]
    pub chunk_bytes: Option<u64>,
}

/// `POST /v1/logs/open` → [`OpenedLog`]. Where to append to a log: its open chunk, or a new one if there is none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OpenLog {
    /// The log.
    pub path: StorePath,
    /// A chunk whose primary does not answer: it is to be ended, if it is still the open one. The answer may name
    /// it again while that is under way.
    #[serde(default)]
    pub failed: Option<ChunkId>,
    /// Servers that failed this writer: not to be chosen for a new chunk if there are others.
    #[serde(default)]
    pub exclude: Vec<HostName>,
    /// The writer's host, for the first replica of a new chunk.
    #[serde(default)]
    pub writer_host: Option<HostName>,
}

/// Reply to [`OpenLog`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OpenedLog {
    /// The log, whatever it is called meanwhile.
    pub file: FileId,
    /// Length limit of its chunks, bytes: no batch is longer.
    pub chunk_bytes: u64,
    /// The open chunk and its servers, the primary first.
    pub allocation: Allocation,
}

/// `POST /v1/logs/begin` → [`BegunLog`]. A primary asks twice: before it makes the chunk's file, and when that is there,
/// empty and durable, on every server of the chunk, so that it is about to take records. Refused if the chunk is not its
/// log's open one any more, or was begun before: a primary that has lost its file must not make an empty one, which would
/// look as if nothing had been acknowledged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BeginLog {
    /// The chunk.
    pub chunk: ChunkId,
    /// Its version.
    pub version: Version,
    /// Random, new for each beginning: a retry is told from a primary that has forgotten what it had.
    pub beginning: u64,
    /// Whether the files are there. Before, nothing is recorded.
    pub made: bool,
}

/// Reply to [`BeginLog`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BegunLog {
    /// Length limit of the chunk, bytes.
    pub chunk_bytes: u64,
}

/// `POST /v1/logs/end` → [`crate::Done`]. A log's open chunk is sealed: the first that says so is believed. Refused if
/// it is not the open one any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EndLog {
    /// The chunk.
    pub chunk: ChunkId,
    /// Its version.
    pub version: Version,
    /// What is sealed, and where; nothing if one of its servers has no record, so that none was acknowledged.
    pub sealed: Option<SealedChunk>,
    /// Servers of a chunk that could not begin: not to be chosen for the next one. Refused if it has begun.
    #[serde(default)]
    pub failed: Vec<HostName>,
}

/// The open chunk of a log, for its readers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OpenLogChunk {
    /// The chunk. It will begin where the sealed ones end.
    pub chunk: ChunkId,
    /// Its version.
    pub version: Version,
    /// Its primary, which knows what of it is acknowledged; absent before it has begun: nothing is.
    pub primary: Option<ServerAddress>,
    /// Capability to read it.
    pub token: String,
}

/// Reply of a primary to `POST /v1/chunks/{chunk}/records?version=N`, whose body are the frames of one batch of one
/// writer: all of it is written and synced on every server of the chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Appended {
    /// Where the batch begins in the chunk.
    pub offset: u64,
}

/// Reply of a server to `POST /v1/chunks/{chunk}/follow?version=N&offset=N`, with which its primary sends the next
/// batches; and, with nothing in it, makes the replica. So much is written and synced there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Followed {
    /// Bytes of the chunk.
    pub length: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_read_as_it_was_written_and_only_if_a_record_can_have_it() {
        let header = RecordHeader {
            length: 5,
            checksum: 0xdead_beef,
            writer: WriterId(u128::MAX - 1),
            sequence: 7,
        };
        assert_eq!(RecordHeader::decode(&header.encode()), Some(header));
        let none = |header: RecordHeader| RecordHeader::decode(&header.encode()).is_none();
        assert!(none(RecordHeader { sequence: 0, ..header }));
        assert!(none(RecordHeader { length: RECORD_BYTES_MAX as u32 + 1, ..header }));
        assert_eq!(RecordHeader::decode(&[0; RECORD_HEADER_BYTES]), None, "a hole is no record");
    }
}
