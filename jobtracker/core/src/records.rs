//! What the JobTracker can't afford to forget: the records of its journal. They are folded by
//! `durable`; nothing else changes durable state. Kinds are never renamed, and fields are only added
//! with a default.

use std::collections::BTreeMap;
use std::sync::Arc;

use ids::{ClusterId, Epoch, HostName, RackName, UnixMillis};
use mapreduce_protocol::{
    AttemptId, FailedRecord, Failure, JobId, JobSpec, JobState, NamedOutput, Priority, Split,
    StagedOutput, TaskCounts,
};
use serde::{Deserialize, Serialize};

use crate::locality::Locality;

/// One thing that happened, for ever.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Record {
    /// The first record of a journal: whose it is.
    #[serde(rename = "initialized")] // as journals spell it
    Initialised {
        /// The cluster that this JobTracker belongs to.
        cluster: ClusterId,
        /// Journals that JobTrackers of this cluster had before.
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
        /// What was asked.
        spec: Arc<JobSpec>,
        /// Reduces that it runs with.
        n_reduces: u32,
        /// Tries of each task.
        max_attempts: u32,
        /// The client's `Idempotency-Key`, if it sent one.
        key: Option<IdempotencyKey>,
        /// When.
        at: UnixMillis,
        /// Whose it is; empty in records of the releases before.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        owner: String,
    },
    /// A job's share of the slots is another from now on.
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
        /// Where it ran; of a map with reduces, where its output is.
        host: HostName,
        /// Digest of its output.
        digest: String,
        /// Its counters.
        counters: BTreeMap<String, u64>,
        /// How near to its bytes a map ran, where that is known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        place: Option<Locality>,
        /// What it staged in another store.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        staged: Option<StagedOutput>,
        /// Its named outputs.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        named: Vec<NamedOutput>,
        /// How long it worked, of a reduce from the last map on; absent where that is not known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ran_ms: Option<u64>,
        /// When it began and ended.
        #[serde(default, skip_serializing_if = "Span::is_unknown")]
        span: Span,
    },
    /// An attempt failed, by whosever fault.
    AttemptFailed {
        /// The attempt.
        attempt: AttemptId,
        /// Where it ran.
        host: HostName,
        /// Why.
        failure: Failure,
        /// How near to its bytes a map ran, where that is known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        place: Option<Locality>,
        /// What a map read, where that is known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        split: Option<Split>,
        /// When it began and ended.
        #[serde(default, skip_serializing_if = "Span::is_unknown")]
        span: Span,
        /// What it said last of itself.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        status: Option<String>,
        /// The record that it failed at, where the job may leave some out.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        record: Option<FailedRecord>,
    },
    /// An attempt was killed, or lost with its tracker. It may come back, and even win.
    AttemptKilled {
        /// The attempt, where it ran, and what it read.
        killed: KilledAttempt,
        /// How near to its bytes a map ran, where that is known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        place: Option<Locality>,
    },
    /// The output of a map's winner is gone: the map has no winner any more.
    MapOutputLost {
        /// The former winner.
        attempt: AttemptId,
    },
    /// A map ran again and produced other bytes than before: what reduces made of the old ones is void.
    ReducesUndone {
        /// The map's new winner.
        map: AttemptId,
        /// Reduce attempts below this number may have read the old bytes: none of them may win.
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
    /// What is kept of an ended job is in the chunk store, or nobody wants it, or it was given up.
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
    /// A tracker may run something from now on: a restarted JobTracker waits for what it has to tell.
    TrackerJoined {
        /// Its host.
        host: HostName,
    },
    /// A tracker was silent for too long, or its host is drained and nothing runs there: a restarted JobTracker does not wait for it.
    TrackerGone {
        /// Its host.
        host: HostName,
    },
    /// An ended job made room for newer ones.
    JobForgotten {
        /// The job.
        job: JobId,
    },
}

/// Journals of the release before have no such number.
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
    /// What a map read, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub split: Option<Split>,
    /// When it began, and when it was given up.
    #[serde(default, skip_serializing_if = "Span::is_unknown")]
    pub span: Span,
    /// How near to its bytes a map ran; absent in a record, which tells it beside this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<Locality>,
    /// Why; absent in records of the releases before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<Failure>,
}

/// When an attempt began and when it ended, by the JobTracker's clock; zero where that is not known: an attempt that went
/// on while the JobTracker restarted began in the life of another process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    /// When it was launched.
    pub began_at: UnixMillis,
    /// When the JobTracker heard of its end.
    pub ended_at: UnixMillis,
}

impl Span {
    /// Journals of the release before tell no times.
    fn is_unknown(&self) -> bool {
        *self == Self::default()
    }
}

/// What makes a submission idempotent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdempotencyKey {
    /// The client's key.
    pub key: String,
    /// Digest of the job that came with it.
    pub digest: String,
}

/// A split and the hosts that hold its bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedSplit {
    /// What the map reads.
    pub split: Split,
    /// Where its bytes are, best first. Many splits have the same few.
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
    /// In a file of the chunk store, since it is long.
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
