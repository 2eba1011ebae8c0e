//! A write that a crash cut off is dropped; damage that no crash causes is not taken for such a
//! write.

use std::ops::Range;

use super::mirror::open_alone;
use super::*;
use crate::folder::segment_path;
use crate::frame::{MARK_BYTES, framed_bytes};

const HEADER: usize = 512;

/// Writes the segment's bytes with zeros in these places.
fn cut(dir: &Path, whole: &[u8], zero: impl IntoIterator<Item = Range<usize>>) {
    let mut image = whole.to_vec();
    for place in zero {
        image[place].fill(0);
    }
    // In place: some file systems sync when a file is truncated and rewritten.
    RealDisk.open(&segment_path(dir, 1)).unwrap().write_all_at(&image, 0).unwrap();
}

/// Where the frames of a batch with records of these lengths begin, and where the last one ends.
fn frame_starts(lens: &[usize]) -> Vec<usize> {
    let mut starts = vec![HEADER + MARK_BYTES];
    for len in lens {
        starts.push(starts[starts.len() - 1] + framed_bytes(*len));
    }
    starts
}

#[test]
fn a_frame_torn_at_any_byte_is_dropped_or_the_start_is_refused_there() {
    for lens in [[100, 7], [300, 1500], [487, 486], [40, 1030]] {
        let dir = tempfile::tempdir().unwrap();
        journal_of(dir.path(), &lens);
        let path = segment_path(dir.path(), 1);
        let whole = std::fs::read(&path).unwrap();
        let starts = frame_starts(&lens);
        let (start, end) = (starts[1], starts[2]);
        assert!(whole[end - 1] != 0 && whole[end..].iter().all(|&byte| byte == 0));
        for from in start..end {
            cut(dir.path(), &whole, Some(from..whole.len()));
            // Only a complete header tells how long a frame is.
            let known = if from < start + 24 { start + 24 } else { end };
            let zero_sector = from == start || from.next_multiple_of(512) < known;
            let result = Open::quickly(dir.path());
            if zero_sector {
                assert_eq!(result.unwrap().state, All(records(&lens, 1)), "{lens:?} from {from}");
            } else {
                assert_eq!(flaw_of(result), (path.clone(), start as u64), "{lens:?} from {from}");
            }
        }
    }
}

#[test]
fn a_journal_torn_at_any_byte_gives_a_beginning_of_it_or_is_refused_there() {
    let lens = [100, 600, 3, 700, 900];
    let starts = frame_starts(&lens);
    let dir = tempfile::tempdir().unwrap();
    let folders = pair(dir.path());
    journal_of(&folders, &lens);
    let path = segment_path(&folders.main, 1);
    let whole = std::fs::read(&path).unwrap();
    for from in (HEADER..starts[5]).step_by(stride(7)) {
        cut(&folders.main, &whole, Some(from..whole.len()));
        let kept = starts[1..].iter().filter(|&&end| end <= from).count() as u64;
        // Where the first frame that is cut begins; at the mark, if it is the batch's first.
        let torn_at = if from < starts[0] { HEADER } else { starts[kept as usize] };
        match open_alone(&folders.main) {
            Ok(open) => assert_eq!(open.state, All(records(&lens, kept)), "torn at {from}"),
            refused => assert_eq!(flaw_of(refused), (path.clone(), torn_at as u64), "{from}"),
        }
        // With a second folder, it is completed, or refused as damaged.
        cut(&folders.main, &whole, Some(from..whole.len()));
        match Open::quickly(&folders) {
            Ok(open) => assert_eq!(open.state, All(records(&lens, 5)), "torn at {from}"),
            Err(OpenError::Damaged { dir, .. }) => assert_eq!(dir, folders.main, "{from}"),
            Err(error) => panic!("torn at {from}: {error}"),
        }
    }
}

#[test]
fn a_batch_torn_at_a_sector_keeps_the_frames_before_it_and_goes_on_there() {
    let lens = [100, 600, 3, 700, 900];
    let starts = frame_starts(&lens);
    let dir = tempfile::tempdir().unwrap();
    journal_of(dir.path(), &lens);
    let whole = std::fs::read(segment_path(dir.path(), 1)).unwrap();
    for from in (HEADER..whole.len()).step_by(512) {
        cut(dir.path(), &whole, Some(from..whole.len()));
        let kept = starts[1..].iter().filter(|&&end| end <= from).count() as u64;
        let mut open = Open::quickly(dir.path()).unwrap();
        assert_eq!(open.state, All(records(&lens, kept)), "torn at {from}");
        open.append(&[20]);
        open.synced();
        drop(open);
        let mut expected = records(&lens, kept);
        expected.push(record(kept + 1, 20));
        assert_eq!(Open::quickly(dir.path()).unwrap().state, All(expected), "torn at {from}");
    }
}

#[test]
fn sectors_of_an_unsynced_batch_may_be_missing_anywhere() {
    let lens = [100, 600, 3, 700, 900];
    let starts = frame_starts(&lens);
    let dir = tempfile::tempdir().unwrap();
    journal_of(dir.path(), &lens);
    let whole = std::fs::read(segment_path(dir.path(), 1)).unwrap();
    let sectors: Vec<_> = (HEADER..starts[5]).step_by(512).map(|at| at..at + 512).collect();
    for missing in 1..1_u32 << sectors.len() {
        let lost = |n: &usize| missing >> n & 1 == 1;
        let zero: Vec<_> = (0..sectors.len()).filter(lost).map(|n| sectors[n].clone()).collect();
        cut(dir.path(), &whole, zero.clone());
        let kept = starts[1..].iter().filter(|&&end| end <= zero[0].start).count() as u64;
        let mut open = Open::quickly(dir.path()).unwrap();
        assert_eq!(open.state, All(records(&lens, kept)), "without {zero:?}");
        open.append(&[20]);
        open.synced();
        drop(open);
        let mut expected = records(&lens, kept);
        expected.push(record(kept + 1, 20));
        assert_eq!(Open::quickly(dir.path()).unwrap().state, All(expected), "without {zero:?}");
    }
}

#[test]
fn a_sector_that_was_synced_is_never_taken_for_one_that_was_not_written() {
    let dir = tempfile::tempdir().unwrap();
    Journal::create(dir.path(), SMALL).unwrap();
    let mut open = Open::quickly(dir.path()).unwrap();
    // Each batch is on disk before the next one is written, and the next one's mark says so.
    for _ in 0..3 {
        open.append(&[700]);
        open.synced();
    }
    drop(open);
    let path = segment_path(dir.path(), 1);
    let whole = std::fs::read(&path).unwrap();
    let batch = MARK_BYTES + framed_bytes(700);
    for sector in (HEADER..HEADER + 3 * batch).step_by(512) {
        cut(dir.path(), &whole, Some(sector..sector + 512));
        let first_lost = (sector - HEADER) / batch;
        // Where the last batch begins: its mark, if it is there, vouches for the others.
        let marked = HEADER + 2 * batch >= sector + 512;
        let result = Open::quickly(dir.path());
        if first_lost < 2 && marked {
            assert_eq!(flaw_of(result).0, path, "without {sector}");
        } else {
            let state = result.unwrap().state.0.len();
            assert!(state <= 2, "{state} without {sector}");
        }
    }
}

#[test]
fn the_remains_of_a_torn_frame_are_gone_after_the_next_start() {
    let lens = [100, 1500];
    let dir = tempfile::tempdir().unwrap();
    journal_of(dir.path(), &lens);
    let path = segment_path(dir.path(), 1);
    let whole = std::fs::read(&path).unwrap();
    cut(dir.path(), &whole, Some(1536..whole.len()));
    assert!(crate::verify(dir.path()).unwrap().torn.is_some());
    drop(Open::quickly(dir.path()).unwrap());
    let end = frame_starts(&lens)[1];
    assert!(std::fs::read(&path).unwrap()[end..].iter().all(|&byte| byte == 0));
    assert_eq!(crate::verify(dir.path()).unwrap().torn, None);
}

#[test]
fn a_torn_frame_in_a_closed_segment_is_corruption() {
    let lens = [100, 1500, 1500, 1000];
    let dir = tempfile::tempdir().unwrap();
    journal_of(dir.path(), &lens);
    let whole = std::fs::read(segment_path(dir.path(), 1)).unwrap();
    cut(dir.path(), &whole, Some(2560..whole.len()));
    let start = frame_starts(&lens)[2] as u64;
    assert_eq!(flaw_of(Open::quickly(dir.path())), (segment_path(dir.path(), 1), start));
}
