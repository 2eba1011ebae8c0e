//! What goes into the core and what comes out of it. No rules.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ids::{ClusterId, Epoch, HostName, RackName};
use mapreduce_protocol::{
    Ailment, AttemptId, FailedRecord, Failure, FromTask, JobId, Launch, MapEvent, RegisterTracker,
    TrackerHeartbeat, TrackerHeartbeatReply, TrackerRegistered,
};

use crate::disks::DiskNumber;
use crate::health::{Finding, HealthRule};
use crate::usage::{HostLimits, Usage};

/// What the core is told once.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The cluster in the data folder, if it belongs to one yet.
    pub cluster: Option<ClusterId>,
    /// This host.
    pub host: HostName,
    /// Its rack.
    pub rack: RackName,
    /// `host:port` of the HTTP server.
    pub address: String,
    /// Random per process.
    pub incarnation: u64,
    /// Task processes at once.
    pub slots: u32,
    /// Time without a sign of life after which an attempt is ended.
    pub task_timeout: Duration,
    /// Silence of the JobTracker after which all attempts are ended.
    pub cut_off_timeout: Duration,
    /// What attempts may use.
    pub limits: HostLimits,
    /// What a host that is well has.
    pub health: HealthRule,
    /// Folders on the disks that attempts work on, at least one.
    pub disks: Vec<String>,
    /// Jobs of which there is something at the start, beside map outputs.
    pub jobs: BTreeSet<JobId>,
    /// Why tasks can read what is not theirs, if they can.
    pub not_isolated: Option<String>,
    /// Seed of the jitter of retries.
    pub seed: u64,
}

/// One registration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionId {
    /// The JobTracker's term.
    pub epoch: Epoch,
    /// Number of the registration within it.
    pub session: u64,
}

impl SessionId {
    /// The session that a heartbeat is sent in.
    #[must_use]
    pub fn of(heartbeat: &TrackerHeartbeat) -> Self {
        Self { epoch: heartbeat.epoch, session: heartbeat.session }
    }
}

/// What happens to a TaskTracker.
#[derive(Clone, Debug)]
pub enum Input {
    /// The JobTracker took the registration.
    Registered(TrackerRegistered),
    /// The registration did not arrive, or was refused for now.
    RegistrationFailed,
    /// A heartbeat was answered.
    HeartbeatReply {
        /// The session it was sent in.
        session: SessionId,
        /// Its number.
        number: u64,
        /// The answer.
        reply: TrackerHeartbeatReply,
    },
    /// A heartbeat got no answer. Every heartbeat ends in this, the one above or the one below.
    HeartbeatFailed {
        /// The session it was sent in.
        session: SessionId,
        /// Its number.
        number: u64,
    },
    /// The JobTracker does not know the session that a heartbeat was sent in.
    NotRegistered {
        /// That session.
        session: SessionId,
    },
    /// The process of an attempt runs; it can be told things.
    Started {
        /// The attempt.
        attempt: AttemptId,
    },
    /// The process said something.
    Said {
        /// The attempt.
        attempt: AttemptId,
        /// What.
        message: FromTask,
    },
    /// What the process has left, and says to be its output, can't be taken over.
    NotTaken {
        /// The attempt.
        attempt: AttemptId,
        /// Why.
        failure: Failure,
    },
    /// What an attempt had noted of the record it was at when its process ended.
    WasAt {
        /// The attempt.
        attempt: AttemptId,
        /// The record.
        record: FailedRecord,
    },
    /// What an attempt's processes use; the last time right before their end.
    Measured {
        /// The attempt.
        attempt: AttemptId,
        /// How much.
        usage: Usage,
    },
    /// Nothing is left of the attempt's process, or it could not be started. Every [`Effect::Spawn`]
    /// ends in exactly one of these.
    Ended {
        /// The attempt.
        attempt: AttemptId,
        /// What to report if the process has said nothing of its end and nobody asked for it.
        otherwise: Failure,
    },
    /// A map output turned out to be missing or broken when it was asked for.
    MapOutputBroken {
        /// Whose output.
        attempt: AttemptId,
    },
    /// The host was looked at.
    Examined(Finding),
}

/// What the event loop is to do. Nothing is to be done twice; the order matters.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Start an attempt's process, on that disk.
    Spawn(Box<Launch>, DiskNumber),
    /// Kill an attempt's process with all its descendants, also one that is only being prepared.
    KillProcess {
        /// The attempt.
        attempt: AttemptId,
        /// Why, for its log.
        reason: String,
    },
    /// Tell a reduce about map outputs.
    SendMapEvents {
        /// The reduce.
        attempt: AttemptId,
        /// In the order of the job's list.
        events: Vec<MapEvent>,
    },
    /// Remove a map output's file, if there is one.
    RemoveMapOutput {
        /// Whose output.
        attempt: AttemptId,
    },
    /// Remove everything of a job; none of its processes runs any more.
    RemoveJob {
        /// The job.
        job: JobId,
    },
    /// Leave a disk alone from now on; what lay there is lost, and each map output is to be told of as broken.
    LeaveDisk {
        /// The disk.
        disk: DiskNumber,
    },
    /// Send a heartbeat; it ends in one input that names its number.
    SendHeartbeat(Box<TrackerHeartbeat>),
    /// Register with the JobTracker.
    Register(Box<RegisterTracker>),
}

/// What gauges show.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Slots.
    pub slots: u32,
    /// Attempts that wait for a slot.
    pub waiting: usize,
    /// Attempts that take a slot.
    pub running: usize,
    /// Map outputs served.
    pub map_outputs: usize,
    /// Events not yet acknowledged.
    pub unacknowledged: usize,
    /// Whether the JobTracker knows this tracker.
    pub registered: bool,
    /// What is wrong with the host.
    pub ailments: Vec<Ailment>,
    /// The disks that attempts work on, by state.
    pub disks: [(&'static str, usize); 3],
    /// Attempts that have succeeded since the start.
    pub succeeded: u64,
    /// Attempts that have ended otherwise since the start, by kind.
    pub failed: BTreeMap<&'static str, u64>,
}
