//! The jobs' worlds.

use simulator::Violation;
use simulator::jobs::{Outcome, Sabotage, run, run_traced};

use crate::{Named, Seed, n_seeds, run_all};

/// Worlds in which a planted bug must have been found.
const SEEDS_FOR_A_BUG: u64 = 1000;

fn seed(seed: u64) -> Seed {
    Seed("jobs", seed)
}

fn run_whole(n: u64) -> Outcome {
    let _named = Named(seed(n));
    let outcome = run(n, None);
    if let Some(violation) = &outcome.violation {
        seed(n).report(&run_traced(n, None).1, violation);
    }
    outcome
}

fn run_share(seeds: &mut dyn Iterator<Item = u64>) -> Outcome {
    let mut sum = Outcome::default();
    for seed in seeds {
        sum.add(&run_whole(seed));
    }
    sum
}

#[test]
fn every_promise_holds_in_every_world() {
    let n = n_seeds();
    let mut sum = Outcome::default();
    run_all(n, run_share).iter().for_each(|share| sum.add(share));
    let hours = sum.time.as_secs_f64() / 3600.0;
    let [succeeded, failed, killed] = sum.n_jobs;
    println!(
        "{n} worlds, {hours:.1} hours of theirs: {} events, {} attempts; of",
        sum.n_events, sum.n_attempts
    );
    println!(
        "the jobs {succeeded} succeeded, {failed} failed and {killed} were killed; {} map outputs were",
        sum.n_lost
    );
    println!("lost, and reduces undone {} times", sum.n_undone);
    assert!(succeeded > n && failed > n / 10 && killed > n / 20, "{sum:?}");
    assert!(sum.n_attempts > n * 20 && sum.n_lost > n / 2 && sum.n_undone > n / 50, "{sum:?}");
}

#[test]
fn one_seed_is_one_world_byte_for_byte() {
    for seed in [1, 2, 3] {
        let (first, second) = (run_traced(seed, None), run_traced(seed, None));
        assert!(first.1.len() > 100, "seed {seed} leaves a trace");
        assert_eq!(first, second, "seed {seed}");
        assert_ne!(first.1, run_traced(seed + 100, None).1, "another seed is another world");
    }
}

#[test]
fn one_seed() {
    let asked = config::env::process().seed();
    let n = asked.unwrap_or(0);
    let _named = Named(seed(n));
    let (outcome, trace) = run_traced(n, None);
    if asked.is_some() {
        println!("{}\n{outcome:?}", trace.join("\n"));
    }
    assert_eq!(outcome.violation, None, "seed {n}");
}

/// Each bug, and the invariant that must see it.
const PLANTED: [(Sabotage, &str); 10] = [
    (Sabotage::TwoWinners, "one_winner"),
    (Sabotage::LostTrackerKept, "lost_maps"),
    (Sabotage::TermForgotten, "numbers"),
    (Sabotage::OldEpochAccepted, "fencing"),
    (Sabotage::WithdrawalForgotten, "map_events"),
    (Sabotage::CommandRepeated, "numbers"),
    (Sabotage::ToldBeforeSync, "acknowledged"),
    (Sabotage::DigestForged, "purity"),
    (Sabotage::MembersForgotten, "awaited"),
    (Sabotage::RegistrationHeeded, "without_cause"),
];

#[test]
fn each_planted_bug_is_caught() {
    for (sabotage, invariant) in PLANTED {
        let seen = |seed| run(seed, Some(sabotage)).violation.map(|violation| (seed, violation));
        let mut found = (0..SEEDS_FOR_A_BUG).filter_map(seen);
        match found.find(|(_, violation)| violation.invariant == invariant) {
            Some((seed, Violation { what, .. })) => println!("{sabotage:?}: seed {seed}: {what}"),
            None => panic!("{sabotage:?} was not found by {invariant} in {SEEDS_FOR_A_BUG} worlds"),
        }
    }
}
