//! Reading a log: the records of its sealed chunks, and the acknowledged ones of the open chunk;
//! each record once.

use std::collections::VecDeque;
use std::ops::Range;

use bytes::{Bytes, BytesMut};
use chunkstore_core::log::{Cursor, Replaced, Seen, Source};
use chunkstore_protocol::{Locate, Located, ReplicaKey, StorePath, WriterId};
use clock::Stopwatch;
use net::Backoff;

use crate::read::LOCATE_BYTES;
use crate::records::{Frame, first_frame};
use crate::transfer::get_records;
use crate::{ChunkStore, FileReader, StoreError};

/// A record of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogRecord {
    /// Its writer.
    pub writer: WriterId,
    /// Its number among that writer's records.
    pub sequence: u64,
    /// The bytes that were appended.
    pub bytes: Bytes,
}

/// How much of a log's end is searched for its last records at first.
const TAIL_BYTES: u64 = 1 << 20;
/// The factor by which it grows if that does not suffice.
const TAIL_GROWTH: u64 = 8;

/// Reads a log, from its beginning by default. All readers get the same records in the same order.
#[derive(Debug)]
pub struct LogReader {
    store: ChunkStore,
    path: StorePath,
    /// The place of the bytes that come next.
    cursor: Cursor,
    /// Bytes before that place that were not taken yet: frames, the last one perhaps incomplete.
    ahead: BytesMut,
    seen: Seen,
    sealed: Option<FileReader>,
}

impl ChunkStore {
    /// A reader of the log at `path`.
    ///
    /// # Errors
    /// When there is no such log, or the master can't be asked.
    pub async fn read_log(&self, path: &StorePath) -> Result<LogReader, StoreError> {
        self.read_log_from(path, 0).await
    }

    /// The last records of the log at `path`, up to `n_records`, and a reader that continues after
    /// them. Only the chunks that hold them are read, and the one before: that reveals records that
    /// were sent again, unless others filled more than a chunk in between.
    ///
    /// # Errors
    /// Like [`Self::read_log`] and [`LogReader::next`].
    pub async fn last_records(
        &self,
        path: &StorePath,
        n_records: usize,
    ) -> Result<(VecDeque<LogRecord>, LogReader), StoreError> {
        let mut tail_bytes = TAIL_BYTES;
        loop {
            let (from, counted_from) = self.chunk_before(path, tail_bytes).await?;
            let mut reader = self.read_log_from(path, from).await?;
            let mut last = VecDeque::new();
            while let Some(record) = reader.next().await? {
                if reader.offset() > counted_from {
                    last.push_back(record);
                }
                if last.len() > n_records {
                    last.pop_front();
                }
            }
            if from == 0 || last.len() == n_records {
                return Ok((last, reader));
            }
            tail_bytes = tail_bytes.saturating_mul(TAIL_GROWTH);
        }
    }

    /// Where the chunk begins that is `tail_bytes` before the end of a log's sealed chunks,
    /// preceded by where the chunk before it begins (or the same, if there is none).
    async fn chunk_before(
        &self,
        path: &StorePath,
        tail_bytes: u64,
    ) -> Result<(u64, u64), StoreError> {
        let Located { length, .. } = self.locate_log(path, 0..0).await?;
        let start = async |at: u64| {
            let located = self.locate_log(path, at..at + 1).await?;
            Ok::<_, StoreError>(located.chunks.first().map_or(0, |chunk| chunk.offset))
        };
        let counted_from = start(length.saturating_sub(tail_bytes)).await?;
        match counted_from.checked_sub(1) {
            None => Ok((0, 0)),
            Some(before) => match start(before).await? {
                0 => Ok((0, 0)),
                from => Ok((from, counted_from)),
            },
        }
    }

    async fn read_log_from(&self, path: &StorePath, at: u64) -> Result<LogReader, StoreError> {
        let mut reader = LogReader {
            store: self.clone(),
            path: path.clone(),
            cursor: Cursor::starting_at(at),
            ahead: BytesMut::new(),
            seen: Seen::default(),
            sealed: None,
        };
        reader.locate().await?;
        Ok(reader)
    }

    pub(crate) async fn locate_log(
        &self,
        path: &StorePath,
        range: Range<u64>,
    ) -> Result<Located, StoreError> {
        let (path, offset) = (path.clone(), range.start);
        let length = Some(range.end - range.start);
        let request = Locate { path, offset, length, open: false, log: true };
        self.ask("/v1/files/locate", &request.path, &request).await
    }
}

impl LogReader {
    /// The next record; `None` after the last one that was acknowledged when this was called.
    /// Another call continues with what was appended since. Cancellation safe.
    ///
    /// # Errors
    /// When the log is gone, or can't be read for as long as retries go on.
    pub async fn next(&mut self) -> Result<Option<LogRecord>, StoreError> {
        self.cursor.begin();
        loop {
            while let Some(record) = self.take_frame().map_err(|reason| self.unreadable(reason))? {
                if self.seen.is_new(record.writer, record.sequence) {
                    return Ok(Some(record));
                }
            }
            if self.cursor.next() == Source::End {
                return Ok(None);
            }
            self.fetch().await?;
        }
    }

    /// The end of the frame that was taken last.
    fn offset(&self) -> u64 {
        self.cursor.at() - self.ahead.len() as u64
    }

    /// Takes the next complete frame of the bytes that have arrived.
    fn take_frame(&mut self) -> Result<Option<LogRecord>, String> {
        let (header, length, n) = match first_frame(&self.ahead) {
            Frame::Whole { header, record, length } => (header, length, record.len()),
            Frame::Part => return Ok(None),
            Frame::None => {
                return Err("no sound record begins there".to_owned());
            }
        };
        let mut frame = self.ahead.split_to(length).freeze();
        let bytes = frame.split_off(length - n);
        Ok(Some(LogRecord { writer: header.writer, sequence: header.sequence, bytes }))
    }

    /// Makes one step towards more frames or the end. On a failure the log is located again: chunks
    /// end, and servers fail.
    async fn fetch(&mut self) -> Result<(), StoreError> {
        let (waiting, mut backoff) = (Stopwatch::start(), Backoff::default());
        loop {
            let reason = match self.try_fetch().await {
                Ok(()) => return Ok(()),
                Err(reason) => reason,
            };
            tracing::debug!(path = %self.path, reason, "a log can't be read just now");
            if waiting.elapsed() >= self.store.settings().retry_for {
                return Err(self.unreadable(reason));
            }
            backoff.pause().await;
            self.locate().await?;
        }
    }

    async fn try_fetch(&mut self) -> Result<(), String> {
        if let Some(sealed) = &mut self.sealed {
            let piece = sealed.next().await.map_err(|error| error.to_string())?;
            if let Some(piece) = piece {
                self.take(&piece);
                return Ok(());
            }
            self.sealed = None;
        }
        match self.cursor.next() {
            Source::End => Ok(()),
            Source::Sealed | Source::Locate => self.locate().await.map_err(|it| it.to_string()),
            Source::Open { chunk, version, primary, token, offset } => {
                let client = self.store.client().with_token(token);
                let replica = ReplicaKey { chunk, version };
                let read = get_records(&client, &primary, replica, offset).await;
                self.take(&read.map_err(|error| error.to_string())?);
                Ok(())
            }
        }
    }

    fn take(&mut self, bytes: &[u8]) {
        self.ahead.extend_from_slice(bytes);
        self.cursor.handle_bytes(bytes.len() as u64);
    }

    /// Asks where the log continues.
    async fn locate(&mut self) -> Result<(), StoreError> {
        let offset = self.cursor.at();
        let located = self.store.locate_log(&self.path, offset..offset + LOCATE_BYTES).await?;
        let replaced = |Replaced| StoreError::Replaced { path: self.path.clone() };
        self.cursor.handle_located(&located).map_err(replaced)?;
        self.sealed = None;
        // The reader must not go further: it would locate what follows as if this were an ordinary
        // file.
        let end = located.chunks.last().map_or(offset, |last| last.offset + last.length);
        if end > offset {
            let (store, path) = (self.store.clone(), self.path.clone());
            let reader = FileReader::located(store, path, located, offset..end);
            self.sealed = Some(reader.of_log());
        }
        Ok(())
    }

    fn unreadable(&self, reason: String) -> StoreError {
        StoreError::LogUnreadable { path: self.path.clone(), offset: self.offset(), reason }
    }
}
