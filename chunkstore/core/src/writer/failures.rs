//! The failures of chunkservers that a writer or reader has met, for its final error: the latest of
//! each host. Decides nothing; the reads of `chunkstore-client` use it too.

use std::fmt;

use ids::HostName;

/// Hosts kept for the error; the latest to fail.
const FAILURES_MAX: usize = 8;

/// Why a server failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerFailure {
    /// The server.
    pub host: HostName,
    /// What the server, or the connection to it, reported.
    pub reason: String,
}

impl fmt::Display for ServerFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.host, self.reason)
    }
}

/// The last failure of each host, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Failures(Vec<ServerFailure>);

impl Failures {
    /// Adds a failure in place of an earlier one of the same host.
    pub fn note(&mut self, failure: ServerFailure) {
        self.0.retain(|before| before.host != failure.host);
        self.0.push(failure);
        let surplus = self.0.len().saturating_sub(FAILURES_MAX);
        self.0.drain(..surplus);
    }

    /// All of them.
    #[must_use]
    pub fn all(&self) -> &[ServerFailure] {
        &self.0
    }
}

/// The failures as part of a sentence; `none` where there are none.
#[must_use]
pub fn show(failures: &[ServerFailure], none: &str) -> String {
    if failures.is_empty() {
        return none.to_owned();
    }
    failures.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_host_is_named_once_with_what_it_said_last() {
        let mut failures = Failures::default();
        let mut note = |host: &str, reason: &str| {
            failures.note(ServerFailure { host: host.parse().unwrap(), reason: reason.into() });
        };
        for _ in 0..20 {
            note("a", "connection refused");
            note("b", "disk full");
        }
        note("a", "no answer");
        assert_eq!(show(failures.all(), "none"), "b: disk full; a: no answer");
        assert_eq!(show(&[], "none"), "none");
    }
}
