//! Pools share the slots by weight, and each gets at least its minimum share as far as it wants it.
//! If a pool has waited too long for its share, the youngest attempts of pools above theirs are
//! preempted (Hadoop: `FairScheduler`).

use ids::{HostName, Monotonic, Now};
use mapreduce_protocol::{AttemptId, TaskId, TaskKind};

use crate::job::LiveJob;
use crate::machine::Core;
use crate::order::Pool;
use crate::refusal::Refusal;
use crate::schedule::starts_reduces;
use crate::share::Sharing;
use crate::task::ATTEMPTS_PER_TERM;
use crate::timers::Timer;

/// Name of the pool for jobs that name none.
pub const DEFAULT_POOL: &str = "default";
/// A task launched this many times is not preempted any more: it has numbers for twice as many
/// launches, and its job must not fail for lack of them.
const LAUNCHES_MAX: u32 = ATTEMPTS_PER_TERM / 2;
/// How often shares are checked while a pool wants slots.
const LOOK_EVERY: std::time::Duration = std::time::Duration::from_secs(1);

/// The guarantees and limits of one pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolRule {
    /// The name by which jobs refer to it.
    pub name: String,
    /// Its weight relative to other pools.
    pub weight: u32,
    /// Slots that it gets before others get more than theirs, as far as it wants them (Hadoop:
    /// `minMaps`, `minReduces`).
    pub min_slots: u32,
    /// Slots that it may hold at once (Hadoop: `maxMaps`, `maxReduces`).
    pub slots_max: Option<u32>,
    /// Limit on its jobs that run at once; the others wait (Hadoop: `maxRunningJobs`).
    pub running_jobs_max: Option<u32>,
    /// Limit on its unfinished jobs, including waiting ones; more are refused.
    pub jobs_max: Option<u32>,
    /// How its jobs share its slots (Hadoop: `schedulingMode`).
    pub sharing: Sharing,
}

impl PoolRule {
    /// A pool of weight 1 without limits.
    #[must_use]
    pub fn named(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            weight: 1,
            min_slots: 0,
            slots_max: None,
            running_jobs_max: None,
            jobs_max: None,
            sharing: Sharing::Fair,
        }
    }
}

impl Core {
    /// Index of the pool named `name`, or of the default pool.
    pub(crate) fn pool_of(&self, name: Option<&str>) -> Result<usize, Refusal> {
        let name = name.unwrap_or(DEFAULT_POOL);
        let pools = self.jobs.order().pools();
        let place = pools.iter().position(|pool| pool.rule.name == name);
        place.ok_or_else(|| Refusal::NoSuchPool {
            name: name.to_owned(),
            pools: pools.iter().map(|pool| pool.rule.name.clone()).collect(),
        })
    }

    /// Slots that a pool holds plus those that it could use now, up to its maximum.
    fn wanted(&self, now: Now, pool: &Pool) -> u32 {
        let ready =
            pool.jobs().filter_map(|job| self.jobs.get(&job)).map(|it| self.n_ready(now, it));
        let wanted = ready.fold(pool.n_slots, u32::saturating_add);
        pool.rule.slots_max.map_or(wanted, |max| wanted.min(max))
    }

    fn all_wanted(&self, now: Now) -> Vec<u32> {
        self.jobs.order().pools().iter().map(|pool| self.wanted(now, pool)).collect()
    }

    /// Each pool's fair share of the slots.
    pub(crate) fn fair_shares(&self, now: Now) -> Vec<u32> {
        let wanted = self.all_wanted(now);
        fair_shares(self.jobs.order().pools(), &wanted, self.trackers.open_slots())
    }

    /// Tasks of a job that could start now if there were slots.
    fn n_ready(&self, now: Now, live: &LiveJob) -> u32 {
        if live.hold_until.is_some_and(|until| until > now.monotonic) {
            return 0;
        }
        let maps = live.waiting_maps().len();
        let entry = self.durable.running(live.id);
        let may_start = entry.is_some_and(|it| starts_reduces(it, live.slowstart));
        let reduces = if may_start { live.waiting_reduces().len() } else { 0 };
        u32::try_from(maps + reduces).unwrap_or(u32::MAX)
    }

    /// Checks that the pool may take one more job.
    pub(crate) fn check_room(&mut self, pool: usize) -> Result<(), Refusal> {
        self.jobs.bring_up_to_date();
        let pool = &self.jobs.order().pools()[pool];
        let unfinished = pool.n_jobs();
        match pool.rule.jobs_max {
            Some(max) if unfinished >= max as usize => {
                Err(Refusal::PoolFull { name: pool.rule.name.clone(), unfinished })
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Sets the timer for checking shares, if there is anything to share.
    pub(crate) fn watch_pools(&mut self, now: Now) {
        let wants = self.settings.preempt_after.is_some() && !self.jobs.order().wants_nothing();
        if wants && self.jobs.order().pools().len() > 1 && !self.pools_watched {
            self.pools_watched = true;
            self.timers.set(now.monotonic + LOOK_EVERY, Timer::Pools);
        }
    }

    /// Finds pools below their share, and preempts attempts for those that have waited too long.
    pub(crate) fn handle_pools(&mut self, now: Now) {
        self.pools_watched = false;
        let Some(patience) = self.settings.preempt_after else { return };
        self.jobs.bring_up_to_date();
        let wanted = self.all_wanted(now);
        let shares = fair_shares(self.jobs.order().pools(), &wanted, self.trackers.open_slots());
        let mut needed = 0;
        let pools = self.jobs.order_mut().pools_mut().iter_mut();
        for ((pool, share), wanted) in pools.zip(&shares).zip(&wanted) {
            let entitled = entitled(pool, *share, *wanted);
            if pool.n_slots >= entitled {
                pool.short_since = None;
                continue;
            }
            let since = *pool.short_since.get_or_insert(now.monotonic);
            if now.monotonic.since(since) >= patience {
                // Slots taken from others take a while to become free.
                pool.short_since = Some(now.monotonic);
                needed += entitled - pool.n_slots;
            }
        }
        // Idle slots were declined, for whatever reason: more of them would be too.
        let needed = needed.saturating_sub(self.trackers.n_idle());
        for victim in self.above_their_share(&shares, needed) {
            self.kill_attempt(victim, "another pool has waited for its share of the slots");
            self.wait_again(victim.task);
            self.counted.preempted += 1;
        }
        self.watch_pools(now);
    }

    /// The youngest attempts of pools above their share: at most `needed`, and only what exceeds
    /// the share.
    fn above_their_share(&self, shares: &[u32], needed: u32) -> Vec<AttemptId> {
        let mut above: Vec<_> = self
            .jobs
            .order()
            .pools()
            .iter()
            .zip(shares)
            .map(|(pool, share)| pool.n_slots.saturating_sub(*share))
            .collect();
        if needed == 0 {
            return Vec::new();
        }
        let may_go = |live: &LiveJob, task: TaskId, host: &HostName| {
            let is_worn = live.task(task).is_some_and(|it| it.launched >= LAUNCHES_MAX);
            self.trackers.is_open(host) && !is_worn
        };
        let of = |live: &LiveJob| -> Vec<(Monotonic, usize, AttemptId)> {
            let kinds = [TaskKind::Map, TaskKind::Reduce].into_iter();
            let all = kinds.flat_map(|kind| live.live_attempts(kind));
            let all = all.filter(|(task, it)| may_go(live, *task, &it.host));
            all.map(|(task, it)| (it.since, live.pool, task.attempt(it.number))).collect()
        };
        let rich = self.jobs.values().filter(|live| above[live.pool] > 0);
        let mut all: Vec<_> = rich.flat_map(of).collect();
        all.sort_unstable_by(|one, other| other.cmp(one));
        let may_take = |(_, pool, _): &(Monotonic, usize, AttemptId)| {
            let takes = above[*pool] > 0;
            above[*pool] -= u32::from(takes);
            takes
        };
        let victims = all.into_iter().filter(may_take).take(needed as usize);
        victims.map(|(_, _, attempt)| attempt).collect()
    }
}

/// Slots that a pool need not wait for longer than the time-out: its minimum share or half its fair
/// share, as far as it wants them.
fn entitled(pool: &Pool, fair_share: u32, wanted: u32) -> u32 {
    pool.rule.min_slots.max(fair_share.div_ceil(2)).min(wanted)
}

/// Each pool's fair share of the slots: in proportion to its weight, but no less than its minimum
/// share and no more than it wants (max-min fairness; Hadoop:
/// `SchedulingAlgorithms.computeFairShares`).
fn fair_shares(pools: &[Pool], wanted: &[u32], n_slots: usize) -> Vec<u32> {
    /// Rounds of bisection.
    const ROUNDS: u32 = 50;
    let share = |pool: &Pool, wanted: u32, unit: f64| {
        let (least, most) = (pool.rule.min_slots.min(wanted), wanted);
        (unit * f64::from(pool.rule.weight)).clamp(f64::from(least), f64::from(most))
    };
    let all = |unit: f64| pools.iter().zip(wanted).map(move |(pool, it)| share(pool, *it, unit));
    let (mut low, mut high) = (0.0, n_slots as f64);
    for _ in 0..ROUNDS {
        let unit = f64::midpoint(low, high);
        if all(unit).sum::<f64>() < n_slots as f64 {
            low = unit;
        } else {
            high = unit;
        }
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "at most what it wants"
    )]
    all(high).map(|share| share.round() as u32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_go_by_weight_within_minimum_and_want() {
        // For each pool: weight, minimum, maximum, slots wanted; then the slots and the expected
        // shares.
        type Wants = (u32, u32, Option<u32>, u32);
        let table: [(&[Wants], usize, &[u32]); 7] = [
            (&[(1, 0, None, 100), (1, 0, None, 100)], 10, &[5, 5]),
            (&[(3, 0, None, 100), (1, 0, None, 100)], 12, &[9, 3]),
            (&[(1, 0, None, 2), (1, 0, None, 100)], 10, &[2, 8]),
            (&[(1, 8, None, 100), (1, 0, None, 100)], 10, &[8, 2]),
            (&[(1, 8, None, 3), (1, 0, None, 100)], 10, &[3, 7]),
            (&[(1, 0, Some(4), 100), (1, 0, None, 100)], 10, &[4, 6]),
            (&[(1, 0, None, 1), (1, 0, None, 2)], 10, &[1, 2]),
        ];
        for (wants, n_slots, expected) in table {
            let pool = |(weight, min_slots, slots_max, wanted): &Wants| {
                let rule = PoolRule {
                    weight: *weight,
                    min_slots: *min_slots,
                    slots_max: *slots_max,
                    ..PoolRule::named("p")
                };
                (Pool::of(rule), slots_max.map_or(*wanted, |max| max.min(*wanted)))
            };
            let (pools, wanted): (Vec<_>, Vec<_>) = wants.iter().map(pool).unzip();
            assert_eq!(fair_shares(&pools, &wanted, n_slots), expected, "{wants:?} of {n_slots}");
        }
    }

    #[test]
    fn a_pool_may_insist_on_its_minimum_and_half_its_share_as_far_as_it_wants_them() {
        for (min_slots, wants, share, expected) in
            [(4, 100, 2, 4), (0, 100, 10, 5), (4, 3, 10, 3), (0, 9, 1, 1), (0, 0, 9, 0)]
        {
            let rule = PoolRule { min_slots, ..PoolRule::named("p") };
            assert_eq!(entitled(&Pool::of(rule), share, wants), expected);
        }
    }
}
