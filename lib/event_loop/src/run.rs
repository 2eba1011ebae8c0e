//! The loop itself. It only selects, calls `handle`, appends, dispatches, and asks for snapshots.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use clock::Stopwatch;
use ids::{Monotonic, Room};
use journal::{AppendError, Durability, FolderNotice};
use tokio::sync::{Notify, mpsc};
use tokio::time::{Interval, MissedTickBehavior, Sleep};

use crate::handle::names;
use crate::snapshots::Snapshots;
use crate::view::View;
use crate::watch::Watch;
use crate::{Handle, Log, Machine, Running, Settings, Step, Unsettled, encode_record};

/// How long inputs are handled before their records are handed to the journal.
const TURN: Duration = Duration::from_millis(5);
/// Steps whose effects may wait for a sync; beyond that, no input is accepted.
const UNTOLD_STEPS_MAX: usize = 4096;
/// The same for the bytes of their records.
const UNTOLD_BYTES_MAX: usize = 32 << 20;
/// How often a full disk is checked again, even when nothing comes in.
pub(crate) const ROOM_INTERVAL: Duration = Duration::from_secs(1);
/// How often a busy disk is checked for progress.
const WATCH_INTERVAL: Duration = Duration::from_millis(500);

/// Starts the loop as a task of the current tokio runtime. `effects` is called in the loop, so it
/// must not block: it spawns tasks or sends on channels.
///
/// Inputs are accepted while the journal has space for their records, however far its disk lags
/// behind; otherwise they wait for its next segment, or are refused if there can't be one. If a
/// step has more records than there is space for, they are kept here, their effects are withheld,
/// and everything waits until there is space.
///
/// The loop does not hang when the journal's disk does: it goes on until so much waits for the disk
/// that it accepts no more inputs, reports the hang ([`Machine::observe_hang`]), and can be
/// stopped.
///
/// If the journal fails, the process is aborted: what was told to the outside stays true, and the
/// next start finds it.
///
/// # Panics
/// Outside of a tokio runtime.
pub fn start<M: Machine>(
    machine: M,
    log: Log,
    effects: impl FnMut(M::Effect) + Send + 'static,
    settings: Settings,
) -> Running<M> {
    let (sender, inputs) = mpsc::channel(settings.queue.max(1));
    let (last, stop) = (log.journal.last().0, Arc::new(Notify::new()));
    let mut looks = tokio::time::interval(WATCH_INTERVAL);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let view = View::new(machine);
    let event_loop = EventLoop {
        view: view.clone(),
        log,
        effects,
        settings,
        inputs,
        untold: VecDeque::new(),
        untold_bytes: 0,
        backlog: VecDeque::new(),
        appended: last,
        durable: last,
        snapshots: Snapshots::after(settings.snapshot_after_segments),
        room: Room::Ample,
        alarm: Alarm::default(),
        watch: Watch::new(),
        looks,
        stop: Arc::clone(&stop),
        stopping: false,
    };
    Running { handle: Handle::new(sender, stop), view, join: tokio::spawn(event_loop.run()) }
}

pub(crate) struct EventLoop<M: Machine, F> {
    /// The machine, which others may read.
    pub(crate) view: View<M>,
    pub(crate) log: Log,
    effects: F,
    pub(crate) settings: Settings,
    pub(crate) inputs: mpsc::Receiver<M::Input>,
    /// Effects that wait for a sync, the oldest first.
    pub(crate) untold: VecDeque<Untold<M::Effect>>,
    untold_bytes: usize,
    /// Records of the last step for which the journal has no space yet, the oldest first.
    pub(crate) backlog: VecDeque<Vec<u8>>,
    /// The last record made, and the last one on disk.
    pub(crate) appended: u64,
    pub(crate) durable: u64,
    pub(crate) snapshots: Snapshots,
    /// The room that the machine was told.
    pub(crate) room: Room,
    alarm: Alarm,
    watch: Watch,
    /// When the watch looks next.
    looks: Interval,
    /// The request to stop. It bypasses the queue: a disk that is full or hangs holds up inputs,
    /// but not this.
    stop: Arc<Notify>,
    stopping: bool,
}

pub(crate) struct Untold<E> {
    /// The last record that these effects depend on.
    pub(crate) after: u64,
    /// How long they have waited.
    since: Stopwatch,
    effects: Vec<E>,
    /// Bytes of the step's records.
    bytes: usize,
}

impl<M: Machine, F: FnMut(M::Effect)> EventLoop<M, F> {
    async fn run(mut self) -> Result<(), Unsettled> {
        self.observe_folders();
        while !self.stopping {
            self.look_at_folders();
            self.look_for_hang();
            self.look_for_room();
            self.append_backlog();
            self.handle_due_timeout();
            self.log.journal.flush();
            self.snapshots.start::<M::Durable>(&self.log.journal, self.room);
            self.wait().await;
            self.log.journal.flush();
        }
        self.settle().await
    }

    /// Waits for the next event, and handles it.
    async fn wait(&mut self) {
        let takes_inputs = self.takes_inputs();
        let timeout = self.poll_timeout().filter(|_| self.takes_timeouts());
        let room = self.looks_for_room();
        // The journal's thread may not have begun yet with what the loop is waiting for.
        let is_waited_for = !takes_inputs || self.durable != self.appended;
        tokio::select! {
            biased;
            () = self.stop.notified() => self.stopping = true,
            word = self.log.durability.recv() => self.on_durability(word),
            made = self.snapshots.made() => {
                self.snapshots.on_made(made, self.log.journal.closed_segments());
            }
            input = self.inputs.recv(), if takes_inputs => self.handle_turn(input),
            () = self.alarm.ring(timeout) => {}
            () = until(room) => {}
            _ = self.looks.tick(), if is_waited_for || self.watch.is_on() => {}
        }
    }

    fn poll_timeout(&self) -> Option<Monotonic> {
        self.view.ask(M::poll_timeout)
    }

    fn observe_folders(&self) {
        let live = self.log.journal.folders_live();
        self.view.tell(|machine| machine.observe_folders(live));
    }

    /// When to check a full disk again.
    fn looks_for_room(&self) -> Option<Monotonic> {
        (self.room != Room::Ample).then(|| clock::monotonic() + ROOM_INTERVAL)
    }

    pub(crate) fn takes_inputs(&self) -> bool {
        self.untold.len() < UNTOLD_STEPS_MAX
            && self.untold_bytes < UNTOLD_BYTES_MAX
            && self.backlog.is_empty()
            && self.log.journal.takes_more()
    }

    /// A time-out may make a record.
    fn takes_timeouts(&self) -> bool {
        self.takes_inputs() && self.room != Room::None
    }

    fn look_for_hang(&mut self) {
        let (at_work, patience) = (self.log.journal.at_work(), self.log.journal.patience());
        let Some(hangs) = self.watch.look(at_work, patience) else { return };
        let folders = names(&self.log.journal.places());
        if hangs {
            tracing::error!(
                folders,
                ?patience,
                "the journal's disk hangs: nothing has been written for so long, and nobody is answered until it has"
            );
        } else {
            tracing::warn!(folders, "the journal's disk answers again");
        }
        self.view.tell(|machine| machine.observe_hang(hangs));
    }

    pub(crate) fn look_at_folders(&mut self) {
        for notice in self.log.journal.take_notices() {
            match notice {
                FolderNotice::Completed { .. } => tracing::info!("{notice}"),
                FolderNotice::Filled { .. } => tracing::warn!("{notice}"),
                FolderNotice::Lost { .. } => tracing::error!("{notice}"),
            }
            self.observe_folders();
        }
    }

    pub(crate) fn look_for_room(&mut self) {
        let room = as_cores_say(self.log.journal.room());
        if room == self.room {
            return;
        }
        self.room = room;
        self.view.tell(|machine| machine.set_room(room));
        match room {
            Room::Ample => tracing::info!("the journal has room again"),
            Room::Reserve => tracing::error!(
                "the journal's disk is full: only what makes space is taken until some is free there"
            ),
            Room::None => tracing::error!(
                "the journal's disk is full and the reserve used up: nothing is taken until some is free there"
            ),
        }
    }

    fn handle_due_timeout(&mut self) {
        let due = self.poll_timeout().is_some_and(|at| at <= clock::monotonic());
        if due && self.takes_timeouts() {
            let step = self.view.step(|machine| machine.handle_timeout(clock::now()));
            self.take(step);
        }
    }

    /// Handles `input` and those queued behind it, for the length of a turn. `None` means that no
    /// sender is left.
    pub(crate) fn handle_turn(&mut self, input: Option<M::Input>) {
        let Some(input) = input else {
            self.stopping = true;
            return;
        };
        let turn = Stopwatch::start();
        self.handle_queued(input, &turn);
        let took = turn.elapsed();
        self.view.tell(|machine| machine.observe_turn(took));
    }

    fn handle_queued(&mut self, input: M::Input, turn: &Stopwatch) {
        self.handle(input);
        while turn.elapsed() <= TURN && self.takes_inputs() {
            match self.inputs.try_recv() {
                Ok(input) => self.handle(input),
                Err(_empty_or_closed) => return,
            }
        }
    }

    fn handle(&mut self, input: M::Input) {
        self.look_for_room();
        let room = self.room;
        let step = self.view.step(|machine| {
            let accepted = match room {
                Room::Ample => Ok(input),
                Room::Reserve | Room::None => machine.refuse(input),
            };
            match accepted {
                Ok(input) => machine.handle(clock::now(), input),
                Err(effects) => Step { records: Vec::new(), effects },
            }
        });
        self.take(step);
    }

    fn take(&mut self, step: Step<M::Record, M::Effect>) {
        let mut bytes = 0;
        for record in &step.records {
            let record = encode_record(record);
            bytes += record.len();
            self.appended += 1;
            self.backlog.push_back(record);
        }
        self.append_backlog();
        if self.durable == self.appended {
            step.effects.into_iter().for_each(&mut self.effects);
        } else if bytes > 0 || !step.effects.is_empty() {
            self.untold_bytes += bytes;
            let (after, since) = (self.appended, Stopwatch::start());
            self.untold.push_back(Untold { after, since, effects: step.effects, bytes });
        }
    }

    /// Appends what the journal has space for; the rest waits for [`Durability::RoomChanged`] or,
    /// if the disk is full, for the next check.
    pub(crate) fn append_backlog(&mut self) {
        while let Some(record) = self.backlog.pop_front() {
            match self.log.journal.append(&record) {
                Ok(_) => {}
                Err(AppendError::NotYet | AppendError::NoRoom) => {
                    self.backlog.push_front(record);
                    return;
                }
                Err(error @ (AppendError::TooLong { .. } | AppendError::Failed)) => abort(&error),
            }
        }
    }

    pub(crate) fn on_durability(&mut self, word: Option<Durability>) {
        match word {
            Some(Durability::Synced(sequence)) => self.durable = sequence.0,
            Some(Durability::RoomChanged) => {}
            Some(Durability::Failed(error)) => abort(&error),
            None => abort(&AppendError::Failed),
        }
        if let Some(first) = self.untold.front().filter(|first| first.after <= self.durable) {
            let waited = first.since.elapsed();
            self.view.tell(|machine| machine.observe_sync(waited));
        }
        while self.untold.front().is_some_and(|untold| untold.after <= self.durable) {
            let Some(told) = self.untold.pop_front() else { return };
            self.untold_bytes -= told.bytes;
            told.effects.into_iter().for_each(&mut self.effects);
        }
        if self.durable == self.appended && !self.stopping {
            self.view.all_is_durable();
        }
    }
}

/// Aborts: the state in memory is ahead of the disk, and can't be rolled back.
fn abort(error: &dyn std::error::Error) -> ! {
    tracing::error!(%error, "aborting");
    std::process::abort()
}

/// Waits for the machine's deadline, which stays the same over many inputs: the timer is set only
/// when it moves, not on each wait.
#[derive(Default)]
struct Alarm {
    set: Option<(Monotonic, Pin<Box<Sleep>>)>,
}

impl Alarm {
    /// Waits for the deadline; forever if there is none.
    async fn ring(&mut self, deadline: Option<Monotonic>) {
        let Some(deadline) = deadline else { return std::future::pending().await };
        let sleep = match &mut self.set {
            Some((set, sleep)) if *set == deadline => sleep,
            place => {
                let sleep = tokio::time::sleep(deadline.since(clock::monotonic()));
                &mut place.insert((deadline, Box::pin(sleep))).1
            }
        };
        sleep.as_mut().await;
    }
}

/// Waits for the deadline; forever if there is none.
async fn until(deadline: Option<Monotonic>) {
    match deadline {
        Some(deadline) => tokio::time::sleep(deadline.since(clock::monotonic())).await,
        None => std::future::pending().await,
    }
}

/// The journal has its own type, as it does not depend on the daemons' `ids`.
fn as_cores_say(room: journal::Room) -> Room {
    match room {
        journal::Room::Ample => Room::Ample,
        journal::Room::Reserve => Room::Reserve,
        journal::Room::None => Room::None,
    }
}

#[cfg(test)]
mod tests;
