//! What the pretended TaskTrackers have seen: how late answers came, and when what was lost ran again.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use clock::Stopwatch;
use mapreduce_protocol::TaskId;

/// Times are kept to so many microseconds.
const STEP_US: u128 = 500;
/// Longer ones count as this many steps: 20 s.
const STEPS: usize = 40_000;

/// How long something took, many times.
pub(crate) struct Times {
    steps: Vec<AtomicU64>,
}

impl Times {
    fn new() -> Self {
        Self { steps: (0..STEPS).map(|_| AtomicU64::new(0)).collect() }
    }

    pub(crate) fn add(&self, time: Duration) {
        let step = usize::try_from(time.as_micros() / STEP_US).unwrap_or(STEPS);
        self.steps[step.min(STEPS - 1)].fetch_add(1, Ordering::Relaxed);
    }

    /// Begins anew.
    pub(crate) fn clear(&self) {
        self.steps.iter().for_each(|n| n.store(0, Ordering::Relaxed));
    }

    pub(crate) fn n(&self) -> u64 {
        self.steps.iter().map(|n| n.load(Ordering::Relaxed)).sum()
    }

    /// The time that so many of a thousand do not exceed.
    pub(crate) fn per_mille(&self, wanted: u64) -> Duration {
        let mut left = self.n() * wanted / 1000;
        for (step, n) in (1..).zip(&self.steps) {
            match left.checked_sub(n.load(Ordering::Relaxed)) {
                Some(rest) if rest > 0 => left = rest,
                Some(_) | None => return Duration::from_micros(500) * step,
            }
        }
        Duration::ZERO
    }
}

impl fmt::Display for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |per_mille| self.per_mille(per_mille).as_secs_f64() * 1e3;
        let (half, most, nearly_all) = (ms(500), ms(990), ms(999));
        write!(f, "p50 {half:.1} ms, p99 {most:.1} ms, p99.9 {nearly_all:.1} ms, n={}", self.n())
    }
}

/// Everything that is counted.
pub(crate) struct Tally {
    /// How late a heartbeat was answered: after a newer one was sent, or after the interval.
    pub(crate) answered: Times,
    /// From the word that an attempt has ended to the next launch in its slot.
    pub(crate) launched: Times,
    pub(crate) launches: AtomicU64,
    /// Live trackers that were turned away.
    pub(crate) dropped: AtomicU64,
    lost: Mutex<Lost>,
}

/// Tasks that ran on trackers that died.
#[derive(Default)]
struct Lost {
    since: Option<Stopwatch>,
    waiting: BTreeSet<TaskId>,
    n_tasks: usize,
    /// When the last of them was launched again.
    all_again: Option<Duration>,
}

impl Tally {
    pub(crate) fn new() -> Self {
        let (launches, dropped, lost) = Default::default();
        Self { answered: Times::new(), launched: Times::new(), launches, dropped, lost }
    }

    /// These tasks ran on trackers that have died now.
    pub(crate) fn lose(&self, tasks: impl Iterator<Item = TaskId>) {
        let mut lost = self.lost();
        lost.waiting.extend(tasks);
        lost.n_tasks = lost.waiting.len();
        lost.since = Some(Stopwatch::start());
    }

    /// A task is launched.
    pub(crate) fn runs_again(&self, task: TaskId) {
        let mut lost = self.lost();
        if lost.waiting.remove(&task) && lost.waiting.is_empty() {
            lost.all_again = lost.since.map(Stopwatch::elapsed);
        }
    }

    /// How many tasks were lost, and when the last of them ran again.
    pub(crate) fn lost_and_again(&self) -> (usize, Option<Duration>) {
        let lost = self.lost();
        (lost.n_tasks, lost.all_again)
    }

    fn lost(&self) -> MutexGuard<'_, Lost> {
        self.lost.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn most_times_are_told_from_the_few_that_are_longer() {
        let times = Times::new();
        (0..990).for_each(|_| times.add(Duration::from_millis(10)));
        (0..10).for_each(|_| times.add(Duration::from_millis(700)));
        let ms = |per_mille| times.per_mille(per_mille).as_millis();
        assert_eq!((ms(500), ms(990), ms(999)), (10, 10, 700));
        times.add(Duration::from_hours(1));
        assert_eq!(times.n(), 1001);
        times.clear();
        assert_eq!(times.per_mille(990), Duration::from_micros(500));
    }
}
