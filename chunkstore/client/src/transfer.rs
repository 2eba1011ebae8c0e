//! Chunk bytes over HTTP, as both ends call them: the routes, the headers and the time limits of a
//! chunk's `PUT` and `GET`. The writer sends with [`put_chunk`], every chunkserver of a pipeline to the next
//! with [`pass_chunk_on`]; the reader opens with [`get_chunk`]. A writer whose pipeline failed calls
//! [`freeze_chunk`] and [`seal_chunk`]. No retries here.

use std::time::Duration;

use bytes::Bytes;
use chunkstore_protocol::descriptor::Rechecked;
use chunkstore_protocol::{
    Appended, Followed, Frozen, ProblemKind, ReplicaKey, SealedChunk, ServerAddress,
};
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

/// How long a server of a failed pipeline may take to say what it has: one that is dead or hangs must not
/// hold up the writer for long.
const FREEZE_LIMIT: Duration = Duration::from_secs(4);

/// How long a log's primary may take to give what is acknowledged.
const RECORDS_LIMIT: Duration = Duration::from_secs(5);
/// How long a client waits for its batch: the primary may have to end a chunk meanwhile.
const APPEND_LIMIT: Duration = Duration::from_secs(30);

/// Time without a step after which a sender asks whether the other end is there at all.
const DOUBT_AFTER: Duration = Duration::from_secs(1);

/// Why a sender waits no longer.
#[derive(Debug, thiserror::Error)]
pub enum Stalled {
    /// It is there, but too slow.
    #[error("{what} within {} s", limit.as_secs())]
    Slow {
        /// What it did not do.
        what: &'static str,
        /// How long it had.
        limit: Duration,
    },
    /// It is not there any more.
    #[error("{what}, and is gone: {error}")]
    Gone {
        /// What it did not do.
        what: &'static str,
        /// How that shows.
        error: CallError,
    },
}

/// Waits for a step of what is sent to `server`: no longer than `limit`, which is meant for a server that is slow, and not
/// for one that is gone, like a host that was cut off. Then `what` it did not do.
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

/// Sends a chunk to `server`, which passes it on `downstream`. `body` is a block stream; if it breaks off,
/// what has come is kept for a while, to be sealed by [`seal_chunk`]; if it ends without its end mark, nothing
/// is. `client` bears the allocation's token. The answer may come before the body's end: then it is a refusal.
///
/// # Errors
/// When the server can't be reached or refuses, or the one after it failed.
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

/// As [`put_chunk`], for a server that has the bytes too: `server` goes on if the one after it fails.
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

/// As [`put_chunk`] to one server, which takes it behind what clients want of it.
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

/// Ends whatever adds to a chunk on `server`, and asks how much of it is there: 0 if nothing is. `client` bears
/// the allocation's token.
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

/// As [`freeze_chunk`]; `None` if the server has nothing of the chunk.
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

/// Sends a batch of one writer's records, as frames, to the primary of a log's chunk, whose other servers are
/// `followers`. `client` bears the allocation's token. On an error other than a problem the batch may be in the log.
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

/// Sends what a primary took next to one of the other servers of the chunk. `client` bears a server's token.
///
/// # Errors
/// When the server can't be reached, takes longer than `limit`, or has other bytes before.
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

/// Reads acknowledged frames of a log's open chunk from its primary: from `offset` on, as many as it gives at once; none
/// if no more are acknowledged. `client` bears the chunk's token.
///
/// # Errors
/// When the primary can't be reached, or does not have the chunk open any more.
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

/// Has `server` seal what it has of a frozen chunk at `length`. `client` bears the allocation's token.
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

/// Opens `length` bytes of a chunk from `offset` on. The body is a block stream, widened to whole blocks;
/// the number says at which offset it begins. `client` bears the location's token.
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

/// Has a server read a replica whole that a reader found corrupt. `client` bears the location's token.
///
/// # Errors
/// When the server can't be reached, does not hold the chunk, or can't read it just now.
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
        // Connections come about, and nothing is ever answered.
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
