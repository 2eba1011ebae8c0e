//! How long the attempts of a job take, and which of the running ones are late. Pure arithmetic;
//! `speculate` launches the backups.
//!
//! After LATE (Zaharia et al., OSDI 2008): what counts is an attempt's remaining time, estimated
//! from its own progress, rather than how far it is behind the others. An attempt past its own
//! estimated end is assumed to need as long again, however close to the end it claims to be; Hadoop
//! considers such an attempt nearly done.

use std::collections::BTreeMap;
use std::time::Duration;

use ids::Monotonic;

use crate::numbers::HostNumber;
use crate::task::Told;

/// A backup is worth its slot if the attempt's remaining time is this many times the backup's run
/// time.
const WORTH: f64 = 1.25;
/// An attempt that has run for this many times its own estimate is past its end: its remaining time
/// is unknown.
const PAST_END: f64 = 1.25;
/// No attempt is judged before it has run this long, or half the expected time if that is less.
const JUDGED_AFTER: Duration = Duration::from_secs(10);
/// The lower bound of that: a backup costs a process start, and progress reports lag a little.
const JUDGED_AFTER_MIN: Duration = Duration::from_secs(1);

/// Below this mean input size, run times are assumed to depend on other things than reading.
const FEW_BYTES: f64 = 4.0 * 1024.0 * 1024.0;

/// Run times of the winners of one kind.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Pace {
    n: u32,
    seconds: f64,
    bytes: f64,
    hosts: BTreeMap<HostNumber, HostPace>,
}

/// Run times of the winners on one host. A job with a million tasks has ten thousand of these, so
/// single precision has to do.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct HostPace {
    n: u32,
    seconds: f32,
    bytes: f32,
}

impl Pace {
    /// An attempt that read `bytes` (0 if unknown) has won on `host` after `time`.
    pub(crate) fn add(&mut self, host: HostNumber, time: Duration, bytes: u64) {
        let on_host = self.hosts.entry(host).or_default();
        on_host.n += 1;
        on_host.seconds += time.as_secs_f32();
        on_host.bytes += bytes as f32;
        self.n += 1;
        self.seconds += time.as_secs_f64();
        self.bytes += bytes as f64;
    }

    /// Expected run time of an attempt that reads `bytes`: the mean of the winners, and longer if
    /// it reads more than they did. `None` while there is no winner.
    pub(crate) fn expected(&self, bytes: u64) -> Option<Duration> {
        self.expected_seconds(bytes as f64).map(duration)
    }

    fn expected_seconds(&self, bytes: f64) -> Option<f64> {
        if self.n == 0 {
            return None;
        }
        let (mean, mean_bytes) = (self.seconds / f64::from(self.n), self.bytes / f64::from(self.n));
        Some(mean * (bytes / mean_bytes.max(FEW_BYTES)).max(1.0))
    }

    /// Number of attempts that have won on a host.
    pub(crate) fn won_on(&self, host: HostNumber) -> u32 {
        self.hosts.get(&host).map_or(0, |it| it.n)
    }

    /// The same as [`Self::expected`] on a given host, which may be a slow one.
    pub(crate) fn expected_on(&self, host: HostNumber, bytes: u64) -> Option<Duration> {
        let slower = self.hosts.get(&host).map_or(1.0, |it| {
            let n = f64::from(it.n);
            let usual = self.expected_seconds(f64::from(it.bytes) / n).unwrap_or_default();
            if usual > 0.0 { (f64::from(it.seconds) / n / usual).max(1.0) } else { 1.0 }
        });
        self.expected_seconds(bytes as f64).map(|expected| duration(expected * slower))
    }
}

/// Remaining time of an attempt that began at `began` and last reported `told`.
pub(crate) fn time_left(began: Monotonic, told: Told, now: Monotonic) -> Duration {
    let elapsed = now.since(began);
    let progress = f64::from(told.progress);
    if progress <= 0.0 {
        // As long again as it has been silent.
        return elapsed;
    }
    let estimated = told.at.since(began).as_secs_f64() / progress;
    match elapsed > duration(estimated * PAST_END) {
        true => elapsed,
        false => duration(estimated).saturating_sub(elapsed),
    }
}

/// Whether an attempt that began at `began` and has `left` to go should get a backup, which would
/// take `new`.
pub(crate) fn is_late(began: Monotonic, left: Duration, new: Duration, now: Monotonic) -> bool {
    let judged_after = (new / 2).clamp(JUDGED_AFTER_MIN, JUDGED_AFTER);
    now.since(began) >= judged_after && is_worth(left, new)
}

/// Whether an attempt that takes `new` would finish before one with `left` to go, by a margin for
/// errors of the estimates.
pub(crate) fn is_worth(left: Duration, new: Duration) -> bool {
    left > duration(new.as_secs_f64() * WORTH)
}

/// Saturating conversion: values reported by tasks can lead to any number.
fn duration(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn at(seconds: f64) -> Monotonic {
        Monotonic(Duration::from_secs_f64(seconds))
    }

    const A: HostNumber = HostNumber(0);
    const B: HostNumber = HostNumber(1);
    const C: HostNumber = HostNumber(2);

    fn seconds(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    #[test]
    fn an_attempt_is_late_by_the_time_that_it_has_left() {
        // Progress, when reported, now, expected run time; late?
        for (progress, told, now, mean, late, what) in [
            (0.5, 10.0, 10.0, 20.0, false, "as fast as the others"),
            (0.1, 10.0, 10.0, 20.0, true, "a tenth of their speed"),
            (0.1, 0.9, 0.9, 1.8, false, "the same, but nobody is judged in the first second"),
            (0.3, 10.0, 10.0, 20.0, false, "slower, but a new one would not be sooner"),
            (0.25, 10.0, 10.0, 20.0, true, "it would"),
            (0.95, 100.0, 100.0, 20.0, false, "slow, but all but done"),
            (0.95, 19.0, 24.0, 20.0, false, "a little behind its time"),
            (0.95, 19.0, 26.0, 20.0, true, "it stands still at 95 %"),
            (1.0, 19.0, 24.0, 20.0, false, "it has read all, and writes"),
            (1.0, 19.0, 26.0, 20.0, true, "it has read all, and hangs"),
            (0.0, 0.0, 20.0, 20.0, false, "it told nothing yet; others are done by now"),
            (0.0, 0.0, 26.0, 20.0, true, "it told nothing, and others were done long ago"),
            (0.01, 9.0, 9.0, 600.0, false, "a long task is not judged in its first seconds"),
            (0.001, 10.0, 10.0, 600.0, true, "but soon after"),
        ] {
            let told = Told { progress, at: at(told) };
            let left = time_left(at(0.0), told, at(now));
            assert_eq!(is_late(at(0.0), left, seconds(mean), at(now)), late, "{what}: {left:?}");
        }
    }

    #[test]
    fn whatever_a_task_tells_is_a_time() {
        for progress in [f32::MIN_POSITIVE, 1e-30, 0.5, 1.0] {
            let told = Told { progress, at: at(1e9) };
            let left = time_left(at(0.0), told, at(1e9));
            assert!(is_late(at(0.0), Duration::MAX, seconds(1.0), at(1e9)), "{left:?}");
            assert!(!is_worth(left, Duration::MAX));
        }
        let mut pace = Pace::default();
        pace.add(A, Duration::MAX, 1);
        pace.add(B, Duration::ZERO, u64::MAX);
        assert!(pace.expected_on(A, u64::MAX).is_some());
    }

    #[test]
    fn more_bytes_are_expected_to_take_longer_and_fewer_are_not_trusted_to_take_less() {
        let mut pace = Pace::default();
        assert_eq!(pace.expected(MIB), None, "there is nothing to compare with");
        pace.add(A, seconds(1.0), 32 * MIB);
        pace.add(A, seconds(3.0), 96 * MIB);
        assert_eq!(pace.expected(64 * MIB), Some(seconds(2.0)));
        assert_eq!(pace.expected(128 * MIB), Some(seconds(4.0)));
        assert_eq!(pace.expected(MIB), Some(seconds(2.0)));
        let mut small = Pace::default();
        small.add(A, seconds(0.5), 1024);
        assert_eq!(small.expected(64 * MIB), Some(seconds(8.0)), "few bytes say little of many");
        let mut reduces = Pace::default();
        reduces.add(A, seconds(5.0), 0);
        assert_eq!(reduces.expected(0), Some(seconds(5.0)));
    }

    #[test]
    fn a_host_on_which_winners_were_slow_is_expected_to_be_slow_again() {
        let mut pace = Pace::default();
        pace.add(A, seconds(11.0), MIB);
        for _ in 0..9 {
            pace.add(B, seconds(1.0), MIB);
        }
        let expected = |host| pace.expected_on(host, MIB).unwrap();
        assert_eq!(expected(B), seconds(2.0), "a quick one");
        assert_eq!(expected(A), seconds(11.0), "the slow one");
        assert_eq!(expected(C), seconds(2.0), "an unknown one");
    }
}
