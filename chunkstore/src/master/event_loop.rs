//! Runs the core in its loop: adapts [`Master`] to `event_loop::Machine`, returns replies to their
//! callers, and logs notices. No decisions.

use std::time::Duration;

use chunkstore_core::master::{
    Effect, Input, Master, Notice, Output, Query, Record, Refusal, Reply, ReplyTo, Start,
    TrashReason,
};
use daemon::Health;
use event_loop::{Handle, Log, Machine, ReplyDesk, Running, Settings, Step, Stopped, View};
use ids::{HostName, Monotonic, Now, Room};

use super::MasterFold;
use super::metrics::{Turns, observe_folders, observe_hang, observe_records, observe_sync};

/// The reason for which the daemon is not ready meanwhile.
const HANGS: &str =
    "the disk of the chunk master's journal hangs: nobody is answered before it has written";

pub(super) struct MasterMachine {
    master: Master,
    turns: Turns,
    health: Health,
}

impl Machine for MasterMachine {
    type Input = Input;
    type Record = Record;
    type Effect = Effect;
    type Durable = MasterFold;

    fn handle(&mut self, now: Now, input: Input) -> Step<Record, Effect> {
        step(self.master.handle(now, input))
    }

    fn handle_timeout(&mut self, now: Now) -> Step<Record, Effect> {
        step(self.master.handle_timeout(now))
    }

    fn poll_timeout(&self) -> Option<Monotonic> {
        self.master.poll_timeout()
    }

    fn set_room(&mut self, room: Room) {
        self.master.set_room(room);
    }

    fn observe_folders(&mut self, live: usize) {
        observe_folders(live);
    }

    fn observe_hang(&mut self, hangs: bool) {
        observe_hang(hangs);
        if hangs { self.health.not_ready(HANGS) } else { self.health.no_longer(HANGS) }
    }

    fn observe_sync(&mut self, waited: Duration) {
        observe_sync(waited);
    }

    fn observe_turn(&mut self, took: Duration) {
        self.turns.observe(took);
    }

    fn refuse(&mut self, input: Input) -> Result<Input, Vec<Effect>> {
        self.master.refuse(input).map_err(|effect| vec![effect])
    }
}

fn step(Output { records, effects }: Output) -> Step<Record, Effect> {
    observe_records(&records);
    Step { records, effects }
}

/// Sends requests to the core. Cheap to clone.
#[derive(Clone)]
pub(super) struct CoreHandle {
    inputs: Handle<Input>,
    view: View<MasterMachine>,
    replies: ReplyDesk<Answer>,
}

/// Why there is no answer, or not the one asked for.
#[derive(Debug, thiserror::Error)]
pub(super) enum AskError {
    /// The core refused.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The loop has ended.
    #[error("the chunk master is shutting down: ask again when it is back")]
    Stopped(#[from] Stopped),
}

/// Starts the loop over a recovered state. The first input has been queued when this returns.
pub(super) async fn start(
    (master, beginning): (Master, Start),
    log: Log,
    settings: Settings,
    health: Health,
) -> (CoreHandle, Running<MasterMachine>) {
    let replies = ReplyDesk::default();
    let waiting = replies.clone();
    let machine = MasterMachine { master, turns: Turns::new(), health: health.clone() };
    observe_hang(false);
    let effects = move |effect| match effect {
        Effect::Reply(ReplyTo(to), answer) => waiting.answer(to, *answer),
        Effect::Tell(notice) => {
            if let Notice::JournalOutdated(outdated) = &notice {
                health.not_ready(outdated.to_string());
            }
            say(&notice);
        }
    };
    let running = event_loop::start(machine, log, effects, settings);
    let (inputs, view) = (running.handle.clone(), running.view.clone());
    let core = CoreHandle { inputs, view, replies };
    // If the loop has ended, the next caller learns that.
    let _ended = core.inputs.send(Input::Start(beginning)).await;
    (core, running)
}

impl CoreHandle {
    /// Sends an input that has no reply, if the queue has room: losing it must not matter.
    pub(super) fn tell(&self, input: Input) {
        // A loop that has ended, or is far behind, can do without it.
        let _lost = self.inputs.try_send(input);
    }

    /// Sends one input and waits for its reply.
    pub(super) async fn ask(
        &self,
        input: impl FnOnce(ReplyTo) -> Input + Send,
    ) -> Result<Reply, AskError> {
        let mut waiter = self.replies.expect_one();
        self.inputs.send(input(ReplyTo(waiter.number()))).await?;
        Ok(waiter.answer().await??)
    }

    /// Answers one query: at once if it only reads and everything that it could see is on disk,
    /// otherwise in its turn.
    pub(super) async fn query(&self, query: Query) -> Result<Reply, AskError> {
        let seen = self.view.look(|machine| machine.master.look(clock::monotonic(), &query));
        match seen.flatten() {
            Some(answer) => Ok(answer?),
            None => self.ask(|to| Input::Query(to, query)).await,
        }
    }
}

type Answer = Result<Reply, Refusal>;

fn say(notice: &Notice) {
    match notice {
        Notice::Started { cluster, epoch } => {
            tracing::info!(%cluster, %epoch, "chunk master serves");
        }
        Notice::Paused { time } => {
            tracing::warn!(?time, "this process stood still: servers and writers have longer");
        }
        Notice::SafeModeLeft { silent } if silent.is_empty() => {
            tracing::info!("safe mode is over: every chunkserver has told what it holds");
        }
        Notice::SafeModeLeft { silent } => {
            let silent: Vec<&str> = silent.iter().map(HostName::as_str).collect();
            tracing::warn!(?silent, "safe mode is over, without what these chunkservers hold");
        }
        Notice::ServerRegistered { host, address, session } => {
            tracing::info!(%host, address, session, "chunkserver registered");
        }
        Notice::ServerDied { host } => tracing::warn!(%host, "chunkserver counts as dead"),
        Notice::LeaseExpired { path } => {
            tracing::warn!(%path, "open file removed: its writer was silent for too long");
        }
        Notice::AppendLapsed { path, length } => {
            tracing::warn!(%path, length, "file is as it was: whoever appended to it was silent for too long");
        }
        Notice::WriterDied { path, length } => {
            tracing::warn!(%path, length, "open file closed at its last sealed chunk: its writer was silent for too long");
        }
        Notice::TrashEmptied { path, reason: TrashReason::Expired } => {
            tracing::info!(%path, "removed for good: older than chunkmaster.trash_interval");
        }
        Notice::TrashEmptied {
            path,
            reason: TrashReason::Pressure { free_bytes, capacity_bytes },
        } => {
            tracing::warn!(
                %path, free_bytes, capacity_bytes,
                "removed for good before its time: less than chunkmaster.trash_free_min of the space \
                 is free; add chunkservers or disks, or remove files"
            );
        }
        Notice::LogChunkLost { path, chunk } => {
            tracing::error!(%path, %chunk,
                "records of a log are lost: no chunkserver of its open chunk belongs to the cluster any more");
        }
        Notice::JournalOutdated(outdated) => tracing::error!("{outdated}"),
        Notice::OrphansHeld { host, orphans, reported } => {
            tracing::error!(%host, orphans, reported,
                "too many replicas that no file refers to: they are kept; `howdah fs orphans HOST --delete` \
                 deletes them");
        }
        Notice::StaleReplica { host, chunk } => {
            tracing::warn!(%host, %chunk, "replica is not what was sealed");
        }
    }
}
