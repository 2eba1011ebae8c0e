//! MapReduce's sort: 15,000 maps of 64 MB and 4,000 reduces on 1,746 machines; as a whole, or a part of all three.

use std::time::Duration;

use simulator::cluster::{Backups, Deaths, ReducePlan};

use super::*;

const HOSTS: usize = 1746;
const MAPS: usize = 15_000;
const REDUCES: usize = 4000;

/// What part of the paper's cluster and input an ordinary run has.
const PART: usize = 20;

fn part(whole: usize) -> usize {
    if is_long() { whole } else { whole / PART }
}

/// Machines of 2003: two attempts share a disk, and all the network. Together they come near the paper's times.
fn rates() -> Rates {
    Rates {
        read_local: 8.0 * MB,
        read_rack: 8.0 * MB,
        read_remote: 4.0 * MB,
        map: 8.0 * MB,
        fetch: 2.5 * MB,
        reduce: 5.0 * MB,
        write: 2.5 * MB,
        start: Duration::from_secs(1),
        spread: 0.1,
    }
}

fn sort() -> Scenario {
    let (hosts, maps, reduces) = (part(HOSTS), part(MAPS), part(REDUCES));
    let map = MapPlan { input: CHUNK, output: CHUNK, partition: None, took: None };
    let output = CHUNK * maps as u64 / reduces as u64;
    let reduce = ReducePlan { share: 1.0 / reduces as f64, output, took: None };
    let job = JobPlan {
        name: "sort".to_owned(),
        pool: None,
        priority: None,
        speculative: None,
        at: Duration::ZERO,
        maps: vec![map; maps],
        reduces: vec![reduce; reduces],
    };
    let racks = hosts.div_ceil(40);
    let cluster = Cluster { hosts, racks, slots: 2, slow: 0, slow_factor: 4.0 };
    Scenario { seed: 1, cluster, rules: rules(), rates: rates(), jobs: vec![job], deaths: vec![] }
}

/// Hosts of the paper's 1,746 that have bad disks, or are killed.
fn some(hosts: usize) -> usize {
    part(hosts).max(1)
}

/// How many times longer than `base`.
fn times(report: &Report, base: &Report) -> f64 {
    report.time.as_secs_f64() / base.time.as_secs_f64()
}

/// Hosts that die when a part of `base` has passed.
fn die(base: &Report, part_of_it: f64, back_after: Option<Duration>) -> Scenario {
    let at = base.time.mul_f64(part_of_it);
    Scenario { deaths: vec![Deaths { hosts: some(200), at, back_after }], ..sort() }
}

/// Section 5.4: with backups off, the paper's sort took 44 % longer for its last five stragglers.
#[test]
fn stragglers_cost_a_tenth_at_most_and_much_more_without_backups() {
    let base = live("sort", &sort());
    let mut slow = sort();
    slow.cluster.slow = some(5);
    let backed_up = live("sort, 5 hosts in 1,746 take four times as long", &slow);
    slow.rules.speculative = false;
    let without = live("the same without backups", &slow);
    assert!(times(&backed_up, &base) <= 1.10, "{:?} in {:?}", backed_up.time, base.time);
    assert!(times(&without, &base) >= 1.44, "{:?} in {:?}", without.time, base.time);
    assert_eq!(without.backups, Backups::default());
}

/// Section 5.5: 200 of 1,746 processes killed, and restarted at once, cost 5 %.
#[test]
fn processes_that_are_killed_and_restarted_cost_a_twentieth_at_most() {
    let base = live("sort", &sort());
    for part_of_it in [1.0 / 6.0, 1.0 / 3.0, 0.5] {
        let report = live(
            &format!("200 in 1,746 killed and restarted after {part_of_it:.2} of the time"),
            &die(&base, part_of_it, Some(Duration::from_secs(5))),
        );
        assert!(times(&report, &base) <= 1.05, "{:?} in {:?}", report.time, base.time);
        assert!(report.rerun >= some(200) as u64, "their attempts ran again: {}", report.rerun);
    }
}

/// What dead hosts did is done again by the others, and not one map after the other.
#[test]
fn hosts_that_die_cost_their_share_and_little_more() {
    let base = live("sort", &sort());
    let share = some(200) as f64 / part(HOSTS) as f64;
    for part_of_it in [1.0 / 6.0, 1.0 / 3.0, 0.5] {
        let report = live(
            &format!("200 in 1,746 dead after {part_of_it:.2} of the time"),
            &die(&base, part_of_it, None),
        );
        let most = 1.0 + share + 0.03;
        assert!(times(&report, &base) <= most, "{:?} in {:?}", report.time, base.time);
        assert!(report.outputs_lost > 0, "maps' outputs were lost with them");
    }
}
