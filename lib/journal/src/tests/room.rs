//! A full disk shows before a record is written: no room is said, and said again to be there.

use super::*;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::folder::{prepared_path, preparing_path};
use crate::{AppendError, Room};

/// Waits until the journal says so.
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

/// A disk that is full for the next segment while the flag is set, at this operation.
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
fn a_disk_that_fills_up_between_two_segments_fails_before_a_record_is_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    journal_of(dir.path(), &[100]);
    let full = Arc::new(AtomicBool::new(false));
    let mut open = Open::on(full_disk("reserve", &full), dir.path()).unwrap();
    full.store(true, Ordering::SeqCst);
    open.append(&[2000, 2000, 2000, 2000, 2000, 2000]);
    let word = open.next_word();
    assert!(
        matches!(&word, Durability::Failed(error) if error.to_string().contains("reserve")),
        "{word:?}"
    );
    drop(open);
    let state = Open::really(dir.path()).unwrap().state.0;
    assert!(!state.is_empty() && state.len() < 7, "{}", state.len());
    assert_eq!(state, records(&[100, 2000, 2000, 2000, 2000, 2000, 2000], state.len() as u64));
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
