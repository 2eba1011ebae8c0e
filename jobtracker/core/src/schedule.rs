//! Which waiting task gets which free slot. Jobs take turns as `order` says; in a job, maps come
//! before reduces; `waiting_maps` chooses among the maps, `waiting_reduces` among the reduces. Maps
//! and reduces share the slots: when a needed map, or the backup of a late one (`speculate`), finds
//! none, the youngest reduce of its job gives way.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::time::Duration;

use ids::{HostName, Monotonic, Now};
use mapreduce_protocol::{
    AttemptId, JobId, JobState, Launch, TaskId, TaskKind, TrackerCommand, Work,
};

use crate::asking::{Asking, Choice};
use crate::job::LiveJob;
use crate::locality::{Locality, Look, PlacementScore};
use crate::machine::{Core, Fifo};
use crate::numbers::HostNumber;
use crate::running::RunningEntry;
use crate::task::{ATTEMPTS_PER_TERM, LiveAttempt};
use crate::timers::Timer;
use crate::trackers::{Occupied, Tracker, Trackers};
use crate::waiting_reduces::{ReduceChoice, reduce_wait};

/// Jobs and slots still to be offered to each other.
struct Unoffered {
    /// Jobs that may want slots that they did not want before.
    eager: BTreeSet<Fifo>,
    /// Trackers that have gained a slot.
    fresh: BTreeSet<HostNumber>,
}

impl Unoffered {
    /// The eager job, if it is the only one.
    fn only_eager(&self) -> Option<Fifo> {
        self.eager.first().copied().filter(|_| self.eager.len() == 1)
    }
}

impl Core {
    /// Matches waiting tasks with free slots. Only trackers with a parked heartbeat take part, as
    /// they hear of it at once. What was declined is not offered again until something has changed:
    /// a new slot is offered to all jobs, and all slots to a job that may have changed its mind.
    pub(crate) fn schedule(&mut self, now: Now) {
        self.jobs.bring_up_to_date();
        self.suspend_reduces_of_paused_jobs();
        if self.leaves_room() && !self.had_room {
            self.jobs.order_mut().all_are_eager();
        }
        loop {
            self.jobs.bring_up_to_date();
            let eager = self.jobs.order_mut().take_eager();
            if !eager.is_empty() {
                self.trackers.begin_round();
            }
            let unoffered = Unoffered { eager, fresh: self.trackers.take_fresh() };
            if self.jobs.order().wants_nothing()
                || (unoffered.eager.is_empty() && unoffered.fresh.is_empty())
            {
                break;
            }
            self.fill_slots(now, &unoffered);
        }
        // The launches may have used up the room for reduces, so that later ones were declined.
        self.jobs.bring_up_to_date();
        self.had_room = self.leaves_room();
        self.watch_pools(now);
        self.preempt(now);
    }

    /// Gives each tracker one attempt per round, those with most free slots first, so that a small
    /// job spreads.
    fn fill_slots(&mut self, now: Now, unoffered: &Unoffered) {
        let only_fresh = !unoffered.eager.iter().any(|job| self.jobs.order().wants(*job));
        let mut hosts = match only_fresh {
            true => self.trackers.idle_among(&unoffered.fresh),
            false => self.trackers.idle(),
        };
        while !hosts.is_empty() {
            let mut again = Vec::new();
            for (_, host) in hosts {
                let is_fresh = unoffered.fresh.contains(&host);
                if (is_fresh || self.any_may_run(&unoffered.eager))
                    && self.fill_slot(now, host, unoffered)
                {
                    again.push((Reverse(self.trackers.free_now(host)), host));
                }
            }
            again.sort_unstable();
            hosts = again;
        }
    }

    fn any_may_run(&mut self, jobs: &BTreeSet<Fifo>) -> bool {
        self.jobs.bring_up_to_date();
        jobs.iter().any(|job| self.jobs.order().may_run(*job))
    }

    /// Whether reduces may take one more slot: one is left for waiting maps.
    pub(crate) fn leaves_room(&self) -> bool {
        self.trackers.leaves_room() || !self.jobs.order().any_maps_wait()
    }

    /// Launches one task on `host`, if one wants to run there.
    fn fill_slot(&mut self, now: Now, host: HostNumber, unoffered: &Unoffered) -> bool {
        self.jobs.bring_up_to_date();
        match self.choose(now, host, unoffered) {
            Some(Choice::Map(job, score)) => {
                if let Some(live) = self.live_mut(job) {
                    live.patience.launched(score.chosen());
                }
                let task = job.task(TaskKind::Map, score.map);
                self.launch(now, host, task)
            }
            Some(Choice::Reduce(job, ReduceChoice { reduce, locality })) => {
                if let Some(live) = self.live_mut(job) {
                    live.reduce_patience.launched(locality);
                }
                let launched = self.launch(now, host, job.task(TaskKind::Reduce, reduce));
                self.go_on_waiting(now, job);
                launched
            }
            Some(Choice::Backup(backup)) => {
                let launched = self.launch(now, host, backup.task);
                if launched {
                    self.on_backup(backup);
                }
                launched
            }
            None => false,
        }
    }

    /// Slots that the job's other reduces have declined are still idle and will not be offered
    /// again. A launch restarts the patience of those reduces; this sets the timer for its end.
    fn go_on_waiting(&mut self, now: Now, job: JobId) {
        let wait = reduce_wait(self.settings.locality_wait);
        let Some(live) = self.live_mut(job) else { return };
        if live.waiting_reduces().any_declines()
            && let Some(at) = live.reduce_patience.decline(now.monotonic, wait)
        {
            self.timers.set(at, Timer::Patience(job, TaskKind::Reduce));
        }
    }

    fn choose(&mut self, now: Now, at: HostNumber, unoffered: &Unoffered) -> Option<Choice> {
        let tracker = self.trackers.at(at).filter(|tracker| tracker.takes_one_more())?;
        let is_fresh = unoffered.fresh.contains(&at);
        let asking = Asking {
            now: now.monotonic,
            tracker,
            trackers: &self.trackers,
            durable: &self.durable,
            settings: &self.settings,
            may_back_up: self.may_back_up(),
            reduces_may_go: self.leaves_room(),
        };
        let (order, jobs) = self.jobs.turns();
        // Mostly a single job has changed its mind.
        let only = if is_fresh { None } else { unoffered.only_eager() };
        let turns: &mut dyn Iterator<Item = Fifo> = match only {
            Some(job) => &mut order.may_run(job).then_some(job).into_iter(),
            None => &mut order.jobs(),
        };
        let mut asked = turns.filter(|job| is_fresh || unoffered.eager.contains(job));
        asked.find_map(|turn| {
            let live = jobs.get_mut(&turn)?;
            if live.declines_unasked(now.monotonic, tracker) {
                return None;
            }
            asking.ask(live, || order.has_room_for_reduce(turn), &mut self.timers)
        })
    }

    /// What some job would run in a slot of `host`, whatever it declined before. (Not backups: they
    /// wait for the next check for late attempts.)
    pub(crate) fn would_launch(&mut self, now: Now, host: HostNumber) -> Option<TaskId> {
        let unoffered = Unoffered { eager: BTreeSet::new(), fresh: BTreeSet::from([host]) };
        match self.choose(now, host, &unoffered)? {
            Choice::Map(job, score) => Some(job.task(TaskKind::Map, score.map)),
            Choice::Reduce(job, chosen) => Some(job.task(TaskKind::Reduce, chosen.reduce)),
            Choice::Backup(_) => None,
        }
    }

    /// Checks whether a job's patience is over: it may then want slots that it has declined.
    pub(crate) fn handle_patience(&mut self, now: Now, job: JobId, kind: TaskKind) {
        let wait = self.settings.locality_wait;
        let (_, jobs) = self.jobs.turns();
        let Some(live) = jobs.get_mut(&Fifo::of(job)).filter(|live| live.id == job) else { return };
        let Look { wants_more, again } = match kind {
            TaskKind::Map => live.patience.look(now.monotonic, wait),
            TaskKind::Reduce => live.reduce_patience.look(now.monotonic, reduce_wait(wait)),
        };
        live.only_within = None;
        again.into_iter().for_each(|at| self.timers.set(at, Timer::Patience(job, kind)));
        if wants_more {
            self.offer_again(job);
        }
    }

    /// The job may want slots that it has declined before.
    pub(crate) fn offer_again(&mut self, job: JobId) {
        self.jobs.order_mut().becomes_eager(Fifo::of(job));
        self.unsettled = true;
    }

    /// How close to its input a task is on `host`, however it got there; `None` while a map's split
    /// is not known, and for a reduce without a home.
    pub(crate) fn place(&self, task: TaskId, host: &HostName) -> Option<Locality> {
        self.place_at(task, self.trackers.numbers.known(host)?)
    }

    /// The same by host number.
    pub(crate) fn place_at(&self, task: TaskId, host: HostNumber) -> Option<Locality> {
        let live = self.live(task.job)?;
        let rack = self.trackers.at(host).map(|tracker| tracker.rack_number);
        if task.kind == TaskKind::Reduce {
            return Some(live.reduce_inputs.home(task.index)?.seen_from(host, rack));
        }
        let places = live.places(task)?;
        Some(if places.iter().any(|place| place.host == host) {
            Locality::NodeLocal
        } else if places.iter().any(|place| Some(place.rack) == rack) {
            Locality::RackLocal
        } else {
            Locality::OffRack
        })
    }

    fn launch(&mut self, now: Now, host: HostNumber, task: TaskId) -> bool {
        let place = self.place_at(task, host);
        let skipping = self.skipping(task);
        let Some(name) = self.trackers.at(host).map(|tracker| tracker.host.clone()) else {
            return false;
        };
        let Some(live) = self.jobs.get_mut(&Fifo::of(task.job)) else { return false };
        let work = match task.kind {
            TaskKind::Map => match live.split(task) {
                Some(planned) => Work::Map { split: planned.split.clone() },
                None => return false,
            },
            TaskKind::Reduce => Work::Reduce,
        };
        let Some(number) = live.next_number(task) else {
            let reason = format!(
                "{task} was launched {ATTEMPTS_PER_TERM} times without an end: see its attempts' logs"
            );
            self.end_job(now, task.job, JobState::Failed, Some(reason));
            return true;
        };
        assert!(!live.paused.at_all(), "{task} is not launched while its job is paused");
        let backup = !live.live(task).is_empty();
        let submitted_at = self.durable.job(task.job).map_or(now.wall, |entry| entry.submitted_at);
        live.phase_starts.launch(now, submitted_at, live.has_begun);
        let attempt = LiveAttempt::new(number, name.clone(), now, place);
        live.add_live(task, LiveAttempt { backup, ..attempt });
        self.counted.launches.count(task.kind, place);
        live.served = self.counted.launches.total();
        let attempt = task.attempt(number);
        let job = std::sync::Arc::clone(&live.description);
        self.watch(now, task.job);
        if let Some(mut tracker) = self.trackers.at_mut(host) {
            assert!(
                tracker.takes_one_more(),
                "{name} gets no new attempts, or has no slot for {attempt}"
            );
            tracker.occupy(attempt, Occupied::Running);
        }
        let launch = Launch { attempt, job, work, skipping };
        self.trackers.tell_at(host, TrackerCommand::Launch(launch));
        true
    }

    /// Makes room for a map, or for the backup of a late one, that finds no slot while reduces of
    /// its job, which cannot finish without it, hold some. The job's turn is next. If reduces of
    /// other jobs that cannot finish either hold all suitable slots, one of these gives way:
    /// otherwise the jobs would wait for each other for ever.
    fn preempt(&mut self, now: Now) {
        self.jobs.bring_up_to_date();
        if self.jobs.order().flagged().stuck == 0 {
            return;
        }
        if let Some(attempt) = self.in_the_way(now) {
            self.kill_attempt(attempt, "a map that reduces wait for needs its slot");
            self.wait_again(attempt.task);
        }
    }

    /// The reduce that gives way, for the first stuck job in the order of turns.
    fn in_the_way(&self, now: Now) -> Option<AttemptId> {
        let on_hold = |live: &LiveJob| live.hold_until.is_some_and(|until| until > now.monotonic);
        let order = self.jobs.order();
        let stuck = order.stuck().filter_map(|job| self.jobs.get(&job));
        let stuck: Vec<&LiveJob> = stuck.filter(|live| live.is_stuck() && !on_hold(live)).collect();
        stuck.iter().find_map(|live| {
            let hosts = Hosts { now: now.monotonic, trackers: &self.trackers, live };
            let needs_own = order.is_in_full_pool(Fifo::of(live.id));
            match live.waiting_maps().first() {
                // A slot of another pool does not help a job whose pool is full.
                Some(_) if needs_own => live.youngest_reduce(|_| true).map(|(_, attempt)| attempt),
                Some(first) => {
                    let task = live.id.task(TaskKind::Map, first.map);
                    hosts.gives_way(&stuck, self.dead_after(), |host| hosts.suits(task, host))
                }
                None => self.in_the_way_of_a_backup(now, live),
            }
        })
    }
}

/// Where the tasks of one job may run.
pub(crate) struct Hosts<'a> {
    pub(crate) now: Monotonic,
    pub(crate) trackers: &'a Trackers,
    pub(crate) live: &'a LiveJob,
}

impl Hosts<'_> {
    pub(crate) fn choose_map(&self, tracker: &Tracker, limit: Locality) -> Option<PlacementScore> {
        let avoids = |map| self.avoids(self.live.id.task(TaskKind::Map, map), &tracker.host);
        self.live.waiting_maps().choose(tracker.number, tracker.rack_number, limit, avoids)
    }

    pub(crate) fn choose_reduce(&self, tracker: &Tracker, limit: Locality) -> Option<ReduceChoice> {
        let avoids =
            |reduce| self.avoids(self.live.id.task(TaskKind::Reduce, reduce), &tracker.host);
        self.live.waiting_reduces().choose(tracker.number, tracker.rack_number, limit, avoids)
    }

    /// The youngest reduce of the job on a suitable host; none while such a host has a free slot,
    /// or one about to become free (an attempt there was told to end less than `patience` ago). If
    /// such hosts run nothing but reduces of `others`, which all stand still, the youngest of
    /// those.
    pub(crate) fn gives_way(
        &self,
        others: &[&LiveJob],
        patience: Duration,
        will_do: impl Fn(&HostName) -> bool,
    ) -> Option<AttemptId> {
        let comes_free = |tracker: &Tracker| {
            tracker.free_slots() > 0 || tracker.is_about_to_free(self.now, patience)
        };
        if self.trackers.iter().any(|(host, tracker)| comes_free(tracker) && will_do(host)) {
            return None;
        }
        // An attempt that was told to end and has not done so hangs.
        let stands_still = |(attempt, why): (&AttemptId, &Occupied)| {
            let is_stuck = others.iter().any(|live| live.id == attempt.task.job);
            *why != Occupied::Running || (attempt.task.kind == TaskKind::Reduce && is_stuck)
        };
        let mut suitable = self.trackers.iter().filter(|(host, _)| will_do(host));
        let mut for_ever = || suitable.all(|(_, it)| it.occupied().iter().all(stands_still));
        let of_others = || others.iter().filter_map(|live| live.youngest_reduce(&will_do)).max();
        let own = self.live.youngest_reduce(&will_do);
        let youngest = own.or_else(|| for_ever().then(of_others).flatten());
        youngest.map(|(_, attempt)| attempt)
    }

    pub(crate) fn suits(&self, task: TaskId, host: &HostName) -> bool {
        self.takes_some(host) && !self.avoids(task, host)
    }

    /// Whether `task` failed on `host` and another host may take its next attempt: one where it has
    /// not failed or, after failures on all of them, was not the last to fail.
    fn avoids(&self, task: TaskId, host: &HostName) -> bool {
        let Some(state) = self.live.task(task).filter(|state| state.avoid().contains(host)) else {
            return false;
        };
        let any_of = |wanted: &dyn Fn(&HostName) -> bool| {
            self.trackers.iter().any(|(other, _)| wanted(other) && self.takes_some(other))
        };
        any_of(&|other| !state.avoid().contains(other))
            || (state.avoid().last() == Some(host) && any_of(&|other| other != host))
    }

    /// Whether any task of the job may be launched on `host`.
    fn takes_some(&self, host: &HostName) -> bool {
        self.trackers.is_open(host) && self.live.exclusions.until(self.now, host).is_none()
    }
}

/// Whether enough maps are done for the reduces to start fetching.
pub(crate) fn starts_reduces(entry: &RunningEntry, slowstart: f64) -> bool {
    f64::from(entry.maps_done) >= maps_needed(entry, slowstart)
}

/// Number of maps that must be done for that.
pub(crate) fn maps_needed(entry: &RunningEntry, slowstart: f64) -> f64 {
    (entry.maps.len() as f64 * slowstart).ceil()
}
