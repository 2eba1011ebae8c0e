//! Hosts that a job leaves alone for a while: an attempt failed there through the host's fault, a full
//! disk or a broken one. Each further fault in a row doubles the time. Kept by `job`, asked by `schedule`
//! and `attempt`.

use std::collections::BTreeMap;
use std::time::Duration;

use ids::{HostName, Monotonic};
use mapreduce_protocol::TaskKind;

/// How long a host is left alone after its first fault: other jobs' outputs may be purged meanwhile.
const FIRST: Duration = Duration::from_secs(5);
/// Limit of the doubling.
const LONGEST: Duration = Duration::from_mins(5);

/// One job's excluded hosts.
#[derive(Debug, Default)]
pub(crate) struct Exclusions(BTreeMap<HostName, Exclusion>);

#[derive(Debug)]
struct Exclusion {
    /// What failed last: success of the other kind, which may need less room, proves nothing.
    kind: TaskKind,
    /// Faults in a row.
    faults: u32,
    until: Monotonic,
}

impl Exclusions {
    /// An attempt of that kind failed through the host's fault. Attempts that ran beside it and fail
    /// alike are the same fault.
    pub(crate) fn add(&mut self, now: Monotonic, host: &HostName, kind: TaskKind) {
        let fresh = Exclusion { kind, faults: 0, until: now };
        let exclusion = self.0.entry(host.clone()).or_insert(fresh);
        exclusion.kind = kind;
        if exclusion.until <= now {
            let doubled = FIRST * 2_u32.saturating_pow(exclusion.faults.min(16));
            exclusion.until = now + doubled.min(LONGEST);
            exclusion.faults = exclusion.faults.saturating_add(1);
        }
    }

    /// An attempt of that kind succeeded on the host.
    pub(crate) fn absolve(&mut self, host: &HostName, kind: TaskKind) {
        if self.0.get(host).is_some_and(|exclusion| exclusion.kind == kind) {
            self.0.remove(host);
        }
    }

    /// The host's tracker was started anew: somebody may have mended it.
    pub(crate) fn forget(&mut self, host: &HostName) {
        self.0.remove(host);
    }

    /// Until when the host is left alone, if it is.
    pub(crate) fn until(&self, now: Monotonic, host: &HostName) -> Option<Monotonic> {
        self.0.get(host).map(|exclusion| exclusion.until).filter(|until| *until > now)
    }

    /// Faults of the host in a row.
    pub(crate) fn faults(&self, host: &HostName) -> u32 {
        self.0.get(host).map_or(0, |exclusion| exclusion.faults)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_doubles_with_each_fault_in_a_row_up_to_a_limit() {
        let host: HostName = "a".parse().unwrap();
        let mut exclusions = Exclusions::default();
        let mut now = Monotonic::default();
        let mut lasted = Vec::new();
        for _ in 0..40 {
            exclusions.add(now, &host, TaskKind::Map);
            // Attempts that ran beside it.
            exclusions.add(now, &host, TaskKind::Map);
            let until = exclusions.until(now, &host).unwrap();
            lasted.push(until.since(now).as_secs());
            now = until;
            assert_eq!(exclusions.until(now, &host), None);
        }
        assert_eq!(lasted[..8], [5, 10, 20, 40, 80, 160, 300, 300]);
        assert_eq!(exclusions.faults(&host), 40);
    }

    #[test]
    fn a_success_of_the_same_kind_ends_the_row() {
        let host: HostName = "a".parse().unwrap();
        let mut exclusions = Exclusions::default();
        exclusions.add(Monotonic::default(), &host, TaskKind::Reduce);
        exclusions.absolve(&host, TaskKind::Map);
        assert_eq!(exclusions.faults(&host), 1);
        exclusions.absolve(&host, TaskKind::Reduce);
        assert_eq!(exclusions.faults(&host), 0);
        assert_eq!(exclusions.until(Monotonic::default(), &host), None);
    }
}
