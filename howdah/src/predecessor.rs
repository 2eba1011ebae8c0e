//! Waiting for a predecessor that is ending: a process that was just killed holds its ports and locks for
//! some milliseconds more, until the last of its threads is gone. Daemons and `dev` call it at their start.

use std::time::Duration;

use clock::Stopwatch;

const PATIENCE: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(20);

/// Tries again while `passes` says that the error may pass; at last that error. Blocks.
#[expect(clippy::disallowed_methods, reason = "the attempt is made again")]
pub(crate) fn patiently<T, E>(
    mut attempt: impl FnMut() -> Result<T, E>,
    passes: impl Fn(&E) -> bool,
) -> Result<T, E> {
    let waiting = Stopwatch::start();
    loop {
        match attempt() {
            Err(error) if passes(&error) && waiting.elapsed() < PATIENCE => {
                std::thread::park_timeout(PAUSE);
            }
            done => return done,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_may_pass_is_waited_for() {
        let mut errors = vec!["lasts", "passes", "passes"];
        let mut attempt = || errors.pop().map_or(Ok(()), Err);
        assert_eq!(patiently(&mut attempt, |error| *error == "passes"), Err("lasts"));
        assert_eq!(patiently(&mut attempt, |error| *error == "passes"), Ok(()));
    }
}
