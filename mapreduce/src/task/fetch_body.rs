//! The body of one shuffle answer: segment headers, and blocks that are verified as they come.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;
use std::time::Duration;

use bytes::{Buf, Bytes};
use crc_fast::crc32_iscsi as crc32c;
use mapreduce_protocol::map_output::{self, BLOCK_HEADER_BYTES, BlockHeader};
use mapreduce_protocol::shuffle::{SEGMENT_HEADER_BYTES, SegmentHeader};
use mapreduce_protocol::{AttemptId, Failure};
use net::{CallError, Client};
use reqwest::{Method, Response};

use super::failure;
use super::huge;
use super::source::{RunFile, Source};

/// Bytes that one write hands to the disk.
const WRITE_BYTES: usize = 1 << 20;

/// Why a segment did not come, by who is to blame: only one of the two says anything about the output.
pub(super) enum FetchError {
    /// The tracker, or the way to it: asked again it may come, and elsewhere too.
    Peer(String),
    /// This host's own disk: no tracker can help.
    Local(Failure),
}

impl From<String> for FetchError {
    fn from(message: String) -> Self {
        Self::Peer(message)
    }
}

/// An answer under way. After an error nothing more can be read from it.
pub(super) struct Body {
    address: String,
    response: Response,
    /// Silence after which the tracker is given up.
    stall: Duration,
    /// Bytes that came and were not taken.
    came: Bytes,
}

impl Body {
    /// Asks `address` for `path`.
    pub(super) async fn open(
        client: &Client,
        address: &str,
        path: &str,
        stall: Duration,
    ) -> Result<Self, String> {
        let request = client.request(Method::GET, address, path);
        let response = tokio::time::timeout(stall, client.send(address, request))
            .await
            .map_err(|_| stalled(address, stall))?
            .map_err(|error| error.to_string())?;
        Ok(Self { address: address.to_owned(), response, stall, came: Bytes::new() })
    }

    /// The length of `attempt`'s segment, which must come next; `None` if the tracker does not have it.
    pub(super) async fn segment_header(
        &mut self,
        attempt: AttemptId,
    ) -> Result<Option<u64>, String> {
        let mut bytes = Vec::with_capacity(SEGMENT_HEADER_BYTES);
        self.take(SEGMENT_HEADER_BYTES, &mut bytes).await?;
        let header = bytes.first_chunk().and_then(SegmentHeader::decode);
        let expected = (attempt.task.index, attempt.number);
        match header.filter(|header| (header.map, header.attempt) == expected) {
            Some(header) => Ok(header.found.then_some(header.length)),
            None => Err(format!("{} sent something else than was asked for", self.address)),
        }
    }

    /// A whole segment in memory.
    pub(super) async fn segment(&mut self, length: u64) -> Result<Bytes, String> {
        let length = usize::try_from(length).map_err(|_| self.broken("its length"))?;
        let mut bytes = huge::reserve(length);
        while bytes.len() < length {
            let left = (length - bytes.len()) as u64;
            self.block(left, &mut bytes).await?;
        }
        Ok(bytes.into())
    }

    /// Appends the next block, of at most `left` bytes with its header, and verifies it.
    async fn block(&mut self, left: u64, bytes: &mut Vec<u8>) -> Result<(), String> {
        let start = bytes.len();
        self.take(BLOCK_HEADER_BYTES, bytes).await?;
        let header = bytes[start..].first_chunk().map(BlockHeader::decode);
        let Some(Ok(header)) = header else { return Err(self.broken("a block's header")) };
        let whole = BLOCK_HEADER_BYTES as u64 + u64::from(header.stored_length);
        if whole > left {
            return Err(self.broken("a block's length"));
        }
        self.take(header.stored_length as usize, bytes).await?;
        let body = &bytes[start + BLOCK_HEADER_BYTES..];
        if crc32c(body) == header.crc32c { Ok(()) } else { Err(self.broken("a block's checksum")) }
    }

    fn broken(&self, what: &str) -> String {
        format!("the segment from {} is broken: {what} is wrong", self.address)
    }

    /// Appends exactly `n` bytes of the answer.
    async fn take(&mut self, mut n: usize, to: &mut Vec<u8>) -> Result<(), String> {
        while n > 0 {
            if self.came.is_empty() {
                self.came = self.next_bytes().await?;
                continue;
            }
            let now = n.min(self.came.len());
            to.extend_from_slice(&self.came[..now]);
            self.came.advance(now);
            n -= now;
        }
        Ok(())
    }

    async fn next_bytes(&mut self) -> Result<Bytes, String> {
        let chunk = tokio::time::timeout(self.stall, self.response.chunk()).await;
        match chunk.map_err(|_| stalled(&self.address, self.stall))? {
            Ok(Some(bytes)) => Ok(bytes),
            Ok(None) => Err(format!("the answer of {} ended too early", self.address)),
            Err(error) => Err(CallError::from_http(&self.address, &error).to_string()),
        }
    }
}

fn stalled(address: &str, stall: Duration) -> String {
    format!("{address} sent nothing for {} s", stall.as_secs_f32())
}

/// A whole segment in a file that goes with its last reader.
pub(super) async fn segment_in_file(
    body: &mut Body,
    length: u64,
    path: &Path,
) -> Result<Source, FetchError> {
    let run = RunFile::temporary(path);
    let mut file = None;
    let room = usize::try_from(length).unwrap_or(usize::MAX).min(WRITE_BYTES + (64 << 10));
    let (mut written, mut blocks) = (0, Vec::with_capacity(room));
    while written < length {
        let came = written + blocks.len() as u64;
        if came < length {
            body.block(length - came, &mut blocks).await?;
        }
        if blocks.len() >= WRITE_BYTES || written + blocks.len() as u64 == length {
            written += blocks.len() as u64;
            let to = path.to_owned();
            // By a thread of its own: this one serves all fetches, the disk may be slow.
            let writing = tokio::task::spawn_blocking(move || append(file, blocks, &to));
            let appended = writing.await.unwrap_or_else(|error| Err(io::Error::other(error)));
            let disk = |error| failure::disk(&error, "write a fetched segment as", path);
            (file, blocks) = appended.map_err(|error| FetchError::Local(disk(error)))?;
        }
    }
    Ok(Source::of(&run, &map_output::Segment { length, ..Default::default() }))
}

/// The same of one that has come.
pub(super) async fn blocks_in_file(blocks: Bytes, path: &Path) -> Result<Source, FetchError> {
    let run = RunFile::temporary(path);
    let (to, length) = (path.to_owned(), blocks.len() as u64);
    let writing = tokio::task::spawn_blocking(move || File::create_new(to)?.write_all(&blocks));
    let written = writing.await.unwrap_or_else(|error| Err(io::Error::other(error)));
    let disk = |error| failure::disk(&error, "write a fetched segment as", path);
    written.map_err(|error| FetchError::Local(disk(error)))?;
    Ok(Source::of(&run, &map_output::Segment { length, ..Default::default() }))
}

/// Appends bytes to the file, which is created first; both come back, the bytes' room empty.
fn append(
    file: Option<File>,
    mut bytes: Vec<u8>,
    path: &Path,
) -> io::Result<(Option<File>, Vec<u8>)> {
    let mut file = file.map_or_else(|| File::create_new(path), Ok)?;
    file.write_all(&bytes)?;
    bytes.clear();
    Ok((Some(file), bytes))
}
