//! Snapshots: the same state from fewer files, made while the journal goes on.

use super::*;
use crate::SnapshotError;

fn journal_with_closed_segments(dir: &Path) -> Open {
    Journal::create(dir, SMALL).unwrap();
    let mut open = Open::really(dir).unwrap();
    open.append(&[1500; 9]);
    open.synced();
    open
}

#[test]
fn a_snapshot_replaces_the_closed_segments_and_recovery_gives_the_same_state() {
    let dir = tempfile::tempdir().unwrap();
    let mut open = journal_with_closed_segments(dir.path());
    assert_eq!(open.journal.closed_segments(), 4);
    let snapshotter = open.journal.snapshotter();
    let running = std::thread::spawn(move || snapshotter.run::<All>());
    open.append(&[1500; 4]);
    open.synced();
    let covered = running.join().unwrap().unwrap().unwrap();
    assert!(covered >= Sequence(8), "{covered}");
    drop(open);
    let mut open = Open::really(dir.path()).unwrap();
    assert_eq!(open.state, All(records(&[1500], 13)));
    open.append(&[1500; 4]);
    open.synced();
    open.journal.snapshotter().run::<All>().unwrap();
    assert_eq!(open.journal.snapshotter().run::<All>().unwrap(), None, "nothing new is closed");
    let listing = crate::folder::list(dir.path()).unwrap();
    assert_eq!((listing.segments, listing.snapshots), (vec![17], vec![16]));
    let (last, body) = crate::latest_snapshot(dir.path()).unwrap().unwrap();
    assert_eq!(
        (last, All::restore(Some(&body)).unwrap()),
        (Sequence(16), All(records(&[1500], 16)))
    );
    drop(open);
    assert_eq!(Open::really(dir.path()).unwrap().state, All(records(&[1500], 17)));
}

#[test]
fn a_snapshot_to_the_last_record_ends_within_the_open_segment_which_stays() {
    let dir = tempfile::tempdir().unwrap();
    let open = journal_with_closed_segments(dir.path());
    let to_the_last = |open: &Open| open.journal.snapshotter().run_to_the_last::<All>().unwrap();
    let files = |dir: &Path| {
        let listing = crate::folder::list(dir).unwrap();
        (listing.segments, listing.snapshots)
    };
    assert_eq!(to_the_last(&open), Some(Sequence(9)));
    assert_eq!((to_the_last(&open), open.journal.closed_segments()), (None, 0));
    assert_eq!(files(dir.path()), (vec![9], vec![9]));
    let report = crate::verify(dir.path()).unwrap();
    assert_eq!(
        (report.snapshot, report.records, report.last),
        (last(&open).into(), 0, last(&open))
    );
    drop(open);
    let mut open = Open::really(dir.path()).unwrap();
    assert_eq!(open.state, All(records(&[1500], 9)));
    // In the same segment and, behind a part that is covered, in others.
    for upto in [10, 13] {
        open.append(&vec![1500; upto - usize::try_from(last(&open).0).unwrap()]);
        open.synced();
        drop(open);
        let mut dumped = Vec::new();
        crate::dump(dir.path(), |sequence, _| dumped.push(sequence.0)).unwrap();
        assert_eq!(dumped, (10..=upto as u64).collect::<Vec<_>>());
        open = Open::really(dir.path()).unwrap();
        assert_eq!(open.state, All(records(&[1500], upto as u64)));
    }
    assert_eq!(open.journal.snapshotter().run::<All>().unwrap(), Some(Sequence(12)));
    assert_eq!(files(dir.path()), (vec![13], vec![12]), "the half-covered one has gone");
    assert_eq!(to_the_last(&open), Some(Sequence(13)));
    open.append(&[1500; 2]);
    open.synced();
    assert_eq!(open.journal.closed_segments(), 1);
    assert_eq!(open.journal.snapshotter().run::<All>().unwrap(), Some(Sequence(14)));
    drop(open);
    assert_eq!(Open::really(dir.path()).unwrap().state, All(records(&[1500], 15)));
}

#[test]
fn a_snapshot_to_the_last_record_is_made_while_records_are_written() {
    let dir = tempfile::tempdir().unwrap();
    let mut open = journal_with_closed_segments(dir.path());
    let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let (told, snapshotter) = (stop.clone(), open.journal.snapshotter());
    let making = std::thread::spawn(move || {
        let mut made = 0;
        while !told.load(std::sync::atomic::Ordering::SeqCst) || made < 5 {
            made += u64::from(snapshotter.run_to_the_last::<All>().unwrap().is_some());
            if told.load(std::sync::atomic::Ordering::SeqCst) {
                break;
            }
        }
        made
    });
    for round in 0..200 {
        open.append(&[30, 700, 1, [1100, 9][round % 2]]);
        if round % 3 == 0 {
            open.synced();
        }
    }
    open.synced();
    stop.store(true, std::sync::atomic::Ordering::SeqCst);
    let made = making.join().unwrap();
    assert!(made > 5, "{made} snapshots");
    let all = last(&open).0;
    drop(open);
    let state = Open::really(dir.path()).unwrap().state;
    let lens = [30, 700, 1, 1100, 30, 700, 1, 9];
    let expected = (10..=all).zip(lens.iter().cycle()).map(|(number, &len)| record(number, len));
    let first = records(&[1500], 9).into_iter();
    assert_eq!(state, All(first.chain(expected).collect()));
}

/// The snapshot says what it needs, so that a journal without its newest segment is not taken for
/// whole.
#[test]
fn a_snapshot_without_the_segment_that_it_ends_within_or_at_is_refused() {
    for to_the_last in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let mut open = journal_with_closed_segments(dir.path());
        let covered = crate::folder::segment_path(dir.path(), 7);
        let image = std::fs::read(&covered).unwrap();
        let snapshotter = open.journal.snapshotter();
        let needed = if to_the_last {
            assert_eq!(snapshotter.run_to_the_last::<All>().unwrap(), Some(Sequence(9)));
            open.append(&[10]);
            open.synced();
            9
        } else {
            assert_eq!(snapshotter.run::<All>().unwrap(), Some(Sequence(8)));
            9
        };
        drop((snapshotter, open));
        let needed = crate::folder::segment_path(dir.path(), needed);
        let newest = std::fs::read(&needed).unwrap();
        // A crash left the covered segment.
        std::fs::write(&covered, image).unwrap();
        std::fs::remove_file(&needed).unwrap();
        let snapshot = crate::folder::snapshot_path(dir.path(), if to_the_last { 9 } else { 8 });
        let (file, _) = match Open::really(dir.path()).map(|open| open.state) {
            Err(OpenError::Corrupt { file, offset, .. }) => (file, offset),
            other => panic!("{to_the_last}: {other:?}"),
        };
        assert_eq!(file, if to_the_last { covered.clone() } else { snapshot }, "{to_the_last}");
        // The segment lacks the covered records.
        if to_the_last {
            std::fs::remove_file(&covered).unwrap();
            let mut cut = newest.clone();
            cut[crate::segment::SEGMENT_HEADER_BYTES..].fill(0);
            std::fs::write(&needed, cut).unwrap();
            assert_eq!(flaw_of(Open::really(dir.path())), (needed.clone(), 512));
        }
        std::fs::write(&needed, newest).unwrap();
        assert_eq!(Open::really(dir.path()).unwrap().state.0[..9], records(&[1500], 9)[..]);
    }
}

/// Space was claimed while there was some: so a disk without any still takes a snapshot, which
/// frees space.
#[test]
fn a_snapshot_needs_no_more_space_than_is_claimed() {
    use std::sync::atomic::{AtomicBool, Ordering};
    for restarts in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        Journal::create(dir.path(), SMALL).unwrap();
        let is_full = Arc::new(AtomicBool::new(false));
        let (full, claim) = (is_full.clone(), crate::folder::snapshot_tmp_path(dir.path()));
        let disk = JudgedDisk::new(move |operation, path| {
            let claimed = path == claim && operation != "create";
            let needs_space = matches!(operation, "create" | "reserve");
            if full.load(Ordering::SeqCst) && needs_space && !claimed {
                return Verdict::Fail(io::ErrorKind::StorageFull);
            }
            Verdict::Go
        });
        let mut open = Open::on(disk.clone(), dir.path()).unwrap();
        super::room::await_file(&crate::folder::prepared_path(dir.path()));
        let claimed = || std::fs::metadata(crate::folder::snapshot_tmp_path(dir.path()));
        assert_eq!(claimed().unwrap().len(), 2 * 4096);
        is_full.store(true, Ordering::SeqCst);
        if restarts {
            drop(open);
            open = Open::on(disk.clone(), dir.path()).unwrap();
            assert_eq!(claimed().unwrap().len(), 2 * 4096, "it stays over a restart");
        }
        open.append(&[1500; 3]);
        open.synced();
        super::room::await_room(&open, crate::Room::Reserve);
        let covered = open.journal.snapshotter().run_to_the_last::<All>().unwrap();
        assert_eq!(covered, Some(Sequence(3)));
        super::room::await_room(&open, crate::Room::Reserve);
        is_full.store(false, Ordering::SeqCst);
        super::room::await_room(&open, crate::Room::Ample);
        assert!(claimed().unwrap().len() >= 4096, "for the next one");
        drop(open);
        assert_eq!(Open::really(dir.path()).unwrap().state, All(records(&[1500], 3)));
    }
}

/// No segment is prepared without space for a snapshot: so when the last segment is in use, a
/// snapshot can still be made.
#[test]
fn no_segment_is_prepared_before_there_is_space_for_a_snapshot() {
    for operation in ["create", "reserve", "set length"] {
        let dir = tempfile::tempdir().unwrap();
        Journal::create(dir.path(), SMALL).unwrap();
        let disk = JudgedDisk::new(move |done, path| {
            if done == operation && is_called(path, "snapshot.tmp") {
                return Verdict::Fail(io::ErrorKind::StorageFull);
            }
            Verdict::Go
        });
        let open = Open::on(disk, dir.path()).unwrap();
        super::room::await_room(&open, crate::Room::Reserve);
        assert!(!crate::folder::prepared_path(dir.path()).exists(), "{operation}");
    }
}

#[test]
fn a_snapshot_longer_than_a_block_is_read_back() {
    let dir = tempfile::tempdir().unwrap();
    for len in [0, 1, (1 << 20) - 1, 1 << 20, (3 << 20) + 17] {
        let body: Vec<u8> = (0..len).map(|at: u32| at.to_le_bytes()[at as usize % 3]).collect();
        write_snapshot(dir.path(), 3, &body);
        assert!(crate::snapshot::read(dir.path(), 3).unwrap() == body, "{len} bytes");
    }
}

#[test]
fn a_snapshot_that_fails_at_any_step_leaves_a_journal_that_goes_on() {
    let mut failing = 0;
    loop {
        let dir = tempfile::tempdir().unwrap();
        drop(journal_with_closed_segments(dir.path()));
        let (armed, trigger) = (Arc::new(Mutex::new(false)), failing);
        let (arm, mut step) = (armed.clone(), 0);
        let disk = JudgedDisk::new(move |_, path| {
            let counts = *armed.lock().unwrap() && !is_called(path, "prepared");
            step += u64::from(counts);
            if counts && step == trigger {
                Verdict::Fail(io::ErrorKind::Other)
            } else {
                Verdict::Go
            }
        });
        let mut open = Open::on(disk, dir.path()).unwrap();
        *arm.lock().unwrap() = true;
        let made = open.journal.snapshotter().run::<All>();
        *arm.lock().unwrap() = false;
        if failing > 0 && made.is_err() {
            assert!(matches!(made, Err(SnapshotError::Write(_))), "step {failing}");
            open.journal.snapshotter().run::<All>().unwrap();
        }
        open.append(&[1500; 3]);
        open.synced();
        drop(open);
        assert_eq!(Open::really(dir.path()).unwrap().state, All(records(&[1500], 12)));
        if failing > 0 && made.is_ok() {
            break;
        }
        failing += 1;
    }
    assert!(failing > 8, "create, write, sync, rename, sync, removals: {failing}");
}

#[test]
fn a_corrupt_closed_segment_stops_the_snapshot_and_removes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let open = journal_with_closed_segments(dir.path());
    let path = crate::folder::segment_path(dir.path(), 3);
    let mut image = std::fs::read(&path).unwrap();
    image[1000] ^= 1;
    std::fs::write(&path, image).unwrap();
    let error = open.journal.snapshotter().run::<All>().unwrap_err();
    assert!(error.to_string().contains(&path.display().to_string()), "{error}");
    let listing = crate::folder::list(dir.path()).unwrap();
    assert_eq!((listing.segments.len(), listing.snapshots.len()), (5, 0));
}

#[test]
fn verify_and_dump_read_a_journal_in_use() {
    let dir = tempfile::tempdir().unwrap();
    let mut open = journal_with_closed_segments(dir.path());
    let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let (told, folder) = (stop.clone(), dir.path().to_owned());
    let reader = std::thread::spawn(move || {
        let mut readings = 0;
        while !told.load(std::sync::atomic::Ordering::SeqCst) || readings == 0 {
            let mut next = None;
            let report = crate::dump(&folder, |sequence, bytes| {
                assert!(next.is_none_or(|next| next == sequence.0), "{sequence} after {next:?}");
                assert_eq!(bytes, record(sequence.0, 1500));
                next = Some(sequence.0 + 1);
            });
            let report = report.unwrap();
            assert!(report.last >= Sequence(9), "{report}");
            readings += 1;
        }
    });
    for round in 0..20 {
        open.append(&[1500; 5]);
        open.synced();
        let snapshotter = open.journal.snapshotter();
        match round % 2 {
            0 => drop(snapshotter.run::<All>().unwrap()),
            _ => drop(snapshotter.run_to_the_last::<All>().unwrap()),
        }
    }
    stop.store(true, std::sync::atomic::Ordering::SeqCst);
    reader.join().unwrap();
    let report = crate::verify(dir.path()).unwrap();
    assert_eq!((report.last, report.torn), (Sequence(109), None));
}
