//! The footer of a chunk's file, which makes the file self-describing: the CRC32C of each block,
//! the chunk's length, id and version, the format's version, a CRC32C of all that, and a magic
//! word. Bytes in, bytes out. Chunkservers write it and read it, and so do readers on their host
//! that have the file's descriptor.
//!
//! ```text
//! <chunk bytes> | crc32c × blocks | length u64 | chunk u64 | version u32 | format u32 | crc32c u32 | magic
//! ```
//! All numbers little-endian; the CRC covers everything from the first block's checksum up to itself.

use crate::checksum::{ChunkChecksum, crc32c};
use chunkstore_core::replica::{ReplicaKey, Sealed};
use chunkstore_protocol::block::BLOCK_BYTES;
use chunkstore_protocol::{CHUNK_BYTES_MAX, ChunkId, Version};

/// Version of the format above.
pub const FORMAT_VERSION: u32 = 1;
/// Higher than any release's version.
const FORMAT_VERSION_MAX: u32 = 1000;
const MAGIC: [u8; 8] = *b"HOWDAHCK";
/// Bytes of the footer after the block checksums.
const TAIL_BYTES: usize = 36;
/// Maximum length of a footer.
pub const FOOTER_BYTES_MAX: usize =
    TAIL_BYTES + 4 * (CHUNK_BYTES_MAX as usize).div_ceil(BLOCK_BYTES);

/// The description of a sealed replica.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Footer {
    /// The replica.
    pub replica: ReplicaKey,
    /// Bytes of the chunk.
    pub length: u64,
    /// CRC32C of each block.
    pub blocks: Vec<u32>,
}

/// Why a file is not a sealed replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FooterError {
    /// It is cut short, or not a chunk file at all.
    #[error("it does not end like a chunk file")]
    NoFooter,
    /// It is from a newer release.
    #[error("its format version is {found}, and this release reads {FORMAT_VERSION}")]
    NewerFormat {
        /// That version.
        found: u32,
    },
    /// The footer's own checksum is wrong.
    #[error("its footer is corrupt")]
    Corrupt,
    /// The lengths of chunk, footer and file do not add up.
    #[error("it has {file} bytes where its footer says {expected}")]
    WrongLength {
        /// Bytes of the file.
        file: u64,
        /// Bytes that it should have.
        expected: u64,
    },
    /// It belongs to another chunk than its name says.
    #[error("its footer is that of chunk {} version {}", found.chunk, found.version.0)]
    OtherReplica {
        /// The replica that it belongs to.
        found: ReplicaKey,
    },
}

impl Footer {
    /// Length and checksum, as the master knows a replica.
    pub fn sealed(&self) -> Sealed {
        let mut checksum = ChunkChecksum::default();
        self.checked_blocks(0).for_each(|(block, length)| checksum.push(block, length));
        Sealed { length: self.length, checksum: checksum.value() }
    }

    /// The blocks from number `first` on: the checksum and length of each.
    pub fn checked_blocks(&self, first: usize) -> impl Iterator<Item = (u32, u64)> {
        let block = BLOCK_BYTES as u64;
        let starts = (first as u64..).map(move |nth| nth * block);
        let lengths = starts.map(move |start| self.length.saturating_sub(start).min(block));
        self.blocks.iter().skip(first).copied().zip(lengths)
    }

    /// The footer's bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(4 * self.blocks.len() + TAIL_BYTES);
        self.blocks.iter().for_each(|block| bytes.extend_from_slice(&block.to_le_bytes()));
        bytes.extend_from_slice(&self.length.to_le_bytes());
        bytes.extend_from_slice(&self.replica.chunk.0.to_le_bytes());
        bytes.extend_from_slice(&self.replica.version.0.to_le_bytes());
        bytes.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
        bytes.extend_from_slice(&crc32c(&bytes).to_le_bytes());
        bytes.extend_from_slice(&MAGIC);
        bytes
    }

    /// Reads the footer of `replica` from the last bytes of its file (all of it, or at least
    /// [`FOOTER_BYTES_MAX`]).
    pub fn decode(replica: ReplicaKey, end: &[u8], file_length: u64) -> Result<Self, FooterError> {
        let tail_at = end.len().checked_sub(TAIL_BYTES).ok_or(FooterError::NoFooter)?;
        let (before, tail) = end.split_at(tail_at);
        if tail[28..] != MAGIC {
            return Err(FooterError::NoFooter);
        }
        let found = word(&tail[20..24]);
        if found != FORMAT_VERSION {
            // If everything is right with our version in its place, then only the version has
            // rotted.
            let mut ours = end.to_vec();
            ours[tail_at + 20..tail_at + 24].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
            let is_ours = Self::decode(replica, &ours, file_length).is_ok();
            return Err(if is_ours || found > FORMAT_VERSION_MAX {
                FooterError::Corrupt
            } else {
                FooterError::NewerFormat { found }
            });
        }
        let length = u64::from_le_bytes(eight(&tail[..8]));
        let n_blocks = length.div_ceil(BLOCK_BYTES as u64);
        let expected = length.saturating_add(4 * n_blocks + TAIL_BYTES as u64);
        if expected != file_length {
            return Err(FooterError::WrongLength { file: file_length, expected });
        }
        let table_bytes = usize::try_from(4 * n_blocks).map_err(|_| FooterError::Corrupt)?;
        let table_at = before.len().checked_sub(table_bytes).ok_or(FooterError::Corrupt)?;
        if crc32c(&end[table_at..tail_at + 24]) != word(&tail[24..28]) {
            return Err(FooterError::Corrupt);
        }
        let found = ReplicaKey {
            chunk: ChunkId(u64::from_le_bytes(eight(&tail[8..16]))),
            version: Version(word(&tail[16..20])),
        };
        if found != replica {
            return Err(FooterError::OtherReplica { found });
        }
        Ok(Self { replica, length, blocks: before[table_at..].chunks_exact(4).map(word).collect() })
    }
}

fn word(bytes: &[u8]) -> u32 {
    u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
}

fn eight(bytes: &[u8]) -> [u8; 8] {
    let mut eight = [0; 8];
    eight.copy_from_slice(bytes);
    eight
}

#[cfg(test)]
mod tests {
    use super::*;

    fn footer(length: u64) -> Footer {
        let n_blocks = length.div_ceil(BLOCK_BYTES as u64);
        Footer {
            replica: ReplicaKey { chunk: ChunkId(0x2a), version: Version(3) },
            length,
            blocks: (0..n_blocks).map(|n| 0x0102_0304 + n as u32).collect(),
        }
    }

    fn decode(footer: &Footer, end: &[u8]) -> Result<Footer, FooterError> {
        Footer::decode(footer.replica, end, footer.length + end.len() as u64)
    }

    #[test]
    fn the_bytes_of_format_version_1_stay_as_they_are() {
        let encoded = footer(5).encode();
        let hex: String = encoded.iter().map(|byte| format!("{byte:02x}")).collect();
        let expected = concat!(
            "04030201",         // the only block's checksum
            "0500000000000000", // length
            "2a00000000000000", // chunk
            "03000000",         // version
            "01000000",         // format
            "e96999f9",         // CRC32C of the above
            "484f57444148434b"  // magic
        );
        assert_eq!(hex.len(), 80, "{hex}");
        assert_eq!(hex, expected);
    }

    #[test]
    fn a_footer_round_trips_with_more_bytes_before_it() {
        for length in [1, BLOCK_BYTES as u64, BLOCK_BYTES as u64 + 1, CHUNK_BYTES_MAX] {
            let footer = footer(length);
            let encoded = footer.encode();
            assert!(encoded.len() <= FOOTER_BYTES_MAX);
            assert_eq!(decode(&footer, &encoded), Ok(footer.clone()));
            let with_data = [&[9; 50][..], &encoded].concat();
            let file_length = length + encoded.len() as u64;
            assert_eq!(Footer::decode(footer.replica, &with_data, file_length), Ok(footer));
        }
    }

    /// Whatever rots, the replica counts as broken, not as one of a newer release, which would have
    /// to be kept.
    #[test]
    fn no_changed_bit_of_a_footer_is_believed_or_taken_for_another_format() {
        let footer = footer(3 * BLOCK_BYTES as u64);
        let encoded = footer.encode();
        for (at, bit) in (0..encoded.len()).flat_map(|at| (0..8).map(move |bit| (at, bit))) {
            let mut changed = encoded.clone();
            changed[at] ^= 1 << bit;
            let newer =
                matches!(decode(&footer, &changed), Ok(_) | Err(FooterError::NewerFormat { .. }));
            assert!(!newer, "bit {bit} changed at {at}");
        }
        for cut in 0..encoded.len() {
            assert!(decode(&footer, &encoded[..cut]).is_err(), "cut at {cut}");
        }
        let other = ReplicaKey { version: Version(4), ..footer.replica };
        let refused = Footer::decode(other, &encoded, footer.length + encoded.len() as u64);
        assert_eq!(refused, Err(FooterError::OtherReplica { found: footer.replica }));
    }

    #[test]
    fn a_footer_of_a_later_release_is_known_by_its_format() {
        let footer = footer(5);
        let mut encoded = footer.encode();
        let format_at = encoded.len() - 16;
        encoded[format_at] = 2;
        let checksum = crc32c(&encoded[..format_at + 4]).to_le_bytes();
        encoded[format_at + 4..format_at + 8].copy_from_slice(&checksum);
        assert_eq!(decode(&footer, &encoded), Err(FooterError::NewerFormat { found: 2 }));
        encoded[format_at..format_at + 4].copy_from_slice(b"junk");
        assert_eq!(decode(&footer, &encoded), Err(FooterError::Corrupt), "no release has so many");
    }
}
