//! One chunkserver's answer to a read: verified bytes of one chunk, in order. Only `read` calls this.

use std::collections::VecDeque;

use bytes::Bytes;
use chunkstore_protocol::block::BLOCK_BYTES;
use chunkstore_protocol::{CHUNK_BYTES_MAX, ChunkLocation};
use net::reqwest::Response;
use net::{CallError, Client};

use crate::blocks::{BlockDecoder, BlockError, Item};
use crate::transfer::{get_chunk, read_stall_limit};

/// Why a replica can't be read on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReplicaError {
    /// The server, or the connection to it.
    #[error(transparent)]
    Call(#[from] CallError),
    /// What it sent.
    #[error(transparent)]
    Blocks(#[from] BlockError),
    /// It answered another question.
    #[error("sent bytes from offset {first} on when asked for offset {wanted}")]
    WrongOffset { first: u64, wanted: u64 },
    /// Its whole answer holds less than was asked for.
    #[error("sent {missing} bytes less than the chunk has")]
    TooFew { missing: u64 },
    /// Silence.
    #[error("sent nothing for {} s", read_stall_limit().as_secs())]
    Stalled,
}

/// An open read of one replica.
#[derive(Debug)]
pub(crate) struct ReplicaStream {
    address: String,
    response: Response,
    decoder: BlockDecoder,
    /// Pieces of the current block, not verified yet.
    unverified: Vec<Bytes>,
    /// Bytes to drop before the first wanted one: reads are widened to whole blocks.
    skip: u64,
    /// Bytes still wanted.
    left: u64,
}

impl ReplicaStream {
    /// Asks the server at `address` for `length` bytes of the chunk from `offset` (within it) on.
    pub(crate) async fn open(
        client: &Client,
        address: &str,
        location: &ChunkLocation,
        offset: u64,
        length: u64,
    ) -> Result<Self, ReplicaError> {
        let client = client.with_token(location.token.clone());
        let chunk = (location.chunk, location.version);
        let opened = get_chunk(&client, address, chunk, offset, length);
        let (first, response) = tokio::time::timeout(read_stall_limit(), opened)
            .await
            .map_err(|_| ReplicaError::Stalled)??;
        if first > offset || offset - first >= BLOCK_BYTES as u64 {
            return Err(ReplicaError::WrongOffset { first, wanted: offset });
        }
        Ok(Self {
            address: address.to_owned(),
            response,
            decoder: BlockDecoder::new(CHUNK_BYTES_MAX),
            unverified: Vec::new(),
            skip: offset - first,
            left: length,
        })
    }

    /// Appends at least one verified piece to `verified`; `false` when all wanted bytes are delivered.
    /// What was verified before a failure is delivered too: the next replica goes on behind it.
    pub(crate) async fn next(
        &mut self,
        verified: &mut VecDeque<Bytes>,
    ) -> Result<bool, ReplicaError> {
        let before = verified.len();
        while self.left > 0 && verified.len() == before {
            let Some(frame) = self.frame().await? else {
                self.decoder.finish()?;
                return Err(ReplicaError::TooFew { missing: self.left });
            };
            self.decoder.feed(frame);
            self.take_items(verified)?;
        }
        if verified.len() == before {
            self.finish().await;
        }
        Ok(verified.len() > before)
    }

    /// Takes the end mark off the connection, so that it can serve the next read. All wanted bytes are
    /// verified by now, so what happens here is of no interest.
    async fn finish(&mut self) {
        while let Ok(Some(frame)) = self.frame().await {
            self.decoder.feed(frame);
            if !matches!(self.decoder.next_item(), Ok(Some(Item::End { .. }) | None)) {
                return;
            }
        }
    }

    async fn frame(&mut self) -> Result<Option<Bytes>, ReplicaError> {
        let frame = tokio::time::timeout(read_stall_limit(), self.response.chunk())
            .await
            .map_err(|_| ReplicaError::Stalled)?;
        Ok(frame.map_err(|error| CallError::from_http(&self.address, &error))?)
    }

    fn take_items(&mut self, verified: &mut VecDeque<Bytes>) -> Result<(), ReplicaError> {
        while let Some(item) = self.decoder.next_item()? {
            match item {
                Item::Bytes(bytes) => self.unverified.push(bytes),
                Item::BlockEnd { .. } => self.release(verified),
                Item::End { .. } => {}
            }
        }
        Ok(())
    }

    fn release(&mut self, verified: &mut VecDeque<Bytes>) {
        for mut piece in self.unverified.drain(..) {
            let skipped = usize::try_from(self.skip).unwrap_or(usize::MAX).min(piece.len());
            let mut piece = piece.split_off(skipped);
            self.skip -= skipped as u64;
            let wanted = usize::try_from(self.left).unwrap_or(usize::MAX).min(piece.len());
            piece.truncate(wanted);
            self.left -= wanted as u64;
            if !piece.is_empty() {
                verified.push_back(piece);
            }
        }
    }
}
