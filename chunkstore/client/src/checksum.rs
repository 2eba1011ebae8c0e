//! CRC32C as the chunk store uses it: over each block, and combined from those over chunks and
//! files. The only place that names the algorithm, for client and chunkserver.

use std::sync::LazyLock;

use chunkstore_protocol::block::BLOCK_BYTES;
/// CRC32C of bytes, under the library's name for it.
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

    /// Starts anew.
    pub fn reset(&mut self) {
        self.0.reset();
    }

    /// The checksum of everything so far.
    #[must_use]
    pub fn value(&self) -> u32 {
        u32::try_from(self.0.finalize()).expect("a CRC32C has 32 bits")
    }
}

/// The checksum of a whole chunk or file: the CRC32C of its bytes, combined from the checksums of
/// its parts, so that it does not depend on where those end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChunkChecksum(u32);

impl ChunkChecksum {
    /// Adds the checksum of the next part, which has `length` bytes.
    pub fn push(&mut self, checksum: u32, length: u64) {
        self.0 = match length == BLOCK_BYTES as u64 {
            true => behind_a_block(self.0) ^ checksum,
            false => combine(self.0, checksum, length),
        };
    }

    /// The checksum of all parts so far.
    #[must_use]
    pub fn value(self) -> u32 {
        self.0
    }
}

/// The checksum of bytes with the checksum `before`, followed by `length` bytes with the checksum
/// `after`.
fn combine(before: u32, after: u32, length: u64) -> u32 {
    let (algorithm, before, after) = (CrcAlgorithm::Crc32Iscsi, before.into(), after.into());
    let combined = crc_fast::checksum_combine(algorithm, before, after, length);
    u32::try_from(combined).expect("a CRC32C has 32 bits")
}

/// What a checksum becomes when a whole block of zeros follows. A CRC is linear: the contributions
/// of its bytes add up, and each is in a table. This takes nanoseconds where [`combine`] takes
/// microseconds.
fn behind_a_block(checksum: u32) -> u32 {
    static TABLES: LazyLock<[[u32; 256]; 4]> = LazyLock::new(|| {
        // Computed for each single bit; the bits of a byte add up. Computing it for each value of a
        // byte would take a millisecond, in each process of each task.
        let bits: [u32; 32] = std::array::from_fn(|bit| combine(1 << bit, 0, BLOCK_BYTES as u64));
        std::array::from_fn(|byte| {
            std::array::from_fn(|value| {
                let set = (0..8).filter(|bit| value >> bit & 1 == 1);
                set.fold(0, |sum, bit| sum ^ bits[8 * byte + bit])
            })
        })
    });
    let bytes = checksum.to_le_bytes();
    TABLES.iter().zip(bytes).fold(0, |sum, (table, byte)| sum ^ table[usize::from(byte)])
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
    }

    #[test]
    fn a_whole_s_checksum_does_not_depend_on_its_parts() {
        let bytes: Vec<u8> = (0..300_000_u32).map(|n| (n * 31 % 251) as u8).collect();
        for part in [1, 100, 4096, BLOCK_BYTES, 100_000, 300_000] {
            let mut whole = ChunkChecksum::default();
            for bytes in bytes.chunks(part).skip(usize::from(part == 1) * 299_000) {
                whole.push(crc32c(bytes), bytes.len() as u64);
            }
            let expected = if part == 1 { &bytes[299_000..] } else { &bytes[..] };
            assert_eq!(whole.value(), crc32c(expected), "parts of {part}");
        }
    }
}
