//! `repair` restores one folder from the other, loses nothing and destroys nothing.

use super::mirror::{accepted, copy_folder, sides};
use super::*;
use crate::folder::{alone_path, id_path, segment_path, snapshot_path};
use crate::{RepairError, repair, verify_both};

const LENS: [usize; 6] = [1500, 1200, 600, 700, 9, 1014];

fn harm(path: &Path, at: usize) {
    let mut image = std::fs::read(path).unwrap();
    image[at] ^= 1;
    std::fs::write(path, image).unwrap();
}

/// Two folders with a snapshot and two segments after it.
fn journal_in_two_folders(dir: &Path) -> [PathBuf; 2] {
    let folders = pair(dir);
    journal_of(&folders, &LENS);
    let mut open = Open::quickly(&folders).unwrap();
    open.journal.snapshotter().run::<All>().unwrap();
    open.append(&[2000, 1500]);
    open.synced();
    sides(&folders)
}

fn whole_state() -> All {
    All(records(&[1500, 1200, 600, 700, 9, 1014, 2000, 1500], 8))
}

#[test]
fn a_damaged_short_or_empty_folder_is_made_good_and_what_was_in_it_is_kept() {
    type Harm = fn(&Path);
    let harms: [Harm; 5] = [
        |dir| harm(&segment_path(dir, 4), 700),
        |dir| harm(&snapshot_path(dir, 3), 40),
        |dir| std::fs::remove_file(segment_path(dir, 4)).unwrap(),
        |dir| std::fs::write(id_path(dir), "?").unwrap(),
        |_whole| {},
    ];
    for (number, spoil) in harms.into_iter().enumerate() {
        for side in [0, 1] {
            let dir = tempfile::tempdir().unwrap();
            let both = journal_in_two_folders(dir.path());
            let (bad, good) = (&both[side], &both[1 - side]);
            spoil(bad);
            let kept = tempfile::tempdir().unwrap();
            copy_folder(bad, kept.path());
            assert_eq!(verify_both(bad, good).is_ok(), number == 4, "{number}");
            let repaired = repair(bad, good, "now").unwrap();
            assert_eq!(repaired.last, Sequence(8), "{number}");
            let aside = bad.join("damaged-now");
            assert_eq!(repaired.aside, Some(aside.clone()), "{number}");
            for entry in std::fs::read_dir(kept.path()).unwrap() {
                let before = entry.unwrap().path();
                if ["journal-", "snapshot-", "ID"].iter().any(|name| is_called(&before, name)) {
                    let after = aside.join(before.file_name().unwrap());
                    assert_eq!(std::fs::read(&after).unwrap(), std::fs::read(before).unwrap());
                }
            }
            let [one, other] = verify_both(bad, good).unwrap();
            assert_eq!((one.last, other.last), (Sequence(8), Sequence(8)));
            assert_eq!(Open::quickly(accepted(bad)).unwrap().state, whole_state());
            assert_eq!(Open::quickly(pair(dir.path())).unwrap().state, whole_state());
        }
    }
}

#[test]
fn a_repair_that_would_lose_a_record_is_refused_even_behind_damage() {
    let dir = tempfile::tempdir().unwrap();
    let [main, mirror] = journal_in_two_folders(dir.path());
    let mut open = Open::quickly(accepted(&main)).unwrap();
    open.append(&[100, 100]);
    open.synced();
    drop(open);
    let [one, other] = verify_both(&main, &mirror).unwrap();
    assert_eq!((one.last, other.last), (Sequence(10), Sequence(8)));
    let newest = *crate::folder::list(&main).unwrap().segments.last().unwrap();
    for damage in [None, Some(600)] {
        if let Some(at) = damage {
            harm(&segment_path(&main, newest), at);
        }
        let error = repair(&main, &mirror, "now").unwrap_err();
        assert!(matches!(error, RepairError::Loses { found: 10, last: 8, .. }), "{error}");
        assert!(!main.join("damaged-now").exists());
    }
    // Nothing is taken from a folder that is damaged or missing.
    let error = repair(&mirror, &main, "now").unwrap_err();
    assert!(matches!(&error, RepairError::Source { source: OpenError::Corrupt { .. }, .. }));
    assert!(error.to_string().contains(&main.display().to_string()), "{error}");
    let nothing = repair(&mirror, &dir.path().join("nothing"), "now").unwrap_err();
    assert!(matches!(nothing, RepairError::Source { source: OpenError::Missing { .. }, .. }));
    assert_eq!(Open::quickly(accepted(&mirror)).unwrap().state, whole_state());
}

#[test]
fn an_empty_folder_is_filled_only_from_one_that_went_on_alone() {
    let dir = tempfile::tempdir().unwrap();
    let [main, mirror] = journal_in_two_folders(dir.path());
    std::fs::remove_dir_all(&main).unwrap();
    let error = repair(&main, &mirror, "now").unwrap_err();
    assert!(matches!(error, RepairError::Source { source: OpenError::OneOfTwo { .. }, .. }));
    drop(Open::quickly(accepted(&mirror)).unwrap());
    let repaired = repair(&main, &mirror, "now").unwrap();
    assert_eq!((repaired.last, repaired.aside), (Sequence(8), None));
    assert!(alone_path(&mirror).exists() && !alone_path(&main).exists());
    assert_eq!(Open::quickly(pair(dir.path())).unwrap().state, whole_state());
}

#[test]
fn a_folder_in_use_of_another_journal_or_the_same_is_not_repaired() {
    let dir = tempfile::tempdir().unwrap();
    let [main, mirror] = journal_in_two_folders(dir.path());
    let others = journal_in_two_folders(&dir.path().join("others"));
    let error = repair(&main, &others[0], "now").unwrap_err();
    assert!(matches!(error, RepairError::Folder(OpenError::OtherJournal { .. })), "{error}");
    for side in [&main, &mirror] {
        let mut open = Open::quickly(accepted(side)).unwrap();
        assert!(repair(&main, &mirror, "now").is_err(), "in use");
        open.append(&[if *side == main { 10 } else { 11 }]);
        open.synced();
    }
    let error = repair(&main, &mirror, "now").unwrap_err();
    assert!(matches!(error, RepairError::Folder(OpenError::Diverged { .. })), "{error}");
    let same = repair(&main, &main.join("../main"), "now").unwrap_err();
    assert!(matches!(same, RepairError::SameFolder { .. }), "{same}");
}

#[test]
fn what_names_and_marks_say_of_lost_records_refuses_a_repair() {
    // The damaged folder had a snapshot, or another segment, at a time when the other one's disk
    // was dead.
    for names_a_snapshot in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        let [main, mirror] = journal_in_two_folders(dir.path());
        let path = if names_a_snapshot { snapshot_path(&main, 9) } else { segment_path(&main, 10) };
        std::fs::write(path, "?").unwrap();
        let error = repair(&main, &mirror, "now").unwrap_err();
        assert!(matches!(error, RepairError::Loses { found: 9, last: 8, .. }), "{error}");
    }
    let dir = tempfile::tempdir().unwrap();
    let [main, mirror] = journal_in_two_folders(dir.path());
    std::fs::rename(id_path(&main), alone_path(&main)).unwrap();
    let newest = *crate::folder::list(&main).unwrap().segments.last().unwrap();
    harm(&segment_path(&main, newest), 100);
    let error = repair(&main, &mirror, "now").unwrap_err();
    assert!(matches!(error, RepairError::WentOn { .. }), "{error}");
    assert!(error.to_string().contains("--accept-one-journal-folder"), "{error}");
    assert!(!main.join("damaged-now").exists());
    // The operator vouches for it all the same.
    drop(Open::quickly(accepted(&mirror)).unwrap());
    assert_eq!(repair(&main, &mirror, "now").unwrap().last, Sequence(8));
}
