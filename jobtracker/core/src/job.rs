//! Soft state of one unfinished job, built from its durable entry: what runs, what waits, what its reduces are told.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use ids::{Epoch, Monotonic};
use mapreduce_protocol::{
    AttemptId, JobDescription, JobId, MapEvent, Priority, TaskCounts, TaskId, TaskKind, is_url,
};

use crate::asking::OnlyWithin;
use crate::durable::JobEntry;
use crate::exclusions::Exclusions;
use crate::fetch_reports::FetchReports;
use crate::locality::{Locality, Patience};
use crate::numbers::{HostNumber, Numbers, Place, Places};
use crate::pause::Paused;
use crate::phases::PhaseStarts;
use crate::records::PlannedSplit;
use crate::reduce_inputs::ReduceInputs;
use crate::running::RunningEntry;
use crate::spec::STAGING_ROOT;
use crate::speculate::Late;
use crate::tally::Tally;
use crate::task::{ATTEMPTS_AT_ONCE, ATTEMPTS_PER_TERM, LiveAttempt, TaskState};
use crate::tasks::Tasks;
use crate::trackers::Trackers;
use crate::waiting_maps::{WaitKey, WaitingMaps};
use crate::waiting_reduces::{WaitingReduces, reduce_wait};

/// A call to the chunk store that a job needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum StoreCall {
    /// List and locate its inputs.
    Plan,
    /// Make its staging folder.
    MakeStaging,
    /// Read its split list back.
    ReadSplits,
    /// Publish its output.
    Publish,
}

/// The soft state of an unfinished job.
#[derive(Debug)]
pub(crate) struct LiveJob {
    pub(crate) id: JobId,
    /// Number of the first attempt of each task in this term.
    first_attempt: u32,
    pub(crate) description: Arc<JobDescription>,
    /// Absent while the job is being planned, or its split list read again after a restart.
    splits: Option<Arc<[PlannedSplit]>>,
    /// Where the bytes of its splits are.
    places: Places,
    maps: Tasks,
    reduces: Tasks,
    waiting_maps: WaitingMaps,
    pub(crate) waiting_reduces: WaitingReduces,
    pub(crate) patience: Patience,
    /// Set if it was found to want nothing but slots near its maps' input.
    pub(crate) only_within: Option<OnlyWithin>,
    /// How far from their input its reduces may run by now.
    pub(crate) reduce_patience: Patience,
    /// How long its reduces wait at each level of locality.
    pub(crate) reduce_wait: Duration,
    /// Where the input of its reduces is.
    pub(crate) reduce_inputs: ReduceInputs,
    /// Number of maps with known output sizes when the waiting reduces were last placed by them.
    pub(crate) placed_by: u32,
    /// Hosts on which it failed.
    pub(crate) exclusions: Exclusions,
    /// After a restart: nothing is launched before this time.
    pub(crate) hold_until: Option<Monotonic>,
    /// Map events for its reduces, in order. Positions are valid for the life of this process.
    pub(crate) events: Vec<MapEvent>,
    /// Hosts whose reduces read the events.
    pub(crate) listeners: BTreeSet<HostNumber>,
    /// Maps with a winner of an earlier term whose output no tracker has reported yet.
    pub(crate) unreported: BTreeSet<u32>,
    /// Reports that a winner's output cannot be fetched.
    pub(crate) fetch_reports: BTreeMap<AttemptId, FetchReports>,
    pub(crate) priority: Priority,
    /// Index of its pool.
    pub(crate) pool: usize,
    /// Number of launches of all jobs up to its own last one; 0 if it has had none.
    pub(crate) served: u64,
    /// Whether any of its attempts has been launched.
    pub(crate) has_begun: bool,
    /// Incremented whenever it may want a slot that it did not want before.
    pub(crate) demands: u64,
    /// Whether it or its pool is paused.
    pub(crate) paused: Paused,
    /// Share of its maps that must be done before its reduces start.
    pub(crate) slowstart: f64,
    /// Whether late attempts get backups.
    pub(crate) speculative: bool,
    /// Whether a timer is set to check its running attempts.
    pub(crate) watched: bool,
    /// Attempts found late at the last check, those with most time left first.
    pub(crate) late: Vec<Late>,
    /// When all its maps were done for the first time.
    pub(crate) maps_done_at: Option<Monotonic>,
    /// When its other phases began.
    pub(crate) phase_starts: PhaseStarts,
    /// Whether the edge is planning it: its staging folder may appear at any time.
    pub(crate) planning: bool,
    /// Its splits (once known), while its staging folder may be missing: nothing is launched before it exists.
    pub(crate) awaits_staging: Option<Option<(Arc<[PlannedSplit]>, Places)>>,
    /// Chunk store calls to be repeated.
    pub(crate) to_retry: BTreeSet<StoreCall>,
    /// Whether its output is being published: it can no longer be killed.
    pub(crate) committing: bool,
}

/// The folder that holds the output of the attempts of `job`.
#[must_use]
pub fn staging_folder(job: JobId) -> String {
    format!("{STAGING_ROOT}/{job}")
}

impl LiveJob {
    /// A job without running attempts. Its tasks do not wait yet: see [`Self::task_waits`].
    pub(crate) fn new(
        id: JobId,
        entry: &JobEntry,
        epoch: Epoch,
        (speculative, pool): (bool, usize),
        slowstart: f64,
        locality_wait: Duration,
    ) -> Self {
        let restarts = epoch.0.saturating_sub(entry.accepted_in.0);
        let restarts = u32::try_from(restarts).unwrap_or(u32::MAX);
        Self {
            id,
            first_attempt: restarts.saturating_mul(ATTEMPTS_PER_TERM),
            description: Arc::new(JobDescription {
                job: id,
                name: entry.spec.name.clone(),
                program: entry.spec.program.clone(),
                n_reduces: entry.n_reduces,
                n_maps: 0,
                staging: staging_folder(id),
                output: Some(entry.spec.output.clone()).filter(|output| is_url(output)),
                limits: entry.spec.limits.clone().unwrap_or_default(),
                formats: entry.spec.formats(),
                output_forms: entry.spec.output_forms(),
            }),
            splits: None,
            places: Places::default(),
            maps: Tasks::default(),
            reduces: Tasks::default(),
            waiting_maps: WaitingMaps::default(),
            waiting_reduces: WaitingReduces::default(),
            patience: Patience::default(),
            only_within: None,
            reduce_patience: Patience::default(),
            reduce_wait: reduce_wait(locality_wait),
            reduce_inputs: ReduceInputs::default(),
            placed_by: 0,
            exclusions: Exclusions::default(),
            hold_until: None,
            events: Vec::new(),
            listeners: BTreeSet::new(),
            unreported: BTreeSet::new(),
            fetch_reports: BTreeMap::new(),
            priority: entry.priority,
            pool,
            served: 0,
            has_begun: false,
            demands: 0,
            paused: Paused { itself: entry.paused, pool: false },
            slowstart,
            speculative,
            watched: false,
            late: Vec::new(),
            maps_done_at: None,
            phase_starts: PhaseStarts::default(),
            planning: false,
            awaits_staging: None,
            to_retry: BTreeSet::new(),
            committing: false,
        }
    }

    /// Its tasks are known from now on.
    pub(crate) fn on_planned(&mut self, entry: &RunningEntry, numbers: &mut Numbers) {
        let n_maps = u32::try_from(entry.maps.len()).expect("the number of maps came as u32");
        Arc::make_mut(&mut self.description).n_maps = n_maps;
        self.maps = Tasks::of(entry, TaskKind::Map, numbers);
        self.reduces = Tasks::of(entry, TaskKind::Reduce, numbers);
        self.reduce_inputs = ReduceInputs::new(entry.maps.len(), entry.reduces.len());
        self.has_begun |= entry.maps_done + entry.reduces_done > 0;
    }

    pub(crate) fn has_splits(&self) -> bool {
        self.splits.is_some()
    }

    pub(crate) fn set_splits(&mut self, splits: Arc<[PlannedSplit]>, places: Places) {
        self.places = places;
        self.splits = Some(splits);
    }

    /// The splits of its maps, in order, as far as they are known.
    pub(crate) fn splits(&self) -> &[PlannedSplit] {
        self.splits.as_deref().unwrap_or_default()
    }

    /// The split of a map; `None` for a reduce, and while the splits are not known.
    pub(crate) fn split(&self, task: TaskId) -> Option<&PlannedSplit> {
        match task.kind {
            TaskKind::Map => self.splits.as_ref()?.get(task.index as usize),
            TaskKind::Reduce => None,
        }
    }

    /// Where the bytes of a map's split are; `None` as in [`Self::split`].
    pub(crate) fn places(&self, task: TaskId) -> Option<&[Place]> {
        self.split(task).map(|_| self.places.of(task.index))
    }

    pub(crate) fn tasks(&self, kind: TaskKind) -> &Tasks {
        match kind {
            TaskKind::Map => &self.maps,
            TaskKind::Reduce => &self.reduces,
        }
    }

    pub(crate) fn tasks_mut(&mut self, kind: TaskKind) -> &mut Tasks {
        match kind {
            TaskKind::Map => &mut self.maps,
            TaskKind::Reduce => &mut self.reduces,
        }
    }

    /// The state of one of its tasks; `None` if it has no such task.
    pub(crate) fn task(&self, task: TaskId) -> Option<&TaskState> {
        self.tasks(task.kind).states.get(task.index as usize)
    }

    pub(crate) fn task_mut(&mut self, task: TaskId) -> Option<&mut TaskState> {
        self.tasks_mut(task.kind).states.get_mut(task.index as usize)
    }

    /// The attempts that may win `task`.
    pub(crate) fn live(&self, task: TaskId) -> &[LiveAttempt] {
        self.task(task).map_or(&[], TaskState::live)
    }

    pub(crate) fn live_mut(&mut self, attempt: AttemptId) -> Option<&mut LiveAttempt> {
        let live = self.task_mut(attempt.task)?.live_mut();
        live.iter_mut().find(|live| live.number == attempt.number)
    }

    pub(crate) fn is_live(&self, attempt: AttemptId) -> bool {
        self.live(attempt.task).iter().any(|live| live.number == attempt.number)
    }

    /// Whether an attempt with that number may have been launched, in this term or an earlier one.
    pub(crate) fn may_have_launched(&self, attempt: AttemptId) -> bool {
        let launched = |state: &TaskState| self.first_attempt.saturating_add(state.launched);
        self.task(attempt.task).is_some_and(|state| attempt.number < launched(state))
    }

    pub(crate) fn has_number_left(&self, task: TaskId) -> bool {
        self.task(task).is_some_and(|state| state.launched < ATTEMPTS_PER_TERM)
    }

    /// Number of the next attempt of `task`; `None` if this term's numbers are used up.
    pub(crate) fn next_number(&mut self, task: TaskId) -> Option<u32> {
        let first = self.first_attempt;
        let state = self.task_mut(task).filter(|state| state.launched < ATTEMPTS_PER_TERM)?;
        let number = first.checked_add(state.launched)?;
        state.launched += 1;
        Some(number)
    }

    /// Gives the next attempts of all reduces numbers above any so far, and returns the lowest of them.
    pub(crate) fn renumber_reduces(&mut self) -> u32 {
        let launched = self.reduces.states.iter().map(|state| state.launched).max().unwrap_or(0);
        self.reduces.states.iter_mut().for_each(|state| state.launched = launched);
        self.first_attempt.saturating_add(launched)
    }

    /// An attempt of `task` runs from now on.
    pub(crate) fn add_live(&mut self, task: TaskId, attempt: LiveAttempt) {
        self.stop_waiting(task);
        self.has_begun = true;
        let n_before = self.live(task).len();
        assert!(n_before < ATTEMPTS_AT_ONCE, "{task} runs {n_before} times");
        let tasks = self.tasks_mut(task.kind);
        match n_before {
            0 => tasks.running += 1,
            _ => tasks.backed_up += 1,
        }
        tasks.came_back += u32::from(attempt.came_back);
        tasks.count(&attempt, Tally::count);
        let state = self.task_mut(task).expect("whoever launches knows the task");
        state.ran_before = true;
        state.add_live(attempt);
    }

    /// Removes a running attempt, which is over or may no longer win.
    pub(crate) fn take_live(&mut self, attempt: AttemptId) -> Option<LiveAttempt> {
        let state = self.task_mut(attempt.task)?;
        let live = state.take_live(attempt.number)?;
        let n_left = state.live().len();
        let tasks = self.tasks_mut(attempt.task.kind);
        match n_left {
            0 => tasks.running -= 1,
            _ => tasks.backed_up -= 1,
        }
        tasks.came_back -= u32::from(live.came_back);
        tasks.count(&live, Tally::uncount);
        Some(live)
    }

    /// Sets how close to its input a running map is, when that becomes known.
    pub(crate) fn set_place(&mut self, attempt: AttemptId, place: Option<Locality>) {
        if let Some(mut live) = self.take_live(attempt) {
            live.place = place;
            self.add_live(attempt.task, live);
        }
    }

    /// The JobTracker stood still: that time is not counted in its attempts' run times.
    pub(crate) fn pardon(&mut self, pause: Duration) {
        self.late.clear();
        self.maps_done_at = self.maps_done_at.map(|at| at + pause);
        for tasks in [&mut self.maps, &mut self.reduces] {
            let live = tasks.states.iter_mut().flat_map(TaskState::live_mut);
            live.for_each(|it| it.pardon(pause));
        }
    }

    /// All running attempts of one kind.
    pub(crate) fn live_attempts(
        &self,
        kind: TaskKind,
    ) -> impl Iterator<Item = (TaskId, &LiveAttempt)> {
        (0..).zip(&self.tasks(kind).states).flat_map(move |(index, state)| {
            state.live().iter().map(move |live| (self.id.task(kind, index), live))
        })
    }

    /// `task` waits for a slot from now on.
    pub(crate) fn task_waits(&mut self, task: TaskId, trackers: &Trackers) {
        self.demands_more();
        match task.kind {
            TaskKind::Reduce => {
                let home = self.reduce_inputs.home(task.index);
                let is_open = |host| trackers.is_open_at(host);
                self.waiting_reduces.insert(task.index, home, self.reduce_wait, is_open);
            }
            TaskKind::Map => {
                let key = self.wait_key(task.index);
                let splits = self.splits.as_deref().unwrap_or_default();
                let state = &self.maps.states[task.index as usize];
                let Some(wanted) = wanted((splits, &self.places), state, task.index) else {
                    return;
                };
                self.waiting_maps.insert(key, wanted, |host| trackers.is_open_at(host));
            }
        }
    }

    /// Every task without a winner or running attempt waits for a slot from now on.
    pub(crate) fn all_wait(&mut self, entry: &RunningEntry, trackers: &Trackers) {
        let idle = |kind| {
            let tasks = (0..).zip(entry.tasks(kind)).zip(&self.tasks(kind).states);
            tasks.filter(|((_, task), state)| task.winner.is_none() && state.live().is_empty())
        };
        let mut waiting_reduces = WaitingReduces::default();
        for ((reduce, _), _) in idle(TaskKind::Reduce) {
            let home = self.reduce_inputs.home(reduce);
            waiting_reduces
                .insert(reduce, home, self.reduce_wait, |host| trackers.is_open_at(host));
        }
        let splits = self.splits.as_deref().unwrap_or_default();
        let maps = idle(TaskKind::Map).filter_map(|((map, _), state)| {
            let wanted = wanted((splits, &self.places), state, map)?;
            Some((WaitKey { first_run: !state.ran_before, map }, wanted))
        });
        let waiting_maps = WaitingMaps::all_at_once(maps, |host| trackers.is_open_at(host));
        (self.waiting_maps, self.waiting_reduces) = (waiting_maps, waiting_reduces);
        self.demands_more();
    }

    /// `task` no longer waits, if it did.
    pub(crate) fn stop_waiting(&mut self, task: TaskId) {
        match task.kind {
            TaskKind::Reduce => self.waiting_reduces.remove(task.index),
            TaskKind::Map => {
                let key = self.wait_key(task.index);
                self.waiting_maps.remove(key, self.places.of(task.index));
            }
        }
    }

    /// None of its tasks waits any more.
    pub(crate) fn clear_waiting(&mut self) {
        self.waiting_maps = WaitingMaps::default();
        self.waiting_reduces = WaitingReduces::default();
    }

    pub(crate) fn waits(&self, task: TaskId) -> bool {
        match task.kind {
            TaskKind::Reduce => self.waiting_reduces.contains(task.index),
            TaskKind::Map => self.waiting_maps.contains(self.wait_key(task.index)),
        }
    }

    pub(crate) fn waiting_maps(&self) -> &WaitingMaps {
        &self.waiting_maps
    }

    pub(crate) fn waiting_reduces(&self) -> &WaitingReduces {
        &self.waiting_reduces
    }

    /// It may want a slot that it did not want, or declined, before.
    pub(crate) fn demands_more(&mut self) {
        self.demands += 1;
    }

    /// Tasks that wait for a slot.
    pub(crate) fn n_waiting(&self) -> u32 {
        u32::try_from(self.waiting_maps.len() + self.waiting_reduces.len()).unwrap_or(u32::MAX)
    }

    pub(crate) fn has_waiting(&self) -> bool {
        !self.waiting_maps.is_empty() || !self.waiting_reduces.is_empty()
    }

    /// `host` takes new attempts from now on.
    pub(crate) fn on_host_open(&mut self, host: HostNumber) {
        self.waiting_maps.on_host_open(host);
        self.waiting_reduces.on_host_open(host);
    }

    /// `host` takes no new attempts from now on; `trackers` must say so already.
    pub(crate) fn on_host_closed(&mut self, host: HostNumber, trackers: &Trackers) {
        self.demands_more();
        self.waiting_reduces.on_host_closed(host);
        let (splits, states) = (self.splits.as_deref().unwrap_or_default(), &self.maps.states);
        self.waiting_maps.on_host_closed(host, |map| {
            let mut wanted =
                wanted((splits, &self.places), &states[map as usize], map).into_iter().flatten();
            wanted.any(|place| trackers.is_open_at(place.host))
        });
    }

    /// Appends an event for the reduces, and marks the trackers that must hear of it.
    pub(crate) fn publish_event(&mut self, event: MapEvent, trackers: &mut Trackers) {
        self.events.push(event);
        trackers.news.extend(&self.listeners);
    }

    /// Counts of its tasks of one kind.
    pub(crate) fn counts(&self, kind: TaskKind, entry: Option<&RunningEntry>) -> TaskCounts {
        let tasks = self.tasks(kind);
        let total = u32::try_from(tasks.states.len()).unwrap_or(u32::MAX);
        let succeeded = entry.map_or(0, |entry| entry.n_done(kind));
        let (ended, live) = (entry.map(|it| it.tally(kind)).unwrap_or_default(), tasks.live);
        TaskCounts {
            total,
            waiting: total.saturating_sub(succeeded + tasks.running),
            running: tasks.running,
            succeeded,
            attempts: ended.attempts + live.attempts,
            failed_attempts: ended.failed,
            killed_attempts: ended.killed - tasks.came_back,
            lost_outputs: ended.attempts.saturating_sub(succeeded + ended.failed + ended.killed),
            node_local: ended.node_local + live.node_local,
            rack_local: ended.rack_local + live.rack_local,
            off_rack: ended.off_rack + live.off_rack,
        }
    }

    fn wait_key(&self, map: u32) -> WaitKey {
        let ran_before = self.maps.states.get(map as usize).is_some_and(|state| state.ran_before);
        WaitKey { first_run: !ran_before, map }
    }
}

/// Where a map would read a local disk and has not failed yet; `None` while its split is not known.
fn wanted<'a>(
    (splits, places): (&'a [PlannedSplit], &'a Places),
    state: &'a TaskState,
    map: u32,
) -> Option<impl Iterator<Item = Place> + 'a> {
    let homes = &splits.get(map as usize)?.homes;
    let places = places.of(map).iter().zip(homes);
    let wanted = places.filter(|(_, home)| !state.avoid().contains(&home.host));
    Some(wanted.map(|(place, _)| *place))
}
