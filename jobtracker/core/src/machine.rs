//! The state machine: dispatches each input to the module that knows its rules, then matches
//! waiting work with free slots and answers parked heartbeats. It never reads the clock; the caller
//! supplies the time.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ids::{Epoch, HostName, Monotonic, Now, Room, UnixMillis};
use mapreduce_protocol::JobId;

use crate::durable::Durable;
use crate::held::HeldOutputs;
use crate::job::LiveJob;
use crate::jobs::Jobs;
use crate::messages::{Effect, Input, Output, Reply, ReplyTo, StoreOutcome};
use crate::numbers::HostNumber;
use crate::queries::Waiters;
use crate::records::Record;
use crate::refusal::Refusal;
use crate::settings::Settings;
use crate::standing::Standing;
use crate::summary::Counted;
use crate::timers::{Timer, Timers};
use crate::trackers::Trackers;

/// The JobTracker without its edges. [`Self::handle`] takes one input at a time; the caller must
/// journal the records it returns, then carry out the effects, in order.
#[derive(Debug)]
pub struct Core {
    pub(crate) settings: Settings,
    pub(crate) durable: Durable,
    pub(crate) jobs: Jobs,
    pub(crate) trackers: Trackers,
    /// Map outputs on the trackers' hosts.
    pub(crate) held: HeldOutputs,
    pub(crate) standing: Standing,
    pub(crate) timers: Timers,
    pub(crate) waiters: Waiters,
    /// Trackers that were silent for too long; they are declared lost one per call.
    pub(crate) dying: BTreeSet<HostNumber>,
    /// Whether something changed that may bring a waiting task and a free slot together.
    pub(crate) unsettled: bool,
    /// Whether reduces left a slot for maps when slots were filled last.
    pub(crate) had_room: bool,
    /// Whether a timer is set to look at the pools' shares.
    pub(crate) pools_watched: bool,
    /// Delay before the next attempt to write a job's history, by job.
    pub(crate) history_pauses: BTreeMap<JobId, Duration>,
    pub(crate) counted: Counted,
    /// When this process began its term.
    pub(crate) started_at: Monotonic,
    /// Hosts whose trackers may still have to report what ran in the previous term.
    pub(crate) awaited: BTreeSet<HostName>,
    /// The wall-clock time of this call, for records.
    pub(crate) wall: UnixMillis,
    /// When the core was last called.
    pub(crate) last_input: Option<Monotonic>,
    /// How much room the journal has.
    pub(crate) room: Room,
    out: Output,
}

/// A job's place in the queue, by order of acceptance; the date in its id plays no part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Fifo(u32);

impl Fifo {
    pub(crate) fn of(job: JobId) -> Self {
        Self(job.ordinal)
    }
}

impl Core {
    /// A core that resumes from `durable`. Its first input must be [`Input::Start`].
    #[must_use]
    pub fn new(settings: Settings, durable: Durable) -> Self {
        Self {
            jobs: Jobs::new(settings.pools.clone()),
            settings,
            durable,
            trackers: Trackers::default(),
            held: HeldOutputs::default(),
            standing: Standing::default(),
            timers: Timers::default(),
            waiters: Waiters::default(),
            dying: BTreeSet::new(),
            unsettled: false,
            pools_watched: false,
            had_room: false,
            history_pauses: BTreeMap::new(),
            counted: Counted::default(),
            started_at: Monotonic::default(),
            awaited: BTreeSet::new(),
            wall: UnixMillis(0),
            last_input: None,
            room: Room::default(),
            out: Output::default(),
        }
    }

    /// Takes one input. The output is complete: nothing is left over for a later call.
    pub fn handle(&mut self, now: Now, input: Input) -> Output {
        self.notice_pause(now);
        match input {
            Input::Start => self.handle_start(now),
            Input::Submit { spec, key, owner, reply_to } => {
                self.handle_submit(now, *spec, key, owner, reply_to);
            }
            Input::SplitsPlanned { job, outcome } => self.handle_planned(now, job, outcome),
            Input::SplitsFound { job, splits } => self.handle_splits_found(now, job, splits),
            Input::StagingMade { job, outcome } => self.handle_staging_made(now, job, outcome),
            Input::SplitsRead { job, outcome } => self.handle_splits_read(now, job, outcome),
            Input::Published { job, outcome } => self.handle_published(now, job, outcome),
            Input::StagingRemoved { job, outcome } => self.handle_removed(now, job, &outcome),
            Input::HistoryWritten { job, outcome } => {
                self.handle_history_written(now, job, &outcome);
            }
            Input::RegisterTracker { request, reply_to } => {
                self.handle_register(now, &request, reply_to);
            }
            Input::Heartbeat { heartbeat, reply_to } => {
                self.handle_heartbeat(now, *heartbeat, reply_to);
            }
            Input::Kill { job, reply_to } => self.handle_kill(now, job, reply_to),
            Input::EndAttempt { attempt, counts, reply_to } => {
                self.handle_end_attempt(now, attempt, counts, reply_to);
            }
            Input::SetPriority { job, priority, reply_to } => {
                self.handle_set_priority(job, priority, reply_to);
            }
            Input::Pause { job, kill, reply_to } => self.handle_pause(job, kill, reply_to),
            Input::Resume { job, reply_to } => self.handle_resume(job, reply_to),
            Input::Pool { pool, verb, reply_to } => self.handle_pool(now, &pool, verb, reply_to),
            Input::Drain { host, kill, reply_to } => self.handle_drain(now, host, kill, reply_to),
            Input::Undrain { host, reply_to } => self.handle_undrain(now, host, reply_to),
            Input::Forgive { host, reply_to } => self.handle_forgive(now, host, reply_to),
            Input::Query { query, reply_to } => self.handle_query(now, query, reply_to),
            Input::Gone { reply_to } => self.handle_gone(reply_to),
        }
        self.settle(now)
    }

    /// Must be called when [`Self::poll_timeout`] is reached; calling it earlier does no harm.
    pub fn handle_timeout(&mut self, now: Now) -> Output {
        self.notice_pause(now);
        while let Some(timer) = self.timers.pop_due(now.monotonic) {
            match timer {
                Timer::Parked(host) => self.handle_parked(now, host),
                Timer::MapEvents(host) => self.handle_map_events_due(host),
                Timer::Silence(host) => self.handle_silence(now, host),
                Timer::Placement(job) => self.offer_again(job),
                Timer::Patience(job, kind) => self.handle_patience(now, job, kind),
                Timer::Pools => self.handle_pools(now),
                Timer::Standing => self.review_hosts(now),
                Timer::Late(job) => self.handle_late(now, job),
                Timer::Unreported => self.handle_unreported(now),
                Timer::History(job) => self.keep_history(job),
                Timer::Store(job) => self.handle_store_retry(now, job),
                Timer::Overtime(job) => self.handle_overtime(now, job),
                Timer::Wait(job, to) => self.handle_wait_over(job, to),
            }
        }
        self.lose_one(now);
        self.settle(now)
    }

    /// When [`Self::handle_timeout`] is due. Every call may change it.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Monotonic> {
        match self.dying.is_empty() {
            true => self.timers.soonest(),
            false => Some(self.last_input.unwrap_or_default()),
        }
    }

    /// Sets how much room the journal has from now on.
    pub fn set_room(&mut self, room: Room) {
        self.room = room;
    }

    /// Decides what to refuse while the room is not [`Room::Ample`]. `Ok` returns the input to be
    /// handled anyway: it needs no record, or it frees space and there is a reserve.
    ///
    /// # Errors
    /// The refusal to be sent instead of handling the input.
    pub fn refuse(&mut self, input: Input) -> Result<Input, Vec<Effect>> {
        let refused =
            |to| Err(vec![Effect::Reply { to, reply: Reply::Refused(Refusal::JournalFull) }]);
        match input {
            Input::RegisterTracker { ref request, reply_to } => {
                self.refuse_registration(request);
                refused(reply_to)
            }
            // Killing a job frees what it has made.
            Input::Kill { .. } if self.room != Room::None => Ok(input),
            Input::Submit { reply_to, .. }
            | Input::Kill { reply_to, .. }
            | Input::EndAttempt { reply_to, .. }
            | Input::SetPriority { reply_to, .. }
            | Input::Pause { reply_to, .. }
            | Input::Resume { reply_to, .. }
            | Input::Pool { reply_to, .. }
            | Input::Drain { reply_to, .. }
            | Input::Undrain { reply_to, .. } => refused(reply_to),
            // It writes no record.
            Input::Forgive { .. } => Ok(input),
            Input::Heartbeat { ref heartbeat, reply_to } if self.leads_to_records(heartbeat) => {
                self.refuse_heartbeat(heartbeat);
                refused(reply_to)
            }
            // A plan may be long, and many may come at once: it is repeated when there is room.
            Input::SplitsPlanned { job, outcome: StoreOutcome::Done(_) } => {
                let reason = Refusal::JournalFull.to_string();
                Ok(Input::SplitsPlanned { job, outcome: StoreOutcome::Unavailable { reason } })
            }
            // Likewise: the job is planned again once its staging folder exists.
            Input::SplitsFound { .. } => Err(Vec::new()),
            // The other results of the edge's calls come once each. They are few and small, and fit
            // into a segment's reserve.
            Input::Start
            | Input::SplitsPlanned { .. }
            | Input::StagingMade { .. }
            | Input::SplitsRead { .. }
            | Input::Published { .. }
            | Input::StagingRemoved { .. }
            | Input::HistoryWritten { .. }
            | Input::Heartbeat { .. }
            | Input::Query { .. }
            | Input::Gone { .. } => Ok(input),
        }
    }

    /// The state that the journal holds.
    #[must_use]
    pub fn durable(&self) -> &Durable {
        &self.durable
    }

    pub(crate) fn epoch(&self) -> Epoch {
        self.durable.epoch()
    }

    pub(crate) fn live(&self, job: JobId) -> Option<&LiveJob> {
        self.jobs.get(&Fifo::of(job)).filter(|live| live.id == job)
    }

    pub(crate) fn live_mut(&mut self, job: JobId) -> Option<&mut LiveJob> {
        self.jobs.get_mut(&Fifo::of(job)).filter(|live| live.id == job)
    }

    pub(crate) fn record(&mut self, record: Record) {
        self.durable.apply(&record);
        self.out.records.push(record);
    }

    pub(crate) fn effect(&mut self, effect: Effect) {
        self.out.effects.push(effect);
    }

    pub(crate) fn reply(&mut self, to: ReplyTo, reply: Reply) {
        self.effect(Effect::Reply { to, reply });
    }

    pub(crate) fn refuse_with(&mut self, to: ReplyTo, refusal: Refusal) {
        self.reply(to, Reply::Refused(refusal));
    }

    fn settle(&mut self, now: Now) -> Output {
        while std::mem::take(&mut self.unsettled) {
            self.schedule(now);
        }
        self.tell_news(now);
        std::mem::take(&mut self.out)
    }
}
