//! The core's answers to requests to write, freeze or seal a replica, and its numbers for metrics.

use chunkstore_protocol::{Frozen, Version};

#[cfg(doc)]
use super::Input;
use super::Sealed;

/// Answer to [`Input::OpenRequested`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenAnswer {
    /// Write it, then report [`Input::Sealed`] or [`Input::Aborted`].
    Write,
    /// It is sealed already: a sender of the same bytes gets the same answer again.
    AlreadySealed(Sealed),
    /// Another upload of the same replica, or its deletion, is under way.
    Busy,
    /// A newer version of the chunk is held.
    Stale {
        /// That version.
        held: Version,
    },
    /// The maximum number of uploads is under way.
    TooMany {
        /// The limit.
        uploads_max: usize,
    },
}

/// Answer to [`Input::FreezeRequested`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FreezeAnswer {
    /// This much is there, and nothing more is added.
    Frozen(Frozen),
    /// Nothing is there.
    Unknown,
}

/// Answer to [`Input::SealRequested`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SealAnswer {
    /// Seal it, then report [`Input::Sealed`] or [`Input::Aborted`].
    Seal,
    /// Seal the log's replica, then report [`Input::Sealed`] or [`Input::LogEnded`].
    SealLog,
    /// It is sealed already, at that length.
    AlreadySealed(Sealed),
    /// It can't have that length: it is sealed at another one, holds less, or no block ends there.
    Differs {
        /// Bytes that it has.
        held: u64,
    },
    /// Its upload is still under way: it must be frozen first.
    Open,
    /// It is a log's, and another request is sealing it. Freeze it, which waits for that, and ask
    /// again.
    Sealing,
    /// Nothing is there.
    Unknown,
}

/// Numbers for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Sealed replicas.
    pub n_sealed: u64,
    /// Uploads under way.
    pub n_open: u64,
    /// Uploads that broke off and wait for their writer.
    pub n_cut: u64,
    /// Replicas of logs' open chunks.
    pub n_logs: u64,
    /// Bytes of the sealed replicas.
    pub sealed_bytes: u64,
    /// Events that the master has not acknowledged.
    pub n_events_pending: u64,
    /// Whether the master knows this server.
    pub registered: bool,
}
