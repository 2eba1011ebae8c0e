//! The calls about chunkservers and the health of files, for those who operate a cluster.

use chunkstore_protocol::{
    ClusterReport, DeleteOrphans, Done, DrainServer, FSCK_CHUNKS_MAX, ForgetServer, Fsck, FsckPage,
    FsckPlace, OrphansDeleted, Report, StorePath,
};
use ids::HostName;

use crate::{ChunkStore, StoreError};

/// What may be lost when a chunkserver is forgotten.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Losses {
    /// Records of a log, if the server is the last one that may have them.
    pub lose_records: bool,
    /// Chunks of files, if the server is the last one that may have them.
    pub lose_chunks: bool,
}

impl ChunkStore {
    /// The state of the cluster: its chunkservers, and what is being repaired.
    ///
    /// # Errors
    /// When the master can't be asked.
    pub async fn report(&self) -> Result<ClusterReport, StoreError> {
        self.ask("/v1/servers/report", &StorePath::root(), &Report::default()).await
    }

    /// One page of the check of all files below `path`: those with chunks that have too few
    /// replicas, too many, or misplaced ones. Ask again with `after` = the page's `next` until that
    /// is `None`.
    ///
    /// # Errors
    /// When `path` does not exist, or the master can't be asked.
    pub async fn fsck(
        &self,
        path: &StorePath,
        after: Option<FsckPlace>,
    ) -> Result<FsckPage, StoreError> {
        let request = Fsck { path: path.clone(), after, limit: FSCK_CHUNKS_MAX };
        self.ask("/v1/files/fsck", path, &request).await
    }

    /// Starts to empty a chunkserver, so that it can be taken away, or stops it again with `stop`.
    /// Returns once that is durable; [`Self::report`] shows the progress.
    ///
    /// # Errors
    /// When no such server is known, or the master can't be asked.
    pub async fn drain(&self, host: &HostName, stop: bool) -> Result<(), StoreError> {
        let request = |stamp| DrainServer { stamp, host: host.clone(), stop };
        self.change::<_, Done>("/v1/servers/drain", &StorePath::root(), request).await.map(drop)
    }

    /// Releases the replicas that a chunkserver reported and no file refers to; returns how many.
    ///
    /// # Errors
    /// When the server has not reported, or the master can't be asked.
    pub async fn delete_orphans(&self, host: &HostName) -> Result<u64, StoreError> {
        let request = DeleteOrphans { host: host.clone() };
        let route = "/v1/servers/delete_orphans";
        let answer: OrphansDeleted = self.ask(route, &StorePath::root(), &request).await?;
        Ok(answer.deleted)
    }

    /// Forgets a dead chunkserver: it no longer belongs to the cluster, and nobody waits for it.
    ///
    /// # Errors
    /// When no such server is known, it is alive, something would be lost without permission, or
    /// the master can't be asked.
    pub async fn forget(&self, host: &HostName, losses: Losses) -> Result<(), StoreError> {
        let Losses { lose_records, lose_chunks } = losses;
        let request = |stamp| ForgetServer { stamp, host: host.clone(), lose_records, lose_chunks };
        self.change::<_, Done>("/v1/servers/forget", &StorePath::root(), request).await.map(drop)
    }
}
