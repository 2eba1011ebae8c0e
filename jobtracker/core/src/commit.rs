//! The end of a job. Winners are chosen one by one as attempts succeed. When every task has one,
//! the chunk master publishes their output in one transaction (in another store the edge does, file
//! by file), and only then has the job succeeded.

use ids::{Monotonic, Now};
use mapreduce_protocol::{
    AttemptId, Failure, FailureKind, JobId, JobState, NamedOutput, TaskId, TaskKind,
    TrackerCommand, is_url, staged_name,
};

use crate::bounds::cut;
use crate::durable::Stage;
use crate::job::{StoreCall, staging_folder};
use crate::machine::Core;
use crate::messages::{Effect, Notice, Reply, ReplyTo, StoreEffect, StoreOutcome};
use crate::parts::{Part, PartElsewhere};
use crate::records::Record;
use crate::refusal::Refusal;
use crate::running::RunningEntry;
use crate::task::LiveAttempt;
use crate::timers::Timer;
use crate::trackers::Occupied;

impl Core {
    /// Publishes the output if every task has its winner.
    pub(crate) fn commit_if_done(&mut self, now: Monotonic, job: JobId) {
        let done = self.durable.running(job).is_some_and(RunningEntry::is_done);
        let Some(live) = self.live_mut(job) else { return };
        if done && !live.committing && live.awaits_staging.is_none() {
            live.committing = true;
            live.phase_starts.commit(now);
            self.held.forget(job);
            self.end_attempts(job, "the job's output is complete");
            self.call_store(job, StoreCall::Publish);
        }
    }

    /// Requests the publication, with the same arguments each time: repeating it is harmless.
    pub(crate) fn publish(&mut self, job: JobId) {
        let Some(entry) = self.durable.job(job) else { return };
        let Stage::Running(running) = &entry.stage else { return };
        let kind = match running.reduces.is_empty() {
            true => TaskKind::Map,
            false => TaskKind::Reduce,
        };
        let forms = entry.spec.output_forms();
        let mut parts = Vec::new();
        for (task, entry) in running.entries(job).filter(|_| forms.has_parts()) {
            if let Some(winner) = entry.winner.as_ref().filter(|_| task.kind == kind) {
                let attempt = task.attempt(winner.number);
                let staged = winner.staged.as_deref().cloned();
                let published = forms.part_name(task);
                parts.push(PartElsewhere { attempt, named: None, staged, published });
            }
            let (number, named) = entry.named();
            parts.extend(named.iter().map(|NamedOutput { name, staged }| PartElsewhere {
                attempt: task.attempt(number),
                named: Some(name.clone()),
                staged: staged.clone(),
                published: forms.part_name_of(name, task),
            }));
        }
        if is_url(&entry.spec.output) {
            let target = entry.spec.output.clone();
            return self.effect(Effect::Store(StoreEffect::PublishElsewhere {
                job,
                target,
                parts,
            }));
        }
        let part = |PartElsewhere { attempt, named, published, .. }| Part {
            staged: staged_name(attempt, named.as_deref()),
            published,
        };
        let parts = parts.into_iter().map(part).collect();
        let (staging, target) = (staging_folder(job), entry.spec.output.clone());
        let (submitted_at, owner) = (entry.submitted_at, entry.owner.clone());
        self.effect(Effect::Store(StoreEffect::Publish {
            job,
            submitted_at,
            staging,
            parts,
            target,
            owner,
        }));
    }

    pub(crate) fn handle_published(&mut self, now: Now, job: JobId, outcome: StoreOutcome<()>) {
        if !self.live(job).is_some_and(|live| live.committing) {
            return;
        }
        match outcome {
            StoreOutcome::Done(()) => self.end_job(now, job, JobState::Succeeded, None),
            StoreOutcome::Refused { reason } => {
                let reason = format!("its output could not be published: {reason}");
                self.end_job(now, job, JobState::Failed, Some(reason));
            }
            StoreOutcome::Unavailable { reason } => {
                self.retry_store(now, job, StoreCall::Publish, reason);
            }
        }
    }

    pub(crate) fn handle_kill(&mut self, now: Now, job: JobId, reply_to: ReplyTo) {
        let Some(entry) = self.durable.job(job) else {
            return self.refuse_with(reply_to, Refusal::NoSuchJob { job });
        };
        if let Stage::Ended(ended) = &entry.stage {
            let state = ended.state;
            return self.refuse_with(reply_to, Refusal::JobEnded { job, state });
        }
        if self.live(job).is_some_and(|live| live.committing) {
            return self.refuse_with(reply_to, Refusal::Committing { job });
        }
        let reason = "it was killed by a client's request".to_owned();
        self.end_job(now, job, JobState::Killed, Some(reason));
        if let Some(status) = self.status(job) {
            self.reply(reply_to, Reply::Status(Box::new(status)));
        }
    }

    /// Brings a job to its final state and notifies everybody.
    pub(crate) fn end_job(
        &mut self,
        now: Now,
        job: JobId,
        state: JobState,
        failure: Option<String>,
    ) {
        self.end_attempts(job, "its job is over");
        let Some(live) = self.live(job) else { return };
        let entry = self.durable.running(job);
        let (maps, reduces) =
            (live.counts(TaskKind::Map, entry), live.counts(TaskKind::Reduce, entry));
        let failure = failure.map(|reason| cut(reason, mapreduce_protocol::FAILURE_BYTES_MAX));
        let planning = live.planning;
        let (took, phases) = self.job_times(now, job);
        let phases = phases.filter(|_| state == JobState::Succeeded);
        self.effect(Effect::Tell(Notice::JobEnded { job, state, took, phases }));
        self.record(Record::JobEnded { job, state, failure, at: now.wall, maps, reduces });
        self.keep_history(job);
        self.jobs.remove(job);
        self.held.forget(job);
        self.trackers.tell_all(&TrackerCommand::Purge { job });
        // While the job is being planned, the folder may still appear: it is removed when the plan
        // arrives.
        if !planning {
            self.remove_staging(job);
        }
        self.on_ended(job);
        self.give_up_histories();
        self.forget_oldest();
        self.unsettled = true;
    }

    /// Ends all attempts of the job; none may win any more.
    fn end_attempts(&mut self, job: JobId, reason: &str) {
        for kind in [TaskKind::Map, TaskKind::Reduce] {
            let Some(live) = self.live(job) else { return };
            let running = live.live_attempts(kind).map(|(task, it)| task.attempt(it.number));
            for attempt in running.collect::<Vec<_>>() {
                self.kill_attempt(attempt, reason);
            }
        }
        if let Some(live) = self.live_mut(job) {
            live.clear_waiting();
        }
    }

    pub(crate) fn remove_staging(&mut self, job: JobId) {
        if self.leaves_staging(job) {
            let output = self.durable.job(job).map(|entry| entry.spec.output.clone());
            let (staging, elsewhere) =
                (staging_folder(job), output.filter(|output| is_url(output)));
            self.effect(Effect::Store(StoreEffect::RemoveStaging { job, staging, elsewhere }));
        }
    }

    /// Whether an ended job's staging folder, or its staged data in another store, may still exist.
    pub(crate) fn leaves_staging(&self, job: JobId) -> bool {
        self.durable.job(job).is_some_and(|entry| match &entry.stage {
            Stage::Ended(ended) => !ended.staging_removed,
            Stage::Planning | Stage::Running(_) => false,
        })
    }

    pub(crate) fn handle_removed(&mut self, now: Now, job: JobId, outcome: &StoreOutcome<()>) {
        if self.durable.job(job).is_none() {
            return;
        }
        match outcome {
            StoreOutcome::Done(()) | StoreOutcome::Refused { .. } => {
                self.record(Record::StagingRemoved { job });
                self.forget_oldest();
            }
            StoreOutcome::Unavailable { .. } => {
                self.timers.set(now.monotonic + crate::STORE_RETRY, Timer::Store(job));
            }
        }
    }

    /// Forgets the jobs that ended first, except those whose staging folder is still to be removed
    /// or whose history is still to be written: nobody else would do that.
    pub(crate) fn forget_oldest(&mut self) {
        while self.durable.ended().len() > self.settings.finished_jobs_max {
            let is_done = |job| !self.leaves_staging(job) && self.unwritten(job).is_none();
            let oldest = self.durable.ended().iter().find(|job| is_done(**job));
            let Some(job) = oldest.copied() else { return };
            self.record(Record::JobForgotten { job });
        }
    }

    /// Tells the trackers to end the running attempts of `task`, which may no longer win.
    pub(crate) fn kill_live(&mut self, task: TaskId, reason: &str) {
        let running = self.live(task.job).map_or(&[][..], |live| live.live(task));
        for number in running.iter().map(|live| live.number).collect::<Vec<_>>() {
            self.kill_attempt(task.attempt(number), reason);
        }
    }

    /// Tells its tracker to end a running attempt, which may no longer win.
    pub(crate) fn kill_attempt(&mut self, attempt: AttemptId, reason: &str) {
        if let Some(live) = self.withdraw(attempt, reason) {
            let why = Failure { kind: FailureKind::Killed, message: reason.to_owned() };
            self.on_killed(attempt, live, why);
        }
    }

    /// Ends a running attempt like `kill_attempt`, but the caller records how it counts; `None` if
    /// the attempt does not run.
    pub(crate) fn withdraw(&mut self, attempt: AttemptId, reason: &str) -> Option<LiveAttempt> {
        let live = self.take_attempt(attempt)?;
        let since = self.last_input.unwrap_or_default();
        if let Some(mut tracker) = self.trackers.get_mut(&live.host) {
            tracker.occupy(attempt, Occupied::Ending { since });
        }
        let reason = reason.to_owned();
        self.trackers.tell(&live.host, TrackerCommand::Kill { attempt, reason });
        Some(live)
    }
}
