//! What the chunk master, the chunkservers and their clients say to one another: serde types and the
//! one path parser. No rules: who may do what, and when, is decided in `chunkstore-core`.
//!
//! Transport: `POST` of JSON to the route that stands in each request's doc, problem+json on failure
//! (see [`problem::ProblemKind`]). Chunk bytes travel as [`block`] streams.

pub mod block;
pub mod descriptor;
pub mod files;
pub mod health;
pub mod logs;
pub mod namespace;
pub mod path;
pub mod problem;
pub mod remedy;
pub mod replica;
pub mod servers;

pub use files::*;
pub use health::*;
pub use logs::*;
pub use namespace::*;
pub use path::{PathError, StorePath};
pub use problem::ProblemKind;
pub use remedy::{Remedies, Remedy};
pub use replica::ReplicaKey;
pub use servers::*;

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize, Serializer};

/// Version of the messages between the daemons of the chunk store; compared at registration.
pub const PROTOCOL_VERSION: u32 = 4;

/// Length limit of a chunk, in bytes (GFS: 64 MB), whatever the configuration says.
pub const CHUNK_BYTES_MAX: u64 = 64 << 20;

/// Whether the chunks of a file may be limited to so many bytes, by the configuration or by who creates it:
/// whole blocks, from one to [`CHUNK_BYTES_MAX`]. With less a file would be all metadata; a limit within a
/// block would leave a short one in every chunk.
#[must_use]
pub fn is_chunk_limit(bytes: u64) -> bool {
    let block = block::BLOCK_BYTES as u64;
    (block..=CHUNK_BYTES_MAX).contains(&bytes) && bytes.is_multiple_of(block)
}

/// A file while it exists, whatever it is called: what a writer holds on to.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    JsonSchema,
)]
pub struct FileId(pub u64);

/// A chunk for ever: never used twice. Written as 16 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(try_from = "String")]
pub struct ChunkId(pub u64);

impl Serialize for ChunkId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(ids::hex_digits(self.0).as_str())
    }
}

ids::text_schema!(ChunkId, r"^[0-9a-f]{16}$", "A chunk, for ever: 16 hexadecimal digits.");

/// A text that is not a chunk id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a chunk id: expected 16 hexadecimal digits")]
pub struct ChunkIdError(String);

impl fmt::Display for ChunkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(ids::hex_digits(self.0).as_str())
    }
}

impl FromStr for ChunkId {
    type Err = ChunkIdError;

    fn from_str(text: &str) -> Result<Self, ChunkIdError> {
        let well_formed =
            text.len() == 16 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        u64::from_str_radix(text, 16)
            .ok()
            .filter(|_| well_formed)
            .map(Self)
            .ok_or_else(|| ChunkIdError(text.chars().take(40).collect()))
    }
}

impl TryFrom<String> for ChunkId {
    type Error = ChunkIdError;

    fn try_from(text: String) -> Result<Self, ChunkIdError> {
        text.parse()
    }
}

impl From<ChunkId> for String {
    fn from(chunk: ChunkId) -> Self {
        chunk.to_string()
    }
}

impl ChunkId {
    /// The name under which capabilities speak of this chunk: no path of a file, so that no right to a
    /// path covers it, nor the other way round.
    #[must_use]
    pub fn resource(self) -> String {
        ["chunk/", ids::hex_digits(self.0).as_str()].concat()
    }

    /// The route of its bytes.
    #[must_use]
    pub fn route(self) -> String {
        format!("/v1/chunks/{self}")
    }
}

/// Which lease wrote a replica: a replica with an older version than the master's is stale.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    JsonSchema,
)]
pub struct Version(pub u32);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_are_limited_to_whole_blocks() {
        const BLOCK: u64 = block::BLOCK_BYTES as u64;
        for good in [BLOCK, 2 * BLOCK, 1 << 20, CHUNK_BYTES_MAX] {
            assert!(is_chunk_limit(good), "{good}");
        }
        for bad in [0, 1024, BLOCK - 1, BLOCK + 1, CHUNK_BYTES_MAX + BLOCK] {
            assert!(!is_chunk_limit(bad), "{bad}");
        }
    }

    #[test]
    fn chunk_ids_round_trip_and_refuse_what_is_not_one() {
        let chunk = ChunkId(0x2a);
        assert_eq!(chunk.to_string(), "000000000000002a");
        assert_eq!("000000000000002a".parse(), Ok(chunk));
        for bad in ["", "2a", "+00000000000002a", "000000000000002A", "../../../../../x"] {
            assert!(bad.parse::<ChunkId>().is_err(), "{bad}");
        }
    }
}
