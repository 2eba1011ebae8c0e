//! Jobs and pools paused by clients. Until it is resumed, no attempt of a paused job is launched,
//! and no other job waits for it. Running attempts go on to their end, unless the client asks for
//! them to end now; but reduces that wait for maps which are not launched give their slots back. A
//! job whose tasks are all done is still published. Pauses are durable; a job's own pause outlives
//! that of its pool, which also applies to later jobs.

use mapreduce_protocol::{JobId, TaskKind};

use crate::durable::Stage;
use crate::job::LiveJob;
use crate::locality::Patience;
use crate::machine::Core;
use crate::messages::ReplyTo;
use crate::records::Record;
use crate::refusal::Refusal;

/// Why no attempt of a job is launched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Paused {
    /// A client has paused the job.
    pub(crate) itself: bool,
    /// A client has paused its pool.
    pub(crate) pool: bool,
}

impl Paused {
    /// Whether the job or its pool is paused.
    pub(crate) fn at_all(self) -> bool {
        self.itself || self.pool
    }
}

impl Core {
    pub(crate) fn handle_pause(&mut self, job: JobId, kill: bool, to: ReplyTo) {
        if let Err(refusal) = self.check_unfinished(job) {
            return self.refuse_with(to, refusal);
        }
        if self.live(job).is_some_and(|live| !live.paused.itself) {
            self.record(Record::JobPaused { job });
            self.set_paused(job, |paused| paused.itself = true);
        }
        if kill {
            self.suspend(job, TaskKind::Map);
            self.suspend(job, TaskKind::Reduce);
        }
        self.reply_status(job, to);
    }

    pub(crate) fn handle_resume(&mut self, job: JobId, to: ReplyTo) {
        if let Err(refusal) = self.check_unfinished(job) {
            return self.refuse_with(to, refusal);
        }
        if self.live(job).is_some_and(|live| live.paused.itself) {
            self.record(Record::JobResumed { job });
            self.set_paused(job, |paused| paused.itself = false);
        }
        self.reply_status(job, to);
    }

    pub(crate) fn pause_pool(&mut self, pool: &str, jobs: &[JobId], kill: bool) {
        if !self.durable.is_pool_paused(pool) {
            self.record(Record::PoolPaused { pool: pool.to_owned() });
        }
        for job in jobs {
            self.follow_pool(*job);
            if kill {
                self.suspend(*job, TaskKind::Map);
                self.suspend(*job, TaskKind::Reduce);
            }
        }
    }

    pub(crate) fn resume_pool(&mut self, pool: &str, jobs: &[JobId]) {
        if self.durable.is_pool_paused(pool) {
            self.record(Record::PoolResumed { pool: pool.to_owned() });
        }
        jobs.iter().for_each(|job| self.follow_pool(*job));
    }

    /// Makes a job's pause follow its pool's.
    fn follow_pool(&mut self, job: JobId) {
        let is_paused = self.live(job).is_some_and(|live| self.paused_pool_of(live).is_some());
        self.set_paused(job, |paused| paused.pool = is_paused);
    }

    pub(crate) fn check_unfinished(&self, job: JobId) -> Result<(), Refusal> {
        let entry = self.durable.job(job).ok_or(Refusal::NoSuchJob { job })?;
        match &entry.stage {
            Stage::Ended(ended) => Err(Refusal::JobEnded { job, state: ended.state }),
            Stage::Planning | Stage::Running(_) => Ok(()),
        }
    }

    fn set_paused(&mut self, job: JobId, change: impl Fn(&mut Paused)) {
        if let Some(live) = self.live_mut(job) {
            change(&mut live.paused);
            // The slots it declined before the pause say nothing of how long its maps should wait
            // now.
            live.patience = Patience::default();
        }
        self.unsettled = true;
    }

    /// Ends the running attempts of one kind; their tasks wait again.
    fn suspend(&mut self, job: JobId, kind: TaskKind) {
        let Some(live) = self.live(job) else { return };
        let running = live.live_attempts(kind).map(|(task, it)| task.attempt(it.number));
        for attempt in running.collect::<Vec<_>>() {
            self.kill_attempt(attempt, "its job is paused");
            self.wait_again(attempt.task);
        }
    }

    /// Reduces of a paused job with waiting maps cannot finish: frees their slots for others. Must
    /// be called before slots are filled.
    pub(crate) fn suspend_reduces_of_paused_jobs(&mut self) {
        if self.jobs.order().flagged().holding_while_paused == 0 {
            return;
        }
        let holds_while_paused = |live: &&LiveJob| {
            let waits_for_maps = live.paused.at_all() && !live.waiting_maps().is_empty();
            waits_for_maps && live.tasks(TaskKind::Reduce).running > 0
        };
        let jobs = self.jobs.values().filter(holds_while_paused).map(|live| live.id);
        for job in jobs.collect::<Vec<_>>() {
            self.suspend(job, TaskKind::Reduce);
        }
    }
}
