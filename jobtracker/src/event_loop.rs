//! The core in its loop: adapts it to `event_loop::Machine`, brings replies back to those who wait for
//! them, starts calls to the chunk store, and says in the log what happens. No decisions.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use event_loop::{Handle, Log, Machine, Running, Settings, Step};
use ids::{Monotonic, Now};
use jobtracker_core::{Effect, Input, Notice, Output, Record, Refusal, Reply, ReplyTo};
use tokio::sync::{Semaphore, mpsc, oneshot};

use crate::metrics::observe_records;
use crate::store::Store;
use crate::{JobFold, commit, splits};

/// Inputs that wait for the loop; beyond that, requests wait before it.
const QUEUE: usize = 1024;
/// Jobs whose calls to the chunk store are under way at once.
const STORE_CALLS: usize = 64;

struct JobMachine(jobtracker_core::Core);

impl Machine for JobMachine {
    type Input = Input;
    type Record = Record;
    type Effect = Effect;
    type Durable = JobFold;

    fn handle(&mut self, now: Now, input: Input) -> Step<Record, Effect> {
        step(self.0.handle(now, input))
    }

    fn handle_timeout(&mut self, now: Now) -> Step<Record, Effect> {
        step(self.0.handle_timeout(now))
    }

    fn poll_timeout(&self) -> Option<Monotonic> {
        self.0.poll_timeout()
    }

    fn refuse(&mut self, input: Input) -> Result<Input, Vec<Effect>> {
        self.0.refuse(input)
    }
}

fn step(Output { records, effects }: Output) -> Step<Record, Effect> {
    observe_records(&records);
    records.iter().for_each(say_record);
    Step { records, effects }
}

/// Asks the core. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Core {
    inputs: Handle<Input>,
    replies: Arc<Replies>,
}

/// Why there is no answer, or not the one asked for.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AskError {
    /// The core's no.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The loop has ended.
    #[error("the JobTracker is shutting down: ask again when it is back")]
    Stopped,
}

/// Starts the loop over a recovered state. The first input is on its way when this returns.
pub(crate) async fn start(
    core: jobtracker_core::Core,
    log: Log,
    store: Store,
    split_bytes: u64,
    snapshot_after_segments: u32,
) -> (Core, Running<Input>) {
    let replies = Arc::new(Replies::default());
    let waiting = Arc::clone(&replies);
    // As many calls as there are unfinished jobs, which the core bounds.
    let (calls, asked) = mpsc::unbounded_channel();
    let effects = move |effect| match effect {
        Effect::Reply { to, reply } => waiting.answer(to, reply),
        Effect::Tell(notice) => say(&notice),
        call => {
            // The receiver ends with the loop.
            let _ended = calls.send(call);
        }
    };
    let settings = Settings { queue: QUEUE, snapshot_after_segments };
    let running = event_loop::start(JobMachine(core), log, effects, settings);
    tokio::spawn(carry_out_all(asked, running.handle.clone(), store, split_bytes));
    let core = Core { inputs: running.handle.clone(), replies };
    // A loop that has ended says so to the next who asks.
    let _ended = core.inputs.send(Input::Start).await;
    (core, running)
}

/// Carries out the calls to the chunk store that the core asks for, each as a task that ends with an
/// input. Ends when the loop has.
async fn carry_out_all(
    mut asked: mpsc::UnboundedReceiver<Effect>,
    inputs: Handle<Input>,
    store: Store,
    split_bytes: u64,
) {
    let permits = Arc::new(Semaphore::new(STORE_CALLS));
    while let Some(call) = asked.recv().await {
        let permit = Arc::clone(&permits).acquire_owned().await;
        let (inputs, store) = (inputs.clone(), store.clone());
        tokio::spawn(async move {
            if let Some(input) = carry_out(&store, call, split_bytes).await {
                // A loop that has ended asks again when it is back.
                let _ended = inputs.send(input).await;
            }
            drop(permit);
        });
    }
}

async fn carry_out(store: &Store, call: Effect, split_bytes: u64) -> Option<Input> {
    Some(match call {
        Effect::PlanSplits { job, spec, staging } => {
            let outcome = splits::plan(&store.patient(), &spec, &staging, split_bytes).await;
            Input::SplitsPlanned { job, outcome }
        }
        Effect::ReadSplits { job, list } => {
            Input::SplitsRead { job, outcome: splits::read(&store.patient(), &list).await }
        }
        Effect::Publish { job, submitted_at, staging, parts, target } => {
            let stamp = commit::stamp(job, submitted_at);
            let outcome = commit::publish(store, stamp, &staging, parts, &target).await;
            Input::Published { job, outcome }
        }
        Effect::RemoveStaging { job, staging } => {
            let outcome = commit::remove_staging(&store.patient(), &staging).await;
            Input::StagingRemoved { job, outcome }
        }
        Effect::Reply { .. } | Effect::Tell(_) => return None,
    })
}

impl Core {
    /// Sends one input and waits for its reply. Whoever stops waiting is reported to the core.
    pub(crate) async fn ask(
        &self,
        input: impl FnOnce(ReplyTo) -> Input + Send,
    ) -> Result<Reply, AskError> {
        let mut waiter = self.expect_one();
        let input = input(waiter.to);
        self.inputs.send(input).await.map_err(|_| AskError::Stopped)?;
        let reply = (&mut waiter.answer).await.map_err(|_| AskError::Stopped)?;
        match reply {
            Reply::Refused(refusal) => Err(refusal.into()),
            reply => Ok(reply),
        }
    }

    fn expect_one(&self) -> Waiter {
        let to = ReplyTo(self.replies.last.fetch_add(1, Ordering::Relaxed));
        let (sender, answer) = oneshot::channel();
        self.replies.lock().insert(to, sender);
        Waiter { core: self.clone(), to, answer }
    }
}

/// Who waits for which reply. As many as there are requests in flight.
#[derive(Default)]
struct Replies {
    last: AtomicU64,
    waiting: Mutex<BTreeMap<ReplyTo, oneshot::Sender<Reply>>>,
}

impl Replies {
    fn answer(&self, to: ReplyTo, reply: Reply) {
        if let Some(waiting) = self.lock().remove(&to) {
            // The request was given up; what it changed is told again when it is asked again.
            let _gone = waiting.send(reply);
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<ReplyTo, oneshot::Sender<Reply>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One who waits.
struct Waiter {
    core: Core,
    to: ReplyTo,
    answer: oneshot::Receiver<Reply>,
}

impl Drop for Waiter {
    /// A request that is given up, because its connection broke, waits no more: its tracker must not be
    /// given work that nobody hears of.
    fn drop(&mut self) {
        let unanswered = self.core.replies.lock().remove(&self.to).is_some();
        if unanswered {
            // With a full queue the core finds out when the reply gets lost.
            let _full = self.core.inputs.try_send(Input::Gone { reply_to: self.to });
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
        Notice::StoreUnavailable { job, reason } => {
            tracing::warn!(%job, reason, "the chunk store does not answer; the job waits for it");
        }
    }
}

/// What an operator would say aloud of a record.
fn say_record(record: &Record) {
    match record {
        Record::Started { epoch } => tracing::info!(%epoch, "JobTracker serves"),
        Record::JobAccepted { job, spec, n_reduces, .. } => {
            tracing::info!(%job, name = spec.name, output = spec.output, n_reduces, "job accepted");
        }
        Record::SplitsPlanned { job, n_maps, input_bytes, .. } => {
            tracing::info!(%job, n_maps, input_bytes, "job planned");
        }
        Record::AttemptFailed { attempt, host, failure } => {
            tracing::warn!(%attempt, %host, kind = ?failure.kind, message = failure.message, "attempt failed");
        }
        Record::MapOutputLost { attempt } => {
            tracing::debug!(%attempt, "map output lost: the map runs again");
        }
        Record::ReducesUndone { map, .. } => {
            tracing::warn!(%map, "a map made other bytes than before: its job's reduces run again");
        }
        Record::JobEnded { job, state, failure, .. } => {
            tracing::info!(%job, state = state.as_str(), failure, "job ended");
        }
        Record::Initialised { .. }
        | Record::TaskSucceeded { .. }
        | Record::StagingRemoved { .. }
        | Record::JobForgotten { .. } => {}
    }
}
