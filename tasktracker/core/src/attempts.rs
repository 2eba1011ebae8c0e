//! One attempt on this host: its phases, its signs of life, how many map events it has been told.
//! When it is started or ended is decided in `lib.rs`, from what the JobTracker says.

use std::time::Duration;

use ids::Monotonic;
use mapreduce_protocol::{
    AttemptId, FailedRecord, Failure, FailureKind, Launch, MapEvent, TaskKind,
};

use crate::disks::DiskNumber;
use crate::hearsay;
use crate::map_events::MapEventLists;
use crate::usage::{HostLimits, Limits};

/// Time that a process has to exit after its last word.
pub(crate) const EXIT_GRACE: Duration = Duration::from_secs(5);

/// Map events in one message to a reduce; keeps it far below the channel's limit.
pub(crate) const MAP_EVENTS_PER_MESSAGE_MAX: usize = 5000;

/// Where an attempt stands.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Phase {
    /// No slot is free.
    Waiting,
    /// Its process is being prepared.
    Starting {
        /// Since when.
        since: Monotonic,
    },
    /// Its process runs.
    Running {
        /// The last sign of life.
        heard: Monotonic,
    },
    /// Its process is being killed; what it still says does not count.
    Killing {
        /// What to report when it is gone.
        failure: Failure,
    },
    /// It has said that it failed, and exits.
    Leaving {
        /// What to report when it is gone.
        failure: Failure,
        /// Whether that is only believed if something is found until then that speaks for it.
        is_doubted: bool,
        /// When it said so.
        since: Monotonic,
    },
    /// Its success is reported, and it exits.
    Reported {
        /// When it said so.
        since: Monotonic,
    },
}

/// One attempt.
#[derive(Debug)]
pub(crate) struct Attempt {
    launch: Launch,
    pub(crate) phase: Phase,
    pub(crate) progress: f32,
    /// What it said last of itself.
    pub(crate) status: Option<String>,
    /// The record that it was at when its process ended, where its job may leave some out.
    pub(crate) record: Option<FailedRecord>,
    /// The disk that it works on, once it is started.
    pub(crate) disk: Option<DiskNumber>,
    /// Index in the job's list of the next map event it is to be told.
    next_event: usize,
}

impl Attempt {
    pub(crate) fn new(launch: Launch) -> Self {
        let (phase, progress, status) = (Phase::Waiting, 0.0, None);
        Self { launch, phase, progress, status, record: None, disk: None, next_event: 0 }
    }

    /// Gives it a slot, and a disk.
    pub(crate) fn start(&mut self, now: Monotonic, disk: DiskNumber) -> Launch {
        self.disk = Some(disk);
        self.phase = Phase::Starting { since: now };
        self.launch.clone()
    }

    pub(crate) fn started(&mut self, now: Monotonic) {
        if matches!(self.phase, Phase::Starting { .. }) {
            self.phase = Phase::Running { heard: now };
        }
    }

    /// Notes a sign of life; whether what it says counts.
    pub(crate) fn hears(&mut self, now: Monotonic) -> bool {
        let counts = matches!(self.phase, Phase::Running { .. });
        if counts {
            self.phase = Phase::Running { heard: now };
        }
        counts
    }

    pub(crate) fn advance(&mut self, progress: f32) {
        if progress.is_finite() {
            self.progress = progress.clamp(0.0, 1.0);
        }
    }

    /// Notes that it is to end; whether its process must now be killed.
    pub(crate) fn kill(&mut self, failure: Failure) -> bool {
        match self.phase {
            Phase::Starting { .. } | Phase::Running { .. } => {
                self.phase = Phase::Killing { failure };
                true
            }
            Phase::Waiting
            | Phase::Killing { .. }
            | Phase::Leaving { .. }
            | Phase::Reported { .. } => false,
        }
    }

    /// Whether it has neither said its last word nor been told to end.
    pub(crate) fn may_be_ended(&self) -> bool {
        matches!(self.phase, Phase::Waiting | Phase::Starting { .. } | Phase::Running { .. })
    }

    /// What it may use on a host with these limits.
    pub(crate) fn limits(&self, host: &HostLimits) -> Limits {
        host.of(&self.launch.job.limits)
    }

    /// Notes that it has used more than it may, or has lost its disk; whether its process must now be killed. Also the
    /// cause of what it has just complained of: it may have been told that there is no memory.
    pub(crate) fn fails_for(&mut self, failure: Failure) -> bool {
        if let Phase::Leaving { failure: told, is_doubted, .. } = &mut self.phase {
            let message = format!("{}; its last word: {}", failure.message, told.message);
            *told = Failure { kind: failure.kind, message };
            *is_doubted = false;
            return false;
        }
        self.kill(failure)
    }

    /// How long it may be silent, on a host that says `otherwise` where its job does not.
    fn silence(&self, otherwise: Duration) -> Duration {
        self.launch.job.limits.silence.map_or(otherwise, |silence| silence.0)
    }

    /// When it has been silent for too long.
    pub(crate) fn deadline(&self, task_timeout: Duration) -> Option<Monotonic> {
        let silence = self.silence(task_timeout);
        match self.phase {
            Phase::Waiting | Phase::Killing { .. } => None,
            Phase::Starting { since } => Some(since + silence),
            Phase::Running { heard } => Some(heard + silence),
            Phase::Leaving { since, .. } | Phase::Reported { since } => Some(since + EXIT_GRACE),
        }
    }

    /// Past the deadline: the reason for which its process must be killed.
    pub(crate) fn expire(&mut self, now: Monotonic, task_timeout: Duration) -> Option<String> {
        if self.deadline(task_timeout).is_none_or(|deadline| now < deadline) {
            return None;
        }
        if let Phase::Leaving { .. } | Phase::Reported { .. } = self.phase {
            // Once: it can't be late again before it is gone.
            self.restart_grace(now);
            return Some("it did not exit after its last word".to_owned());
        }
        let key = match self.launch.job.limits.silence {
            Some(_) => "limits.silence of its job",
            None => "tasktracker.task_timeout",
        };
        let message = format!(
            "no sign of life for {} s ({key}): a record, a line of output, or a line \
             `reporter:status:…` is one",
            self.silence(task_timeout).as_secs_f32()
        );
        let failure = Failure { kind: FailureKind::TimedOut, message: message.clone() };
        self.kill(failure).then_some(message)
    }

    fn restart_grace(&mut self, now: Monotonic) {
        if let Phase::Leaving { since, .. } | Phase::Reported { since } = &mut self.phase {
            *since = now;
        }
    }

    pub(crate) fn takes_slot(&self) -> bool {
        !matches!(self.phase, Phase::Waiting | Phase::Reported { .. })
    }

    pub(crate) fn is_reported(&self) -> bool {
        matches!(self.phase, Phase::Reported { .. })
    }

    /// Whether its success leaves a file that reduces fetch from.
    pub(crate) fn leaves_map_output(&self) -> bool {
        self.launch.attempt.task.kind == TaskKind::Map && self.launch.job.n_reduces > 0
    }

    /// Whether it is a reduce that fetches the output of `map`.
    pub(crate) fn fetches(&self, map: AttemptId) -> bool {
        hearsay::reads(self.launch.attempt, map) && map.task.index < self.launch.job.n_maps
    }

    /// The map events it has not been told yet, in messages of bounded size.
    pub(crate) fn feed(&mut self, lists: &MapEventLists) -> Vec<Vec<MapEvent>> {
        let listens = matches!(self.phase, Phase::Running { .. });
        if !listens || self.launch.attempt.task.kind != TaskKind::Reduce {
            return Vec::new();
        }
        let list = lists.of(self.launch.attempt.task.job);
        let news = &list[self.next_event.min(list.len())..];
        self.next_event = list.len();
        news.chunks(MAP_EVENTS_PER_MESSAGE_MAX).map(<[MapEvent]>::to_vec).collect()
    }
}
