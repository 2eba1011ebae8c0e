//! The files byte by byte, so that the format is not changed by accident; and its version.

use super::*;
use crate::folder::{segment_path, snapshot_path};
use crate::frame::crc32c;

fn number(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |number, &byte| number << 8 | u64::from(byte))
}

#[test]
fn a_segment_is_the_bytes_of_format_1() {
    let dir = tempfile::tempdir().unwrap();
    journal_of(dir.path(), &[5]);
    let bytes = std::fs::read(segment_path(dir.path(), 1)).unwrap();
    assert_eq!(bytes.len(), 4096);
    assert_eq!(bytes[..8], *b"HwJournl");
    assert_eq!((number(&bytes[8..12]), number(&bytes[12..16])), (1, 0), "version, reserved");
    assert_eq!((number(&bytes[16..24]), number(&bytes[24..32])), (1, 4096), "first, length");
    assert_eq!(number(&bytes[32..36]), u64::from(crc32c(&bytes[..32])));
    assert!(bytes[36..512].iter().all(|&byte| byte == 0));
    let mark = &bytes[512..528];
    assert_eq!((&mark[..4], number(&mark[8..])), (&b"HwSy"[..], 1), "nothing was synced before");
    assert_eq!(number(&mark[4..8]), u64::from(crc32c(&mark[8..])));
    let frame = &bytes[528..560];
    assert_eq!(frame[..4], *b"HwRc");
    assert_eq!((number(&frame[4..8]), number(&frame[8..16])), (5, 1), "length, sequence");
    let stored: Vec<u8> =
        record(1, 5).iter().zip([0x9e, 0x37, 0x79, 0xb9, 0x7f]).map(|(a, b)| a ^ b).collect();
    assert_eq!(number(&frame[16..20]), u64::from(crc32c(&stored)));
    assert_eq!(number(&frame[20..24]), u64::from(crc32c(&frame[..20])));
    assert_eq!((&frame[24..29], &frame[29..]), (&stored[..], &[0xa5; 3][..]));
    assert!(bytes[560..].iter().all(|&byte| byte == 0));
}

#[test]
fn a_snapshot_is_the_bytes_of_format_1() {
    let dir = tempfile::tempdir().unwrap();
    write_snapshot(dir.path(), 9, b"state");
    let bytes = std::fs::read(snapshot_path(dir.path(), 9)).unwrap();
    assert_eq!(bytes[..8], *b"HwSnapsh");
    assert_eq!(
        (number(&bytes[8..12]), number(&bytes[12..16])),
        (1, 0),
        "version, at a segment's end"
    );
    assert_eq!(crate::snapshot::encode(9, true, b"state")[12..16], [1, 0, 0, 0], "or within one");
    assert_eq!((number(&bytes[16..24]), number(&bytes[24..32])), (9, 5), "last, length");
    assert_eq!(number(&bytes[32..36]), u64::from(crc32c(&bytes[..32])));
    assert_eq!(bytes[36..40], *b"HwRc");
    assert_eq!((bytes[60], &bytes[65..], bytes.len()), (b's' ^ 0x9e, &[0xa5; 3][..], 68));
}

#[test]
fn a_file_of_a_newer_format_is_refused_by_its_version() {
    let dir = tempfile::tempdir().unwrap();
    journal_of(dir.path(), &[1500; 5]);
    Open::really(dir.path()).unwrap().journal.snapshotter().run::<All>().unwrap();
    for path in [segment_path(dir.path(), 5), snapshot_path(dir.path(), 4)] {
        let whole = std::fs::read(&path).unwrap();
        let mut newer = whole.clone();
        newer[8] = 2;
        let crc = crc32c(&newer[..32]).to_le_bytes();
        newer[32..36].copy_from_slice(&crc);
        std::fs::write(&path, newer).unwrap();
        match Open::really(dir.path()).err() {
            Some(OpenError::Version { file, found: 2 }) => assert_eq!(file, path),
            other => panic!("{other:?}"),
        }
        std::fs::write(&path, whole).unwrap();
    }
    assert_eq!(last(&Open::really(dir.path()).unwrap()), Sequence(5));
}
