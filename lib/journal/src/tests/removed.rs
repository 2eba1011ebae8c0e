//! Folders that somebody removes while they are in use.

use std::fs;

use super::mirror::{notices, sides};
use super::*;

#[test]
fn a_removed_folder_is_lost_and_the_other_one_has_everything() {
    for gone in [0, 1] {
        let dir = tempfile::tempdir().unwrap();
        let folders = pair(dir.path());
        journal_of(&folders, &[100]);
        let mut open = Open::really(&folders).unwrap();
        let sides = sides(&folders);
        fs::remove_dir_all(&sides[gone]).unwrap();
        open.append(&[200; 3]);
        open.synced();
        assert_eq!((notices(&open), open.journal.folders_live()), (vec!["lost"], 1), "{gone}");
        drop(open);
        let open = Open::really(&folders).unwrap();
        assert_eq!((notices(&open), last(&open)), (vec!["filled"], Sequence(4)), "{gone}");
    }
}

#[test]
fn nothing_is_acknowledged_in_the_only_folder_once_it_was_removed() {
    let dir = tempfile::tempdir().unwrap();
    let folders = Folders::from(&dir.path().join("main"));
    journal_of(&folders, &[100]);
    let mut open = Open::really(&folders).unwrap();
    fs::remove_dir_all(&folders.main).unwrap();
    open.append(&[200]);
    let Durability::Failed(error) = open.next_word() else { panic!("it was acknowledged") };
    let error = error.to_string();
    assert!(error.contains("removed while this process writes into it"), "{error}");
}
