//! Where one writer's batches go: to the primary of its log's open chunk, for as long as that takes
//! them.

use chunkstore_protocol::{ChunkId, OpenLog, OpenedLog, StorePath};
use ids::HostName;

/// What a writer knows of its log, and what it tells the master when a batch was not taken.
#[derive(Clone, Debug)]
pub struct Route {
    path: StorePath,
    host: Option<HostName>,
    opened: Option<OpenedLog>,
    /// The chunk whose primary did not take the last batch.
    failed_chunk: Option<ChunkId>,
    /// Servers that have not answered since the last batch that was taken.
    silent: Vec<HostName>,
}

impl Route {
    /// The route of a writer on `host` to the log at `path`; nothing is known of the log yet.
    #[must_use]
    pub fn new(path: StorePath, host: Option<HostName>) -> Self {
        Self { path, host, opened: None, failed_chunk: None, silent: Vec::new() }
    }

    /// The log.
    #[must_use]
    pub fn path(&self) -> &StorePath {
        &self.path
    }

    /// The open chunk; `None` if the master is to be asked ([`Self::ask`]).
    #[must_use]
    pub fn opened(&self) -> Option<&OpenedLog> {
        self.opened.as_ref()
    }

    /// The request to the master. It names the chunk that did not take the last batch, so that the
    /// master ends it unless its servers already have.
    #[must_use]
    pub fn ask(&self) -> OpenLog {
        OpenLog {
            path: self.path.clone(),
            failed: self.failed_chunk,
            exclude: self.silent.clone(),
            writer_host: self.host.clone(),
        }
    }

    /// Takes the master's answer.
    pub fn handle_opened(&mut self, opened: OpenedLog) {
        self.failed_chunk = None;
        self.opened = Some(opened);
    }

    /// The primary has taken a batch.
    pub fn handle_appended(&mut self) {
        self.silent.clear();
    }

    /// The primary has not taken a batch, or it is unknown whether it has: the batch is sent again,
    /// unchanged, to whatever chunk the master names then. `silent`: no answer came.
    pub fn handle_failed(&mut self, silent: bool) {
        let Some(opened) = self.opened.take() else { return };
        self.failed_chunk = Some(opened.allocation.chunk);
        if let Some(primary) = opened.allocation.pipeline.into_iter().next()
            && silent
            && !self.silent.contains(&primary.host)
        {
            self.silent.push(primary.host);
        }
    }
}
