//! What a reduce has fetched, what it may fetch next and from whom: pure, with time and chance as
//! arguments. `fetch.rs` does what it says.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ids::{HostName, Monotonic};
use mapreduce_protocol::shuffle::MAPS_PER_REQUEST_MAX;
use mapreduce_protocol::{AttemptId, Failure, FailureKind, MapEvent, TaskKind};

use super::failure::{bad_job, failure};

/// Limit of the pause between two tries: who was cut off is asked again soon after it is back.
const RETRY_MAX: Duration = Duration::from_secs(3);

/// Where a map's output is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MapSource {
    /// Whose output.
    pub(crate) attempt: AttemptId,
    /// The host that serves it.
    pub(crate) host: HostName,
    /// `host:port` there.
    pub(crate) address: String,
    digest: String,
}

/// One map, as this reduce sees it.
#[derive(Clone, Debug)]
enum State {
    /// Its output is not there, or no longer.
    Unknown,
    /// To be fetched.
    Wanted { source: MapSource, failures: u32, not_before: Monotonic },
    /// On its way. Newer news wait for how it ends.
    Fetching { source: MapSource, failures: u32, newer: Option<News> },
    /// Here; it may be merged already.
    Fetched { digest: String },
}

#[derive(Clone, Debug)]
enum News {
    Elsewhere(MapSource),
    Withdrawn,
}

/// Maps to ask one tracker for in one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Batch {
    /// `host:port`.
    pub(crate) address: String,
    /// What to ask for, by ordinal.
    pub(crate) maps: Vec<AttemptId>,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct FetchPlan {
    maps: Vec<State>,
    fetched: u32,
    /// Trackers that are being asked.
    busy: BTreeSet<String>,
    retry: Duration,
    /// Which tracker to begin with: reduces that start together spread over all.
    turn: usize,
}

impl FetchPlan {
    /// Nothing known of `n_maps` maps.
    pub(crate) fn new(n_maps: u32, retry: Duration, turn: usize) -> Self {
        let maps = vec![State::Unknown; n_maps as usize];
        Self { maps, fetched: 0, busy: BTreeSet::new(), retry, turn }
    }

    /// Segments that are here.
    pub(crate) fn fetched(&self) -> u32 {
        self.fetched
    }

    /// Whether all are here.
    pub(crate) fn is_complete(&self) -> bool {
        self.fetched as usize == self.maps.len()
    }

    /// News of the job's map outputs. Fails when an output that was fetched has been replaced by a different
    /// one: then this attempt's input was never any sequential run's.
    pub(crate) fn learn(&mut self, now: Monotonic, event: MapEvent) -> Result<(), Failure> {
        let attempt = match &event {
            MapEvent::Available { attempt, .. } | MapEvent::Withdrawn { attempt } => *attempt,
        };
        let n_maps = self.maps.len();
        let state = match self.maps.get_mut(attempt.task.index as usize) {
            Some(state) if attempt.task.kind == TaskKind::Map => state,
            _ => return Err(bad_job(format!("news of {attempt}, but the job has {n_maps} maps"))),
        };
        match event {
            MapEvent::Available { attempt, host, address, digest } => {
                available(state, MapSource { attempt, host, address, digest }, now)
            }
            MapEvent::Withdrawn { attempt } => {
                withdrawn(state, attempt);
                Ok(())
            }
        }
    }

    /// The next request, to a tracker that is not being asked already; it counts as asked until
    /// [`FetchPlan::ended`].
    pub(crate) fn next_batch(&mut self, now: Monotonic) -> Option<Batch> {
        let mut ready: BTreeMap<&str, Vec<AttemptId>> = BTreeMap::new();
        for state in &self.maps {
            if let State::Wanted { source, not_before, .. } = state
                && *not_before <= now
                && !self.busy.contains(&source.address)
            {
                let maps = ready.entry(&source.address).or_default();
                if maps.len() < MAPS_PER_REQUEST_MAX {
                    maps.push(source.attempt);
                }
            }
        }
        let n = ready.len().max(1);
        let (address, maps) = ready.into_iter().nth(self.turn % n)?;
        let batch = Batch { address: address.to_owned(), maps };
        self.turn = self.turn.wrapping_add(1);
        for attempt in &batch.maps {
            let state = &mut self.maps[attempt.task.index as usize];
            if let State::Wanted { source, failures, .. } = state {
                let (source, failures) = (source.clone(), *failures);
                *state = State::Fetching { source, failures, newer: None };
            }
        }
        self.busy.insert(batch.address.clone());
        Some(batch)
    }

    /// A segment has arrived whole; `false` if it is not wanted any more.
    pub(crate) fn arrived(&mut self, attempt: AttemptId, now: Monotonic) -> bool {
        let state = &mut self.maps[attempt.task.index as usize];
        let State::Fetching { source, newer, .. } = state else { return false };
        if source.attempt != attempt {
            return false;
        }
        if let Some(News::Elsewhere(other)) = newer
            && other.digest != source.digest
        {
            // Nothing of the old output was used yet: the new one takes its place.
            *state = State::Wanted { source: other.clone(), failures: 0, not_before: now };
            return false;
        }
        *state = State::Fetched { digest: std::mem::take(&mut source.digest) };
        self.fetched += 1;
        true
    }

    /// A segment did not arrive. `chance` is any number: it varies the pause. Returns whether it is tried
    /// again at the same place, and so is worth a report.
    pub(crate) fn failed(&mut self, attempt: AttemptId, now: Monotonic, chance: u64) -> bool {
        let state = &mut self.maps[attempt.task.index as usize];
        let State::Fetching { source, failures, newer } = state else { return false };
        if source.attempt != attempt {
            return false;
        }
        let (next, report) = match newer.take() {
            Some(News::Withdrawn) => (State::Unknown, false),
            Some(News::Elsewhere(source)) => {
                (State::Wanted { source, failures: 0, not_before: now }, false)
            }
            None => {
                let not_before = Monotonic(now.0 + pause(self.retry, *failures, chance));
                let failures = failures.saturating_add(1);
                (State::Wanted { source: source.clone(), failures, not_before }, true)
            }
        };
        *state = next;
        report
    }

    /// The request to `address` is over: what of it did not arrive was given to [`FetchPlan::failed`].
    pub(crate) fn ended(&mut self, address: &str) {
        self.busy.remove(address);
    }

    /// When to ask for the next batch again, if nothing else happens before.
    pub(crate) fn poll_timeout(&self) -> Option<Monotonic> {
        let waits = |state: &State| match state {
            State::Wanted { source, not_before, .. } if !self.busy.contains(&source.address) => {
                Some(*not_before)
            }
            _ => None,
        };
        self.maps.iter().filter_map(waits).min()
    }
}

fn available(state: &mut State, new: MapSource, now: Monotonic) -> Result<(), Failure> {
    match state {
        State::Fetched { digest } if *digest != new.digest => Err(changed(new.attempt)),
        State::Fetched { .. } => Ok(()),
        State::Fetching { source, newer, .. } => {
            *newer = (*source != new).then_some(News::Elsewhere(new));
            Ok(())
        }
        State::Wanted { source, .. } if *source == new => Ok(()),
        State::Unknown | State::Wanted { .. } => {
            *state = State::Wanted { source: new, failures: 0, not_before: now };
            Ok(())
        }
    }
}

fn withdrawn(state: &mut State, attempt: AttemptId) {
    match state {
        State::Wanted { source, .. } if source.attempt == attempt => *state = State::Unknown,
        State::Fetching { source, newer, .. } => match newer {
            Some(News::Elsewhere(other)) if other.attempt == attempt => {
                *newer = Some(News::Withdrawn);
            }
            None if source.attempt == attempt => *newer = Some(News::Withdrawn),
            _ => {}
        },
        State::Unknown | State::Wanted { .. } | State::Fetched { .. } => {}
    }
}

/// A map is not a function of its input.
fn changed(new: AttemptId) -> Failure {
    let message = format!(
        "{new}, run because an earlier attempt's output was lost, made other bytes than that, which this \
         reduce has read: all reduces start again. The map must depend on its input alone, not on time, \
         chance, the host or the order of a hash table"
    );
    failure(FailureKind::MapOutputChanged { map_attempt: new }, message)
}

/// Between half and the whole of `retry` × 2^failures, at most [`RETRY_MAX`].
fn pause(retry: Duration, failures: u32, chance: u64) -> Duration {
    let full = retry.saturating_mul(1 << failures.min(16)).min(RETRY_MAX);
    let half = full / 2;
    let half_us = u64::try_from(half.as_micros()).unwrap_or(u64::MAX).max(1);
    half + Duration::from_micros(chance % half_us)
}

#[cfg(test)]
mod tests {
    use mapreduce_protocol::JobId;

    use super::*;

    const RETRY: Duration = Duration::from_millis(100);

    fn map(index: u32, number: u32) -> AttemptId {
        JobId { date: 20_261_122, ordinal: 1 }.task(TaskKind::Map, index).attempt(number)
    }

    fn available(index: u32, number: u32, host: &str, digest: &str) -> MapEvent {
        MapEvent::Available {
            attempt: map(index, number),
            host: host.parse().unwrap(),
            address: format!("{host}:1"),
            digest: digest.to_owned(),
        }
    }

    fn gone(index: u32, number: u32) -> MapEvent {
        MapEvent::Withdrawn { attempt: map(index, number) }
    }

    fn at(ms: u64) -> Monotonic {
        Monotonic(Duration::from_millis(ms))
    }

    fn plan(n_maps: u32, events: Vec<MapEvent>) -> FetchPlan {
        let mut plan = FetchPlan::new(n_maps, RETRY, 0);
        for event in events {
            plan.learn(at(0), event).unwrap();
        }
        plan
    }

    fn batch(address: &str, maps: &[AttemptId]) -> Option<Batch> {
        Some(Batch { address: format!("{address}:1"), maps: maps.to_vec() })
    }

    #[test]
    fn a_tracker_is_asked_for_all_its_maps_at_once_and_by_one_request_at_a_time() {
        let events =
            vec![available(0, 0, "a", "x"), available(1, 0, "b", "x"), available(2, 0, "a", "x")];
        let mut plan = plan(4, events);
        assert_eq!(plan.next_batch(at(0)), batch("a", &[map(0, 0), map(2, 0)]));
        assert_eq!(plan.next_batch(at(0)), batch("b", &[map(1, 0)]));
        plan.learn(at(0), available(3, 0, "a", "x")).unwrap();
        assert_eq!(plan.next_batch(at(0)), None);
        for attempt in [map(0, 0), map(1, 0), map(2, 0)] {
            assert!(plan.arrived(attempt, at(0)));
        }
        plan.ended("a:1");
        assert_eq!(plan.next_batch(at(0)), batch("a", &[map(3, 0)]));
        assert!(plan.arrived(map(3, 0), at(0)));
        assert!(plan.is_complete());
    }

    #[test]
    fn reduces_begin_with_different_trackers() {
        let first = |turn| {
            let mut plan = FetchPlan::new(2, RETRY, turn);
            plan.learn(at(0), available(0, 0, "a", "x")).unwrap();
            plan.learn(at(0), available(1, 0, "b", "x")).unwrap();
            plan.next_batch(at(0)).unwrap().address
        };
        assert_eq!((first(0), first(1), first(2)), ("a:1".into(), "b:1".into(), "a:1".into()));
    }

    #[test]
    fn failures_are_tried_again_after_pauses_that_double_up_to_three_seconds() {
        let mut plan = plan(1, vec![available(0, 0, "a", "x")]);
        let mut now = at(0);
        for n in 0..12_u32 {
            assert!(plan.next_batch(now).is_some());
            assert!(plan.failed(map(0, 0), now, 12_345_678_901));
            plan.ended("a:1");
            let until = plan.poll_timeout().unwrap();
            let full = RETRY.saturating_mul(1 << n).min(RETRY_MAX);
            let waited = until.since(now);
            assert!(waited >= full / 2 && waited <= full, "{n}: {waited:?} of {full:?}");
            assert_eq!(plan.next_batch(Monotonic(until.0 - Duration::from_nanos(1))), None);
            now = until;
        }
    }

    #[test]
    fn a_withdrawn_output_is_forgotten_unless_it_was_fetched() {
        let mut plan = plan(2, vec![available(0, 0, "a", "x"), available(1, 0, "a", "y")]);
        plan.next_batch(at(0)).unwrap();
        assert!(plan.arrived(map(0, 0), at(0)));
        plan.learn(at(0), gone(0, 0)).unwrap();
        plan.learn(at(0), gone(1, 0)).unwrap();
        assert_eq!(plan.fetched(), 1);
        assert!(!plan.failed(map(1, 0), at(0), 0), "nobody need hear of a lost output twice");
        plan.ended("a:1");
        assert_eq!((plan.next_batch(at(99)), plan.poll_timeout()), (None, None));
        plan.learn(at(99), available(1, 1, "b", "z")).unwrap();
        assert_eq!(plan.next_batch(at(99)), batch("b", &[map(1, 1)]));
    }

    #[test]
    fn an_old_withdrawal_does_not_hide_a_newer_output() {
        let mut plan =
            plan(1, vec![available(0, 0, "a", "x"), available(0, 1, "b", "x"), gone(0, 0)]);
        assert_eq!(plan.next_batch(at(0)), batch("b", &[map(0, 1)]));
    }

    #[test]
    fn news_during_a_fetch_wait_for_its_end() {
        let fetching = || {
            let mut plan = plan(1, vec![available(0, 0, "a", "x")]);
            plan.next_batch(at(0)).unwrap();
            plan
        };
        let mut same = fetching();
        same.learn(at(0), available(0, 1, "b", "x")).unwrap();
        assert!(same.arrived(map(0, 0), at(0)), "an equal output is as good");

        let mut other = fetching();
        other.learn(at(0), available(0, 1, "b", "y")).unwrap();
        assert!(!other.arrived(map(0, 0), at(0)), "the old output was not used yet");
        assert_eq!(other.next_batch(at(0)), batch("b", &[map(0, 1)]));
        assert!(!other.arrived(map(0, 0), at(0)), "an echo of the old request");
        assert!(other.arrived(map(0, 1), at(0)));

        let mut lost = fetching();
        lost.learn(at(0), available(0, 1, "b", "y")).unwrap();
        assert!(!lost.failed(map(0, 0), at(0), 0));
        assert_eq!(lost.next_batch(at(0)), batch("b", &[map(0, 1)]), "at once");
    }

    #[test]
    fn another_output_after_the_old_one_was_fetched_ends_the_attempt() {
        let mut plan = plan(1, vec![available(0, 0, "a", "x")]);
        plan.next_batch(at(0)).unwrap();
        assert!(plan.arrived(map(0, 0), at(0)));
        plan.learn(at(0), available(0, 1, "b", "x")).unwrap();
        let failure = plan.learn(at(0), available(0, 2, "c", "y")).unwrap_err();
        assert_eq!(failure.kind, FailureKind::MapOutputChanged { map_attempt: map(0, 2) });
        assert!(failure.message.contains("its input alone"), "{}", failure.message);
    }

    #[test]
    fn news_of_a_map_that_the_job_does_not_have_are_refused() {
        let mut plan = plan(1, vec![]);
        let failure = plan.learn(at(0), available(1, 0, "a", "x")).unwrap_err();
        assert_eq!(failure.kind, FailureKind::BadJob);
    }
}
