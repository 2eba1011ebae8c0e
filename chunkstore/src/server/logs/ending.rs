//! The end of a log's chunk: its servers are asked what they have, and add nothing from then on; what they have in common
//! (`chunkstore_core::log::agree`) is sealed on those that have it, and the master is told. A primary does it that has no
//! room or lost a server, and any of its servers when the master says so. Several may do it at once: each finds what
//! the others have sealed.

use std::sync::Arc;

use chunkstore_client::transfer::{freeze_replica, seal_chunk};
use chunkstore_core::log::{
    End, Remains, SETTLE_TRIES, SealedAs, TELL_LIMIT, agree, asked, catch_up,
};
use chunkstore_core::replica::{Input, ReplicaKey};
use chunkstore_protocol::{Done, EndLog, ProblemKind, SealedChunk, ServerAddress};
use futures_util::future::join_all;
use ids::HostName;
use net::{Backoff, CallError};

use super::peer_client;
use crate::server::{Server, metrics};

/// Why a chunk is not ended.
#[derive(Debug, thiserror::Error)]
enum EndError {
    /// Nobody has it, or nobody who surely has all of it.
    #[error(
        "none of its servers that could be asked surely has all of it (start those that are silent, or forget those that \
         are lost: `howdah fs forget`): {0}"
    )]
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

/// A primary settles what its chunk came to. These were silent just now.
pub(super) async fn settle(
    server: &Arc<Server>,
    replica: ReplicaKey,
    servers: Vec<ServerAddress>,
    silent: &[HostName],
) {
    let mut backoff = Backoff::default();
    for n_try in 0..SETTLE_TRIES {
        let is_silent = |other: &ServerAddress| silent.contains(&other.host);
        let (asked, n_left_out) = asked(&servers, is_silent, n_try);
        let asked = (asked.collect(), n_left_out);
        match try_to_end(server, replica, (&servers, asked), None).await {
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

/// Ends a chunk as the master says, once: it says so again. `sealed`: the bytes that it was sealed with without these
/// servers, if it was.
pub(in crate::server) async fn end(
    server: &Arc<Server>,
    replica: ReplicaKey,
    servers: Vec<ServerAddress>,
    sealed: Option<u64>,
) {
    let asked = (servers.iter().collect(), 0);
    if let Err(error) = try_to_end(server, replica, (&servers, asked), sealed).await {
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
    (servers, (asked, n_left_out)): (&[ServerAddress], (Vec<&ServerAddress>, usize)),
    sealed: Option<u64>,
) -> Result<(), EndError> {
    let (remains, n_silent, reasons) = freeze_all(server, replica, &asked).await;
    let n_silent = n_silent + n_left_out;
    let end = match sealed {
        Some(length) => catch_up(&remains, length),
        None => agree(&remains, n_silent),
    };
    let end = end.ok_or(EndError::NobodyHasIt(reasons))?;
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

/// What each server has, how many do not say, and why nothing of it is known of these and others.
async fn freeze_all(
    server: &Server,
    replica: ReplicaKey,
    servers: &[&ServerAddress],
) -> (Vec<(HostName, Remains)>, usize, String) {
    let client = peer_client(server, replica);
    let asked = servers.iter().map(async |other| {
        let frozen = freeze_replica(&client, other, replica, server.follow_timeout).await;
        (other.host.clone(), frozen)
    });
    let (mut remains, mut n_silent, mut reasons) = (Vec::new(), 0, Vec::new());
    for (host, frozen) in join_all(asked).await {
        match frozen {
            Ok(Some(frozen)) => {
                if frozen.damaged {
                    let length = frozen.length;
                    tracing::warn!(chunk = %replica.chunk, %host, length,
                        "a log's replica has no records behind that length: a write was cut short, or it is damaged");
                }
                remains.push((host, frozen.into()));
            }
            Ok(None) => reasons.push(format!("{host}: nothing is there")),
            Err(error) => {
                n_silent += 1;
                reasons.push(format!("{host}: {error}"));
            }
        }
    }
    for (host, is) in &remains {
        if let Remains::Damaged(length) = is {
            reasons.push(format!("{host}: may have lost what it had behind {length} bytes"));
        }
    }
    (remains, n_silent, reasons.join("; "))
}

async fn seal_all(
    server: &Server,
    replica: ReplicaKey,
    servers: &[ServerAddress],
    (length, on): (u64, &[HostName]),
) -> Result<SealedChunk, EndError> {
    let client = peer_client(server, replica);
    let asked = servers
        .iter()
        .filter(|other| on.contains(&other.host))
        .map(async |other| (other.host.clone(), seal_chunk(&client, other, replica, length).await));
    let (mut sealed_as, mut reasons) = (SealedAs::default(), Vec::new());
    for (host, sealed) in join_all(asked).await {
        match sealed {
            Ok(sealed) => sealed_as.handle_sealed(host, &sealed),
            Err(error) => reasons.push(format!("{host}: {error}")),
        }
    }
    for host in sealed_as.differing {
        tracing::error!(chunk = %replica.chunk, %host, length, "a server of a log's chunk sealed other bytes");
    }
    sealed_as.chunk.ok_or_else(|| EndError::NotSealed { length, reasons: reasons.join("; ") })
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
    let told = client.post_retrying(&server.master, "/v1/logs/end", &request, TELL_LIMIT).await;
    match told {
        Ok(Done {}) => Ok(()),
        Err(error)
            if error.problem_kind().and_then(ProblemKind::of) == Some(ProblemKind::LogEnded) =>
        {
            Ok(())
        }
        Err(error) => Err(error),
    }
}
