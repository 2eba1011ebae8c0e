//! Input of which each reduce's part lies on few hosts, as of a file that is sorted already, or is kept by day: Mantri
//! (Ananthanarayanan et al., OSDI 2010, section 5.3) places reduces by what they would fetch over the network.

use std::time::Duration;

use simulator::cluster::ReducePlan;

use super::*;

const HOSTS: usize = 40;
const RACKS: usize = 4;
const REDUCES: usize = 60;
/// Of each reduce's part.
const MAPS: usize = 3;
const OUTPUT: u64 = 256 << 20;

/// A network of 1 Gb/s that others use too, and disks that are twice as fast.
fn rates() -> Rates {
    Rates {
        read_local: 100.0 * MB,
        read_rack: 80.0 * MB,
        read_remote: 50.0 * MB,
        map: 50.0 * MB,
        fetch: 50.0 * MB,
        reduce: 50.0 * MB,
        write: 50.0 * MB,
        start: Duration::from_millis(100),
        spread: 0.1,
    }
}

/// What each map makes is for one reduce, if the input `is_sorted`; else for all. Reduces begin when all maps are done: one
/// that begins when nobody knows yet where its part will be goes anywhere.
fn sort(is_sorted: bool) -> Scenario {
    let n_maps = if is_sorted { REDUCES } else { REDUCES * MAPS };
    let output = OUTPUT * (REDUCES * MAPS / n_maps) as u64;
    let map =
        |n: usize| MapPlan { input: output, output, partition: is_sorted.then_some(n), took: None };
    let share = 1.0 / REDUCES as f64;
    let reduce = ReducePlan { share, output: OUTPUT * MAPS as u64, took: None };
    let job = JobPlan {
        name: "sort".to_owned(),
        pool: None,
        priority: None,
        speculative: None,
        at: Duration::ZERO,
        maps: (0..n_maps).map(map).collect(),
        reduces: vec![reduce; REDUCES],
    };
    let cluster = Cluster { hosts: HOSTS, racks: RACKS, slots: 2, slow: 0, slow_factor: 1.0 };
    let rules = Settings { reduce_slowstart: 1.0, ..rules() };
    Scenario { seed: 1, cluster, rules, rates: rates(), jobs: vec![job], deaths: vec![] }
}

/// The part of what reduces had that came over the network.
fn from_others(report: &Report) -> f64 {
    report.jobs[0].fetched_from_others / report.jobs[0].fetched_bytes
}

/// Placed blindly, reduces of sorted input would fetch as much as those of any other. Wherever reduces run, all but a
/// fortieth of evenly spread input comes from other hosts.
#[test]
fn reduces_of_sorted_input_fetch_little_over_the_network() {
    let even = live("sort, input as it comes", &sort(false));
    let sorted = live("sort, sorted input", &sort(true));
    println!(
        "  over the network came {:.1} % of what reduces had, and {:.1} % of sorted input",
        100.0 * from_others(&even),
        100.0 * from_others(&sorted)
    );
    assert!(from_others(&even) >= 0.95, "{}", from_others(&even));
    assert!(from_others(&sorted) <= 0.1, "{}", from_others(&sorted));
}
