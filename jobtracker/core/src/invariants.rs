//! What must hold after every input. Tests and simulators check it; a violation names the
//! invariant.

use std::collections::{BTreeMap, BTreeSet};

use ids::{Monotonic, Now};
use mapreduce_protocol::{TaskKind, WhyNotThere};

use crate::job::LiveJob;
use crate::machine::Core;
use crate::pause::Paused;
use crate::task::ATTEMPTS_AT_ONCE;
use crate::trackers::Occupied;

impl Core {
    /// Checks what must hold between durable and soft state.
    ///
    /// # Panics
    /// If an invariant does not hold, with its name.
    pub fn check_invariants(&self) {
        for live in self.jobs.values() {
            self.check_tasks(live);
            self.check_pause(live);
        }
        let unfinished = self.durable.unfinished().count();
        assert_eq!(unfinished, self.jobs.len(), "every unfinished job has its soft half");
        self.check_slots();
        self.check_held();
        self.check_awaited();
        for job in self.durable.ended() {
            assert!(self.live(*job).is_none(), "{job} has ended and still lives");
        }
    }

    /// Checks that no job would take an idle slot, independently of the incrementally updated order
    /// and idle index. Jobs may set timers in the process.
    ///
    /// # Panics
    /// If a job would, with the host.
    pub fn check_placements(&mut self, now: Now) {
        if self.poll_timeout().is_some_and(|due| due <= now.monotonic) {
            // A due timer may be that of a job's patience, which ends with time and takes effect
            // when the timer goes off.
            return;
        }
        let parked = self.trackers.iter().filter(|(_, tracker)| tracker.parked.is_some());
        let parked: Vec<_> = parked.map(|(_, tracker)| tracker.number).collect();
        // Jobs known to decline are asked too.
        self.jobs.values_mut().for_each(|live| live.only_within = None);
        self.jobs.bring_up_to_date();
        for at in parked {
            if let Some(task) = self.would_launch(now, at) {
                let host = self.trackers.at(at).map(|tracker| tracker.host.as_str());
                let host = host.unwrap_or_default();
                panic!("{task} could run on {host}, which is idle");
            }
        }
    }

    /// Checks that everything that waits has an explanation: a task that is next for a slot has an
    /// obstacle on each host, or one that applies anywhere; and a job without running attempts has
    /// some explanation.
    ///
    /// # Panics
    /// If there is no explanation, with the task.
    pub fn check_explanations(&self, now: Monotonic) {
        if self.poll_timeout().is_some_and(|due| due <= now) {
            return;
        }
        for live in self.jobs.values() {
            let told = self.explain(now, live.id, None).expect("the job is there");
            for task in told.tasks.iter().filter(|task| task.waits) {
                let is_free = task.hosts.iter().any(|it| it.why == WhyNotThere::NothingInTheWay);
                let says_why = !told.obstacles.is_empty() || !task.obstacles.is_empty();
                assert!(says_why || !is_free, "{} waits, and nothing is in the way", task.task);
            }
            let runs = [TaskKind::Map, TaskKind::Reduce].map(|kind| live.tasks(kind).running);
            let says_something = !told.obstacles.is_empty() || !told.tasks.is_empty();
            assert!(says_something || runs != [0, 0], "{} stands still, nobody knows why", live.id);
        }
    }

    /// Of each task exactly one is true: it has a winner, it runs, or it waits; or none if its job
    /// does not launch. A task that runs twice does so on two hosts.
    fn check_tasks(&self, live: &LiveJob) {
        let Some(entry) = self.durable.running(live.id) else {
            assert!(!live.has_waiting(), "{} has no tasks yet", live.id);
            return;
        };
        for kind in [TaskKind::Map, TaskKind::Reduce] {
            let (mut running, mut backed_up) = (0, 0);
            let mut won = 0;
            for (index, task) in (0..).zip(entry.tasks(kind)) {
                let id = live.id.task(kind, index);
                let runs = live.live(id);
                let states = [task.winner.is_some(), !runs.is_empty(), live.waits(id)];
                let n_states = states.iter().filter(|state| **state).count();
                // It has no splits either while its staging folder may be missing.
                let idle = live.committing || !live.has_splits();
                assert!(
                    n_states == 1 || (idle && n_states == 0),
                    "{id}: won, runs, waits: {states:?}"
                );
                won += u32::from(states[0]);
                running += u32::from(states[1]);
                if let [first, second] = runs {
                    assert_ne!(first.host, second.host, "both attempts of {id}");
                    backed_up += 1;
                }
                assert!(runs.len() <= ATTEMPTS_AT_ONCE, "{id} runs {} times", runs.len());
            }
            assert_eq!(running, live.tasks(kind).running, "{} running {kind}s", live.id);
            assert_eq!(backed_up, live.tasks(kind).backed_up, "{} backups of {kind}s", live.id);
            let done = match kind {
                TaskKind::Map => entry.maps_done,
                TaskKind::Reduce => entry.reduces_done,
            };
            assert_eq!(won, done, "{} winners of {kind}s", live.id);
            self.check_running(live, kind);
        }
        assert!(live.waiting_maps().len() <= entry.maps.len());
    }

    /// Every live attempt occupies a slot of its tracker.
    fn check_running(&self, live: &LiveJob, kind: TaskKind) {
        for (task, attempt) in live.live_attempts(kind) {
            let id = task.attempt(attempt.number);
            let tracker = self.trackers.get(&attempt.host);
            let slot = tracker.and_then(|tracker| tracker.occupied().get(&id));
            assert_eq!(slot, Some(&Occupied::Running), "{id} runs on {}", attempt.host);
        }
    }

    /// A job is paused exactly if the journal says so of itself or its pool.
    fn check_pause(&self, live: &LiveJob) {
        let itself = self.durable.job(live.id).is_some_and(|entry| entry.paused);
        let pool = self.paused_pool_of(live).is_some();
        assert_eq!(live.paused, Paused { itself, pool }, "whether {} is paused", live.id);
    }

    /// The index of map outputs by host agrees with the winners.
    fn check_held(&self) {
        for live in self.jobs.values().filter(|live| !live.committing) {
            let mut held: BTreeMap<_, BTreeSet<u32>> = BTreeMap::new();
            let entry = self.durable.running(live.id).filter(|entry| entry.needs_map_outputs());
            let maps = entry.map_or(&[][..], |entry| &entry.maps);
            for (map, entry) in (0..).zip(maps) {
                if let Some(winner) = &entry.winner {
                    held.entry(winner.host.clone()).or_default().insert(map);
                }
            }
            assert_eq!(self.held.of(live.id), held, "map outputs of {} by host", live.id);
        }
    }

    /// No tracker that has reported is awaited, and no job waits when none is awaited; if the
    /// journal does not record the trackers, jobs wait for the grace period.
    fn check_awaited(&self) {
        for host in &self.awaited {
            assert!(self.durable.is_member(host), "{host} is awaited, and need not come");
            let has_told =
                self.trackers.get(host).is_some_and(|tracker| tracker.unconfirmed.is_none());
            assert!(!has_told, "{host} is awaited, and has told what it runs");
        }
        let grace = self.started_at + self.settings.recovery_grace;
        for live in self.jobs.values().filter(|_| self.awaited.is_empty()) {
            let waits = live.hold_until.is_some_and(|until| until > grace);
            assert!(!waits, "{} waits for trackers, and all have told what they run", live.id);
        }
    }

    /// Every running slot belongs to a live attempt.
    fn check_slots(&self) {
        for (host, tracker) in self.trackers.iter() {
            for (attempt, why) in tracker.occupied() {
                let live = self.live(attempt.task.job).is_some_and(|live| live.is_live(*attempt));
                let fits = match why {
                    Occupied::Running => live,
                    Occupied::Ending { .. } => !live,
                };
                assert!(fits, "{host} has {attempt} as {why:?}");
            }
        }
    }
}
