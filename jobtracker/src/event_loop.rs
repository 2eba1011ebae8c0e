//! Runs the core in its loop: adapts it to `event_loop::Machine`, delivers replies to the waiting
//! requests, starts calls to the chunk store, and logs what happens. It makes no decisions.

use std::sync::Arc;
use std::time::Duration;

use daemon::Health;
use event_loop::{Handle, Log, Machine, ReplyDesk, Running, Settings, Step, Waiter};
use ids::{Monotonic, Now, Room};
use jobtracker_core::{
    Core, Effect, Input, Notice, Output, Record, Refusal, Reply, ReplyTo, StoreEffect, StoreOutcome,
};
use tokio::sync::{Semaphore, mpsc};

use crate::metrics::{
    Turns, observe_folders, observe_hang, observe_notice, observe_records, observe_sync,
};
use crate::splits::Planned;
use crate::store::Store;
use crate::{JobFold, commit, elsewhere, history, splits};

/// Why the daemon is not ready while the journal's disk hangs.
const HANGS: &str =
    "the disk of the JobTracker's journal hangs: nobody is answered before it has written";
/// Limit on the jobs with a chunk store call in progress.
const STORE_CALLS: usize = 64;

pub(crate) struct JobMachine {
    core: Core,
    turns: Turns,
    health: Health,
}

impl Machine for JobMachine {
    type Input = Input;
    type Record = Record;
    type Effect = Effect;
    type Durable = JobFold;

    fn handle(&mut self, now: Now, input: Input) -> Step<Record, Effect> {
        step(self.turns.measured(input, |input| self.core.handle(now, input)))
    }

    fn handle_timeout(&mut self, now: Now) -> Step<Record, Effect> {
        step(self.core.handle_timeout(now))
    }

    fn poll_timeout(&self) -> Option<Monotonic> {
        self.core.poll_timeout()
    }

    fn set_room(&mut self, room: Room) {
        self.core.set_room(room);
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
        self.core.refuse(input)
    }
}

fn step(Output { records, effects }: Output) -> Step<Record, Effect> {
    observe_records(&records);
    records.iter().for_each(say_record);
    Step { records, effects }
}

/// Sends requests to the core. Cheap to clone.
#[derive(Clone)]
pub(crate) struct CoreHandle {
    inputs: Handle<Input>,
    replies: ReplyDesk<Reply>,
}

/// Why a request gets no reply, or a refusal.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AskError {
    /// The core refuses.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The loop has ended.
    #[error("the JobTracker is shutting down: ask again when it is back")]
    Stopped,
}

/// Starts the loop over a recovered state; on return the first input has been sent.
pub(crate) async fn start(
    core: Core,
    (log, settings): (Log, Settings),
    health: Health,
    store: Store,
    split_bytes: u64,
) -> (CoreHandle, Running<JobMachine>) {
    let replies = ReplyDesk::default();
    let waiting = replies.clone();
    // The core bounds both queues: it limits unfinished jobs and unwritten histories.
    let (calls, asked) = mpsc::unbounded_channel();
    let (histories, to_be_written) = mpsc::unbounded_channel();
    let (logs, to_be_kept) = mpsc::channel(history::early::QUEUE);
    let effects = move |effect| match effect {
        Effect::Reply { to: ReplyTo(to), reply } => waiting.answer(to, reply),
        Effect::Tell(notice) => {
            observe_notice(&notice);
            say(&notice);
        }
        Effect::WriteHistory { job } => {
            // As below.
            let _ended = histories.send(job);
        }
        Effect::KeepLog { attempt, address } => {
            // An attempt whose log does not fit in the queue keeps it on its host until the job's
            // end.
            let _full = logs.try_send((attempt, address));
        }
        Effect::Store(call) => {
            // The receiver ends with the loop.
            let _ended = calls.send(call);
        }
    };
    let machine = JobMachine { core, turns: Turns::new(), health };
    observe_hang(false);
    let running = event_loop::start(machine, log, effects, settings);
    let core = CoreHandle { inputs: running.handle.clone(), replies };
    tokio::spawn(carry_out_all(asked, running.handle.clone(), store.clone(), split_bytes));
    tokio::spawn(history::early::keep_all(to_be_kept, store.clone()));
    tokio::spawn(history::write::write_all(to_be_written, core.clone(), store, split_bytes));
    // If the loop has ended, the next request finds out.
    let _ended = core.inputs.send(Input::Start).await;
    (core, running)
}

/// Makes the chunk store calls that the core asks for, each in a task that ends with an input. Ends
/// with the loop.
async fn carry_out_all(
    mut asked: mpsc::UnboundedReceiver<StoreEffect>,
    inputs: Handle<Input>,
    store: Store,
    split_bytes: u64,
) {
    let permits = Arc::new(Semaphore::new(STORE_CALLS));
    while let Some(call) = asked.recv().await {
        let permit = Arc::clone(&permits).acquire_owned().await;
        let (inputs, store) = (inputs.clone(), store.clone());
        tokio::spawn(async move {
            let input = carry_out(&store, call, split_bytes, &inputs).await;
            // If the loop has ended, the call is repeated after the restart.
            let _ended = inputs.send(input).await;
            drop(permit);
        });
    }
}

async fn carry_out(
    store: &Store,
    call: StoreEffect,
    split_bytes: u64,
    inputs: &Handle<Input>,
) -> Input {
    match call {
        StoreEffect::PlanSplits { job, spec, staging } => {
            let found = async |splits| {
                // As above.
                let _ended = inputs.send(Input::SplitsFound { job, splits }).await;
            };
            match splits::plan(store, &spec, &staging, split_bytes, found).await {
                Planned::Whole(outcome) => Input::SplitsPlanned { job, outcome },
                Planned::Staging(outcome) => Input::StagingMade { job, outcome },
            }
        }
        StoreEffect::MakeStaging { job, staging } => {
            Input::StagingMade { job, outcome: splits::make_staging(store, &staging).await }
        }
        StoreEffect::ReadSplits { job, list } => {
            Input::SplitsRead { job, outcome: splits::read(&store.patient(), &list).await }
        }
        StoreEffect::Publish { job, submitted_at, staging, parts, target, owner } => {
            let stamp = commit::stamp(job, submitted_at);
            let folders = (staging.as_str(), target.as_str());
            let outcome = commit::publish(store, stamp, folders, parts, owner).await;
            Input::Published { job, outcome }
        }
        StoreEffect::PublishElsewhere { job, target, parts } => {
            let outcome = elsewhere::publish(store.others(), &target, parts).await;
            Input::Published { job, outcome }
        }
        StoreEffect::RemoveStaging { job, staging, elsewhere } => {
            let mut outcome = commit::remove_staging(&store.patient(), &staging).await;
            if let (StoreOutcome::Done(()), Some(target)) = (&outcome, elsewhere) {
                outcome = elsewhere::sweep(store.others(), &target, job).await;
            }
            Input::StagingRemoved { job, outcome }
        }
    }
}

impl CoreHandle {
    /// Sends an input that has no reply.
    pub(crate) async fn tell(&self, input: Input) {
        // If the loop has ended, the call is repeated after the restart.
        let _ended = self.inputs.send(input).await;
    }

    /// Sends one input and waits for its reply. If the caller stops waiting, the core is told.
    pub(crate) async fn ask(
        &self,
        input: impl FnOnce(ReplyTo) -> Input + Send,
    ) -> Result<Reply, AskError> {
        let mut asker = Asker { inputs: &self.inputs, waiter: self.replies.expect_one() };
        let stopped = |_| AskError::Stopped;
        self.inputs.send(input(ReplyTo(asker.waiter.number()))).await.map_err(stopped)?;
        match asker.waiter.answer().await.map_err(stopped)? {
            Reply::Refused(refusal) => Err(refusal.into()),
            reply => Ok(reply),
        }
    }
}

/// A request that waits for a reply.
struct Asker<'a> {
    inputs: &'a Handle<Input>,
    waiter: Waiter<Reply>,
}

impl Drop for Asker<'_> {
    /// A request that is dropped because its connection broke waits no more: its tracker must not
    /// be given work that it never hears of.
    fn drop(&mut self) {
        if self.waiter.withdraw() {
            let reply_to = ReplyTo(self.waiter.number());
            // If the queue is full, the core finds out when the reply gets lost.
            let _full = self.inputs.try_send(Input::Gone { reply_to });
        }
    }
}

fn say(notice: &Notice) {
    match notice {
        Notice::TrackerRegistered { host, address, slots, running } => {
            tracing::info!(%host, address, slots, running, "TaskTracker registered");
        }
        Notice::TrackerLost { host, attempts, map_outputs } => {
            tracing::warn!(%host, attempts, map_outputs, "TaskTracker counts as dead: what it ran and held is made elsewhere");
        }
        Notice::HostSetAside { host, on_for: Some(on_for), strikes } => {
            tracing::warn!(%host, ?on_for, strikes, "so much speaks against the host that it gets no new tasks");
        }
        Notice::HostSetAside { host, on_for: None, strikes: _ } => {
            tracing::info!(%host, "the host gets new tasks again");
        }
        Notice::HostHealth { host, ailments } if ailments.is_empty() => {
            tracing::info!(%host, "the host is well and gets new tasks");
        }
        Notice::HostHealth { host, ailments } => {
            let ailments: Vec<_> = ailments.iter().map(ToString::to_string).collect();
            tracing::warn!(%host, "the host gets no new tasks: {}", ailments.join("; "));
        }
        Notice::BackupLaunched { late, on, left, host, expected } => {
            tracing::info!(%late, %on, ?left, %host, ?expected, "a late attempt gets a backup");
        }
        // The record is logged instead.
        Notice::JobEnded { .. } => {}
        Notice::StoreUnavailable { job, reason } => {
            tracing::warn!(%job, reason, "the chunk store does not answer; the job waits for it");
        }
        Notice::HistoryGivenUp { job } => tracing::warn!(
            %job,
            "too many histories wait for the chunk store: that of the job that ended first is given up"
        ),
    }
}

/// Logs the records that an operator should see.
fn say_record(record: &Record) {
    match record {
        Record::Started { epoch } => tracing::info!(%epoch, "JobTracker serves"),
        Record::JobAccepted { job, spec, n_reduces, .. } => {
            tracing::info!(%job, name = spec.name, output = spec.output, n_reduces, "job accepted");
        }
        Record::SplitsPlanned { job, n_maps, input_bytes, .. } => {
            tracing::info!(%job, n_maps, input_bytes, "job planned");
        }
        Record::AttemptFailed { attempt, host, failure, .. } => {
            tracing::warn!(%attempt, %host, kind = ?failure.kind, failure = failure.message, "attempt failed");
        }
        Record::MapOutputLost { attempt } => {
            tracing::debug!(%attempt, "map output lost: the map runs again");
        }
        Record::ReducesUndone { map, .. } => {
            tracing::warn!(%map, "a map made other bytes than before: its job's reduces run again");
        }
        Record::PriorityChanged { job, priority } => {
            tracing::info!(%job, %priority, "a job's priority is another one");
        }
        Record::JobPaused { job } => tracing::info!(%job, "job paused"),
        Record::JobResumed { job } => tracing::info!(%job, "job resumed"),
        Record::PoolPaused { pool } => tracing::info!(pool, "pool paused"),
        Record::PoolResumed { pool } => tracing::info!(pool, "pool resumed"),
        Record::HostDrained { host } => {
            tracing::info!(%host, "the host is drained: it gets no new attempts");
        }
        Record::HostUndrained { host } => {
            tracing::info!(%host, "the host is not drained any more");
        }
        Record::JobEnded { job, state, failure, .. } => {
            tracing::info!(%job, state = state.as_str(), failure, "job ended");
        }
        Record::Initialised { .. }
        | Record::TaskSucceeded { .. }
        | Record::AttemptKilled { .. }
        | Record::StagingRemoved { .. }
        | Record::TrackerJoined { .. }
        | Record::TrackerGone { .. }
        | Record::HistoryWritten { .. }
        | Record::JobForgotten { .. } => {}
    }
}
