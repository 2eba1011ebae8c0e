//! A disk that hangs: it neither does what it is told nor reports an error. With two folders, the
//! journal goes on with the other one; with one folder, nothing is acknowledged, and nothing blocks
//! except the journal's own thread.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;

use super::crash::LENS;
use super::mirror::{accepted, copy_folder, sides};
use super::*;
use crate::FolderNotice;
use crate::folder::alone_path;

/// Long enough for a busy machine, and short enough to wait for.
const TIMEOUT: Duration = Duration::from_secs(2);
const IMPATIENT: Options = Options { segment_bytes: 4096, timeout: TIMEOUT };

/// Makes folders hang, and releases them.
#[derive(Clone, Default)]
struct Hang {
    /// Once one operation of a folder hangs, all later ones there hang too.
    hanging: Arc<Mutex<Vec<PathBuf>>>,
    held: Arc<Mutex<Vec<Sender<()>>>>,
    is_over: Arc<AtomicBool>,
}

impl Hang {
    /// A disk on which folders hang from the first operation that matches `first`, once `is_armed`.
    fn disk(
        &self,
        folders: &[PathBuf],
        is_armed: &Arc<AtomicBool>,
        first: impl Fn(&str, &Path) -> bool + Send + 'static,
    ) -> Arc<JudgedDisk> {
        let (hang, folders, is_armed) = (self.clone(), folders.to_vec(), is_armed.clone());
        JudgedDisk::new(move |operation, path| {
            let Some(folder) = folders.iter().find(|folder| path.starts_with(folder)) else {
                return Verdict::Go;
            };
            let mut hanging = hang.hanging.lock().unwrap();
            if is_armed.load(Ordering::SeqCst) && first(operation, path) {
                hanging.push(folder.clone());
            }
            if !hanging.contains(folder) || hang.is_over.load(Ordering::SeqCst) {
                return Verdict::Go;
            }
            let (release, go_on) = channel();
            hang.held.lock().unwrap().push(release);
            Verdict::GoAfter(go_on)
        })
    }

    /// How many operations hang.
    fn held(&self) -> usize {
        self.held.lock().unwrap().len()
    }

    fn end(&self) {
        self.is_over.store(true, Ordering::SeqCst);
        self.held.lock().unwrap().clear();
    }
}

impl Drop for Hang {
    /// A test that fails must end as well.
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.end();
        }
    }
}

fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let (_nobody, patience) = channel::<()>();
    for _ in 0..DEADLINE.as_millis() {
        if is_so() {
            return;
        }
        let _a_moment = patience.recv_timeout(Duration::from_millis(1));
    }
    panic!("not in time: {what}");
}

/// Appends over several segments and makes a snapshot. Returns how many records were acknowledged.
fn goes_on(open: &mut Open) -> u64 {
    for round in 0..5 {
        for len in LENS {
            open.append_one(len).unwrap();
        }
        open.journal.flush();
        open.synced();
        if round == 3 {
            open.journal.snapshotter().run::<All>().unwrap();
        }
    }
    last(open).0
}

/// One of two folders hangs from that operation on.
fn one_hangs(side: usize, operation: &'static str, name: &'static str) {
    let at = format!("folder {side}, {operation} {name}");
    let dir = tempfile::tempdir().unwrap();
    let folders = pair(dir.path());
    Journal::create(&folders, SMALL).unwrap();
    drop(Open::quickly(&folders).unwrap());
    for side in sides(&folders) {
        let _there_once = std::fs::remove_file(crate::folder::prepared_path(&side));
    }
    let (dead, other) = (sides(&folders)[side].clone(), sides(&folders)[1 - side].clone());
    let (hang, is_armed) = (Hang::default(), Arc::new(AtomicBool::new(false)));
    let disk = hang.disk(std::slice::from_ref(&dead), &is_armed, move |done, path| {
        done == operation && (name.is_empty() || is_called(path, name))
    });
    let mut open = Open::with(disk, &folders, IMPATIENT).unwrap();
    is_armed.store(true, Ordering::SeqCst);
    let acknowledged = goes_on(&mut open);
    assert!(hang.held() > 0, "{at}: nothing hung");
    assert_eq!(open.journal.folders_live(), 1, "{at}");
    let [FolderNotice::Lost { dir: lost, cause, .. }] = &*open.journal.take_notices() else {
        panic!("{at}: not said");
    };
    assert_eq!(lost, &dead, "{at}");
    assert!(cause.to_string().contains("its disk hangs: no answer for 2s"), "{at}: {cause}");
    assert!(alone_path(&other).exists(), "{at}");
    drop(open);
    let error = Open::really(Folders::from(&dead)).err().unwrap();
    assert!(matches!(error, OpenError::Locked { .. }), "{at}: writes may still come: {error}");
    let copy = tempfile::tempdir().unwrap();
    copy_folder(&other, copy.path());
    let state = Open::quickly(copy.path()).unwrap().state;
    assert_eq!(state, All(records(&LENS, acknowledged)), "{at}");
    let copy = tempfile::tempdir().unwrap();
    copy_folder(&dead, copy.path());
    let error = Open::quickly(copy.path()).err().unwrap();
    assert!(
        matches!(error, OpenError::OneOfTwo { .. } | OpenError::Behind { .. }),
        "{at}: {error}"
    );
    hang.end();
    // The start waits for the lock: by then, what hung is done, and changes nothing.
    let open = Open::quickly(&folders).unwrap();
    assert_eq!((open.journal.folders_live(), last(&open).0), (2, acknowledged), "{at}");
    drop(open);
    for side in sides(&folders) {
        let open = Open::quickly(accepted(&side)).unwrap();
        assert_eq!(last(&open).0, acknowledged, "{at}");
    }
}

#[test]
fn a_folder_whose_disk_hangs_in_any_operation_is_left_and_stops_nothing() {
    let operations = [
        ("write", "journal-"),
        ("sync", "journal-"),
        ("create", "prepared.tmp"),
        ("reserve", "prepared.tmp"),
        ("write", "prepared.tmp"),
        ("sync", "prepared.tmp"),
        ("rename", "prepared.log"),
        ("rename", "journal-"),
        ("sync folder", ""),
        ("create", "snapshot.tmp"),
        ("reserve", "snapshot.tmp"),
        ("open", "snapshot.tmp"),
        ("set length", "snapshot.tmp"),
        ("write", "snapshot.tmp"),
        ("sync", "snapshot.tmp"),
        ("rename", "snapshot-"),
        ("remove", "journal-"),
    ];
    std::thread::scope(|scope| {
        for (operation, name) in operations {
            for side in [0, 1] {
                scope.spawn(move || one_hangs(side, operation, name));
            }
        }
    });
}

#[test]
fn while_both_folders_hang_nothing_is_told_and_when_they_answer_all_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let folders = pair(dir.path());
    journal_of(&folders, &[1]);
    let (hang, is_armed) = (Hang::default(), Arc::new(AtomicBool::new(false)));
    let is_sync = |done: &str, path: &Path| done == "sync" && is_called(path, "journal-");
    let disk = hang.disk(&sides(&folders), &is_armed, is_sync);
    let options = Options { timeout: Duration::from_millis(200), ..SMALL };
    // Long enough for everything that comes before.
    let mut open = Open::with(disk, &folders, Options { timeout: DEADLINE, ..options }).unwrap();
    wait_until("idle", || open.journal.at_work().is_none());
    is_armed.store(true, Ordering::SeqCst);
    open.append(&[10]);
    wait_until("both hang", || hang.held() == 2);
    let step = open.journal.at_work();
    assert!(step.is_some(), "it shows");
    assert!(open.said.recv_timeout(options.timeout).is_err(), "told, with neither disk synced");
    assert_eq!((open.journal.at_work(), open.journal.folders_live()), (step, 2));
    hang.end();
    open.synced();
    wait_until("idle", || open.journal.at_work().is_none());
    assert_eq!(open.journal.folders_live(), 2);
}

#[test]
fn a_disk_that_hangs_holds_up_nobody_who_appends_and_nothing_flushed_is_lost() {
    const BATCHES: usize = 2000;
    let dir = tempfile::tempdir().unwrap();
    let large = Options { segment_bytes: 4 << 20, ..SMALL };
    Journal::create(dir.path(), large).unwrap();
    let (hang, is_armed) = (Hang::default(), Arc::new(AtomicBool::new(false)));
    let is_sync = |done: &str, path: &Path| done == "sync" && is_called(path, "journal-");
    let disk = hang.disk(&[dir.path().to_owned()], &is_armed, is_sync);
    let mut open = Open::with(disk, dir.path(), large).unwrap();
    wait_until("the next segment", || open.journal.at_work().is_none());
    is_armed.store(true, Ordering::SeqCst);
    open.append(&[10]);
    wait_until("it hangs", || hang.held() == 1);
    let (appended, done) = channel();
    let appending = std::thread::spawn(move || {
        let mut refused = 0;
        for _ in 0..BATCHES {
            refused += usize::from(!open.journal.takes_more());
            open.append(&[10]);
        }
        appended.send((open, refused)).unwrap();
    });
    let Ok((mut open, refused)) = done.recv_timeout(DEADLINE) else {
        panic!("who appends is held up by a disk that hangs")
    };
    appending.join().unwrap();
    assert!(refused > BATCHES / 2 && refused < BATCHES, "asked to wait {refused} times");
    assert!(open.said.try_recv().is_err(), "told, and nothing is synced");
    hang.end();
    while let Durability::Synced(sequence) = open.next_word() {
        // What was kept back is handed over now.
        open.journal.flush();
        if sequence == open.journal.last() {
            break;
        }
    }
    assert!(open.journal.takes_more());
    // Batches that are flushed before the journal is dropped are all written.
    for _ in 0..BATCHES {
        open.append(&[10]);
    }
    let all = last(&open).0;
    drop(open);
    assert_eq!(last(&Open::with(Arc::new(RealDisk), dir.path(), large).unwrap()).0, all);
}

#[test]
#[expect(clippy::disallowed_methods, reason = "the folder is slow, on purpose")]
fn a_slow_folder_that_answers_in_time_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let folders = pair(dir.path());
    journal_of(&folders, &[1]);
    let slow = sides(&folders)[1].clone();
    let disk = JudgedDisk::new(move |operation, path| {
        if operation == "sync" && path.starts_with(&slow) {
            // Nothing is sent: the wait ends when this thread drops the sender.
            let (release, go_on) = channel();
            std::thread::spawn(move || {
                std::thread::park_timeout(Duration::from_millis(150));
                drop(release);
            });
            return Verdict::GoAfter(go_on);
        }
        Verdict::Go
    });
    let mut open = Open::on(disk, &folders).unwrap();
    open.append(&[10, 20]);
    open.synced();
    assert_eq!(open.journal.folders_live(), 2);
}
