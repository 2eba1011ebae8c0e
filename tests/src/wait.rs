//! Waiting for an exact state with a deadline, never for time to pass.

use std::time::Duration;

const POLL: Duration = Duration::from_millis(10);

/// Asks `state` until it gives a value.
///
/// # Panics
/// When `deadline` is over, naming `what`.
pub fn until<T>(what: &str, deadline: Duration, mut state: impl FnMut() -> Option<T>) -> T {
    let started = clock::Stopwatch::start();
    loop {
        if let Some(value) = state() {
            return value;
        }
        assert!(started.elapsed() < deadline, "{what}: not within {deadline:?}");
        std::thread::park_timeout(POLL);
    }
}
