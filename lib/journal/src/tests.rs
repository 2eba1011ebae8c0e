//! Tests of the whole journal, and what they share: a fold to compare, a disk that fails on
//! command, and shortcuts to open and wait. One file for each guarantee.

mod crash;
mod flips;
mod folder;
mod format;
mod full;
mod hang;
mod mirror;
mod power;
mod removed;
mod repair;
mod room;
mod snapshots;
mod sync;
mod torn;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::disk::{Disk, DiskFile, RealDisk};
use crate::{
    AppendError, Durability, Fold, FoldError, Folders, Journal, OpenError, Options, Recovered,
    Sequence, open,
};

const SMALL: Options = Options { segment_bytes: 4096, timeout: DEADLINE };
/// No test waits longer than this for the journal's thread.
const DEADLINE: Duration = Duration::from_secs(30);

/// The distance between the crash states that are tried; all of them are tried at full size
/// (`HOWDAH_LONG=1`).
#[expect(clippy::disallowed_methods, reason = "a leaf crate can't ask the configuration's")]
fn stride(in_short: usize) -> usize {
    let is_long = std::env::var_os("HOWDAH_LONG").is_some_and(|value| value != "0");
    if is_long { 1 } else { in_short }
}

/// The simplest fold: all records.
#[derive(Debug, Default, PartialEq, Eq)]
struct All(Vec<Vec<u8>>);

impl Fold for All {
    fn restore(snapshot: Option<&[u8]>) -> Result<Self, FoldError> {
        let mut rest = snapshot.unwrap_or_default();
        let mut all = Vec::new();
        while let Some((len, more)) = rest.split_at_checked(4) {
            let len = u32::from_le_bytes(len.try_into().map_err(FoldError::new)?) as usize;
            let (record, more) =
                more.split_at_checked(len).ok_or_else(|| FoldError::new("cut off"))?;
            all.push(record.to_vec());
            rest = more;
        }
        Ok(Self(all))
    }

    fn apply(&mut self, record: &[u8]) -> Result<(), FoldError> {
        self.0.push(record.to_vec());
        Ok(())
    }

    fn snapshot(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for record in &self.0 {
            bytes.extend_from_slice(&u32::try_from(record.len()).unwrap().to_le_bytes());
            bytes.extend_from_slice(record);
        }
        bytes
    }
}

/// A record that differs from all others; every third one ends in many zeros.
fn record(number: u64, len: usize) -> Vec<u8> {
    let mut bytes: Vec<u8> =
        number.to_le_bytes().iter().copied().cycle().take(len).map(|byte| byte ^ 0x5a).collect();
    if number.is_multiple_of(3) {
        bytes[len.min(8)..].fill(0);
    }
    bytes
}

/// An open journal and the messages of its thread.
struct Open {
    journal: Journal,
    said: Receiver<Durability>,
    state: All,
}

impl Open {
    fn on(disk: Arc<dyn Disk>, folders: impl Into<Folders>) -> Result<Self, OpenError> {
        Self::with(disk, folders, SMALL)
    }

    fn with(
        disk: Arc<dyn Disk>,
        folders: impl Into<Folders>,
        options: Options,
    ) -> Result<Self, OpenError> {
        let (say, said) = channel();
        let on_durable = Box::new(move |word| drop(say.send(word)));
        let recovered: Recovered = open::open(disk, &folders.into(), options, on_durable)?;
        let (state, journal) = recovered.fold().unwrap();
        Ok(Self { journal, said, state })
    }

    fn really(dir: impl Into<Folders>) -> Result<Self, OpenError> {
        Self::on(Arc::new(RealDisk), dir)
    }

    /// Without real syncs, as a thousand of them would take long.
    fn quickly(dir: impl Into<Folders>) -> Result<Self, OpenError> {
        Self::on(JudgedDisk::new(|_, _| Verdict::Go), dir)
    }

    /// Appends and flushes one record of each of these lengths.
    fn append(&mut self, lens: &[usize]) {
        for &len in lens {
            self.append_one(len).unwrap();
        }
        self.journal.flush();
    }

    /// Appends one record, which waits for the next segment if need be.
    fn append_one(&mut self, len: usize) -> Result<Sequence, AppendError> {
        let number = self.journal.last().0 + 1;
        let (_nobody, patience) = channel::<()>();
        for _ in 0..DEADLINE.as_millis() {
            match self.journal.append(&record(number, len)) {
                Err(AppendError::NotYet) => {
                    self.journal.flush();
                    let _a_moment = patience.recv_timeout(Duration::from_millis(1));
                }
                done => return done,
            }
        }
        panic!("the next segment is neither there nor known to be impossible");
    }

    /// The next message about records.
    fn next_word(&self) -> Durability {
        loop {
            match self.said.recv_timeout(DEADLINE).expect("the journal says something in time") {
                Durability::RoomChanged => {}
                word => return word,
            }
        }
    }

    /// Waits until everything appended is on disk.
    fn synced(&self) {
        loop {
            match self.next_word() {
                Durability::Synced(sequence) if sequence == self.journal.last() => return,
                Durability::Synced(_) | Durability::RoomChanged => {}
                Durability::Failed(error) => panic!("{error}"),
            }
        }
    }
}

/// What a disk does with an operation.
enum Verdict {
    Go,
    /// The operation waits until the test releases it; other operations go on.
    GoAfter(Receiver<()>),
    Fail(io::ErrorKind),
    /// A write gets to the sector boundary in its middle, then fails.
    Tear,
}

type Judge = Box<dyn FnMut(&str, &Path) -> Verdict + Send>;

/// A disk whose operations ("reserve", "write", "sync", …) are judged before they are done. A sync
/// is only judged, as no power is lost here (except in `power`).
#[derive(Clone)]
struct JudgedDisk(Arc<Mutex<Judge>>);

impl JudgedDisk {
    fn new(judge: impl FnMut(&str, &Path) -> Verdict + Send + 'static) -> Arc<Self> {
        Arc::new(Self(Arc::new(Mutex::new(Box::new(judge)))))
    }

    fn judge(&self, operation: &str, path: &Path) -> io::Result<()> {
        let verdict = (self.0.lock().unwrap())(operation, path);
        match verdict {
            Verdict::Go => Ok(()),
            Verdict::GoAfter(word) => {
                let _or_gone = word.recv();
                Ok(())
            }
            Verdict::Fail(kind) => Err(kind.into()),
            Verdict::Tear => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }
}

impl Disk for JudgedDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.judge("create", path)?;
        Ok(Box::new(JudgedFile(self.clone(), path.to_owned(), RealDisk.create(path)?)))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.judge("open", path)?;
        Ok(Box::new(JudgedFile(self.clone(), path.to_owned(), RealDisk.open(path)?)))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.judge("rename", to)?;
        RealDisk.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.judge("remove", path)?;
        RealDisk.remove(path)
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        self.judge("sync folder", folder)
    }
}

struct JudgedFile(JudgedDisk, PathBuf, Box<dyn DiskFile>);

impl DiskFile for JudgedFile {
    fn reserve(&self, bytes: u64) -> io::Result<()> {
        self.0.judge("reserve", &self.1)?;
        self.2.reserve(bytes)
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        match self.0.judge("write", &self.1) {
            Err(torn) if torn.kind() == io::ErrorKind::BrokenPipe => {
                let middle = (offset + bytes.len() as u64 / 2).next_multiple_of(512);
                let len = usize::try_from(middle - offset).unwrap().min(bytes.len());
                self.2.write_all_at(&bytes[..len], offset)?;
                Err(torn)
            }
            judged => judged.and_then(|()| self.2.write_all_at(bytes, offset)),
        }
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        self.0.judge("set length", &self.1)?;
        self.2.set_len(bytes)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.judge("sync", &self.1)
    }
}

/// Whether the path's last part begins with `prefix`.
fn is_called(path: &Path, prefix: &str) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(prefix))
}

/// Two folders in `dir`.
fn pair(dir: &Path) -> Folders {
    Folders { main: dir.join("main"), mirror: Some(dir.join("mirror")), accepts_one: false }
}

/// Makes a journal with records of these lengths, and closes it.
fn journal_of(folders: impl Into<Folders>, lens: &[usize]) {
    let folders = folders.into();
    open::create(&*JudgedDisk::new(|_, _| Verdict::Go), &folders, SMALL).unwrap();
    let mut open = Open::quickly(&folders).unwrap();
    open.append(lens);
    open.synced();
}

/// A snapshot of everything up to `last`, as one of closed segments is written.
fn write_snapshot(dir: &Path, last: u64, body: &[u8]) {
    let image = crate::snapshot::encode(last, false, body);
    crate::claim::Claim::default().write(&RealDisk, dir, last, &image).unwrap();
}

/// The first `count` records, with these lengths repeated.
fn records(lens: &[usize], count: u64) -> Vec<Vec<u8>> {
    (1..=count).zip(lens.iter().cycle()).map(|(number, &len)| record(number, len)).collect()
}

/// The place of the flaw for which a start was refused.
fn flaw_of(result: Result<Open, OpenError>) -> (PathBuf, u64) {
    match result.map(|open| open.state) {
        Err(OpenError::Corrupt { file, offset, .. }) => (file, offset),
        other => panic!("not refused as corrupt: {other:?}"),
    }
}

fn last(open: &Open) -> Sequence {
    open.journal.last()
}
