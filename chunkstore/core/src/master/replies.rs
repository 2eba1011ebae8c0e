//! The last reply for each (client, slot), which makes a retry safe, even across restarts. Part of
//! the fold, and bounded: a client's oldest slots and the clients idle for longest are forgotten
//! first. Only `Durable::apply` stores replies; the request handlers look a request up before they
//! do anything.

use std::collections::BTreeMap;

use chunkstore_protocol::{FileId, FileKind, FileStatus, StorePath};
use ids::{ClientId, UnixMillis};
use serde::{Deserialize, Serialize};

use super::record::{Allotted, RequestDigest, Stamp};

/// Replies kept in total.
pub(crate) const REPLIES_MAX: usize = 32_768;
/// Slots kept of one client.
pub(crate) const SLOTS_PER_CLIENT_MAX: usize = 64;

/// A reply as it is kept: without tokens, which are minted again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum CachedReply {
    /// To a create.
    Created { file: FileId, replication: u8, chunk_bytes: u64, allotted: Allotted },
    /// To an allocate.
    Allocated { allotted: Allotted },
    /// To a close.
    Closed(ClosedFile),
    /// To all requests whose reply only confirms them.
    Done,
}

/// A file as it was when it was closed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ClosedFile {
    pub(crate) path: StorePath,
    pub(crate) file: FileId,
    pub(crate) owner: String,
    pub(crate) created: UnixMillis,
    pub(crate) modified: UnixMillis,
    pub(crate) length: u64,
    pub(crate) replication: u8,
    pub(crate) chunk_bytes: u64,
    pub(crate) n_chunks: u64,
    pub(crate) log: bool,
}

impl ClosedFile {
    /// The status that the writer is told.
    pub(crate) fn status(&self) -> FileStatus {
        let Self { path, file, owner, created, modified, .. } = self.clone();
        let Self { length, replication, chunk_bytes, n_chunks, log, .. } = *self;
        let (open, cut) = (false, false);
        let kind =
            FileKind::File { file, length, replication, chunk_bytes, n_chunks, open, cut, log };
        FileStatus { path, owner, created, modified, kind }
    }
}

/// What the cache knows of a stamp.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Seen<'a> {
    /// The request is new.
    New,
    /// It was carried out; this was the answer.
    Same(&'a CachedReply),
    /// Another request was carried out under this stamp.
    Reused,
    /// The slot is further on: this request is a late duplicate.
    Older {
        /// The slot's last sequence.
        last: u64,
    },
}

/// All kept replies.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Replies {
    clients: BTreeMap<ClientId, Client>,
    /// The clients by their last request, oldest first.
    by_use: BTreeMap<u64, ClientId>,
    n_replies: usize,
    clock: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Client {
    used: u64,
    slots: BTreeMap<u32, Slot>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Slot {
    used: u64,
    sequence: u64,
    digest: RequestDigest,
    reply: CachedReply,
}

impl Replies {
    /// Looks a request up.
    pub(crate) fn seen(&self, stamp: &Stamp) -> Seen<'_> {
        let slot = self.clients.get(&stamp.client).and_then(|c| c.slots.get(&stamp.slot));
        match slot {
            Some(slot) if slot.sequence > stamp.sequence => Seen::Older { last: slot.sequence },
            Some(slot) if slot.sequence < stamp.sequence => Seen::New,
            Some(slot) if slot.digest != stamp.digest => Seen::Reused,
            Some(slot) => Seen::Same(&slot.reply),
            None => Seen::New,
        }
    }

    /// Keeps the reply to a request, in place of the previous one in its slot.
    pub(crate) fn store(&mut self, stamp: &Stamp, reply: CachedReply) {
        self.clock += 1;
        let used = self.clock;
        let client = self
            .clients
            .entry(stamp.client.clone())
            .or_insert_with(|| Client { used, slots: BTreeMap::new() });
        self.by_use.remove(&client.used);
        client.used = used;
        self.by_use.insert(used, stamp.client.clone());
        let Stamp { sequence, digest, .. } = *stamp;
        let slot = Slot { used, sequence, digest, reply };
        if client.slots.insert(stamp.slot, slot).is_none() {
            self.n_replies += 1;
        }
        if client.slots.len() > SLOTS_PER_CLIENT_MAX {
            let oldest = client.slots.iter().min_by_key(|(_, slot)| slot.used).map(|(n, _)| *n);
            self.n_replies -= oldest.map_or(0, |n| usize::from(client.slots.remove(&n).is_some()));
        }
        while self.n_replies > REPLIES_MAX
            && let Some((_, idle)) = self.by_use.pop_first()
        {
            self.n_replies -= self.clients.remove(&idle).map_or(0, |gone| gone.slots.len());
        }
    }

    /// Asserts that the counts and the two orders agree.
    ///
    /// # Panics
    /// When they do not.
    pub(crate) fn check_invariants(&self) {
        let n: usize = self.clients.values().map(|client| client.slots.len()).sum();
        assert_eq!(n, self.n_replies, "replies are miscounted");
        assert!(n <= REPLIES_MAX, "more replies than the bound");
        assert_eq!(self.by_use.len(), self.clients.len(), "a client has two ages");
        for (used, client) in &self.by_use {
            assert_eq!(self.clients.get(client).map(|c| c.used), Some(*used), "age of {client}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(client: usize, slot: u32, sequence: u64) -> Stamp {
        let client = format!("client-{client:06}").parse().unwrap();
        Stamp { client, slot, sequence, digest: RequestDigest(sequence) }
    }

    #[test]
    fn a_slot_remembers_its_last_reply_only() {
        let mut replies = Replies::default();
        assert_eq!(replies.seen(&stamp(1, 0, 1)), Seen::New);
        replies.store(&stamp(1, 0, 1), CachedReply::Done);
        assert_eq!(replies.seen(&stamp(1, 0, 1)), Seen::Same(&CachedReply::Done));
        let other = Stamp { digest: RequestDigest(9), ..stamp(1, 0, 1) };
        assert_eq!(replies.seen(&other), Seen::Reused);
        assert_eq!(replies.seen(&stamp(1, 1, 1)), Seen::New);
        replies.store(&stamp(1, 0, 5), CachedReply::Done);
        assert_eq!(replies.seen(&stamp(1, 0, 1)), Seen::Older { last: 5 });
        assert_eq!(replies.seen(&stamp(1, 0, 6)), Seen::New);
        replies.check_invariants();
    }

    #[test]
    fn the_oldest_slots_of_a_client_and_the_idlest_clients_are_forgotten_first() {
        let mut replies = Replies::default();
        for slot in 0..=SLOTS_PER_CLIENT_MAX as u32 {
            replies.store(&stamp(0, slot, 1), CachedReply::Done);
        }
        assert_eq!(replies.seen(&stamp(0, 0, 1)), Seen::New);
        assert_ne!(replies.seen(&stamp(0, 1, 1)), Seen::New);
        for client in 1..=REPLIES_MAX - SLOTS_PER_CLIENT_MAX {
            replies.store(&stamp(client, 0, 1), CachedReply::Done);
        }
        replies.store(&stamp(0, 1, 2), CachedReply::Done);
        replies.check_invariants();
        replies.store(&stamp(REPLIES_MAX, 0, 1), CachedReply::Done);
        assert_eq!(replies.seen(&stamp(1, 0, 1)), Seen::New, "idle the longest");
        assert_ne!(replies.seen(&stamp(0, 1, 2)), Seen::New, "used just now");
        replies.check_invariants();
    }
}
