//! Hosts that a job leaves alone for a while, each time twice as long as before: where an attempt failed through the
//! host's fault, as a full disk; and where several of its tasks failed that may be sound, more than elsewhere. Kept by
//! `job`, asked by `schedule` and `attempt`; what speaks against a host whatever the job is in `standing`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ids::{HostName, Monotonic};
use mapreduce_protocol::{TaskId, TaskKind};

/// How long a host is left alone after its first fault: other jobs' outputs may be purged meanwhile.
const FAULT_FIRST: Duration = Duration::from_secs(5);
/// Limit of the doubling.
const FAULT_LONGEST: Duration = Duration::from_mins(5);
/// How long a host is left alone where tasks fail: whatever it is, it does not pass by itself at once.
const SUSPICION_FIRST: Duration = Duration::from_mins(1);
/// Limit of the doubling.
const SUSPICION_LONGEST: Duration = Duration::from_hours(1);
/// A host is only suspected if so many times more tasks failed there than on the others in the mean: a program that fails
/// everywhere is no host's fault.
const TIMES_THE_OTHERS: f64 = 2.0;
/// Tasks that are remembered of one host: the most that `host_failures_max` may be.
const TASKS_MAX: usize = 64;

/// One job's excluded hosts.
#[derive(Debug, Default)]
pub(crate) struct Exclusions {
    faults: BTreeMap<HostName, Faults>,
    suspects: BTreeMap<HostName, Suspect>,
}

#[derive(Debug)]
struct Faults {
    /// What failed last: success of the other kind, which may need less room, proves nothing.
    kind: TaskKind,
    /// Faults in a row.
    in_a_row: u32,
    until: Monotonic,
}

/// A host where tasks failed by what looks like their own fault.
#[derive(Debug, Default)]
struct Suspect {
    /// Those, since it was left alone last.
    failed: BTreeSet<TaskId>,
    /// Those that succeeded elsewhere.
    refuted: BTreeSet<TaskId>,
    /// How often it was left alone.
    times: u32,
    until: Monotonic,
}

/// When a job leaves a host alone because of failed tasks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SuspicionRule {
    /// So many tasks failed there; 0: never.
    pub(crate) failures: u32,
    /// Live hosts.
    pub(crate) n_hosts: usize,
    /// Share of them that the job may leave alone at once for this.
    pub(crate) share: f64,
}

impl Exclusions {
    /// An attempt of that kind failed through the host's fault. Attempts that ran beside it and fail
    /// alike are the same fault: whether it is a new one.
    pub(crate) fn add(&mut self, now: Monotonic, host: &HostName, kind: TaskKind) -> bool {
        let fresh = Faults { kind, in_a_row: 0, until: now };
        let faults = self.faults.entry(host.clone()).or_insert(fresh);
        faults.kind = kind;
        let is_new = faults.until <= now;
        if is_new {
            faults.until = now + doubled(FAULT_FIRST, faults.in_a_row, FAULT_LONGEST);
            faults.in_a_row = faults.in_a_row.saturating_add(1);
        }
        is_new
    }

    /// An attempt of that kind succeeded on the host.
    pub(crate) fn absolve(&mut self, host: &HostName, kind: TaskKind) {
        if self.faults.get(host).is_some_and(|faults| faults.kind == kind) {
            self.faults.remove(host);
        }
    }

    /// `task` failed on the host, as far as anybody can tell by its own fault.
    pub(crate) fn suspect(
        &mut self,
        now: Monotonic,
        host: &HostName,
        task: TaskId,
        rule: SuspicionRule,
    ) {
        let suspect = self.suspects.entry(host.clone()).or_default();
        if suspect.failed.len() < TASKS_MAX {
            suspect.failed.insert(task);
        }
        let n_failed = suspect.failed.len();
        let others = self.suspects.iter().filter(|(other, _)| *other != host);
        let elsewhere: usize = others.map(|(_, suspect)| suspect.failed.len()).sum();
        let mean_elsewhere = elsewhere as f64 / rule.n_hosts.saturating_sub(1).max(1) as f64;
        let stands_out = n_failed as f64 > mean_elsewhere * TIMES_THE_OTHERS;
        let n_alone = self.suspects.values().filter(|suspect| suspect.until > now).count();
        let may_be_alone = n_alone < (rule.n_hosts as f64 * rule.share).floor() as usize;
        let enough = rule.failures > 0 && n_failed >= rule.failures as usize;
        if !(enough && stands_out && may_be_alone) {
            return;
        }
        if let Some(suspect) = self.suspects.get_mut(host).filter(|suspect| suspect.until <= now) {
            suspect.until = now + doubled(SUSPICION_FIRST, suspect.times, SUSPICION_LONGEST);
            suspect.times = suspect.times.saturating_add(1);
            suspect.failed.clear();
        }
    }

    /// `task`, which failed on the host, succeeded elsewhere. Whether that was so of `enough` tasks now: the count then
    /// begins anew.
    pub(crate) fn refute(&mut self, host: &HostName, task: TaskId, enough: u32) -> bool {
        let Some(suspect) = self.suspects.get_mut(host).filter(|_| enough > 0) else {
            return false;
        };
        suspect.refuted.insert(task);
        let is_enough = suspect.refuted.len() >= enough as usize;
        if is_enough {
            suspect.refuted.clear();
        }
        is_enough
    }

    /// The host's tracker was started anew: somebody may have mended it.
    pub(crate) fn forget(&mut self, host: &HostName) {
        self.faults.remove(host);
        self.suspects.remove(host);
    }

    /// Whether nothing is held against any host.
    pub(crate) fn is_empty(&self) -> bool {
        self.faults.is_empty() && self.suspects.is_empty()
    }

    /// Until when the host is left alone, if it is.
    pub(crate) fn until(&self, now: Monotonic, host: &HostName) -> Option<Monotonic> {
        let fault = self.faults.get(host).map(|faults| faults.until);
        let suspicion = self.suspects.get(host).map(|suspect| suspect.until);
        fault.max(suspicion).filter(|until| *until > now)
    }

    /// Hosts with so many faults in a row.
    pub(crate) fn n_failed(&self, faults: u32) -> usize {
        self.faults.values().filter(|it| it.in_a_row >= faults).count()
    }

    /// Faults of the host in a row.
    pub(crate) fn faults(&self, host: &HostName) -> u32 {
        self.faults.get(host).map_or(0, |faults| faults.in_a_row)
    }
}

/// `first`, twice that the second time, and so on up to `longest`.
fn doubled(first: Duration, times_before: u32, longest: Duration) -> Duration {
    first.saturating_mul(2_u32.saturating_pow(times_before.min(30))).min(longest)
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

    fn task(index: u32) -> TaskId {
        let job = mapreduce_protocol::JobId { date: 20_261_122, ordinal: 1 };
        job.task(TaskKind::Map, index)
    }

    /// Hosts that are left alone after these failures, each (host, task), of eight hosts.
    fn suspected(failures: &[(&str, u32)]) -> Vec<String> {
        let rule = SuspicionRule { failures: 3, n_hosts: 8, share: 0.25 };
        let mut exclusions = Exclusions::default();
        let now = Monotonic(Duration::from_secs(100));
        for (host, index) in failures {
            exclusions.suspect(now, &host.parse().unwrap(), task(*index), rule);
        }
        let hosts = ["a", "b", "c", "d", "e", "f", "g", "h"];
        let alone = |host: &&str| exclusions.until(now, &host.parse().unwrap()).is_some();
        hosts.into_iter().filter(alone).map(str::to_owned).collect()
    }

    #[test]
    fn a_host_where_several_tasks_fail_is_left_alone_but_not_for_what_fails_everywhere() {
        let of = |hosts: &[&'static str], n: u32| {
            let all = (0..n).flat_map(|at| hosts.iter().map(move |host| (*host, at)));
            all.collect::<Vec<_>>()
        };
        for (failures, expected) in [
            (of(&["a"], 2), vec![]),
            (of(&["a"], 3), vec!["a"]),
            (vec![("a", 1), ("a", 1), ("a", 1)], vec![]),
            (of(&["a", "b"], 3), vec!["a", "b"]),
            // A quarter of eight.
            (of(&["a", "b", "c"], 3), vec!["a", "b"]),
            (of(&["a", "b", "c", "d", "e", "f", "g", "h"], 9), vec![]),
        ] {
            assert_eq!(suspected(&failures), expected, "{failures:?}");
        }
    }

    #[test]
    fn the_most_failures_that_may_be_asked_for_are_remembered() {
        let rule = SuspicionRule { failures: 64, n_hosts: 8, share: 0.25 };
        let (host, now) = ("a".parse().unwrap(), Monotonic::default());
        let mut exclusions = Exclusions::default();
        let mut alone_after = (1..=64).filter(|index| {
            exclusions.suspect(now, &host, task(*index), rule);
            exclusions.until(now, &host).is_some()
        });
        assert_eq!(alone_after.next(), Some(64));
    }

    #[test]
    fn suspicion_comes_back_twice_as_long_and_success_beside_it_proves_nothing() {
        let rule = SuspicionRule { failures: 3, n_hosts: 8, share: 0.25 };
        let host: HostName = "a".parse().unwrap();
        let mut exclusions = Exclusions::default();
        let mut now = Monotonic::default();
        let mut lasted = Vec::new();
        for index in 0..24 {
            exclusions.suspect(now, &host, task(index), rule);
            exclusions.absolve(&host, TaskKind::Map);
            if let Some(until) = exclusions.until(now, &host) {
                lasted.push(until.since(now).as_secs());
                now = until;
            }
        }
        assert_eq!(lasted, [60, 120, 240, 480, 960, 1920, 3600, 3600]);
        exclusions.suspect(now, &host, task(90), rule);
        let refuted: Vec<_> = (0..7).map(|at| exclusions.refute(&host, task(at), 3)).collect();
        assert_eq!(refuted, [false, false, true, false, false, true, false]);
    }
}
