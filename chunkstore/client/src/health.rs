//! The calls about the chunkservers and the health of files: for those who look after a cluster.

use chunkstore_protocol::{Done, ForgetServer, StorePath};
use ids::HostName;

use crate::{ChunkStore, StoreError};

impl ChunkStore {
    /// Forgets a dead chunkserver: it no longer belongs to the cluster, and nobody waits for it.
    ///
    /// # Errors
    /// When no such server is known, it is alive, or the master can't be asked.
    pub async fn forget(&self, host: &HostName) -> Result<(), StoreError> {
        let request = |stamp| ForgetServer { stamp, host: host.clone() };
        self.change::<_, Done>("/v1/servers/forget", &StorePath::root(), request).await.map(drop)
    }
}
