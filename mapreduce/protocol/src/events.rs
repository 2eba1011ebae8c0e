//! What `GET /v1/events` tells of the cluster beside jobs, and the headers of a part of a log.

use ids::{ClusterId, Epoch, UnixMillis};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Header of a reply with a part of a log: the byte of all that was written with which the body begins.
pub const LOG_OFFSET_HEADER: &str = "howdah-log-offset";
/// The same: how many bytes were written so far. Of a long log not all of them are kept.
pub const LOG_LENGTH_HEADER: &str = "howdah-log-length";
/// Bytes of one part of a log at most.
pub const LOG_PART_BYTES_MAX: u64 = 1 << 20;

/// The cluster in numbers: the data of an event `cluster`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ClusterPulse {
    /// The cluster.
    pub cluster: ClusterId,
    /// The JobTracker's term.
    pub epoch: Epoch,
    /// TaskTrackers that are alive.
    pub trackers: u64,
    /// Those of them whose hosts are not well.
    pub trackers_ill: u64,
    /// Those of them that are set aside for a while.
    pub trackers_set_aside: u64,
    /// Those of them that are drained.
    pub trackers_drained: u64,
    /// Slots of all of them.
    pub slots: u64,
    /// Slots that are not free.
    pub slots_occupied: u64,
    /// Maps of unfinished jobs that wait for a slot.
    pub maps_waiting: u64,
    /// Maps with a running attempt.
    pub maps_running: u64,
    /// Reduces of unfinished jobs that wait for a slot.
    pub reduces_waiting: u64,
    /// Reduces with a running attempt.
    pub reduces_running: u64,
    /// Jobs that have not ended.
    pub jobs_unfinished: u64,
    /// Those of them that are paused.
    pub jobs_paused: u64,
    /// Maps launched since the JobTracker's start on a host of their bytes.
    pub launches_node_local: u64,
    /// On the rack of one.
    pub launches_rack_local: u64,
    /// Elsewhere.
    pub launches_off_rack: u64,
}

/// A part of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogPart {
    /// The first byte's number among all that were written.
    pub offset: u64,
    /// Bytes that were written so far.
    pub length: u64,
    /// The part.
    pub bytes: Vec<u8>,
}

/// `POST /v1/jobs?check=true`: the job could be submitted now.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct JobChecked {
    /// The job as it would be submitted.
    pub job: crate::JobSpec,
    /// When that was.
    pub at: UnixMillis,
}
