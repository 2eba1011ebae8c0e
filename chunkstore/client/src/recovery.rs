//! The requests of a writer to the servers of a failed pipeline: to all at once, each with a short
//! timeout. `chunkstore_core::writer` decides what follows from the answers. Only `write` calls
//! this.

use chunkstore_protocol::{Allocation, SealedChunk, ServerAddress};
use futures_util::future::join_all;
use ids::HostName;
use net::Client;

use crate::transfer::{freeze_chunk, seal_chunk};

/// The answer of one server.
type Answer<T> = (HostName, Result<T, String>);

/// Freezes the chunk on all servers of its pipeline; returns how much each has.
pub(crate) async fn freeze(client: &Client, broken: &Allocation) -> Vec<Answer<u64>> {
    let client = client.with_token(broken.token.clone());
    let asked = broken.pipeline.iter().map(async |server| {
        let frozen = freeze_chunk(&client, server, broken.replica()).await;
        (server.host.clone(), frozen.map_err(|error| error.to_string()))
    });
    join_all(asked).await
}

/// Seals the chunk at `length` on these servers.
pub(crate) async fn seal(
    client: &Client,
    broken: &Allocation,
    length: u64,
    on: &[ServerAddress],
) -> Vec<Answer<SealedChunk>> {
    let client = client.with_token(broken.token.clone());
    let asked = on.iter().map(async |server| {
        let sealed = seal_chunk(&client, server, broken.replica(), length).await;
        (server.host.clone(), sealed.map_err(|error| error.to_string()))
    });
    join_all(asked).await
}
