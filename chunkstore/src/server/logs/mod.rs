//! Logs' open chunks on this server. What a primary admits, and what is sealed when a chunk ends, is decided in
//! `chunkstore_core::log`; whether a replica may be opened, by the replica core. Here: their files (`open_log`), the
//! primary that groups batches (`primary`), the other servers that follow it (`follow`), the end (`ending`), and what
//! readers get (`read`).

mod ending;
mod follow;
mod open_log;
mod primary;
mod read;

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chunkstore_core::log::{Gap, OutOfOrder};
use chunkstore_core::replica::{Ended, Input, ReplicaKey};
use net::{Capability, Client, Grant, Role};
use tokio::sync::OnceCell;

use super::Server;
use super::data_dir::DataDir;
use super::event_loop::Stopped;
use super::open_chunk::DiskError;
use open_log::{OpenLog, scan};

pub(super) use ending::end;
pub(super) use follow::{Follow, follow};
pub(super) use primary::append;
pub(super) use read::read;

/// How long a token of this server for another one counts.
const TOKEN_LIFE: Duration = Duration::from_mins(10);

/// A log's replica that the last process left in a folder.
#[derive(Debug)]
pub(super) struct FoundLog {
    pub(super) replica: ReplicaKey,
    pub(super) ended: Ended,
    /// To seal it; absent if it can only be read.
    pub(super) file: Option<File>,
}

impl FoundLog {
    /// Reads what is in it. Blocks.
    pub(super) fn open(path: &Path, replica: ReplicaKey) -> io::Result<Self> {
        let ended = scan(path)?;
        let opened = File::options().read(true).write(true).open(path);
        let opened = opened.inspect_err(|error| {
            tracing::error!(chunk = %replica.chunk, %error, "a log's chunk can't be opened");
        });
        Ok(Self { replica, ended, file: opened.ok() })
    }
}

/// Why records were not taken, or not given.
#[derive(Debug, thiserror::Error)]
pub(super) enum LogError {
    /// The chunk is over, or has never been here.
    #[error("chunk {} takes no more records here: ask the chunk master for its log's open chunk", .0.chunk)]
    Ended(ReplicaKey),
    /// As many as the bound.
    #[error("{logs_max} logs are being written here: try again in a moment")]
    TooMany {
        /// The limit.
        logs_max: usize,
    },
    /// The body is no run of whole sound records.
    #[error(
        "the body must be whole records of one writer, numbered upwards, each with its checksum: {what}"
    )]
    BadRecords {
        /// How it is not.
        what: &'static str,
    },
    /// A reader asks for what is inside of a record.
    #[error("no record of chunk {} begins at byte {offset}: read on from where the last answer ended", replica.chunk)]
    NoRecordAt {
        /// The replica.
        replica: ReplicaKey,
        /// Where.
        offset: u64,
    },
    /// The writer's numbers.
    #[error(transparent)]
    OutOfOrder(#[from] OutOfOrder),
    /// The primary and this server differ.
    #[error(transparent)]
    Gap(#[from] Gap),
    /// The disk.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The daemon is stopping.
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

/// The logs' replicas here, being made ones included. The core bounds them.
#[derive(Debug, Default)]
pub(super) struct Logs(Mutex<BTreeMap<ReplicaKey, Slot>>);

/// One replica, once it is made: who comes meanwhile waits.
type Slot = Arc<OnceCell<Arc<OpenLog>>>;

impl Logs {
    /// Those that the last process left.
    pub(super) fn new(found: Vec<(Arc<DataDir>, FoundLog)>) -> Self {
        let found = found.into_iter().filter_map(|(dir, log)| {
            let replica = log.replica;
            let log = OpenLog::found(&dir, log)?;
            Some((replica, Arc::new(OnceCell::new_with(Some(Arc::new(log))))))
        });
        Self(Mutex::new(found.collect()))
    }

    /// Whether this is a replica of a log.
    pub(super) fn has(&self, replica: ReplicaKey) -> bool {
        self.slots().contains_key(&replica)
    }

    /// The replica, if it is there.
    fn find(&self, replica: ReplicaKey) -> Option<Arc<OpenLog>> {
        self.slots().get(&replica)?.get().cloned()
    }

    fn slot(&self, replica: ReplicaKey) -> Slot {
        Arc::clone(self.slots().entry(replica).or_default())
    }

    /// It could not be made, or is gone: unless another one waits for this slot, who may make it after all.
    fn leave(&self, replica: ReplicaKey, slot: &Slot) {
        /// The map's reference, and the caller's.
        const NOBODY_ELSE: usize = 2;
        let mut slots = self.slots();
        let is_same = slots.get(&replica).is_some_and(|known| Arc::ptr_eq(known, slot));
        if is_same && Arc::strong_count(slot) <= NOBODY_ELSE {
            slots.remove(&replica);
        }
    }

    /// Takes a replica out whose file is to go.
    pub(super) fn take(&self, replica: ReplicaKey) -> Option<Arc<OpenLog>> {
        self.slots().remove(&replica)?.get().cloned()
    }

    /// Puts one back that could not be sealed.
    pub(super) fn put_back(&self, replica: ReplicaKey, log: Arc<OpenLog>) {
        self.slots().insert(replica, Arc::new(OnceCell::new_with(Some(log))));
    }

    fn slots(&self) -> MutexGuard<'_, BTreeMap<ReplicaKey, Slot>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Has a replica take no more; the core is told what there is.
pub(super) fn freeze(server: &Arc<Server>, replica: ReplicaKey) {
    if let Some(log) = server.logs.find(replica) {
        let server = Arc::clone(server);
        tokio::spawn(async move { end_here(&server, &log).await });
    }
}

/// The replica takes no more from the return on, and the core knows.
async fn end_here(server: &Server, log: &OpenLog) {
    let ended = log.end().await;
    // A loop that is gone needs no word.
    let _ = server.replicas.tell(Input::LogEnded { replica: log.replica(), ended }).await;
}

/// A client for other servers and the master, which bears a token of this server for the chunk.
fn peer_client(server: &Server, replica: ReplicaKey) -> Client {
    let capability = Capability {
        subject: server.host.to_string(),
        role: Role::Server,
        grants: vec![Grant::all(replica.chunk.resource())],
        expires: clock::wall() + TOKEN_LIFE,
    };
    server.client.with_token(server.keyring.mint(&capability))
}

#[cfg(test)]
mod tests {
    use chunkstore_protocol::{ChunkId, Version};

    use super::*;

    #[test]
    fn a_beginning_that_fails_leaves_the_slot_to_whoever_waits_for_it() {
        let logs = Logs::default();
        let replica = ReplicaKey { chunk: ChunkId(7), version: Version(1) };
        let (first, second) = (logs.slot(replica), logs.slot(replica));
        logs.leave(replica, &first);
        drop(first);
        assert!(logs.has(replica), "the second may begin it after all");
        logs.leave(replica, &second);
        assert!(!logs.has(replica));
        let next = logs.slot(replica);
        logs.leave(replica, &second);
        assert!(logs.has(replica), "another one's slot");
        drop(next);
    }
}
