//! Strikes against hosts, regardless of the job. Strikes lapse with time; a host with several of
//! them, and more than other hosts have, is set aside: it gets no new attempts, while its running
//! attempts go on and its map outputs are served. At most a share of all live hosts is set aside.
//! (Hadoop: the JobTracker's blacklist of faulty trackers.)
//!
//! Soft state: a restarted JobTracker gives every host another chance. `exclusions` has what a
//! single job holds against hosts.

use std::cmp::Reverse;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use ids::{HostName, Monotonic, Now};
use mapreduce_protocol::Strike;

use crate::machine::Core;
use crate::messages::{Effect, Notice, ReplyTo};
use crate::timers::Timer;
use crate::trackers::Tracker;

/// Limit on the strikes kept per host.
const STRIKES_MAX: usize = 32;
/// A TaskTracker finds that a disk fails within this time: what its host lost in the meantime was
/// lost with that disk.
const DISK_FOUND_WITHIN: Duration = Duration::from_mins(1);
/// A host is set aside only if it has this many times the mean strikes of all hosts: what happens
/// to all of them is no host's fault.
const TIMES_THE_MEAN: f64 = 1.5;

/// When hosts are set aside.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Rule {
    /// Number of strikes from which a host is set aside.
    pub(crate) strikes: u32,
    /// How long a strike counts.
    pub(crate) lapse: Duration,
    /// Share of the live hosts that may be set aside at once.
    pub(crate) share: f64,
}

/// All hosts' strikes.
#[derive(Debug, Default)]
pub(crate) struct Standing {
    strikes: BTreeMap<HostName, VecDeque<(Monotonic, Strike)>>,
    /// The hosts set aside, and until when.
    aside: BTreeMap<HostName, Monotonic>,
    /// When [`Timer::Standing`] is due.
    wakes_at: Option<Monotonic>,
}

impl Standing {
    /// Adds a strike. A repeated one for the same job only renews the first.
    fn add(&mut self, now: Monotonic, host: &HostName, strike: Strike) {
        let strikes = self.strikes.entry(host.clone()).or_default();
        match strike {
            Strike::Failures { .. } | Strike::OutputLost { .. } | Strike::DiskFailed => {
                strikes.retain(|(_, it)| *it != strike);
            }
            Strike::Silence => {}
        }
        if strikes.len() == STRIKES_MAX {
            strikes.pop_front();
        }
        strikes.push_back((now, strike));
    }

    /// The host's tracker was restarted, perhaps after a repair; but repeated silence is not
    /// forgotten for that.
    fn restarted(&mut self, host: &HostName) {
        if let Some(strikes) = self.strikes.get_mut(host) {
            strikes.retain(|(_, strike)| *strike == Strike::Silence);
        }
    }

    /// A disk of the host fails. Recent strikes that this explains are replaced by a single one,
    /// whatever the jobs.
    fn disk_failed(&mut self, now: Monotonic, host: &HostName) {
        let Some(strikes) = self.strikes.get_mut(host) else { return };
        let n_before = strikes.len();
        strikes.retain(|(at, strike)| match strike {
            Strike::Failures { .. } | Strike::OutputLost { .. } => *at + DISK_FOUND_WITHIN < now,
            Strike::DiskFailed | Strike::Silence => true,
        });
        if strikes.len() < n_before {
            self.add(now, host, Strike::DiskFailed);
        }
    }

    /// Clears the host's strikes.
    fn forgive(&mut self, host: &HostName) {
        self.strikes.remove(host);
    }

    /// Recomputes which of `n_live` hosts are set aside; returns those for which that has changed.
    fn review(
        &mut self,
        now: Monotonic,
        rule: Rule,
        n_live: usize,
        is_live: impl Fn(&HostName) -> bool,
    ) -> Vec<HostName> {
        self.strikes.retain(|_, strikes| {
            strikes.retain(|(at, _)| *at + rule.lapse > now);
            !strikes.is_empty()
        });
        // Other hosts have no strikes: with ten thousand hosts it matters to skip them.
        let struck = self.strikes.iter().filter(|(host, _)| is_live(host));
        let struck: Vec<_> = struck.map(|(host, it)| (Reverse(it.len()), host)).collect();
        let total: usize = struck.iter().map(|(n, _)| n.0).sum();
        let mean = total as f64 / n_live.max(1) as f64;
        let n_needed = rule.strikes as usize;
        let stands_out = |n: usize| n >= n_needed && n as f64 > mean * TIMES_THE_MEAN;
        let mut bad: Vec<_> = struck.iter().filter(|(n, _)| stands_out(n.0)).collect();
        bad.sort_unstable();
        let n_max = (n_live as f64 * rule.share).floor() as usize;
        let until = |host: &HostName| {
            let strikes = &self.strikes[host];
            strikes[strikes.len() - n_needed].0 + rule.lapse
        };
        let aside = if n_needed == 0 { &[] } else { &bad[..n_max.min(bad.len())] };
        let aside = aside.iter().map(|(_, host)| ((*host).clone(), until(host))).collect();
        let before = std::mem::replace(&mut self.aside, aside);
        let all = before.keys().chain(self.aside.keys());
        let changed = all.filter(|host| before.get(*host) != self.aside.get(*host));
        let mut changed: Vec<_> = changed.cloned().collect();
        changed.sort();
        changed.dedup();
        changed
    }

    /// Until when, at least, the host is set aside, if it is.
    pub(crate) fn until(&self, host: &HostName) -> Option<Monotonic> {
        self.aside.get(host).copied()
    }

    /// The host's strikes, oldest first.
    pub(crate) fn strikes(&self, host: &HostName) -> impl Iterator<Item = Strike> {
        self.strikes.get(host).into_iter().flatten().map(|(_, strike)| *strike)
    }
}

impl Core {
    /// Adds a strike against `host`.
    pub(crate) fn strike(&mut self, now: Now, host: &HostName, strike: Strike) {
        self.standing.add(now.monotonic, host, strike);
        self.review_hosts(now);
    }

    /// `host` has lost data, or has no room for new data. If it does without a failed disk, all
    /// such strikes count as one, since its other disks are sound.
    pub(crate) fn strike_for_loss(&mut self, now: Now, host: &HostName, strike: Strike) {
        let does_without = self.trackers.get(host).is_some_and(Tracker::does_without_a_disk);
        self.strike(now, host, if does_without { Strike::DiskFailed } else { strike });
    }

    /// The tracker on `host` has given up one more disk.
    pub(crate) fn on_disk_failed(&mut self, now: Now, host: &HostName) {
        self.standing.disk_failed(now.monotonic, host);
        self.review_hosts(now);
    }

    /// The tracker on `host` was restarted.
    pub(crate) fn on_tracker_restarted(&mut self, host: &HostName) {
        self.standing.restarted(host);
        self.jobs.values_mut().for_each(|live| live.exclusions.forget(host));
    }

    /// A client forgives `host`: its strikes are cleared, and jobs that exclude it do so no longer.
    pub(crate) fn handle_forgive(&mut self, now: Now, host: HostName, to: ReplyTo) {
        self.standing.forgive(&host);
        self.review_hosts(now);
        for live in self.jobs.values_mut() {
            live.exclusions.forget(&host);
            live.demands_more();
        }
        self.unsettled = true;
        self.answer_hosts(now, Some(host), to);
    }

    /// Recomputes which hosts are set aside: must be called when strikes come or lapse, and when
    /// hosts come or go.
    pub(crate) fn review_hosts(&mut self, now: Now) {
        let rule = self.settings.host_rule();
        let trackers = &self.trackers;
        let is_live = |host: &HostName| trackers.is_live(host);
        let changed = self.standing.review(now.monotonic, rule, trackers.len(), is_live);
        for host in changed {
            let until = self.standing.until(&host);
            let was_aside = self.trackers.get(&host).is_some_and(|it| it.set_aside.is_some());
            self.change_tracker(&host, |tracker| tracker.set_aside = until);
            if was_aside != until.is_some() {
                let strikes = self.standing.strikes(&host).count();
                let on_for = until.map(|until| until.since(now.monotonic));
                self.effect(Effect::Tell(Notice::HostSetAside { host, on_for, strikes }));
            }
        }
        let wakes_at = self.standing.aside.values().min().copied();
        if wakes_at != self.standing.wakes_at {
            let before = std::mem::replace(&mut self.standing.wakes_at, wakes_at);
            before.into_iter().for_each(|at| self.timers.cancel(at, Timer::Standing));
            wakes_at.into_iter().for_each(|at| self.timers.set(at, Timer::Standing));
        }
    }

    /// Changes a tracker, and tells all jobs if that opens or closes it for new attempts.
    pub(crate) fn change_tracker(&mut self, host: &HostName, change: impl FnOnce(&mut Tracker)) {
        let Some(mut tracker) = self.trackers.get_mut(host) else { return };
        let host = tracker.number;
        let was_open = tracker.is_open();
        change(&mut tracker);
        let is_open = tracker.is_open();
        drop(tracker);
        match (was_open, is_open) {
            (false, true) => {
                self.jobs.values_mut().for_each(|live| live.on_host_open(host));
                self.unsettled = true;
            }
            (true, false) => {
                let (jobs, trackers) = (&mut self.jobs, &self.trackers);
                jobs.values_mut().for_each(|live| live.on_host_closed(host, trackers));
                self.unsettled = true;
            }
            (true, true) | (false, false) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use mapreduce_protocol::JobId;

    use super::*;

    const RULE: Rule = Rule { strikes: 3, lapse: Duration::from_secs(100), share: 0.25 };

    fn host(n: usize) -> HostName {
        format!("h{n:02}").parse().unwrap()
    }

    fn job(ordinal: u32) -> JobId {
        JobId { date: 20_261_122, ordinal }
    }

    fn at(second: u64) -> Monotonic {
        Monotonic(Duration::from_secs(second))
    }

    /// Which of `n_hosts` are set aside at second `now` after strikes (second, host), each for
    /// another job.
    fn aside(n_hosts: usize, strikes: &[(u64, usize)], now: u64) -> Vec<usize> {
        let mut standing = Standing::default();
        for (n, (second, struck)) in (0..).zip(strikes) {
            standing.add(at(*second), &host(*struck), Strike::Failures { job: job(n) });
        }
        let hosts: Vec<_> = (0..n_hosts).map(host).collect();
        standing.review(at(now), RULE, n_hosts, |host| hosts.contains(host));
        (0..n_hosts).filter(|n| standing.until(&host(*n)).is_some()).collect()
    }

    #[test]
    fn a_host_with_several_strikes_is_set_aside_until_enough_of_them_have_lapsed() {
        let one = [(0, 1), (10, 1), (20, 1)];
        for (n_hosts, strikes, now, expected) in [
            (4, &one[..2], 20, &[][..]),
            (4, &one[..], 20, &[1]),
            (4, &one[..], 99, &[1]),
            (4, &one[..], 100, &[]),
            (4, &[(0, 1), (10, 1), (20, 1), (30, 1)][..], 100, &[1]),
            (4, &[(0, 1), (10, 1), (20, 1), (30, 1)][..], 110, &[]),
            // Never more than a quarter, those first that have the most.
            (3, &one[..], 20, &[]),
            (
                8,
                &[(0, 1), (0, 1), (0, 1), (1, 2), (1, 2), (1, 2), (2, 3), (2, 3), (2, 3), (3, 3)][..],
                9,
                &[1, 3],
            ),
            // What happens on all of them is not a host's fault.
            (
                4,
                &[
                    (0, 0),
                    (0, 1),
                    (0, 2),
                    (0, 3),
                    (1, 0),
                    (1, 1),
                    (1, 2),
                    (1, 3),
                    (2, 0),
                    (2, 1),
                    (2, 2),
                    (2, 3),
                ][..],
                9,
                &[],
            ),
        ] {
            assert_eq!(aside(n_hosts, strikes, now), expected, "{strikes:?} at {now}");
        }
    }

    #[test]
    fn one_job_strikes_once_and_silence_each_time() {
        let mut standing = Standing::default();
        let hosts: Vec<_> = (0..8).map(host).collect();
        for second in 0..9 {
            standing.add(at(second), &host(0), Strike::Failures { job: job(1) });
            standing.add(at(second), &host(0), Strike::OutputLost { job: job(1) });
        }
        assert_eq!(standing.review(at(9), RULE, hosts.len(), |host| hosts.contains(host)), []);
        standing.add(at(9), &host(0), Strike::Silence);
        assert_eq!(
            standing.review(at(9), RULE, hosts.len(), |host| hosts.contains(host)),
            [host(0)]
        );
        assert_eq!(standing.until(&host(0)), Some(at(108)), "until the first of three lapses");
        standing.restarted(&host(0));
        assert_eq!(
            standing.review(at(9), RULE, hosts.len(), |host| hosts.contains(host)),
            [host(0)]
        );
        assert_eq!(standing.until(&host(0)), None);
        assert_eq!(standing.strikes(&host(0)).count(), 1, "it fell silent all the same");
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut standing = Standing::default();
        for n in 0..100 {
            standing.add(at(1), &host(0), Strike::Failures { job: job(n) });
        }
        assert_eq!(standing.strikes(&host(0)).count(), STRIKES_MAX);
        standing.review(at(101), RULE, 0, |_| false);
        assert!(standing.strikes.is_empty());
    }
}
