//! A replica on the reader's own host, read through the descriptor that its chunkserver hands over
//! (`chunkstore_protocol::descriptor`): batches of blocks are read on blocking threads, some of
//! them ahead, and each block is verified against the footer. Only `replica_stream` calls this.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, IoSliceMut, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::fs::FileExt as _;
use std::os::unix::net::{SocketAddr, UnixStream};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use chunkstore_core::replica::ReplicaKey;
use chunkstore_protocol::block::BLOCK_BYTES;
use chunkstore_protocol::descriptor::{DESCRIPTOR_FRAME_MAX, DescriptorAnswer, DescriptorRequest};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags};
use tokio::task::JoinHandle;

use crate::batch::fill_batch;
use crate::checksum::crc32c;
use crate::footer::{FOOTER_BYTES_MAX, Footer, FooterError};
use crate::replica_stream::Wanted;

/// Blocks of one batch: 1 MiB.
const BLOCKS_PER_BATCH: u64 = 16;
/// Batches that are read ahead of the caller.
const BATCHES_AHEAD: usize = 3;
/// Time limit for the server to hand over a descriptor.
const HANDOVER_LIMIT: Duration = Duration::from_secs(1);

/// Why a replica can't be read through its descriptor.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LocalError {
    /// The socket or the file failed.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The server refused.
    #[error("{reason}")]
    Refused { reason: String },
    /// The file has no valid footer.
    #[error(transparent)]
    Footer(#[from] FooterError),
    /// Its bytes differ from what was written.
    #[error("the block at byte {offset} of the local replica does not match its checksum")]
    Block { offset: u64 },
}

/// A replica whose file is open in this process.
#[derive(Debug)]
pub(crate) struct LocalReplica {
    opened: Arc<Opened>,
    /// Blocks whose reading has not begun yet.
    blocks: std::ops::Range<u64>,
    ahead: VecDeque<JoinHandle<Result<Batch, LocalError>>>,
    /// The failure that follows the bytes already returned.
    failed: Option<LocalError>,
    /// Bytes to drop before the first wanted one: reads are extended to whole blocks.
    skip: usize,
}

/// Sound whole blocks, and the failure of the next one, if another was to follow.
type Batch = (Bytes, Option<LocalError>);

#[derive(Debug)]
struct Opened {
    file: File,
    footer: Footer,
}

impl LocalReplica {
    /// Asks the chunkserver that listens on `socket` for the file.
    pub(crate) async fn open(socket: String, wanted: &Wanted) -> Result<Self, LocalError> {
        let Wanted { location, offset, length } = wanted;
        let replica = ReplicaKey { chunk: location.chunk, version: location.version };
        let token = location.token.clone();
        let opening = tokio::task::spawn_blocking(move || {
            let file = receive_file(&socket, replica, token)?;
            let footer = read_footer(&file, replica)?;
            Ok(Arc::new(Opened { file, footer }))
        });
        let opened = tokio::time::timeout(HANDOVER_LIMIT, opening).await;
        let opened = opened.map_err(|_| LocalError::Io(io::ErrorKind::TimedOut.into()))?;
        let opened: Arc<Opened> = opened.unwrap_or_else(|error| Err(joined(error)))?;
        let (block, end) = (BLOCK_BYTES as u64, offset + length);
        if opened.footer.length < end {
            return Err(LocalError::Io(io::ErrorKind::UnexpectedEof.into()));
        }
        let blocks = offset / block..end.div_ceil(block);
        let skip = usize::try_from(offset % block).unwrap_or(usize::MAX);
        Ok(Self { opened, blocks, ahead: VecDeque::new(), failed: None, skip })
    }

    /// The next batch; called only while bytes are wanted. The last one reaches to the end of its
    /// block. Cancellation safe.
    pub(crate) async fn next(&mut self) -> Result<Bytes, LocalError> {
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        self.read_ahead();
        let Some(first) = self.ahead.front_mut() else {
            return Err(LocalError::Io(io::ErrorKind::UnexpectedEof.into()));
        };
        let batch = first.await.unwrap_or_else(|error| Err(joined(error)));
        self.ahead.pop_front();
        let (mut batch, failed) = batch?;
        self.failed = failed;
        self.read_ahead();
        batch.advance(std::mem::take(&mut self.skip).min(batch.len()));
        Ok(batch)
    }

    fn read_ahead(&mut self) {
        while self.ahead.len() < BATCHES_AHEAD && !self.blocks.is_empty() {
            let first = self.blocks.start;
            let end = self.blocks.end.min(first + BLOCKS_PER_BATCH);
            self.blocks.start = end;
            let opened = Arc::clone(&self.opened);
            self.ahead
                .push_back(tokio::task::spawn_blocking(move || opened.read_sound(first..end)));
        }
    }
}

impl Opened {
    /// Reads these blocks up to the first bad one; fails only if that is the first of them.
    fn read_sound(&self, blocks: std::ops::Range<u64>) -> Result<Batch, LocalError> {
        match self.read(blocks.clone()) {
            Ok(batch) => Ok((batch, None)),
            Err(error @ LocalError::Block { offset }) => {
                let bad = offset / BLOCK_BYTES as u64;
                if bad == blocks.start {
                    return Err(error);
                }
                Ok((self.read(blocks.start..bad)?, Some(error)))
            }
            Err(error) => Err(error),
        }
    }

    /// Reads whole blocks, and verifies them while they are in the processor's cache.
    fn read(&self, blocks: std::ops::Range<u64>) -> Result<Bytes, LocalError> {
        let block = BLOCK_BYTES as u64;
        let (mut offset, end) =
            (blocks.start * block, (blocks.end * block).min(self.footer.length));
        let first = usize::try_from(blocks.start).unwrap_or(usize::MAX);
        let checksums = self.footer.blocks.iter().skip(first);
        fill_batch(usize::try_from(end - offset).unwrap_or(usize::MAX), |batch| {
            for (block, checksum) in batch.chunks_mut(BLOCK_BYTES).zip(checksums) {
                self.file.read_exact_at(block, offset)?;
                if crc32c(block) != *checksum {
                    return Err(LocalError::Block { offset });
                }
                offset += block.len() as u64;
            }
            Ok(())
        })
    }
}

fn joined(error: tokio::task::JoinError) -> LocalError {
    LocalError::Io(io::Error::other(error))
}

fn receive_file(socket: &str, replica: ReplicaKey, token: String) -> Result<File, LocalError> {
    let mut stream = UnixStream::connect_addr(&SocketAddr::from_abstract_name(socket)?)?;
    stream.set_read_timeout(Some(HANDOVER_LIMIT))?;
    stream.set_write_timeout(Some(HANDOVER_LIMIT))?;
    let request = DescriptorRequest { chunk: replica.chunk, version: replica.version, token };
    let request = serde_json::to_vec(&request).map_err(io::Error::other)?;
    let length = u32::try_from(request.len()).map_err(io::Error::other)?;
    stream.write_all(&[&length.to_le_bytes()[..], &request].concat())?;
    let (answer, descriptor) = receive_answer(&stream)?;
    match (answer, descriptor) {
        (DescriptorAnswer::Opened, Some(descriptor)) => Ok(descriptor.into()),
        (DescriptorAnswer::Opened, None) => {
            Err(io::Error::other("an answer without its descriptor").into())
        }
        (DescriptorAnswer::Refused { reason }, _) => Err(LocalError::Refused { reason }),
    }
}

fn receive_answer(stream: &UnixStream) -> io::Result<(DescriptorAnswer, Option<OwnedFd>)> {
    let (mut frame, mut descriptor) = (Vec::new(), None);
    let mut piece = vec![0; DESCRIPTOR_FRAME_MAX];
    loop {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut parts = [IoSliceMut::new(&mut piece)];
        let flags = RecvFlags::CMSG_CLOEXEC;
        let n = rustix::net::recvmsg(stream, &mut parts, &mut control, flags)?.bytes;
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(descriptors) = message {
                descriptor = descriptors.last().or(descriptor);
            }
        }
        frame.extend_from_slice(&piece[..n]);
        if let Some((length, body)) = frame.split_first_chunk() {
            let length = u32::from_le_bytes(*length) as usize;
            if body.len() == length {
                return Ok((serde_json::from_slice(body)?, descriptor));
            }
        }
        if n == 0 || frame.len() > DESCRIPTOR_FRAME_MAX {
            return Err(io::ErrorKind::InvalidData.into());
        }
    }
}

fn read_footer(file: &File, replica: ReplicaKey) -> Result<Footer, LocalError> {
    let length = file.metadata()?.len();
    let n = usize::try_from(length).unwrap_or(usize::MAX).min(FOOTER_BYTES_MAX);
    let mut end = vec![0; n];
    file.read_exact_at(&mut end, length - n as u64)?;
    Ok(Footer::decode(replica, &end, length)?)
}
