//! The calls about the chunkservers and the health of files: for those who look after a cluster.

use chunkstore_protocol::{
    ClusterReport, DeleteOrphans, Done, DrainServer, FSCK_CHUNKS_MAX, ForgetServer, Fsck, FsckPage,
    FsckPlace, OrphansDeleted, Report, StorePath,
};
use ids::HostName;

use crate::{ChunkStore, StoreError};

/// What may be lost with a chunkserver that is forgotten.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Losses {
    /// Records of a log, if it is the last one that may have them.
    pub lose_records: bool,
    /// Chunks of files, if it is the last one that may have them.
    pub lose_chunks: bool,
}

impl ChunkStore {
    /// How the cluster is: its chunkservers, what is repaired.
    ///
    /// # Errors
    /// When the master can't be asked.
    pub async fn report(&self) -> Result<ClusterReport, StoreError> {
        self.ask("/v1/servers/report", &StorePath::root(), &Report::default()).await
    }

    /// One page of the check of all files below `path`: those whose chunks have too few replicas, too many, or
    /// in the wrong places. Ask again with `after` = the page's `next` until that is `None`.
    ///
    /// # Errors
    /// When nothing stands at `path`, or the master can't be asked.
    pub async fn fsck(
        &self,
        path: &StorePath,
        after: Option<FsckPlace>,
    ) -> Result<FsckPage, StoreError> {
        let request = Fsck { path: path.clone(), after, limit: FSCK_CHUNKS_MAX };
        self.ask("/v1/files/fsck", path, &request).await
    }

    /// Has a chunkserver emptied, so that it can be taken away; with `stop`, no longer. Returns when that is
    /// written down; how far it has come, [`Self::report`] says.
    ///
    /// # Errors
    /// When no such server is known, or the master can't be asked.
    pub async fn drain(&self, host: &HostName, stop: bool) -> Result<(), StoreError> {
        let request = |stamp| DrainServer { stamp, host: host.clone(), stop };
        self.change::<_, Done>("/v1/servers/drain", &StorePath::root(), request).await.map(drop)
    }

    /// Lets the replicas go that a chunkserver reported and no file refers to; returns how many.
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
    /// When no such server is known, it is alive, something would be lost that may not be, or the master can't be
    /// asked.
    pub async fn forget(&self, host: &HostName, losses: Losses) -> Result<(), StoreError> {
        let Losses { lose_records, lose_chunks } = losses;
        let request = |stamp| ForgetServer { stamp, host: host.clone(), lose_records, lose_chunks };
        self.change::<_, Done>("/v1/servers/forget", &StorePath::root(), request).await.map(drop)
    }
}
