//! Whose turn it is: the pools in the order in which they are offered a slot, and in each pool its
//! jobs. Updated one job at a time.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use ids::Monotonic;
use mapreduce_protocol::Priority;

use crate::machine::Fifo;
use crate::pools::PoolRule;
use crate::share::Sharing;

/// One slot in fixed-point units: shares are compared as integers.
const SHARE_UNIT: u64 = 1 << 20;

/// The properties of a job that the order depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Standpoint {
    pub(crate) demand: Demand,
    pub(crate) priority: Priority,
    /// Slots that it holds.
    pub(crate) n_slots: u32,
    /// Slots that its reduces hold.
    pub(crate) n_reduces: u32,
    /// Its tasks that wait for a slot.
    pub(crate) n_waiting: u32,
    /// Its attempts that run beside another attempt of their task.
    pub(crate) n_backups: u64,
    /// Number of launches of all jobs up to its own last one; 0 if it has had none.
    pub(crate) served: u64,
    /// Whether any of its attempts has been launched.
    pub(crate) has_begun: bool,
    /// Whether it counts among the running jobs of its pool: not if it is paused or not planned
    /// yet.
    pub(crate) takes_place: bool,
    /// Whether its reduces hold slots and it cannot go on without another one.
    pub(crate) is_stuck: bool,
    /// Whether some of its attempts are late.
    pub(crate) is_late: bool,
    /// Whether it is paused, and its reduces hold slots while they wait for maps that are not launched.
    pub(crate) holds_while_paused: bool,
}

/// Which slots a job wants. When this changes, the job may want slots that it has declined before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Demand {
    /// Index of its pool.
    pub(crate) pool: usize,
    /// Whether it is asked at all.
    pub(crate) wants: bool,
    pub(crate) maps: Maps,
    /// Whether one of its maps takes any slot.
    pub(crate) is_pressed: bool,
    /// Incremented whenever it may want a slot that it did not want before.
    pub(crate) demands: u64,
}

/// The state of a job's maps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Maps {
    /// None waits for a slot.
    None,
    /// Some wait, and others run.
    Wait,
    /// Some wait, and none runs.
    Starve,
}

/// Rank of a job in its pool; the least goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct JobTurn {
    /// Slots that it holds, divided by its weight.
    held: u64,
    /// Of two jobs that hold the same, the one goes first whose last launch is longer ago:
    /// otherwise the older one would keep a single slot to itself.
    served: u64,
    priority: Reverse<Priority>,
    fifo: Fifo,
    member: Member,
}

/// Rank of a job for the places among the running jobs of its pool; the least goes first. A job
/// that has begun is not overtaken: its reduces would wait for maps that may not run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Member {
    has_begun: Reverse<bool>,
    priority: Reverse<Priority>,
    fifo: Fifo,
}

impl Member {
    fn new(job: &Standpoint, fifo: Fifo) -> Self {
        Self { has_begun: Reverse(job.has_begun), priority: Reverse(job.priority), fifo }
    }
}

/// Rank of a pool; the least goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct PoolTurn {
    /// Whether it holds its minimum share.
    has_its_minimum: bool,
    /// Slots that it holds relative to its minimum share or, if it has that, to its weight (Hadoop:
    /// `SchedulingAlgorithms.FairShareComparator`).
    held: u64,
    pool: usize,
}

/// The present state of a pool.
#[derive(Debug)]
pub(crate) struct Pool {
    pub(crate) rule: PoolRule,
    /// Slots that its jobs hold.
    pub(crate) n_slots: u32,
    /// Slots that their reduces hold.
    n_reduces: u32,
    /// Waiting tasks of its jobs, whether they may start now or not.
    pub(crate) n_waiting: u32,
    /// Since when it has had less than its minimum share, or than half its fair share, and wanted
    /// more.
    pub(crate) short_since: Option<Monotonic>,
    /// Its unfinished jobs.
    n_jobs: usize,
    /// Its jobs that take a place among the running ones, in that order.
    members: BTreeSet<Member>,
    /// Its jobs that want slots.
    turns: BTreeSet<JobTurn>,
    turn: Option<PoolTurn>,
}

/// All pools and jobs.
#[derive(Debug)]
pub(crate) struct Order {
    pools: Vec<Pool>,
    turns: BTreeSet<PoolTurn>,
    standpoints: BTreeMap<Fifo, Standpoint>,
    /// Jobs whose reduces hold slots and that cannot go on without another one: it goes to them
    /// first, whatever they and their pools hold.
    stuck: BTreeSet<JobTurn>,
    /// Jobs that may now want a slot that they declined, or did not want, before.
    eager: BTreeSet<Fifo>,
    flagged: Flagged,
}

/// Why the jobs of a pool decline slots. When this changes, all of them may want what they have
/// declined.
struct Mood {
    /// The pool holds its `slots_max`.
    is_full: bool,
    /// The last of its jobs that may run, if `running_jobs_max` limits them.
    last: Option<Member>,
    /// Whether one more reduce leaves a slot for its maps.
    leaves_room: bool,
}

impl Mood {
    fn wants_more_than(&self, before: &Self) -> bool {
        (before.is_full && !self.is_full)
            || before.last != self.last
            || (!before.leaves_room && self.leaves_room)
    }
}

/// Numbers of jobs in states that call for action.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Flagged {
    /// Jobs with late attempts.
    pub(crate) late: usize,
    /// Jobs whose reduces hold slots and that cannot go on without another one.
    pub(crate) stuck: usize,
    /// Paused jobs whose reduces hold slots while they wait for maps that are not launched.
    pub(crate) holding_while_paused: usize,
}

impl Flagged {
    fn count(&mut self, job: &Standpoint, change: impl Fn(&mut usize)) {
        let flags = [
            (job.is_late, &mut self.late),
            (job.is_stuck, &mut self.stuck),
            (job.holds_while_paused, &mut self.holding_while_paused),
        ];
        flags.into_iter().filter(|(is_so, _)| *is_so).for_each(|(_, n)| change(n));
    }
}

impl Order {
    pub(crate) fn new(pools: Vec<PoolRule>) -> Self {
        Self {
            pools: pools.into_iter().map(Pool::of).collect(),
            turns: BTreeSet::new(),
            standpoints: BTreeMap::new(),
            stuck: BTreeSet::new(),
            eager: BTreeSet::new(),
            flagged: Flagged::default(),
        }
    }

    /// Updates a job; `None`: it is over.
    pub(crate) fn put(&mut self, fifo: Fifo, now: Option<Standpoint>) {
        let before = match now {
            Some(now) => self.standpoints.insert(fifo, now),
            None => self.standpoints.remove(&fifo),
        };
        if before == now {
            return;
        }
        let [left, come_to] = [before, now].map(|it| it.map(|it| it.demand.pool));
        let places = [left, come_to.filter(|at| left != Some(*at))];
        let moods = places.map(|at| at.map(|at| (at, self.mood(at))));
        // Mostly it holds one slot more or less, and its place among the running jobs is unchanged.
        let member = |it: Option<Standpoint>| {
            it.filter(|it| it.takes_place).map(|it| (it.demand.pool, Member::new(&it, fifo)))
        };
        if member(before) != member(now) {
            member(before).map(|(pool, it)| self.pools[pool].members.remove(&it));
            member(now).map(|(pool, it)| self.pools[pool].members.insert(it));
        }
        before.iter().for_each(|before| self.take_out(fifo, before));
        now.iter().for_each(|now| self.put_in(fifo, now));
        for (at, before) in moods.into_iter().flatten() {
            self.settle(at);
            if self.mood(at).wants_more_than(&before) {
                self.eager.extend(self.pools[at].turns.iter().map(|turn| turn.fifo));
            }
        }
        if now.is_some_and(|now| before.is_none_or(|before| before.demand != now.demand)) {
            self.eager.insert(fifo);
        }
    }

    fn mood(&self, at: usize) -> Mood {
        let pool = &self.pools[at];
        Mood {
            is_full: pool.is_full(),
            last: pool.last_to_run().copied(),
            leaves_room: self.leaves_room(at),
        }
    }

    /// Whether one more reduce leaves a slot of the pool for its waiting maps. This does not apply
    /// to a pool with a single slot: there, a job's reduces wait for its own maps alone.
    fn leaves_room(&self, at: usize) -> bool {
        let pool = &self.pools[at];
        let is_last = pool.rule.slots_max.is_some_and(|max| max > 1 && pool.n_reduces + 1 >= max);
        !is_last || !pool.jobs().any(|job| self.maps_wait(job))
    }

    /// Whether a reduce of a job may take one more slot of its pool.
    pub(crate) fn has_room_for_reduce(&self, fifo: Fifo) -> bool {
        let Some(job) = self.standpoints.get(&fifo) else { return false };
        // If none of its maps runs, a reduce would have to give way to one at once, and then be
        // launched again.
        let Demand { pool, maps, .. } = job.demand;
        let waits_for_own = match self.pools[pool].rule.slots_max {
            Some(1) => maps != Maps::None,
            Some(_) => maps == Maps::Starve,
            None => false,
        };
        self.leaves_room(pool) && !waits_for_own
    }

    /// Whether a job that may get slots has waiting maps.
    pub(crate) fn any_maps_wait(&self) -> bool {
        self.jobs().any(|job| self.maps_wait(job))
    }

    fn maps_wait(&self, fifo: Fifo) -> bool {
        self.standpoints.get(&fifo).is_some_and(|it| it.demand.maps != Maps::None)
    }

    fn take_out(&mut self, fifo: Fifo, before: &Standpoint) {
        self.flagged.count(before, |n| *n -= 1);
        let pool = &mut self.pools[before.demand.pool];
        let turn = JobTurn::new(pool.rule.sharing, before, fifo);
        pool.n_slots -= before.n_slots;
        pool.n_reduces -= before.n_reduces;
        pool.n_jobs -= 1;
        if before.demand.wants {
            pool.n_waiting -= before.n_waiting;
            pool.turns.remove(&turn);
            self.stuck.remove(&turn);
        }
    }

    fn put_in(&mut self, fifo: Fifo, now: &Standpoint) {
        self.flagged.count(now, |n| *n += 1);
        let pool = &mut self.pools[now.demand.pool];
        let turn = JobTurn::new(pool.rule.sharing, now, fifo);
        pool.n_slots += now.n_slots;
        pool.n_reduces += now.n_reduces;
        pool.n_jobs += 1;
        if now.demand.wants {
            pool.n_waiting += now.n_waiting;
            pool.turns.insert(turn);
            if now.is_stuck {
                self.stuck.insert(turn);
            }
        }
    }

    /// Updates the rank of a pool.
    fn settle(&mut self, at: usize) {
        let pool = &mut self.pools[at];
        let turn = PoolTurn::new(at, pool);
        if pool.turn != turn {
            pool.turn.map(|before| self.turns.remove(&before));
            turn.map(|now| self.turns.insert(now));
            pool.turn = turn;
        }
    }

    /// Jobs in the order in which a slot is offered to them.
    pub(crate) fn jobs(&self) -> impl Iterator<Item = Fifo> {
        let stuck = self.stuck().filter(|job| self.may_run(*job));
        let pools = self.turns.iter().map(|turn| &self.pools[turn.pool]);
        let others = pools.filter(|pool| !pool.is_full()).flat_map(Pool::jobs);
        let any_stuck = !self.stuck.is_empty();
        let is_stuck =
            move |job: &Fifo| any_stuck && self.standpoints.get(job).is_some_and(|it| it.is_stuck);
        stuck.chain(others.filter(move |job| !is_stuck(job)))
    }

    /// Jobs whose reduces hold slots and that cannot go on without another one, even if their pools
    /// may not give them any.
    pub(crate) fn stuck(&self) -> impl Iterator<Item = Fifo> {
        self.stuck.iter().map(|turn| turn.fifo)
    }

    /// Whether the pool of a job holds its maximum of slots.
    pub(crate) fn is_in_full_pool(&self, fifo: Fifo) -> bool {
        self.standpoints.get(&fifo).is_some_and(|it| self.pools[it.demand.pool].is_full())
    }

    /// Whether the job wants slots and may get some.
    pub(crate) fn may_run(&self, fifo: Fifo) -> bool {
        let Some(standpoint) = self.standpoints.get(&fifo) else { return false };
        let Demand { pool, wants, .. } = standpoint.demand;
        let pool = &self.pools[pool];
        wants && !pool.is_full() && pool.runs(Member::new(standpoint, fifo))
    }

    /// Why a waiting job gets no slots, if its pool is the reason, for people.
    pub(crate) fn why_not(&self, fifo: Fifo) -> Option<String> {
        let standpoint = self.standpoints.get(&fifo)?;
        self.pools[standpoint.demand.pool].why_not(Member::new(standpoint, fifo))
    }

    pub(crate) fn pools(&self) -> &[Pool] {
        &self.pools
    }

    pub(crate) fn pools_mut(&mut self) -> &mut [Pool] {
        &mut self.pools
    }

    /// Whether no job wants a slot.
    pub(crate) fn wants_nothing(&self) -> bool {
        self.turns.is_empty()
    }

    /// The job may want slots it has declined before: its patience is over, or the hosts have
    /// changed.
    pub(crate) fn becomes_eager(&mut self, fifo: Fifo) {
        self.eager.insert(fifo);
    }

    /// The same for all jobs that want slots.
    pub(crate) fn all_are_eager(&mut self) {
        let wanting = self.standpoints.iter().filter(|(_, it)| it.demand.wants);
        self.eager.extend(wanting.map(|(fifo, _)| *fifo));
    }

    /// Takes the jobs that, since the last call, may have come to want a slot that they declined or
    /// did not want before.
    pub(crate) fn take_eager(&mut self) -> BTreeSet<Fifo> {
        std::mem::take(&mut self.eager)
    }

    /// Whether the job is asked at all.
    pub(crate) fn wants(&self, fifo: Fifo) -> bool {
        self.standpoints.get(&fifo).is_some_and(|it| it.demand.wants)
    }

    /// Numbers of jobs in states that call for action.
    pub(crate) fn flagged(&self) -> Flagged {
        self.flagged
    }

    pub(crate) fn n_backups(&self, fifo: Fifo) -> u64 {
        self.standpoints.get(&fifo).map_or(0, |it| it.n_backups)
    }
}

impl Pool {
    /// A pool without jobs.
    pub(crate) fn of(rule: PoolRule) -> Self {
        Self {
            rule,
            n_slots: 0,
            n_reduces: 0,
            n_waiting: 0,
            short_since: None,
            n_jobs: 0,
            members: BTreeSet::new(),
            turns: BTreeSet::new(),
            turn: None,
        }
    }

    /// Whether it holds its maximum of slots.
    fn is_full(&self) -> bool {
        self.rule.slots_max.is_some_and(|max| self.n_slots >= max)
    }

    /// Why its jobs, or this waiting one, get no slots, for people.
    fn why_not(&self, member: Member) -> Option<String> {
        let name = &self.rule.name;
        if self.is_full() {
            let n_slots = self.n_slots;
            return Some(format!(
                "pool {name} holds {n_slots} slots, as many as it may (slots_max)"
            ));
        }
        let n_max = self.rule.running_jobs_max?;
        (!self.runs(member)).then(|| {
            format!(
                "pool {name} runs {n_max} jobs, as many as it may (running_jobs_max): this one begins when one of \
                 them has ended"
            )
        })
    }

    /// Number of its unfinished jobs.
    pub(crate) fn n_jobs(&self) -> usize {
        self.n_jobs
    }

    /// The last of its jobs that may run; `None` if all may.
    fn last_to_run(&self) -> Option<&Member> {
        let n_max = self.rule.running_jobs_max? as usize;
        self.members.iter().nth(n_max.max(1) - 1)
    }

    /// Whether a job is among those that may run.
    fn runs(&self, member: Member) -> bool {
        self.last_to_run().is_none_or(|last| member <= *last)
    }

    /// Its jobs that may run and want slots.
    pub(crate) fn jobs(&self) -> impl Iterator<Item = Fifo> {
        let last = self.last_to_run().copied();
        let may_run = move |turn: &&JobTurn| last.is_none_or(|last| turn.member <= last);
        self.turns.iter().filter(may_run).map(|turn| turn.fifo)
    }
}

impl JobTurn {
    fn new(sharing: Sharing, job: &Standpoint, fifo: Fifo) -> Self {
        let (held, served) = match sharing {
            Sharing::Fifo => (0, 0),
            Sharing::Fair => (u64::from(job.n_slots) * share_unit(job.priority), job.served),
        };
        Self { held, served, priority: Reverse(job.priority), fifo, member: Member::new(job, fifo) }
    }
}

impl PoolTurn {
    fn new(at: usize, pool: &Pool) -> Option<Self> {
        pool.turns.first()?;
        let (n_slots, minimum) = (u64::from(pool.n_slots), u64::from(pool.rule.min_slots));
        let has_its_minimum = n_slots >= minimum;
        let share = if has_its_minimum { u64::from(pool.rule.weight) } else { minimum };
        let held = n_slots * SHARE_UNIT / share.max(1);
        Some(Self { has_its_minimum, held, pool: at })
    }
}

/// How much one slot counts for a job of that priority: twice as much as for the next higher one.
fn share_unit(priority: Priority) -> u64 {
    match priority {
        Priority::VeryLow => 16,
        Priority::Low => 8,
        Priority::Normal => 4,
        Priority::High => 2,
        Priority::VeryHigh => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fifo(ordinal: usize) -> Fifo {
        let (date, ordinal) = (20_261_122, u32::try_from(ordinal).unwrap());
        Fifo::of(mapreduce_protocol::JobId { date, ordinal })
    }

    fn pool(name: &str, sharing: Sharing) -> PoolRule {
        PoolRule { sharing, ..PoolRule::named(name) }
    }

    fn job(pool: usize, priority: Priority, n_slots: u32) -> Standpoint {
        let (maps, is_pressed) = (Maps::Wait, false);
        Standpoint {
            demand: Demand { pool, wants: true, maps, is_pressed, demands: 0 },
            priority,
            n_slots,
            n_reduces: 0,
            n_waiting: 1,
            n_backups: 0,
            served: 0,
            has_begun: n_slots > 0,
            takes_place: true,
            is_stuck: false,
            is_late: false,
            holds_while_paused: false,
        }
    }

    /// The same job, which may want nothing.
    fn wanting(wants: bool, job: Standpoint) -> Standpoint {
        Standpoint { demand: Demand { wants, ..job.demand }, ..job }
    }

    /// The jobs (by age) in the order of their turns.
    fn turns(pools: Vec<PoolRule>, jobs: &[Standpoint]) -> Vec<usize> {
        let mut order = Order::new(pools);
        for (at, job) in jobs.iter().enumerate() {
            order.put(fifo(at), Some(wanting(false, Standpoint { n_slots: 99, ..*job })));
            order.put(fifo(at), Some(*job));
        }
        let turns: Vec<_> = order.jobs().collect();
        turns.iter().map(|turn| (0..jobs.len()).find(|at| fifo(*at) == *turn).unwrap()).collect()
    }

    #[test]
    fn in_a_pool_turns_go_by_what_is_held_for_the_weight_then_by_priority_then_by_age() {
        // For each job by age, priority and slots held; then the expected turns.
        for (sharing, jobs, expected) in [
            (Sharing::Fair, &[(Priority::Normal, 5), (Priority::Normal, 0)][..], &[1, 0][..]),
            (Sharing::Fair, &[(Priority::Normal, 2), (Priority::Normal, 2)], &[0, 1]),
            (Sharing::Fair, &[(Priority::Normal, 2), (Priority::High, 3)], &[1, 0]),
            (Sharing::Fair, &[(Priority::Normal, 2), (Priority::High, 4)], &[1, 0]),
            (Sharing::Fair, &[(Priority::Normal, 2), (Priority::High, 5)], &[0, 1]),
            (Sharing::Fair, &[(Priority::VeryLow, 1), (Priority::VeryHigh, 15)], &[1, 0]),
            (Sharing::Fair, &[(Priority::VeryLow, 1), (Priority::VeryHigh, 17)], &[0, 1]),
            (Sharing::Fair, &[(Priority::Low, 0), (Priority::High, 0)], &[1, 0]),
            (Sharing::Fifo, &[(Priority::Normal, 5), (Priority::Normal, 0)], &[0, 1]),
            (Sharing::Fifo, &[(Priority::Normal, 0), (Priority::High, 9)], &[1, 0]),
        ] {
            let jobs: Vec<_> = jobs.iter().map(|(priority, n)| job(0, *priority, *n)).collect();
            assert_eq!(turns(vec![pool("p", sharing)], &jobs), expected, "{sharing:?} {jobs:?}");
        }
    }

    #[test]
    fn of_two_jobs_that_hold_alike_the_one_goes_first_that_was_served_longer_ago() {
        let of = |n_slots, served| Standpoint { served, ..job(0, Priority::Normal, n_slots) };
        for (sharing, jobs, expected) in [
            (Sharing::Fair, [of(0, 7), of(0, 3), of(0, 0)], [2, 1, 0]),
            (Sharing::Fair, [of(0, 7), of(1, 3), of(0, 9)], [0, 2, 1]),
            (Sharing::Fifo, [of(0, 7), of(0, 3), of(0, 0)], [0, 1, 2]),
        ] {
            assert_eq!(turns(vec![pool("p", sharing)], &jobs), expected, "{sharing:?} {jobs:?}");
        }
    }

    #[test]
    fn pools_come_by_their_minimum_share_and_then_by_what_they_hold_for_their_weight() {
        let rule = |weight, min_slots, slots_max| PoolRule {
            weight,
            min_slots,
            slots_max,
            ..PoolRule::named("p")
        };
        // The rules, and the slots held by the single job of each pool; then the expected turns.
        for (rules, held, expected) in [
            ([rule(1, 0, None), rule(1, 0, None), rule(1, 0, None)], [3, 1, 2], &[1, 2, 0][..]),
            ([rule(3, 0, None), rule(1, 0, None), rule(1, 0, None)], [3, 1, 2], &[0, 1, 2]),
            ([rule(1, 8, None), rule(1, 2, None), rule(1, 0, None)], [3, 1, 0], &[0, 1, 2]),
            ([rule(1, 3, None), rule(1, 2, None), rule(1, 0, None)], [3, 1, 0], &[1, 2, 0]),
            ([rule(1, 9, Some(3)), rule(1, 0, None), rule(1, 0, Some(3))], [3, 1, 2], &[1, 2]),
        ] {
            let jobs: Vec<_> = (0..3).map(|at| job(at, Priority::Normal, held[at])).collect();
            assert_eq!(turns(rules.to_vec(), &jobs), expected, "{rules:?} {held:?}");
        }
    }

    #[test]
    fn of_a_pool_only_so_many_jobs_run_those_of_high_priority_first_then_the_oldest() {
        let rule = PoolRule { running_jobs_max: Some(2), ..PoolRule::named("p") };
        let of = |priority, n_slots, wants| wanting(wants, job(0, priority, n_slots));
        for (jobs, expected) in [
            (vec![of(Priority::Normal, 5, true), of(Priority::Normal, 0, true)], &[1, 0][..]),
            (vec![of(Priority::Normal, 5, true); 3], &[0, 1]),
            // A job that wants nothing for now still has its place.
            (
                vec![
                    of(Priority::Normal, 5, false),
                    of(Priority::Normal, 5, true),
                    of(Priority::Normal, 0, true),
                ],
                &[1],
            ),
            (
                vec![
                    of(Priority::Normal, 5, true),
                    of(Priority::Normal, 5, true),
                    of(Priority::High, 0, true),
                ],
                &[0, 1],
            ),
            (
                vec![
                    of(Priority::Normal, 0, true),
                    of(Priority::Normal, 0, true),
                    of(Priority::High, 0, true),
                ],
                &[2, 0],
            ),
            (
                vec![
                    Standpoint { takes_place: false, ..of(Priority::Normal, 0, false) },
                    of(Priority::Normal, 0, true),
                    of(Priority::Normal, 0, true),
                ],
                &[1, 2],
            ),
        ] {
            assert_eq!(turns(vec![rule.clone()], &jobs), expected, "{jobs:?}");
        }
    }

    #[test]
    fn a_job_is_eager_when_it_may_want_what_it_declined() {
        let rules =
            vec![PoolRule { slots_max: Some(5), ..PoolRule::named("p") }, PoolRule::named("q")];
        let mut order = Order::new(rules);
        let stand = |pool, n_slots, demands| {
            let job = job(pool, Priority::Normal, n_slots);
            Standpoint { demand: Demand { demands, ..job.demand }, ..job }
        };
        let becomes = |order: &mut Order, at: usize, now: Option<Standpoint>| -> Vec<usize> {
            order.take_eager();
            order.put(fifo(at), now);
            let eager = order.take_eager();
            (0..3).filter(|at| eager.contains(&fifo(*at))).collect()
        };
        assert_eq!(becomes(&mut order, 0, Some(stand(0, 2, 0))), [0], "it is new");
        assert_eq!(becomes(&mut order, 1, Some(stand(0, 3, 0))), [1]);
        assert_eq!(becomes(&mut order, 2, Some(stand(1, 0, 0))), [2]);
        assert_eq!(becomes(&mut order, 2, Some(stand(1, 9, 0))), [0; 0], "it only holds more");
        assert_eq!(becomes(&mut order, 2, Some(stand(1, 9, 1))), [2], "more of it waits");
        assert_eq!(becomes(&mut order, 1, Some(stand(0, 2, 0))), [0, 1], "their pool was full");
        let mut pressed = stand(1, 9, 1);
        pressed.demand.is_pressed = true;
        assert_eq!(becomes(&mut order, 2, Some(pressed)), [2], "any slot will do");
        assert_eq!(becomes(&mut order, 2, None), [0; 0]);
    }
}
