//! Why a job's next tasks wait: makes the checks of `schedule` in the same order for each host, and
//! keeps the results. Nothing acts on it.

use std::collections::BTreeMap;

use ids::{HostName, Monotonic};
use mapreduce_protocol::{
    Explanation, HostObstacle, InputPlace, JobId, Obstacle, ReduceInput, TaskExplanation, TaskId,
    TaskKind, Unsplit, WhyNotThere,
};

use crate::job::LiveJob;
use crate::locality::Locality;
use crate::machine::{Core, Fifo};
use crate::queries::shown_place;
use crate::reduce_inputs::{HomePlace, ReduceHome};
use crate::refusal::Refusal;
use crate::running::RunningEntry;
use crate::schedule::{Hosts, maps_needed, starts_reduces};
use crate::trackers::Tracker;
use crate::waiting::why_asked_again;
use crate::waiting_reduces::reduce_wait;

/// Limit on the hosts named per reason.
const HOSTS_NAMED_MAX: usize = 5;

impl Core {
    /// Explains a job, or one of its tasks; the edge adds the critical path.
    pub(crate) fn explain(
        &self,
        now: Monotonic,
        job: JobId,
        task: Option<TaskId>,
    ) -> Result<Explanation, Refusal> {
        self.durable.job(job).ok_or(Refusal::NoSuchJob { job })?;
        let mut explanation = Explanation {
            job,
            state: self.state_of(job),
            obstacles: Vec::new(),
            unsplit: None,
            tasks: Vec::new(),
            path: Vec::new(),
        };
        let Some(live) = self.live(job) else { return Ok(explanation) };
        explanation.obstacles = self.obstacles(now, live);
        let Some(entry) = self.durable.running(job) else { return Ok(explanation) };
        explanation.unsplit = unsplit(live);
        let tasks = match task {
            Some(task) if live.task(task).is_none() => return Err(Refusal::NoSuchTask { task }),
            Some(task) => vec![task],
            None => next_tasks(live),
        };
        let explain = |task| self.explain_task(now, live, entry, task);
        explanation.tasks = tasks.into_iter().map(explain).collect();
        Ok(explanation)
    }

    /// What keeps slots from all tasks of a job.
    fn obstacles(&self, now: Monotonic, live: &LiveJob) -> Vec<Obstacle> {
        let mut obstacles = self.obstacles_of_store(live);
        if live.paused.itself {
            obstacles.push(Obstacle::Paused);
        }
        if live.paused.pool {
            let why = self.pool_is_paused(live);
            obstacles.push(Obstacle::Pool { why });
        }
        if let Some(until) = live.hold_until.filter(|until| *until > now) {
            obstacles.push(Obstacle::JobtrackerStarts { for_ms: millis(until, now) });
        }
        if self.trackers.len() == 0 {
            obstacles.push(Obstacle::NoTrackers);
        }
        let fifo = Fifo::of(live.id);
        if !live.has_waiting() {
            return obstacles;
        }
        if let Some(why) = self.jobs.order().why_not(fifo) {
            obstacles.push(Obstacle::Pool { why });
        }
        // A job that may get no slots has no turn.
        let before = self.jobs.order().jobs().position(|other| other == fifo).unwrap_or(0);
        if before > 0 {
            let jobs = u32::try_from(before).unwrap_or(u32::MAX);
            obstacles.push(Obstacle::OthersFirst { jobs });
        }
        obstacles
    }

    /// What the job first needs of the chunk store or another store.
    fn obstacles_of_store(&self, live: &LiveJob) -> Vec<Obstacle> {
        let mut obstacles = Vec::new();
        match self.durable.running(live.id) {
            None => obstacles.push(Obstacle::NotPlanned),
            Some(_) if live.committing => obstacles.push(Obstacle::Publishing),
            Some(_) if live.awaits_staging.is_some() => obstacles.push(Obstacle::NoStaging),
            Some(_) if !live.has_splits() => obstacles.push(Obstacle::SplitsNotRead),
            Some(_) => {}
        }
        obstacles.extend(why_asked_again(live).map(|why| Obstacle::Store { why }));
        obstacles
    }

    fn explain_task(
        &self,
        now: Monotonic,
        live: &LiveJob,
        entry: &RunningEntry,
        task: TaskId,
    ) -> TaskExplanation {
        let waits = live.waits(task);
        let homes = live.split(task).map(|planned| &planned.homes[..]).unwrap_or_default();
        let (limit, over) = match task.kind {
            TaskKind::Map if live.is_pressed() => (Some(Locality::OffRack), None),
            TaskKind::Map => {
                let (limit, over) = live.patience.now(now, self.settings.locality_wait);
                (Some(limit), over)
            }
            TaskKind::Reduce if live.waiting_reduces().declines(task.index) => {
                let wait = reduce_wait(self.settings.locality_wait);
                let (limit, over) = live.reduce_patience.now(now, wait);
                (Some(limit), over)
            }
            TaskKind::Reduce => (None, None),
        };
        let obstacles = match task.kind {
            TaskKind::Reduce if waits => self.obstacles_of_reduces(live, entry),
            TaskKind::Reduce | TaskKind::Map => Vec::new(),
        };
        TaskExplanation {
            task,
            waits,
            obstacles,
            homes: homes.iter().map(|home| home.host.clone()).collect(),
            input: self.input_of(live, task),
            limit: limit.map(shown_place),
            farther_in_ms: over.map(|over| millis(over, now)),
            hosts: if waits { self.why_nowhere(now, live, task, limit) } else { Vec::new() },
            attempts: Vec::new(),
        }
    }

    /// Where a reduce's input is.
    fn input_of(&self, live: &LiveJob, task: TaskId) -> Option<ReduceInput> {
        if task.kind == TaskKind::Map {
            return None;
        }
        let [host, rack] = live.reduce_inputs.heaviest(task.index);
        let home = live.reduce_inputs.home(task.index);
        // A host that is not registered cannot be named.
        let name = |held: ReduceHome| match held.at {
            HomePlace::Host(place) => {
                Some(InputPlace::Host(self.trackers.at(place.host)?.host.clone()))
            }
            HomePlace::Rack(rack) => {
                Some(InputPlace::Rack(self.trackers.numbers.rack_name(rack)?.clone()))
            }
        };
        let held = home.or(host).or(rack)?;
        Some(ReduceInput {
            place: name(held)?,
            share: held.share,
            bytes: held.bytes as u64,
            is_home: home.is_some(),
        })
    }

    fn obstacles_of_reduces(&self, live: &LiveJob, entry: &RunningEntry) -> Vec<Obstacle> {
        let slowstart = live.slowstart;
        let mut obstacles = Vec::new();
        if !starts_reduces(entry, slowstart) {
            #[expect(clippy::cast_possible_truncation, reason = "at most the number of maps")]
            #[expect(clippy::cast_sign_loss, reason = "a share is not negative")]
            let needed = maps_needed(entry, slowstart) as u32;
            obstacles.push(Obstacle::MapsNotDone { done: entry.maps_done, needed });
        }
        if !self.leaves_room() || !self.jobs.order().has_room_for_reduce(Fifo::of(live.id)) {
            obstacles.push(Obstacle::MapsGoFirst);
        }
        obstacles
    }

    /// Why a waiting task runs on none of the hosts, grouped by reason, the one closest to a match
    /// first.
    fn why_nowhere(
        &self,
        now: Monotonic,
        live: &LiveJob,
        task: TaskId,
        limit: Option<Locality>,
    ) -> Vec<HostObstacle> {
        let hosts = Hosts { now, trackers: &self.trackers, live };
        let mut alike: BTreeMap<WhyNotThere, (u32, Vec<HostName>)> = BTreeMap::new();
        for (host, tracker) in self.trackers.iter() {
            let why = self.why_not_there(&hosts, task, (host, tracker), limit);
            let (n_hosts, named) = alike.entry(why).or_default();
            *n_hosts += 1;
            if named.len() < HOSTS_NAMED_MAX {
                named.push(host.clone());
            }
        }
        let alike = alike.into_iter();
        alike.map(|(why, (n_hosts, hosts))| HostObstacle { why, n_hosts, hosts }).collect()
    }

    fn why_not_there(
        &self,
        hosts: &Hosts<'_>,
        task: TaskId,
        (host, tracker): (&HostName, &Tracker),
        limit: Option<Locality>,
    ) -> WhyNotThere {
        if !tracker.is_open() {
            WhyNotThere::Closed
        } else if hosts.live.exclusions.until(hosts.now, host).is_some() {
            WhyNotThere::LeftAlone
        } else if !hosts.suits(task, host) {
            WhyNotThere::FailedThere
        } else if tracker.free_slots() == 0 {
            WhyNotThere::NoFreeSlot
        } else if tracker.parked.is_none() {
            WhyNotThere::NotAsking
        } else if self.is_too_far(hosts.live, task, tracker, limit) {
            WhyNotThere::TooFar
        } else {
            WhyNotThere::NothingInTheWay
        }
    }
}

impl Core {
    fn is_too_far(
        &self,
        live: &LiveJob,
        task: TaskId,
        tracker: &Tracker,
        limit: Option<Locality>,
    ) -> bool {
        let (host, rack) = (tracker.number, tracker.rack_number);
        match task.kind {
            TaskKind::Map => {
                self.place_at(task, host) > limit && !live.waiting_maps().is_homeless(task.index)
            }
            TaskKind::Reduce => live.waiting_reduces().distance(task.index, host, rack) > limit,
        }
    }
}

/// The map and the reduce that are next for a slot.
pub(crate) fn next_tasks(live: &LiveJob) -> Vec<TaskId> {
    let map = live.waiting_maps().first().map(|first| live.id.task(TaskKind::Map, first.map));
    let reduce = live.waiting_reduces().first().map(|index| live.id.task(TaskKind::Reduce, index));
    map.into_iter().chain(reduce).collect()
}

fn millis(until: Monotonic, now: Monotonic) -> u64 {
    u64::try_from(until.since(now).as_millis()).unwrap_or(u64::MAX)
}

/// Input files of a job that cannot be split.
fn unsplit(live: &LiveJob) -> Option<Unsplit> {
    let formats = &live.description.formats;
    let pieces = live.splits().iter().flat_map(|planned| &planned.split.pieces);
    let whole = pieces.filter(|piece| !formats.splits(&piece.path));
    whole.fold(None, |so_far: Option<Unsplit>, piece| {
        let (files, bytes) = so_far.as_ref().map_or((0, 0), |it| (it.files, it.bytes));
        let longest = match so_far {
            Some(so_far) if bytes >= piece.length => so_far.longest,
            _ => piece.path.to_string(),
        };
        Some(Unsplit { files: files + 1, longest, bytes: bytes.max(piece.length) })
    })
}
