//! One chunkserver's answer to a read: verified bytes of one chunk, in order. Only `read` and `hedge`
//! call this.

use std::time::Duration;

use bytes::{Buf as _, Bytes};
use chunkstore_protocol::block::BLOCK_BYTES;
use chunkstore_protocol::{CHUNK_BYTES_MAX, ChunkLocation, ServerAddress};
use net::reqwest::Response;
use net::{CallError, Client};

use crate::ChunkStore;
use crate::blocks::{BlockDecoder, BlockError, Item};
use crate::local_replica::{LocalError, LocalReplica};
use crate::transfer::{get_chunk, read_stall_limit, suspect_chunk};

/// How long a read that has all its bytes waits for the end mark behind them.
const END_MARK_LIMIT: Duration = Duration::from_millis(100);

/// Why reading a replica can't continue.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReplicaError {
    /// The server or the connection failed.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The stream that it sent is wrong.
    #[error(transparent)]
    Blocks(#[from] BlockError),
    /// It answered a different request.
    #[error("sent bytes from offset {first} on when asked for offset {wanted}")]
    WrongOffset { first: u64, wanted: u64 },
    /// Its complete answer has fewer bytes than requested.
    #[error("sent {missing} bytes less than the chunk has")]
    TooFew { missing: u64 },
    /// Its file on this host is corrupt.
    #[error(transparent)]
    Corrupt(LocalError),
    /// It was silent for too long.
    #[error("sent nothing for {} s", read_stall_limit().as_secs())]
    Stalled,
}

/// What a replica is asked for.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    pub(crate) location: ChunkLocation,
    /// Offset within the chunk.
    pub(crate) offset: u64,
    pub(crate) length: u64,
}

/// A read of one replica; the request is sent when the first bytes are asked for.
#[derive(Debug)]
pub(crate) struct ReplicaStream {
    server: ServerAddress,
    store: ChunkStore,
    wanted: Wanted,
    /// Whether to try reading its descriptor.
    by_descriptor: bool,
    source: Option<Source>,
    /// The failure that follows the bytes already delivered.
    failed: Option<ReplicaError>,
}

/// Where the bytes come from.
#[derive(Debug)]
enum Source {
    Http(Box<Answer>),
    Local(LocalReplica),
}

#[derive(Debug)]
struct Answer {
    address: String,
    response: Response,
    decoder: BlockDecoder,
    /// Pieces of the current block that are not verified yet.
    unverified: Vec<Bytes>,
    /// Bytes to drop before the first wanted one: reads are extended to whole blocks.
    skip: u64,
    /// Bytes still wanted.
    left: u64,
}

impl ReplicaStream {
    /// A read of the replica on `server`; nothing is sent yet.
    pub(crate) fn new(store: &ChunkStore, server: ServerAddress, wanted: Wanted) -> Self {
        Self {
            server,
            store: store.clone(),
            wanted,
            by_descriptor: true,
            source: None,
            failed: None,
        }
    }

    /// The server that is asked.
    pub(crate) fn server(&self) -> &ServerAddress {
        &self.server
    }

    /// Whether all wanted bytes are delivered.
    pub(crate) fn is_done(&self) -> bool {
        self.wanted.length == 0
    }

    /// Consumes the end mark, so that the connection can serve the next read. To be called once all
    /// wanted bytes are delivered; as these are verified, the result does not matter.
    pub(crate) async fn finish(mut self) {
        if let Some(Source::Http(answer)) = &mut self.source {
            // A connection is not worth waiting for its end mark.
            let _late = tokio::time::timeout(END_MARK_LIMIT, answer.finish()).await;
        }
    }

    /// The next verified pieces, at least one; called only while bytes are wanted. What was
    /// verified before a failure is delivered first, so that the next replica continues behind it.
    /// The last pieces reach to the end of their block. Cancellation safe, but sends the request
    /// again if the server had not answered.
    pub(crate) async fn next(&mut self) -> Result<Vec<Bytes>, ReplicaError> {
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        loop {
            match &mut self.source {
                None => self.source = Some(self.open().await?),
                Some(Source::Http(answer)) => {
                    let mut verified = Vec::new();
                    match answer.next(&mut verified).await {
                        Err(error) if verified.is_empty() => return Err(error),
                        outcome => self.failed = outcome.err(),
                    }
                    return Ok(self.deliver(verified));
                }
                Some(Source::Local(replica)) => match replica.next().await {
                    Ok(batch) => return Ok(self.deliver(vec![batch])),
                    Err(error @ LocalError::Block { .. }) => {
                        self.report();
                        return Err(ReplicaError::Corrupt(error));
                    }
                    Err(error) => {
                        tracing::debug!(host = %self.server.host, %error,
                            "a replica can't be read by its descriptor: reading on over HTTP");
                        (self.source, self.by_descriptor) = (None, false);
                    }
                },
            }
        }
    }

    fn deliver(&mut self, pieces: Vec<Bytes>) -> Vec<Bytes> {
        let n_bytes: u64 = pieces.iter().map(|piece| piece.len() as u64).sum();
        self.wanted.offset += n_bytes;
        self.wanted.length = self.wanted.length.saturating_sub(n_bytes);
        pieces
    }

    async fn open(&self) -> Result<Source, ReplicaError> {
        let Self { store, server, wanted, .. } = self;
        if self.by_descriptor
            && let Some(replica) = store.sockets().open(store, server, wanted).await
        {
            store.counts().observe_descriptor();
            return Ok(Source::Local(replica));
        }
        store.counts().observe_request();
        Answer::open(&self.client(), &server.address, wanted)
            .await
            .map(|answer| Source::Http(Box::new(answer)))
    }

    fn client(&self) -> Client {
        self.store.client().with_token(self.wanted.location.token.clone())
    }

    /// Reports the corrupt replica to its server, so that the server reads all of it and sets it
    /// aside.
    fn report(&self) {
        let replica = self.wanted.location.replica();
        let (client, server) = (self.client(), self.server.clone());
        tokio::spawn(async move {
            let told = suspect_chunk(&client, &server.address, replica).await;
            tracing::warn!(chunk = %replica.chunk, host = %server.host, ?told, "a corrupt replica was reported");
        });
    }
}

impl Answer {
    async fn open(client: &Client, address: &str, wanted: &Wanted) -> Result<Self, ReplicaError> {
        let Wanted { location, offset, length } = wanted;
        let opened = get_chunk(client, address, location.replica(), *offset, *length);
        let (first, response) = tokio::time::timeout(read_stall_limit(), opened)
            .await
            .map_err(|_| ReplicaError::Stalled)??;
        if first > *offset || offset - first >= BLOCK_BYTES as u64 {
            return Err(ReplicaError::WrongOffset { first, wanted: *offset });
        }
        Ok(Self {
            address: address.to_owned(),
            response,
            decoder: BlockDecoder::new(CHUNK_BYTES_MAX),
            unverified: Vec::new(),
            skip: offset - first,
            left: *length,
        })
    }

    /// Appends at least one piece, or fails. Never waits once it has a piece.
    async fn next(&mut self, verified: &mut Vec<Bytes>) -> Result<(), ReplicaError> {
        while verified.is_empty() {
            let Some(frame) = self.frame().await? else {
                self.decoder.finish()?;
                return Err(ReplicaError::TooFew { missing: self.left });
            };
            self.decoder.feed(frame);
            self.take_items(verified)?;
        }
        Ok(())
    }

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

    fn take_items(&mut self, verified: &mut Vec<Bytes>) -> Result<(), ReplicaError> {
        while let Some(item) = self.decoder.next_item()? {
            match item {
                Item::Bytes(bytes) => self.unverified.push(bytes),
                Item::BlockEnd { .. } => self.release(verified),
                Item::End { .. } => {}
            }
        }
        Ok(())
    }

    fn release(&mut self, verified: &mut Vec<Bytes>) {
        for mut piece in self.unverified.drain(..) {
            let skipped = usize::try_from(self.skip).unwrap_or(usize::MAX).min(piece.len());
            piece.advance(skipped);
            self.skip -= skipped as u64;
            self.left = self.left.saturating_sub(piece.len() as u64);
            if !piece.is_empty() {
                verified.push(piece);
            }
        }
    }
}
