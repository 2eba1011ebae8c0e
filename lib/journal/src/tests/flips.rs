//! A single flipped bit anywhere in a small journal: the start is refused with file and offset, and
//! never returns other records than were written.

use super::mirror::open_alone;
use super::*;
use crate::folder::{segment_path, snapshot_path};
use crate::{recover, snapshot};

/// Two segments; the newest ends in a record whose last sector is zero except for the end mark.
const LENS: [usize; 6] = [1500, 1200, 600, 700, 9, 1014];
/// The same, but its last frame ends at a sector boundary.
const LENS_OF_SECTORS: [usize; 6] = [1500, 1200, 600, 700, 9, 1264];

fn journal_with_two_segments(dir: &Path, lens: &[usize]) -> u64 {
    journal_of(dir, lens);
    let listing = crate::folder::list(dir).unwrap();
    assert_eq!(listing.segments.len(), 2, "{listing:?}");
    listing.segments[1]
}

/// Flips each bit of the file in turn; `read` must report a flaw in that very file. It returns how
/// many bytes count: behind them, where nothing was written, a flip does no harm.
fn every_flip(path: &Path, read: impl Fn(Vec<u8>) -> Result<usize, OpenError>) {
    let image = std::fs::read(path).unwrap();
    let counting = read(image.clone()).expect("the file is whole before it is harmed");
    for bit in 0..image.len() * 8 {
        let mut harmed = image.clone();
        harmed[bit / 8] ^= 1 << (bit % 8);
        match read(harmed) {
            Ok(still) if still == counting && bit / 8 >= counting => {}
            Err(OpenError::Corrupt { file, offset, .. }) => {
                assert_eq!(file, path);
                assert!(offset <= (bit / 8) as u64, "bit {bit} of {}: {offset}", path.display());
            }
            other => panic!("bit {bit} of {}: {other:?}", path.display()),
        }
    }
}

#[test]
fn every_flipped_bit_of_a_segment_is_found_and_located() {
    for lens in [LENS, LENS_OF_SECTORS] {
        let dir = tempfile::tempdir().unwrap();
        let newest = journal_with_two_segments(dir.path(), &lens);
        for (first, is_newest) in [(1, false), (newest, true)] {
            let path = segment_path(dir.path(), first);
            every_flip(&path, |image| {
                recover::check_segment(image, &path, first, is_newest).map(|segment| segment.end)
            });
        }
    }
}

#[test]
fn every_flipped_bit_of_a_snapshot_is_found_and_located() {
    let dir = tempfile::tempdir().unwrap();
    write_snapshot(dir.path(), 5, &record(2, 700));
    let path = snapshot_path(dir.path(), 5);
    every_flip(&path, |image| snapshot::decode(&image, &path, 5).map(|_| image.len()));
}

#[test]
fn a_snapshot_cut_off_anywhere_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    write_snapshot(dir.path(), 5, &vec![7; (2 << 20) + 5]);
    let path = snapshot_path(dir.path(), 5);
    let image = std::fs::read(&path).unwrap();
    assert_eq!(snapshot::decode(&image, &path, 5).unwrap().len(), (2 << 20) + 5);
    for len in (0..image.len()).step_by(4099).chain(image.len() - 50..image.len()) {
        assert!(snapshot::decode(&image[..len], &path, 5).is_err(), "{len} bytes");
    }
}

#[test]
fn a_refused_start_changes_nothing_and_says_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let newest = journal_with_two_segments(dir.path(), &LENS);
    let path = segment_path(dir.path(), newest);
    let image = std::fs::read(&path).unwrap();
    let written = image.iter().rposition(|&byte| byte != 0).unwrap();
    for bit in (0..written * 8).step_by(509) {
        let mut harmed = image.clone();
        harmed[bit / 8] ^= 1 << (bit % 8);
        std::fs::write(&path, &harmed).unwrap();
        let error =
            Open::really(dir.path()).err().expect("a harmed journal is refused").to_string();
        assert!(error.contains(&path.display().to_string()), "{error}");
        assert!(error.contains("byte") && error.contains("Put a copy"), "{error}");
        assert!(crate::verify(dir.path()).is_err());
        assert_eq!(std::fs::read(&path).unwrap(), harmed);
    }
    std::fs::write(&path, &image).unwrap();
    assert_eq!(Open::really(dir.path()).unwrap().state, All(records(&LENS, 6)));
}

/// A flip anywhere in a folder, tested by a start: from this folder alone, and from both while the
/// other one is whole.
#[test]
fn every_flipped_bit_of_a_whole_folder_is_refused_by_its_start_or_does_no_harm() {
    let lens = [1500, 1200, 600, 700, 9, 1014, 1200, 900];
    let dir = tempfile::tempdir().unwrap();
    let folders = pair(dir.path());
    journal_of(&folders, &lens[..6]);
    let mut open = Open::quickly(&folders).unwrap();
    open.journal.snapshotter().run::<All>().unwrap();
    open.append(&lens[6..]);
    open.synced();
    drop(open);
    let (main, all) = (folders.main.clone(), All(records(&lens, 8)));
    let listing = crate::folder::list(&main).unwrap();
    let segments = listing.segments.iter().map(|&first| segment_path(&main, first));
    let snapshots = listing.snapshots.iter().map(|&last| snapshot_path(&main, last));
    let files: Vec<PathBuf> =
        segments.chain(snapshots).chain([crate::folder::id_path(&main)]).collect();
    assert_eq!(files.len(), 4, "two segments, a snapshot, the id: {files:?}");
    for path in files {
        let image = std::fs::read(&path).unwrap();
        let is_id = path == crate::folder::id_path(&main);
        for bit in (0..image.len() * 8).step_by(stride(101)) {
            let mut harmed = image.clone();
            harmed[bit / 8] ^= 1 << (bit % 8);
            let at = format!("bit {bit} of {}", path.display());
            std::fs::write(&path, &harmed).unwrap();
            match open_alone(&main) {
                Ok(open) => assert_eq!(open.state, all, "{at}"),
                Err(OpenError::Corrupt { file, offset, .. }) => {
                    assert_eq!(file, path, "{at}");
                    assert!(offset <= (bit / 8) as u64, "{at}: {offset}");
                }
                Err(error) => panic!("{at}: {error}"),
            }
            std::fs::write(&path, &harmed).unwrap();
            match Open::quickly(&folders) {
                Ok(open) => assert_eq!(open.state, all, "{at}"),
                Err(OpenError::Damaged { dir, .. }) => assert_eq!(dir, main, "{at}"),
                Err(OpenError::OtherJournal { .. }) => assert!(is_id, "{at}"),
                Err(error) => panic!("{at}: {error}"),
            }
            std::fs::write(&path, &image).unwrap();
        }
    }
}
