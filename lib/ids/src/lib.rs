//! The vocabulary that all daemons share: host and rack names, the cluster's id, epochs, request
//! stamps and times, and what a master's journal accepts. No rules of any daemon are here, and
//! nothing of files or jobs: those ids are in the two protocol crates. Used by everybody; depends
//! on serde, schemars and thiserror alone.
//!
//! The newtypes do not mix:
//!
//! ```compile_fail
//! use ids::{Epoch, HeartbeatNumber};
//! fn fence(_: Epoch) {}
//! fence(HeartbeatNumber(3));
//! ```

mod delivery;
mod hex;
#[macro_use]
mod schema;
mod names;
mod place;
mod room;
mod time;

pub use delivery::{Inbox, Numbered, Outbox};
pub use hex::{HexDigits, hex_digits};
pub use names::{ClientId, ClusterId, HostName, NameError, RackName, RequestId};
pub use place::{OWN_SCHEME, names_another_store};
pub use room::Room;
pub use time::{Monotonic, Now, UnixMillis};

#[doc(hidden)]
pub use schemars;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The term of a master: one more at each start, journaled before the first message that bears it.
/// A message with an older epoch comes from, or is meant for, a master that is no more.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    JsonSchema,
)]
pub struct Epoch(pub u64);

impl Epoch {
    /// The epoch of the next start.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl std::fmt::Display for Epoch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// Number of a heartbeat within one registration, from 1. A repeated number is the same heartbeat.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    JsonSchema,
)]
pub struct HeartbeatNumber(pub u64);

/// What makes a mutating request idempotent: the master keeps the last reply of each (client, slot),
/// in its journal, and gives it again when the same sequence comes again.
///
/// A client numbers the requests of a slot from 1, one in flight per slot at a time.
#[derive(
    Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
pub struct RequestStamp {
    /// Who asks; random, one per client process.
    pub client: ClientId,
    /// Which of the client's independent request chains.
    pub slot: u32,
    /// Position in that chain, from 1.
    pub sequence: u64,
}
