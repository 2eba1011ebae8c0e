//! Puts a replica together from the sound blocks of broken ones, of this server and others, as the chunk master asks for when
//! nobody has a good one: each is read as far as it is sound, and where it is not the next goes on. What comes of it is sealed
//! only if it is the very chunk. Whether it is to be tried, and where, is the master's word.

use std::sync::Arc;
use std::time::Duration;

use axum::body::BodyDataStream;
use bytes::Bytes;
use chunkstore_client::blocks::{BlockDecoder, BlockError, Item};
use chunkstore_client::checksum::ChunkChecksum;
use chunkstore_client::transfer::{get_chunk, read_stall_limit};
use chunkstore_core::replica::{CommandNumber, Input, OpenAnswer, ReplicaKey, Sealed};
use chunkstore_protocol::block::BLOCK_BYTES;
use chunkstore_protocol::{CHUNK_BYTES_MAX, CopyPurpose, ServerAddress};
use futures_util::StreamExt as _;
use net::{CallError, Capability, Client, Grant, Keyring, Role};

use super::Server;
use super::download::{self, DownloadError, Reader};
use super::event_loop::Stopped;
use super::give_way::Way;
use super::metrics;
use super::open_chunk::{DiskError, OpenChunk};

/// How long all of it may take: far more than it needs.
const ASSEMBLY_LIMIT: Duration = Duration::from_secs(20 * 60);

/// What is to be made.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    pub(super) replica: ReplicaKey,
    /// What it must be.
    pub(super) sealed: Sealed,
    /// Other servers that have some of it.
    pub(super) from: Vec<ServerAddress>,
}

/// Why a replica could not be put together.
#[derive(Debug, thiserror::Error)]
pub(super) enum AssemblyError {
    /// It is being written or deleted here.
    #[error("it is being written or deleted here, or too much is")]
    Busy,
    /// A block is sound nowhere.
    #[error("no server has a sound block at byte {at}")]
    Hole {
        /// Where the block begins.
        at: u64,
    },
    /// Sound blocks of another chunk.
    #[error("its blocks are sound and are not the chunk's: they make {made:08x}")]
    Differs {
        /// The checksum of what they make.
        made: u32,
    },
    /// It takes too long.
    #[error("it is not done after {ASSEMBLY_LIMIT:?}")]
    TooSlow,
    /// The disk.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The daemon is stopping.
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

/// Makes the replica, with a word to the log; gives the core its answer.
pub(super) async fn carry_out(
    server: Arc<Server>,
    keyring: Keyring,
    command: CommandNumber,
    wanted: Wanted,
) {
    let (replica, chunk) = (wanted.replica, wanted.replica.chunk);
    let made = make(&server, &keyring, &wanted).await;
    metrics::observe_assembly(made.is_ok());
    match &made {
        Ok(()) => tracing::info!(%chunk, "a replica was put together from broken ones"),
        Err(error) => {
            tracing::error!(%chunk, %error, "a replica can't be put together from the broken ones that are left");
        }
    }
    // A loop that is gone needs no answer.
    let _ = server.replicas.tell(Input::CopyEnded { command, replica, done: made.is_ok() }).await;
}

async fn make(
    server: &Arc<Server>,
    keyring: &Keyring,
    wanted: &Wanted,
) -> Result<(), AssemblyError> {
    let replica = wanted.replica;
    match server.replicas.open(replica, true).await? {
        OpenAnswer::Write => {}
        OpenAnswer::AlreadySealed(held) if held == wanted.sealed => return Ok(()),
        OpenAnswer::AlreadySealed(_)
        | OpenAnswer::Busy
        | OpenAnswer::Stale { .. }
        | OpenAnswer::TooMany { .. } => return Err(AssemblyError::Busy),
    }
    let made = match OpenChunk::create(&server.disks, replica).await {
        Err(error) => Err(error.into()),
        Ok(mut chunk) => match fill_and_seal(server, keyring, wanted, &mut chunk).await {
            Ok(sealed) => Ok(sealed),
            Err(error) => {
                chunk.discard().await;
                Err(error)
            }
        },
    };
    let told = match &made {
        Ok(sealed) => Input::Sealed { replica, sealed: *sealed },
        Err(_) => Input::Aborted { replica },
    };
    server.replicas.tell(told).await?;
    if made.is_ok() && server.disks.find(replica).is_none() {
        // Its disk failed in this moment.
        server.replicas.tell(Input::Lost { replica }).await?;
    }
    made.map(drop)
}

async fn fill_and_seal(
    server: &Arc<Server>,
    keyring: &Keyring,
    wanted: &Wanted,
    chunk: &mut OpenChunk,
) -> Result<Sealed, AssemblyError> {
    let capability = Capability {
        subject: server.host.to_string(),
        role: Role::Task,
        grants: vec![Grant::read(wanted.replica.chunk.resource())],
        expires: clock::wall() + ASSEMBLY_LIMIT,
    };
    let client = server.copy_client.with_token(keyring.mint(&capability));
    let filling = Filling { server, client, wanted, chunk, made: Made::default() };
    let filled = tokio::time::timeout(ASSEMBLY_LIMIT, filling.fill()).await;
    let made = filled.map_err(|_| AssemblyError::TooSlow)??;
    if made != wanted.sealed.checksum {
        return Err(AssemblyError::Differs { made });
    }
    Ok(chunk.seal().await?.sealed())
}

/// What has been put together so far.
#[derive(Debug, Default)]
struct Made {
    length: u64,
    checksum: ChunkChecksum,
}

struct Filling<'a> {
    server: &'a Arc<Server>,
    /// For the other servers.
    client: Client,
    wanted: &'a Wanted,
    chunk: &'a mut OpenChunk,
    made: Made,
}

/// What a broken replica gives, from a block on.
enum Source {
    Own(BodyDataStream),
    Other(String, net::reqwest::Response),
}

/// Why one gives no more.
#[derive(Debug, thiserror::Error)]
enum SourceError {
    #[error(transparent)]
    Own(#[from] DownloadError),
    #[error("{0}")]
    Body(axum::Error),
    #[error(transparent)]
    Call(#[from] CallError),
    #[error(transparent)]
    Blocks(#[from] BlockError),
    #[error("it sent other blocks than were asked for")]
    OtherBlocks,
    #[error("it sent nothing for so long")]
    Stalled,
    #[error(transparent)]
    Disk(#[from] DiskError),
}

impl Filling<'_> {
    /// Takes all blocks, and returns the checksum of what they make.
    async fn fill(mut self) -> Result<u32, AssemblyError> {
        let (length, n_sources) = (self.wanted.sealed.length, self.wanted.from.len() + 1);
        let (mut nth, mut n_in_vain) = (0, 0);
        while self.made.length < length {
            let before = self.made.length;
            match self.take_from(nth).await {
                Ok(()) => {}
                Err(SourceError::Disk(error)) => return Err(error.into()),
                Err(error) => {
                    tracing::debug!(chunk = %self.wanted.replica.chunk, at = self.made.length, %error, "a broken replica ends");
                }
            }
            n_in_vain = if self.made.length > before { 1 } else { n_in_vain + 1 };
            if self.made.length < length && n_in_vain > n_sources {
                return Err(AssemblyError::Hole { at: self.made.length });
            }
            nth = (nth + 1) % n_sources;
        }
        Ok(self.made.checksum.value())
    }

    /// Takes what the source has from here on, up to its first bad block.
    async fn take_from(&mut self, nth: usize) -> Result<(), SourceError> {
        let mut source = self.open(nth).await?;
        let mut decoder = BlockDecoder::new(CHUNK_BYTES_MAX);
        let mut block = Vec::new();
        while let Some(frame) = next_frame(&mut source).await? {
            let n = frame.len() as u64;
            decoder.feed(frame);
            while let Some(item) = decoder.next_item()? {
                match item {
                    Item::Bytes(bytes) => block.push(bytes),
                    Item::BlockEnd { checksum } => {
                        self.take_block(std::mem::take(&mut block), checksum)?;
                    }
                    Item::End { .. } => return Ok(()),
                }
            }
            self.chunk.write_full_batch().await?;
            self.server.rates.of(CopyPurpose::Repair).pass(n).await;
            self.server.clients.give_way(Way::In, n).await;
        }
        Ok(())
    }

    /// A block that is sound in itself.
    fn take_block(&mut self, block: Vec<Bytes>, checksum: u32) -> Result<(), SourceError> {
        let n: u64 = block.iter().map(|bytes| bytes.len() as u64).sum();
        if n != (self.wanted.sealed.length - self.made.length).min(BLOCK_BYTES as u64) {
            return Err(SourceError::OtherBlocks);
        }
        block.into_iter().for_each(|bytes| self.chunk.push(bytes));
        self.chunk.end_block(checksum);
        self.made.checksum.push(checksum, n);
        self.made.length += n;
        Ok(())
    }

    /// The first source is this server's own.
    async fn open(&self, nth: usize) -> Result<Source, SourceError> {
        let Wanted { replica, sealed, from } = self.wanted;
        let at = self.made.length;
        let (first, source) = match nth.checked_sub(1).and_then(|nth| from.get(nth)) {
            None => {
                let download =
                    download::send(self.server, Reader::Copy, *replica, at, None).await?;
                (download.first, Source::Own(download.body.into_data_stream()))
            }
            Some(ServerAddress { address, .. }) => {
                let asking = get_chunk(&self.client, address, *replica, at, sealed.length - at);
                let asked = tokio::time::timeout(read_stall_limit(), asking).await;
                let (first, response) = asked.map_err(|_| SourceError::Stalled)??;
                (first, Source::Other(address.clone(), response))
            }
        };
        if first == at { Ok(source) } else { Err(SourceError::OtherBlocks) }
    }
}

async fn next_frame(source: &mut Source) -> Result<Option<Bytes>, SourceError> {
    let next = async {
        match source {
            Source::Own(body) => body.next().await.transpose().map_err(SourceError::Body),
            Source::Other(address, response) => {
                let frame = response.chunk().await;
                Ok(frame.map_err(|error| CallError::from_http(address, &error))?)
            }
        }
    };
    tokio::time::timeout(read_stall_limit(), next).await.map_err(|_| SourceError::Stalled)?
}
