//! The chunk store's worlds.

use simulator::Violation;
use simulator::store::{Outcome, Sabotage, run, run_traced};

use crate::{Named, Seed, n_seeds, run_all};

/// Worlds in which a planted bug must have been found.
const SEEDS_FOR_A_BUG: u64 = 300;

fn seed(seed: u64) -> Seed {
    Seed("store", seed)
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
        let outcome = run_whole(seed);
        sum.n_events += outcome.n_events;
        sum.n_done += outcome.n_done;
        sum.n_reads += outcome.n_reads;
        sum.n_logs_read += outcome.n_logs_read;
        sum.time += outcome.time;
    }
    sum
}

#[test]
fn every_promise_holds_in_every_world() {
    let n = n_seeds();
    let shares = run_all(n, run_share);
    let n_events: u64 = shares.iter().map(|share| share.n_events).sum();
    let n_done: u64 = shares.iter().map(|share| share.n_done).sum();
    let n_logs_read: u64 = shares.iter().map(|share| share.n_logs_read).sum();
    let n_reads: u64 = shares.iter().map(|share| share.n_reads).sum();
    let hours = shares.iter().map(|share| share.time.as_secs_f64()).sum::<f64>() / 3600.0;
    println!("{n} worlds, {hours:.1} hours of theirs: {n_events} events, {n_done} things done by");
    println!("clients, {n_reads} chunks and {n_logs_read} logs read");
    assert!(n_done > n * 50 && n_reads > n * 15 && n_logs_read > n, "the clients got little done");
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
    (Sabotage::AcknowledgeBeforeSync, "acknowledged"),
    (Sabotage::StaleVersionAccepted, "liveness"),
    (Sabotage::ReplyCacheLost, "same_answer"),
    (Sabotage::PublishReplayed, "publish"),
    (Sabotage::OldEpochAccepted, "fencing"),
    (Sabotage::SealedShort, "content"),
    (Sabotage::LogAcknowledgedEarly, "logs"),
    (Sabotage::FollowedBeforeSync, "logs"),
    (Sabotage::RecordsRenumbered, "logs"),
    (Sabotage::VerifiedUnread, "last_copy"),
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
