//! A chunk's `PUT`: verifies each block, writes it, passes it on to the next server of the pipeline at
//! once, and seals. Disk failures are `open_chunk`'s, the next server's failures `forward`'s; whether the
//! upload may begin is the replica core's word. What an upload that breaks off leaves is `seal`'s.

use std::sync::Arc;
use std::time::Duration;

use axum::body::BodyDataStream;
use bytes::Bytes;
use chunkstore_client::blocks::{BlockDecoder, BlockError, Item};
use chunkstore_core::replica::{Input, OpenAnswer, ReplicaKey, Sealed};
use chunkstore_protocol::{CHUNK_BYTES_MAX, SealedChunk, ServerAddress, Version};
use clock::Stopwatch;
use futures_util::StreamExt as _;

use super::Server;
use super::event_loop::Stopped;
use super::forward::{Forward, NextFailed};
use super::give_way::Way;
use super::metrics;
use super::open_chunk::{DiskError, OpenChunk};
use super::seal::EndSignal;

/// A writer may be silent for so many times as long as a reader: a slow program may write little by little.
const WRITER_PATIENCE: u32 = 10;
/// How long the rest of a refused upload is read and dropped, so that the writer can read the refusal.
const DRAIN_LIMIT: Duration = Duration::from_secs(30);

/// A `PUT`, as its request says.
#[derive(Debug)]
pub(super) struct Upload {
    pub(super) replica: ReplicaKey,
    pub(super) downstream: Vec<ServerAddress>,
    /// Whether another server passes it on, which has the bytes too.
    pub(super) passed_on: bool,
    /// Whether it is a copy: it is taken behind what clients want.
    pub(super) is_copy: bool,
    /// The writer's token, for the servers downstream.
    pub(super) token: String,
}

/// Why a chunk was not taken whole.
#[derive(Debug, thiserror::Error)]
pub(super) enum UploadError {
    /// The same replica is being written or deleted.
    #[error("chunk {} is being written or deleted here: allocate another", .0.chunk)]
    Busy(ReplicaKey),
    /// A newer version is here.
    #[error("version {} of chunk {} is held here: this upload is of an older lease", held.0, replica.chunk)]
    Stale {
        /// What was offered.
        replica: ReplicaKey,
        /// What is held.
        held: Version,
    },
    /// Other bytes are sealed here under the same name.
    #[error("chunk {} is sealed here with other bytes: allocate another", .0.chunk)]
    Differs(ReplicaKey),
    /// As many uploads as allowed are under way.
    #[error("{uploads_max} uploads are under way: try another server, or again in a moment")]
    TooMany {
        /// The limit.
        uploads_max: usize,
    },
    /// The bytes can't be trusted.
    #[error("the upload's block stream: {0}")]
    Blocks(#[from] BlockError),
    /// There are no bytes.
    #[error("an empty chunk is not kept: close the file without it")]
    Empty,
    /// The writer's connection broke.
    #[error("the upload broke off: {0}")]
    Broken(axum::Error),
    /// The writer is silent.
    #[error("nothing arrived for {limit:?}")]
    Idle {
        /// How long a writer may be silent.
        limit: Duration,
    },
    /// Its writer ended it.
    #[error("the upload was frozen: seal the chunk where it ends, and write the rest to another")]
    Frozen,
    /// The bytes would be on this server alone.
    #[error(transparent)]
    NextFailed(#[from] NextFailed),
    /// The disk.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The daemon is stopping.
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

impl UploadError {
    /// Whether a call to the disk may be at work yet.
    fn is_of_time(&self) -> bool {
        matches!(self, Self::Disk(error) if error.is_of_time())
    }

    /// Whether what came before is good, and its writer may want it sealed.
    fn leaves_a_cut(&self) -> bool {
        match self {
            Self::Broken(_)
            | Self::Idle { .. }
            | Self::Frozen
            | Self::NextFailed(_)
            // A sender that dies may look like one that ends.
            | Self::Blocks(BlockError::CutShort { .. }) => true,
            Self::Busy(_)
            | Self::Stale { .. }
            | Self::Differs(_)
            | Self::TooMany { .. }
            | Self::Blocks(_)
            | Self::Empty
            | Self::Disk(_)
            | Self::Stopped(_) => false,
        }
    }
}

/// Takes a chunk; on return it is durable here, and on the servers that the answer lists.
pub(super) async fn receive(
    server: &Arc<Server>,
    upload: &Upload,
    body: &mut BodyDataStream,
) -> Result<SealedChunk, UploadError> {
    let replica = upload.replica;
    let watch = Stopwatch::start();
    let sealed = match server.replicas.open(replica, upload.is_copy).await? {
        OpenAnswer::Write => receive_new(server, upload, body).await,
        OpenAnswer::AlreadySealed(sealed) => receive_again(server, upload, sealed, body).await,
        OpenAnswer::Busy => Err(UploadError::Busy(replica)),
        OpenAnswer::Stale { held } => Err(UploadError::Stale { replica, held }),
        OpenAnswer::TooMany { uploads_max } => Err(UploadError::TooMany { uploads_max }),
    };
    metrics::observe_upload(sealed.as_ref().ok().map(|chunk| chunk.length), watch.elapsed());
    if let Err(error) = &sealed {
        tracing::warn!(chunk = %replica.chunk, version = replica.version.0, %error,
            "an upload failed");
    }
    sealed
}

/// Reads and drops what comes after a refusal.
pub(super) async fn drain(mut body: BodyDataStream) {
    let dropped = async {
        let mut left = CHUNK_BYTES_MAX + CHUNK_BYTES_MAX / 1024;
        while let Some(Ok(frame)) = body.next().await {
            left = left.saturating_sub(frame.len() as u64);
            if left == 0 {
                return;
            }
        }
    };
    // A writer that goes on for longer loses its connection.
    let _ = tokio::time::timeout(DRAIN_LIMIT, dropped).await;
}

async fn receive_new(
    server: &Arc<Server>,
    upload: &Upload,
    body: &mut BodyDataStream,
) -> Result<SealedChunk, UploadError> {
    let replica = upload.replica;
    let end = server.unfinished.begin(replica);
    let (told, outcome) = match OpenChunk::create(&server.disks, replica).await {
        Err(error) => (Input::Aborted { replica }, Err(error.into())),
        Ok(mut chunk) => match write(server, upload, body, &mut chunk, &end).await {
            Ok((sealed, downstream)) => {
                let answer = answer(server, replica, sealed, downstream);
                (Input::Sealed { replica, sealed }, Ok(answer))
            }
            Err(error) if error.is_of_time() => {
                // Its writer goes on elsewhere at once; here nobody takes it up before its disk has done, or is given up.
                let server = Arc::clone(server);
                tokio::spawn(async move {
                    chunk.discard().await;
                    server.unfinished.end(replica);
                    // A loop that is gone needs no word.
                    let _ = server.replicas.tell(Input::Aborted { replica }).await;
                });
                return Err(error);
            }
            Err(error) => (end_early(server, chunk, replica, &error).await, Err(error)),
        },
    };
    server.unfinished.end(replica);
    server.replicas.tell(told).await?;
    if outcome.is_ok() && server.disks.find(replica).is_none() {
        // Its disk failed in this moment, and what it held may have been told before this one was known.
        server.replicas.tell(Input::Lost { replica }).await?;
    }
    outcome
}

/// Keeps what there is for its writer to seal, or nothing. Returns what the core is to hear.
async fn end_early(
    server: &Server,
    mut chunk: OpenChunk,
    replica: ReplicaKey,
    error: &UploadError,
) -> Input {
    if error.leaves_a_cut()
        && let Ok(length @ 1..) = chunk.cut().await
    {
        server.unfinished.keep(replica, chunk);
        return Input::Cut { replica, length };
    }
    chunk.discard().await;
    Input::Aborted { replica }
}

async fn write(
    server: &Server,
    upload: &Upload,
    body: &mut BodyDataStream,
    chunk: &mut OpenChunk,
    end: &EndSignal,
) -> Result<(Sealed, Option<SealedChunk>), UploadError> {
    let mut forward = start_forward(server, upload);
    tokio::select! {
        biased;
        () = end.notified() => return Err(UploadError::Frozen),
        written = write_blocks(server, upload, body, chunk, forward.as_mut()) => written?,
    }
    let downstream = async {
        match forward {
            // Who freezes this server now wants to know what it has, not what others have.
            Some(forward) => tokio::select! {
                biased;
                () = end.notified() => None,
                sealed = forward.finish() => sealed,
            },
            None => None,
        }
    };
    let (footer, downstream) = tokio::join!(chunk.seal(), downstream);
    Ok((footer?.sealed(), downstream))
}

/// Takes the whole body. May be dropped at any await: what has come is in `chunk`.
async fn write_blocks(
    server: &Server,
    upload: &Upload,
    body: &mut BodyDataStream,
    chunk: &mut OpenChunk,
    mut forward: Option<&mut Forward>,
) -> Result<(), UploadError> {
    let mut decoder = BlockDecoder::new(CHUNK_BYTES_MAX);
    while let Some(frame) = next_frame(server, body).await? {
        match upload.is_copy {
            true => server.clients.give_way(Way::In, frame.len() as u64).await,
            false => server.clients.observe(),
        }
        decoder.feed(frame.clone());
        while let Some(item) = decoder.next_item()? {
            match item {
                Item::Bytes(bytes) => chunk.push(bytes),
                Item::BlockEnd { checksum } => chunk.end_block(checksum),
                Item::End { .. } => {}
            }
        }
        if let Some(forward) = &mut forward {
            forward.send(frame).await?;
        }
        chunk.write_full_batch().await?;
    }
    decoder.finish()?;
    match decoder.length() {
        0 => Err(UploadError::Empty),
        _ => Ok(()),
    }
}

/// A repeated upload: the same bytes get the same answer, and go downstream again.
async fn receive_again(
    server: &Server,
    upload: &Upload,
    held: Sealed,
    body: &mut BodyDataStream,
) -> Result<SealedChunk, UploadError> {
    let mut forward = start_forward(server, upload);
    let mut decoder = BlockDecoder::new(CHUNK_BYTES_MAX);
    let mut checksum = 0;
    while let Some(frame) = next_frame(server, body).await? {
        decoder.feed(frame.clone());
        while let Some(item) = decoder.next_item()? {
            if let Item::End { checksum: end } = item {
                checksum = end;
            }
        }
        if let Some(forward) = &mut forward {
            forward.send(frame).await?;
        }
    }
    decoder.finish()?;
    if (Sealed { length: decoder.length(), checksum }) != held {
        return Err(UploadError::Differs(upload.replica));
    }
    let downstream = match forward {
        Some(forward) => forward.finish().await,
        None => None,
    };
    Ok(answer(server, upload.replica, held, downstream))
}

fn start_forward(server: &Server, upload: &Upload) -> Option<Forward> {
    let client = server.client.with_token(upload.token.clone());
    Forward::start(client, upload.replica, &upload.downstream, !upload.passed_on)
}

async fn next_frame(
    server: &Server,
    body: &mut BodyDataStream,
) -> Result<Option<Bytes>, UploadError> {
    let limit = server.idle_timeout.saturating_mul(WRITER_PATIENCE);
    let frame = tokio::time::timeout(limit, body.next()).await;
    frame.map_err(|_| UploadError::Idle { limit })?.transpose().map_err(UploadError::Broken)
}

fn answer(
    server: &Server,
    replica: ReplicaKey,
    sealed: Sealed,
    downstream: Option<SealedChunk>,
) -> SealedChunk {
    let Sealed { length, checksum } = sealed;
    let mut servers = vec![server.host.clone()];
    match downstream {
        Some(theirs) if (theirs.length, theirs.checksum) == (length, checksum) => {
            servers.extend(theirs.servers);
        }
        Some(theirs) => {
            tracing::error!(chunk = %replica.chunk, ?theirs, ?sealed, "downstream sealed other bytes");
        }
        None => {}
    }
    SealedChunk { chunk: replica.chunk, version: replica.version, length, checksum, servers }
}

/// Runs an upload to its end whatever becomes of its connection, so that it always cleans up; what is
/// left of a refused body is read and dropped while the refusal is already on its way.
pub(super) async fn receive_detached(
    server: Arc<Server>,
    upload: Upload,
    mut body: BodyDataStream,
) -> Result<SealedChunk, UploadError> {
    let (answer, answered) = tokio::sync::oneshot::channel();
    let behind = upload.is_copy.then(|| server.behind.clone());
    let receiving = async move {
        let outcome = receive(&server, &upload, &mut body).await;
        let refused = outcome.is_err();
        // A writer that is gone wants no answer.
        let _ = answer.send(outcome);
        if refused {
            drain(body).await;
        }
    };
    match behind {
        Some(behind) => behind.spawn(receiving),
        None => drop(tokio::spawn(receiving)),
    };
    answered.await.unwrap_or(Err(UploadError::Stopped(Stopped)))
}
