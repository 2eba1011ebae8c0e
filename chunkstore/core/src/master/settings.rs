//! What the configuration says to the state machine.

use std::time::Duration;

/// What the configuration says to the state machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Replicas asked for where a client does not say.
    pub replication: u8,
    /// Length limit of chunks where a client does not say, bytes.
    pub chunk_bytes: u64,
    /// Time between a server's heartbeats; told to the servers.
    pub heartbeat_interval: Duration,
    /// Silence after which a server counts as dead.
    pub dead_after: Duration,
    /// How long a writer's lease lasts without a renewal.
    pub lease: Duration,
    /// How long it lasts once the writer's connection has ended.
    pub lease_grace: Duration,
    /// Copies that one server sends, and receives, at once; more where chunks are small.
    pub repair_streams: u32,
    /// How far from the mean the used share of a server's space may lie, percent, before chunks move.
    pub balance_threshold_percent: u8,
    /// How long what users remove stays in the trash; zero for none.
    pub trash_interval: Duration,
    /// Where less than this share of the live servers' space is free, percent, the trash is emptied early.
    pub trash_free_min_percent: u8,
}
