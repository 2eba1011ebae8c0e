//! Retries of calls whose daemon may be unavailable for a moment.

use std::time::Duration;

use clock::Stopwatch;

use crate::CallError;

const BACKOFF_MIN: Duration = Duration::from_millis(20);
const BACKOFF_MAX: Duration = Duration::from_secs(1);

/// Makes a call, and repeats it until `patience` has passed, while its failure is transient. Only
/// for calls that may be carried out twice: reads, and mutations with a stamp.
///
/// # Errors
/// The last failure; see [`CallError`].
pub async fn retrying<T, F>(patience: Duration, call: impl FnMut() -> F) -> Result<T, CallError>
where
    F: Future<Output = Result<T, CallError>>,
{
    retrying_while(|_| true, patience, call).await
}

/// Like [`retrying`], but only while each failure is also `worth` a retry.
///
/// # Errors
/// Like [`retrying`].
pub async fn retrying_while<T, F>(
    mut worth: impl FnMut(&CallError) -> bool,
    patience: Duration,
    mut call: impl FnMut() -> F,
) -> Result<T, CallError>
where
    F: Future<Output = Result<T, CallError>>,
{
    let (started, mut backoff) = (Stopwatch::start(), Backoff::default());
    loop {
        match call().await {
            Err(error) if error.is_transient() && started.elapsed() < patience && worth(&error) => {
                tracing::debug!(%error, "trying again");
                backoff.pause().await;
            }
            answer => return answer,
        }
    }
}

/// Pauses that grow from 20 ms to 1 s, with jitter, so that clients don't all come back at once.
#[derive(Debug)]
pub struct Backoff {
    next: Duration,
    max: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self::new(BACKOFF_MIN, BACKOFF_MAX)
    }
}

impl Backoff {
    /// Pauses from `first`, doubling up to `max`.
    #[must_use]
    pub fn new(first: Duration, max: Duration) -> Self {
        Self { next: first, max }
    }

    /// The next pause: between half and all of the current step.
    pub fn step(&mut self) -> Duration {
        let step = self.next;
        self.next = (step * 2).min(self.max);
        let half = step / 2;
        let micros = u64::try_from(half.as_micros()).unwrap_or(u64::MAX).max(1);
        half + Duration::from_micros(crate::random_u64() % micros)
    }

    /// Waits for [`Backoff::step`].
    pub async fn pause(&mut self) {
        tokio::time::sleep(self.step()).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Problem;

    fn problem(status: u16) -> CallError {
        let problem = Problem::new(status, "kind", "detail");
        CallError::Problem { address: "a:1".into(), problem }
    }

    #[tokio::test]
    async fn a_call_is_made_again_while_that_may_help_and_not_for_longer_than_patience() {
        let minute = Duration::from_secs(60);
        for (statuses, answer) in
            [(&[503, 503, 200][..], Ok(3)), (&[503, 409, 200], Err(409)), (&[409], Err(409))]
        {
            let mut calls = 0;
            let outcome = retrying(minute, || {
                calls += 1;
                std::future::ready(match statuses[calls - 1] {
                    200 => Ok(calls),
                    status => Err(problem(status)),
                })
            });
            let told = outcome.await.map_err(|error| error.problem().unwrap().status);
            assert_eq!(told, answer, "{statuses:?}");
        }
        let mut calls = 0;
        let never = retrying(Duration::ZERO, || {
            calls += 1;
            std::future::ready(Err::<(), _>(problem(503)))
        });
        let never = never.await;
        assert_eq!((never.is_err(), calls), (true, 1), "no patience");
        let mut asked = 0;
        let worth = |_: &CallError| {
            asked += 1;
            asked < 3
        };
        let given_up =
            retrying_while(worth, minute, || std::future::ready(Err::<(), _>(problem(503))));
        let given_up = given_up.await;
        assert_eq!((given_up.is_err(), asked), (true, 3));
    }
}
