//! A simulated client: it does one thing after another, and repeats each request under the same
//! stamp until there is an answer or its patience is at an end. Files are written by the real
//! writer core (`client/write.rs`) and read by a simple reader (`client/read.rs`).

mod log_append;
mod log_read;
mod ops;
mod read;
mod recovery;
mod write;

use std::collections::VecDeque;
use std::time::Duration;

use chunkstore_core::master::{Mutation, Refusal, Reply};
use chunkstore_protocol::{ProblemKind, StorePath};
use ids::{ClientId, Monotonic, RequestStamp};

use crate::store::content::Content;
use crate::store::ground::{Answer, Ask, CallId, Event, Ground, Item, StreamId, Timer, Who};
use crate::store::invariants::Watch;
use crate::store::sabotage::Sabotage;

pub(crate) use ops::locate;

use log_append::Appending;
use log_read::LogReading;
use ops::Op;
use read::Reading;
use write::{Opening, Writing};

/// How long one attempt waits for its answer.
const CALL_LIMIT: Duration = Duration::from_secs(2);
/// For how long a client repeats a request.
const RETRY_FOR: Duration = Duration::from_secs(12);
/// The slots of one client's stamps; more than one, so that requests overtake one another.
const SLOTS: usize = 3;

/// A request that waits for its answer.
struct Pending {
    ask: Ask,
    call: CallId,
    since: Monotonic,
    n_tries: u32,
}

/// What the client is doing now.
enum Task {
    Resting,
    /// It waits for the answer to one request, and that is all.
    Asking,
    Writing(Box<Writing>),
    Reading(Reading),
    Appending(Box<Appending>),
    ReadingLog(Box<LogReading>),
}

/// The outcome of a request to the master.
enum Outcome {
    Done(Reply),
    Refused(Refusal),
    /// No answer: nobody knows whether it was carried out.
    Silence,
}

/// A client's process.
pub(crate) struct Client {
    n: usize,
    pub(crate) life: u32,
    id: ClientId,
    sequences: [u64; SLOTS],
    slot: usize,
    task: Task,
    pending: Option<Pending>,
    renewing: Option<CallId>,
    /// What it will do next.
    plan: VecDeque<Op>,
    /// The number of the step that it waits for; earlier ones are obsolete.
    step: u64,
    n_files: u32,
    /// It finishes what it has begun, and starts nothing more.
    pub(crate) is_tired: bool,
    pub(crate) n_done: u64,
    sabotage: Option<Sabotage>,
}

fn client_id(n: usize, life: u32) -> ClientId {
    format!("client-{n}-{life}").parse().expect("a client's id")
}

impl Client {
    pub(crate) fn new(n: usize, sabotage: Option<Sabotage>) -> Self {
        Self {
            n,
            sabotage,
            life: 0,
            id: client_id(n, 0),
            sequences: [0; SLOTS],
            slot: 0,
            task: Task::Resting,
            pending: None,
            renewing: None,
            plan: VecDeque::new(),
            step: 0,
            n_files: 0,
            is_tired: false,
            n_done: 0,
        }
    }

    fn who(&self) -> Who {
        Who::Client(self.n)
    }

    /// Whether it has nothing left to do.
    pub(crate) fn is_idle(&self) -> bool {
        matches!(self.task, Task::Resting) && self.plan.is_empty()
    }

    /// What it is doing, for the report of a world that does not come to rest.
    pub(crate) fn doing(&self) -> String {
        let what = match &self.task {
            Task::Resting => "rests".to_owned(),
            Task::Asking => "asks".to_owned(),
            Task::Writing(writing) => format!("writes {}", writing.path()),
            Task::Reading(reading) => format!("reads {}", reading.path()),
            Task::Appending(appending) => format!("appends to {}", appending.path()),
            Task::ReadingLog(reading) => format!("reads the log {}", reading.path()),
        };
        format!(
            "client-{} {what}, waiting for {:?}",
            self.n,
            self.pending.as_ref().map(|it| &it.ask)
        )
    }

    /// The client dies, and another takes its place, which knows nothing.
    pub(crate) fn die(&mut self, ground: &mut Ground) {
        ground.say(format_args!("client-{} dies: {}", self.n, self.doing()));
        ground.break_all(self.who());
        self.seem_gone(ground);
        let (n, life, n_files, n_done) = (self.n, self.life + 1, self.n_files, self.n_done);
        let (id, is_tired) = (client_id(n, life), self.is_tired);
        *self = Self { life, id, n_files, n_done, is_tired, ..Self::new(n, self.sabotage) };
        self.rest(ground);
    }

    /// Rests for a while, and then starts the next thing.
    pub(crate) fn rest(&mut self, ground: &mut Ground) {
        self.n_done += 1;
        self.task = Task::Resting;
        self.pending = None;
        self.renewing = None;
        let pause = ground.random.millis(1..300);
        self.step_after(ground, pause);
    }

    fn step_after(&mut self, ground: &mut Ground, pause: Duration) {
        self.step += 1;
        let timer = Timer::Step(self.step);
        ground.after(pause, Event::Woken { who: self.who(), life: self.life, timer });
    }

    /// A file whose content differs from all before.
    fn fresh(&mut self, n_units: usize) -> Content {
        self.n_files += 1;
        crate::store::content::fresh((self.n as u32) << 16 | self.n_files, n_units)
    }

    fn stamp(&mut self, ground: &mut Ground) -> RequestStamp {
        self.slot = ground.random.below(SLOTS);
        self.sequences[self.slot] += 1;
        let (slot, sequence) = (self.slot as u32, self.sequences[self.slot]);
        RequestStamp { client: self.id.clone(), slot, sequence }
    }

    fn mutate(&mut self, ground: &mut Ground, watch: &mut Watch, mut request: Mutation) {
        let stamp = request.stamp_mut().clone();
        watch.requests.insert((stamp.client, stamp.slot, stamp.sequence), request.clone());
        self.ask(ground, Ask::Mutate(request));
    }

    fn ask(&mut self, ground: &mut Ground, ask: Ask) {
        let call = ground.call(self.who(), Who::Master, &ask, CALL_LIMIT);
        let since = ground.now().monotonic;
        self.pending = Some(Pending { ask, call, since, n_tries: 1 });
    }

    /// Sends a request to the master, but only after a pause.
    fn ask_later(&mut self, ground: &mut Ground, ask: Ask, pause: Duration) {
        let since = ground.now().monotonic;
        self.pending = Some(Pending { ask, call: CallId(0), since, n_tries: 0 });
        self.step_after(ground, pause);
    }

    /// Sends a request to a server, once; for another try the caller asks another server.
    fn ask_server(&mut self, ground: &mut Ground, server: usize, ask: Ask) {
        self.ask_server_for(ground, server, ask, CALL_LIMIT);
    }

    fn ask_server_for(&mut self, ground: &mut Ground, server: usize, ask: Ask, limit: Duration) {
        let call = ground.call(self.who(), Who::Server(server), &ask, limit);
        let since = ground.now().monotonic;
        self.pending = Some(Pending { ask, call, since, n_tries: 1 });
    }

    /// A call was answered, or failed.
    pub(crate) fn answered(
        &mut self,
        ground: &mut Ground,
        watch: &mut Watch,
        call: CallId,
        answer: Option<Answer>,
    ) {
        if self.renewing == Some(call) {
            return self.renewed(ground, answer);
        }
        if self.is_recovery(call) {
            return self.recovery_answered(ground, watch, call, answer);
        }
        let Some(pending) = self.pending.as_ref().filter(|pending| pending.call == call) else {
            return;
        };
        match answer {
            // These answer what `recovery.rs` asked the servers of a broken pipeline, and are
            // handled there.
            Some(
                Answer::Frozen(_) | Answer::Sealed(_) | Answer::Followed(_) | Answer::Blocks(_),
            ) => {}
            Some(Answer::Bytes(bytes)) => self.got_bytes(ground, watch, bytes),
            None if matches!(pending.ask, Ask::Read(_) | Ask::ReadRecords { .. }) => {
                self.got_bytes(ground, watch, Err("no answer"));
            }
            Some(Answer::Appended(appended)) => self.appended(ground, watch, Some(appended)),
            None if matches!(pending.ask, Ask::AppendRecords { .. }) => {
                self.appended(ground, watch, None);
            }
            Some(Answer::Master(answer)) => match *answer {
                Err(refusal) if is_transient(&refusal) => self.again(ground, watch),
                Ok(reply) => self.outcome(ground, watch, Outcome::Done(reply)),
                Err(refusal) => self.outcome(ground, watch, Outcome::Refused(refusal)),
            },
            None => self.again(ground, watch),
        }
    }

    fn got_bytes(
        &mut self,
        ground: &mut Ground,
        watch: &mut Watch,
        bytes: Result<Content, &'static str>,
    ) {
        self.pending = None;
        match self.task {
            Task::ReadingLog(_) => self.read_log_on(ground, watch, bytes),
            _ => self.read_on(ground, watch, bytes),
        }
    }

    /// Repeats the request under the same stamp after a pause; if the client's patience is at an
    /// end, ends it without an answer.
    fn again(&mut self, ground: &mut Ground, watch: &mut Watch) {
        let Some(pending) = &mut self.pending else { return };
        if ground.now().monotonic.since(pending.since) > RETRY_FOR {
            return self.outcome(ground, watch, Outcome::Silence);
        }
        pending.n_tries += 1;
        pending.call = CallId(0);
        let pause = Duration::from_millis(50 << pending.n_tries.min(5));
        self.step_after(ground, pause);
    }

    fn outcome(&mut self, ground: &mut Ground, watch: &mut Watch, outcome: Outcome) {
        let pending = self.pending.take();
        let what = match &outcome {
            Outcome::Done(_) => "done".to_owned(),
            Outcome::Refused(refusal) => refusal.to_string(),
            Outcome::Silence => "silence".to_owned(),
        };
        ground.say(format_args!("client-{}: {:?}: {what}", self.n, pending.map(|it| it.ask)));
        match self.task {
            Task::Writing(_) => self.write_on(ground, watch, outcome),
            Task::Reading(_) => self.located(ground, watch, outcome),
            Task::Appending(_) => self.log_opened(ground, watch, outcome),
            Task::ReadingLog(_) => self.log_located(ground, watch, outcome),
            Task::Asking | Task::Resting => self.rest(ground),
        }
    }

    /// Handles one of its timers.
    pub(crate) fn wake(&mut self, ground: &mut Ground, watch: &mut Watch, timer: Timer) {
        match timer {
            Timer::Step(step) if step == self.step => self.go_on(ground, watch),
            Timer::Renew => self.renew(ground),
            Timer::Patience(stream) => self.stalled(ground, watch, stream),
            _ => {}
        }
    }

    fn go_on(&mut self, ground: &mut Ground, watch: &mut Watch) {
        let who = self.who();
        if let Some(pending) = &mut self.pending {
            pending.call = ground.call(who, Who::Master, &pending.ask, CALL_LIMIT);
            return;
        }
        match self.task {
            Task::Resting => self.next_op(ground, watch),
            Task::Writing(_) => self.write_step(ground, watch),
            Task::Reading(_) => self.read_step(ground, watch),
            Task::Appending(_) => self.append_step(ground, watch),
            Task::ReadingLog(_) => self.read_log_step(ground, watch),
            Task::Asking => {}
        }
    }

    fn next_op(&mut self, ground: &mut Ground, watch: &mut Watch) {
        if self.plan.is_empty() && !self.is_tired {
            self.plan = ops::some(&mut ground.random);
        }
        let Some(op) = self.plan.pop_front() else { return };
        ground.say(format_args!("client-{} does {op:?}", self.n));
        match op {
            Op::Write { path, n_units, replication, if_writer_dies } => {
                let opening = Opening::Create { replication, if_writer_dies };
                self.open(ground, watch, path, n_units, opening);
            }
            Op::Append { path, n_units } => {
                self.open(ground, watch, path, n_units, Opening::Append);
            }
            Op::Read(path) => self.read(ground, path),
            Op::AppendRecords { path, n_batches } => {
                self.append_records(ground, watch, path, n_batches);
            }
            Op::ReadLog(path) => self.read_log(ground, watch, path),
            Op::Look(query) => self.simple(ground, Ask::Query(query)),
            Op::Change(mut request) => {
                *request.stamp_mut() = self.stamp(ground);
                self.task = Task::Asking;
                self.mutate(ground, watch, request);
            }
        }
    }

    /// Next the client will have all but one copy of a file removed.
    pub(crate) fn wants_one_copy(&mut self, path: StorePath) {
        if !self.is_tired {
            self.plan.push_front(ops::replicate(path, 1));
        }
    }

    fn simple(&mut self, ground: &mut Ground, ask: Ask) {
        self.task = Task::Asking;
        self.ask(ground, ask);
    }

    /// Handles the answer to a chunk that it sends, or the loss of that connection.
    pub(crate) fn streamed(
        &mut self,
        ground: &mut Ground,
        watch: &mut Watch,
        stream: StreamId,
        item: Item,
    ) {
        match item {
            Item::Sealed(answer) => self.uploaded(ground, watch, stream, answer),
            Item::Broken => self.uploaded(ground, watch, stream, Err("the connection broke")),
            Item::Put { .. } | Item::Data(_) | Item::End(_) => {}
        }
    }
}

/// Whether the request is repeated under the same stamp, as the real client does: the master has no
/// space, or is busy. A refusal for want of servers is an answer.
fn is_transient(refusal: &Refusal) -> bool {
    matches!(refusal.kind(), ProblemKind::Unavailable | ProblemKind::Starting)
}
