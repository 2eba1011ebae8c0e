//! Pools share the slots: by weights, each at least its minimum as far as it wants one. Where a pool has waited for its share
//! for too long, the youngest attempts of those with more than theirs give way (Hadoop: `FairScheduler`).

use ids::{Monotonic, Now};
use mapreduce_protocol::{AttemptId, TaskKind};

use crate::job::LiveJob;
use crate::machine::Core;
use crate::order::Pool;
use crate::refusal::Refusal;
use crate::share::Sharing;
use crate::timers::Timer;

/// Name of the pool of jobs that name none.
pub const DEFAULT_POOL: &str = "default";
/// How often the shares of pools are looked at while one of them wants slots.
const LOOK_EVERY: std::time::Duration = std::time::Duration::from_secs(1);

/// What one pool is promised and may.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolRule {
    /// Jobs name it.
    pub name: String,
    /// Its share beside other pools.
    pub weight: u32,
    /// Slots that it gets before others get more than theirs, as far as it wants them (Hadoop: `minMaps`, `minReduces`).
    pub min_slots: u32,
    /// Slots that it may hold at once (Hadoop: `maxMaps`, `maxReduces`).
    pub slots_max: Option<u32>,
    /// Jobs of it that may run at once; the others wait (Hadoop: `maxRunningJobs`).
    pub running_jobs_max: Option<u32>,
    /// Unfinished jobs of it, those that wait too; more are refused.
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
    /// The pool of a job that names `name`, or none.
    pub(crate) fn pool_of(&self, name: Option<&str>) -> Result<usize, Refusal> {
        let name = name.unwrap_or(DEFAULT_POOL);
        let pools = self.jobs.order().pools();
        let place = pools.iter().position(|pool| pool.rule.name == name);
        place.ok_or_else(|| Refusal::NoSuchPool {
            name: name.to_owned(),
            pools: pools.iter().map(|pool| pool.rule.name.clone()).collect(),
        })
    }

    /// Whether one more job may come into a pool.
    pub(crate) fn check_room(&self, pool: usize) -> Result<(), Refusal> {
        let pool = &self.jobs.order().pools()[pool];
        let unfinished = pool.n_jobs();
        match pool.rule.jobs_max {
            Some(max) if unfinished >= max as usize => {
                Err(Refusal::PoolFull { name: pool.rule.name.clone(), unfinished })
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Looks at the shares from now on, if there is anything to share.
    pub(crate) fn watch_pools(&mut self, now: Now) {
        let wants = self.settings.preempt_after.is_some() && !self.jobs.order().is_empty();
        if wants && self.jobs.order().pools().len() > 1 && !self.pools_watched {
            self.pools_watched = true;
            self.timers.set(now.monotonic + LOOK_EVERY, Timer::Pools);
        }
    }

    /// Finds pools that have less than their share, and makes room for those that have waited for too long.
    pub(crate) fn handle_pools(&mut self, now: Now) {
        self.pools_watched = false;
        let Some(patience) = self.settings.preempt_after else { return };
        self.jobs.bring_up_to_date();
        let shares = fair_shares(self.jobs.order().pools(), self.trackers.slots());
        let mut needed = 0;
        for (pool, share) in self.jobs.order_mut().pools_mut().iter_mut().zip(&shares) {
            let entitled = entitled(pool, *share);
            if pool.n_slots >= entitled || !pool.wants() {
                pool.short_since = None;
                continue;
            }
            let since = *pool.short_since.get_or_insert(now.monotonic);
            if now.monotonic.since(since) >= patience {
                // What is taken from others takes a while to come.
                pool.short_since = Some(now.monotonic);
                needed += entitled - pool.n_slots;
            }
        }
        for victim in self.above_their_share(&shares, needed) {
            self.kill_attempt(victim, "another pool has waited for its share of the slots");
            self.wait_again(victim.task);
            self.counted.preempted += 1;
        }
        self.watch_pools(now);
    }

    /// The youngest attempts of pools that hold more than their share, `needed` at most, and no more than what is above it.
    fn above_their_share(&self, shares: &[u32], needed: u32) -> Vec<AttemptId> {
        let mut above: Vec<_> = self
            .jobs
            .order()
            .pools()
            .iter()
            .zip(shares)
            .map(|(pool, share)| pool.n_slots.saturating_sub(*share))
            .collect();
        let of = |live: &LiveJob| -> Vec<(Monotonic, usize, AttemptId)> {
            let kinds = [TaskKind::Map, TaskKind::Reduce].into_iter();
            let all = kinds.flat_map(|kind| live.live_attempts(kind));
            all.map(|(task, it)| (it.since, live.pool, task.attempt(it.number))).collect()
        };
        if needed == 0 {
            return Vec::new();
        }
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

/// Slots that a pool may wait for no longer than the time-out: its minimum share, or half of its fair share, as far as it
/// wants them.
fn entitled(pool: &Pool, fair_share: u32) -> u32 {
    pool.rule.min_slots.max(fair_share / 2).min(wanted(pool))
}

/// Each pool's fair share of the slots: what its weight gives it, but no less than its minimum share and no more than it
/// wants (max-min fairness; Hadoop: `SchedulingAlgorithms.computeFairShares`).
fn fair_shares(pools: &[Pool], n_slots: usize) -> Vec<u32> {
    /// Each of them halves what is not known yet.
    const ROUNDS: u32 = 50;
    let share = |pool: &Pool, unit: f64| {
        let (least, most) = (pool.rule.min_slots.min(wanted(pool)), wanted(pool));
        (unit * f64::from(pool.rule.weight)).clamp(f64::from(least), f64::from(most))
    };
    let total = |unit: f64| pools.iter().map(|pool| share(pool, unit)).sum::<f64>();
    let (mut low, mut high) = (0.0, n_slots as f64);
    for _ in 0..ROUNDS {
        let unit = f64::midpoint(low, high);
        if total(unit) < n_slots as f64 {
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
    pools.iter().map(|pool| share(pool, high).round() as u32).collect()
}

/// Slots that a pool has and wants, as far as it may have them.
fn wanted(pool: &Pool) -> u32 {
    let wanted = pool.n_slots.saturating_add(pool.n_waiting);
    pool.rule.slots_max.map_or(wanted, |max| wanted.min(max))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_go_by_weight_within_minimum_and_want() {
        // Weight, minimum, limit, and slots wanted, of each pool; slots; shares.
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
                Pool::of(rule, 0, *wanted)
            };
            let pools: Vec<_> = wants.iter().map(pool).collect();
            assert_eq!(fair_shares(&pools, n_slots), expected, "{wants:?} of {n_slots}");
        }
    }

    #[test]
    fn a_pool_may_insist_on_its_minimum_and_half_its_share_as_far_as_it_wants_them() {
        for (min_slots, slots_max, wants, share, expected) in [
            (4, None, 100, 2, 4),
            (0, None, 100, 10, 5),
            (4, None, 3, 10, 3),
            (9, Some(2), 9, 10, 2),
        ] {
            let rule = PoolRule { min_slots, slots_max, ..PoolRule::named("p") };
            assert_eq!(entitled(&Pool::of(rule, 0, wants), share), expected);
        }
    }
}
