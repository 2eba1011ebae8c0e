//! Snapshots: the same state from fewer files, made beside a journal that goes on.

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
fn a_snapshot_longer_than_a_block_is_read_back() {
    let dir = tempfile::tempdir().unwrap();
    for len in [0, 1, (1 << 20) - 1, 1 << 20, (3 << 20) + 17] {
        let body: Vec<u8> = (0..len).map(|at: u32| at.to_le_bytes()[at as usize % 3]).collect();
        crate::snapshot::write(&RealDisk, dir.path(), 3, &body).unwrap();
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
    for _ in 0..20 {
        open.append(&[1500; 5]);
        open.synced();
        open.journal.snapshotter().run::<All>().unwrap();
    }
    stop.store(true, std::sync::atomic::Ordering::SeqCst);
    reader.join().unwrap();
    let report = crate::verify(dir.path()).unwrap();
    assert_eq!((report.last, report.torn), (Sequence(109), None));
}
