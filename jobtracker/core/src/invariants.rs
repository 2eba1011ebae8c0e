//! What must hold after every input. Tests and simulators check it; whoever breaks it hears which line.

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
    /// With the invariant that does not hold.
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

    /// Checks that no job would take a slot that is idle, however the order and the idle trackers were kept up to date. A
    /// job may set timers in doing so.
    ///
    /// # Panics
    /// With the host, if a job would.
    pub fn check_placements(&mut self, now: Now) {
        if self.poll_timeout().is_some_and(|due| due <= now.monotonic) {
            // What they are set for may be a job's patience, which ends with the time, and is seen to when they fire.
            return;
        }
        let parked = self.trackers.iter().filter(|(_, tracker)| tracker.parked.is_some());
        let parked: Vec<_> = parked.map(|(_, tracker)| tracker.number).collect();
        // Those that would decline without being asked are asked too.
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

    /// Checks that whatever waits is told why: of a task that is next for a slot no host is said to have nothing in the way,
    /// unless something keeps slots from it anywhere; and of a job of which nothing runs something is said.
    ///
    /// # Panics
    /// With the task, if nothing is told.
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

    /// Of each task exactly one is true: it has a winner, it runs, it waits; or its job does not launch. Where it runs twice
    /// it does so on two hosts.
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
                // Also while it is not known that its staging folder is there.
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

    /// Every live attempt occupies a slot of the tracker that runs it.
    fn check_running(&self, live: &LiveJob, kind: TaskKind) {
        for (task, attempt) in live.live_attempts(kind) {
            let id = task.attempt(attempt.number);
            let tracker = self.trackers.get(&attempt.host);
            let slot = tracker.and_then(|tracker| tracker.occupied().get(&id));
            assert_eq!(slot, Some(&Occupied::Running), "{id} runs on {}", attempt.host);
        }
    }

    /// A job stands still if the journal says so, of itself or of its pool.
    fn check_pause(&self, live: &LiveJob) {
        let itself = self.durable.job(live.id).is_some_and(|entry| entry.paused);
        let pool = self.paused_pool_of(live).is_some();
        assert_eq!(live.paused, Paused { itself, pool }, "whether {} is paused", live.id);
    }

    /// What is said of map outputs that lie on hosts is what the winners say.
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

    /// Nobody is waited for who has told what runs, and no job waits for nobody; where the journal does not tell who there is,
    /// jobs wait for a while.
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

    /// Every running slot is of a live attempt.
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
