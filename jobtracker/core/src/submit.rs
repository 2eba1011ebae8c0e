//! A job's beginning: it is accepted with its output reserved, then planned. The edge makes the
//! splits, as it can ask the chunk store.

use std::sync::Arc;

use ids::{Monotonic, Now, Room};
use mapreduce_protocol::{
    FAILURES_TO_SKIP, JobAccepted, JobId, JobSpec, JobState, TaskKind, is_url,
};

use crate::date::yyyymmdd;
use crate::durable::Stage;
use crate::job::{LiveJob, StoreCall, staging_folder};
use crate::machine::{Core, Fifo};
use crate::messages::{Effect, Notice, Plan, Reply, ReplyTo, StoreEffect, StoreOutcome};
use crate::numbers::Places;
use crate::records::{IdempotencyKey, PlannedSplit, Record, SplitList};
use crate::refusal::Refusal;
use crate::shared::shared;
use crate::spec;
use crate::timers::Timer;

/// Limit on unfinished jobs.
pub const UNFINISHED_JOBS_MAX: usize = 10_000;
/// Length limit of an `Idempotency-Key`, bytes.
pub const KEY_BYTES_MAX: usize = 200;
/// Limit on the splits of one job.
pub const SPLITS_MAX: usize = 1_000_000;
/// Limit on the output files of a job: what the chunk master publishes in one transaction.
const PARTS_MAX: usize = mapreduce_protocol::builtins::REDUCES_MAX as usize;

impl Core {
    pub(crate) fn handle_submit(
        &mut self,
        now: Now,
        spec: JobSpec,
        key: Option<IdempotencyKey>,
        owner: String,
        reply_to: ReplyTo,
    ) {
        let accepted = match self.submitted(&owner, key.as_ref()) {
            Ok(Some(accepted)) => Ok(accepted),
            Ok(None) => self.accept(now, spec, key, owner),
            Err(refusal) => Err(refusal),
        };
        match accepted {
            Ok(accepted) => self.reply(reply_to, Reply::Accepted(accepted)),
            Err(refusal) => self.refuse_with(reply_to, refusal),
        }
    }

    /// The job that `owner` submitted with `key`, if any.
    pub(crate) fn submitted(
        &self,
        owner: &str,
        key: Option<&IdempotencyKey>,
    ) -> Result<Option<JobAccepted>, Refusal> {
        let Some(IdempotencyKey { key, digest }) = key else { return Ok(None) };
        if !(1..=KEY_BYTES_MAX).contains(&key.len()) || !key.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(Refusal::BadKey);
        }
        match self.durable.key(owner, key) {
            Some((job, known)) if known == digest => {
                Ok(Some(JobAccepted { id: job, state: self.state_of(job) }))
            }
            Some((job, _)) => Err(Refusal::KeyReused { job }),
            None => Ok(None),
        }
    }

    fn accept(
        &mut self,
        now: Now,
        spec: JobSpec,
        key: Option<IdempotencyKey>,
        owner: String,
    ) -> Result<JobAccepted, Refusal> {
        let n_reduces = spec::validate(&spec)?;
        let unfinished = self.jobs.len();
        if unfinished >= UNFINISHED_JOBS_MAX {
            return Err(Refusal::TooManyJobs { unfinished });
        }
        self.check_room(self.pool_of(spec.pool.as_deref())?)?;
        self.check_reservation(&spec.output)?;
        let job = JobId { date: yyyymmdd(now.wall), ordinal: self.durable.next_ordinal() };
        let max_attempts = spec.max_attempts.unwrap_or(self.settings.max_attempts);
        // Fewer attempts could not show that a record fails every time.
        let least = if spec.skips() { FAILURES_TO_SKIP } else { 1 };
        let max_attempts = max_attempts.max(u32::try_from(least).unwrap_or(1));
        let (spec, at) = (Arc::new(spec), now.wall);
        self.record(Record::JobAccepted { job, spec, n_reduces, max_attempts, key, at, owner });
        self.begin(now, job);
        self.call_store(job, StoreCall::Plan);
        Ok(JobAccepted { id: job, state: JobState::Prep })
    }

    /// No two unfinished jobs write to overlapping folders.
    fn check_reservation(&self, output: &str) -> Result<(), Refusal> {
        let taken = self.jobs.values().find(|live| {
            let theirs = self.durable.job(live.id).map(|entry| entry.spec.output.as_str());
            theirs.is_some_and(|theirs| spec::overlap(theirs, output))
        });
        // Clean-up after the old job would take the new job's uploads in that store for its own.
        let untidy =
            || self.durable.ended().iter().copied().find(|ended| self.is_tidied(*ended, output));
        match taken.map(|live| live.id).or_else(untidy) {
            Some(by) => Err(Refusal::OutputReserved { output: output.to_owned(), by }),
            None => Ok(()),
        }
    }

    /// Whether clean-up after an ended job is still due in another store, at a folder that overlaps
    /// `output`.
    fn is_tidied(&self, ended: JobId, output: &str) -> bool {
        let theirs = self.durable.job(ended).map(|entry| entry.spec.output.as_str());
        let overlaps = |theirs| is_url(theirs) && spec::overlap(theirs, output);
        theirs.is_some_and(overlaps) && self.leaves_staging(ended)
    }

    /// Creates the soft state of an unfinished job.
    pub(crate) fn begin(&mut self, now: Now, job: JobId) {
        let entry = self.durable.job(job).expect("a job begins after its acceptance");
        let speculative = entry.spec.speculative.unwrap_or(self.settings.speculative);
        // If the configuration no longer has the pool, its jobs go to the default pool.
        let pool = self.pool_of(entry.spec.pool.as_deref()).or_else(|_| self.pool_of(None));
        let pool = pool.expect("one of the pools is the default one");
        let locality_wait = self.settings.locality_wait;
        let slowstart = entry.spec.slowstart(self.settings.reduce_slowstart);
        let turn = (speculative, pool);
        let mut live = LiveJob::new(job, entry, self.epoch(), turn, slowstart, locality_wait);
        live.paused.pool = self.paused_pool_of(&live).is_some();
        self.jobs.insert(live);
        self.limit_time(now, job);
    }

    /// Has the edge make a chunk store call that `job` needs.
    pub(crate) fn call_store(&mut self, job: JobId, call: StoreCall) {
        let Some(entry) = self.durable.job(job) else { return };
        let spec = Arc::clone(&entry.spec);
        match (call, &entry.stage) {
            (StoreCall::Plan, _) => {
                self.live_mut(job).into_iter().for_each(|live| live.planning = true);
                self.effect(Effect::Store(StoreEffect::PlanSplits {
                    job,
                    spec,
                    staging: staging_folder(job),
                }));
            }
            (StoreCall::MakeStaging, _) => {
                self.live_mut(job).into_iter().for_each(|live| live.planning = true);
                let staging = staging_folder(job);
                self.effect(Effect::Store(StoreEffect::MakeStaging { job, staging }));
            }
            (StoreCall::ReadSplits, Stage::Running(running)) => {
                if let SplitList::Staged(list) = running.list.clone() {
                    self.effect(Effect::Store(StoreEffect::ReadSplits { job, list }));
                }
            }
            (StoreCall::Publish, Stage::Running(_)) => self.publish(job),
            (StoreCall::ReadSplits | StoreCall::Publish, Stage::Planning | Stage::Ended(_)) => {}
        }
    }

    /// The chunk store did not answer: repeats the call after a while.
    pub(crate) fn retry_store(&mut self, now: Now, job: JobId, call: StoreCall, reason: String) {
        self.effect(Effect::Tell(Notice::StoreUnavailable { job, reason }));
        self.retry_later(now, job, call);
    }

    fn retry_later(&mut self, now: Now, job: JobId, call: StoreCall) {
        if let Some(live) = self.live_mut(job) {
            live.to_retry.insert(call);
            self.timers.set(now.monotonic + crate::STORE_RETRY, Timer::Store(job));
        }
    }

    pub(crate) fn handle_store_retry(&mut self, now: Now, job: JobId) {
        let has_room = self.room == Room::Ample;
        let Some(live) = self.live_mut(job) else { return self.remove_staging(job) };
        for call in std::mem::take(&mut live.to_retry) {
            // A plan would be refused, and what was made for it would stay in the chunk store.
            if call == StoreCall::Plan && !has_room {
                self.retry_later(now, job, call);
            } else {
                self.call_store(job, call);
            }
        }
    }

    pub(crate) fn handle_planned(&mut self, now: Now, job: JobId, outcome: StoreOutcome<Plan>) {
        match self.live_mut(job) {
            Some(live) => live.planning = false,
            // The job ended before its staging folder was made, so it could not be removed then.
            None => return self.remove_staging(job),
        }
        if !self.durable.job(job).is_some_and(|entry| matches!(entry.stage, Stage::Planning)) {
            return;
        }
        match outcome {
            StoreOutcome::Done(plan) if plan.splits.len() > SPLITS_MAX => {
                let n = plan.splits.len();
                let reason = format!(
                    "the input makes {n} splits, a job has at most {SPLITS_MAX}: use larger chunks or fewer files"
                );
                self.end_job(now, job, JobState::Failed, Some(reason));
            }
            StoreOutcome::Done(plan) if self.is_unpublishable(job, &plan) => {
                let n = plan.splits.len();
                let reason = format!(
                    "the input makes {n} splits, a map-only job has at most {PARTS_MAX} since each becomes a file: use larger chunks, set a larger 'jobtracker.split_bytes', or let the job have reduces"
                );
                self.end_job(now, job, JobState::Failed, Some(reason));
            }
            StoreOutcome::Done(plan) => self.plan(now.monotonic, job, plan),
            StoreOutcome::Refused { reason } => {
                let reason = format!("its splits could not be planned: {reason}");
                self.end_job(now, job, JobState::Failed, Some(reason));
            }
            StoreOutcome::Unavailable { reason } => {
                self.retry_store(now, job, StoreCall::Plan, reason);
            }
        }
    }

    /// Whether a map-only job would have more parts than one publication allows.
    fn is_unpublishable(&self, job: JobId, plan: &Plan) -> bool {
        let map_only = self.durable.job(job).is_some_and(|entry| entry.n_reduces == 0);
        map_only && plan.splits.len() > PARTS_MAX
    }

    fn plan(&mut self, now: Monotonic, job: JobId, plan: Plan) {
        let n_maps = u32::try_from(plan.splits.len()).expect("SPLITS_MAX is less than u32::MAX");
        let (splits, places) = shared(plan.splits, &mut self.trackers.numbers);
        let input_bytes = splits.iter().map(|planned| planned.split.length()).sum();
        let list = match plan.staged {
            Some(staged) => SplitList::Staged(staged),
            None => SplitList::Inline(Arc::clone(&splits)),
        };
        self.record(Record::SplitsPlanned { job, n_maps, input_bytes, list });
        self.begin_tasks(job);
        self.on_splits(job, splits, places);
        self.commit_if_done(now, job);
    }

    /// The tasks of a planned job exist from now on.
    pub(crate) fn begin_tasks(&mut self, job: JobId) {
        let (jobs, durable) = (&mut self.jobs, &self.durable);
        if let (Some(live), Some(entry)) = (jobs.get_mut(&Fifo::of(job)), durable.running(job)) {
            live.on_planned(entry, &mut self.trackers.numbers);
            let maps = (0..).zip(&entry.maps);
            let won = maps.filter_map(|(map, entry)| Some((map, entry.winner.as_ref()?)));
            for (map, winner) in won.filter(|_| entry.needs_map_outputs()) {
                self.held.add(job, map, &winner.host);
            }
        }
    }

    pub(crate) fn handle_splits_read(
        &mut self,
        now: Now,
        job: JobId,
        outcome: StoreOutcome<Vec<PlannedSplit>>,
    ) {
        let Some(n_maps) = self.durable.running(job).map(|running| running.maps.len()) else {
            return;
        };
        // A job with complete output needs no splits, and its staging folder may be gone.
        if self.live(job).is_none_or(|live| live.has_splits() || live.committing) {
            return;
        }
        let refused = match outcome {
            StoreOutcome::Done(splits) if splits.len() == n_maps => {
                let (splits, places) = shared(splits, &mut self.trackers.numbers);
                return self.on_splits(job, splits, places);
            }
            StoreOutcome::Unavailable { reason } => {
                return self.retry_store(now, job, StoreCall::ReadSplits, reason);
            }
            StoreOutcome::Done(splits) => {
                format!("it names {} splits instead of {n_maps}", splits.len())
            }
            StoreOutcome::Refused { reason } => reason,
        };
        let reason = format!("its split list could not be read again after a restart: {refused}");
        self.end_job(now, job, JobState::Failed, Some(reason));
    }

    /// The splits are few, so that they are recorded while the staging folder is being made.
    pub(crate) fn handle_splits_found(&mut self, now: Now, job: JobId, splits: Vec<PlannedSplit>) {
        let plan = Plan { splits, staged: None };
        let is_planning =
            self.durable.job(job).is_some_and(|entry| matches!(entry.stage, Stage::Planning));
        // A refusal is reported when the folder exists and planning is repeated.
        if !is_planning || plan.splits.len() > SPLITS_MAX || self.is_unpublishable(job, &plan) {
            return;
        }
        if let Some(live) = self.live_mut(job) {
            live.awaits_staging = Some(None);
            self.plan(now.monotonic, job, plan);
        }
    }

    pub(crate) fn handle_staging_made(&mut self, now: Now, job: JobId, outcome: StoreOutcome<()>) {
        match self.live_mut(job) {
            Some(live) => live.planning = false,
            // As in `handle_planned`.
            None => return self.remove_staging(job),
        }
        let is_planned = self.durable.running(job).is_some();
        match outcome {
            StoreOutcome::Done(()) if is_planned => self.has_staging(now, job),
            // The splits that were found were not accepted.
            StoreOutcome::Done(()) => self.retry_later(now, job, StoreCall::Plan),
            StoreOutcome::Refused { reason } => {
                let reason = format!("its staging folder could not be made: {reason}");
                self.end_job(now, job, JobState::Failed, Some(reason));
            }
            StoreOutcome::Unavailable { reason } => {
                self.retry_store(now, job, StoreCall::MakeStaging, reason);
            }
        }
    }

    /// The staging folder exists: tasks that waited for it now wait for slots.
    fn has_staging(&mut self, now: Now, job: JobId) {
        let Some(live) = self.live_mut(job) else { return };
        if let Some(Some((splits, places))) = live.awaits_staging.take() {
            self.on_splits(job, splits, places);
        }
        self.commit_if_done(now.monotonic, job);
    }

    /// The splits are known: every task without a winner or running attempt waits for a slot.
    pub(crate) fn on_splits(&mut self, job: JobId, splits: Arc<[PlannedSplit]>, places: Places) {
        let (jobs, trackers) = (&mut self.jobs, &self.trackers);
        let Some(live) = jobs.get_mut(&Fifo::of(job)).filter(|live| live.id == job) else { return };
        if let Some(waiting) = &mut live.awaits_staging {
            *waiting = Some((splits, places));
            return;
        }
        live.set_splits(splits, places);
        let Some(entry) = self.durable.running(job) else { return };
        live.all_wait(entry, trackers);
        self.unsettled = true;
        self.place_running_maps(job);
    }

    /// Only now is it known how close to their input the maps run that survived a restart.
    fn place_running_maps(&mut self, job: JobId) {
        let Some(live) = self.live(job) else { return };
        let unplaced = live.live_attempts(TaskKind::Map).filter(|(_, map)| map.place.is_none());
        let unplaced = unplaced.map(|(task, map)| (task.attempt(map.number), map.host.clone()));
        for (attempt, host) in unplaced.collect::<Vec<_>>() {
            let place = self.place(attempt.task, &host);
            self.live_mut(job).into_iter().for_each(|live| live.set_place(attempt, place));
        }
    }
}
