//! The thread that owns the files: it writes and syncs what the handle hands over, closes full
//! segments, and prepares the next one between batches. It never retries a failed write or sync.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError};

use crate::disk::Disk;
use crate::error::{FileError, JournalError};
use crate::segment::{self, Active, Filled, Filling, Prepared};
use crate::shared::Shared;
use crate::{Durability, OnDurable, Sequence, frame};

/// A request of the handle.
pub(crate) enum Command {
    Write(Batch),
    /// Try again to prepare the next segment.
    Prepare,
}

/// Records on their way to the disk, as frames.
#[derive(Default)]
pub(crate) struct Batch {
    pub(crate) parts: Vec<Part>,
    /// The last record in it.
    pub(crate) last: u64,
}

/// Frames that go into a single segment.
pub(crate) struct Part {
    /// If they begin a new segment, its first record.
    pub(crate) roll_to: Option<u64>,
    /// Begins with room for the mark, which is written with the frames.
    pub(crate) frames: Vec<u8>,
}

impl Part {
    pub(crate) fn new(roll_to: Option<u64>) -> Self {
        Self { roll_to, frames: vec![0; frame::MARK_BYTES] }
    }
}

/// What the thread does next.
enum Turn {
    Command(Command),
    /// No command yet, but a segment is being filled.
    Idle,
    /// The handle is gone.
    Over,
}

/// The next segment.
enum Next {
    /// Its preparation failed; the handle says when to try again.
    Missing,
    Filling(Filling),
    Ready(Prepared),
}

/// The thread's state.
pub(crate) struct Writer {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    shared: Arc<Shared>,
    segment_bytes: u64,
    active: Active,
    /// The number of the active segment, counted from the start of this process.
    ordinal: u64,
    next: Next,
    /// The last record that is certainly on disk.
    synced: u64,
    /// Whether the next segment has become ready or unpreparable since that was last reported.
    has_news: bool,
}

impl Writer {
    pub(crate) fn new(
        (disk, dir): (Arc<dyn Disk>, PathBuf),
        shared: Arc<Shared>,
        segment_bytes: u64,
        active: Active,
        synced: u64,
    ) -> Self {
        let leftover = Prepared::leftover(&*disk, &dir, segment_bytes);
        let (ordinal, next) = (0, Next::Missing);
        let has_news = false;
        let mut writer =
            Self { disk, dir, shared, segment_bytes, active, ordinal, next, synced, has_news };
        match leftover {
            Some(prepared) => {
                let _next_segment_waits_for_it = writer.hold_claim();
                writer.ready(prepared);
            }
            None => writer.start_filling(),
        }
        writer
    }

    /// Works until the handle is gone or a write fails.
    pub(crate) fn run(mut self, commands: &Receiver<Command>, mut on_durable: OnDurable) {
        loop {
            let turn = self.next_turn(commands);
            self.shared.turn_to();
            match turn {
                Turn::Over => break,
                Turn::Idle => self.fill_on(),
                Turn::Command(Command::Prepare) => self.retry_filling(),
                Turn::Command(Command::Write(batch)) => match self.commit(batch, commands) {
                    Ok(last) => on_durable(Durability::Synced(Sequence(last))),
                    Err(error) => {
                        self.shared.set_failed();
                        on_durable(Durability::Failed(JournalError(error)));
                        return;
                    }
                },
            }
            if std::mem::take(&mut self.has_news) && self.shared.take_wish() {
                on_durable(Durability::RoomChanged);
            }
            self.shared.turn_to();
        }
        if matches!(self.next, Next::Filling(_)) {
            segment::remove_partial(&*self.disk, &self.dir);
        }
    }

    fn next_turn(&self, commands: &Receiver<Command>) -> Turn {
        if !matches!(self.next, Next::Filling(_)) {
            return commands.recv().map_or(Turn::Over, Turn::Command);
        }
        match commands.try_recv() {
            Ok(command) => Turn::Command(command),
            Err(TryRecvError::Empty) => Turn::Idle,
            Err(TryRecvError::Disconnected) => Turn::Over,
        }
    }

    /// Writes `batch` and whatever else is queued, then syncs once for all of it.
    fn commit(&mut self, batch: Batch, commands: &Receiver<Command>) -> Result<u64, FileError> {
        let mut last = self.write(batch)?;
        while let Ok(command) = commands.try_recv() {
            match command {
                Command::Write(more) => last = self.write(more)?,
                Command::Prepare => self.retry_filling(),
            }
        }
        self.sync()?;
        self.set_synced(last);
        Ok(last)
    }

    fn write(&mut self, batch: Batch) -> Result<u64, FileError> {
        for mut part in batch.parts {
            if let Some(first) = part.roll_to {
                self.roll(first)?;
                self.set_synced(first - 1);
            }
            frame::encode_mark(&mut part.frames[..frame::MARK_BYTES], self.synced);
            self.active.write(&part.frames)?;
            self.shared.step();
        }
        Ok(batch.last)
    }

    fn set_synced(&mut self, last: u64) {
        self.synced = last;
        self.shared.set_synced(last);
    }

    fn sync(&mut self) -> Result<(), FileError> {
        if self.active.sync()? {
            self.shared.count_sync();
        }
        self.shared.step();
        Ok(())
    }

    /// Closes the active segment, which is completely synced before the next one exists under its
    /// name: so only the newest segment can have a torn tail.
    fn roll(&mut self, first: u64) -> Result<(), FileError> {
        self.sync()?;
        let Next::Ready(prepared) = std::mem::replace(&mut self.next, Next::Missing) else {
            unreachable!("the handle puts records only into a segment that is ready")
        };
        self.active = prepared.activate(&*self.disk, &self.dir, first)?;
        self.ordinal += 1;
        self.shared.rolled(first);
        self.shared.step();
        self.start_filling();
        Ok(())
    }

    fn start_filling(&mut self) {
        let started = self
            .hold_claim()
            .and_then(|()| Filling::start(&*self.disk, &self.dir, self.segment_bytes));
        match started {
            Ok(filling) => self.next = Next::Filling(filling),
            Err(_no_room) => self.unpreparable(),
        }
    }

    /// Space for a snapshot comes first, as a snapshot frees space. While one is being made, it has
    /// that space.
    fn hold_claim(&self) -> Result<(), FileError> {
        match self.shared.claim_at_once() {
            Some(mut claim) => claim.hold(&*self.disk, &self.dir),
            None => Ok(()),
        }
    }

    fn retry_filling(&mut self) {
        if matches!(self.next, Next::Missing) {
            self.start_filling();
        }
    }

    /// Does one step only, so that records never wait for a whole segment to be filled.
    fn fill_on(&mut self) {
        let Next::Filling(filling) = std::mem::replace(&mut self.next, Next::Missing) else {
            return;
        };
        match filling.step(&*self.disk, &self.dir) {
            Ok(Filled::Partly(filling)) => self.next = Next::Filling(filling),
            Ok(Filled::Wholly(prepared)) => self.ready(prepared),
            Err(_no_room) => self.unpreparable(),
        }
    }

    fn ready(&mut self, prepared: Prepared) {
        self.next = Next::Ready(prepared);
        self.shared.set_prepared(self.ordinal + 1);
        self.has_news = true;
    }

    fn unpreparable(&mut self) {
        self.next = Next::Missing;
        self.shared.set_unpreparable();
        self.has_news = true;
    }
}
