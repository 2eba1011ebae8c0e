//! Draining hosts, so that they can be stopped without losing work: no attempt starts there,
//! running ones go on to their end, and map outputs stay until no unfinished job needs them. The
//! set of drained hosts is durable: it outlives restarts of the JobTracker and of the hosts'
//! TaskTrackers, until a client cancels the drain.

use std::collections::BTreeMap;

use ids::{HostName, Now};
use mapreduce_protocol::{DrainWait, HostState, JobId};

use crate::job::LiveJob;
use crate::machine::Core;
use crate::messages::ReplyTo;
use crate::records::Record;
use crate::refusal::Refusal;
use crate::trackers::{Occupied, Tracker};

/// Limit on the jobs named in a reply.
const WAITS_TOLD_MAX: usize = 10;

impl Core {
    pub(crate) fn handle_drain(&mut self, now: Now, host: HostName, kill: bool, to: ReplyTo) {
        let known = self.trackers.is_live(&host) || self.trackers.is_lost(now.monotonic, &host);
        if !known && !self.durable.is_drained(&host) {
            return self.refuse_with(to, Refusal::NoSuchHost { host });
        }
        if !self.durable.is_drained(&host) {
            self.record(Record::HostDrained { host: host.clone() });
            self.change_tracker(&host, |tracker| tracker.drained = true);
            self.note_emptied(&host);
        }
        if kill {
            self.kill_all_on(&host);
        }
        self.answer_hosts(now, Some(host), to);
    }

    pub(crate) fn handle_undrain(&mut self, now: Now, host: HostName, to: ReplyTo) {
        let was_drained = self.durable.is_drained(&host);
        if was_drained {
            self.record(Record::HostUndrained { host: host.clone() });
            self.change_tracker(&host, |tracker| tracker.drained = false);
            if self.trackers.is_live(&host) {
                self.note_joined(&host, true);
            }
        }
        match self.host_status(now.monotonic, &host) {
            // A host that is not registered is no longer known without its drain.
            None if was_drained => self.answer_no_hosts(to),
            _ => self.answer_hosts(now, Some(host), to),
        }
    }

    fn kill_all_on(&mut self, host: &HostName) {
        let Some(tracker) = self.trackers.get(host) else { return };
        let running = tracker.occupied().iter().filter(|(_, why)| **why == Occupied::Running);
        for attempt in running.map(|(attempt, _)| *attempt).collect::<Vec<_>>() {
            self.kill_attempt(attempt, "its host is drained");
            self.wait_again(attempt.task);
        }
    }

    /// How far the drain of a host has got; `tracker` is its tracker, if it is registered.
    pub(crate) fn drain_state(
        &self,
        now: ids::Monotonic,
        host: &HostName,
        tracker: Option<&Tracker>,
    ) -> HostState {
        let may_still_come = tracker.is_none() && now < self.started_at + self.dead_after();
        let runs = tracker.is_some_and(|tracker| !tracker.occupied().is_empty());
        match runs || may_still_come || self.held.n_on(host) > 0 {
            true => HostState::Draining,
            false => HostState::Drained,
        }
    }

    /// The jobs that have attempts or outputs on a host, those that will finish by themselves
    /// first.
    pub(crate) fn drain_waits(&self, host: &HostName, tracker: Option<&Tracker>) -> Vec<DrainWait> {
        let mut by_job: BTreeMap<JobId, (u32, u32)> = BTreeMap::new();
        for attempt in tracker.into_iter().flat_map(|tracker| tracker.occupied().keys()) {
            by_job.entry(attempt.task.job).or_default().0 += 1;
        }
        for (job, _) in self.held.on(host) {
            by_job.entry(job).or_default().1 += 1;
        }
        let mut waits: Vec<_> = by_job
            .into_iter()
            .map(|(job, (running, map_outputs))| {
                let live = self.live(job);
                let stuck = live.filter(|_| map_outputs > 0).and_then(|it| self.why_for_ever(it));
                let for_ever = stuck.is_some();
                let why = stuck.or_else(|| self.why_waiting(live?));
                DrainWait { job, running, map_outputs, why, for_ever }
            })
            .collect();
        waits.sort_by_key(|wait| wait.for_ever && wait.running == 0);
        waits.truncate(WAITS_TOLD_MAX);
        waits
    }

    /// Why the waiting tasks of a job will never run unless somebody intervenes.
    fn why_for_ever(&self, live: &LiveJob) -> Option<String> {
        if !live.has_waiting() {
            return None;
        }
        if live.paused.itself {
            return Some(format!(
                "it is paused: resume it (`howdah job resume {0}`), or end it (`howdah job kill {0}`)",
                live.id
            ));
        }
        if live.paused.pool {
            return Some(self.pool_is_paused(live));
        }
        let none_is_left = self.trackers.iter().all(|(_, tracker)| tracker.drained);
        (none_is_left && self.awaited.is_empty()).then(|| {
            format!(
                "its other tasks find no host, since every TaskTracker is drained: start one, take a drain back \
                 (`howdah host undrain HOST`), or end the job (`howdah job kill {}`)",
                live.id
            )
        })
    }
}
