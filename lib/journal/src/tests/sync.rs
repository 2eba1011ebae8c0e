//! One sync for many records, none acknowledged before it, and none after a sync that failed.

use super::*;
use std::sync::mpsc::sync_channel;

#[test]
fn many_appends_are_synced_at_once() {
    let dir = tempfile::tempdir().unwrap();
    Journal::create(dir.path(), SMALL).unwrap();
    let mut open = Open::really(dir.path()).unwrap();
    open.append(&[10; 50]);
    open.synced();
    assert_eq!(open.journal.syncs(), 1);
    open.journal.flush();
    open.append(&[10]);
    open.synced();
    assert_eq!(open.journal.syncs(), 2, "a flush of nothing is nothing");
}

#[test]
fn what_is_queued_during_a_sync_is_written_and_synced_together() {
    let dir = tempfile::tempdir().unwrap();
    journal_of(dir.path(), &[1]);
    let (reached, at_sync) = sync_channel(0);
    let (proceed, go_on) = sync_channel::<()>(0);
    let mut syncs = 0;
    let disk = JudgedDisk::new(move |operation, path| {
        if operation == "sync" && is_called(path, "journal-") {
            syncs += 1;
            if syncs == 2 {
                reached.send(()).unwrap();
                go_on.recv().unwrap();
            }
        }
        Verdict::Go
    });
    let mut open = Open::on(disk, dir.path()).unwrap();
    open.append(&[10]);
    at_sync.recv_timeout(DEADLINE).unwrap();
    for _ in 0..40 {
        open.append(&[10]);
    }
    assert!(open.said.try_recv().is_err(), "nothing is acknowledged while the sync runs");
    proceed.send(()).unwrap();
    assert!(matches!(open.next_word(), Durability::Synced(Sequence(2))));
    open.synced();
    assert_eq!(open.journal.syncs(), 2, "one for the first, one for all the others");
}

#[test]
fn nothing_is_acknowledged_after_a_failed_sync_and_it_is_not_tried_again() {
    for failing in ["write", "sync"] {
        let dir = tempfile::tempdir().unwrap();
        journal_of(dir.path(), &[1]);
        let tried = Arc::new(Mutex::new(0));
        let counter = tried.clone();
        let (proceed, go_on) = sync_channel::<()>(1);
        let disk = JudgedDisk::new(move |operation, path| {
            if operation != failing || !is_called(path, "journal-") {
                return Verdict::Go;
            }
            let mut tried = counter.lock().unwrap();
            *tried += 1;
            // The first sync is the repair at the start, the second that of the first record.
            if *tried <= 2 {
                return Verdict::Go;
            }
            let _more_is_queued = go_on.recv_timeout(DEADLINE);
            Verdict::Fail(io::ErrorKind::Other)
        });
        let mut open = Open::on(disk, dir.path()).unwrap();
        open.append(&[10]);
        open.synced();
        for _ in 0..3 {
            open.append(&[20, 20]);
        }
        proceed.send(()).unwrap();
        match open.next_word() {
            Durability::Failed(error) => {
                let text = error.to_string();
                assert!(text.contains(failing) && text.contains("journal-"), "{text}");
            }
            Durability::RoomChanged => panic!("nobody waited for room"),
            Durability::Synced(sequence) => {
                panic!("{sequence} acknowledged after a failed {failing}")
            }
        }
        assert!(matches!(open.journal.append(b"more"), Err(AppendError::Failed)));
        open.journal.flush();
        let said = std::mem::replace(&mut open.said, channel().1);
        drop(open);
        assert!(said.try_recv().is_err(), "the failure is said once");
        assert_eq!(*tried.lock().unwrap(), 3, "a failed {failing} is not tried again");
        let state = Open::really(dir.path()).unwrap().state.0;
        assert!(state.len() >= 2, "what was acknowledged is there");
    }
}

#[test]
fn what_is_found_at_a_start_is_synced_before_anybody_hears_of_it() {
    let dir = tempfile::tempdir().unwrap();
    journal_of(dir.path(), &[1500]);
    for failing in ["write", "sync", "sync folder"] {
        let disk = JudgedDisk::new(move |operation, _| {
            if operation == failing { Verdict::Fail(io::ErrorKind::Other) } else { Verdict::Go }
        });
        let error = Open::on(disk, dir.path()).err().expect("a start that cannot sync is refused");
        assert!(matches!(error, OpenError::File(_)), "{error}");
    }
    assert_eq!(Open::really(dir.path()).unwrap().state, All(records(&[1500], 1)));
}
