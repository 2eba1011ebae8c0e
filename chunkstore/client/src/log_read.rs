//! Reading a log: the records of its sealed chunks, and what is acknowledged of the open one; each record once.

use bytes::{Bytes, BytesMut};
use chunkstore_core::log::Seen;
use chunkstore_protocol::{FileId, Locate, Located, OpenLogChunk, StorePath, WriterId};
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
    /// Which log it is, once that was asked.
    file: Option<FileId>,
    /// Where the next frame begins.
    offset: u64,
    /// What comes there and is not taken yet: frames, the last of them perhaps in part.
    ahead: BytesMut,
    seen: Seen,
    sealed: Option<FileReader>,
    open: Option<OpenLogChunk>,
    /// Bytes of the sealed chunks, as far as is known: there the open chunk begins.
    sealed_bytes: u64,
}

/// What a step towards more frames came to.
enum Step {
    More,
    End,
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
            file: None,
            offset: 0,
            ahead: BytesMut::new(),
            seen: Seen::default(),
            sealed: None,
            open: None,
            sealed_bytes: 0,
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
        let mut is_located = false;
        loop {
            while let Some(record) = self.take_frame().map_err(|reason| self.unreadable(reason))? {
                if self.seen.is_new(record.writer, record.sequence) {
                    return Ok(Some(record));
                }
            }
            if let Step::End = self.fetch().await? {
                if is_located {
                    return Ok(None);
                }
                // What ended may have gone on.
                is_located = true;
                self.locate().await?;
            }
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
        self.offset += length as u64;
        let bytes = frame.split_off(length - n);
        Ok(Some(LogRecord { writer: header.writer, sequence: header.sequence, bytes }))
    }

    /// Comes a step nearer to more frames. What can't be read is located again: chunks end, and servers fail.
    async fn fetch(&mut self) -> Result<Step, StoreError> {
        let (waiting, mut backoff) = (Stopwatch::start(), Backoff::default());
        loop {
            let reason = match self.try_fetch().await {
                Ok(step) => return Ok(step),
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

    async fn try_fetch(&mut self) -> Result<Step, String> {
        let end = self.offset + self.ahead.len() as u64;
        if let Some(sealed) = &mut self.sealed {
            let piece = sealed.next().await.map_err(|error| error.to_string())?;
            if let Some(piece) = piece {
                self.ahead.extend_from_slice(&piece);
                return Ok(Step::More);
            }
            self.sealed = None;
        }
        if end < self.sealed_bytes {
            return self.locate().await.map(|()| Step::More).map_err(|error| error.to_string());
        }
        let Some(open) = &self.open else { return Ok(Step::End) };
        let Some(primary) = &open.primary else { return Ok(Step::End) };
        let client = self.store.client().with_token(open.token.clone());
        let chunk = (open.chunk, open.version);
        let read = get_records(&client, primary, chunk, end - self.sealed_bytes).await;
        let frames = read.map_err(|error| error.to_string())?;
        if frames.is_empty() {
            return Ok(Step::End);
        }
        self.ahead.extend_from_slice(&frames);
        Ok(Step::More)
    }

    /// Asks where the log goes on.
    async fn locate(&mut self) -> Result<(), StoreError> {
        let offset = self.offset + self.ahead.len() as u64;
        let request = Locate {
            path: self.path.clone(),
            offset,
            length: Some(LOCATE_BYTES),
            open: false,
            log: true,
        };
        let mut located: Located = self.store.ask("/v1/files/locate", &self.path, &request).await?;
        if *self.file.get_or_insert(located.file) != located.file {
            return Err(StoreError::Replaced { path: self.path.clone() });
        }
        self.open = located.open_log.take();
        self.sealed_bytes = located.length;
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
        StoreError::LogUnreadable { path: self.path.clone(), offset: self.offset, reason }
    }
}
