//! A durable log of framed records with snapshots: bytes in, bytes out. What the records mean is the
//! caller's business (`event_loop`, and the masters through it). No async here, no clock; one thread
//! per journal owns its files.
//!
//! A folder holds segments `journal-<first sequence>.log`, the newest `snapshot-<last sequence>.snap`
//! (both in 16 hex digits), a segment prepared in advance, space claimed for the next snapshot, and `LOCK`.
//!
//! A journal may be kept in two folders at once, on two disks, of which one may be lost: see [`Folders`].

mod claim;
mod disk;
mod disk_threads;
mod error;
mod folder;
mod frame;
mod marks;
mod mirror;
mod open;
mod recover;
mod repair;
mod reunite;
mod segment;
mod shared;
mod snapshot;
#[cfg(test)]
mod tests;
mod thread;
mod verify;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, TrySendError};
use std::thread::JoinHandle;
use std::time::Duration;

pub use error::{
    AppendError, FileError, Flaw, FoldError, JournalError, OpenError, OtherFolder, SnapshotError,
};
pub use frame::RECORD_BYTES_MAX;
pub use mirror::FolderNotice;
pub use open::Recovered;
pub use repair::{RepairError, Repaired, repair, verify_both};
pub use snapshot::{Fold, Snapshotter};
pub use verify::{Report, Torn, dump, latest_snapshot, verify};

use disk::{Disk, RealDisk};
use folder::Lock;
use mirror::Mirror;
use segment::SEGMENT_HEADER_BYTES;
use shared::Shared;
use thread::{Batch, Command, Part};

/// Version of the files' format.
pub const FORMAT_VERSION: u32 = 1;

/// How long a disk may take over one operation, where nobody says: a disk that is slow, or fails over to another path,
/// takes less.
pub const TIMEOUT: Duration = Duration::from_secs(10);

/// No segment is shorter.
const SEGMENT_BYTES_MIN: u64 = 4096;

/// Number of a record, from 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sequence(pub u64);

impl fmt::Display for Sequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How a journal is kept.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Length of new segments, rounded up to whole pages. A record must fit into one.
    pub segment_bytes: u64,
    /// How long a disk may take over one operation before it counts as one that hangs. Of two folders, the one that
    /// takes so much longer than the other is left, as if it had failed ([`FolderNotice::Lost`]).
    pub timeout: Duration,
}

impl Options {
    /// With segments of that length, and [`TIMEOUT`].
    #[must_use]
    pub const fn with_segments(segment_bytes: u64) -> Self {
        Self { segment_bytes, timeout: TIMEOUT }
    }

    fn effective_bytes(self) -> u64 {
        self.segment_bytes.max(SEGMENT_BYTES_MIN).next_multiple_of(SEGMENT_BYTES_MIN)
    }
}

/// Where a journal is kept: in one folder, or in two at once.
///
/// Every record is synced in both before it is durable, so either has all of it. While a daemon runs, a folder
/// that fails or hangs is left ([`FolderNotice::Lost`]), and the journal goes on with the other one, which is marked as
/// going on alone before anybody is told of more; that one suffices for the next starts, whatever became of the first.
/// At a start the folder with fewer records is completed, and one that is absent, empty or behind is filled, before
/// anybody is told of a record. Refused are: a damaged folder, one of another journal, records that differ, and
/// where only one folder is there, one that is known to be behind, or that did not go on alone: whether the other
/// one did, before it was lost as well, this one can't tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folders {
    /// The folder.
    pub main: PathBuf,
    /// The second one, on another disk.
    pub mirror: Option<PathBuf>,
    /// One that needs the other one is started from without it: somebody says that it has all that counts.
    pub accepts_one: bool,
}

impl Folders {
    /// Both, or the only one.
    pub fn iter(&self) -> impl Iterator<Item = &Path> {
        std::iter::once(&*self.main).chain(self.mirror.as_deref())
    }
}

impl From<&Path> for Folders {
    fn from(main: &Path) -> Self {
        Self { main: main.to_owned(), mirror: None, accepts_one: false }
    }
}

impl From<&PathBuf> for Folders {
    fn from(main: &PathBuf) -> Self {
        Self::from(&**main)
    }
}

impl From<&Self> for Folders {
    fn from(folders: &Self) -> Self {
        folders.clone()
    }
}

/// What a journal takes, for want of space or without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// The segment after this one is there, or being prepared ([`Journal::takes_more`] tells these apart), and space for a
    /// snapshot was there before it.
    Ample,
    /// The disk has no space for another: the rest of this segment is a reserve, for what makes space. A snapshot to the
    /// last record gives back what that made superfluous ([`Snapshotter::run_to_the_last`]).
    Reserve,
    /// The reserve is used up, but for a quarter of the segment: what a start writes, and what was on its
    /// way, must never be without room.
    None,
}

/// What became of the records handed over by [`Journal::flush`].
#[derive(Debug)]
pub enum Durability {
    /// Everything up to this record is on disk.
    Synced(Sequence),
    /// The next segment is there, or can't be: said once for each time that it was waited for.
    RoomChanged,
    /// Nothing more will be: the process must end. Reported once.
    Failed(JournalError),
}

/// Called on the journal's thread after each sync. Must not block for long: the next sync waits.
pub type OnDurable = Box<dyn FnMut(Durability) + Send>;

/// The writing end of a journal. Dropping it hands over no more than was flushed, waits for the thread, however long
/// its disk hangs, and frees the lock.
pub struct Journal {
    commands: Option<SyncSender<Command>>,
    thread: Option<JoinHandle<()>>,
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    mirror: Option<Mirror>,
    shared: Arc<Shared>,
    locks: Arc<Vec<Lock>>,
    /// Appended, not yet handed over.
    batch: Batch,
    /// Sequence of the next record.
    next: u64,
    /// Where the next frame goes in its segment, and that segment's length. The thread follows.
    used: u64,
    capacity: u64,
    segment_bytes: u64,
    /// Which segment that is, counted from the start of this process.
    ordinal: u64,
    /// The batch has been flushed, and so many wait for the thread that it is still here.
    lags: bool,
    timeout: Duration,
}

impl Journal {
    /// Makes an empty journal: what `--init` does. The folder is created if need be; a second one is
    /// filled by [`Self::open`].
    ///
    /// # Errors
    /// A journal is there already, in either folder, or the folder cannot be written.
    pub fn create(folders: impl Into<Folders>, options: Options) -> Result<(), OpenError> {
        open::create(&RealDisk, &folders.into(), options)
    }

    /// Takes the lock, reads everything back, repairs a torn tail, and starts the thread; of two folders,
    /// both come to hold the same. `on_durable` is called on that thread.
    ///
    /// # Errors
    /// See [`OpenError`]. No record has been changed then.
    pub fn open(
        folders: impl Into<Folders>,
        options: Options,
        on_durable: OnDurable,
    ) -> Result<Recovered, OpenError> {
        open::open(Arc::new(RealDisk), &folders.into(), options, on_durable)
    }

    /// Numbers `record` and puts it behind the last one. It goes to disk after [`Self::flush`]. A record is
    /// only taken into a segment that is wholly there, so that what was taken always finds its place,
    /// however far the disk lags behind.
    ///
    /// # Errors
    /// The record is too long, or there is no room, or none yet, or the journal has failed. It is not taken
    /// then.
    pub fn append(&mut self, record: &[u8]) -> Result<Sequence, AppendError> {
        let limit = self.record_bytes_max();
        if record.len() > limit {
            return Err(AppendError::TooLong { bytes: record.len(), limit });
        }
        if self.shared.failed() {
            return Err(AppendError::Failed);
        }
        let framed = frame::framed_bytes(record.len()) as u64;
        let mark = if self.batch.parts.is_empty() { frame::MARK_BYTES as u64 } else { 0 };
        if self.used + mark + framed > self.capacity {
            self.roll()?;
        } else if self.batch.parts.is_empty() {
            self.used += mark;
            self.batch.parts.push(Part::new(None));
        }
        let part =
            self.batch.parts.last_mut().expect("a part has just been made where there was none");
        frame::encode(&mut part.frames, self.next, record);
        self.used += framed;
        self.batch.last = self.next;
        self.next += 1;
        Ok(Sequence(self.batch.last))
    }

    fn record_bytes_max(&self) -> usize {
        let fits = usize::try_from(self.segment_bytes).unwrap_or(usize::MAX);
        RECORD_BYTES_MAX
            .min(fits - SEGMENT_HEADER_BYTES - frame::MARK_BYTES - frame::OVERHEAD_BYTES_MAX)
    }

    fn roll(&mut self) -> Result<(), AppendError> {
        if !self.shared.is_prepared(self.ordinal + 1) {
            return Err(self.no_place());
        }
        self.ordinal += 1;
        self.used = (SEGMENT_HEADER_BYTES + frame::MARK_BYTES) as u64;
        self.capacity = self.segment_bytes;
        self.batch.parts.push(Part::new(Some(self.next)));
        Ok(())
    }

    fn no_place(&self) -> AppendError {
        if self.shared.is_unpreparable() {
            return AppendError::NoRoom;
        }
        self.shared.wish_for_word();
        AppendError::NotYet
    }

    /// Whether there is space enough, come what may, for what one more input leads to, and a reserve for
    /// what makes space: the next segment is there, or half of this one is left. Where this says no, the next
    /// segment is being prepared, and [`Durability::RoomChanged`] follows. Where it can't be prepared,
    /// [`Self::room`] says what may be appended, and this says yes.
    ///
    /// Where the thread is so far behind that [`Self::flush`] could not hand over everything, this says no as well;
    /// [`Durability::Synced`] follows then, after which `flush` is to be called again.
    #[must_use]
    pub fn takes_more(&self) -> bool {
        if self.lags {
            return false;
        }
        let known = || self.shared.is_prepared(self.ordinal + 1) || self.shared.is_unpreparable();
        let half_is_left = self.capacity.saturating_sub(self.used) > self.capacity / 2;
        if half_is_left || known() {
            return true;
        }
        // The answer may have come between the two looks: then there may be no word any more.
        self.shared.wish_for_word();
        known()
    }

    /// Hands everything appended to the thread, which writes it, with whatever else is queued by then,
    /// and syncs once. Does nothing where nothing was appended. Never waits: while too many batches are queued, as
    /// when the disk hangs, what was appended stays here ([`Self::takes_more`]), until this is called again.
    pub fn flush(&mut self) {
        if self.batch.parts.is_empty() {
            return;
        }
        let batch = std::mem::take(&mut self.batch);
        let refused = self.command(Command::Write(batch));
        self.lags = refused.is_some();
        if let Some(Command::Write(batch)) = refused {
            self.batch = batch;
        }
    }

    /// Returns the command if too many are queued. A thread that has ended has reported its failure: there is nobody
    /// left to tell.
    fn command(&self, command: Command) -> Option<Command> {
        match self.commands.as_ref()?.try_send(command) {
            Err(TrySendError::Full(command)) => Some(command),
            Ok(()) | Err(TrySendError::Disconnected(_)) => None,
        }
    }

    /// What may be appended now. Nothing keeps [`Self::append`] from taking what else fits; asking makes the
    /// thread try again to prepare the next segment.
    #[must_use]
    pub fn room(&self) -> Room {
        if self.shared.is_prepared(self.ordinal + 1) || !self.shared.is_unpreparable() {
            return Room::Ample;
        }
        if self.shared.ask_retry() && self.command(Command::Prepare).is_some() {
            self.shared.take_back_retry();
        }
        let left = self.capacity.saturating_sub(self.used);
        if left > self.capacity / 4 { Room::Reserve } else { Room::None }
    }

    /// How many segments the next snapshot would cover.
    #[must_use]
    pub fn closed_segments(&self) -> u32 {
        u32::try_from(self.shared.closed_segments()).unwrap_or(u32::MAX)
    }

    /// How many segments are as long as the last snapshot; 0 where there is none.
    #[must_use]
    pub fn segments_of_snapshot(&self) -> u32 {
        let segments = self.shared.snapshot_bytes().div_ceil(self.segment_bytes);
        u32::try_from(segments).unwrap_or(u32::MAX)
    }

    /// How many folders take what is written: of two, one may have been lost.
    #[must_use]
    pub fn folders_live(&self) -> usize {
        self.mirror.as_ref().map_or(1, Mirror::folders_live)
    }

    /// The folders that take what is written.
    #[must_use]
    pub fn places(&self) -> Vec<PathBuf> {
        self.disk.places(&self.dir)
    }

    /// At which step of its work the thread is, as a number that changes with each; none while it has nothing to do.
    /// Where it stays the same for longer than [`Self::patience`], all disks hang that there are.
    #[must_use]
    pub fn at_work(&self) -> Option<u64> {
        self.shared.at_work()
    }

    /// How long a step may take: [`Options::timeout`], and half as long again while there are two folders, of which one
    /// is left meanwhile.
    #[must_use]
    pub fn patience(&self) -> Duration {
        if self.folders_live() == 2 { self.timeout * 3 / 2 } else { self.timeout }
    }

    /// What became of the folders since this was last asked: to be said in the log. Cheap to ask.
    #[must_use]
    pub fn take_notices(&self) -> Vec<FolderNotice> {
        self.mirror.as_ref().map(Mirror::take_notices).unwrap_or_default()
    }

    /// How often records were synced, for metrics and tests of the group commit.
    #[must_use]
    pub fn syncs(&self) -> u64 {
        self.shared.syncs()
    }

    /// Sequence of the last record appended; 0 before the first.
    #[must_use]
    pub fn last(&self) -> Sequence {
        Sequence(self.next - 1)
    }

    /// What makes a snapshot, on another thread, while this goes on.
    #[must_use]
    pub fn snapshotter(&self) -> Snapshotter {
        Snapshotter {
            disk: self.disk.clone(),
            dir: self.dir.clone(),
            shared: self.shared.clone(),
            _locks: self.locks.clone(),
        }
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        let commands = self.commands.take();
        if let Some(commands) = commands.filter(|_| self.lags) {
            let batch = std::mem::take(&mut self.batch);
            let _ended = commands.send(Command::Write(batch));
        }
        if let Some(thread) = self.thread.take() {
            let _panicked = thread.join();
        }
    }
}
