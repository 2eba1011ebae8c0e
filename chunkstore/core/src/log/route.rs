//! Where one writer's batches go: to the primary of its log's open chunk, as long as that takes them.

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
    /// Servers that have not answered since the last success.
    silent: Vec<HostName>,
}

impl Route {
    /// Of a writer on `host`, to the log at `path`. Nothing is known of it yet.
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

    /// What to ask the master. A chunk that its servers have ended is not the open one any more; any other that did not
    /// take a batch is to be ended.
    #[must_use]
    pub fn ask(&self) -> OpenLog {
        OpenLog {
            path: self.path.clone(),
            failed: self.failed_chunk,
            exclude: self.silent.clone(),
            writer_host: self.host.clone(),
        }
    }

    /// The master answers.
    pub fn handle_opened(&mut self, opened: OpenedLog) {
        self.failed_chunk = None;
        self.opened = Some(opened);
    }

    /// The primary has taken a batch.
    pub fn handle_appended(&mut self) {
        self.silent.clear();
    }

    /// The primary has not taken a batch, or nobody knows: it is sent again as it was, to whatever chunk the master names
    /// then. `silent`: no answer came.
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
