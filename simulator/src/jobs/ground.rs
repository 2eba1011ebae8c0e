//! The basis of all processes: time, the event queue, chance, the network, and the trace. All calls
//! go to the JobTracker; reduces fetch from the TaskTrackers that have map outputs.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use ids::{Epoch, HostName, Monotonic, Now};
use jobtracker_core::{EndsAs, IdempotencyKey, Input, PoolVerb, Query, Reply};
use mapreduce_protocol::{AttemptId, JobId, JobSpec, Priority, RegisterTracker, TrackerHeartbeat};

use crate::jobs::faults::Fault;
use crate::random::Random;
use crate::timeline::Timeline;
use crate::weather::Weather;

/// A process; a tracker's attempts have no name of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Who {
    JobTracker,
    Tracker(usize),
    Client(usize),
}

/// One call to the JobTracker; its answer has the same number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct CallId(pub(crate) u64);

/// A request to the JobTracker.
#[derive(Clone, Debug)]
pub(crate) enum Ask {
    Register(Box<RegisterTracker>),
    Heartbeat(Box<TrackerHeartbeat>),
    Submit { spec: Box<JobSpec>, key: IdempotencyKey },
    Kill(JobId),
    SetPriority(JobId, Priority),
    EndAttempt(AttemptId, EndsAs),
    Pause(JobId, bool),
    Resume(JobId),
    Pool(&'static str, PoolVerb),
    Drain(HostName, bool),
    Undrain(HostName),
    Query(Query),
}

/// The JobTracker's answer.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) reply: Reply,
    /// The term, and how many map outputs had been withdrawn in it before the answer.
    pub(crate) withdrawn: (Epoch, usize),
}

/// What happens to an attempt's process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// It starts to run.
    Begin,
    /// It continues its work, by step number.
    Work(u64),
    /// It has exited.
    Exit,
}

/// An event.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    /// A request reaches the JobTracker.
    Asked {
        from: Who,
        call: CallId,
        ask: Box<Ask>,
    },
    /// The JobTracker learns that nobody waits for the answer any more.
    Gone(CallId),
    Answered {
        to: Who,
        call: CallId,
        answer: Box<Answer>,
    },
    /// The call gets no answer.
    CallFailed {
        to: Who,
        call: CallId,
    },
    /// A call of the JobTracker reaches the chunk store, by number.
    StoreAsked(u64),
    /// The chunk store's answer reaches the JobTracker.
    StoreAnswered {
        life: u32,
        input: Box<Input>,
    },
    /// The journal is on disk up to here.
    Synced {
        life: u32,
        upto: usize,
    },
    /// A core's timer that was set for this time.
    Timeout {
        who: Who,
        life: u32,
        at: Monotonic,
    },
    /// A step of an attempt's process.
    Process {
        tracker: usize,
        life: u32,
        attempt: AttemptId,
        step: Step,
    },
    /// A tracker was asked for a map output that it does not have.
    Missed {
        tracker: usize,
        output: AttemptId,
    },
    /// A client takes its next step, or the operator, whose number follows theirs.
    Errand(usize),
    Begun(Fault),
    /// A process starts again.
    Started(Who),
}

impl Event {
    /// The process that the event is for: the event waits while that process is suspended.
    pub(crate) fn whose(&self) -> Option<Who> {
        match self {
            Self::Asked { .. }
            | Self::Gone(_)
            | Self::StoreAnswered { .. }
            | Self::Synced { .. } => Some(Who::JobTracker),
            Self::Answered { to, .. } | Self::CallFailed { to, .. } => Some(*to),
            Self::Timeout { who, .. } => Some(*who),
            Self::Process { tracker, .. } | Self::Missed { tracker, .. } => {
                Some(Who::Tracker(*tracker))
            }
            Self::Errand(client) => Some(Who::Client(*client)),
            Self::StoreAsked(_) | Self::Begun(_) | Self::Started(_) => None,
        }
    }
}

/// The basis of the world of jobs.
pub(crate) struct Ground {
    timeline: Timeline<Event>,
    pub(crate) random: Random,
    pub(crate) weather: Weather,
    /// Pairs where the second process does not hear the first.
    cut: BTreeSet<(Who, Who)>,
    next_call: u64,
}

impl Ground {
    pub(crate) fn new(seed: u64, traced: bool) -> Self {
        Self {
            timeline: Timeline::new(traced),
            random: Random::new(seed),
            weather: Weather::default(),
            cut: BTreeSet::new(),
            next_call: 0,
        }
    }

    pub(crate) fn now(&self) -> Now {
        self.timeline.now()
    }

    /// Adds a line to the trace.
    pub(crate) fn say(&mut self, line: fmt::Arguments<'_>) {
        self.timeline.say(line);
    }

    pub(crate) fn take_trace(&mut self) -> Vec<String> {
        self.timeline.take_trace()
    }

    pub(crate) fn at(&mut self, at: Monotonic, event: Event) {
        self.timeline.at(&mut self.random, at, event);
    }

    pub(crate) fn after(&mut self, pause: Duration, event: Event) {
        self.at(self.now().monotonic + pause, event);
    }

    /// Takes the next event and advances the clock to it.
    pub(crate) fn next(&mut self) -> Option<Event> {
        self.timeline.next()
    }

    /// Postpones an event; those postponed to the same time keep their order.
    pub(crate) fn put_off(&mut self, until: Monotonic, event: Event) {
        self.timeline.put_off(until, event);
    }

    pub(crate) fn n_waiting(&self) -> usize {
        self.timeline.n_waiting()
    }

    fn delay(&mut self) -> Duration {
        match self.random.chance(self.weather.slow) {
            true => self.random.millis(20..4000),
            false => self.random.millis(0..4),
        }
    }

    /// A duplicate may arrive long after everything that the first message led to.
    fn delay_of_copy(&mut self) -> Duration {
        match self.random.chance(300) {
            true => self.random.millis(20..8000),
            false => self.delay(),
        }
    }

    /// Messages of `from` no longer reach `to`.
    pub(crate) fn cut(&mut self, from: Who, to: Who) {
        self.cut.insert((from, to));
    }

    pub(crate) fn heal(&mut self, from: Who, to: Who) {
        self.cut.remove(&(from, to));
    }

    pub(crate) fn heal_all(&mut self) {
        self.cut.clear();
    }

    /// Whether both hear each other.
    pub(crate) fn talk(&self, a: Who, b: Who) -> bool {
        !self.cut.contains(&(a, b)) && !self.cut.contains(&(b, a))
    }

    fn arrives(&mut self, from: Who, to: Who) -> bool {
        !self.cut.contains(&(from, to)) && !self.random.chance(self.weather.lost)
    }

    /// Calls the JobTracker. For the caller only the first [`Event::Answered`] or
    /// [`Event::CallFailed`] counts; a failed call may still have taken effect.
    pub(crate) fn call(&mut self, from: Who, ask: Ask, limit: Duration) -> CallId {
        self.next_call += 1;
        let call = CallId(self.next_call);
        self.after(limit, Event::CallFailed { to: from, call });
        if self.random.chance(self.weather.broken) {
            let breaks = self.random.millis(0..2000);
            self.after(breaks, Event::CallFailed { to: from, call });
            let noticed = self.random.millis(0..200);
            self.after(breaks + noticed, Event::Gone(call));
        }
        let doubled = self.random.chance(self.weather.doubled);
        if doubled && self.arrives(from, Who::JobTracker) {
            let delay = self.delay_of_copy();
            let ask = Box::new(ask.clone());
            self.after(delay, Event::Asked { from, call, ask });
        }
        if self.arrives(from, Who::JobTracker) {
            let delay = self.delay();
            self.after(delay, Event::Asked { from, call, ask: Box::new(ask) });
        }
        call
    }

    /// The caller has given up, of which the JobTracker may or may not hear.
    pub(crate) fn give_up(&mut self, from: Who, call: CallId) {
        if self.arrives(from, Who::JobTracker) && self.random.chance(800) {
            let delay = self.delay();
            self.after(delay, Event::Gone(call));
        }
    }

    pub(crate) fn answer(&mut self, to: Who, call: CallId, answer: Answer) {
        if self.arrives(Who::JobTracker, to) {
            let delay = self.delay();
            self.after(delay, Event::Answered { to, call, answer: Box::new(answer) });
        }
    }

    /// The connection is refused.
    pub(crate) fn refuse(&mut self, to: Who, call: CallId) {
        if self.talk(Who::JobTracker, to) {
            let delay = self.delay();
            self.after(delay, Event::CallFailed { to, call });
        }
    }
}

/// The host of a tracker.
pub(crate) fn host(tracker: usize) -> HostName {
    format!("host-{tracker}").parse().expect("a host's name")
}

/// The tracker on a host of this world.
pub(crate) fn tracker_on(host: &HostName) -> usize {
    let number = host.as_str().strip_prefix("host-").and_then(|it| it.parse().ok());
    number.expect("hosts have the names of their trackers")
}
