//! Outcomes of attempts: they win, fail or are lost, and their outputs may be lost. Trackers'
//! reports arrive here through `heartbeat` and `registration`.

use ids::{HostName, Now};
use mapreduce_protocol::{
    AttemptId, AttemptResult, Blame, DIGEST_BYTES_MAX, FailedRecord, Failure, FailureKind, JobId,
    JobState, MapEvent, Split, Strike, TaskId, TaskKind, TrackerCommand, TrackerEvent,
};

use crate::bounds::{cut, told, why_too_long};
use crate::counters::bounded;
use crate::exclusions::SuspicionRule;
use crate::machine::{Core, Fifo};
use crate::numbers::{HostNumber, Place};
use crate::records::{KilledAttempt, Record, Span};
use crate::schedule::{maps_needed, starts_reduces};
use crate::task::LiveAttempt;
use crate::trackers::Tracker;

impl Core {
    /// Handles an event that the tracker on `host` reports for the first time.
    pub(crate) fn handle_event(
        &mut self,
        now: Now,
        (at, host): (HostNumber, &HostName),
        event: TrackerEvent,
    ) {
        match event {
            TrackerEvent::Succeeded { attempt, result } => {
                self.free_slot(at, attempt);
                self.on_succeeded(now, (at, host), attempt, result);
            }
            TrackerEvent::Failed { attempt, failure, status, record } => {
                self.free_slot(at, attempt);
                let job = self.live_mut(attempt.task.job);
                if let Some(live) = job.and_then(|job| job.live_mut(attempt)) {
                    live.say(status.as_deref());
                }
                self.on_failed(now, attempt, (failure, record));
            }
            TrackerEvent::FetchFailed { reduce, map, message: _ } => {
                // A task's program may be native and report any map of any job: believe only a
                // running reduce of the same job on this host.
                let of_job =
                    reduce.task.job == map.task.job && reduce.task.kind == TaskKind::Reduce;
                if of_job && self.is_current(host, reduce) {
                    self.on_fetch_failed(now, reduce.task, map);
                }
            }
            TrackerEvent::MapOutputLost { attempt } => {
                if self.on_output_lost(attempt) {
                    self.strike_for_loss(now, host, Strike::OutputLost { job: attempt.task.job });
                }
            }
        }
    }

    fn free_slot(&mut self, host: HostNumber, attempt: AttemptId) {
        if let Some(mut tracker) = self.trackers.at_mut(host) {
            tracker.free(attempt);
            self.unsettled = true;
        }
    }

    /// The first attempt to succeed wins, even one that had been given up: its output is as good.
    fn on_succeeded(
        &mut self,
        now: Now,
        (at, host): (HostNumber, &HostName),
        attempt: AttemptId,
        mut result: AttemptResult,
    ) {
        let task = attempt.task;
        let job = task.job;
        let Some(live) = self.live(job) else { return };
        let Some(entry) = self.durable.task(task) else { return };
        let winner = entry.winner.as_ref().map(|winner| winner.number);
        if winner == Some(attempt.number) || self.is_undone(attempt) {
            return;
        }
        // A client may have failed it while the report of its success was in flight.
        let void = entry.lost(attempt.number) || entry.failed(attempt.number);
        if winner.is_some() || void || live.committing {
            return self.drop_output(host, attempt);
        }
        result.digest = cut(result.digest, DIGEST_BYTES_MAX);
        result.counters = bounded(result.counters);
        if let Some(why) = why_too_long(&result) {
            self.drop_output(host, attempt);
            return self.on_refused(now, attempt, &why);
        }
        let (place, ran_ms, span) = match self.take_attempt(attempt) {
            Some(won) => (won.place, self.learn_pace(now, at, attempt, &won), won.span(now.wall)),
            None => {
                let span = Span { ended_at: now.wall, ..Span::default() };
                (self.place_at(task, at), None, span)
            }
        };
        self.kill_live(task, "another attempt of its task succeeded first");
        if let Some(live) = self.live_mut(job) {
            live.stop_waiting(task);
        }
        self.absolve(now, host, task);
        if let (Some(tracker), Some(sizes)) = (self.trackers.at(at), &result.sizes) {
            let place = Place { host: at, rack: tracker.rack_number };
            self.live_mut(job).into_iter().for_each(|live| live.learn_sizes(place, sizes));
        }
        let other_bytes = task.kind == TaskKind::Map
            && self.durable.task(task).is_some_and(|e| e.lost_other_than(&result.digest));
        // In this order: if the power fails between the two records, the map's success is reported
        // again, and nothing else is wrong.
        if other_bytes {
            self.undo_reduces(attempt);
        }
        self.record(Record::TaskSucceeded {
            attempt,
            host: host.clone(),
            digest: result.digest,
            counters: result.counters,
            place,
            staged: result.staged,
            named: result.named,
            ran_ms,
            span,
        });
        if task.kind == TaskKind::Map {
            if self.has_reduces(job) {
                self.held.add(job, task.index, host);
            }
            self.announce(attempt);
            self.note_map_done(now, job);
        }
        self.unsettled = true;
        self.commit_if_done(now.monotonic, job);
    }

    /// An attempt succeeded with a result too long for the journal, as it would be every time.
    fn on_refused(&mut self, now: Now, attempt: AttemptId, why: &str) {
        let Some(ended) = self.take_attempt(attempt) else { return };
        let message = format!("its success can't be written down: {why}");
        let failure = Failure { kind: FailureKind::BadJob, message };
        self.count_failure(now, attempt, &ended, (failure, None));
    }

    /// Called when a map is done: reduces may start once enough are, and have all their inputs once
    /// the last is.
    fn note_map_done(&mut self, now: Now, job: JobId) {
        let Some(entry) = self.durable.running(job) else { return };
        let Some(slowstart) = self.live(job).map(|live| live.slowstart) else { return };
        let needed = maps_needed(entry, slowstart);
        let all_done = entry.maps_done as usize == entry.maps.len();
        let just_enough = (f64::from(entry.maps_done) - needed).abs() < 0.5;
        let may_start = starts_reduces(entry, slowstart);
        let (jobs, trackers) = (&mut self.jobs, &self.trackers);
        let Some(live) = jobs.get_mut(&Fifo::of(job)) else { return };
        if just_enough {
            live.demands_more();
        }
        if may_start {
            live.place_reduces(trackers, all_done);
        }
        if all_done {
            // Maps that run again later hold up reduces, which is part of what these take.
            live.maps_done_at.get_or_insert(now.monotonic);
        }
    }

    /// A map's output differs from what it made before: void every reduce that may have read the
    /// old one.
    fn undo_reduces(&mut self, map: AttemptId) {
        let job = map.task.job;
        let Some(entry) = self.durable.running(job) else { return };
        let n_reduces = u32::try_from(entry.reduces.len()).unwrap_or(u32::MAX);
        let undone_below = entry.reduces_from;
        let Some(live) = self.live_mut(job) else { return };
        let reduces_from = live.renumber_reduces();
        if reduces_from > undone_below {
            self.record(Record::ReducesUndone { map, reduces_from });
        }
        for task in (0..n_reduces).map(|index| job.task(TaskKind::Reduce, index)) {
            self.kill_live(task, "a map that it may have read was run again and made other bytes");
            self.wait_again(task);
        }
    }

    /// Whether `attempt` is a reduce that may have read a map's old output before the map made a
    /// different one. It may be reported late or survive a restart, but must never win.
    pub(crate) fn is_undone(&self, attempt: AttemptId) -> bool {
        let from = self.durable.running(attempt.task.job).map_or(0, |entry| entry.reduces_from);
        attempt.task.kind == TaskKind::Reduce && attempt.number < from
    }

    /// Tells the reduces where a map's winning output is; does nothing if its tracker is not
    /// registered or no reduce needs it.
    pub(crate) fn announce(&mut self, attempt: AttemptId) {
        let Some(entry) = self.durable.running(attempt.task.job) else { return };
        let winner = entry.maps.get(attempt.task.index as usize).and_then(|e| e.winner.as_ref());
        let (Some(winner), true) = (winner, entry.needs_map_outputs()) else { return };
        let Some(tracker) = self.trackers.get(&winner.host) else { return };
        let event = MapEvent::Available {
            attempt,
            host: winner.host.clone(),
            address: tracker.address.clone(),
            digest: winner.digest.to_string(),
        };
        let (jobs, trackers) = (&mut self.jobs, &mut self.trackers);
        if let Some(live) = jobs.get_mut(&Fifo::of(attempt.task.job)) {
            live.unreported.remove(&attempt.task.index);
            live.publish_event(event, trackers);
        }
    }

    fn on_failed(
        &mut self,
        now: Now,
        attempt: AttemptId,
        (failure, record): (Failure, Option<FailedRecord>),
    ) {
        let Some(ended) = self.take_attempt(attempt) else { return };
        if failure.kind.blame() == Blame::Nobody {
            self.on_killed(attempt, ended, failure);
            return self.wait_again(attempt.task);
        }
        self.count_failure(now, attempt, &ended, (failure, record));
    }

    /// Counts the failure of an attempt that no longer runs, at `record` if that is known.
    pub(crate) fn count_failure(
        &mut self,
        now: Now,
        attempt: AttemptId,
        ended: &LiveAttempt,
        (mut failure, record): (Failure, Option<FailedRecord>),
    ) {
        let (task, host, blame) = (attempt.task, &ended.host, failure.kind.blame());
        failure.message = cut(failure.message, mapreduce_protocol::FAILURE_BYTES_MAX);
        let record = self.failed_at(task, &mut failure, record);
        self.record(Record::AttemptFailed {
            attempt,
            host: host.clone(),
            failure: failure.clone(),
            place: ended.place,
            split: self.split(task).and_then(told),
            span: ended.span(now.wall),
            status: ended.status.clone(),
            record: record.clone(),
        });
        // A record that fails every time does not count against the host.
        if !self.is_skipped(task, record.as_ref()) {
            self.blame_host(now, host, task, blame);
        }
        let given_up = match blame {
            Blame::Task => self.why_given_up(task),
            Blame::Host => self.why_no_host_is_left(task, host, &failure),
            Blame::Job => {
                let reading = self.split(task).map(|split| format!(", {split}"));
                let reading = reading.unwrap_or_default();
                let message = &failure.message;
                Some(format!("{task}{reading}, can't run on any host: {message}"))
            }
            Blame::Nobody => None,
        };
        match given_up {
            Some(reason) => self.end_job(now, task.job, JobState::Failed, Some(reason)),
            None => {
                self.keep_log(attempt, host);
                self.wait_again(task);
            }
        }
    }

    /// Notes where `task` failed, and whether the host may be at fault.
    fn blame_host(&mut self, now: Now, host: &HostName, task: TaskId, blame: Blame) {
        let rule = SuspicionRule {
            failures: self.settings.host_failures_max,
            n_hosts: self.trackers.len(),
            share: self.settings.set_aside_share,
        };
        let Some(live) = self.live_mut(task.job) else { return };
        live.demands_more();
        match blame {
            Blame::Host => {
                if live.exclusions.add(now.monotonic, host, task.kind) {
                    self.strike_for_loss(now, host, Strike::Failures { job: task.job });
                }
            }
            Blame::Task => {
                live.task_mut(task).into_iter().for_each(|it| it.failed_on(host));
                live.exclusions.suspect(now.monotonic, host, task, rule);
            }
            Blame::Job | Blame::Nobody => {}
        }
    }

    /// `task` succeeded on `host`: earlier failures elsewhere may have been those hosts' fault.
    fn absolve(&mut self, now: Now, host: &HostName, task: TaskId) {
        let enough = self.settings.host_failures_max;
        let Some(live) = self.live_mut(task.job) else { return };
        live.exclusions.absolve(host, task.kind);
        let failed_on = live.task(task).map(|state| state.avoid().to_vec()).unwrap_or_default();
        for other in failed_on.iter().filter(|other| *other != host) {
            let refuted =
                self.live_mut(task.job).is_some_and(|it| it.exclusions.refute(other, task, enough));
            if refuted {
                self.strike(now, other, Strike::Failures { job: task.job });
            }
        }
    }

    /// Why a host fault fails the job: only if every open host has failed as many times in a row as
    /// a task may.
    fn why_no_host_is_left(
        &self,
        task: TaskId,
        host: &HostName,
        failure: &Failure,
    ) -> Option<String> {
        let max_attempts = self.durable.job(task.job)?.max_attempts;
        let exclusions = &self.live(task.job)?.exclusions;
        let may_do = |(other, tracker): (&HostName, &Tracker)| {
            (tracker.is_open() || other == host) && exclusions.faults(other) < max_attempts
        };
        if self.trackers.iter().any(may_do) {
            return None;
        }
        Some(format!(
            "no host is left that has room for its tasks: each of {} failed {max_attempts} times in a row, \
             last {task} on {host}: {}; make space in the TaskTrackers' data folders or add a host, and \
             submit again{}",
            exclusions.n_failed(max_attempts),
            failure.message,
            match self.trackers.iter().filter(|(_, tracker)| !tracker.is_open()).count() {
                0 => String::new(),
                n => format!(" (`howdah host list` says why {n} others get no attempts)"),
            }
        ))
    }

    /// A reduce cannot fetch a map's output. That reduce may have a bad network, and a restarting
    /// tracker is soon back: the map runs again only when several reduces report it for a while,
    /// one reports it for long, or the tracker is gone. (A tracker that finds an output missing
    /// reports it lost itself, which takes effect at once.)
    fn on_fetch_failed(&mut self, now: Now, reduce: TaskId, map: AttemptId) {
        let Some(winner) = self.durable.task(map.task).and_then(|entry| entry.winner.as_ref())
        else {
            return;
        };
        if winner.number != map.number || map.task.kind != TaskKind::Map {
            return;
        }
        let reachable = self.trackers.is_live(&winner.host);
        let winner_host = winner.host.clone();
        let (reports_max, patience) = (self.settings.fetch_failures_max, self.settings.dead_after);
        let Some(live) = self.live_mut(map.task.job) else { return };
        let reports_needed = reports_max.min(live.tasks(TaskKind::Reduce).running).max(1);
        let reports = live.fetch_reports.entry(map).or_default();
        reports.add(now.monotonic, reduce.index, patience);
        let believed = reports.believed(now.monotonic, reports_needed, patience);
        // After a JobTracker restart, a tracker that has not registered yet has not lost anything.
        let unreported = live.unreported.contains(&map.task.index);
        if believed || (!reachable && !unreported) {
            if reachable {
                self.strike_for_loss(now, &winner_host, Strike::OutputLost { job: map.task.job });
            }
            self.on_output_lost(map);
        }
    }

    /// A map's output is gone. If a reduce may still need it, the map runs again, and this returns
    /// true.
    pub(crate) fn on_output_lost(&mut self, map: AttemptId) -> bool {
        let Some(entry) = self.durable.running(map.task.job) else { return false };
        let winner = entry.maps.get(map.task.index as usize).and_then(|e| e.winner.as_ref());
        let Some(winner) = winner.filter(|winner| winner.number == map.number) else {
            return false;
        };
        if map.task.kind != TaskKind::Map || !entry.needs_map_outputs() {
            return false;
        }
        let host = winner.host.clone();
        self.record(Record::MapOutputLost { attempt: map });
        self.held.remove(map.task.job, map.task.index, &host);
        self.drop_output(&host, map);
        let (jobs, trackers) = (&mut self.jobs, &mut self.trackers);
        if let Some(live) = jobs.get_mut(&Fifo::of(map.task.job)) {
            live.unreported.remove(&map.task.index);
            live.fetch_reports.remove(&map);
            live.publish_event(MapEvent::Withdrawn { attempt: map }, trackers);
            if let Some(state) = live.task_mut(map.task) {
                state.ran_before = true;
            }
        }
        self.wait_again(map.task);
        true
    }

    /// The tracker that ran `attempt` is gone or does not know it, as `why` says: the task runs
    /// elsewhere, and no failure is counted.
    pub(crate) fn on_attempt_lost(&mut self, attempt: AttemptId, why: &str) {
        let task = attempt.task;
        if let Some(lost) = self.take_attempt(attempt) {
            let why = Failure { kind: FailureKind::TrackerLost, message: why.to_owned() };
            self.on_killed(attempt, lost, why);
            self.wait_again(task);
        }
    }

    /// Removes a running attempt that is over or may no longer win; `None` if it was not running.
    /// Unsettles the queue in any case: its pool may have been full, with other tasks waiting for
    /// its share.
    pub(crate) fn take_attempt(&mut self, attempt: AttemptId) -> Option<LiveAttempt> {
        let taken = self.live_mut(attempt.task.job)?.take_live(attempt)?;
        self.unsettled = true;
        Some(taken)
    }

    /// The split of a map; `None` for a reduce, and while a restarted JobTracker has no splits yet.
    pub(crate) fn split(&self, task: TaskId) -> Option<&Split> {
        self.live(task.job)?.split(task).map(|planned| &planned.split)
    }

    /// Lets `task` wait for a slot again, unless it runs, has a winner, or its job is committing.
    pub(crate) fn wait_again(&mut self, task: TaskId) {
        let needed = self.durable.task(task).is_some_and(|entry| entry.winner.is_none());
        let (jobs, trackers) = (&mut self.jobs, &self.trackers);
        let Some(live) = jobs.get_mut(&Fifo::of(task.job)) else { return };
        if needed && !live.committing && live.live(task).is_empty() {
            live.task_waits(task, trackers);
            self.unsettled = true;
        }
    }

    /// Records an attempt that was killed or lost, and why, unless it had come back: then it is on
    /// record already.
    pub(crate) fn on_killed(&mut self, attempt: AttemptId, ended: LiveAttempt, mut why: Failure) {
        self.counted.attempts_killed += 1;
        if !ended.came_back {
            let split = self.split(attempt.task).and_then(told);
            let span = ended.span(self.wall);
            why.message = cut(why.message, mapreduce_protocol::FAILURE_BYTES_MAX);
            let (host, why) = (ended.host, Some(why));
            let killed = KilledAttempt { attempt, host, split, span, place: None, why };
            self.record(Record::AttemptKilled { killed, place: ended.place });
        }
    }

    /// Tells the tracker to drop a map output that nobody will ask for.
    pub(crate) fn drop_output(&mut self, host: &HostName, attempt: AttemptId) {
        if attempt.task.kind == TaskKind::Map && self.has_reduces(attempt.task.job) {
            self.trackers.tell(host, TrackerCommand::DropMapOutput { attempt });
        }
    }

    fn has_reduces(&self, job: JobId) -> bool {
        self.durable.job(job).is_some_and(|entry| entry.n_reduces > 0)
    }
}
