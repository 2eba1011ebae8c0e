//! A disk that is full from some operation on, for one operation or for good, under one folder or
//! under either of two: whatever needs space may fail. What is found afterwards lies between what
//! was acknowledged and what was submitted, and once there is space the journal goes on.

use super::crash::{Life, check_after, live};
use super::mirror::{copy_folder, sides};
use super::*;

/// The operations that a full disk refuses, including writes into claimed space, for file systems
/// that copy on write.
const NEED_SPACE: [&str; 5] = ["create", "reserve", "write", "sync", "rename"];

/// A life on a disk that is full in `dir` from the operation with this number on. Returns whether
/// it got that far.
fn live_on_a_full_disk(
    folders: &Folders,
    dir: &Path,
    from: usize,
    for_good: bool,
    life: &mut Life,
) -> bool {
    let (dir, reached) = (dir.to_owned(), Arc::new(Mutex::new(false)));
    let (came, mut number) = (reached.clone(), 0);
    let disk: Arc<dyn Disk> = JudgedDisk::new(move |operation, path| {
        if !path.starts_with(&dir) || !NEED_SPACE.contains(&operation) {
            return Verdict::Go;
        }
        number += 1;
        let is_full = if for_good { number >= from } else { number == from };
        *came.lock().unwrap() |= is_full;
        if is_full { Verdict::Fail(io::ErrorKind::StorageFull) } else { Verdict::Go }
    });
    let _stopped_for_want_of_space = live(&disk, folders, life);
    *reached.lock().unwrap()
}

#[test]
fn a_disk_that_is_full_at_any_operation_loses_nothing_acknowledged() {
    for for_good in [false, true] {
        for from in (1..).step_by(stride(2)) {
            let dir = tempfile::tempdir().unwrap();
            let folders = Folders::from(dir.path());
            let mut life = Life::default();
            let reached = live_on_a_full_disk(&folders, dir.path(), from, for_good, &mut life);
            check_after(dir.path(), &life, &format!("full from {from}, for good: {for_good}"));
            if !reached {
                assert!(life.finished && from > 50, "{from} operations");
                break;
            }
        }
    }
}

#[test]
fn a_disk_that_is_full_under_one_of_two_folders_parts_them_at_no_operation() {
    for (side, for_good) in [(0, false), (0, true), (1, false), (1, true)] {
        for from in (1..).step_by(stride(4)) {
            let dir = tempfile::tempdir().unwrap();
            let folders = pair(dir.path());
            let mut life = Life::default();
            let full = &sides(&folders)[side];
            let reached = live_on_a_full_disk(&folders, full, from, for_good, &mut life);
            let at = format!("{} full from {from}, for good: {for_good}", full.display());
            for side in sides(&folders) {
                let copy = tempfile::tempdir().unwrap();
                copy_folder(&side, copy.path());
                // A folder that is accepted has all of it, even if there was no space for a mark.
                let at = format!("{at}, {} alone", side.display());
                match Open::quickly(copy.path()).map(drop) {
                    Err(
                        OpenError::Behind { .. }
                        | OpenError::OneOfTwo { .. }
                        | OpenError::Missing { .. },
                    ) => {}
                    _ => check_after(copy.path(), &life, &at),
                }
            }
            check_after(&folders, &life, &at);
            if !reached {
                assert!(life.finished && from > 50, "{from} operations");
                break;
            }
        }
    }
}
