//! What readers get of a log's open chunk: what its primary knows every server to have.

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
    let mut bytes = log.read(offset, READ_BYTES).await?;
    let wanted = bytes.len();
    bytes.truncate(sound_bytes(&bytes));
    if bytes.is_empty() && wanted > 0 {
        if is_sound(&log).await? {
            return Err(LogError::NoRecordAt { replica, offset });
        }
        // The others have them: the chunk is ended there, once its primary takes no more.
        tracing::error!(chunk = %replica.chunk, offset, "a record of a log's open chunk does not match its checksum");
        end_here(server, &log).await;
        server.replicas.tell(Input::LogStuck { replica }).await?;
        return Err(LogError::Ended(replica));
    }
    metrics::observe_sent(bytes.len() as u64);
    Ok(bytes.into())
}

/// Whether all acknowledged records match their checksums.
async fn is_sound(log: &OpenLog) -> Result<bool, LogError> {
    let bytes = log.read(0, log.acknowledged()).await?;
    Ok(sound_bytes(&bytes) == bytes.len())
}
