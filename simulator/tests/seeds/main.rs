//! Many worlds, each of another seed; the planted bugs; and that a seed is a world. One seed alone, with its trace:
//! `HOWDAH_SEED=7 cargo test -p simulator store::one_seed -- --nocapture`. With `HOWDAH_LONG=1` as many seeds as make a
//! night's worth of luck.

mod jobs;
mod store;

use simulator::Violation;

/// Worlds of an ordinary run, and of a long one.
const SEEDS: u64 = 500;
const SEEDS_LONG: u64 = 20_000;
/// The last lines of a trace that are shown.
const SHOWN_LINES: usize = 120;

fn n_seeds() -> u64 {
    if config::env::process().long() { SEEDS_LONG } else { SEEDS }
}

/// Which seed of which kind of world it is: said if a core panics.
#[derive(Clone, Copy)]
struct Seed(&'static str, u64);

impl Seed {
    fn again(self) -> String {
        let Self(world, seed) = self;
        format!("HOWDAH_SEED={seed} cargo test -p simulator {world}::one_seed -- --nocapture")
    }

    /// Fails with the end of the seed's trace.
    fn report(self, trace: &[String], violation: &Violation) -> ! {
        let from = trace.len().saturating_sub(SHOWN_LINES);
        panic!(
            "{}\nseed {}: invariant `{}` is broken: {}\nagain, with the whole trace: {}",
            trace[from..].join("\n"),
            self.1,
            violation.invariant,
            violation.what,
            self.again()
        );
    }
}

/// What names the seed if a core panics.
struct Named(Seed);

impl Drop for Named {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let Self(seed) = self;
            eprintln!("in seed {}: {}", seed.1, seed.again());
        }
    }
}

/// All seeds, spread over the processors; what each share of them came to.
fn run_all<T: Send>(n: u64, share: impl Fn(&mut dyn Iterator<Item = u64>) -> T + Sync) -> Vec<T> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        let shares = (0..threads as u64).map(|first| {
            let share = &share;
            scope.spawn(move || share(&mut (first..n).step_by(threads)))
        });
        let shares: Vec<_> = shares.collect();
        shares.into_iter().map(|share| share.join().expect("a world panicked")).collect()
    })
}
