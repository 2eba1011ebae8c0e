//! Which waiting task gets which free slot: jobs take turns as `share` says; in a job maps before reduces; of the maps the
//! one that `locality` chooses. Slots are one pool: when a needed map, or the backup of a late one (`speculate`), finds
//! none, the youngest reduce of its job gives way.

use std::cmp::Reverse;

use ids::{HostName, Monotonic, Now};
use mapreduce_protocol::{
    AttemptId, JobId, JobState, Launch, TaskId, TaskKind, TrackerCommand, Work,
};

use crate::job::LiveJob;
use crate::locality::{Locality, PlacementScore};
use crate::machine::{Core, Fifo};
use crate::running::RunningEntry;
use crate::speculate::Backup;
use crate::task::{ATTEMPTS_PER_TERM, LiveAttempt};
use crate::timers::Timer;
use crate::trackers::{Occupied, Tracker, Trackers};

/// A task for a slot.
enum Choice {
    Map(JobId, PlacementScore),
    Reduce(TaskId),
    Backup(Backup),
}

impl Core {
    /// Brings waiting tasks and free slots together, one slot of each tracker a round, so that a small
    /// job spreads. Only trackers whose heartbeat is parked take part: they hear of it at once.
    pub(crate) fn schedule(&mut self, now: Now) {
        self.suspend_reduces_in_vain();
        loop {
            let mut offers: Vec<_> = self
                .trackers
                .iter()
                .filter(|(_, tracker)| tracker.parked.is_some() && tracker.takes_one_more())
                .map(|(host, tracker)| (Reverse(tracker.free_slots()), host.clone()))
                .collect();
            if !self.jobs.values().any(LiveJob::has_waiting) && !self.may_back_up() {
                return;
            }
            offers.sort();
            let taken = offers.iter().filter(|(_, host)| self.fill_slot(now, host)).count();
            if taken == 0 {
                break;
            }
        }
        self.preempt(now);
    }

    /// Launches one task on `host`, if one wants to run there.
    fn fill_slot(&mut self, now: Now, host: &HostName) -> bool {
        match self.choose(now, host) {
            Some(Choice::Map(job, score)) => {
                if let Some(live) = self.live_mut(job) {
                    live.patience.launched(&score);
                }
                let task = job.task(TaskKind::Map, score.map);
                self.launch(now, host, task)
            }
            Some(Choice::Reduce(task)) => self.launch(now, host, task),
            Some(Choice::Backup(backup)) => {
                let launched = self.launch(now, host, backup.task);
                self.on_backup(backup);
                launched
            }
            None => false,
        }
    }

    fn choose(&mut self, now: Now, host: &HostName) -> Option<Choice> {
        let tracker = self.trackers.get(host).filter(|tracker| tracker.takes_one_more())?;
        let wait = self.settings.locality_wait;
        let may_back_up = self.may_back_up();
        let mut maps_wait = false;
        for turn in self.turns() {
            let Some(live) = self.jobs.get_mut(&turn) else { continue };
            if let Some(until) = live.hold_until.filter(|until| *until > now.monotonic) {
                self.timers.set(until, Timer::Placement(live.id));
                continue;
            }
            if let Some(until) = live.exclusions.until(now.monotonic, host) {
                self.timers.set(until, Timer::Placement(live.id));
                continue;
            }
            let limit = live.patience.limit(now.monotonic, wait);
            let hosts = Hosts { now: now.monotonic, trackers: &self.trackers, live };
            if let Some(score) = hosts.choose_map(host, tracker, limit) {
                return Some(Choice::Map(live.id, score));
            }
            if !live.waiting_maps().is_empty() {
                maps_wait = true;
                if let Some(at) = live.patience.decline(now.monotonic, wait) {
                    self.timers.set(at, Timer::Placement(live.id));
                }
            }
            let hosts = Hosts { now: now.monotonic, trackers: &self.trackers, live };
            let may_back_up = may_back_up && live.waiting_maps().is_empty();
            let backup = |kind| may_back_up.then(|| hosts.choose_backup(host, kind)).flatten();
            if let Some(backup) = backup(TaskKind::Map) {
                return Some(Choice::Backup(backup));
            }
            let entry = self.durable.running(live.id);
            let may_start =
                entry.is_some_and(|e| starts_reduces(e, self.settings.reduce_slowstart));
            if !may_start || (maps_wait && !leaves_room(&self.trackers)) {
                continue;
            }
            if let Some(reduce) = hosts.choose_reduce(host) {
                return Some(Choice::Reduce(live.id.task(TaskKind::Reduce, reduce)));
            }
            if let Some(backup) = backup(TaskKind::Reduce) {
                return Some(Choice::Backup(backup));
            }
        }
        None
    }

    /// How near to its bytes a map is on `host`, whatever made it go there; `None` for a reduce, and
    /// while its split is not known.
    pub(crate) fn place(&self, task: TaskId, host: &HostName) -> Option<Locality> {
        let homes = &self.live(task.job)?.split(task)?.homes;
        let rack = self.trackers.get(host).map(|tracker| &tracker.rack);
        Some(if homes.iter().any(|home| home.host == *host) {
            Locality::NodeLocal
        } else if homes.iter().any(|home| Some(&home.rack) == rack) {
            Locality::RackLocal
        } else {
            Locality::OffRack
        })
    }

    fn launch(&mut self, now: Now, host: &HostName, task: TaskId) -> bool {
        let place = self.place(task, host);
        let Some(live) = self.jobs.get_mut(&Fifo::of(task.job)) else { return false };
        let Some(number) = live.next_number(task) else {
            let reason = format!(
                "{task} was launched {ATTEMPTS_PER_TERM} times without an end: see its attempts' logs"
            );
            self.end_job(now, task.job, JobState::Failed, Some(reason));
            return true;
        };
        let work = match task.kind {
            TaskKind::Map => match live.split(task) {
                Some(planned) => Work::Map { split: planned.split.clone() },
                None => return false,
            },
            TaskKind::Reduce => Work::Reduce,
        };
        let backup = !live.live(task).is_empty();
        let attempt = LiveAttempt::new(number, host.clone(), now, place);
        live.add_live(task, LiveAttempt { backup, ..attempt });
        self.counted.launches.count(place);
        let attempt = task.attempt(number);
        let job = std::sync::Arc::clone(&live.description);
        self.watch(now, task.job);
        if let Some(tracker) = self.trackers.get_mut(host) {
            assert!(tracker.free_slots() > 0, "{host} has no free slot for {attempt}");
            tracker.occupy(attempt, Occupied::Running);
        }
        self.trackers.tell(host, TrackerCommand::Launch(Launch { attempt, job, work }));
        true
    }

    /// Makes room for a map, or for the backup of a late one, that finds no slot while reduces of its job, which can't end
    /// without it, hold some. The job's turn is the next one.
    fn preempt(&mut self, now: Now) {
        let on_hold = |live: &LiveJob| live.hold_until.is_some_and(|until| until > now.monotonic);
        let turns = self.turns().into_iter().filter_map(|turn| self.jobs.get(&turn));
        let mut stuck = turns.take_while(|live| live.is_stuck()).filter(|live| !on_hold(live));
        let victim = stuck.find_map(|live| match live.waiting_maps().first() {
            Some(first) => {
                let task = live.id.task(TaskKind::Map, first.map);
                let hosts = Hosts { now: now.monotonic, trackers: &self.trackers, live };
                hosts.gives_way(|host| hosts.suits(task, host))
            }
            None => self.in_the_way_of_a_backup(now, live),
        });
        if let Some(attempt) = victim {
            self.kill_attempt(attempt, "a map that reduces wait for needs its slot");
            self.wait_again(attempt.task);
        }
    }
}

/// Where the tasks of one job may go.
pub(crate) struct Hosts<'a> {
    pub(crate) now: Monotonic,
    pub(crate) trackers: &'a Trackers,
    pub(crate) live: &'a LiveJob,
}

impl Hosts<'_> {
    fn choose_map(
        &self,
        host: &HostName,
        tracker: &Tracker,
        limit: Locality,
    ) -> Option<PlacementScore> {
        let avoids = |map| self.avoids(self.live.id.task(TaskKind::Map, map), host);
        self.live.waiting_maps().choose(host, &tracker.rack, limit, avoids)
    }

    fn choose_reduce(&self, host: &HostName) -> Option<u32> {
        let task = |index: &u32| self.live.id.task(TaskKind::Reduce, *index);
        self.live.waiting_reduces.iter().find(|index| !self.avoids(task(index), host)).copied()
    }

    /// The youngest reduce of the job on a host that will do; none while a slot of such a host is free, or about to be.
    pub(crate) fn gives_way(&self, will_do: impl Fn(&HostName) -> bool) -> Option<AttemptId> {
        let comes_free = |tracker: &Tracker| tracker.free_slots() > 0 || tracker.is_ending();
        if self.trackers.iter().any(|(host, tracker)| comes_free(tracker) && will_do(host)) {
            return None;
        }
        let reduces = self.live.live_attempts(TaskKind::Reduce);
        let useful = reduces.filter(|(_, attempt)| will_do(&attempt.host));
        let youngest = useful.max_by_key(|(task, attempt)| (attempt.since, *task));
        youngest.map(|(task, attempt)| task.attempt(attempt.number))
    }

    pub(crate) fn suits(&self, task: TaskId, host: &HostName) -> bool {
        self.takes_some(host) && !self.avoids(task, host)
    }

    /// Whether `task` failed on `host` and there is another host for its next try: one where it has not
    /// failed, or where it did not fail last.
    fn avoids(&self, task: TaskId, host: &HostName) -> bool {
        let Some(state) = self.live.task(task).filter(|state| state.avoid.contains(host)) else {
            return false;
        };
        let any_of = |wanted: &dyn Fn(&HostName) -> bool| {
            self.trackers.iter().any(|(other, _)| wanted(other) && self.takes_some(other))
        };
        any_of(&|other| !state.avoid.contains(other))
            || (state.avoid.last() == Some(host) && any_of(&|other| other != host))
    }

    /// Whether tasks of the job may be launched on `host` at all.
    fn takes_some(&self, host: &HostName) -> bool {
        self.trackers.is_open(host) && self.live.exclusions.until(self.now, host).is_none()
    }
}

/// Whether enough maps are done for the reduces to begin fetching.
fn starts_reduces(entry: &RunningEntry, slowstart: f64) -> bool {
    let needed = (entry.maps.len() as f64 * slowstart).ceil();
    f64::from(entry.maps_done) >= needed
}

/// Whether one more reduce leaves a slot for the maps that wait.
fn leaves_room(trackers: &Trackers) -> bool {
    let reduces: usize = trackers.open().map(|(_, tracker)| tracker.n_reduces()).sum();
    reduces + 1 < trackers.open_slots()
}
