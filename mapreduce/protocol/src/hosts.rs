//! What clients see of the TaskTrackers' hosts: `GET /v1/hosts`.

use std::fmt;

use ids::{HostName, RackName};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Ailment, JobId};

/// `GET /v1/hosts`, by name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HostList {
    /// The hosts that are known.
    pub hosts: Vec<HostStatus>,
}

/// One host and its TaskTracker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HostStatus {
    /// Its name.
    pub host: HostName,
    /// Its rack; absent if it was not heard of since the JobTracker started.
    pub rack: Option<RackName>,
    /// `host:port` of its TaskTracker; absent likewise.
    pub address: Option<String>,
    /// Whether it is there, and gets work.
    pub state: HostState,
    /// Attempts that it runs at once.
    pub slots: u32,
    /// Attempts that run there, or were told to end and have not yet.
    pub running: u32,
    /// Finished map outputs there that unfinished jobs may still want.
    pub map_outputs: u32,
    /// How long ago it was heard of last, milliseconds; absent likewise.
    pub last_heartbeat_ms: Option<u64>,
    /// What is wrong with it: while there is anything, it gets no new attempts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ailments: Vec<Ailment>,
    /// What speaks against it, oldest first, as far as it still counts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub strikes: Vec<Strike>,
    /// For how long so much speaks against it that it gets no new attempts, milliseconds at least.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set_aside_ms: Option<u64>,
    /// What is wrong with local disks that it does without.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub disks_without: Vec<Ailment>,
    /// Why tasks there can read what is not theirs, like the cluster's secret; absent if they can't, or it is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_isolated: Option<String>,
    /// Where and why the JobTracker does not reach it; absent if it does, or it was not asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unreached: Option<String>,
    /// Of a host that is being drained: the jobs that its drain waits for, ten at most, those that go on by themselves first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub drain_waits: Vec<DrainWait>,
}

/// A job that a drain waits for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DrainWait {
    /// The job.
    pub job: JobId,
    /// Its attempts that run there, or were told to end and have not yet.
    pub running: u32,
    /// Its finished map outputs there, which its reduces may still want.
    pub map_outputs: u32,
    /// Why it does not go on, for people; absent if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// Whether it does not before somebody does something about that.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub for_ever: bool,
}

impl fmt::Display for DrainWait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { job, running, map_outputs, why, .. } = self;
        write!(f, "{job}: {running} attempts run there, {map_outputs} map outputs are wanted")?;
        why.as_ref().map_or(Ok(()), |why| write!(f, "; {why}"))
    }
}

/// One thing that speaks against a host, whatever the job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "strike", rename_all = "snake_case")]
pub enum Strike {
    /// Several tasks of a job failed there and succeeded elsewhere, or failed for want of room.
    Failures {
        /// The job.
        job: JobId,
    },
    /// A map output of a job that was there had to be made again.
    OutputLost {
        /// The job.
        job: JobId,
    },
    /// A local disk failed, and with it what lay and worked there, of whatever jobs.
    DiskFailed,
    /// Its TaskTracker fell silent.
    Silence,
}

impl fmt::Display for Strike {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failures { job } => write!(f, "tasks of {job} failed there"),
            Self::OutputLost { job } => write!(f, "a map output of {job} was lost there"),
            Self::DiskFailed => f.write_str("a local disk of it failed"),
            Self::Silence => f.write_str("its TaskTracker fell silent"),
        }
    }
}

/// Whether a host is there, and gets work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum HostState {
    /// Its TaskTracker sends heartbeats.
    Live,
    /// Something is wrong with it: it gets no new attempts until it is well.
    Ill,
    /// So much speaks against it that it gets no new attempts for a while.
    SetAside,
    /// It gets no new attempts; some still run there, or what lies there is still wanted.
    Draining,
    /// It gets no new attempts, and can be stopped: nothing would be lost. (Perhaps it is stopped already.)
    Drained,
    /// It has been silent for too long: what it ran and held is made elsewhere.
    Lost,
}

impl HostState {
    /// The wire form.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Live => "LIVE",
            Self::Ill => "ILL",
            Self::SetAside => "SET_ASIDE",
            Self::Draining => "DRAINING",
            Self::Drained => "DRAINED",
            Self::Lost => "LOST",
        }
    }
}
