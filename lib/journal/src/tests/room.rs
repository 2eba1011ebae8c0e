//! A full disk shows before a record is written: the lack of room is reported, and so is its end.

use super::*;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::Room;
use crate::folder::{prepared_path, preparing_path};

/// Waits until the journal reports this room.
pub(super) fn await_room(open: &Open, expected: Room) {
    let (_nobody, patience) = channel::<()>();
    for _ in 0..DEADLINE.as_millis() {
        if open.journal.room() == expected {
            return;
        }
        let _a_moment = patience.recv_timeout(Duration::from_millis(1));
    }
    panic!("the room never became {expected:?}");
}

/// A disk that is full for the next segment, at this operation, while the flag is set.
fn full_disk(operation: &'static str, full: &Arc<AtomicBool>) -> Arc<JudgedDisk> {
    let full = full.clone();
    JudgedDisk::new(move |done, path| {
        let prepares = is_called(path, "prepared");
        if prepares && done == operation && full.load(Ordering::SeqCst) {
            Verdict::Fail(io::ErrorKind::StorageFull)
        } else {
            Verdict::Go
        }
    })
}

#[test]
fn there_is_no_room_while_the_next_segment_cannot_be_prepared_and_no_record_is_lost() {
    for operation in ["create", "reserve", "write", "sync", "rename"] {
        let dir = tempfile::tempdir().unwrap();
        journal_of(dir.path(), &[100]);
        let _ = std::fs::remove_file(prepared_path(dir.path()));
        let full = Arc::new(AtomicBool::new(true));
        let mut open = Open::on(full_disk(operation, &full), dir.path()).unwrap();
        await_room(&open, Room::Reserve);
        open.append(&[1000, 1000]);
        open.synced();
        assert_eq!(open.journal.room(), Room::Reserve);
        let refused = open.journal.append(&[0; 2000]).unwrap_err();
        assert!(matches!(refused, AppendError::NoRoom), "{operation}: {refused}");
        open.append(&[1000]);
        assert_eq!(
            open.journal.room(),
            Room::None,
            "a quarter is kept back, and is there all the same"
        );
        open.append(&[100]);
        open.synced();
        drop(open);
        assert!(!preparing_path(dir.path()).exists(), "{operation}: no partial file is left");
        let mut open = Open::on(full_disk(operation, &full), dir.path()).unwrap();
        await_room(&open, Room::None);
        full.store(false, Ordering::SeqCst);
        await_room(&open, Room::Ample);
        open.append(&[2000]);
        open.synced();
        drop(open);
        let expected = records(&[100, 1000, 1000, 1000, 100, 2000], 6);
        assert_eq!(Open::really(dir.path()).unwrap().state, All(expected), "{operation}");
    }
}

#[test]
fn a_burst_on_a_slow_disk_that_fills_up_gets_no_further_than_there_is_surely_space() {
    let dir = tempfile::tempdir().unwrap();
    journal_of(dir.path(), &[100]);
    let (proceed, slow_sync) = channel::<()>();
    let (mut slow_sync, mut syncs) = (Some(slow_sync), 0);
    let disk = JudgedDisk::new(move |operation, path| {
        if operation == "sync" && is_called(path, "journal-") {
            syncs += 1;
            // The first sync is the start's, the second that of the first batch.
            return match slow_sync.take_if(|_| syncs == 2) {
                Some(word) => Verdict::GoAfter(word),
                None => Verdict::Go,
            };
        }
        // There is space for the segment that is prepared at the start, and for no other.
        if syncs >= 2 && operation == "reserve" {
            return Verdict::Fail(io::ErrorKind::StorageFull);
        }
        Verdict::Go
    });
    let mut open = Open::on(disk, dir.path()).unwrap();
    await_file(&prepared_path(dir.path()));
    open.append(&[1]);
    let mut taken = 2;
    while open.journal.takes_more() {
        open.journal.append(&record(taken + 1, 200)).unwrap();
        open.journal.flush();
        taken += 1;
        assert!(taken < 1000, "more is taken than one segment holds that is not there");
    }
    proceed.send(()).unwrap();
    open.synced();
    await_room(&open, Room::Reserve);
    assert!(open.journal.takes_more(), "what makes space");
    open.append(&[200]);
    open.synced();
    drop(open);
    assert_eq!(Open::really(dir.path()).unwrap().state.0.len() as u64, taken + 1);
}

#[test]
fn who_waits_for_the_next_segment_is_told_once_when_it_is_there_or_can_not_be() {
    for full in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        journal_of(dir.path(), &[3000]);
        let _there_once = std::fs::remove_file(prepared_path(dir.path()));
        let (proceed, word) = channel::<()>();
        let mut word = Some(word);
        let disk = JudgedDisk::new(move |operation, path| match operation {
            "write" if is_called(path, "prepared") => {
                word.take().map_or(Verdict::Go, Verdict::GoAfter)
            }
            "sync" if full && is_called(path, "prepared") => {
                Verdict::Fail(io::ErrorKind::StorageFull)
            }
            _ => Verdict::Go,
        });
        let mut open = Open::on(disk, dir.path()).unwrap();
        assert!(!open.journal.takes_more(), "nobody knows yet");
        assert!(matches!(open.journal.append(&[7; 2000]), Err(AppendError::NotYet)));
        proceed.send(()).unwrap();
        let word = open.said.recv_timeout(DEADLINE).unwrap();
        assert!(matches!(word, Durability::RoomChanged), "{word:?}");
        assert!(open.journal.takes_more());
        let refused = open.journal.append(&[7; 2000]).err();
        assert_eq!(matches!(refused, Some(AppendError::NoRoom)), full, "{refused:?}");
        assert!(open.said.try_recv().is_err(), "said once");
    }
}

pub(super) fn await_file(path: &Path) {
    let (_nobody, patience) = channel::<()>();
    for _ in 0..DEADLINE.as_millis() {
        if path.exists() {
            return;
        }
        let _a_moment = patience.recv_timeout(Duration::from_millis(1));
    }
    panic!("{} never appeared", path.display());
}

#[test]
fn a_journal_that_cannot_be_created_leaves_no_journal() {
    let dir = tempfile::tempdir().unwrap();
    let full = Arc::new(AtomicBool::new(true));
    for operation in ["create", "reserve", "write", "sync", "rename"] {
        let error =
            open::create(&*full_disk(operation, &full), &dir.path().into(), SMALL).unwrap_err();
        assert!(error.to_string().contains("prepared"), "{error}");
        assert!(matches!(Open::really(dir.path()).err(), Some(OpenError::Missing { .. })));
        assert!(!preparing_path(dir.path()).exists());
    }
    open::create(&RealDisk, &dir.path().into(), SMALL).unwrap();
}
