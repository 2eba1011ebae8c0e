//! Who comes with a token that is signed with another secret: a daemon or a client of another cluster, or one of this
//! cluster with an old copy of its secret. The log is told of the first at once, and of those that follow once a minute: a
//! daemon tries again and again. Called by the entrance; knows addresses, and never a token.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Between two words to the log.
const PAUSE: Duration = Duration::from_mins(1);
/// Addresses that one of them names; of more it says only that there are more.
const ADDRESSES_MAX: usize = 8;

/// Those that came to one daemon.
#[derive(Debug, Default)]
pub(crate) struct Strangers(Mutex<Books>);

#[derive(Debug, Default)]
struct Books {
    /// The log was told just now: what comes is summed up.
    pausing: bool,
    sum: Sum,
}

/// Requests that the log was not told of yet.
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
    /// Whether the log is to be told at once.
    fn note(&mut self, from: Option<IpAddr>) -> bool {
        if self.pausing {
            self.sum.add(from);
            return false;
        }
        self.pausing = true;
        true
    }

    /// A pause is over: what came in it; `None`: nothing, and the next one is told of at once.
    fn end_pause(&mut self) -> Option<Sum> {
        let sum = std::mem::take(&mut self.sum);
        self.pausing = sum.requests > 0;
        self.pausing.then_some(sum)
    }
}

impl Strangers {
    /// One came, to this route.
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

    /// Tells the log of those that follow, until none do.
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
