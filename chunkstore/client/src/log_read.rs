//! Reading a log: the records of its sealed chunks, and what is acknowledged of the open one; each record once.

use bytes::{Bytes, BytesMut};
use chunkstore_core::log::{Cursor, Replaced, Seen, Source};
use chunkstore_protocol::{Locate, Located, StorePath, WriterId};
use clock::Stopwatch;
use net::Backoff;

use crate::read::LOCATE_BYTES;
use crate::records::{Frame, first_frame};
use crate::transfer::get_records;
use crate::{ChunkStore, FileReader, StoreError};

/// A record of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogRecord {
    /// Who wrote it.
    pub writer: WriterId,
    /// Its number among that writer's records.
    pub sequence: u64,
    /// What was appended.
    pub bytes: Bytes,
}

/// Reads a log from its beginning. All readers have the same records in the same order.
#[derive(Debug)]
pub struct LogReader {
    store: ChunkStore,
    path: StorePath,
    /// Where the bytes that come next lie.
    cursor: Cursor,
    /// What lies before that and is not taken yet: frames, the last of them perhaps in part.
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
        let mut reader = LogReader {
            store: self.clone(),
            path: path.clone(),
            cursor: Cursor::default(),
            ahead: BytesMut::new(),
            seen: Seen::default(),
            sealed: None,
        };
        reader.locate().await?;
        Ok(reader)
    }
}

impl LogReader {
    /// The next record; `None` behind the last one that was acknowledged when this was asked. Asked again, it goes on with
    /// what was appended since. A dropped call loses nothing.
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

    /// Takes the next frame of those that have come, if it is whole.
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

    /// Comes a step nearer to more frames, or to the end. What can't be read is located again: chunks end, and servers fail.
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
                let read = get_records(&client, &primary, (chunk, version), offset).await;
                self.take(&read.map_err(|error| error.to_string())?);
                Ok(())
            }
        }
    }

    fn take(&mut self, bytes: &[u8]) {
        self.ahead.extend_from_slice(bytes);
        self.cursor.handle_bytes(bytes.len() as u64);
    }

    /// Asks where the log goes on.
    async fn locate(&mut self) -> Result<(), StoreError> {
        let offset = self.cursor.at();
        let request = Locate {
            path: self.path.clone(),
            offset,
            length: Some(LOCATE_BYTES),
            open: false,
            log: true,
        };
        let located: Located = self.store.ask("/v1/files/locate", &self.path, &request).await?;
        let replaced = |Replaced| StoreError::Replaced { path: self.path.clone() };
        self.cursor.handle_located(&located).map_err(replaced)?;
        self.sealed = None;
        // The reader would locate what follows as of a file.
        let end = located.chunks.last().map_or(offset, |last| last.offset + last.length);
        if end > offset {
            let length = Some(end - offset);
            let (store, path) = (self.store.clone(), self.path.clone());
            self.sealed = Some(FileReader::located(store, path, located, (offset, length)));
        }
        Ok(())
    }

    fn unreadable(&self, reason: String) -> StoreError {
        let offset = self.cursor.at() - self.ahead.len() as u64;
        StoreError::LogUnreadable { path: self.path.clone(), offset, reason }
    }
}
