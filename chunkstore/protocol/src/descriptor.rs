//! How a chunkserver hands the open file of a sealed replica to a reader on its own host (HDFS'
//! short-circuit reads), so that the bytes go through no socket.
//!
//! `GET /v1/descriptor` → [`DescriptorSocket`] names a Unix socket in the abstract namespace. A connection
//! carries one request and one answer, each a frame of `length: u32 LE, JSON`. With
//! [`DescriptorAnswer::Opened`] comes the file's descriptor (`SCM_RIGHTS`), open for reading: the chunk's
//! bytes and, behind them, the footer with the checksum of each block, which the reader must verify.

use serde::{Deserialize, Serialize};

use crate::{ChunkId, Version};

/// Length limit of a frame's JSON, bytes.
pub const DESCRIPTOR_FRAME_MAX: usize = 16 << 10;

/// Reply to `GET /v1/descriptor` of a chunkserver: where it hands descriptors out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DescriptorSocket {
    /// Name of the abstract Unix socket, new at each start; absent if the server has none.
    pub socket: Option<String>,
}

/// Asks for the descriptor of a replica's file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DescriptorRequest {
    /// The chunk.
    pub chunk: ChunkId,
    /// Its version.
    pub version: Version,
    /// Capability to read it, as a `GET` of its bytes bears.
    pub token: String,
}

/// Answer to a [`DescriptorRequest`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub enum DescriptorAnswer {
    /// The descriptor comes with this frame.
    Opened,
    /// There is none.
    Refused {
        /// Why, for people.
        reason: String,
    },
}

/// Reply to `POST /v1/chunks/{chunk}/suspect?version=`: a reader has seen bytes of the replica that do not
/// match their checksum, and the server has read it whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rechecked {
    /// Whether the replica is sound; if not, it is set aside and reported lost.
    pub sound: bool,
}
