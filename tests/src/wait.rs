//! Waiting for an exact state with a deadline, never for time to pass.

use std::time::Duration;

const POLL: Duration = Duration::from_millis(10);

/// Asks `state` until it gives a value.
///
/// # Panics
/// When `deadline` is over, naming `what`.
pub fn until<T>(what: &str, deadline: Duration, state: impl FnMut() -> Option<T>) -> T {
    until_rarely(what, deadline, POLL, state)
}

/// The same, and asks only each `interval`: where asking would disturb what is measured meanwhile.
///
/// # Panics
/// As [`until`].
pub fn until_rarely<T>(
    what: &str,
    deadline: Duration,
    interval: Duration,
    mut state: impl FnMut() -> Option<T>,
) -> T {
    let started = clock::Stopwatch::start();
    loop {
        if let Some(value) = state() {
            return value;
        }
        assert!(started.elapsed() < deadline, "{what}: not within {deadline:?}");
        pause(interval);
    }
}

#[expect(clippy::disallowed_methods, reason = "between two looks at a state")]
fn pause(time: Duration) {
    std::thread::park_timeout(time);
}
