//! The state machine's part of the configuration.

use std::time::Duration;

/// The state machine's part of the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Replicas of a file if its client does not say.
    pub replication: u8,
    /// Length limit of chunks if the client does not say, bytes.
    pub chunk_bytes: u64,
    /// Time between a server's heartbeats; servers are told it.
    pub heartbeat_interval: Duration,
    /// Silence after which a server counts as dead.
    pub dead_after: Duration,
    /// How long a writer's lease lasts without a renewal.
    pub lease: Duration,
    /// How long it lasts once the writer's connection has ended.
    pub lease_grace: Duration,
    /// Copies that one server sends, and receives, at once; more if the chunks are small.
    pub repair_streams: u32,
    /// How far from the mean the used share of a server's space may lie, percent, before chunks move.
    pub balance_threshold_percent: u8,
    /// How long removed entries stay in the trash; zero for no trash.
    pub trash_interval: Duration,
    /// If less than this share of the live servers' space is free, percent, the trash is emptied
    /// early.
    pub trash_free_min_percent: u8,
}
