//! Callers whose token is signed with another secret: a daemon or client of another cluster, or one
//! of this cluster with an old copy of its secret. The first one is logged at once, later ones in a
//! summary once a minute, as a daemon keeps trying. Called by the entrance; knows addresses, but
//! never a token.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Time between two log messages.
const PAUSE: Duration = Duration::from_mins(1);
/// Addresses that one message names; it only says if there are more.
const ADDRESSES_MAX: usize = 8;

/// The strangers that came to one daemon.
#[derive(Debug, Default)]
pub(crate) struct Strangers(Mutex<Books>);

#[derive(Debug, Default)]
struct Books {
    /// Whether a message was just logged, so that further requests are summed up.
    pausing: bool,
    sum: Sum,
}

/// Requests that were not logged yet.
#[derive(Debug, Default, PartialEq, Eq)]
struct Sum {
    requests: u64,
    addresses: BTreeSet<IpAddr>,
    from_more: bool,
}

impl Sum {
    fn add(&mut self, from: Option<IpAddr>) {
        self.requests += 1;
        let Some(from) = from else { return };
        if self.addresses.len() < ADDRESSES_MAX || self.addresses.contains(&from) {
            self.addresses.insert(from);
        } else {
            self.from_more = true;
        }
    }

    fn shown(&self) -> String {
        let mut shown: Vec<_> = self.addresses.iter().map(ToString::to_string).collect();
        if self.from_more {
            shown.push("and more".to_owned());
        }
        shown.join(", ")
    }
}

impl Books {
    /// Counts a request; returns whether to log it at once.
    fn note(&mut self, from: Option<IpAddr>) -> bool {
        if self.pausing {
            self.sum.add(from);
            return false;
        }
        self.pausing = true;
        true
    }

    /// Ends a pause and returns the requests in it. `None`: there were none, and the next one is
    /// logged at once.
    fn end_pause(&mut self) -> Option<Sum> {
        let sum = std::mem::take(&mut self.sum);
        self.pausing = sum.requests > 0;
        self.pausing.then_some(sum)
    }
}

impl Strangers {
    /// A stranger called this route.
    pub(crate) fn note(self: &Arc<Self>, from: Option<IpAddr>, route: &'static str) {
        if !self.books().note(from) {
            return;
        }
        let address = from.map_or_else(|| "unknown".to_owned(), |from| from.to_string());
        tracing::warn!(
            address,
            route,
            "refused: a token that is signed with another secret than this cluster's; a daemon or client of another \
             cluster asks here, or its copy of the secret (cluster.secret_file) is not this cluster's"
        );
        let strangers = Arc::clone(self);
        tokio::spawn(async move { strangers.sum_up().await });
    }

    /// Logs the summaries, until a pause without strangers.
    async fn sum_up(&self) {
        loop {
            tokio::time::sleep(PAUSE).await;
            let Some(sum) = self.books().end_pause() else { return };
            tracing::warn!(
                requests = sum.requests,
                addresses = sum.shown(),
                "refused in the last minute: more tokens that are signed with another secret than this cluster's"
            );
        }
    }

    fn books(&self) -> std::sync::MutexGuard<'_, Books> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_told_of_at_once_and_those_that_follow_once_in_a_pause() {
        let from = |n: u8| Some(IpAddr::from([10, 0, 0, n]));
        let mut books = Books::default();
        assert!(books.note(from(1)));
        assert_eq!(books.end_pause(), None);
        assert!(books.note(from(1)), "nobody came in the pause");
        for n in [2, 3, 2] {
            assert!(!books.note(from(n)));
        }
        let sum = books.end_pause().unwrap();
        assert_eq!((sum.requests, sum.shown()), (3, "10.0.0.2, 10.0.0.3".to_owned()));
        assert!(!books.note(from(1)), "the log was told just now");
        assert_eq!(books.end_pause().unwrap().requests, 1);
        assert_eq!(books.end_pause(), None);
        for n in 0..=u8::MAX {
            books.note(from(n));
        }
        let shown = books.end_pause().unwrap().shown();
        assert_eq!(shown.matches("10.0.0.").count(), ADDRESSES_MAX, "{shown}");
        assert!(shown.ends_with(", and more"), "{shown}");
    }
}
