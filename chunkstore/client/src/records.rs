//! A log's records as stored in its chunks: frames with checksums. Clients and chunkservers read
//! and write them with this; the header's contents and the limits are in the protocol.

use chunkstore_protocol::{RECORD_BYTES_MAX, RECORD_HEADER_BYTES, RecordHeader, WriterId};

use crate::checksum::Crc32c;

/// What some bytes begin with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame<'a> {
    /// A record.
    Whole {
        /// Its header.
        header: RecordHeader,
        /// The record.
        record: &'a [u8],
        /// Length of both.
        length: usize,
    },
    /// A record may begin here, but it is incomplete.
    Part,
    /// Something else.
    None,
}

/// Adds a record's frame to `frames`. It must not have more than [`RECORD_BYTES_MAX`] bytes.
///
/// When it does.
/// When it has.
pub fn push_frame(frames: &mut Vec<u8>, writer: WriterId, sequence: u64, record: &[u8]) {
    assert!(record.len() <= RECORD_BYTES_MAX, "callers refuse longer records");
    let length = u32::try_from(record.len()).expect("the limit fits");
    let header = RecordHeader { length, checksum: 0, writer, sequence };
    let checksum = checksum_of(header, record);
    frames.extend_from_slice(&RecordHeader { checksum, ..header }.encode());
    frames.extend_from_slice(record);
}

/// The frame at the beginning of `bytes`.
#[must_use]
pub fn first_frame(bytes: &[u8]) -> Frame<'_> {
    let Some((header, rest)) = bytes.split_first_chunk::<RECORD_HEADER_BYTES>() else {
        return Frame::Part;
    };
    let Some(header) = RecordHeader::decode(header) else { return Frame::None };
    let Some(record) = rest.get(..header.length as usize) else { return Frame::Part };
    match checksum_of(header, record) == header.checksum {
        true => Frame::Whole { header, record, length: RECORD_HEADER_BYTES + record.len() },
        false => Frame::None,
    }
}

/// How many of `bytes`, from the beginning, are complete sound records.
#[must_use]
pub fn sound_bytes(bytes: &[u8]) -> usize {
    let mut sound = 0;
    while let Frame::Whole { length, .. } = first_frame(&bytes[sound..]) {
        sound += length;
    }
    sound
}

fn checksum_of(header: RecordHeader, record: &[u8]) -> u32 {
    let bytes = header.encode();
    let mut checksum = Crc32c::default();
    checksum.update(&bytes[..4]);
    checksum.update(&bytes[8..]);
    checksum.update(record);
    checksum.value()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(records: &[&[u8]]) -> Vec<u8> {
        let mut frames = Vec::new();
        for (sequence, record) in (1..).zip(records) {
            push_frame(&mut frames, WriterId(7), sequence, record);
        }
        frames
    }

    #[test]
    fn records_are_read_as_they_were_written() {
        let bytes = frames(&[b"one", b"", b"three"]);
        let mut rest = bytes.as_slice();
        let mut read = Vec::new();
        while let Frame::Whole { header, record, length } = first_frame(rest) {
            read.push((header.writer, header.sequence, record));
            rest = &rest[length..];
        }
        let writer = WriterId(7);
        assert_eq!(read, [(writer, 1, &b"one"[..]), (writer, 2, b""), (writer, 3, b"three")]);
        assert_eq!((sound_bytes(&bytes), rest.len()), (bytes.len(), 0));
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_noticed() {
        let bytes = frames(&[b"some record", b"another"]);
        let first = frames(&[b"some record"]).len();
        for bit in 0..8 * bytes.len() {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let sound = if bit / 8 < first { 0 } else { first };
            assert_eq!(sound_bytes(&flipped), sound, "bit {bit}");
        }
        for end in 0..bytes.len() {
            let sound = if end < first { 0 } else { first };
            assert_eq!(sound_bytes(&bytes[..end]), sound, "{end} bytes");
        }
        assert_eq!(first_frame(&[0; 100]), Frame::None, "a hole");
    }
}
