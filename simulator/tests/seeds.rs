//! Many worlds, each of another seed; the planted bugs; and that a seed is a world. One seed alone, with
//! its trace: `HOWDAH_SEED=7 cargo test -p simulator one_seed -- --nocapture`. With `HOWDAH_LONG=1` as many
//! seeds as make a night's worth of luck.

use simulator::{Outcome, Sabotage, Violation, run, run_traced};

/// Worlds of an ordinary run, and of a long one.
const SEEDS: u64 = 500;
const SEEDS_LONG: u64 = 20_000;
/// Worlds in which a planted bug must have been found.
const SEEDS_FOR_A_BUG: u64 = 300;
/// The last lines of a trace that are shown.
const SHOWN_LINES: usize = 120;

/// Fails with the end of the seed's trace.
fn report(seed: u64, sabotage: Option<Sabotage>, violation: &Violation) -> ! {
    let (_, trace) = run_traced(seed, sabotage);
    let from = trace.len().saturating_sub(SHOWN_LINES);
    panic!(
        "{}\nseed {seed}: invariant `{}` is broken: {}\nagain, with the whole trace: HOWDAH_SEED={seed} \
         cargo test -p simulator one_seed -- --nocapture",
        trace[from..].join("\n"),
        violation.invariant,
        violation.what
    );
}

/// Says which seed it was if a core panics.
struct Seed(u64);

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("in seed {0}: HOWDAH_SEED={0} cargo test -p simulator one_seed", self.0);
        }
    }
}

fn run_whole(seed: u64) -> Outcome {
    let _named = Seed(seed);
    let outcome = run(seed, None);
    if let Some(violation) = &outcome.violation {
        report(seed, None, violation);
    }
    outcome
}

/// The worlds of every so-and-so-many-th seed.
fn run_share(first: u64, step: usize, n: u64) -> Outcome {
    let mut sum = Outcome::default();
    for seed in (first..n).step_by(step) {
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
    let n = if config::env::process().long() { SEEDS_LONG } else { SEEDS };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let shares: Vec<Outcome> = std::thread::scope(|scope| {
        let share = |first: usize| scope.spawn(move || run_share(first as u64, threads, n));
        let shares: Vec<_> = (0..threads).map(share).collect();
        shares.into_iter().map(|share| share.join().expect("a world panicked")).collect()
    });
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
    let seed = asked.unwrap_or(0);
    let _named = Seed(seed);
    let (outcome, trace) = run_traced(seed, None);
    if asked.is_some() {
        println!("{}\n{outcome:?}", trace.join("\n"));
    }
    assert_eq!(outcome.violation, None, "seed {seed}");
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
