//! The event queue and the trace: events in the order of their times, and in random order at equal
//! times.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use ids::{Monotonic, Now, UnixMillis};

use crate::random::Random;

/// The wall clock at the start.
const WALL_START: UnixMillis = UnixMillis(1_800_000_000_000);
/// Limit on the lines of a trace.
const TRACE_LINES_MAX: usize = 200_000;

/// The event queue of a world, with its clock and trace.
pub(crate) struct Timeline<E> {
    now: Monotonic,
    queue: BTreeMap<(Monotonic, u64, u64), E>,
    n_events: u64,
    trace: Option<Vec<String>>,
}

impl<E> Timeline<E> {
    pub(crate) fn new(traced: bool) -> Self {
        Self {
            now: Monotonic(Duration::from_secs(1)),
            queue: BTreeMap::new(),
            n_events: 0,
            trace: traced.then(Vec::new),
        }
    }

    pub(crate) fn now(&self) -> Now {
        let Monotonic(time) = self.now;
        Now { monotonic: self.now, wall: WALL_START + time }
    }

    /// Adds a line to the trace.
    pub(crate) fn say(&mut self, line: fmt::Arguments<'_>) {
        let now = self.now.0;
        if let Some(trace) = self.trace.as_mut().filter(|trace| trace.len() < TRACE_LINES_MAX) {
            trace.push(format!("{:>10.3} ms {line}", now.as_secs_f64() * 1e3));
        }
    }

    pub(crate) fn take_trace(&mut self) -> Vec<String> {
        self.trace.take().unwrap_or_default()
    }

    pub(crate) fn at(&mut self, random: &mut Random, at: Monotonic, event: E) {
        let tie = random.next();
        self.n_events += 1;
        self.queue.insert((at.max(self.now), tie, self.n_events), event);
    }

    /// Takes the next event and advances the clock to it.
    pub(crate) fn next(&mut self) -> Option<E> {
        let ((at, ..), event) = self.queue.pop_first()?;
        self.now = at;
        Some(event)
    }

    /// Postpones an event; those postponed to the same time keep their order.
    pub(crate) fn put_off(&mut self, until: Monotonic, event: E) {
        self.n_events += 1;
        self.queue.insert((until, 0, self.n_events), event);
    }

    /// The time of the next event.
    pub(crate) fn soonest(&self) -> Option<Monotonic> {
        self.queue.first_key_value().map(|((at, ..), _)| *at)
    }

    /// Advances the clock; no event may be skipped.
    pub(crate) fn pass(&mut self, to: Monotonic) {
        assert!(self.soonest().is_none_or(|next| to <= next), "no event is skipped");
        self.now = self.now.max(to);
    }

    pub(crate) fn n_waiting(&self) -> usize {
        self.queue.len()
    }
}
