//! The tokens of chunks: a caller that may read a path, or write an open file, may do so with its
//! chunks on every chunkserver, for a while. The core's replies have no tokens, as it holds no key.

use std::time::Duration;

use chunkstore_protocol::{Allocation, ChunkId};
use ids::UnixMillis;
use net::{Caller, Capability, Grant, Keyring, Right, Role};

/// Readers ask for locations again after that.
const READ_FOR: Duration = Duration::from_hours(1);
/// A chunk may be written as slowly as its writer likes, within its lease.
const WRITE_FOR: Duration = Duration::from_hours(24);

/// Mints tokens for one caller.
pub(super) struct Mint<'a> {
    keyring: &'a Keyring,
    caller: &'a Caller,
    now: UnixMillis,
}

impl<'a> Mint<'a> {
    pub(super) fn new(keyring: &'a Keyring, caller: &'a Caller) -> Self {
        Self { keyring, caller, now: clock::wall() }
    }

    /// A token to write the chunk of this allocation, through its servers and no others.
    pub(super) fn write(&self, allocation: &Allocation) -> String {
        let chunk = Grant::write(allocation.chunk.resource());
        let servers = allocation.pipeline.iter().map(|server| Grant::write(server.resource()));
        self.keyring.mint(&Capability {
            subject: self.caller.capability.subject.clone(),
            role: Role::Task,
            grants: std::iter::once(chunk).chain(servers).collect(),
            expires: self.now + WRITE_FOR,
        })
    }

    /// A token to read this chunk.
    pub(super) fn read(&self, chunk: ChunkId) -> String {
        let (subject, expires) = (&self.caller.capability.subject, self.now + READ_FOR);
        self.keyring.mint_one(subject, Role::Task, (Right::Read, &chunk.resource()), expires)
    }
}
