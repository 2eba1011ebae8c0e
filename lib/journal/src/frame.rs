//! The bytes of a record in a segment: a header with two checksums, the body, padding; and the mark
//! before each batch of records, which says what was durable by then. Encodes and decodes bytes
//! only; which flaw is a torn tail and which is corruption is decided in `recover`. Snapshots use
//! the same frames for the blocks of their body.
//!
//! | bytes | field of a frame |
//! | --- | --- |
//! | 4 | magic |
//! | 4 | length of the body, little endian as all numbers |
//! | 8 | sequence |
//! | 4 | CRC32C of the stored body |
//! | 4 | CRC32C of the 20 bytes before |
//! | length | body, each 8 bytes of it XORed with a pattern |
//! | 1 to 8 | padding up to a multiple of 8, not zero |
//!
//! | bytes | field of a mark |
//! | --- | --- |
//! | 4 | magic |
//! | 4 | CRC32C of the 8 bytes after |
//! | 8 | one more than the last sequence that was synced |
//!
//! Everything begins at a multiple of 8 bytes, and no 8 bytes written are all zero, whatever the
//! records hold (except for one record in 2^64): so where there are zeros, a write did not arrive.

/// CRC32C, under the library's name for it.
pub(crate) use crc_fast::crc32_iscsi as crc32c;

/// Maximum length of a record.
pub const RECORD_BYTES_MAX: usize = 1 << 20;
/// Length of a frame's header.
pub(crate) const HEADER_BYTES: usize = 24;
/// The most that a frame adds to its body.
pub(crate) const OVERHEAD_BYTES_MAX: usize = HEADER_BYTES + WORD_BYTES;
/// Length of the mark before a batch.
pub(crate) const MARK_BYTES: usize = 16;
/// Frames and marks begin at multiples of this.
pub(crate) const WORD_BYTES: usize = 8;

const MAGIC: [u8; 4] = *b"HwRc";
const MARK_MAGIC: [u8; 4] = *b"HwSy";
const FILLING: u8 = 0xa5;
/// Any eight bytes without a zero that no record is likely to hold.
const PATTERN: [u8; WORD_BYTES] = [0x9e, 0x37, 0x79, 0xb9, 0x7f, 0x4a, 0x7c, 0x15];

/// A whole frame.
pub(crate) struct Frame<'a> {
    pub(crate) sequence: u64,
    /// The stored body; [`reveal`] gives the record.
    pub(crate) stored: &'a [u8],
    /// Length of the frame, including header and padding.
    pub(crate) len: usize,
}

/// What was found where a frame is expected.
pub(crate) enum Next<'a> {
    Frame(Frame<'a>),
    /// Before the records that follow were written, everything up to this one was durable.
    Mark {
        synced: u64,
    },
    /// A header of zeros, or too few bytes for one: nothing was written here.
    Nothing,
    /// Not a frame as it was written.
    Broken(Broken),
}

/// A frame that fails a check.
pub(crate) struct Broken {
    pub(crate) flaw: Flaw,
    /// Number of bytes that are known to belong to it.
    pub(crate) len: usize,
}

/// What is wrong with stored bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    /// The header fails its checksum or has the wrong magic.
    #[error("the frame's header fails its checksum")]
    FrameHeader,
    /// A length that is never written.
    #[error("the frame is longer than its file or than a record may be")]
    FrameLength,
    /// The body or the padding fails its check.
    #[error("the frame's body fails its checksum")]
    FrameBody,
    /// The frame has another number than expected at its place.
    #[error("the frame has another sequence number than its place asks for")]
    FrameSequence,
    /// A mark fails its checksum, or refers to records that come after it.
    #[error("the mark before a batch of records fails its checksum")]
    Mark,
    /// Bytes after the last frame that are not zero.
    #[error("there are bytes after the last frame")]
    Garbage,
    /// The header of a file fails its checksum.
    #[error("the file's header fails its checksum")]
    FileHeader,
    /// A file is shorter or longer than its header says, or shorter than a header.
    #[error("the file has another length than its header says")]
    FileLength,
    /// The header of a file has another sequence number than its name.
    #[error("the file's header does not belong to its name")]
    FileName,
    /// Records between this file and the one before are missing.
    #[error("a segment before this file is missing")]
    Gap,
    /// A segment ends before a record that the snapshot covers, and that was durable in it.
    #[error("the segment lacks its last records, which the snapshot covers")]
    EndsEarly,
    /// The file that names the journal is damaged.
    #[error("the file does not say which journal this is")]
    Id,
    /// The segments after a snapshot are missing.
    #[error("the segments after this snapshot are missing")]
    NoSegments,
}

/// Appends the frame of `body` to `out`. The caller ensures [`RECORD_BYTES_MAX`].
pub(crate) fn encode(out: &mut Vec<u8>, sequence: u64, body: &[u8]) {
    let start = out.len();
    let len = u32::try_from(body.len()).expect("a record is at most 1 MiB");
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&len.to_le_bytes());
    out.extend_from_slice(&sequence.to_le_bytes());
    out.extend_from_slice(&[0; 8]);
    out.extend_from_slice(body);
    let stored = &mut out[start + HEADER_BYTES..];
    hide(stored);
    let crc = crc32c(stored).to_le_bytes();
    out[start + 16..start + 20].copy_from_slice(&crc);
    let crc = crc32c(&out[start..start + 20]).to_le_bytes();
    out[start + 20..start + HEADER_BYTES].copy_from_slice(&crc);
    out.resize(start + framed_bytes(body.len()), FILLING);
}

/// Length of the frame of a record with this length.
pub(crate) fn framed_bytes(record: usize) -> usize {
    (HEADER_BYTES + record + 1).next_multiple_of(WORD_BYTES)
}

/// Writes the mark into `out`, which has the length of a mark.
pub(crate) fn encode_mark(out: &mut [u8], synced: u64) {
    let synced = (synced + 1).to_le_bytes();
    out[..4].copy_from_slice(&MARK_MAGIC);
    out[4..8].copy_from_slice(&crc32c(&synced).to_le_bytes());
    out[8..].copy_from_slice(&synced);
}

/// Decodes the mark at the beginning of `bytes`: the record up to which everything was durable.
pub(crate) fn decode_mark(bytes: &[u8]) -> Option<u64> {
    let mark = bytes.get(..MARK_BYTES).filter(|mark| mark[..4] == MARK_MAGIC)?;
    (crc32c(&mark[8..]) == u32_at(mark, 4)).then(|| u64_at(mark, 8).saturating_sub(1))
}

/// The record in a stored body.
pub(crate) fn reveal(stored: &[u8]) -> Vec<u8> {
    let mut record = stored.to_vec();
    hide(&mut record);
    record
}

fn hide(bytes: &mut [u8]) {
    for word in bytes.chunks_mut(WORD_BYTES) {
        for (byte, pattern) in word.iter_mut().zip(PATTERN) {
            *byte ^= pattern;
        }
    }
}

/// Decodes the frame at the beginning of `bytes`, which reach to the end of the file.
pub(crate) fn decode(bytes: &[u8]) -> Next<'_> {
    if bytes.starts_with(&MARK_MAGIC) {
        return match decode_mark(bytes) {
            Some(synced) => Next::Mark { synced },
            None => Next::Broken(Broken { flaw: Flaw::Mark, len: MARK_BYTES.min(bytes.len()) }),
        };
    }
    let Some((header, rest)) = bytes.split_at_checked(HEADER_BYTES) else {
        return Next::Nothing;
    };
    if header.iter().all(|&byte| byte == 0) {
        return Next::Nothing;
    }
    if header[..4] != MAGIC || crc32c(&header[..20]) != u32_at(header, 20) {
        return Next::Broken(Broken { flaw: Flaw::FrameHeader, len: HEADER_BYTES });
    }
    let body_len = u32_at(header, 4) as usize;
    let len = framed_bytes(body_len);
    if body_len > RECORD_BYTES_MAX || len > bytes.len() {
        return Next::Broken(Broken { flaw: Flaw::FrameLength, len: HEADER_BYTES });
    }
    let (stored, after) = rest.split_at(body_len);
    let filling = &after[..len - HEADER_BYTES - body_len];
    if crc32c(stored) != u32_at(header, 16) || filling.iter().any(|&byte| byte != FILLING) {
        return Next::Broken(Broken { flaw: Flaw::FrameBody, len });
    }
    Next::Frame(Frame { sequence: u64_at(header, 8), stored, len })
}

/// The little-endian number at offset `at`.
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut number = [0; 4];
    number.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(number)
}

/// The little-endian number at offset `at`.
pub(crate) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut number = [0; 8];
    number.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_the_bytes_of_format_1() {
        let mut bytes = Vec::new();
        encode(&mut bytes, 7, b"abc");
        let golden = [
            72, 119, 82, 99, 3, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 171, 169, 39, 23, 113, 60, 19,
            192, 255, 85, 26, 165, 165, 165, 165, 165,
        ];
        assert_eq!(bytes, golden);
        let mut mark = [0; MARK_BYTES];
        encode_mark(&mut mark, 7);
        assert_eq!(mark, [72, 119, 83, 121, 80, 182, 19, 206, 8, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(crc32c(b"123456789"), 0xe306_9283, "the check value of CRC32C");
    }

    #[test]
    fn every_bit_of_a_frame_is_checked() {
        let mut bytes = Vec::new();
        encode(&mut bytes, 7, b"abc");
        for bit in 0..bytes.len() * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(matches!(decode(&bytes), Next::Broken(_)), "bit {bit}");
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
        let Next::Frame(Frame { sequence: 7, stored, len: 32 }) = decode(&bytes) else {
            panic!("a frame is read as it was written")
        };
        assert_eq!(reveal(stored), b"abc");
        let mut mark = [0; MARK_BYTES];
        encode_mark(&mut mark, 7);
        assert!(matches!(decode(&mark), Next::Mark { synced: 7 }));
        for bit in 0..mark.len() * 8 {
            mark[bit / 8] ^= 1 << (bit % 8);
            assert!(!matches!(decode(&mark), Next::Mark { .. } | Next::Frame(_)), "bit {bit}");
            mark[bit / 8] ^= 1 << (bit % 8);
        }
    }
}
