//! Chunk bytes over HTTP, as used by both ends: the routes, headers and time limits of a chunk's
//! `PUT` and `GET`. A writer sends with [`put_chunk`], each chunkserver of a pipeline sends to the
//! next one with [`pass_chunk_on`], and a reader opens with [`get_chunk`]. A writer whose pipeline
//! failed calls [`freeze_chunk`] and [`seal_chunk`]. No retries here.

use std::time::Duration;

use bytes::Bytes;
use chunkstore_protocol::descriptor::Rechecked;
use chunkstore_protocol::{
    Appended, Followed, Frozen, ProblemKind, ReplicaKey, SealedChunk, ServerAddress,
};
use futures_util::Stream;
use net::reqwest::{Body, Method, Response};
use net::{CallError, Client};

/// Header of a `PUT`: a JSON array of the [`ServerAddress`]es downstream of the receiver.
pub const PIPELINE_HEADER: &str = "x-howdah-pipeline";
/// Header of a `GET`'s answer: the offset in the chunk of the first byte sent.
pub const OFFSET_HEADER: &str = "x-howdah-offset";
/// Silence in the middle of a transfer after which the other end counts as dead. Each server of a
/// pipeline must notice before the one above it does, hence [`write_stall_limit`].
const STALL_LIMIT: Duration = Duration::from_secs(10);

/// How long a server of a failed pipeline may take to say what it has: a dead or hanging one must
/// not hold up the writer for long.
const FREEZE_LIMIT: Duration = Duration::from_secs(4);

/// How long a log's primary may take to return acknowledged records.
const RECORDS_LIMIT: Duration = Duration::from_secs(5);
/// How long a client waits for its batch to be appended: the primary may first have to end a chunk.
const APPEND_LIMIT: Duration = Duration::from_secs(30);

/// Time without progress after which a sender checks whether the other end is there at all.
const DOUBT_AFTER: Duration = Duration::from_secs(1);

/// Why a sender stops waiting.
#[derive(Debug, thiserror::Error)]
pub enum Stalled {
    /// The other end is there, but too slow.
    #[error("{what} within {} s", limit.as_secs())]
    Slow {
        /// What it failed to do.
        what: &'static str,
        /// The time that it had.
        limit: Duration,
    },
    /// The other end is gone.
    #[error("{what}, and is gone: {error}")]
    Gone {
        /// What it failed to do.
        what: &'static str,
        /// How it was noticed.
        error: CallError,
    },
}

/// Waits for a step of sending to `server`, for at most `limit`; if the server turns out to be
/// gone, like a host that was cut off, it does not wait that long. `what` describes the failure to
/// do the step.
///
/// # Errors
/// When the step is not done by then.
pub async fn await_step<T>(
    client: &Client,
    server: &ServerAddress,
    limit: Duration,
    what: &'static str,
    step: impl Future<Output = T>,
) -> Result<T, Stalled> {
    let mut step = std::pin::pin!(step);
    if let Ok(done) = tokio::time::timeout(DOUBT_AFTER.min(limit), &mut step).await {
        return Ok(done);
    }
    tokio::select! {
        biased;
        done = &mut step => Ok(done),
        error = client.gone(&server.address) => Err(Stalled::Gone { what, error }),
        () = tokio::time::sleep(limit.saturating_sub(DOUBT_AFTER)) => {
            Err(Stalled::Slow { what, limit })
        }
    }
}

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

/// Sends a chunk to `server`, which passes it on `downstream`. `body` is a block stream. If it
/// breaks off, what has arrived is kept for a while, to be sealed by [`seal_chunk`]; if it ends
/// without its end mark, nothing is kept. `client` carries the allocation's token. An answer before
/// the body's end is a refusal.
///
/// # Errors
/// When the server can't be reached or refuses, or the next one failed.
pub async fn put_chunk<S>(
    client: &Client,
    server: &ServerAddress,
    downstream: &[ServerAddress],
    replica: ReplicaKey,
    body: S,
) -> Result<SealedChunk, CallError>
where
    S: Stream<Item = Result<Bytes, std::io::Error>> + Send + 'static,
{
    send_chunk(client, server, downstream, (replica, ""), body).await
}

/// Like [`put_chunk`], for a sender that has the bytes too: `server` continues if the server after
/// it fails.
///
/// # Errors
/// When the server can't be reached or refuses.
pub async fn pass_chunk_on<S>(
    client: &Client,
    server: &ServerAddress,
    downstream: &[ServerAddress],
    replica: ReplicaKey,
    body: S,
) -> Result<SealedChunk, CallError>
where
    S: Stream<Item = Result<Bytes, std::io::Error>> + Send + 'static,
{
    send_chunk(client, server, downstream, (replica, "&passed_on=true"), body).await
}

/// Like [`put_chunk`] to a single server, which gives it lower priority than clients' requests.
///
/// # Errors
/// When the server can't be reached or refuses.
pub async fn put_copy<S>(
    client: &Client,
    server: &ServerAddress,
    replica: ReplicaKey,
    body: S,
) -> Result<SealedChunk, CallError>
where
    S: Stream<Item = Result<Bytes, std::io::Error>> + Send + 'static,
{
    send_chunk(client, server, &[], (replica, "&copy=true"), body).await
}

async fn send_chunk<S>(
    client: &Client,
    server: &ServerAddress,
    downstream: &[ServerAddress],
    (ReplicaKey { chunk, version }, more): (ReplicaKey, &str),
    body: S,
) -> Result<SealedChunk, CallError>
where
    S: Stream<Item = Result<Bytes, std::io::Error>> + Send + 'static,
{
    let path = format!("{}?version={}{more}", chunk.route(), version.0);
    let pipeline = serde_json::to_string(downstream).expect("addresses are plain data");
    let request = client
        .upload(Method::PUT, &server.address, &path)
        .header(PIPELINE_HEADER, pipeline)
        .body(Body::wrap_stream(body));
    client.exchange(&server.address, request).await
}

/// Ends whatever adds to a chunk on `server`, and asks how much of it there is: 0 if nothing.
/// `client` carries the allocation's token.
///
/// # Errors
/// When the server can't be reached, or takes too long.
pub async fn freeze_chunk(
    client: &Client,
    server: &ServerAddress,
    replica: ReplicaKey,
) -> Result<u64, CallError> {
    let frozen = freeze_replica(client, server, replica, FREEZE_LIMIT).await?;
    Ok(frozen.map_or(0, |frozen| frozen.length))
}

/// Like [`freeze_chunk`]; `None` if the server has nothing of the chunk.
///
/// # Errors
/// When the server can't be reached, or takes longer than `limit`.
pub async fn freeze_replica(
    client: &Client,
    server: &ServerAddress,
    ReplicaKey { chunk, version }: ReplicaKey,
    limit: Duration,
) -> Result<Option<Frozen>, CallError> {
    let path = format!("{}/freeze?version={}", chunk.route(), version.0);
    let request = client.request(Method::POST, &server.address, &path).timeout(limit);
    match client.exchange::<Frozen>(&server.address, request).await {
        Ok(frozen) => Ok(Some(frozen)),
        Err(error)
            if error.problem_kind().and_then(ProblemKind::of)
                == Some(ProblemKind::UnknownChunk) =>
        {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Sends a batch of one writer's records, as frames, to the primary of a log's chunk, whose other
/// servers are `followers`. `client` carries the allocation's token. After an error other than a
/// problem, the batch may be in the log.
///
/// # Errors
/// When the primary can't be reached, takes too long, or does not take the batch.
pub async fn append_records(
    client: &Client,
    primary: &ServerAddress,
    followers: &[ServerAddress],
    ReplicaKey { chunk, version }: ReplicaKey,
    frames: Bytes,
) -> Result<Appended, CallError> {
    let path = format!("{}/records?version={}", chunk.route(), version.0);
    let followers = serde_json::to_string(followers).expect("addresses are plain data");
    let request = client
        .request(Method::POST, &primary.address, &path)
        .header(PIPELINE_HEADER, followers)
        .timeout(APPEND_LIMIT)
        .body(frames);
    client.exchange(&primary.address, request).await
}

/// Sends what a primary took next to another server of the chunk. `client` carries a server's
/// token.
///
/// # Errors
/// When the server can't be reached, takes longer than `limit`, or does not have exactly the bytes
/// before.
pub async fn follow_log(
    client: &Client,
    server: &ServerAddress,
    ReplicaKey { chunk, version }: ReplicaKey,
    (offset, frames): (u64, Body),
    limit: Duration,
) -> Result<Followed, CallError> {
    let path = format!("{}/follow?version={}&offset={offset}", chunk.route(), version.0);
    let request = client.request(Method::POST, &server.address, &path);
    client.exchange(&server.address, request.timeout(limit).body(frames)).await
}

/// Reads acknowledged frames of a log's open chunk from its primary, from `offset` on: as many as
/// it returns at once, or none if no more are acknowledged. `client` carries the chunk's token.
///
/// # Errors
/// When the primary can't be reached, or no longer has the chunk open.
pub async fn get_records(
    client: &Client,
    primary: &ServerAddress,
    ReplicaKey { chunk, version }: ReplicaKey,
    offset: u64,
) -> Result<Bytes, CallError> {
    let path = format!("{}/records?version={}&offset={offset}", chunk.route(), version.0);
    let request = client.request(Method::GET, &primary.address, &path).timeout(RECORDS_LIMIT);
    let response = client.send(&primary.address, request).await?;
    response.bytes().await.map_err(|error| CallError::from_http(&primary.address, &error))
}

/// Has `server` seal what it has of a frozen chunk at `length`. `client` carries the allocation's
/// token.
///
/// # Errors
/// When the server can't be reached, takes too long, or can't give the chunk that length.
pub async fn seal_chunk(
    client: &Client,
    server: &ServerAddress,
    ReplicaKey { chunk, version }: ReplicaKey,
    length: u64,
) -> Result<SealedChunk, CallError> {
    let path = format!("{}/seal?version={}&length={length}", chunk.route(), version.0);
    let request = client.request(Method::POST, &server.address, &path).timeout(STALL_LIMIT);
    client.exchange(&server.address, request).await
}

/// Requests `length` bytes of a chunk from `offset` on. The body is a block stream, extended to
/// whole blocks, and begins at the returned offset. `client` carries the location's token.
///
/// # Errors
/// When the server can't be reached, does not hold the chunk, or finds it corrupt.
pub async fn get_chunk(
    client: &Client,
    server: &str,
    ReplicaKey { chunk, version }: ReplicaKey,
    offset: u64,
    length: u64,
) -> Result<(u64, Response), CallError> {
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

/// Has a server verify all of a replica that a reader found corrupt. `client` carries the
/// location's token.
///
/// # Errors
/// When the server can't be reached, does not hold the chunk, or can't read it at present.
pub async fn suspect_chunk(
    client: &Client,
    server: &str,
    ReplicaKey { chunk, version }: ReplicaKey,
) -> Result<Rechecked, CallError> {
    let path = format!("{}/suspect?version={}", chunk.route(), version.0);
    client.exchange(server, client.request(Method::POST, server, &path)).await
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::net::TcpListener;

    use net::ClientSettings;

    use super::*;

    const LONG: Duration = Duration::from_secs(600);

    async fn waited(address: String, limit: Duration) -> Stalled {
        let client = Client::new(ClientSettings {
            connect_timeout: LONG,
            request_timeout: LONG,
            silence_timeout: LONG,
            tls: None,
        });
        let (host, rack) = ("host-1".parse().unwrap(), ids::RackName::default_rack());
        let server = ServerAddress { host, rack, address };
        await_step(&client, &server, limit, "did nothing", pending::<()>()).await.unwrap_err()
    }

    #[tokio::test]
    async fn a_slow_server_has_its_time_and_one_that_is_gone_has_not() {
        // Connections are accepted, but nothing is ever answered.
        let slow = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = slow.local_addr().unwrap().to_string();
        for limit in [DOUBT_AFTER / 2, DOUBT_AFTER * 2] {
            let watch = clock::Stopwatch::start();
            let stalled = waited(address.clone(), limit).await;
            assert!(matches!(stalled, Stalled::Slow { .. }), "{stalled}");
            assert!(watch.elapsed() >= limit);
        }
        drop(slow);
        let in_time = tokio::time::timeout(LONG / 10, waited(address, LONG)).await;
        let stalled = in_time.expect("long before the limit");
        assert!(matches!(stalled, Stalled::Gone { .. }), "{stalled}");
    }
}
