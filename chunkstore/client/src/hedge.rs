//! Hedged reads (as HDFS calls them): when a replica is silent for longer than its reader is used
//! to, a second one is asked for the same bytes, and reading goes on with whichever delivers first.
//! Each reader has at most one such request under way. Only `read` calls this.

use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use chunkstore_protocol::ServerAddress;

use crate::replica_stream::{ReplicaError, ReplicaStream};

/// Number of a reader's waits that its patience is based on.
const WAITS_KEPT: usize = 32;
/// A wait is long if it is this many times as long as nearly all of the reader's waits.
const PATIENCE: u32 = 3;

/// How long a reader has recently waited for its bytes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pace {
    waits: Vec<Duration>,
    next: usize,
}

impl Pace {
    /// Bytes arrived after this wait.
    pub(crate) fn observe(&mut self, wait: Duration) {
        if self.waits.len() < WAITS_KEPT {
            self.waits.push(wait);
        } else {
            self.waits[self.next] = wait;
            self.next = (self.next + 1) % WAITS_KEPT;
        }
    }

    /// The silence after which a second replica is asked: `hedge_after`, or more if the reader's
    /// 95th percentile is long. So a slow network or an overloaded cluster does not get even more
    /// requests.
    pub(crate) fn patience(&self, hedge_after: Duration) -> Duration {
        let is_long = |wait: &&Duration| **wait * PATIENCE > hedge_after;
        let mut long: Vec<Duration> = self.waits.iter().filter(is_long).copied().collect();
        long.sort_unstable();
        // How many waits may be longer than the 95th percentile.
        let longer = self.waits.len() / 20;
        let percentile = long.len().checked_sub(longer + 1).map(|at| long[at]);
        percentile.map_or(hedge_after, |wait| wait * PATIENCE)
    }
}

/// The outcome of a pull.
#[derive(Debug)]
pub(crate) struct Pulled {
    /// The spare that delivered, if the first replica did not.
    pub(crate) winner: Option<ReplicaStream>,
    /// What [`ReplicaStream::next`] returned; a failure is the first replica's.
    pub(crate) step: Result<Vec<Bytes>, ReplicaError>,
    /// Spares that were asked and failed, and the first replica if a spare delivered after its
    /// failure.
    pub(crate) failed: Vec<(ServerAddress, ReplicaError)>,
    /// Spares that were asked.
    pub(crate) n_hedges: u64,
}

/// The next bytes of `first` or, if it is silent for longer than `patience`, of whichever of the
/// `spares` delivers them first. Cancellation safe: nothing that was delivered is lost.
pub(crate) async fn pull(
    first: &mut ReplicaStream,
    patience: Duration,
    spares: impl FnOnce() -> Vec<ReplicaStream>,
) -> Pulled {
    let server = first.server().clone();
    let mut first = pin!(first.next());
    if let Ok(step) = tokio::time::timeout(patience, &mut first).await {
        return Pulled { winner: None, step, failed: Vec::new(), n_hedges: 0 };
    }
    let mut spares = spares().into_iter();
    let (mut failed, mut n_hedges, mut end) = (Vec::new(), 0, None);
    let mut hedge = None;
    loop {
        if hedge.is_none() {
            hedge = spares.next().map(|spare| Box::pin(owned_next(spare)));
            n_hedges += u64::from(hedge.is_some());
        }
        let Some(hedging) = &mut hedge else {
            let step = match end {
                Some(error) => Err(error),
                None => first.await,
            };
            return Pulled { winner: None, step, failed, n_hedges };
        };
        tokio::select! {
            step = &mut first, if end.is_none() => match step {
                Err(error) => end = Some(error),
                step => return Pulled { winner: None, step, failed, n_hedges },
            },
            (spare, step) = hedging => match step {
                Err(error) => {
                    failed.push((spare.server().clone(), error));
                    hedge = None;
                }
                step => {
                    failed.extend(end.map(|error| (server, error)));
                    return Pulled { winner: Some(spare), step, failed, n_hedges };
                }
            },
        }
    }
}

async fn owned_next(mut spare: ReplicaStream) -> (ReplicaStream, Result<Vec<Bytes>, ReplicaError>) {
    let step = spare.next().await;
    (spare, step)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: Duration = Duration::from_millis(500);

    fn after(waits: &[(usize, u64)]) -> Duration {
        let mut pace = Pace::default();
        for (times, millis) in waits {
            (0..*times).for_each(|_| pace.observe(Duration::from_millis(*millis)));
        }
        pace.patience(KEY)
    }

    #[test]
    fn a_reader_is_as_patient_as_it_must_be() {
        assert_eq!(after(&[]), KEY);
        assert_eq!(after(&[(100, 1)]), KEY);
        assert_eq!(after(&[(31, 1), (1, 9000)]), KEY, "one in thirty-two is no habit");
        assert_eq!(after(&[(28, 1), (4, 800)]), KEY * 24 / 5);
        assert_eq!(after(&[(1, 2000)]), KEY * 12, "the first wait counts");
        assert_eq!(after(&[(32, 2000), (32, 1)]), KEY, "what is long ago does not");
    }
}
