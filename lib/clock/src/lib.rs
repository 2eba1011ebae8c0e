//! The only reader of the system's clocks: everything else is given a [`Now`]. Code that decides
//! takes time as an argument; code that measures (metrics, rates) asks here.

use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ids::{Monotonic, Now, UnixMillis};

/// Both clocks, read now.
#[must_use]
pub fn now() -> Now {
    Now { monotonic: monotonic(), wall: wall() }
}

/// The monotonic clock, as the time since the first call in this process.
#[must_use]
pub fn monotonic() -> Monotonic {
    static START: OnceLock<Instant> = OnceLock::new();
    Monotonic(START.get_or_init(Instant::now).elapsed())
}

/// The wall clock; the epoch itself if the machine's clock is before 1970.
#[must_use]
pub fn wall() -> UnixMillis {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    UnixMillis(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX))
}

/// Measures one duration, for metrics and rates.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch(Monotonic);

impl Stopwatch {
    /// Starts to measure.
    #[must_use]
    pub fn start() -> Self {
        Self(monotonic())
    }

    /// The time since the start.
    #[must_use]
    pub fn elapsed(self) -> Duration {
        monotonic().since(self.0)
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_monotonic_clock_never_goes_back() {
        let a = super::monotonic();
        let b = super::monotonic();
        assert!(b >= a);
        assert_eq!(a.since(b).as_nanos(), 0);
    }
}
