//! The end of a log's chunk: its servers are asked what they have, and add nothing from then on; what they have in common
//! (`chunkstore_core::log::agree`) is sealed on those that have it, and the master is told. A primary does it that has no
//! room or lost a server, and any of its servers when the master says so. Several may do it at once: each finds what
//! the others have sealed.

use std::sync::Arc;
use std::time::Duration;

use chunkstore_client::transfer::{freeze_replica, seal_chunk};
use chunkstore_core::log::{End, Remains, agree};
use chunkstore_core::replica::{Input, ReplicaKey};
use chunkstore_protocol::{Done, EndLog, Frozen, ProblemKind, SealedChunk, ServerAddress};
use futures_util::future::join_all;
use ids::HostName;
use net::{Backoff, CallError};

use super::peer_client;
use crate::server::{Server, metrics};

/// How long the master is told again, while it is away.
const TELL_LIMIT: Duration = Duration::from_secs(10);
/// Tries of a primary to settle its own chunk, before it leaves that to the master.
const TRIES: u32 = 3;

/// Why a chunk is not ended.
#[derive(Debug, thiserror::Error)]
enum EndError {
    /// Nobody has it.
    #[error("none of its servers that could be asked has anything of it: {0}")]
    NobodyHasIt(String),
    /// Nobody could seal it.
    #[error("it can't be sealed at {length} bytes: {reasons}")]
    NotSealed {
        /// Bytes that it was to have.
        length: u64,
        /// What each server said.
        reasons: String,
    },
    /// The master.
    #[error("the chunk master can't be told: {0}")]
    Master(#[from] CallError),
}

/// A primary settles what its chunk came to.
pub(super) async fn settle(server: &Arc<Server>, replica: ReplicaKey, servers: Vec<ServerAddress>) {
    let mut backoff = Backoff::default();
    for _ in 0..TRIES {
        match try_to_end(server, replica, &servers).await {
            Ok(()) => return,
            Err(error) => {
                tracing::warn!(chunk = %replica.chunk, %error, "a log's chunk is not ended yet");
                backoff.pause().await;
            }
        }
    }
    // A loop that is gone needs no word.
    let _ = server.replicas.tell(Input::LogStuck { replica }).await;
}

/// Ends a chunk as the master says, once: it says so again.
pub(in crate::server) async fn end(
    server: &Arc<Server>,
    replica: ReplicaKey,
    servers: Vec<ServerAddress>,
) {
    if let Err(error) = try_to_end(server, replica, &servers).await {
        tracing::warn!(chunk = %replica.chunk, %error, "a log's chunk is not ended");
    }
}

/// A chunk without records is of no use: these servers failed.
pub(super) async fn give_up(server: &Arc<Server>, replica: ReplicaKey, failed: Vec<HostName>) {
    if let Err(error) = tell_master(server, replica, None, failed).await {
        tracing::warn!(chunk = %replica.chunk, %error, "the chunk master can't be told that a log needs another chunk");
    }
}

async fn try_to_end(
    server: &Arc<Server>,
    replica: ReplicaKey,
    servers: &[ServerAddress],
) -> Result<(), EndError> {
    let (remains, reasons) = freeze_all(server, replica, servers).await;
    let Some(end) = agree(&remains) else { return Err(EndError::NobodyHasIt(reasons)) };
    let sealed = match end {
        End::Empty => None,
        End::Seal { length, on } => Some(seal_all(server, replica, servers, (length, &on)).await?),
    };
    let length = sealed.as_ref().map_or(0, |sealed| sealed.length);
    let n_servers = sealed.as_ref().map_or(0, |sealed| sealed.servers.len());
    tell_master(server, replica, sealed, Vec::new()).await?;
    metrics::observe_log_ended();
    tracing::info!(chunk = %replica.chunk, length, n_servers, "a log's chunk has ended");
    Ok(())
}

/// What each server has, and why others do not say.
async fn freeze_all(
    server: &Server,
    replica: ReplicaKey,
    servers: &[ServerAddress],
) -> (Vec<(HostName, Remains)>, String) {
    let client = peer_client(server, replica);
    let asked = servers.iter().map(async |other| {
        let frozen = freeze_replica(&client, other, (replica.chunk, replica.version)).await;
        (other.host.clone(), frozen)
    });
    let (mut remains, mut reasons) = (Vec::new(), Vec::new());
    for (host, frozen) in join_all(asked).await {
        match frozen {
            Ok(Some(Frozen { length, sealed: true, .. })) => {
                remains.push((host, Remains::Sealed(length)));
            }
            Ok(Some(Frozen { length, damaged: true, .. })) => {
                tracing::error!(chunk = %replica.chunk, %host, length, "a log's replica is damaged");
                remains.push((host, Remains::Damaged(length)));
            }
            Ok(Some(Frozen { length, .. })) => remains.push((host, Remains::Sound(length))),
            Ok(None) => reasons.push(format!("{host}: nothing is there")),
            Err(error) => reasons.push(format!("{host}: {error}")),
        }
    }
    (remains, reasons.join("; "))
}

async fn seal_all(
    server: &Server,
    replica: ReplicaKey,
    servers: &[ServerAddress],
    (length, on): (u64, &[HostName]),
) -> Result<SealedChunk, EndError> {
    let client = peer_client(server, replica);
    let chunk = (replica.chunk, replica.version);
    let asked = servers
        .iter()
        .filter(|other| on.contains(&other.host))
        .map(async |other| (other.host.clone(), seal_chunk(&client, other, chunk, length).await));
    let (mut whole, mut reasons) = (None::<SealedChunk>, Vec::new());
    for (host, sealed) in join_all(asked).await {
        match (sealed, &mut whole) {
            (Ok(sealed), None) => whole = Some(SealedChunk { servers: vec![host], ..sealed }),
            (Ok(sealed), Some(whole)) if sealed.checksum == whole.checksum => {
                whole.servers.push(host);
            }
            (Ok(_), Some(_)) => {
                tracing::error!(chunk = %replica.chunk, %host, length, "a server of a log's chunk sealed other bytes");
            }
            (Err(error), _) => reasons.push(format!("{host}: {error}")),
        }
    }
    whole.ok_or_else(|| EndError::NotSealed { length, reasons: reasons.join("; ") })
}

/// Tells the master. That another one was first, or the log is gone, is an end too.
async fn tell_master(
    server: &Server,
    replica: ReplicaKey,
    sealed: Option<SealedChunk>,
    failed: Vec<HostName>,
) -> Result<(), CallError> {
    let client = peer_client(server, replica);
    let (chunk, version) = (replica.chunk, replica.version);
    let request = EndLog { chunk, version, sealed, failed };
    let watch = clock::Stopwatch::start();
    let mut backoff = Backoff::default();
    loop {
        match client.post::<_, Done>(&server.master, "/v1/logs/end", &request).await {
            Ok(_) => return Ok(()),
            Err(error) if error.problem_kind() == Some(ProblemKind::LogEnded.as_str()) => {
                return Ok(());
            }
            Err(error) if error.is_transient() && watch.elapsed() < TELL_LIMIT => {
                backoff.pause().await;
            }
            Err(error) => return Err(error),
        }
    }
}
