//! What clients see of the pools: `GET /v1/pools`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `GET /v1/pools`, in the order of the configuration, `default` last unless it is named there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PoolList {
    /// All of them.
    pub pools: Vec<PoolStatus>,
}

/// One pool: what it is promised and may, and what it has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PoolStatus {
    /// Its name.
    pub pool: String,
    /// Its share beside other pools.
    pub weight: u32,
    /// Slots that it gets before others get more than theirs.
    pub min_slots: u32,
    /// Slots that it may hold at once; absent: any number.
    pub slots_max: Option<u32>,
    /// Jobs of it that may run at once; absent: any number.
    pub running_jobs_max: Option<u32>,
    /// Unfinished jobs that it takes; absent: any number.
    pub jobs_max: Option<u32>,
    /// Whether nothing of it is launched.
    pub paused: bool,
    /// Slots that its jobs hold.
    pub slots: u32,
    /// Slots that are its share now, by its weight, its minimum and what it could use; it may hold more while others leave
    /// them.
    pub fair_share: u32,
    /// Tasks of its jobs that wait for a slot, those of paused ones not counted.
    pub waiting: u32,
    /// Its unfinished jobs.
    pub jobs: u32,
}
