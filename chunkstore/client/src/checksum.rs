//! CRC32C, as the chunk store uses it: over each block, and over a chunk's block checksums. The one
//! place that names the algorithm for client and chunkserver.

/// CRC32C of bytes, as the library calls it.
pub use crc_fast::crc32_iscsi as crc32c;
use crc_fast::{CrcAlgorithm, Digest};

/// CRC32C of bytes that come in pieces.
#[derive(Clone, Debug)]
pub struct Crc32c(Digest);

impl Default for Crc32c {
    fn default() -> Self {
        Self(Digest::new(CrcAlgorithm::Crc32Iscsi))
    }
}

impl Crc32c {
    /// Takes the next piece.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// Begins anew.
    pub fn reset(&mut self) {
        self.0.reset();
    }

    /// The checksum of everything so far.
    #[must_use]
    pub fn value(&self) -> u32 {
        u32::try_from(self.0.finalize()).expect("a CRC32C has 32 bits")
    }
}

/// The checksum of a whole chunk: CRC32C of its block checksums (little-endian) in order.
#[derive(Clone, Debug, Default)]
pub struct ChunkChecksum(Crc32c);

impl ChunkChecksum {
    /// Takes the next block's checksum.
    pub fn push(&mut self, block_checksum: u32) {
        self.0.update(&block_checksum.to_le_bytes());
    }

    /// The checksum of all blocks so far.
    #[must_use]
    pub fn value(&self) -> u32 {
        self.0.value()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_crc32c_in_one_go_and_in_pieces() {
        // The check value of CRC-32C (RFC 3720 B.4 uses the same polynomial).
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
        let mut pieces = Crc32c::default();
        for piece in [&b"12"[..], b"", b"3456789"] {
            pieces.update(piece);
        }
        assert_eq!(pieces.value(), 0xe306_9283);
        let mut chunk = ChunkChecksum::default();
        chunk.push(0x0403_0201);
        chunk.push(0x0807_0605);
        assert_eq!(chunk.value(), crc32c(&[1, 2, 3, 4, 5, 6, 7, 8]));
    }
}
