//! What a folder must hold for a start: one whole journal in this format, which no other process
//! uses.

use std::os::unix::fs::PermissionsExt as _;

use super::*;
use crate::folder::{prepared_path, preparing_path, segment_path, snapshot_path};

#[test]
fn an_empty_folder_is_never_taken_for_a_new_cluster() {
    let dir = tempfile::tempdir().unwrap();
    for missing in [dir.path().to_owned(), dir.path().join("unmounted")] {
        let error = Open::really(&missing).err().unwrap();
        assert!(matches!(error, OpenError::Missing { .. }));
        let text = error.to_string();
        assert!(
            text.contains("--init") && text.contains("never taken for a new cluster"),
            "{text}"
        );
        assert!(crate::verify(&missing).is_err());
    }
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "nothing is left behind");
}

#[test]
fn a_journal_is_created_once() {
    let dir = tempfile::tempdir().unwrap();
    let inner = dir.path().join("a/b");
    Journal::create(&inner, SMALL).unwrap();
    assert!(matches!(Journal::create(&inner, SMALL), Err(OpenError::Exists { .. })));
    assert_eq!(Open::really(&inner).unwrap().state, All::default());
    assert!(matches!(Journal::create(&inner, SMALL), Err(OpenError::Exists { .. })));
}

#[test]
fn a_new_journals_folder_is_for_its_owner_alone() {
    let dir = tempfile::tempdir().unwrap();
    let inner = dir.path().join("journal");
    Journal::create(&inner, SMALL).unwrap();
    let mode = std::fs::metadata(&inner).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700, "{mode:o}");
}

#[test]
fn a_second_open_is_refused_until_the_first_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    journal_of(dir.path(), &[10]);
    let first = Open::really(dir.path()).unwrap();
    let error = Open::really(dir.path()).err().unwrap();
    assert!(matches!(error, OpenError::Locked { .. }));
    assert!(error.to_string().contains(&std::process::id().to_string()), "{error}");
    let snapshotter = first.journal.snapshotter();
    drop(first);
    assert!(matches!(Open::really(dir.path()).err(), Some(OpenError::Locked { .. })));
    drop(snapshotter);
    assert_eq!(Open::really(dir.path()).unwrap().state, All(records(&[10], 1)));
}

#[test]
fn a_missing_segment_is_refused() {
    let lens = [1500; 7];
    let dir = tempfile::tempdir().unwrap();
    journal_of(dir.path(), &lens);
    let listing = crate::folder::list(dir.path()).unwrap();
    assert_eq!(listing.segments, [1, 3, 5, 7]);
    let aside = dir.path().join("aside");
    for lost in [1, 3, 5] {
        std::fs::rename(segment_path(dir.path(), lost), &aside).unwrap();
        let (file, _) = flaw_of(Open::really(dir.path()));
        assert_eq!(file, segment_path(dir.path(), lost + 2));
        assert!(crate::verify(dir.path()).is_err());
        std::fs::rename(&aside, segment_path(dir.path(), lost)).unwrap();
    }
    assert_eq!(Open::really(dir.path()).unwrap().state, All(records(&lens, 7)));
}

#[test]
fn a_snapshot_without_segments_or_with_another_name_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    journal_of(dir.path(), &[1500; 5]);
    Open::really(dir.path()).unwrap().journal.snapshotter().run::<All>().unwrap();
    let (snapshot, renamed) = (snapshot_path(dir.path(), 4), snapshot_path(dir.path(), 2));
    std::fs::rename(&snapshot, &renamed).unwrap();
    assert_eq!(flaw_of(Open::really(dir.path())).0, segment_path(dir.path(), 5));
    std::fs::rename(&renamed, &snapshot).unwrap();
    std::fs::remove_file(segment_path(dir.path(), 5)).unwrap();
    assert_eq!(flaw_of(Open::really(dir.path())).0, snapshot);
}

#[test]
fn a_prepared_segment_is_used_by_the_next_process_and_a_partial_one_is_not() {
    let dir = tempfile::tempdir().unwrap();
    journal_of(dir.path(), &[100]);
    std::fs::write(preparing_path(dir.path()), [1; 100]).unwrap();
    for content in [vec![0; 4096], vec![1; 4096], vec![0; 8192]] {
        std::fs::write(prepared_path(dir.path()), content).unwrap();
        let mut open = Open::really(dir.path()).unwrap();
        open.append(&[2000, 2000]);
        open.synced();
    }
    assert_eq!(last(&Open::really(dir.path()).unwrap()), Sequence(7));
}

#[test]
fn other_files_are_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    journal_of(dir.path(), &[100]);
    let names = ["journal-1.log", "journal-0000000000000001.log.bak", "snapshot-zz.snap", "notes"];
    for name in names {
        std::fs::write(dir.path().join(name), "mine").unwrap();
    }
    drop(Open::really(dir.path()).unwrap());
    for name in names {
        assert_eq!(std::fs::read(dir.path().join(name)).unwrap(), b"mine", "{name}");
    }
}

#[test]
fn longer_segments_may_be_asked_for_at_any_start() {
    let dir = tempfile::tempdir().unwrap();
    Journal::create(dir.path(), SMALL).unwrap();
    let long = Options::with_segments(3 << 20);
    for (round, lens) in [vec![1 << 20], vec![100, 1 << 20, 1 << 20, 1 << 20]].iter().enumerate() {
        let (say, said) = channel();
        let on_durable = Box::new(move |word| drop(say.send(word)));
        let mut journal = Journal::open(dir.path(), long, on_durable).unwrap().journal;
        for &len in lens {
            while let Err(error) = journal.append(&vec![7; len]) {
                assert!(matches!(error, AppendError::NotYet), "{error}");
                journal.flush();
                said.recv_timeout(DEADLINE).unwrap();
            }
        }
        let error = journal.append(&vec![7; (1 << 20) + 1]).unwrap_err();
        assert!(matches!(error, AppendError::TooLong { limit: 1_048_576, .. }), "{error}");
        journal.flush();
        while !matches!(said.recv_timeout(DEADLINE).unwrap(), Durability::Synced(last) if last == journal.last())
        {
        }
        assert_eq!(
            journal.closed_segments() as usize,
            round * 2 - round,
            "the empty one is replaced"
        );
    }
    let open = Open::really(dir.path()).unwrap();
    assert_eq!(open.state.0.iter().map(Vec::len).sum::<usize>(), 4 * (1 << 20) + 100);
}
