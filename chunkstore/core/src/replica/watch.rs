//! Decides from the calls to a disk whether it still answers: when to try it with a small call of
//! the server's own (a probe), and when to give it up. The calls, threads and the clock are the
//! chunkserver's.

use std::collections::BTreeMap;
use std::time::Duration;

use ids::Monotonic;

/// A look that is later than the limit divided by this proves nothing: the whole process may have
/// been stopped.
const LATE_LOOK: u32 = 4;

/// A running call to a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DiskCall(u64);

/// What is to be done about a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskNews {
    /// Nothing.
    Fine,
    /// Write, sync and read a little there, then call [`DiskWatch::probe_ended`], whatever the outcome.
    Probe,
    /// It is to be given up: neither a call nor the probe was answered in time.
    Hangs,
}

#[derive(Clone, Copy, Debug)]
enum Probe {
    Never,
    UnderWay { since: Monotonic },
    Ended { at: Monotonic },
}

/// Watches the calls to one disk.
#[derive(Debug)]
pub struct DiskWatch {
    limit: Duration,
    /// Calls so far.
    last: u64,
    at_work: BTreeMap<DiskCall, Monotonic>,
    probe: Probe,
    last_look: Monotonic,
}

impl DiskWatch {
    /// Of a disk that hangs when it gives no answer for so long.
    #[must_use]
    pub fn new(limit: Duration) -> Self {
        let (at_work, last_look) = (BTreeMap::new(), Monotonic::default());
        Self { limit, last: 0, at_work, probe: Probe::Never, last_look }
    }

    /// A call begins its work.
    pub fn begin(&mut self, now: Monotonic) -> DiskCall {
        self.last += 1;
        let call = DiskCall(self.last);
        self.at_work.insert(call, now);
        call
    }

    /// It was answered, whatever the answer.
    pub fn end(&mut self, call: DiskCall) {
        self.at_work.remove(&call);
    }

    /// The probe was answered, or could not be made.
    pub fn probe_ended(&mut self, now: Monotonic) {
        self.probe = Probe::Ended { at: now };
    }

    /// Whether both a call and a probe are unanswered: new replicas should go elsewhere.
    #[must_use]
    pub fn is_in_doubt(&self) -> bool {
        matches!(self.probe, Probe::UnderWay { .. }) && !self.at_work.is_empty()
    }

    /// For how long the oldest of the calls at work has been.
    #[must_use]
    pub fn oldest(&self, now: Monotonic) -> Duration {
        // Numbers and times go up together.
        self.at_work.first_key_value().map_or(Duration::ZERO, |(_, since)| now.since(*since))
    }

    /// To be called several times within the limit. A disk that `has_failed` is not probed: only who waits for it is to be
    /// let go.
    pub fn look(&mut self, now: Monotonic, has_failed: bool) -> DiskNews {
        let half = self.limit / 2;
        let oldest = self.oldest(now);
        let is_late = now.since(self.last_look) > self.limit / LATE_LOOK;
        self.last_look = now;
        if has_failed {
            return if oldest >= self.limit { DiskNews::Hangs } else { DiskNews::Fine };
        }
        match &mut self.probe {
            Probe::UnderWay { since } if is_late => {
                *since = now;
                DiskNews::Fine
            }
            Probe::UnderWay { since } => {
                let hangs = oldest >= self.limit && now.since(*since) >= half;
                if hangs { DiskNews::Hangs } else { DiskNews::Fine }
            }
            Probe::Ended { at } if now.since(*at) < half => DiskNews::Fine,
            Probe::Never | Probe::Ended { .. } if oldest < half => DiskNews::Fine,
            Probe::Never | Probe::Ended { .. } => {
                self.probe = Probe::UnderWay { since: now };
                DiskNews::Probe
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What happens to a disk, at a second.
    #[derive(Clone, Copy, Debug)]
    enum Event {
        /// The nth call begins, from 0.
        Begin,
        End(usize),
        ProbeEnds,
        Fails,
        /// Nobody looks from here to that second.
        Stands(u64),
    }
    use Event::{Begin, End, Fails, ProbeEnds, Stands};

    /// What is told over two minutes, and when, of a disk with a limit of 30 s that is looked at each second.
    fn news(events: &[(u64, Event)]) -> Vec<(u64, DiskNews)> {
        let mut watch = DiskWatch::new(Duration::from_secs(30));
        let (mut calls, mut has_failed, mut stands_until) = (Vec::new(), false, 0);
        let mut told = Vec::new();
        for second in 0..120 {
            let now = Monotonic(Duration::from_secs(1000 + second));
            for (_, event) in events.iter().filter(|(at, _)| *at == second) {
                match event {
                    Begin => calls.push(watch.begin(now)),
                    End(nth) => watch.end(calls[*nth]),
                    ProbeEnds => watch.probe_ended(now),
                    Fails => has_failed = true,
                    Stands(until) => stands_until = *until,
                }
            }
            if second < stands_until {
                continue;
            }
            match watch.look(now, has_failed) {
                DiskNews::Fine => {}
                DiskNews::Hangs => {
                    told.push((second, DiskNews::Hangs));
                    break;
                }
                DiskNews::Probe => told.push((second, DiskNews::Probe)),
            }
        }
        told
    }

    #[test]
    fn a_disk_is_probed_at_half_time_and_given_up_when_that_gets_no_answer_either() {
        use DiskNews::{Hangs, Probe};
        for (events, expected) in [
            (&[][..], &[][..]),
            (&[(1, Begin)], &[(16, Probe), (31, Hangs)]),
            // Answered in time, one after the other.
            (&[(1, Begin), (10, Begin), (15, End(0)), (24, End(1))], &[]),
            // The oldest counts, not the first.
            (&[(1, Begin), (9, Begin), (10, End(0))], &[(24, Probe), (39, Hangs)]),
            // Slow, but there: it is tried again and again.
            (
                &[(0, Begin), (17, ProbeEnds), (34, ProbeEnds), (60, End(0))],
                &[(15, Probe), (32, Probe), (49, Probe)],
            ),
            // It answered once, and then no more.
            (&[(0, Begin), (20, ProbeEnds)], &[(15, Probe), (35, Probe), (50, Hangs)]),
            // The call is answered, the probe never is: nobody waits, so that nothing is said before others do.
            (&[(0, Begin), (18, End(0))], &[(15, Probe)]),
            (&[(0, Begin), (18, End(0)), (50, Begin)], &[(15, Probe), (80, Hangs)]),
            (
                &[(0, Begin), (18, End(0)), (20, ProbeEnds), (50, Begin)],
                &[(15, Probe), (65, Probe), (80, Hangs)],
            ),
            // Others are answered meanwhile.
            (
                &[(0, Begin), (5, Begin), (6, End(1)), (29, Begin), (29, End(2))],
                &[(15, Probe), (30, Hangs)],
            ),
            // One that has failed is not probed, and whoever waits is let go.
            (&[(0, Begin), (3, Fails)], &[(30, Hangs)]),
            (&[(0, Begin), (3, Fails), (29, End(0))], &[]),
            // The process stood still: what is no answer then proves nothing.
            (&[(0, Begin), (20, Stands(60))], &[(15, Probe), (75, Hangs)]),
            (&[(0, Begin), (20, Stands(60)), (62, ProbeEnds), (62, End(0))], &[(15, Probe)]),
            (&[(0, Begin), (1, Stands(60))], &[(60, Probe), (75, Hangs)]),
        ] {
            assert_eq!(news(events), expected, "{events:?}");
        }
    }

    #[test]
    fn the_age_of_the_oldest_call_is_told() {
        let at = |second| Monotonic(Duration::from_secs(second));
        let mut watch = DiskWatch::new(Duration::from_secs(30));
        assert_eq!(watch.oldest(at(9)), Duration::ZERO);
        let first = watch.begin(at(1));
        let _second = watch.begin(at(4));
        assert_eq!(watch.oldest(at(9)), Duration::from_secs(8));
        watch.end(first);
        assert_eq!(watch.oldest(at(9)), Duration::from_secs(5));
        assert!(!watch.is_in_doubt());
        assert_eq!(watch.look(at(19), false), DiskNews::Probe);
        assert!(watch.is_in_doubt());
        watch.probe_ended(at(20));
        assert!(!watch.is_in_doubt());
    }
}
