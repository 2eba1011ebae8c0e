//! What readers get of a log's open chunk: what its primary knows every server to have.

use std::fmt::Display;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use chunkstore_client::records::sound_bytes;
use chunkstore_core::replica::{Input, ReplicaKey};
use chunkstore_protocol::BATCH_BYTES_MAX;

use super::open_log::OpenLog;
use super::{LogError, end_here};
use crate::server::{Server, metrics};

/// Bytes that one answer has at most: the longest record is among them, wherever it begins.
const READ_BYTES: u64 = 2 * BATCH_BYTES_MAX as u64;

/// Acknowledged records from `offset` on, where one begins: as many as go into one answer. None if there are no more.
pub(in crate::server) async fn read(
    server: &Arc<Server>,
    replica: ReplicaKey,
    offset: u64,
) -> Result<Bytes, LogError> {
    let log = server.logs.find(replica).filter(|log| log.offers().is_some());
    let log = log.ok_or(LogError::Ended(replica))?;
    let mut bytes = match log.read(offset, READ_BYTES).await {
        Ok(bytes) => bytes,
        Err(error) => return Err(give_up(server, &log, offset, &error).await),
    };
    let wanted = bytes.len();
    bytes.truncate(sound_bytes(&bytes));
    if bytes.is_empty() && wanted > 0 {
        return match is_sound(&log).await {
            Ok(true) => Err(LogError::NoRecordAt { replica, offset }),
            Ok(false) => {
                Err(give_up(server, &log, offset, &"it does not match its checksum").await)
            }
            Err(error) => Err(give_up(server, &log, offset, &error).await),
        };
    }
    metrics::observe_sent(bytes.len() as u64);
    Ok(bytes.into())
}

/// What was acknowledged can't be read here any more. The others have it: the chunk is ended there, once its primary takes no
/// more.
async fn give_up(
    server: &Arc<Server>,
    log: &OpenLog,
    offset: u64,
    reason: &(dyn Display + Sync),
) -> LogError {
    let replica = log.replica();
    tracing::error!(chunk = %replica.chunk, offset, %reason, "a record of a log's open chunk can't be read");
    end_here(server, log).await;
    match server.replicas.tell(Input::LogStuck { replica }).await {
        Ok(()) => LogError::Ended(replica),
        Err(stopped) => stopped.into(),
    }
}

/// Whether all acknowledged records match their checksums.
async fn is_sound(log: &OpenLog) -> io::Result<bool> {
    let bytes = log.read(0, log.acknowledged()).await?;
    Ok(sound_bytes(&bytes) == bytes.len())
}
