//! Where a reader of a log stands: in the sealed chunks, in the open one, or past everything that
//! was acknowledged.

use chunkstore_protocol::{ChunkId, FileId, Located, OpenLogChunk, ServerAddress, Version};

/// A place in a log, and what is known of what follows.
#[derive(Clone, Debug, Default)]
pub struct Cursor {
    /// The log's file id, once the master has told it.
    file: Option<FileId>,
    at: u64,
    open: Option<OpenLogChunk>,
    /// Bytes of the sealed chunks known so far; the open chunk begins there.
    sealed_bytes: u64,
    /// Whether the master has located the log since [`Self::begin`].
    is_located: bool,
    /// Whether the primary of the open chunk has had no more since then.
    is_dry: bool,
}

/// Where the next bytes come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// From a sealed chunk.
    Sealed,
    /// From the primary of the open chunk: the bytes that it knows to be acknowledged.
    Open {
        /// The chunk.
        chunk: ChunkId,
        /// Its version.
        version: Version,
        /// Its primary.
        primary: ServerAddress,
        /// Capability to read it.
        token: String,
        /// Where in the chunk.
        offset: u64,
    },
    /// Ask the master where the log goes on.
    Locate,
    /// Nothing more was acknowledged before [`Self::begin`](Cursor::begin).
    End,
}

/// Another file now stands at the log's path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replaced;

impl Cursor {
    /// `at` must be the start of a record; every chunk begins with one.
    #[must_use]
    pub fn starting_at(at: u64) -> Self {
        Self { at, ..Self::default() }
    }

    /// Offset of the next bytes in the log.
    #[must_use]
    pub fn at(&self) -> u64 {
        self.at
    }

    /// The log, once it was located.
    #[must_use]
    pub fn file(&self) -> Option<FileId> {
        self.file
    }

    /// A caller wants everything that is acknowledged by now.
    pub fn begin(&mut self) {
        (self.is_located, self.is_dry) = (false, false);
    }

    /// Where the next bytes come from, as far as is known. If that fails, the log is located again:
    /// chunks end, and servers fail.
    #[must_use]
    pub fn next(&self) -> Source {
        if self.at < self.sealed_bytes {
            return Source::Sealed;
        }
        match &self.open {
            Some(OpenLogChunk { chunk, version, primary: Some(primary), token })
                if !self.is_dry =>
            {
                Source::Open {
                    chunk: *chunk,
                    version: *version,
                    primary: primary.clone(),
                    token: token.clone(),
                    offset: self.at - self.sealed_bytes,
                }
            }
            // The open chunk may have ended and the log gone on in another one.
            Some(_) | None if !self.is_located => Source::Locate,
            Some(_) | None => Source::End,
        }
    }

    /// Takes the master's answer to where the log goes on.
    ///
    /// # Errors
    /// When it is another file: then nothing is taken.
    pub fn handle_located(&mut self, located: &Located) -> Result<(), Replaced> {
        if *self.file.get_or_insert(located.file) != located.file {
            return Err(Replaced);
        }
        self.open.clone_from(&located.open_log);
        self.sealed_bytes = located.length;
        (self.is_located, self.is_dry) = (true, false);
        Ok(())
    }

    /// `n` bytes have been read; 0 means that the primary of the open chunk had no more.
    pub fn handle_bytes(&mut self, n: u64) {
        self.at += n;
        self.is_dry = n == 0;
    }
}
