//! A journal in two folders: nothing is acknowledged before both have it; the folder that went on
//! suffices; and one that differs, is damaged, or is or may be behind is never taken for the
//! journal.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::sync_channel;

use super::crash::{LENS, Life, check_after, live};
use super::*;
use crate::folder::{alone_path, behind_path, id_path, segment_path};
use crate::{FolderNotice, RepairError};

pub(super) fn sides(folders: &Folders) -> [PathBuf; 2] {
    [folders.main.clone(), folders.mirror.clone().unwrap()]
}

/// Only one of the two folders.
fn alone(dir: &Path) -> Folders {
    Folders::from(dir)
}

/// The same, with the operator's word that it counts.
pub(super) fn accepted(dir: &Path) -> Folders {
    Folders { accepts_one: true, ..alone(dir) }
}

/// Opens it alone, as if it had been accepted, but leaves its mark as it was.
pub(super) fn open_alone(dir: &Path) -> Result<Open, OpenError> {
    let open = Open::quickly(accepted(dir));
    if alone_path(dir).exists() {
        std::fs::rename(alone_path(dir), id_path(dir)).unwrap();
    }
    open
}

/// Checks that this folder alone is taken for the journal only if it has everything that was
/// acknowledged; and that it has everything if it was in use to the end.
pub(super) fn check_alone(dir: &Path, life: &Life, at: &str) {
    match Open::quickly(alone(dir)).map(drop) {
        Err(OpenError::Behind { .. }) => assert_eq!(life.acknowledged, 0, "{at}"),
        Err(OpenError::OneOfTwo { .. }) => check_after(accepted(dir), life, at),
        _ => check_after(alone(dir), life, at),
    }
}

pub(super) fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).into_iter().flatten() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
    }
}

pub(super) fn notices(open: &Open) -> Vec<&'static str> {
    let notices = open.journal.take_notices().into_iter();
    let kind = |notice| match notice {
        FolderNotice::Filled { .. } => "filled",
        FolderNotice::Completed { .. } => "completed",
        FolderNotice::Lost { .. } => "lost",
    };
    notices.map(kind).collect()
}

/// A disk whose operations in one folder fail from the one with this number on: only that one, or
/// all of them.
fn failing_folder(dir: &Path, from: u64, for_good: bool) -> (Arc<JudgedDisk>, Arc<AtomicU64>) {
    let (dir, counter) = (dir.to_owned(), Arc::new(AtomicU64::new(0)));
    let counted = counter.clone();
    let disk = JudgedDisk::new(move |_, path| {
        if !path.starts_with(&dir) {
            return Verdict::Go;
        }
        let number = counted.fetch_add(1, Ordering::SeqCst) + 1;
        let fails = if for_good { number >= from } else { number == from };
        if fails { Verdict::Fail(io::ErrorKind::Other) } else { Verdict::Go }
    });
    (disk, counter)
}

#[test]
fn nothing_is_acknowledged_before_both_folders_have_synced_it() {
    for slow in [0, 1] {
        let dir = tempfile::tempdir().unwrap();
        let folders = pair(dir.path());
        journal_of(&folders, &[1]);
        let held = sides(&folders)[slow].clone();
        let (reached, at_sync) = sync_channel(0);
        let (proceed, go_on) = sync_channel::<()>(1);
        let mut go_on = Some(go_on);
        let mut syncs = 0;
        let disk = JudgedDisk::new(move |operation, path| {
            if operation == "sync" && path.starts_with(&held) && is_called(path, "journal-") {
                syncs += 1;
                // The first sync is that of the start.
                if syncs == 2 {
                    let _test_is_over = reached.send(());
                    return go_on.take().map_or(Verdict::Go, Verdict::GoAfter);
                }
            }
            Verdict::Go
        });
        let mut open = Open::on(disk, &folders).unwrap();
        open.append(&[10]);
        at_sync.recv_timeout(DEADLINE).unwrap();
        assert!(open.said.recv_timeout(Duration::from_millis(20)).is_err(), "acknowledged by one");
        proceed.send(()).unwrap();
        open.synced();
        drop(open);
        let [main, mirror] = sides(&folders).map(|side| crate::verify(&side).unwrap());
        assert_eq!((main.last, mirror.last), (Sequence(2), Sequence(2)));
    }
}

#[test]
fn one_folder_of_two_counts_where_it_went_on_alone_or_somebody_says_so_and_the_other_is_filled() {
    for lost in [0, 1] {
        for removed in [true, false] {
            let dir = tempfile::tempdir().unwrap();
            let folders = pair(dir.path());
            journal_of(&folders, &[1500; 7]);
            let open = Open::really(&folders).unwrap();
            assert_eq!(notices(&open), [""; 0], "both hold the same");
            open.journal.snapshotter().run::<All>().unwrap();
            drop(open);
            let gone = sides(&folders)[lost].clone();
            std::fs::remove_dir_all(&gone).unwrap();
            if !removed {
                std::fs::create_dir(&gone).unwrap();
            }
            let error = Open::really(&folders).err().unwrap();
            assert!(matches!(&error, OpenError::OneOfTwo { .. }), "{error}");
            for part in [&*gone.display().to_string(), "--accept-one-journal-folder"] {
                assert!(error.to_string().contains(part), "{error}");
            }
            let accepting = Folders { accepts_one: true, ..folders.clone() };
            let mut open = Open::really(&accepting).unwrap();
            assert_eq!((notices(&open), open.journal.folders_live()), (vec!["filled"], 2));
            assert_eq!(open.state, All(records(&[1500], 7)));
            open.append(&[1500; 2]);
            open.synced();
            drop(open);
            for side in sides(&folders) {
                assert!(!alone_path(&side).exists());
                let error = Open::really(alone(&side)).err().unwrap();
                assert!(error.to_string().contains("journal_mirror"), "{error}");
                assert_eq!(Open::really(accepted(&side)).unwrap().state, All(records(&[1500], 9)));
                assert!(alone_path(&side).exists(), "said once");
                assert_eq!(Open::really(alone(&side)).unwrap().state, All(records(&[1500], 9)));
            }
            // Both went on alone without new records, so they are the same.
            drop(Open::really(&folders).unwrap());
            assert!(sides(&folders).iter().all(|side| id_path(side).exists()));
        }
    }
}

#[test]
fn a_folder_that_was_left_unmarked_is_not_taken_for_the_journal_when_the_newer_one_is_lost_too() {
    for left in [0, 1] {
        let dir = tempfile::tempdir().unwrap();
        let folders = pair(dir.path());
        journal_of(&folders, &[100]);
        let (stale, newer) = (&sides(&folders)[left], &sides(&folders)[1 - left]);
        let (gone, is_gone) = (stale.clone(), Arc::new(AtomicBool::new(false)));
        let goes = is_gone.clone();
        let disk = JudgedDisk::new(move |_, path| {
            let fails = goes.load(Ordering::SeqCst) && path.starts_with(&gone);
            if fails { Verdict::Fail(io::ErrorKind::NotConnected) } else { Verdict::Go }
        });
        let mut open = Open::on(disk, &folders).unwrap();
        is_gone.store(true, Ordering::SeqCst);
        open.append(&[200, 1500, 1500]);
        open.synced();
        assert_eq!((notices(&open), open.journal.folders_live()), (vec!["lost"], 1));
        drop(open);
        assert!(!behind_path(stale).exists(), "its disk took no mark");
        let aside = dir.path().join("aside");
        std::fs::rename(newer, &aside).unwrap();
        for lonely in [alone(stale), folders.clone()] {
            let error = Open::really(&lonely).err().unwrap();
            assert!(matches!(error, OpenError::OneOfTwo { .. }), "{error}");
        }
        let copy = tempfile::tempdir().unwrap();
        copy_folder(stale, copy.path());
        assert_eq!(Open::really(accepted(copy.path())).unwrap().state.0.len(), 1);
        // Unreadable, as on a bad disk: it may still be the newer one.
        let segment = segment_path(newer, 1);
        std::fs::create_dir_all(&segment).unwrap();
        let error = Open::really(&folders).err().unwrap();
        assert!(matches!(error, OpenError::OneOfTwo { .. }), "{error}");
        std::fs::remove_dir_all(newer).unwrap();
        // The newer one needs nobody's word, with or without the other one.
        std::fs::rename(&aside, newer).unwrap();
        assert_eq!(last(&Open::really(alone(newer)).unwrap()), Sequence(4));
        let open = Open::really(&folders).unwrap();
        assert_eq!((notices(&open), last(&open)), (vec!["completed"], Sequence(4)));
    }
}

#[test]
fn nothing_is_acknowledged_before_the_folder_that_goes_on_is_marked() {
    for fails in [false, true] {
        for operation in ["rename", "sync folder"] {
            let dir = tempfile::tempdir().unwrap();
            let folders = pair(dir.path());
            journal_of(&folders, &[1]);
            let [survivor, dead] = sides(&folders);
            let (reached, at_mark) = sync_channel(1);
            let (proceed, go_on) = sync_channel::<()>(1);
            let mut go_on = Some(go_on);
            let mut is_marking = false;
            let disk = JudgedDisk::new(move |done, path| {
                if path.starts_with(&dead) && is_called(path, "journal-") && done == "write" {
                    is_marking = true;
                    return Verdict::Fail(io::ErrorKind::Other);
                }
                if !(is_marking && path.starts_with(&survivor) && done == operation) {
                    return Verdict::Go;
                }
                if fails {
                    return Verdict::Fail(io::ErrorKind::Other);
                }
                let _told_before = reached.try_send(());
                go_on.take().map_or(Verdict::Go, Verdict::GoAfter)
            });
            if fails {
                // The start writes the newest segment again.
                assert!(Open::on(disk, &folders).is_err(), "{operation}");
                continue;
            }
            let opening = {
                let folders = folders.clone();
                std::thread::spawn(move || {
                    let mut open = Open::on(disk, &folders).unwrap();
                    open.append(&[10]);
                    open.synced();
                })
            };
            at_mark.recv_timeout(DEADLINE).unwrap();
            assert!(!opening.is_finished());
            proceed.send(()).unwrap();
            opening.join().unwrap();
            assert_eq!(last(&Open::really(alone(&folders.main)).unwrap()), Sequence(2));
        }
    }
}

#[test]
fn a_crash_at_any_operation_leaves_in_each_folder_what_was_acknowledged() {
    for torn in [false, true] {
        for crash_at in (1..).step_by(stride(3)) {
            let dir = tempfile::tempdir().unwrap();
            let folders = pair(dir.path());
            let mut operations = 0;
            let disk: Arc<dyn Disk> = JudgedDisk::new(move |_, _| {
                operations += 1;
                match operations {
                    now if now < crash_at => Verdict::Go,
                    now if now == crash_at && torn => Verdict::Tear,
                    _ => Verdict::Fail(io::ErrorKind::Other),
                }
            });
            let mut life = Life::default();
            let _crashed = live(&disk, &folders, &mut life);
            for side in sides(&folders) {
                let at = format!("crash at operation {crash_at}, {} alone", side.display());
                let copy = tempfile::tempdir().unwrap();
                copy_folder(&side, copy.path());
                check_alone(copy.path(), &life, &at);
            }
            check_after(&folders, &life, &format!("crash at operation {crash_at}, both"));
            if life.finished {
                assert!(crash_at > 120, "{crash_at} operations");
                break;
            }
        }
    }
}

#[test]
fn a_crash_while_the_folders_are_made_the_same_is_one_more_crash() {
    let lens: Vec<usize> = LENS.iter().copied().cycle().take(25).collect();
    let whole = tempfile::tempdir().unwrap();
    let folders = pair(whole.path());
    journal_of(&folders, &lens[..10]);
    let before = tempfile::tempdir().unwrap();
    copy_folder(&folders.main, before.path());
    let mut open = Open::really(&folders).unwrap();
    open.append(&lens[10..]);
    open.synced();
    drop(open);
    let snapshotted = tempfile::tempdir().unwrap();
    copy_folder(&folders.main, snapshotted.path());
    Open::quickly(accepted(snapshotted.path()))
        .unwrap()
        .journal
        .snapshotter()
        .run::<All>()
        .unwrap();
    let empty = tempfile::tempdir().unwrap();
    let cases = [(&folders.main, before.path()), (&folders.main, empty.path())];
    let snapshot = snapshotted.path().to_owned();
    for (longer, shorter) in cases.into_iter().chain([(&snapshot, before.path())]) {
        // Somebody may have accepted the shorter one, too.
        for (behind, is_accepted) in [(0, false), (1, false), (0, true)] {
            for crash_at in 1.. {
                let dir = tempfile::tempdir().unwrap();
                let folders = pair(dir.path());
                let [whole, short] = [1 - behind, behind].map(|side| sides(&folders)[side].clone());
                copy_folder(longer, &whole);
                copy_folder(shorter, &short);
                for (dir, goes_alone) in [(&whole, true), (&short, is_accepted)] {
                    if goes_alone && id_path(dir).exists() {
                        std::fs::rename(id_path(dir), alone_path(dir)).unwrap();
                    }
                }
                let mut operations = 0;
                let crash = JudgedDisk::new(move |_, _| {
                    operations += 1;
                    match operations {
                        now if now < crash_at => Verdict::Go,
                        now if now == crash_at => Verdict::Tear,
                        _ => Verdict::Fail(io::ErrorKind::Other),
                    }
                });
                // With one folder lost, the start may go on; a crash looks like a bad disk here.
                let finished = Open::on(crash, &folders).is_ok_and(|open| {
                    open.journal.folders_live() == 2 && open.journal.room() == crate::Room::Ample
                });
                let at = format!("crash at {crash_at}, {behind} behind, accepted: {is_accepted}");
                let copy = tempfile::tempdir().unwrap();
                copy_folder(&short, copy.path());
                if !alone_path(&whole).exists() || !is_accepted {
                    // The longer one is no longer marked as alone, or has no rival: nothing older
                    // counts.
                    if let Ok(open) = Open::quickly(alone(copy.path())) {
                        assert_eq!(open.state, All(records(&lens, 25)), "{at}");
                    }
                }
                let open = Open::quickly(&folders).unwrap();
                assert_eq!(open.state, All(records(&lens, 25)), "{at}");
                assert_eq!(open.journal.folders_live(), 2);
                drop(open);
                for side in sides(&folders) {
                    assert!(Open::quickly(alone(&side)).is_err(), "{at}");
                    let state = Open::quickly(accepted(&side)).unwrap().state;
                    assert_eq!(state, All(records(&lens, 25)), "{at}");
                }
                if finished || crash_at > 100 {
                    assert!(finished && crash_at > 4, "{crash_at}");
                    break;
                }
            }
        }
    }
}

#[test]
fn a_folder_that_fails_at_any_operation_is_left_and_stops_nothing() {
    for for_good in [false, true] {
        for side in [0, 1] {
            for from in (1..).step_by(stride(2)) {
                let dir = tempfile::tempdir().unwrap();
                let folders = pair(dir.path());
                Journal::create(&folders, SMALL).unwrap();
                drop(Open::quickly(&folders).unwrap());
                let (dead, other) = (&sides(&folders)[side], &sides(&folders)[1 - side]);
                let (disk, counter) = failing_folder(dead, from, for_good);
                let disk: Arc<dyn Disk> = disk;
                let mut life = Life::default();
                goes_on(&disk, &folders, &mut life).expect("the other folder suffices");
                let whole = counter.load(Ordering::SeqCst) < from;
                let at = format!("{} fails from {from} on", dead.display());
                let copy = tempfile::tempdir().unwrap();
                copy_folder(dead, copy.path());
                match Open::quickly(alone(copy.path())).map(|open| open.state) {
                    // With or without the mark: the disk may not have taken it.
                    Err(OpenError::Behind { .. }) => assert!(!whole, "{at}"),
                    Err(OpenError::OneOfTwo { .. }) if !whole => assert!(for_good, "{at}: no mark"),
                    Err(OpenError::OneOfTwo { .. }) => {
                        check_after(accepted(copy.path()), &life, &at);
                    }
                    other => panic!("{at}: {other:?}"),
                }
                let copy_of_other = tempfile::tempdir().unwrap();
                copy_folder(other, copy_of_other.path());
                let kind = if whole { accepted } else { alone };
                check_after(kind(copy_of_other.path()), &life, &at);
                check_after(&folders, &life, &at);
                if whole {
                    assert!(from > 40, "{from}");
                    break;
                }
            }
        }
    }
}

/// Like `live`, but with an existing journal.
fn goes_on(disk: &Arc<dyn Disk>, folders: &Folders, life: &mut Life) -> Option<()> {
    let mut open = Open::on(disk.clone(), folders).ok()?;
    for _ in 0..5 {
        open.append(&LENS);
        open.synced();
        life.submitted = last(&open).0;
        life.acknowledged = life.submitted;
    }
    open.journal.snapshotter().run::<All>().unwrap();
    Some(())
}

#[test]
fn when_both_folders_fail_nothing_more_is_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let folders = pair(dir.path());
    journal_of(&folders, &[1]);
    let mut syncs = 0;
    let disk = JudgedDisk::new(move |operation, path| {
        syncs += u64::from(operation == "sync" && is_called(path, "journal-"));
        // Two syncs at the start; then those of the first record, one after the other or at once.
        if syncs > 2 { Verdict::Fail(io::ErrorKind::Other) } else { Verdict::Go }
    });
    let mut open = Open::on(disk, &folders).unwrap();
    open.append(&[10]);
    assert!(matches!(open.next_word(), Durability::Failed(_)));
    drop(open);
    let found = Open::really(&folders).unwrap().state.0.len();
    assert!((1..=2).contains(&found), "{found}");
}

#[test]
fn a_damaged_folder_is_refused_with_the_remedy_and_nothing_is_changed() {
    for side in [0, 1] {
        let dir = tempfile::tempdir().unwrap();
        let folders = pair(dir.path());
        journal_of(&folders, &[1500, 1200, 600]);
        let (harmed, whole) = (&sides(&folders)[side], &sides(&folders)[1 - side]);
        let path = segment_path(harmed, 1);
        let mut image = std::fs::read(&path).unwrap();
        image[700] ^= 1;
        std::fs::write(&path, &image).unwrap();
        let error = Open::really(&folders).err().unwrap();
        let OpenError::Damaged { source, .. } = &error else { panic!("{error}") };
        assert!(matches!(&**source, OpenError::Corrupt { file, .. } if *file == path), "{source}");
        let remedy =
            format!("howdah journal repair {} --from {}", harmed.display(), whole.display());
        assert!(error.to_string().contains(&remedy), "{error}");
        assert_eq!(std::fs::read(&path).unwrap(), image);
        assert_eq!(Open::really(accepted(whole)).unwrap().state.0.len(), 3);
    }
}

#[test]
fn other_records_under_the_same_sequence_are_refused_with_both_places() {
    let dir = tempfile::tempdir().unwrap();
    let folders = pair(dir.path());
    journal_of(&folders, &[1500, 10]);
    let [main, mirror] = sides(&folders);
    for (side, len) in [(&main, 11), (&mirror, 12)] {
        let mut open = Open::really(accepted(side)).unwrap();
        open.append(&[len]);
        open.synced();
    }
    let error = Open::really(&folders).err().unwrap();
    let OpenError::Diverged { file, offset, other, other_offset, sequence: 3 } = &error else {
        panic!("{error}")
    };
    assert_eq!((file, other), (&segment_path(&main, 1), &segment_path(&mirror, 1)));
    for (file, offset) in [(file, offset), (other, other_offset)] {
        let image = std::fs::read(file).unwrap();
        assert_eq!(image[usize::try_from(*offset).unwrap()..][..4], *b"HwRc");
        assert!(error.to_string().contains(&file.display().to_string()), "{error}");
    }
}

#[test]
fn a_folder_of_another_journal_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let [ours, theirs] = ["a", "b"].map(|name| pair(&dir.path().join(name)));
    journal_of(&ours, &[1500; 5]);
    journal_of(&theirs, &[1500; 3]);
    let mixed = Folders { mirror: theirs.mirror.clone(), ..ours.clone() };
    // The same records, as two clusters may begin.
    let error = Open::really(&mixed).err().unwrap();
    assert!(matches!(error, OpenError::OtherJournal { .. }), "{error}");
    // Nothing to compare, and nothing that names its journal.
    Open::really(&ours).unwrap().journal.snapshotter().run::<All>().unwrap();
    std::fs::remove_file(id_path(theirs.mirror.as_deref().unwrap())).unwrap();
    let error = Open::really(&mixed).err().unwrap();
    assert!(matches!(error, OpenError::OtherJournal { .. }), "{error}");
    std::fs::write(id_path(theirs.mirror.as_deref().unwrap()), "howdah journal 7\n").unwrap();
    assert!(matches!(Open::really(&mixed).err(), Some(OpenError::Damaged { .. })));
}

#[test]
fn a_folder_that_is_behind_is_never_started_from_alone() {
    let dir = tempfile::tempdir().unwrap();
    let folders = pair(dir.path());
    journal_of(&folders, &[100]);
    let [main, mirror] = sides(&folders);
    let (disk, _) = failing_folder(&mirror, 9, false);
    let mut open = Open::on(disk, &folders).unwrap();
    open.append(&[200]);
    open.synced();
    open.append(&[1500; 3]);
    open.synced();
    assert_eq!((notices(&open), open.journal.folders_live()), (vec!["lost"], 1));
    drop(open);
    let aside = dir.path().join("aside");
    std::fs::rename(&main, &aside).unwrap();
    for lonely in [alone(&mirror), folders.clone()] {
        let error = Open::really(&lonely).err().unwrap();
        assert!(matches!(error, OpenError::Behind { .. }), "{error}");
        assert!(error.to_string().contains(&behind_path(&mirror).display().to_string()), "{error}");
    }
    std::fs::remove_dir_all(&main).unwrap();
    std::fs::rename(&aside, &main).unwrap();
    let open = Open::really(&folders).unwrap();
    assert_eq!((notices(&open), last(&open)), (vec!["filled"], Sequence(5)));
}

#[test]
fn a_full_disk_under_one_folder_is_no_loss_but_want_of_room() {
    for side in [0, 1] {
        for operation in ["create", "reserve", "write"] {
            let dir = tempfile::tempdir().unwrap();
            let folders = pair(dir.path());
            journal_of(&folders, &[100]);
            let full = sides(&folders)[side].clone();
            let disk = JudgedDisk::new(move |done, path| {
                let prepares = path.starts_with(&full) && is_called(path, "prepared.tmp");
                let kind = io::ErrorKind::StorageFull;
                if prepares && done == operation { Verdict::Fail(kind) } else { Verdict::Go }
            });
            for side in sides(&folders) {
                let _there_once = std::fs::remove_file(crate::folder::prepared_path(&side));
            }
            let mut open = Open::on(disk, &folders).unwrap();
            super::room::await_room(&open, crate::Room::Reserve);
            open.append(&[1000]);
            open.synced();
            assert_eq!((open.journal.folders_live(), notices(&open)), (2, vec![]));
        }
    }
}

#[test]
fn a_folder_whose_disk_gives_errors_does_not_stop_a_start_and_one_named_wrongly_does() {
    let dir = tempfile::tempdir().unwrap();
    let folders = pair(dir.path());
    journal_of(&folders, &[100]);
    let [_, mirror] = sides(&folders);
    let (segment, aside) = (segment_path(&mirror, 1), mirror.join("aside"));
    std::fs::rename(&segment, &aside).unwrap();
    // Unreadable, as on a bad disk.
    std::fs::create_dir(&segment).unwrap();
    let error = Open::really(&folders).err().unwrap();
    assert!(error.to_string().contains(&segment.display().to_string()), "{error}");
    std::fs::rename(id_path(&folders.main), alone_path(&folders.main)).unwrap();
    let open = Open::really(&folders).unwrap();
    assert_eq!((notices(&open), open.journal.folders_live()), (vec!["lost"], 1));
    drop(open);
    assert!(behind_path(&mirror).exists() && alone_path(&folders.main).exists());
    let named_wrongly = Folders { mirror: Some(aside.join("below-a-file")), ..folders };
    assert!(matches!(Open::really(&named_wrongly).err(), Some(OpenError::File(_))));
}

#[test]
fn both_folders_are_locked_and_a_lost_first_one_makes_no_new_journal() {
    let dir = tempfile::tempdir().unwrap();
    let folders = pair(dir.path());
    journal_of(&folders, &[100]);
    let open = Open::really(&folders).unwrap();
    for side in sides(&folders) {
        assert!(matches!(Open::really(alone(&side)).err(), Some(OpenError::Locked { .. })));
    }
    drop(open);
    std::fs::remove_dir_all(&folders.main).unwrap();
    let error = Journal::create(&folders, SMALL).unwrap_err();
    assert!(matches!(&error, OpenError::Exists { dir } if Some(dir) == folders.mirror.as_ref()));
    let neither = pair(&dir.path().join("unmounted"));
    assert!(matches!(Open::really(&neither).err(), Some(OpenError::Missing { .. })));
    assert!(!dir.path().join("unmounted").exists(), "nothing is left behind");
}

#[test]
fn nothing_more_is_acknowledged_once_a_folder_failed_and_the_other_one_took_no_mark() {
    let failures =
        [("prepared.tmp", "create"), ("prepared.tmp", "write"), ("snapshot.tmp", "sync")];
    for (name, operation) in failures {
        for marking in ["rename", "sync folder"] {
            let dir = tempfile::tempdir().unwrap();
            let folders = pair(dir.path());
            journal_of(&folders, &[1500; 3]);
            let [survivor, dead] = sides(&folders);
            for side in sides(&folders) {
                let _there_once = std::fs::remove_file(crate::folder::prepared_path(&side));
            }
            let (mut has_failed, mut marks) = (false, 0);
            let disk = JudgedDisk::new(move |done, path| {
                if path.starts_with(&dead) && is_called(path, name) && done == operation {
                    has_failed = true;
                    return Verdict::Fail(io::ErrorKind::Other);
                }
                let is_mark = path == survivor || is_called(path, "ALONE");
                if has_failed && path.starts_with(&survivor) && is_mark && done == marking {
                    marks += 1;
                    // A retry finds the mark there, or a working disk.
                    return if marks == 1 {
                        Verdict::Fail(io::ErrorKind::Other)
                    } else {
                        Verdict::Go
                    };
                }
                Verdict::Go
            });
            let mut open = Open::on(disk, &folders).unwrap();
            if name == "snapshot.tmp" {
                super::room::await_room(&open, crate::Room::Ample);
                open.journal.snapshotter().run::<All>().unwrap_err();
            } else {
                super::room::await_room(&open, crate::Room::Reserve);
            }
            open.append(&[10]);
            let word = open.next_word();
            assert!(
                matches!(word, Durability::Failed(_)),
                "{name} {operation} {marking}: {word:?}"
            );
            drop(open);
            assert_eq!(Open::quickly(&folders).unwrap().state.0.len(), 3);
        }
    }
}

#[test]
fn a_mark_that_is_there_already_is_synced_all_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let folders = pair(dir.path());
    journal_of(&folders, &[100]);
    let mut syncs = 0;
    let disk = JudgedDisk::new(move |done, path| {
        syncs += u64::from(done == "sync folder" && is_called(path, "main"));
        let is_first = done == "sync folder" && syncs == 1;
        if is_first { Verdict::Fail(io::ErrorKind::Other) } else { Verdict::Go }
    });
    crate::marks::go_alone(&*disk, &folders.main).unwrap_err();
    assert!(alone_path(&folders.main).exists());
    let synced = Arc::new(AtomicU64::new(0));
    let counted = synced.clone();
    let disk = JudgedDisk::new(move |done, _| {
        counted.fetch_add(u64::from(done == "sync folder"), Ordering::SeqCst);
        Verdict::Go
    });
    crate::marks::go_alone(&*disk, &folders.main).unwrap();
    assert_eq!(synced.load(Ordering::SeqCst), 1);
}

#[test]
fn a_folder_that_is_behind_another_journal_s_is_not_filled_from_this_one() {
    for names_its_journal in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        let [ours, theirs] = ["a", "b"].map(|name| pair(&dir.path().join(name)));
        journal_of(&ours, &[100]);
        journal_of(&theirs, &[100]);
        let [_, behind] = sides(&theirs);
        let fails = behind.clone();
        let disk = JudgedDisk::new(move |done, path| {
            let fails = path.starts_with(&fails) && is_called(path, "prepared") && done == "rename";
            if fails { Verdict::Fail(io::ErrorKind::Other) } else { Verdict::Go }
        });
        for side in sides(&theirs) {
            let _there_once = std::fs::remove_file(crate::folder::prepared_path(&side));
        }
        let mut open = Open::on(disk, &theirs).unwrap();
        open.append(&[1500; 4]);
        open.synced();
        assert_eq!((notices(&open), open.journal.folders_live()), (vec!["lost"], 1));
        drop(open);
        // One of the two marks names the journal: after a crash, the other one may be missing.
        if names_its_journal {
            std::fs::remove_file(id_path(&behind)).unwrap();
        } else {
            std::fs::write(behind_path(&behind), "").unwrap();
        }
        let mixed = Folders { mirror: Some(behind.clone()), ..ours.clone() };
        for accepts_one in [false, true] {
            let error = Open::really(Folders { accepts_one, ..mixed.clone() }).err().unwrap();
            assert!(matches!(error, OpenError::OtherJournal { .. }), "{error}");
            let error = crate::repair(&behind, &ours.main, "now").unwrap_err();
            let is_other = matches!(error, RepairError::Folder(OpenError::OtherJournal { .. }));
            assert!(is_other, "{error}");
        }
        assert!(segment_path(&behind, 1).exists(), "nothing was changed");
        let open = Open::really(&theirs).unwrap();
        assert_eq!((notices(&open), last(&open)), (vec!["filled"], Sequence(5)));
    }
}

#[test]
fn folders_that_were_made_are_on_the_disk_before_anything_in_them_counts() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().canonicalize().unwrap();
    let below = |first: &str| root.join(first).join("b/c");
    let folders =
        Folders { main: below("main"), mirror: Some(below("mirror")), accepts_one: false };
    let done = Arc::new(Mutex::new(Vec::new()));
    let log = done.clone();
    let disk = JudgedDisk::new(move |operation, path| {
        log.lock().unwrap().push((operation.to_owned(), path.to_owned()));
        Verdict::Go
    });
    crate::open::create(&*disk, &folders, SMALL).unwrap();
    drop(Open::on(disk, &folders).unwrap());
    let done = done.lock().unwrap();
    let at = |operation: &str, path: &Path| {
        let found = done.iter().position(|(op, on)| op == operation && on == path);
        found.unwrap_or_else(|| panic!("{operation} {}", path.display()))
    };
    let [main, mirror] = sides(&folders);
    for (dir, counts) in [
        (&main, at("rename", &segment_path(&main, 1))),
        (&mirror, at("remove", &behind_path(&mirror))),
    ] {
        for above in dir.ancestors().skip(1).take(3) {
            assert!(at("sync folder", above) < counts, "{}", above.display());
        }
    }
}

#[test]
fn a_refused_folder_is_not_marked_and_marks_alone_are_no_place_for_a_new_journal() {
    let dir = tempfile::tempdir().unwrap();
    let folders = pair(dir.path());
    journal_of(&folders, &[1500, 1200]);
    let [main, mirror] = sides(&folders);
    let path = segment_path(&main, 1);
    let image = std::fs::read(&path).unwrap();
    let mut harmed = image.clone();
    harmed[700] ^= 1;
    std::fs::write(&path, harmed).unwrap();
    assert!(matches!(Open::really(accepted(&main)).err(), Some(OpenError::Corrupt { .. })));
    assert!(id_path(&main).exists() && !alone_path(&main).exists());
    std::fs::write(&path, image).unwrap();
    assert_eq!(Open::really(accepted(&main)).unwrap().state.0.len(), 2);
    for side in [&main, &mirror] {
        for mark in [id_path(side), alone_path(side), behind_path(side)] {
            for gone in sides(&folders) {
                std::fs::remove_dir_all(&gone).unwrap();
                std::fs::create_dir(&gone).unwrap();
            }
            std::fs::write(&mark, "").unwrap();
            let error = Journal::create(&folders, SMALL).unwrap_err();
            assert!(matches!(&error, OpenError::Leftover { file } if *file == mark), "{error}");
            std::fs::remove_file(&mark).unwrap();
            Journal::create(&folders, SMALL).unwrap();
        }
    }
}
