//! The records of the JobTracker's journal: all that it must not forget. `durable` folds them;
//! nothing else changes durable state. Kinds are never renamed, and fields are only added with a
//! default.

use std::collections::BTreeMap;
use std::sync::Arc;

use ids::{ClusterId, Epoch, HostName, RackName, UnixMillis};
use mapreduce_protocol::{
    AttemptId, FailedRecord, Failure, JobId, JobSpec, JobState, NamedOutput, Priority, Split,
    StagedOutput, TaskCounts,
};
use serde::{Deserialize, Serialize};

use crate::locality::Locality;

/// One event, as written to the journal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Record {
    /// The first record of a journal: whose it is.
    #[serde(rename = "initialized")] // as journals spell it
    Initialised {
        /// The cluster that this JobTracker belongs to.
        cluster: ClusterId,
        /// Number of journals that JobTrackers of this cluster had before.
        #[serde(default, skip_serializing_if = "is_zero")]
        former_journals: u32,
    },
    /// A JobTracker process began its term.
    Started {
        /// Its epoch.
        epoch: Epoch,
    },
    /// A job was accepted; its output is reserved.
    JobAccepted {
        /// Its id.
        job: JobId,
        /// The job as submitted.
        spec: Arc<JobSpec>,
        /// Number of its reduces.
        n_reduces: u32,
        /// Attempts allowed per task.
        max_attempts: u32,
        /// The client's `Idempotency-Key`, if it sent one.
        key: Option<IdempotencyKey>,
        /// When.
        at: UnixMillis,
        /// The user who owns it; empty: nobody.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        owner: String,
    },
    /// A job's priority changed.
    PriorityChanged {
        /// The job.
        job: JobId,
        /// Its priority.
        priority: Priority,
    },
    /// Nothing of a job is launched from now on.
    JobPaused {
        /// The job.
        job: JobId,
    },
    /// Attempts of a paused job are launched again.
    JobResumed {
        /// The job.
        job: JobId,
    },
    /// A job's splits are fixed.
    SplitsPlanned {
        /// The job.
        job: JobId,
        /// Number of splits.
        n_maps: u32,
        /// Bytes of all splits.
        input_bytes: u64,
        /// The splits.
        list: SplitList,
    },
    /// An attempt won its task.
    TaskSucceeded {
        /// The attempt.
        attempt: AttemptId,
        /// Where it ran; if it is a map with reduces, also where its output is.
        host: HostName,
        /// Digest of its output.
        digest: String,
        /// Its counters.
        counters: BTreeMap<String, u64>,
        /// How close to its input a map ran, if known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        place: Option<Locality>,
        /// What it staged in another store.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        staged: Option<StagedOutput>,
        /// Its named outputs.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        named: Vec<NamedOutput>,
        /// How long it worked, for a reduce since the last map was done; absent if unknown.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ran_ms: Option<u64>,
        /// When it began and ended.
        #[serde(default, skip_serializing_if = "Span::is_unknown")]
        span: Span,
    },
    /// An attempt failed, whoever is to blame.
    AttemptFailed {
        /// The attempt.
        attempt: AttemptId,
        /// Where it ran.
        host: HostName,
        /// Why.
        failure: Failure,
        /// How close to its input a map ran, if known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        place: Option<Locality>,
        /// The split that a map read, if known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        split: Option<Split>,
        /// When it began and ended.
        #[serde(default, skip_serializing_if = "Span::is_unknown")]
        span: Span,
        /// Its last status message.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        status: Option<String>,
        /// The record at which it failed, if its job may skip records.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        record: Option<FailedRecord>,
    },
    /// An attempt was killed, or lost with its tracker. It may come back, and even win.
    AttemptKilled {
        /// The attempt, where it ran, and what it read.
        killed: KilledAttempt,
        /// How close to its input a map ran, if known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        place: Option<Locality>,
    },
    /// The output of a map's winner is lost: the map has no winner any more.
    MapOutputLost {
        /// The former winner.
        attempt: AttemptId,
    },
    /// A map ran again with a different output: reduces that read the old one are void.
    ReducesUndone {
        /// The map's new winner.
        map: AttemptId,
        /// Reduce attempts numbered below this may have read the old output: none of them may win.
        #[serde(default, skip_serializing_if = "is_zero")]
        reduces_from: u32,
    },
    /// A job reached its final state.
    JobEnded {
        /// The job.
        job: JobId,
        /// SUCCEEDED, FAILED or KILLED.
        state: JobState,
        /// Why it did not succeed, for people.
        failure: Option<String>,
        /// When.
        at: UnixMillis,
        /// Its maps.
        maps: TaskCounts,
        /// Its reduces.
        reduces: TaskCounts,
    },
    /// Nothing of a job is left in the staging folder.
    StagingRemoved {
        /// The job.
        job: JobId,
    },
    /// An ended job's history is in the chunk store, or not wanted, or given up.
    HistoryWritten {
        /// The job.
        job: JobId,
    },
    /// A host gets no new attempts from now on.
    HostDrained {
        /// The host.
        host: HostName,
    },
    /// A drained host gets new attempts again.
    HostUndrained {
        /// The host.
        host: HostName,
    },
    /// Nothing of a pool is launched from now on.
    PoolPaused {
        /// Its name.
        pool: String,
    },
    /// Attempts of a paused pool's jobs are launched again.
    PoolResumed {
        /// Its name.
        pool: String,
    },
    /// A tracker may run something from now on: a restarted JobTracker waits for its report.
    TrackerJoined {
        /// Its host.
        host: HostName,
    },
    /// A tracker was silent for too long, or its host is drained and runs nothing: a restarted
    /// JobTracker does not wait for it.
    TrackerGone {
        /// Its host.
        host: HostName,
    },
    /// An ended job was forgotten to make room for newer ones.
    JobForgotten {
        /// The job.
        job: JobId,
    },
}

/// Older journals lack this number.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes fields by reference")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// An attempt that was killed, or lost with its tracker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KilledAttempt {
    /// The attempt.
    pub attempt: AttemptId,
    /// Where it ran.
    pub host: HostName,
    /// The split that a map read, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub split: Option<Split>,
    /// When it began, and when it was given up.
    #[serde(default, skip_serializing_if = "Span::is_unknown")]
    pub span: Span,
    /// How close to its input a map ran; absent in a record, which has a field of its own for that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<Locality>,
    /// Why; absent in records of the releases before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<Failure>,
}

/// When an attempt began and ended, by the JobTracker's clock. Zero if unknown: an attempt that
/// outlived a JobTracker restart was launched by another process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    /// When it was launched.
    pub began_at: UnixMillis,
    /// When the JobTracker learned of its end.
    pub ended_at: UnixMillis,
}

impl Span {
    /// Older journals have no times.
    fn is_unknown(&self) -> bool {
        *self == Self::default()
    }
}

/// What makes a submission idempotent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdempotencyKey {
    /// The client's key.
    pub key: String,
    /// Digest of the job submitted with it.
    pub digest: String,
}

/// A split and the hosts that hold its bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedSplit {
    /// What the map reads.
    pub split: Split,
    /// Hosts with its bytes, best first; shared, since many splits have the same few hosts.
    pub homes: Vec<Arc<Home>>,
}

/// A host that holds a replica.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Home {
    /// The host.
    pub host: HostName,
    /// Its rack.
    pub rack: RackName,
}

/// A job's splits, in the order of map ordinals.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SplitList {
    /// In the record itself.
    Inline(Arc<[PlannedSplit]>),
    /// In a file of the chunk store, if it is long.
    Staged(StagedSplits),
}

/// A split list in the chunk store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StagedSplits {
    /// The file.
    pub path: String,
    /// XXH3-128 of its bytes, 32 hexadecimal digits.
    pub digest: String,
}
