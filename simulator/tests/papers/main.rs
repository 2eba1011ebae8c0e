//! What the papers measured, held to by the real cores in a pretended cluster: MapReduce's sort (Dean and Ghemawat, OSDI
//! 2004, sections 5.3 to 5.5), Facebook's mix of jobs (Zaharia et al., EuroSys 2010). An ordinary run has a small cluster;
//! with `HOWDAH_LONG=1` it has theirs, and
//! `HOWDAH_LONG=1 cargo test --release -p simulator --test papers -- --nocapture --test-threads=1` prints what
//! `bench/results/simulated.txt` keeps. The rules are those of the shipped configuration.

mod mix;
mod skew;
mod sort;

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
    jobtracker::pretended_rules(&config::Config::default())
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
