//! A crash at each operation in a journal's life, with writes also torn in the middle: the next
//! start finds everything that was acknowledged, and nothing that was not submitted.

use std::sync::atomic::{AtomicBool, Ordering};

use super::*;

/// Chosen so that segments end within batches.
pub(super) const LENS: [usize; 5] = [1100, 30, 700, 1, 300];

/// How far a life came before its crash.
#[derive(Default)]
pub(super) struct Life {
    pub(super) submitted: u64,
    pub(super) acknowledged: u64,
    pub(super) finished: bool,
    /// Set when the power is gone, and this process with it: what it reports afterwards, nobody
    /// hears.
    pub(super) is_over: Arc<AtomicBool>,
}

/// Creates and opens a journal, appends over several segments, and makes both kinds of snapshots;
/// stops at the first failure.
pub(super) fn live(
    disk: &Arc<dyn Disk>,
    folders: impl Into<Folders>,
    life: &mut Life,
) -> Option<()> {
    let folders = folders.into();
    open::create(&**disk, &folders, SMALL).ok()?;
    let mut open = Open::on(disk.clone(), &folders).ok()?;
    for round in 0..8 {
        for len in LENS {
            // Before it is submitted, nothing of it can be on disk; while it is being submitted, it
            // may be.
            let number = last(&open).0 + 1;
            open.append_one(len).ok()?;
            life.submitted = number;
        }
        open.journal.flush();
        while life.acknowledged < life.submitted {
            match open.next_word() {
                Durability::Synced(_) if life.is_over.load(Ordering::SeqCst) => return None,
                Durability::Synced(sequence) => life.acknowledged = sequence.0,
                Durability::RoomChanged => {}
                Durability::Failed(_) => return None,
            }
        }
        let snapshotter = open.journal.snapshotter();
        match round {
            1 | 2 | 6 => drop(snapshotter.run_to_the_last::<All>().ok()?),
            4 => drop(snapshotter.run::<All>().ok()?),
            _ => {}
        }
    }
    life.finished = true;
    Some(())
}

pub(super) fn check_after(folders: impl Into<Folders>, life: &Life, at: &str) {
    match Open::quickly(folders) {
        Ok(mut open) => {
            let found = last(&open).0;
            let range = life.acknowledged..=life.submitted;
            assert!(range.contains(&found), "{at}: {found} records, not within {range:?}");
            assert_eq!(open.state, All(records(&LENS, found)), "{at}");
            open.append(&[1000]);
            open.synced();
        }
        Err(OpenError::Missing { .. }) => {
            assert_eq!(life.submitted, 0, "{at}: the journal is gone");
        }
        Err(error) => panic!("{at}: {error}"),
    }
}

#[test]
fn a_crash_at_any_operation_loses_nothing_acknowledged() {
    for torn in [false, true] {
        let mut crash_at = 1;
        loop {
            let dir = tempfile::tempdir().unwrap();
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
            let _crashed = live(&disk, dir.path(), &mut life);
            check_after(dir.path(), &life, &format!("crash at operation {crash_at}"));
            if life.finished {
                break;
            }
            crash_at += 1;
        }
        assert!(crash_at > 60, "the whole life takes more than {crash_at} operations");
    }
}
