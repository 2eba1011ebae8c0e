//! The other servers of a log's chunk: each writes and syncs what the primary sends, in its order.

use std::sync::Arc;

use bytes::Bytes;
use chunkstore_client::records::sound_bytes;
use chunkstore_core::replica::{Input, OpenAnswer, ReplicaKey};
use chunkstore_protocol::{CHUNK_BYTES_MAX, Followed};

use super::open_log::OpenLog;
use super::{LogError, end_here};
use crate::server::Server;

/// What a primary sends next.
#[derive(Debug)]
pub(in crate::server) struct Follow {
    pub(in crate::server) replica: ReplicaKey,
    /// Where it begins in the chunk.
    pub(in crate::server) offset: u64,
    /// Nothing, at the beginning: the replica is made.
    pub(in crate::server) frames: Bytes,
}

/// Takes what a primary sends; on return it is durable here. To be run to its end, whatever becomes of its connection.
pub(in crate::server) async fn follow(
    server: Arc<Server>,
    follow: Follow,
) -> Result<Followed, LogError> {
    let Follow { replica, offset, frames } = follow;
    if sound_bytes(&frames) != frames.len() {
        return Err(LogError::BadRecords { what: "one does not match its checksum" });
    }
    if frames.is_empty() {
        return begin(&server, replica).await.map(|()| Followed { length: 0 });
    }
    let log = server.logs.find(replica).ok_or(LogError::Ended(replica))?;
    let mut tail = log.tail().await;
    if tail.is_ended() {
        return Err(LogError::Ended(replica));
    }
    tail.follow(offset, frames.len() as u64)?;
    if let Err(error) = log.write(offset, frames).await {
        log.end_at(&mut tail, offset);
        drop(tail);
        end_here(&server, &log).await;
        return Err(error.into());
    }
    Ok(Followed { length: tail.length() })
}

async fn begin(server: &Arc<Server>, replica: ReplicaKey) -> Result<(), LogError> {
    match server.replicas.open_log(replica).await? {
        OpenAnswer::Write => {}
        OpenAnswer::TooMany { uploads_max } => {
            return Err(LogError::TooMany { logs_max: uploads_max });
        }
        OpenAnswer::AlreadySealed(_) | OpenAnswer::Busy | OpenAnswer::Stale { .. } => {
            return Err(LogError::Ended(replica));
        }
    }
    match OpenLog::create(server, replica, CHUNK_BYTES_MAX, None).await {
        Ok(log) => {
            // Nobody else makes it: the core has said so to this one.
            let _first = server.logs.slot(replica).set(Arc::new(log));
            server.replicas.tell(Input::LogOpened { replica }).await?;
            Ok(())
        }
        Err(error) => {
            server.replicas.tell(Input::Aborted { replica }).await?;
            Err(error.into())
        }
    }
}
