//! What the core answers those who want to write, freeze or seal a replica, or to know how many there are.

use chunkstore_protocol::{Frozen, Version};

#[cfg(doc)]
use super::Input;
use super::Sealed;

/// Answer to [`Input::OpenRequested`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenAnswer {
    /// Write it; report [`Input::Sealed`] or [`Input::Aborted`].
    Write,
    /// It is sealed already: whoever sends the same bytes again gets the same answer.
    AlreadySealed(Sealed),
    /// Another upload of the same replica, or its deletion, is under way.
    Busy,
    /// A newer version of the chunk is held.
    Stale {
        /// That version.
        held: Version,
    },
    /// As many uploads as allowed are under way.
    TooMany {
        /// The limit.
        uploads_max: usize,
    },
}

/// Answer to [`Input::FreezeRequested`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FreezeAnswer {
    /// So much is there, and nothing is added any more.
    Frozen(Frozen),
    /// Nothing is there.
    Unknown,
}

/// Answer to [`Input::SealRequested`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SealAnswer {
    /// Seal it; report [`Input::Sealed`] or [`Input::Aborted`].
    Seal,
    /// Seal it; report [`Input::Sealed`] or [`Input::LogEnded`].
    SealLog,
    /// It is sealed already, at that length.
    AlreadySealed(Sealed),
    /// It can't have that length: it is sealed at another, holds less, or no block ends there.
    Differs {
        /// Bytes that it has.
        held: u64,
    },
    /// Its upload goes on: it must be frozen first.
    Open,
    /// Of a log: somebody else has it sealed just now. Freeze it, which waits for that, and ask again.
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
    /// Uploads that broke off, waiting for their writer.
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
