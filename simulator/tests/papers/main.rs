//! What the papers measured, held to by the real cores in a pretended cluster: MapReduce's sort (Dean and Ghemawat, OSDI
//! 2004, sections 5.3 to 5.5), Facebook's mix of jobs (Zaharia et al., EuroSys 2010). An ordinary run has a small cluster;
//! with `HOWDAH_LONG=1` it has theirs, and
//! `HOWDAH_LONG=1 cargo test --release -p simulator --test papers -- --nocapture --test-threads=1` prints what
//! `bench/results/simulated.txt` keeps. The rules are those of the shipped configuration.

mod mix;
mod sort;

use std::time::Duration;

use simulator::cluster::{
    Cluster, DEFAULT_POOL, JobPlan, MapPlan, PoolRule, Rates, Report, Scenario, Settings, simulate,
};

const MB: f64 = 1e6;
const CHUNK: u64 = 64 << 20;

fn is_long() -> bool {
    config::env::process().long()
}

/// What the JobTracker goes by if nobody configures anything.
fn rules() -> Settings {
    let config = config::Config::default().jobtracker;
    Settings {
        cluster: "simulated".parse().expect("a name"),
        heartbeat_interval: config.heartbeat_interval.0,
        heartbeats_per_second: config.heartbeats_per_second,
        dead_after: config.dead_after.0,
        max_attempts: config.max_attempts,
        locality_wait: config.locality_wait.0,
        reduce_slowstart: config.reduce_slowstart,
        pools: vec![PoolRule::named(DEFAULT_POOL)],
        preempt_after: Some(config.preempt_after.0).filter(|time| !time.is_zero()),
        speculative: config.speculative,
        speculative_share: config.speculative_share,
        fetch_failures_max: config.fetch_failures_max,
        host_failures_max: config.host_failures_max,
        host_strikes_max: config.host_strikes_max,
        host_forgiven_after: config.host_forgiven_after.0,
        set_aside_share: config.set_aside_share,
        finished_jobs_max: config.finished_jobs_max as usize,
        keeps_history: false,
        recovery_grace: Duration::ZERO,
    }
}

/// Lives it through, and says what came out.
fn live(what: &str, scenario: &Scenario) -> Report {
    let report = simulate(scenario).unwrap_or_else(|error| panic!("{what}: {error}"));
    let [local, near, far] = report.places().shares().map(|share| 100.0 * share);
    let backups = report.backups;
    println!(
        "{what}: {:.1} s; {local:.1} % of maps node-local, {near:.1} % rack-local, {far:.1} % elsewhere; {:.0} % of slots \
         used; backups {} won, {} lost, {} useless; {} attempts run again, {} outputs lost",
        report.time.as_secs_f64(),
        100.0 * report.utilisation(),
        backups.won,
        backups.lost,
        backups.useless,
        report.rerun,
        report.outputs_lost
    );
    report
}
