//! How chunk bytes travel, in both directions: a body is a run of blocks, each
//! `length: u32 LE, crc32c: u32 LE, bytes`, then an end mark `0: u32, crc32c: u32` whose second word is
//! the CRC32C of all bytes of the blocks before it. A body without its end mark was
//! cut short and is never taken as whole.
//!
//! Every block of a chunk holds [`BLOCK_BYTES`], but the chunk's last one may hold fewer; reads are
//! widened to whole blocks, so that every receiver can verify what it got.

/// Bytes under one checksum (GFS: 64 KB).
pub const BLOCK_BYTES: usize = 64 << 10;
/// Bytes before a block: its length and its CRC32C.
pub const HEADER_BYTES: usize = 8;
/// Bytes of the end mark.
pub const END_BYTES: usize = 8;

/// A block's header, or the end mark when `length` is 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockHeader {
    /// Bytes that follow; 0 marks the end of the body.
    pub length: u32,
    /// CRC32C of those bytes; in the end mark, of all bytes before it.
    pub checksum: u32,
}

impl BlockHeader {
    /// The header's bytes on the wire.
    #[must_use]
    pub fn encode(self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..4].copy_from_slice(&self.length.to_le_bytes());
        bytes[4..].copy_from_slice(&self.checksum.to_le_bytes());
        bytes
    }

    /// Reads a header; `None` if the length exceeds [`BLOCK_BYTES`].
    #[must_use]
    pub fn decode(bytes: [u8; HEADER_BYTES]) -> Option<Self> {
        let [a, b, c, d, e, f, g, h] = bytes;
        let length = u32::from_le_bytes([a, b, c, d]);
        let checksum = u32::from_le_bytes([e, f, g, h]);
        (length as usize <= BLOCK_BYTES).then_some(Self { length, checksum })
    }
}
