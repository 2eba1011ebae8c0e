//! The file in which a map leaves its output: written and read by tasks, served by partition by the
//! TaskTracker's shuffle server. Pure layout: no file is touched here and no checksum is computed (CRC32C
//! values come in and go out).
//!
//! ```text
//! header    16 bytes   magic "HMAP", format version u32, 8 zero bytes
//! segments             one for each partition in order, back to back; an empty partition has none
//! index     32 bytes for each partition: offset u64, length u64, records u64, raw bytes u64
//! trailer   24 bytes   index offset u64, partitions u32, format version u32,
//!                      CRC32C of the index u32, magic "HMAE"
//! ```
//!
//! All numbers are little-endian. The file is not synced: one without its trailer was torn, and counts
//! as lost.
//!
//! A segment (also what a shuffle request is answered with) is a run of blocks, each a [`BlockHeader`]
//! and its stored bytes. The raw bytes of a block are whole records, `key length varint, value length
//! varint, key, value`, sorted by key; a record never spans two blocks. Varints are LEB128 of a u32.

/// Version of this layout, and of what records hold: since 2, streaming tells an empty value from none; since 3, blocks may
/// be compressed.
pub const FORMAT_VERSION: u32 = 3;

/// Bytes of the header; the first segment begins here.
pub const HEADER_BYTES: usize = 16;

/// Bytes of one index entry.
pub const ENTRY_BYTES: usize = 32;

/// Bytes of the trailer.
pub const TRAILER_BYTES: usize = 24;

/// Bytes of a block's header.
pub const BLOCK_HEADER_BYTES: usize = 16;

/// Raw bytes after which a writer ends a block; a block exceeds it by less than its last record.
pub const BLOCK_BYTES: usize = 64 << 10;

/// Limit of a block's raw and stored length: a reader refuses more before it makes room for it.
pub const BLOCK_BYTES_MAX: u32 = 1 << 30;

/// Partitions that one file may have.
pub const PARTITIONS_MAX: u32 = 1 << 20;

/// Codec of a block whose stored bytes are its raw bytes.
pub const CODEC_NONE: u8 = 0;

/// Codec of a block that is stored in LZ4's block format.
pub const CODEC_LZ4: u8 = 1;

/// Codec of a block that is stored as one frame of Zstandard's.
pub const CODEC_ZSTD: u8 = 2;

const HEADER_MAGIC: u32 = u32::from_le_bytes(*b"HMAP");
const TRAILER_MAGIC: u32 = u32::from_le_bytes(*b"HMAE");

/// Why bytes are not a map output of this format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LayoutError {
    /// The file is shorter than a header and a trailer.
    #[error("{file_length} bytes are too few for a map output")]
    TooShort {
        /// Its length.
        file_length: u64,
    },
    /// Header or trailer do not begin or end as they must: torn, or another file.
    #[error("header or trailer is missing: the file was torn, or is not a map output")]
    NoMagic,
    /// Written by another version of this program.
    #[error("format version {found}; this program reads {FORMAT_VERSION}")]
    WrongVersion {
        /// The version found.
        found: u32,
    },
    /// The trailer's numbers do not fit the file.
    #[error("the trailer does not fit a file of {file_length} bytes")]
    TrailerMisfit {
        /// Length of the file.
        file_length: u64,
    },
    /// The index does not have the checksum in the trailer.
    #[error("the index is broken: CRC32C {computed:08x}, the trailer says {expected:08x}")]
    IndexChecksum {
        /// Of the bytes read.
        computed: u32,
        /// In the trailer.
        expected: u32,
    },
    /// The segments do not stand back to back.
    #[error("the index is broken: partition {partition} does not begin where the last one ends")]
    Gap {
        /// The first one out of place.
        partition: u32,
    },
    /// A block's header is impossible.
    #[error("a block's header is broken")]
    BlockHeader,
}

/// Where one partition's records stand: an index entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Segment {
    /// First byte in the file.
    pub offset: u64,
    /// Bytes, block headers included.
    pub length: u64,
    /// Records.
    pub records: u64,
    /// Raw bytes of all blocks, headers not counted.
    pub raw_bytes: u64,
}

/// The end of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trailer {
    /// Where the index begins: the end of the last segment.
    pub index_offset: u64,
    /// Entries of the index.
    pub partitions: u32,
    /// CRC32C of the encoded index.
    pub index_crc32c: u32,
}

/// What stands before a block's stored bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockHeader {
    /// Bytes once decoded.
    pub raw_length: u32,
    /// Bytes that follow.
    pub stored_length: u32,
    /// How they are stored: [`CODEC_NONE`], [`CODEC_LZ4`] or [`CODEC_ZSTD`].
    pub codec: u8,
    /// CRC32C of the stored bytes.
    pub crc32c: u32,
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes of an array"))
}

fn long(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes of an array"))
}

/// The first bytes of every file.
#[must_use]
pub fn header() -> [u8; HEADER_BYTES] {
    let mut bytes = [0; HEADER_BYTES];
    bytes[..4].copy_from_slice(&HEADER_MAGIC.to_le_bytes());
    bytes[4..8].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
    bytes
}

/// Checks the first bytes of a file.
///
/// # Errors
/// When they are not [`header`]'s.
pub fn check_header(bytes: &[u8; HEADER_BYTES]) -> Result<(), LayoutError> {
    match (word(bytes, 0), word(bytes, 4)) {
        (HEADER_MAGIC, FORMAT_VERSION) => Ok(()),
        (HEADER_MAGIC, found) => Err(LayoutError::WrongVersion { found }),
        _ => Err(LayoutError::NoMagic),
    }
}

/// The index's bytes; `segments` in the order of partitions.
#[must_use]
pub fn encode_index(segments: &[Segment]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(segments.len() * ENTRY_BYTES);
    for segment in segments {
        for number in [segment.offset, segment.length, segment.records, segment.raw_bytes] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
    }
    bytes
}

/// Reads the index: `bytes` are those that `trailer` points to, `computed_crc32c` their CRC32C. Every
/// segment then lies between the header and the index, back to back.
///
/// # Errors
/// When checksum, length or the segments' places are wrong.
pub fn decode_index(
    bytes: &[u8],
    computed_crc32c: u32,
    trailer: &Trailer,
) -> Result<Vec<Segment>, LayoutError> {
    if computed_crc32c != trailer.index_crc32c {
        let expected = trailer.index_crc32c;
        return Err(LayoutError::IndexChecksum { computed: computed_crc32c, expected });
    }
    if bytes.len() as u64 != trailer.index_length() {
        return Err(LayoutError::TrailerMisfit { file_length: bytes.len() as u64 });
    }
    let mut end = HEADER_BYTES as u64;
    let mut segments = Vec::with_capacity(trailer.partitions as usize);
    for (partition, entry) in (0..).zip(bytes.chunks_exact(ENTRY_BYTES)) {
        let segment = Segment {
            offset: long(entry, 0),
            length: long(entry, 8),
            records: long(entry, 16),
            raw_bytes: long(entry, 24),
        };
        let next = segment.offset.checked_add(segment.length);
        match next.filter(|next| segment.offset == end && *next <= trailer.index_offset) {
            Some(next) => end = next,
            None => return Err(LayoutError::Gap { partition }),
        }
        segments.push(segment);
    }
    if end == trailer.index_offset {
        Ok(segments)
    } else {
        Err(LayoutError::Gap { partition: trailer.partitions })
    }
}

impl Trailer {
    /// Bytes of the index.
    #[must_use]
    pub fn index_length(&self) -> u64 {
        u64::from(self.partitions) * ENTRY_BYTES as u64
    }

    /// The last bytes of the file.
    #[must_use]
    pub fn encode(&self) -> [u8; TRAILER_BYTES] {
        let mut bytes = [0; TRAILER_BYTES];
        bytes[..8].copy_from_slice(&self.index_offset.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.partitions.to_le_bytes());
        bytes[12..16].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
        bytes[16..20].copy_from_slice(&self.index_crc32c.to_le_bytes());
        bytes[20..].copy_from_slice(&TRAILER_MAGIC.to_le_bytes());
        bytes
    }

    /// Reads the last bytes of a file of `file_length` bytes. The index that they point to then lies
    /// inside the file, right before them.
    ///
    /// # Errors
    /// When they are not a trailer of this format, or do not fit the file.
    pub fn decode(bytes: &[u8; TRAILER_BYTES], file_length: u64) -> Result<Self, LayoutError> {
        if word(bytes, 20) != TRAILER_MAGIC {
            return Err(LayoutError::NoMagic);
        }
        let found = word(bytes, 12);
        if found != FORMAT_VERSION {
            return Err(LayoutError::WrongVersion { found });
        }
        let trailer = Self {
            index_offset: long(bytes, 0),
            partitions: word(bytes, 8),
            index_crc32c: word(bytes, 16),
        };
        let length = trailer
            .index_offset
            .checked_add(trailer.index_length())
            .and_then(|end| end.checked_add(TRAILER_BYTES as u64));
        let fits = length == Some(file_length)
            && trailer.index_offset >= HEADER_BYTES as u64
            && trailer.partitions <= PARTITIONS_MAX;
        if fits { Ok(trailer) } else { Err(LayoutError::TrailerMisfit { file_length }) }
    }
}

/// Where the trailer of a file of `file_length` bytes begins.
///
/// # Errors
/// When the file has no room for header and trailer.
pub fn trailer_offset(file_length: u64) -> Result<u64, LayoutError> {
    file_length
        .checked_sub(TRAILER_BYTES as u64)
        .filter(|offset| *offset >= HEADER_BYTES as u64)
        .ok_or(LayoutError::TooShort { file_length })
}

impl BlockHeader {
    /// The header's bytes.
    #[must_use]
    pub fn encode(&self) -> [u8; BLOCK_HEADER_BYTES] {
        let mut bytes = [0; BLOCK_HEADER_BYTES];
        bytes[..4].copy_from_slice(&self.raw_length.to_le_bytes());
        bytes[4..8].copy_from_slice(&self.stored_length.to_le_bytes());
        bytes[8] = self.codec;
        bytes[12..].copy_from_slice(&self.crc32c.to_le_bytes());
        bytes
    }

    /// Reads a header. Its lengths are then within [`BLOCK_BYTES_MAX`], its codec known.
    ///
    /// # Errors
    /// When it can't be one.
    pub fn decode(bytes: &[u8; BLOCK_HEADER_BYTES]) -> Result<Self, LayoutError> {
        let header = Self {
            raw_length: word(bytes, 0),
            stored_length: word(bytes, 4),
            codec: bytes[8],
            crc32c: word(bytes, 12),
        };
        // What would grow by compression is stored as it is.
        let fits = match header.codec {
            CODEC_NONE => header.stored_length == header.raw_length,
            CODEC_LZ4 | CODEC_ZSTD => header.stored_length < header.raw_length,
            _ => false,
        };
        let possible = header.raw_length <= BLOCK_BYTES_MAX && fits && bytes[9..12] == [0; 3];
        if possible { Ok(header) } else { Err(LayoutError::BlockHeader) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segments() -> Vec<Segment> {
        vec![
            Segment { offset: 16, length: 100, records: 3, raw_bytes: 84 },
            Segment { offset: 116, length: 0, records: 0, raw_bytes: 0 },
            Segment { offset: 116, length: 7, records: 1, raw_bytes: 5 },
        ]
    }

    fn trailer() -> Trailer {
        Trailer { index_offset: 123, partitions: 3, index_crc32c: 0xfeed }
    }

    const FILE_LENGTH: u64 = 123 + 3 * 32 + 24;

    #[test]
    fn index_and_trailer_round_trip() {
        let decoded = Trailer::decode(&trailer().encode(), FILE_LENGTH);
        assert_eq!(decoded, Ok(trailer()));
        assert_eq!(trailer_offset(FILE_LENGTH), Ok(FILE_LENGTH - 24));
        let index = encode_index(&segments());
        assert_eq!(index.len() as u64, trailer().index_length());
        assert_eq!(decode_index(&index, 0xfeed, &trailer()), Ok(segments()));
        assert_eq!(check_header(&header()), Ok(()));
    }

    #[test]
    fn the_bytes_on_disk_are_fixed() {
        assert_eq!(&header(), b"HMAP\x03\0\0\0\0\0\0\0\0\0\0\0");
        let golden = b"\x7b\0\0\0\0\0\0\0\x03\0\0\0\x03\0\0\0\xed\xfe\0\0HMAE";
        assert_eq!(&trailer().encode(), golden);
        let block =
            BlockHeader { raw_length: 258, stored_length: 258, codec: CODEC_NONE, crc32c: 7 };
        assert_eq!(&block.encode(), b"\x02\x01\0\0\x02\x01\0\0\0\0\0\0\x07\0\0\0");
    }

    #[test]
    fn a_torn_or_foreign_file_is_refused() {
        assert_eq!(trailer_offset(39), Err(LayoutError::TooShort { file_length: 39 }));
        assert_eq!(trailer_offset(40), Ok(16));
        let good = trailer().encode();
        for (at, expected) in [
            (0, LayoutError::TrailerMisfit { file_length: FILE_LENGTH }),
            (7, LayoutError::TrailerMisfit { file_length: FILE_LENGTH }),
            (8, LayoutError::TrailerMisfit { file_length: FILE_LENGTH }),
            (20, LayoutError::NoMagic),
        ] {
            let mut bytes = good;
            bytes[at] ^= 0x80;
            assert_eq!(Trailer::decode(&bytes, FILE_LENGTH), Err(expected), "byte {at}");
        }
        for other in [1, 2, 4] {
            let mut bytes = good;
            bytes[12] = other;
            let refused = Trailer::decode(&bytes, FILE_LENGTH);
            assert_eq!(refused, Err(LayoutError::WrongVersion { found: other.into() }));
        }
        let mut bytes = header();
        bytes[4] = 9;
        assert_eq!(check_header(&bytes), Err(LayoutError::WrongVersion { found: 9 }));
        bytes[0] = 0;
        assert_eq!(check_header(&bytes), Err(LayoutError::NoMagic));
    }

    #[test]
    fn an_index_that_points_astray_is_refused() {
        let check = |change: fn(&mut Vec<Segment>), expected| {
            let mut changed = segments();
            change(&mut changed);
            let refused = decode_index(&encode_index(&changed), 0xfeed, &trailer());
            assert_eq!(refused, Err(expected));
        };
        check(|s| s[0].offset = 17, LayoutError::Gap { partition: 0 });
        check(|s| s[1].offset = 115, LayoutError::Gap { partition: 1 });
        check(|s| s[2].length = 6, LayoutError::Gap { partition: 3 });
        check(|s| s[2].length = 8, LayoutError::Gap { partition: 2 });
        check(|s| s[0].length = u64::MAX, LayoutError::Gap { partition: 0 });
        check(|s| s.truncate(2), LayoutError::TrailerMisfit { file_length: 64 });
        let refused = decode_index(&encode_index(&segments()), 1, &trailer());
        assert_eq!(refused, Err(LayoutError::IndexChecksum { computed: 1, expected: 0xfeed }));
    }

    #[test]
    fn impossible_block_headers_are_refused() {
        let good = BlockHeader { raw_length: 9, stored_length: 9, codec: CODEC_NONE, crc32c: 1 };
        assert_eq!(BlockHeader::decode(&good.encode()), Ok(good));
        for codec in [CODEC_LZ4, CODEC_ZSTD] {
            let packed = BlockHeader { codec, stored_length: 8, ..good };
            assert_eq!(BlockHeader::decode(&packed.encode()), Ok(packed));
            let grown = BlockHeader { codec, ..good };
            assert_eq!(BlockHeader::decode(&grown.encode()), Err(LayoutError::BlockHeader));
        }
        for bad in [
            BlockHeader { codec: 3, stored_length: 8, ..good },
            BlockHeader { stored_length: 8, ..good },
            BlockHeader { raw_length: u32::MAX, stored_length: u32::MAX, ..good },
        ] {
            assert_eq!(BlockHeader::decode(&bad.encode()), Err(LayoutError::BlockHeader));
        }
        let mut padded = good.encode();
        padded[10] = 1;
        assert_eq!(BlockHeader::decode(&padded), Err(LayoutError::BlockHeader));
    }
}
