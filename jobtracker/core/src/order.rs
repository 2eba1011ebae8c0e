//! Whose turn it is: pools in the order in which they are offered a slot, and in each of them its jobs. Kept up to date one
//! job at a time.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use ids::Monotonic;
use mapreduce_protocol::Priority;

use crate::machine::Fifo;
use crate::pools::PoolRule;
use crate::share::Sharing;

/// What one slot more or less is worth to a pool: shares are compared as whole numbers.
const SHARE_UNIT: u64 = 1 << 20;

/// What the order goes by, of one job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Standpoint {
    pub(crate) demand: Demand,
    pub(crate) priority: Priority,
    /// Slots that it holds.
    pub(crate) n_slots: u32,
    /// Those of them that its reduces hold.
    pub(crate) n_reduces: u32,
    /// Its tasks that wait for a slot.
    pub(crate) n_waiting: u32,
    /// Its attempts that run beside another one of their task.
    pub(crate) n_backups: u64,
    /// Number of attempts, of all jobs, that were launched up to the last one of this job; 0 if it has had none.
    pub(crate) served: u64,
    /// Whether any attempt of it has been launched.
    pub(crate) has_begun: bool,
    /// Whether it counts among the jobs of its pool that run: paused ones don't, nor those that are not planned yet.
    pub(crate) takes_place: bool,
    /// Whether its reduces hold slots, and it can't go on without one more.
    pub(crate) is_stuck: bool,
    /// Whether some of its attempts are late.
    pub(crate) is_late: bool,
    /// Whether it is paused, and its reduces hold slots while they wait for maps that are not launched.
    pub(crate) holds_while_paused: bool,
}

/// What slots a job wants. When it changes, the job may want some that it has declined before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Demand {
    /// Its pool's place among the pools.
    pub(crate) pool: usize,
    /// Whether it is to be asked at all.
    pub(crate) wants: bool,
    pub(crate) maps: Maps,
    /// Whether a map of it takes any slot that there is.
    pub(crate) is_pressed: bool,
    /// Grows whenever it may want a slot that it did not want before.
    pub(crate) demands: u64,
}

/// How a job's maps stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Maps {
    /// None waits for a slot.
    None,
    /// Some wait, and others run.
    Wait,
    /// Some wait, and none runs.
    Starve,
}

/// A job's place in its pool, the first one least.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct JobTurn {
    /// Slots that it holds, for its weight.
    held: u64,
    /// Of two that hold alike, the one goes first that has waited longer since its last launch: else the older one would
    /// have a single slot to itself.
    served: u64,
    priority: Reverse<Priority>,
    fifo: Fifo,
    member: Member,
}

/// A job's place among those of its pool that run, the first one least. One that has begun is not overtaken: its
/// reduces would wait for maps that may not run.
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

/// A pool's place, the first one least.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct PoolTurn {
    /// Whether it has its minimum share.
    has_its_minimum: bool,
    /// What it holds of its minimum share; once it has that, for its weight (Hadoop:
    /// `SchedulingAlgorithms.FairShareComparator`).
    held: u64,
    pool: usize,
}

/// One pool as it is now.
#[derive(Debug)]
pub(crate) struct Pool {
    pub(crate) rule: PoolRule,
    /// Slots that its jobs hold.
    pub(crate) n_slots: u32,
    /// Those of them that reduces hold.
    n_reduces: u32,
    /// Tasks of its jobs that wait for one, whether they may begin now or not.
    pub(crate) n_waiting: u32,
    /// Since when it has had less than its minimum share, or half its fair one, and wanted more.
    pub(crate) short_since: Option<Monotonic>,
    /// Its unfinished jobs.
    n_jobs: usize,
    /// Those that take a place among the running ones, in the order in which they do.
    members: BTreeSet<Member>,
    /// Those of them that want slots.
    turns: BTreeSet<JobTurn>,
    turn: Option<PoolTurn>,
}

/// All pools and jobs.
#[derive(Debug)]
pub(crate) struct Order {
    pools: Vec<Pool>,
    turns: BTreeSet<PoolTurn>,
    standpoints: BTreeMap<Fifo, Standpoint>,
    /// Jobs whose reduces hold slots, and that can't go on without one more: whatever they and their pools hold, it is theirs.
    stuck: BTreeSet<JobTurn>,
    /// Jobs that may want a slot that they have declined, or did not want, before.
    eager: BTreeSet<Fifo>,
    flagged: Flagged,
}

/// Why jobs of a pool decline slots. When it changes, all of them may want what they have declined.
struct Mood {
    /// The pool holds its `slots_max`.
    is_full: bool,
    /// The last of its jobs that runs, where only `running_jobs_max` do.
    last: Option<Member>,
    /// One more reduce leaves a slot for its maps.
    leaves_room: bool,
}

impl Mood {
    fn wants_more_than(&self, before: &Self) -> bool {
        (before.is_full && !self.is_full)
            || before.last != self.last
            || (!before.leaves_room && self.leaves_room)
    }
}

/// How many jobs stand so that something is to be done about it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Flagged {
    /// Those with late attempts.
    pub(crate) late: usize,
    /// Those whose reduces hold slots, and that can't go on without one more.
    pub(crate) stuck: usize,
    /// Paused ones whose reduces hold slots while they wait for maps that are not launched.
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

    /// A job stands so now; `None`: it is over.
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
        // Mostly it holds one slot more or less, and its place among those that run is the same.
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

    /// Whether one more reduce leaves a slot of the pool's for maps of it that wait. A single slot can't be left: there, reduces
    /// of a job wait for its own maps alone.
    fn leaves_room(&self, at: usize) -> bool {
        let pool = &self.pools[at];
        let is_last = pool.rule.slots_max.is_some_and(|max| max > 1 && pool.n_reduces + 1 >= max);
        !is_last || !pool.jobs().any(|job| self.maps_wait(job))
    }

    /// Whether a reduce of a job may take one more slot of its pool.
    pub(crate) fn has_room_for_reduce(&self, fifo: Fifo) -> bool {
        let Some(job) = self.standpoints.get(&fifo) else { return false };
        // Where none of its maps runs, a reduce would have to give way to one at once, and be launched again at once.
        let Demand { pool, maps, .. } = job.demand;
        let waits_for_own = match self.pools[pool].rule.slots_max {
            Some(1) => maps != Maps::None,
            Some(_) => maps == Maps::Starve,
            None => false,
        };
        self.leaves_room(pool) && !waits_for_own
    }

    /// Whether maps wait of any job that may be given slots.
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

    /// Puts a pool in its place.
    fn settle(&mut self, at: usize) {
        let pool = &mut self.pools[at];
        let turn = PoolTurn::new(at, pool);
        if pool.turn != turn {
            pool.turn.map(|before| self.turns.remove(&before));
            turn.map(|now| self.turns.insert(now));
            pool.turn = turn;
        }
    }

    /// Jobs in the order in which they are asked whether they want a slot.
    pub(crate) fn jobs(&self) -> impl Iterator<Item = Fifo> {
        let stuck = self.stuck().filter(|job| self.may_run(*job));
        let pools = self.turns.iter().map(|turn| &self.pools[turn.pool]);
        let others = pools.filter(|pool| !pool.is_full()).flat_map(Pool::jobs);
        let any_stuck = !self.stuck.is_empty();
        let is_stuck =
            move |job: &Fifo| any_stuck && self.standpoints.get(job).is_some_and(|it| it.is_stuck);
        stuck.chain(others.filter(move |job| !is_stuck(job)))
    }

    /// Jobs whose reduces hold slots, and that can't go on without one more, also where their pools may not give them any.
    pub(crate) fn stuck(&self) -> impl Iterator<Item = Fifo> {
        self.stuck.iter().map(|turn| turn.fifo)
    }

    /// Whether the pool of a job holds all slots that it may.
    pub(crate) fn is_in_full_pool(&self, fifo: Fifo) -> bool {
        self.standpoints.get(&fifo).is_some_and(|it| self.pools[it.demand.pool].is_full())
    }

    /// Whether the job may be given slots, and wants some.
    pub(crate) fn may_run(&self, fifo: Fifo) -> bool {
        let Some(standpoint) = self.standpoints.get(&fifo) else { return false };
        let Demand { pool, wants, .. } = standpoint.demand;
        let pool = &self.pools[pool];
        wants && !pool.is_full() && pool.runs(Member::new(standpoint, fifo))
    }

    /// Why a job that waits is given no slots, if that is its pool's doing, for people.
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

    /// The job may want what it has declined before: its time has come, or the hosts are other ones.
    pub(crate) fn becomes_eager(&mut self, fifo: Fifo) {
        self.eager.insert(fifo);
    }

    /// So may all.
    pub(crate) fn all_are_eager(&mut self) {
        let wanting = self.standpoints.iter().filter(|(_, it)| it.demand.wants);
        self.eager.extend(wanting.map(|(fifo, _)| *fifo));
    }

    /// Jobs that may want a slot that they have declined, or did not want, before, since this was called last.
    pub(crate) fn take_eager(&mut self) -> BTreeSet<Fifo> {
        std::mem::take(&mut self.eager)
    }

    /// Whether the job is to be asked at all.
    pub(crate) fn wants(&self, fifo: Fifo) -> bool {
        self.standpoints.get(&fifo).is_some_and(|it| it.demand.wants)
    }

    /// How many jobs stand so that something is to be done about it.
    pub(crate) fn flagged(&self) -> Flagged {
        self.flagged
    }

    pub(crate) fn n_backups(&self, fifo: Fifo) -> u64 {
        self.standpoints.get(&fifo).map_or(0, |it| it.n_backups)
    }
}

impl Pool {
    /// One without jobs.
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

    /// Whether it holds all slots that it may.
    fn is_full(&self) -> bool {
        self.rule.slots_max.is_some_and(|max| self.n_slots >= max)
    }

    /// Why none of its jobs is given slots, or not one that waits, for people.
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

    /// Its unfinished jobs.
    pub(crate) fn n_jobs(&self) -> usize {
        self.n_jobs
    }

    /// The last of its jobs that may run, unless all may.
    fn last_to_run(&self) -> Option<&Member> {
        let n_max = self.rule.running_jobs_max? as usize;
        self.members.iter().nth(n_max.max(1) - 1)
    }

    /// Whether a job is among those that may run.
    fn runs(&self, member: Member) -> bool {
        self.last_to_run().is_none_or(|last| member <= *last)
    }

    /// Those of its jobs that may run and want slots.
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

/// What one slot counts for a job of that priority: twice as much as for one of the next higher.
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

    /// The same, which may want nothing.
    fn wanting(wants: bool, job: Standpoint) -> Standpoint {
        Standpoint { demand: Demand { wants, ..job.demand }, ..job }
    }

    /// Whose turns, by the jobs' ages.
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
        // Priority and slots held, of each job by age; whose turns.
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
        // Rules, and the slots that the one job of each holds; whose turns.
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
            // One that wants nothing for now has its place all the same.
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
