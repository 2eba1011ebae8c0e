//! Uploads that do not end as they should: how one under way is told to end, what is kept of those that
//! broke off, and how their writers have them sealed (GFS mends a pipeline in place; here the survivors seal
//! what all of them have, and the writer goes on in another chunk). Whether that may be is the replica
//! core's word.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chunkstore_core::replica::{Ended, FreezeAnswer, Input, ReplicaKey, SealAnswer, Sealed};
use chunkstore_protocol::{Frozen, SealedChunk};
use tokio::sync::Notify;

use super::Server;
use super::event_loop::Stopped;
use super::open_chunk::{DiskError, OpenChunk};

/// Tells an upload to end.
pub(super) type EndSignal = Arc<Notify>;

/// Uploads under way, and those that broke off. The core bounds both.
#[derive(Debug, Default)]
pub(super) struct Unfinished(Mutex<Books>);

#[derive(Debug, Default)]
struct Books {
    running: BTreeMap<ReplicaKey, EndSignal>,
    cut: BTreeMap<ReplicaKey, OpenChunk>,
}

/// Why a chunk was not frozen or sealed.
#[derive(Debug, thiserror::Error)]
pub(super) enum SealError {
    /// There is nothing of it.
    #[error(
        "nothing of chunk {} version {} is here to be sealed: seal it on the servers that have it",
        .0.chunk, .0.version.0
    )]
    Unknown(ReplicaKey),
    /// It is being written.
    #[error("chunk {} is being written here: freeze it first", .0.chunk)]
    Open(ReplicaKey),
    /// It can't have that length.
    #[error(
        "chunk {} has {held} bytes here and can't be sealed at {length}: a block must end there, and \
         what is sealed stays; abandon it, and write it to another",
        replica.chunk
    )]
    Differs {
        /// The replica.
        replica: ReplicaKey,
        /// What was asked for.
        length: u64,
        /// What there is.
        held: u64,
    },
    /// The request names no length.
    #[error("the query needs length=N: the bytes that the chunk is to have")]
    NoLength,
    /// The disk.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The daemon is stopping.
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

impl Unfinished {
    /// An upload begins; what it is given says when it must end.
    pub(super) fn begin(&self, replica: ReplicaKey) -> EndSignal {
        let end = EndSignal::default();
        self.books().running.insert(replica, Arc::clone(&end));
        end
    }

    /// It has ended.
    pub(super) fn end(&self, replica: ReplicaKey) {
        self.books().running.remove(&replica);
    }

    /// Has an upload under way end.
    pub(super) fn end_upload(&self, replica: ReplicaKey) {
        if let Some(end) = self.books().running.get(&replica) {
            end.notify_one();
        }
    }

    /// Keeps what an upload left.
    pub(super) fn keep(&self, replica: ReplicaKey, chunk: OpenChunk) {
        self.books().cut.insert(replica, chunk);
    }

    /// What an upload left, to be sealed or discarded.
    pub(super) fn take(&self, replica: ReplicaKey) -> Option<OpenChunk> {
        self.books().cut.remove(&replica)
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends an upload of this replica if there is one, and says what there is.
pub(super) async fn freeze(server: &Server, replica: ReplicaKey) -> Result<Frozen, SealError> {
    match server.replicas.freeze(replica).await? {
        FreezeAnswer::Frozen(frozen) => Ok(frozen),
        FreezeAnswer::Unknown => Err(SealError::Unknown(replica)),
    }
}

/// Seals a frozen replica at `length`; on return it is durable here.
pub(super) async fn seal(
    server: Arc<Server>,
    replica: ReplicaKey,
    length: u64,
) -> Result<SealedChunk, SealError> {
    let mut answer = server.replicas.seal(replica, length).await?;
    if answer == SealAnswer::Sealing {
        let _what_it_came_to = server.replicas.freeze(replica).await?;
        answer = server.replicas.seal(replica, length).await?;
    }
    let sealed = match answer {
        SealAnswer::AlreadySealed(sealed) => sealed,
        SealAnswer::Differs { held } => return Err(SealError::Differs { replica, length, held }),
        SealAnswer::Open | SealAnswer::Sealing => return Err(SealError::Open(replica)),
        SealAnswer::Unknown => return Err(SealError::Unknown(replica)),
        // To its end, whatever becomes of the connection: the core waits for it.
        SealAnswer::Seal => {
            let server = Arc::clone(&server);
            let sealing = tokio::spawn(async move { seal_cut(&server, replica, length).await });
            sealing.await.unwrap_or(Err(SealError::Stopped(Stopped)))?
        }
        SealAnswer::SealLog => {
            let server = Arc::clone(&server);
            let sealing = tokio::spawn(async move { seal_log(&server, replica, length).await });
            sealing.await.unwrap_or(Err(SealError::Stopped(Stopped)))?
        }
    };
    let Sealed { length, checksum } = sealed;
    let (servers, version) = (vec![server.host.clone()], replica.version);
    Ok(SealedChunk { chunk: replica.chunk, version, length, checksum, servers })
}

async fn seal_cut(
    server: &Arc<Server>,
    replica: ReplicaKey,
    length: u64,
) -> Result<Sealed, SealError> {
    let outcome = match server.unfinished.take(replica) {
        None => Err(SealError::Unknown(replica)),
        Some(mut chunk) => {
            chunk.truncate(length);
            match chunk.seal().await {
                Ok(footer) => Ok(footer.sealed()),
                Err(error) if error.is_of_time() => {
                    // Who asks is not kept waiting for its disk; the core is.
                    let server = Arc::clone(server);
                    tokio::spawn(async move {
                        chunk.discard().await;
                        // A loop that is gone needs no word.
                        let _ = server.replicas.tell(Input::Aborted { replica }).await;
                    });
                    return Err(error.into());
                }
                Err(error) => {
                    chunk.discard().await;
                    Err(error.into())
                }
            }
        }
    };
    let told = match &outcome {
        Ok(sealed) => Input::Sealed { replica, sealed: *sealed },
        Err(_) => Input::Aborted { replica },
    };
    server.replicas.tell(told).await?;
    if outcome.is_ok() && server.disks.find(replica).is_none() {
        // Its disk failed in this moment.
        server.replicas.tell(Input::Lost { replica }).await?;
    }
    outcome
}

/// What lay behind may be gone.
fn lost_from(length: u64) -> Ended {
    Ended { length, damaged: true, found: false }
}

async fn seal_log(server: &Server, replica: ReplicaKey, length: u64) -> Result<Sealed, SealError> {
    let outcome = match server.logs.take(replica) {
        None => Err(SealError::Unknown(replica)),
        Some(log) => {
            let sealed = log.seal(length).await;
            if !matches!(sealed, Ok(Ok(_))) {
                server.logs.put_back(replica, log);
            }
            match sealed {
                Ok(Ok(sealed)) => Ok(sealed),
                Ok(Err(Ended { length: held, .. })) => {
                    Err(SealError::Differs { replica, length, held })
                }
                Err(error) => Err(error.into()),
            }
        }
    };
    let told = match &outcome {
        Ok(sealed) => Input::Sealed { replica, sealed: *sealed },
        Err(SealError::Differs { held, .. }) => {
            Input::LogEnded { replica, ended: lost_from(*held) }
        }
        Err(_) => Input::LogEnded { replica, ended: lost_from(length) },
    };
    server.replicas.tell(told).await?;
    if outcome.is_ok() && server.disks.find(replica).is_none() {
        // Its disk failed in this moment.
        server.replicas.tell(Input::Lost { replica }).await?;
    }
    outcome
}
