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

/// How long a disk may take over one operation, by default: a disk that is merely slow, or fails
/// over to another path, takes less.
pub const TIMEOUT: Duration = Duration::from_secs(10);

/// Minimum length of a segment.
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
    /// How long a disk may take over one operation before it counts as hanging. Of two folders, one
    /// that takes this much longer than the other is abandoned as if it had failed
    /// ([`FolderNotice::Lost`]).
    pub timeout: Duration,
}

impl Options {
    /// Options with segments of that length, and [`TIMEOUT`].
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
/// A record is durable once it is synced in both folders, so each has all of it. If a folder fails
/// or hangs while a daemon runs, it is abandoned ([`FolderNotice::Lost`]), and the journal goes on
/// with the other one, which is marked as going on alone before anything more is acknowledged; from
/// then on that one suffices for a start, whatever became of the first. A start completes the
/// folder with fewer records, and fills one that is absent, empty or behind, before it reports any
/// record. It refuses a damaged folder, one of another journal, and records that differ. If only
/// one folder is there, it also refuses one that is known to be behind, or that is not marked as
/// going on alone: that folder can't tell whether the other one went on without it before it was
/// lost too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folders {
    /// The folder.
    pub main: PathBuf,
    /// The second one, on another disk.
    pub mirror: Option<PathBuf>,
    /// Whether a folder that needs the other one is started from without it: the operator vouches
    /// that it has everything that counts.
    pub accepts_one: bool,
}

impl Folders {
    /// Both folders, or the only one.
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

/// What a journal accepts, depending on the space on its disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// The next segment is ready or being prepared ([`Journal::takes_more`] tells which), and space
    /// for a snapshot was claimed before it.
    Ample,
    /// The disk has no space for another segment: the rest of the current one is a reserve for what
    /// makes space. A snapshot up to the last record frees what that has made superfluous
    /// ([`Snapshotter::run_to_the_last`]).
    Reserve,
    /// The reserve is used up, except for a quarter of the segment, so that the records that a
    /// start writes, and those already on their way, always find room.
    None,
}

/// What became of the records handed over by [`Journal::flush`].
#[derive(Debug)]
pub enum Durability {
    /// Everything up to this record is on disk.
    Synced(Sequence),
    /// The next segment is ready, or can't be prepared. Reported once each time that it was waited
    /// for.
    RoomChanged,
    /// Nothing more will become durable: the process must end. Reported once.
    Failed(JournalError),
}

/// Called on the journal's thread after each sync. Must not block for long: the next sync waits.
pub type OnDurable = Box<dyn FnMut(Durability) + Send>;

/// The writing end of a journal. Dropping it hands over no more than was flushed, waits for the
/// thread, however long its disk hangs, and frees the lock.
pub struct Journal {
    commands: Option<SyncSender<Command>>,
    thread: Option<JoinHandle<()>>,
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    mirror: Option<Mirror>,
    shared: Arc<Shared>,
    locks: Arc<Vec<Lock>>,
    /// Records appended but not yet handed over.
    batch: Batch,
    /// Sequence of the next record.
    next: u64,
    /// Where the next frame goes in its segment, and the segment's length. The thread follows
    /// later.
    used: u64,
    capacity: u64,
    segment_bytes: u64,
    /// Which segment that is, counted from the start of this process.
    ordinal: u64,
    /// Whether the batch was flushed but is still here, because too many wait for the thread.
    lags: bool,
    timeout: Duration,
}

impl Journal {
    /// Creates an empty journal, for `--init`, and its folder if need be. A second folder is filled
    /// by [`Self::open`].
    ///
    /// # Errors
    /// There is a journal already, in either folder, or the folder can't be written to.
    pub fn create(folders: impl Into<Folders>, options: Options) -> Result<(), OpenError> {
        open::create(&RealDisk, &folders.into(), options)
    }

    /// Takes the lock, reads everything back, repairs a torn tail, and starts the thread. Two
    /// folders are made to hold the same records. `on_durable` is called on that thread.
    ///
    /// # Errors
    /// See [`OpenError`]. Then no record was changed.
    pub fn open(
        folders: impl Into<Folders>,
        options: Options,
        on_durable: OnDurable,
    ) -> Result<Recovered, OpenError> {
        open::open(Arc::new(RealDisk), &folders.into(), options, on_durable)
    }

    /// Numbers `record` and puts it after the last one. It goes to disk after [`Self::flush`]. A
    /// record is accepted only into a segment that is completely prepared, so that it always finds
    /// its place, however far the disk lags behind.
    ///
    /// # Errors
    /// The record is too long, there is no room, or none yet, or the journal has failed. Then the
    /// record is not accepted.
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

    /// Whether there is certainly space for the records of one more input, and a reserve for what
    /// makes space: the next segment is ready, or half of the current one is left. If not, the next
    /// segment is being prepared, and [`Durability::RoomChanged`] follows. If it can't be prepared,
    /// this returns true, and [`Self::room`] says what may be appended.
    ///
    /// It also returns false if the thread is so far behind that [`Self::flush`] could not hand
    /// over everything. Then [`Durability::Synced`] follows, after which `flush` is to be called
    /// again.
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
        // The state may have changed between the two checks: then no message may come.
        self.shared.wish_for_word();
        known()
    }

    /// Hands everything appended to the thread, which writes it together with whatever else is
    /// queued by then, and syncs once. Does nothing if nothing was appended. Never waits: if too
    /// many batches are queued, as when the disk hangs, what was appended stays here
    /// ([`Self::takes_more`]) until this is called again.
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

    /// Queues the command, or returns it if too many are queued. A thread that has ended has
    /// reported its failure, so nothing more needs to be said.
    fn command(&self, command: Command) -> Option<Command> {
        match self.commands.as_ref()?.try_send(command) {
            Err(TrySendError::Full(command)) => Some(command),
            Ok(()) | Err(TrySendError::Disconnected(_)) => None,
        }
    }

    /// What may be appended now. [`Self::append`] does not enforce this: it accepts whatever fits.
    /// Asking makes the thread try again to prepare the next segment.
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

    /// Number of segments that the next snapshot would cover.
    #[must_use]
    pub fn closed_segments(&self) -> u32 {
        u32::try_from(self.shared.closed_segments()).unwrap_or(u32::MAX)
    }

    /// Length of the last snapshot in segments; 0 if there is none.
    #[must_use]
    pub fn segments_of_snapshot(&self) -> u32 {
        let segments = self.shared.snapshot_bytes().div_ceil(self.segment_bytes);
        u32::try_from(segments).unwrap_or(u32::MAX)
    }

    /// Number of folders that are written to: of two, one may have been lost.
    #[must_use]
    pub fn folders_live(&self) -> usize {
        self.mirror.as_ref().map_or(1, Mirror::folders_live)
    }

    /// The folders that are written to.
    #[must_use]
    pub fn places(&self) -> Vec<PathBuf> {
        self.disk.places(&self.dir)
    }

    /// The thread's progress, as a number that changes with each step of its work; `None` while it
    /// has nothing to do. If it does not change for longer than [`Self::patience`], all disks hang.
    #[must_use]
    pub fn at_work(&self) -> Option<u64> {
        self.shared.at_work()
    }

    /// How long a step may take: [`Options::timeout`], or one and a half times that while there are
    /// two folders, one of which may be abandoned meanwhile.
    #[must_use]
    pub fn patience(&self) -> Duration {
        if self.folders_live() == 2 { self.timeout * 3 / 2 } else { self.timeout }
    }

    /// What happened to the folders since the last call; to be logged. Cheap to call.
    #[must_use]
    pub fn take_notices(&self) -> Vec<FolderNotice> {
        self.mirror.as_ref().map(Mirror::take_notices).unwrap_or_default()
    }

    /// Number of syncs of records, for metrics and tests of the group commit.
    #[must_use]
    pub fn syncs(&self) -> u64 {
        self.shared.syncs()
    }

    /// Sequence of the last record appended; 0 before the first.
    #[must_use]
    pub fn last(&self) -> Sequence {
        Sequence(self.next - 1)
    }

    /// Makes snapshots, on another thread, while this journal goes on.
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
