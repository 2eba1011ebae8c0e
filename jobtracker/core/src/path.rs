//! A job's critical path: from the attempt that ended last back to what it had to wait for, and so
//! on to the submission. A pure function of known attempts, called by the edge.

use ids::{HostName, UnixMillis};
use mapreduce_protocol::{After, AttemptState, AttemptStatus, PathLink, TaskKind};

/// An attempt did not wait for a slot that had been free for longer than this.
const TAKEN_WITHIN_MS: u64 = 2000;
/// Limit on the links of a path.
const LINKS_MAX: usize = 1000;

/// The critical path of a job with these attempts, first link first.
#[must_use]
pub fn critical_path(attempts: &[AttemptStatus]) -> Vec<PathLink> {
    let path = Path { attempts: attempts.iter().filter_map(Timed::of).collect() };
    path.links()
}

/// An attempt whose times are known.
#[derive(Clone, Copy)]
struct Timed<'a> {
    status: &'a AttemptStatus,
    began: UnixMillis,
    /// Absent while it runs.
    ended: Option<UnixMillis>,
}

impl<'a> Timed<'a> {
    fn of(status: &'a AttemptStatus) -> Option<Self> {
        Some(Self { status, began: status.began_at?, ended: status.ended_at })
    }

    fn kind(&self) -> TaskKind {
        self.status.attempt.task.kind
    }

    fn has_won(&self) -> bool {
        self.status.state == AttemptState::Succeeded
    }
}

struct Path<'a> {
    attempts: Vec<Timed<'a>>,
}

impl<'a> Path<'a> {
    fn links(&self) -> Vec<PathLink> {
        let mut links = Vec::new();
        let mut next = self.last();
        while let Some(here) = next {
            let (after, before) = self.before(here);
            links.push(PathLink {
                attempt: here.status.attempt,
                host: here.status.host.clone(),
                state: here.status.state,
                began_at: here.began,
                ended_at: here.ended,
                after,
            });
            // Times from several clocks may lead round in circles.
            next = before.filter(|before| before.began < here.began && links.len() < LINKS_MAX);
        }
        links.reverse();
        links
    }

    /// The earliest attempt that still runs, or else the winner that ended last.
    fn last(&self) -> Option<Timed<'a>> {
        let running = self.attempts.iter().filter(|it| it.status.state == AttemptState::Running);
        let won = self.attempts.iter().filter(|it| it.has_won() && it.ended.is_some());
        let last_won = || won.max_by_key(|it| (it.ended, it.status.attempt));
        running.min_by_key(|it| (it.began, it.status.attempt)).or_else(last_won).copied()
    }

    fn before(&self, here: Timed<'a>) -> (After, Option<Timed<'a>>) {
        let last_map = || self.latest(|it| it.kind() == TaskKind::Map && it.has_won());
        if here.kind() == TaskKind::Reduce
            && let Some(map) = last_map().filter(|map| map.ended > Some(here.began))
        {
            return (After::Maps, Some(map));
        }
        let task = here.status.attempt.task;
        let ended_before = |it: &Timed<'_>| it.ended.is_some_and(|ended| ended <= here.began);
        let other_try = |it: &Timed<'_>| it.status.attempt.task == task && ended_before(it);
        if let Some(other) = self.latest(other_try) {
            return (After::OtherTry, Some(other));
        }
        let host: &HostName = &here.status.host;
        match self.latest(|it| it.status.host == *host && ended_before(it)) {
            Some(slot) if slot.ended.is_some_and(|it| here.began.0 - it.0 <= TAKEN_WITHIN_MS) => {
                (After::Slot, Some(slot))
            }
            Some(_) | None => (After::Submission, None),
        }
    }

    /// The last of the wanted attempts to end.
    fn latest(&self, wanted: impl Fn(&Timed<'_>) -> bool) -> Option<Timed<'a>> {
        let ended = self.attempts.iter().filter(|it| it.ended.is_some() && wanted(it));
        ended.max_by_key(|it| (it.ended, it.status.attempt)).copied()
    }
}

#[cfg(test)]
mod tests {
    use mapreduce_protocol::JobId;

    use super::*;

    const JOB: JobId = JobId { date: 20_261_122, ordinal: 1 };

    /// `m0.1 h1 10-20 F`: attempt 1 of map 0 on h1, from second 10 to 20, failed. Without a letter
    /// it won; without an end it runs.
    fn attempt(text: &str) -> AttemptStatus {
        let words: Vec<_> = text.split(' ').collect();
        let (index, number) = words[0][1..].split_once('.').unwrap();
        let kind = if words[0].starts_with('m') { TaskKind::Map } else { TaskKind::Reduce };
        let (began, ended) = words[2].split_once('-').unwrap();
        let time = |text: &str| text.parse().ok().map(|second: u64| UnixMillis(second * 1000));
        AttemptStatus {
            attempt: JOB.task(kind, index.parse().unwrap()).attempt(number.parse().unwrap()),
            host: words[1].parse().unwrap(),
            address: None,
            state: match words.get(3) {
                Some(&"F") => AttemptState::Failed,
                Some(&"K") => AttemptState::Killed,
                _ if ended.is_empty() => AttemptState::Running,
                _ => AttemptState::Succeeded,
            },
            failure: None,
            split: None,
            place: None,
            status: None,
            began_at: time(began),
            ended_at: time(ended),
        }
    }

    fn path(attempts: &[&str]) -> Vec<String> {
        let attempts: Vec<_> = attempts.iter().map(|text| attempt(text)).collect();
        let links = critical_path(&attempts).into_iter();
        links
            .map(|link| {
                let id = link.attempt.to_string();
                let (_, rest) = id.split_at("attempt_20261122_0001_".len());
                format!("{rest} {:?}", link.after)
            })
            .collect()
    }

    #[test]
    fn a_path_goes_back_by_maps_slots_and_tries_to_the_submission() {
        for (attempts, expected) in [
            (&[][..], &[][..]),
            (&["m0.0 a 1-9"], &["m_000000_0 Submission"]),
            (
                &["m0.0 a 1-9", "m1.0 a 9-12", "m2.0 b 1-10"],
                &["m_000000_0 Submission", "m_000001_0 Slot"],
            ),
            // The slot had been free for long.
            (&["m0.0 a 1-9", "m1.0 a 19-22"], &["m_000001_0 Submission"]),
            (
                &["m0.0 a 1-5 F", "m0.1 b 6-20", "m1.0 b 1-6"],
                &["m_000000_0 Submission", "m_000000_1 OtherTry"],
            ),
            (
                &["m0.0 a 1-9", "m1.0 b 1-20", "r0.0 a 2-25", "r1.0 b 2-24"],
                &["m_000001_0 Submission", "r_000000_0 Maps"],
            ),
            // It waited for a slot rather than for maps.
            (
                &["m0.0 a 1-9", "r0.0 a 9-25", "r1.0 a 25-30"],
                &["m_000000_0 Submission", "r_000000_0 Slot", "r_000001_0 Slot"],
            ),
            (&["m0.0 a 1-9", "m1.0 a 9-", "m2.0 b 3-"], &["m_000002_0 Submission"]),
            (&["m0.0 a 1-9 K", "m0.0 b 1-8"], &["m_000000_0 Submission"]),
        ] {
            assert_eq!(path(attempts), expected, "{attempts:?}");
        }
    }
}
