//! The core's settings, derived from the configuration: for the daemon, and for tools that ask the
//! core what would happen.

use std::time::Duration;

use config::{Config, JobSharing};
use ids::ClusterId;
use jobtracker_core::{DEFAULT_POOL, PoolRule, Settings, Sharing, recovery_grace};

/// The settings from the configuration's sections `jobtracker` and `pools`, for the JobTracker of
/// `cluster`.
#[must_use]
pub fn rules(
    jobtracker: &config::Jobtracker,
    pools: &[config::Pool],
    cluster: ClusterId,
) -> Settings {
    Settings {
        cluster,
        heartbeat_interval: jobtracker.heartbeat_interval.0,
        heartbeats_per_second: jobtracker.heartbeats_per_second,
        dead_after: jobtracker.dead_after.0,
        max_attempts: jobtracker.max_attempts,
        locality_wait: jobtracker.locality_wait.0,
        reduce_slowstart: jobtracker.reduce_slowstart,
        pools: pool_rules(jobtracker, pools),
        preempt_after: Some(jobtracker.preempt_after.0).filter(|time| !time.is_zero()),
        speculative: jobtracker.speculative,
        speculative_share: jobtracker.speculative_share,
        fetch_failures_max: jobtracker.fetch_failures_max,
        host_failures_max: jobtracker.host_failures_max,
        host_strikes_max: jobtracker.host_strikes_max,
        host_forgiven_after: jobtracker.host_forgiven_after.0,
        set_aside_share: jobtracker.set_aside_share,
        finished_jobs_max: jobtracker.finished_jobs_max.max(1) as usize,
        keeps_history: !jobtracker.history_keep.0.is_zero(),
        recovery_grace: recovery_grace(jobtracker.heartbeat_interval.0, jobtracker.dead_after.0),
    }
}

/// The same for a simulated cluster: nothing has run there before, and nothing is kept.
#[must_use]
pub fn pretended_rules(config: &Config) -> Settings {
    let cluster = "pretended".parse().expect("a cluster's name");
    let rules = rules(&config.jobtracker, &config.pools, cluster);
    Settings { keeps_history: false, recovery_grace: Duration::ZERO, ..rules }
}

/// The configured pools, and the default pool if it is not among them.
fn pool_rules(jobtracker: &config::Jobtracker, pools: &[config::Pool]) -> Vec<PoolRule> {
    let sharing = |sharing| match sharing {
        JobSharing::Fair => Sharing::Fair,
        JobSharing::Fifo => Sharing::Fifo,
    };
    let rule = |pool: &config::Pool| PoolRule {
        name: pool.name.clone(),
        weight: pool.weight.unwrap_or(1),
        min_slots: pool.min_slots.unwrap_or(0),
        slots_max: pool.slots_max,
        running_jobs_max: pool.running_jobs_max,
        jobs_max: pool.jobs_max,
        sharing: sharing(pool.sharing.unwrap_or(jobtracker.sharing)),
    };
    let mut rules: Vec<_> = pools.iter().map(rule).collect();
    if rules.iter().all(|pool| pool.name != DEFAULT_POOL) {
        rules.push(rule(&config::Pool::named(DEFAULT_POOL)));
    }
    rules
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_pool_is_there_once_and_shares_as_the_section_says() {
        let jobtracker = config::Jobtracker { sharing: JobSharing::Fifo, ..Default::default() };
        let night = config::Pool { weight: Some(3), ..config::Pool::named("night") };
        let names = |pools: &[config::Pool]| {
            let rules = pool_rules(&jobtracker, pools);
            assert!(rules.iter().all(|rule| rule.sharing == Sharing::Fifo));
            rules.into_iter().map(|rule| (rule.name, rule.weight)).collect::<Vec<_>>()
        };
        let default = || (DEFAULT_POOL.to_owned(), 1);
        assert_eq!(names(&[]), [default()]);
        assert_eq!(names(&[night]), [("night".to_owned(), 3), default()]);
        let heavy = config::Pool { weight: Some(2), ..config::Pool::named(DEFAULT_POOL) };
        assert_eq!(names(&[heavy]), [(DEFAULT_POOL.to_owned(), 2)]);
    }

    #[test]
    fn a_time_of_zero_turns_off_what_it_is_for() {
        let zero = config::Time(Duration::ZERO);
        let off = config::Jobtracker {
            preempt_after: zero,
            history_keep: zero,
            ..config::Jobtracker::default()
        };
        let cluster: ClusterId = "cluster-1".parse().unwrap();
        let rules = |jobtracker| super::rules(jobtracker, &[], cluster.clone());
        let (on, off) = (rules(&config::Jobtracker::default()), rules(&off));
        assert_eq!((off.preempt_after, off.keeps_history), (None, false));
        assert!(on.preempt_after.is_some() && on.keeps_history);
    }
}
