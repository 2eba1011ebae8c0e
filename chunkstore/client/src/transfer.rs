//! Chunk bytes over HTTP, as both ends call them: the routes, the headers and the time limits of a
//! chunk's `PUT` and `GET`. The writer and every chunkserver of a pipeline send with [`put_chunk`]; the
//! reader opens with [`get_chunk`]. No retries here.

use std::time::Duration;

use bytes::Bytes;
use chunkstore_protocol::{ChunkId, SealedChunk, ServerAddress, Version};
use futures_util::Stream;
use net::reqwest::{Body, Method, Response};
use net::{CallError, Client};

/// Header of a `PUT`: JSON array of the [`ServerAddress`]es downstream of the receiver.
pub const PIPELINE_HEADER: &str = "x-howdah-pipeline";
/// Header of a `GET`'s answer: offset in the chunk of the first byte sent.
pub const OFFSET_HEADER: &str = "x-howdah-offset";
/// Silence in the middle of a transfer after which the other end counts as dead. Each server of a
/// pipeline must notice before the one above it does, hence [`write_stall_limit`].
const STALL_LIMIT: Duration = Duration::from_secs(10);

/// How long a sender waits for a pipeline of `n_servers` to take the next bytes, or to seal.
#[must_use]
pub fn write_stall_limit(n_servers: usize) -> Duration {
    STALL_LIMIT * u32::try_from(n_servers).unwrap_or(u32::MAX).saturating_add(1)
}

/// How long a reader waits for the next bytes.
#[must_use]
pub fn read_stall_limit() -> Duration {
    STALL_LIMIT * 2
}

/// Sends a chunk to `server`, which passes it on `downstream`. `body` is a block stream; if it ends
/// without its end mark, or with an error, nothing is kept. `client` bears the allocation's token.
/// The answer may come before the body's end: then it is a refusal.
///
/// # Errors
/// When the server can't be reached or refuses; what it has of the chunk is removed.
pub async fn put_chunk<S>(
    client: &Client,
    server: &ServerAddress,
    downstream: &[ServerAddress],
    chunk: (ChunkId, Version),
    body: S,
) -> Result<SealedChunk, CallError>
where
    S: Stream<Item = Result<Bytes, std::io::Error>> + Send + 'static,
{
    let (chunk, version) = chunk;
    let path = format!("{}?version={}", chunk.route(), version.0);
    let pipeline = serde_json::to_string(downstream).expect("addresses are plain data");
    let request = client
        .request(Method::PUT, &server.address, &path)
        .header(PIPELINE_HEADER, pipeline)
        .body(Body::wrap_stream(body));
    client.exchange(&server.address, request).await
}

/// Opens `length` bytes of a chunk from `offset` on. The body is a block stream, widened to whole blocks;
/// the number says at which offset it begins. `client` bears the location's token.
///
/// # Errors
/// When the server can't be reached, does not hold the chunk, or finds it corrupt.
pub async fn get_chunk(
    client: &Client,
    server: &str,
    chunk: (ChunkId, Version),
    offset: u64,
    length: u64,
) -> Result<(u64, Response), CallError> {
    let (chunk, version) = chunk;
    let path = format!("{}?version={}&offset={offset}&length={length}", chunk.route(), version.0);
    let response = client.send(server, client.request(Method::GET, server, &path)).await?;
    let header = response.headers().get(OFFSET_HEADER).and_then(|value| value.to_str().ok());
    match header.and_then(|text| text.parse().ok()) {
        Some(first) => Ok((first, response)),
        None => Err(CallError::Decode {
            address: server.to_owned(),
            cause: format!("no {OFFSET_HEADER} header"),
        }),
    }
}
