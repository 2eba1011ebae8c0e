//! A file's chunks in order, and what its writer asked for. Not here: its place in the tree, and
//! whether it is open.

use chunkstore_protocol::ChunkId;
use serde::{Deserialize, Serialize};

/// A file's sealed chunks. Whether the file is open, the table of writers says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct File {
    chunks: Chunks,
    /// Length limit of its chunks; [`chunkstore_protocol::CHUNK_BYTES_MAX`] fits.
    chunk_bytes: u32,
    /// Replicas asked for.
    pub(crate) replication: u8,
    /// Whether its writer died before it was closed.
    #[serde(default)]
    pub(crate) cut: bool,
    /// Whether it is a log, to which many clients append records at once.
    #[serde(default)]
    pub(crate) log: bool,
}

/// Most files have one chunk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Chunks {
    None,
    One { chunk: ChunkId, length: u32 },
    Several(Vec<FileChunk>),
}

/// A chunk in its place in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FileChunk {
    /// The chunk.
    pub(crate) chunk: ChunkId,
    /// Offset in the file of the byte after the chunk's last.
    pub(crate) end: u64,
}

impl File {
    /// A file without chunks.
    pub(crate) fn new(replication: u8, chunk_bytes: u64) -> Self {
        let chunk_bytes = u32::try_from(chunk_bytes).expect("chunks are bounded far below 4 GiB");
        Self { chunks: Chunks::None, chunk_bytes, replication, cut: false, log: false }
    }

    /// Length limit of its chunks.
    pub(crate) fn chunk_bytes(&self) -> u64 {
        u64::from(self.chunk_bytes)
    }

    /// Bytes in its sealed chunks.
    pub(crate) fn length(&self) -> u64 {
        match &self.chunks {
            Chunks::None => 0,
            Chunks::One { length, .. } => u64::from(*length),
            Chunks::Several(places) => places.last().map_or(0, |last| last.end),
        }
    }

    /// Number of its chunks.
    pub(crate) fn n_chunks(&self) -> usize {
        match &self.chunks {
            Chunks::None => 0,
            Chunks::One { .. } => 1,
            Chunks::Several(places) => places.len(),
        }
    }

    /// Its chunks in order, beginning with number `first`.
    pub(crate) fn places_from(&self, first: usize) -> impl Iterator<Item = FileChunk> {
        let (one, several) = match &self.chunks {
            Chunks::None => (None, &[][..]),
            Chunks::One { chunk, length } => {
                (Some(FileChunk { chunk: *chunk, end: u64::from(*length) }), &[][..])
            }
            Chunks::Several(places) => (None, places.as_slice()),
        };
        one.into_iter().chain(several.iter().copied()).skip(first)
    }

    /// The number of the chunk that holds the byte at `offset`; behind the end, the number of
    /// chunks.
    pub(crate) fn chunk_at(&self, offset: u64) -> usize {
        match &self.chunks {
            Chunks::Several(places) => places.partition_point(|place| place.end <= offset),
            Chunks::None | Chunks::One { .. } => {
                usize::from(offset >= self.length()) * self.n_chunks()
            }
        }
    }

    /// Removes and returns the chunks behind its first `length` bytes, where a chunk must end.
    pub(crate) fn truncate(&mut self, length: u64) -> Vec<FileChunk> {
        let (kept, gone): (Vec<_>, _) =
            self.places_from(0).partition(|place: &FileChunk| place.end <= length);
        self.chunks = match kept[..] {
            [] => Chunks::None,
            [FileChunk { chunk, end }] => {
                let length = u32::try_from(end).expect("chunks are bounded far below 4 GiB");
                Chunks::One { chunk, length }
            }
            _ => Chunks::Several(kept),
        };
        gone
    }

    /// Removes up to `limit` chunks from its end.
    pub(crate) fn take_last(&mut self, limit: usize) -> Vec<ChunkId> {
        match &mut self.chunks {
            Chunks::Several(places) => {
                let left = places.len().saturating_sub(limit);
                places.drain(left..).map(|place| place.chunk).collect()
            }
            Chunks::One { chunk, .. } if limit > 0 => {
                let chunk = *chunk;
                self.chunks = Chunks::None;
                vec![chunk]
            }
            Chunks::One { .. } | Chunks::None => Vec::new(),
        }
    }

    /// Appends all chunks of `other`, and takes the higher of the two chunk limits and
    /// replications.
    pub(crate) fn take_in(&mut self, other: &mut Self) {
        let mut before = 0;
        for place in other.places_from(0) {
            self.append(place.chunk, place.end - before);
            before = place.end;
        }
        other.chunks = Chunks::None;
        self.chunk_bytes = self.chunk_bytes.max(other.chunk_bytes);
        self.replication = self.replication.max(other.replication);
        self.cut |= other.cut;
    }

    /// Appends a sealed chunk.
    pub(crate) fn append(&mut self, chunk: ChunkId, length: u64) {
        let end = self.length() + length;
        if let Chunks::Several(places) = &mut self.chunks {
            places.push(FileChunk { chunk, end });
        } else if matches!(self.chunks, Chunks::None) {
            let length = u32::try_from(length).expect("chunks are bounded far below 4 GiB");
            self.chunks = Chunks::One { chunk, length };
        } else {
            let places = self.places_from(0).chain([FileChunk { chunk, end }]).collect();
            self.chunks = Chunks::Several(places);
        }
    }
}
