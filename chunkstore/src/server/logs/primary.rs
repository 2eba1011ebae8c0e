//! The first server of a log's chunk: it takes batches of many clients, writes those that wait as one group, sends
//! that to the other servers at the same time, and answers when all of them have synced it. One group is under way at
//! a time, so that every server has the same bytes in the same order; while it is, the next one gathers.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chunkstore_client::records::{Frame, first_frame};
use chunkstore_client::transfer::follow_log;
use chunkstore_core::log::{Admission, Batch};
use chunkstore_core::replica::{Input, OpenAnswer, ReplicaKey};
use chunkstore_protocol::{
    Appended, BATCH_BYTES_MAX, BeginLog, BegunLog, ProblemKind, ServerAddress,
};
use futures_util::future::join_all;
use ids::HostName;
use net::{Backoff, CallError};
use tokio::sync::{mpsc, oneshot};

use super::ending::{give_up, settle};
use super::open_log::OpenLog;
use super::{LogError, end_here, peer_client};
use crate::server::{Server, metrics};

/// Batches that wait for the next group.
const OFFERS: usize = 1024;
/// Bytes of a group after which no more batches are added.
const GROUP_BYTES: usize = 4 << 20;
/// Bytes of a group at most.
pub(in crate::server) const GROUP_BYTES_MAX: usize = GROUP_BYTES + BATCH_BYTES_MAX;
/// How long the master is asked whether a chunk may begin.
const BEGIN_LIMIT: Duration = Duration::from_secs(5);

/// A client's batch, and who waits for it.
#[derive(Debug)]
pub(in crate::server) struct Offer {
    batch: Batch,
    frames: Bytes,
    answer: oneshot::Sender<Result<Appended, LogError>>,
}

/// Appends a batch, and makes this server the primary of the chunk if it has none yet. On return the batch is on every
/// server of the chunk. To be run to its end, whatever becomes of its connection.
pub(in crate::server) async fn append(
    server: Arc<Server>,
    replica: ReplicaKey,
    followers: Vec<ServerAddress>,
    frames: Bytes,
) -> Result<Appended, LogError> {
    let batch = batch_of(&frames)?;
    let slot = server.logs.slot(replica);
    let opened = slot.get_or_try_init(|| begin(&server, replica, followers)).await;
    let log = match opened {
        Ok(log) => Arc::clone(log),
        Err(error) => {
            server.logs.forget(replica);
            return Err(error);
        }
    };
    if log.is_gone() {
        server.logs.forget(replica);
    }
    let offers = log.offers().filter(|_| !log.is_ended()).ok_or(LogError::Ended(replica))?;
    let (answer, answered) = oneshot::channel();
    let offer = Offer { batch, frames, answer };
    offers.send(offer).await.map_err(|_| LogError::Ended(replica))?;
    answered.await.unwrap_or(Err(LogError::Ended(replica)))
}

/// Reads what a client sent: whole records of one writer, numbered upwards.
fn batch_of(frames: &Bytes) -> Result<Batch, LogError> {
    let bad = |what| Err(LogError::BadRecords { what });
    let mut batch: Option<Batch> = None;
    let mut at = 0;
    while at < frames.len() {
        let Frame::Whole { header, length, .. } = first_frame(&frames[at..]) else {
            return bad("one is cut short, or does not match its checksum");
        };
        at += length;
        let (writer, number) = (header.writer, header.sequence);
        match &mut batch {
            None => {
                let bytes = frames.len() as u64;
                batch = Some(Batch { writer, first: number, last: number, bytes });
            }
            Some(batch) if batch.writer != writer => return bad("they are of two writers"),
            Some(batch) if batch.last >= number => {
                return bad("a number is not higher than the one before");
            }
            Some(batch) => batch.last = number,
        }
    }
    batch.map_or_else(|| bad("there is none"), Ok)
}

/// Makes the replicas on all servers of the chunk, and has the master say that it may begin.
async fn begin(
    server: &Arc<Server>,
    replica: ReplicaKey,
    followers: Vec<ServerAddress>,
) -> Result<Arc<OpenLog>, LogError> {
    match server.replicas.open_log(replica).await? {
        OpenAnswer::Write => {}
        OpenAnswer::TooMany { uploads_max } => {
            return Err(LogError::TooMany { logs_max: uploads_max });
        }
        OpenAnswer::AlreadySealed(_) | OpenAnswer::Busy | OpenAnswer::Stale { .. } => {
            return Err(LogError::Ended(replica));
        }
    }
    let (offers, inbox) = mpsc::channel(OFFERS);
    // How much goes into it, the master says, before the first batch is admitted.
    let made = OpenLog::create(server, replica, 0, Some(offers)).await;
    let log = match made {
        Ok(log) => Arc::new(log),
        Err(error) => {
            tracing::warn!(chunk = %replica.chunk, %error, "a log's replica can't be made");
            give_up(server, replica, vec![server.host.clone()]).await;
            server.replicas.tell(Input::Aborted { replica }).await?;
            return Err(error.into());
        }
    };
    let failed = send(server, replica, &followers, 0, &Bytes::new()).await;
    if !failed.is_empty() {
        log.discard().await;
        give_up(server, replica, failed).await;
        server.replicas.tell(Input::Aborted { replica }).await?;
        // Those who wait for it find that it has ended.
        return Ok(log);
    }
    server.replicas.tell(Input::LogOpened { replica }).await?;
    let chunk_bytes = match ask_to_begin(server, replica).await {
        Ok(begun) => begun.chunk_bytes,
        Err(reason) => {
            // The master may have said yes. Whoever ends the chunk finds it empty.
            end_here(server, &log).await;
            tracing::warn!(chunk = %replica.chunk, %reason, "a log's chunk can't begin");
            return Ok(log);
        }
    };
    log.tail().await.limit(chunk_bytes);
    metrics::observe_log_begun();
    tokio::spawn(run(Arc::clone(server), Arc::clone(&log), followers, inbox));
    Ok(log)
}

async fn ask_to_begin(server: &Server, replica: ReplicaKey) -> Result<BegunLog, CallError> {
    let client = peer_client(server, replica);
    let (chunk, version) = (replica.chunk, replica.version);
    let request = BeginLog { chunk, version, beginning: net::random_u64() };
    let watch = clock::Stopwatch::start();
    let mut backoff = Backoff::default();
    loop {
        match client.post(&server.master, "/v1/logs/begin", &request).await {
            Err(error) if error.is_transient() && watch.elapsed() < BEGIN_LIMIT => {
                backoff.pause().await;
            }
            answer => return answer,
        }
    }
}

/// Sends the next frames to all followers at once; returns those that did not take them.
async fn send(
    server: &Server,
    replica: ReplicaKey,
    followers: &[ServerAddress],
    at: u64,
    frames: &Bytes,
) -> Vec<HostName> {
    let client = peer_client(server, replica);
    let sent = followers.iter().map(async |follower| {
        let chunk = (replica.chunk, replica.version);
        let followed = follow_log(&client, follower, chunk, at, frames.clone().into()).await;
        match followed {
            Ok(followed) if followed.length == at + frames.len() as u64 => None,
            Ok(followed) => {
                tracing::error!(chunk = %replica.chunk, host = %follower.host, at, ?followed,
                    "a server of a log's chunk has another length");
                Some(follower.host.clone())
            }
            Err(error) => {
                let ended = error.problem_kind() == Some(ProblemKind::LogEnded.as_str());
                match ended {
                    true => tracing::info!(chunk = %replica.chunk, host = %follower.host,
                        "a log's chunk was ended at another server"),
                    false => tracing::warn!(chunk = %replica.chunk, host = %follower.host, %error,
                        "a server of a log's chunk failed"),
                }
                Some(follower.host.clone())
            }
        }
    });
    join_all(sent).await.into_iter().flatten().collect()
}

/// What a group came to.
enum Outcome {
    /// It is everywhere.
    Done,
    /// The same, and another batch does not fit.
    Full,
    /// It may be anywhere.
    Failed,
}

type Waiting = Vec<(oneshot::Sender<Result<Appended, LogError>>, u64)>;

/// Groups batches until the chunk ends, and then has it settled.
async fn run(
    server: Arc<Server>,
    log: Arc<OpenLog>,
    followers: Vec<ServerAddress>,
    mut offers: mpsc::Receiver<Offer>,
) {
    let mut unanswered = Vec::new();
    let was_frozen = loop {
        let first = tokio::select! {
            biased;
            () = log.wait_for_end() => break true,
            // The log itself holds a sender.
            first = offers.recv() => match first { Some(first) => first, None => break true },
        };
        match group(&server, &log, &followers, first, &mut offers, &mut unanswered).await {
            Outcome::Done => {}
            Outcome::Full | Outcome::Failed => break false,
        }
    };
    end_here(&server, &log).await;
    if !was_frozen && !log.is_gone() {
        let mut servers = followers;
        let own = ServerAddress {
            host: server.host.clone(),
            rack: server.rack.clone(),
            address: server.address.clone(),
        };
        servers.insert(0, own);
        settle(&server, log.replica(), servers).await;
    }
    // Only now: who asks the master for the log's open chunk gets another one.
    offers.close();
    drop(unanswered);
}

/// Writes the batches that wait as one group. Those that do not know what became of them are left in `unanswered`.
async fn group(
    server: &Arc<Server>,
    log: &OpenLog,
    followers: &[ServerAddress],
    first: Offer,
    offers: &mut mpsc::Receiver<Offer>,
    unanswered: &mut Vec<oneshot::Sender<Result<Appended, LogError>>>,
) -> Outcome {
    let mut tail = log.tail().await;
    let at = tail.length();
    let (mut waiting, mut pieces, mut bytes) = (Waiting::new(), Vec::new(), 0);
    let (mut next, mut is_full) = (Some(first), false);
    while let Some(Offer { batch, frames, answer }) = next.take() {
        match tail.admit(batch) {
            Ok(Admission::Write { offset }) => {
                bytes += frames.len();
                pieces.push(frames);
                waiting.push((answer, offset));
            }
            Ok(Admission::Again { offset }) => waiting.push((answer, offset)),
            Ok(Admission::Full | Admission::Ended) => {
                is_full = true;
                unanswered.push(answer);
            }
            Err(error) => drop(answer.send(Err(error.into()))),
        }
        if !is_full && bytes < GROUP_BYTES {
            next = offers.try_recv().ok();
        }
    }
    if bytes > 0 {
        let n_batches = pieces.len();
        let frames: Bytes = pieces.concat().into();
        let sending = {
            let (server, followers, frames) =
                (Arc::clone(server), followers.to_vec(), frames.clone());
            let replica = log.replica();
            async move { send(&server, replica, &followers, at, &frames).await }
        };
        let sending = AbortOnDrop(tokio::spawn(sending));
        if let Err(error) = log.write(at, frames).await {
            tracing::warn!(chunk = %log.replica().chunk, %error, "a log's primary can't write");
            log.end_at(&mut tail, at);
            unanswered.extend(waiting.into_iter().map(|(answer, _)| answer));
            return Outcome::Failed;
        }
        drop(tail);
        let failed = tokio::select! {
            biased;
            sent = sending => sent.is_none_or(|failed| !failed.is_empty()),
            // Whoever has ended it asks the others too.
            () = log.wait_for_end() => true,
        };
        if failed {
            unanswered.extend(waiting.into_iter().map(|(answer, _)| answer));
            return Outcome::Failed;
        }
        let up_to = at + bytes as u64;
        log.tail().await.acknowledge(up_to);
        log.acknowledge(up_to);
        metrics::observe_log_group(n_batches, bytes);
    }
    for (answer, offset) in waiting {
        // A client that is gone wants no answer.
        let _ = answer.send(Ok(Appended { offset }));
    }
    if is_full { Outcome::Full } else { Outcome::Done }
}

/// A task that ends when nobody waits for it any more.
struct AbortOnDrop<T>(tokio::task::JoinHandle<T>);

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl<T> std::future::Future for AbortOnDrop<T> {
    type Output = Option<T>;

    fn poll(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<T>> {
        std::pin::Pin::new(&mut self.0).poll(context).map(Result::ok)
    }
}
