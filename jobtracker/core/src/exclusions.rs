//! Hosts that a job avoids for a while, each time for twice as long: those where an attempt failed
//! through the host's fault, such as a full disk; and those where several of its tasks failed, more
//! than elsewhere, though the tasks may be sound. Kept by `job`, queried by `schedule` and
//! `attempt`; `standing` has what counts against a host regardless of the job.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ids::{HostName, Monotonic};
use mapreduce_protocol::{TaskId, TaskKind};

/// How long a host is avoided after its first fault: other jobs' outputs may be purged meanwhile.
const FAULT_FIRST: Duration = Duration::from_secs(5);
/// Limit of the doubling.
const FAULT_LONGEST: Duration = Duration::from_mins(5);
/// How long a host is avoided where tasks fail: the cause, whatever it is, does not go away at
/// once.
const SUSPICION_FIRST: Duration = Duration::from_mins(1);
/// Limit of the doubling.
const SUSPICION_LONGEST: Duration = Duration::from_hours(1);
/// A host is suspected only if this many times the mean number of tasks on the other hosts failed
/// there: a program that fails everywhere is no host's fault.
const TIMES_THE_OTHERS: f64 = 2.0;
/// Limit on the tasks kept per host: the highest permitted `host_failures_max`.
const TASKS_MAX: usize = 64;

/// One job's excluded hosts.
#[derive(Debug, Default)]
pub(crate) struct Exclusions {
    faults: BTreeMap<HostName, Faults>,
    suspects: BTreeMap<HostName, Suspect>,
}

#[derive(Debug)]
struct Faults {
    /// The kind that last failed: a success of the other kind, which may need less space, proves
    /// nothing.
    kind: TaskKind,
    /// Faults in a row.
    in_a_row: u32,
    until: Monotonic,
}

/// A host where tasks failed, apparently through their own fault.
#[derive(Debug, Default)]
struct Suspect {
    /// Tasks that failed since the host was last excluded.
    failed: BTreeSet<TaskId>,
    /// Tasks that failed here and succeeded elsewhere.
    refuted: BTreeSet<TaskId>,
    /// How often the host was excluded.
    times: u32,
    until: Monotonic,
}

/// When a job excludes a host because of failed tasks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SuspicionRule {
    /// Number of tasks that must fail there; 0: never.
    pub(crate) failures: u32,
    /// Number of live hosts.
    pub(crate) n_hosts: usize,
    /// Share of them that the job may exclude at once for this reason.
    pub(crate) share: f64,
}

impl Exclusions {
    /// An attempt of that kind failed through the host's fault. Failures of attempts that ran at
    /// the same time count as the same fault; returns whether it is a new one.
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

    /// `task` failed on the host, apparently through its own fault.
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

    /// `task`, which failed on the host, succeeded elsewhere. Returns whether `enough` tasks have
    /// done so; the count then starts again.
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

    /// The host's tracker was restarted: somebody may have repaired it.
    pub(crate) fn forget(&mut self, host: &HostName) {
        self.faults.remove(host);
        self.suspects.remove(host);
    }

    /// Whether nothing is held against any host.
    pub(crate) fn is_empty(&self) -> bool {
        self.faults.is_empty() && self.suspects.is_empty()
    }

    /// Until when the host is excluded, if it is.
    pub(crate) fn until(&self, now: Monotonic, host: &HostName) -> Option<Monotonic> {
        let fault = self.faults.get(host).map(|faults| faults.until);
        let suspicion = self.suspects.get(host).map(|suspect| suspect.until);
        fault.max(suspicion).filter(|until| *until > now)
    }

    /// Number of hosts with at least `faults` faults in a row.
    pub(crate) fn n_failed(&self, faults: u32) -> usize {
        self.faults.values().filter(|it| it.in_a_row >= faults).count()
    }

    /// Number of faults of the host in a row.
    pub(crate) fn faults(&self, host: &HostName) -> u32 {
        self.faults.get(host).map_or(0, |faults| faults.in_a_row)
    }
}

/// `first`, doubled `times_before` times, at most `longest`.
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
            // Attempts that ran at the same time.
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

    /// Hosts that are excluded after these failures (host, task), of eight hosts.
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
