//! One record as it lies in a segment: a header with two checksums, the body, an end mark. Encoding and
//! decoding of bytes only; which flaw is a torn tail and which is corruption is decided in `recover`.
//! Snapshots use the same frames for the blocks of their body.
//!
//! | bytes | field |
//! | --- | --- |
//! | 4 | magic |
//! | 4 | length of the body, little endian as all numbers |
//! | 8 | sequence |
//! | 4 | CRC32C of the body |
//! | 4 | CRC32C of the 20 bytes before |
//! | length | body |
//! | 1 | end mark |
//!
//! The end mark is not zero, so a whole frame never ends in zeros: a frame whose tail is zero was not
//! written to its end, whatever its body holds.

/// CRC32C, as the library calls it.
pub(crate) use crc_fast::crc32_iscsi as crc32c;

/// Limit of one record.
pub const RECORD_BYTES_MAX: usize = 1 << 20;
/// Length of a frame's header.
pub(crate) const HEADER_BYTES: usize = 24;
/// What a frame adds to its body.
pub(crate) const OVERHEAD_BYTES: usize = HEADER_BYTES + 1;

const MAGIC: [u8; 4] = *b"HwRc";
const END_MARK: u8 = 0xa5;

/// A whole frame.
pub(crate) struct Frame<'a> {
    pub(crate) sequence: u64,
    pub(crate) body: &'a [u8],
    /// Length of the frame, header and end mark included.
    pub(crate) len: usize,
}

/// What stands where a frame is looked for.
pub(crate) enum Next<'a> {
    Frame(Frame<'a>),
    /// A header of zeros, or too few bytes for one: nothing was written here.
    Nothing,
    /// Not a frame as it was written.
    Broken(Broken),
}

/// A frame that fails a check.
pub(crate) struct Broken {
    pub(crate) flaw: Flaw,
    /// How many bytes are known to belong to it.
    pub(crate) len: usize,
}

/// What is wrong with stored bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    /// The header's own checksum or its magic.
    #[error("the frame's header fails its checksum")]
    FrameHeader,
    /// A length that no writer writes.
    #[error("the frame is longer than its file or than a record may be")]
    FrameLength,
    /// The body's checksum or the end mark.
    #[error("the frame's body fails its checksum")]
    FrameBody,
    /// A frame with another number than its place asks for.
    #[error("the frame has another sequence number than its place asks for")]
    FrameSequence,
    /// Bytes after the last frame that are not zero.
    #[error("there are bytes after the last frame")]
    Garbage,
    /// The file's header.
    #[error("the file's header fails its checksum")]
    FileHeader,
    /// A file that is shorter or longer than its header says, or shorter than a header.
    #[error("the file has another length than its header says")]
    FileLength,
    /// A file whose header has another sequence number than its name.
    #[error("the file's header does not belong to its name")]
    FileName,
    /// Records between this file and the one before are missing.
    #[error("a segment before this file is missing")]
    Gap,
    /// A snapshot without the segments after it.
    #[error("the segments after this snapshot are missing")]
    NoSegments,
}

/// Appends the frame of `body` to `out`. The caller keeps to [`RECORD_BYTES_MAX`].
pub(crate) fn encode(out: &mut Vec<u8>, sequence: u64, body: &[u8]) {
    let start = out.len();
    let len = u32::try_from(body.len()).expect("a record is at most 1 MiB");
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&len.to_le_bytes());
    out.extend_from_slice(&sequence.to_le_bytes());
    out.extend_from_slice(&crc32c(body).to_le_bytes());
    let header = crc32c(&out[start..]);
    out.extend_from_slice(&header.to_le_bytes());
    out.extend_from_slice(body);
    out.push(END_MARK);
}

/// Looks at the frame at the beginning of `bytes`, which reach to the end of the file.
pub(crate) fn decode(bytes: &[u8]) -> Next<'_> {
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
    let len = OVERHEAD_BYTES + body_len;
    if body_len > RECORD_BYTES_MAX || len > bytes.len() {
        return Next::Broken(Broken { flaw: Flaw::FrameLength, len: HEADER_BYTES });
    }
    let (body, end) = rest.split_at(body_len);
    if crc32c(body) != u32_at(header, 16) || end[0] != END_MARK {
        return Next::Broken(Broken { flaw: Flaw::FrameBody, len });
    }
    Next::Frame(Frame { sequence: u64_at(header, 8), body, len })
}

/// The little-endian number at `at`.
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut number = [0; 4];
    number.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(number)
}

/// The little-endian number at `at`.
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
            72, 119, 82, 99, 3, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 183, 63, 75, 54, 0, 0, 0, 0, 97,
            98, 99, 165,
        ];
        assert_eq!(bytes[..20], golden[..20], "{bytes:?}");
        assert_eq!(bytes[24..], golden[24..]);
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
        assert!(matches!(
            decode(&bytes),
            Next::Frame(Frame { sequence: 7, body: b"abc", len: 28 })
        ));
    }
}
