//! The first server of a log's chunk: it takes batches of many clients, writes those that wait as one group, sends
//! that to the other servers at the same time, and answers when all of them have synced it. One group is under way at
//! a time, so that every server has the same bytes in the same order; while it is, the next one gathers.

use std::sync::Arc;

use bytes::Bytes;
use chunkstore_client::records::{Frame, first_frame};
use chunkstore_client::transfer::follow_log;
use chunkstore_core::log::{Answers, BEGIN_LIMIT, Batch, Group, Offered, Progress, Tail};
use chunkstore_core::replica::{Input, OpenAnswer, ReplicaKey};
use chunkstore_protocol::{Appended, BeginLog, BegunLog, ProblemKind, ServerAddress};
use futures_util::future::join_all;
use ids::HostName;
use net::CallError;
use tokio::sync::{MutexGuard, mpsc, oneshot};

use super::ending::{give_up, settle};
use super::open_log::OpenLog;
use super::{LogError, end_here, peer_client};
use crate::server::{Server, metrics};

/// Batches that wait for the next group.
const OFFERS: usize = 1024;

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
            server.logs.leave(replica, &slot);
            return Err(error);
        }
    };
    if log.is_gone() {
        server.logs.leave(replica, &slot);
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

/// Makes the replicas on all servers of the chunk, once the master says that it may begin, and has that recorded.
async fn begin(
    server: &Arc<Server>,
    replica: ReplicaKey,
    followers: Vec<ServerAddress>,
) -> Result<Arc<OpenLog>, LogError> {
    let beginning = net::random_u64();
    if let Err(reason) = ask_to_begin(server, replica, beginning, Stage::Intended).await {
        tracing::info!(chunk = %replica.chunk, %reason, "a log's chunk may not begin");
        return Err(LogError::Ended(replica));
    }
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
    let made = send(server, replica, &followers, 0, &Bytes::new()).await;
    let failed = made.into_iter().filter(|(_, said)| *said != Said::Has(0));
    let failed: Vec<_> = failed.map(|(host, _)| host).collect();
    if !failed.is_empty() {
        log.discard().await;
        give_up(server, replica, failed).await;
        server.replicas.tell(Input::Aborted { replica }).await?;
        // Those who wait for it find that it has ended.
        return Ok(log);
    }
    server.replicas.tell(Input::LogOpened { replica }).await?;
    let chunk_bytes = match ask_to_begin(server, replica, beginning, Stage::Made).await {
        Ok(begun) => begun.chunk_bytes,
        Err(reason) => {
            // The master may have said yes. Whoever ends the chunk finds it empty; the master is told, as readers wait.
            end_here(server, &log).await;
            server.replicas.tell(Input::LogStuck { replica }).await?;
            tracing::warn!(chunk = %replica.chunk, %reason, "a log's chunk can't begin");
            return Ok(log);
        }
    };
    log.tail().await.limit(chunk_bytes);
    metrics::observe_log_begun();
    tokio::spawn(run(Arc::clone(server), Arc::clone(&log), followers, inbox));
    Ok(log)
}

/// How far a chunk's beginning has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Nothing is there, and the master records nothing.
    Intended,
    /// The replicas are there.
    Made,
}

async fn ask_to_begin(
    server: &Server,
    replica: ReplicaKey,
    beginning: u64,
    stage: Stage,
) -> Result<BegunLog, CallError> {
    let client = peer_client(server, replica);
    let (chunk, version) = (replica.chunk, replica.version);
    let request = BeginLog { chunk, version, beginning, made: stage == Stage::Made };
    client.post_retrying(&server.master, "/v1/logs/begin", &request, BEGIN_LIMIT).await
}

/// What a follower said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Said {
    /// It has so many bytes.
    Has(u64),
    /// It did not take them.
    No,
    /// Nothing.
    Nothing,
}

/// Sends the next frames to all followers at once.
async fn send(
    server: &Server,
    replica: ReplicaKey,
    followers: &[ServerAddress],
    at: u64,
    frames: &Bytes,
) -> Vec<(HostName, Said)> {
    let client = peer_client(server, replica);
    let sent = followers.iter().map(async |follower| {
        let next = (at, frames.clone().into());
        let followed = follow_log(&client, follower, replica, next, server.follow_timeout).await;
        let said = match followed {
            Ok(followed) => Said::Has(followed.length),
            Err(error) => {
                let ended =
                    error.problem_kind().and_then(ProblemKind::of) == Some(ProblemKind::LogEnded);
                match ended {
                    true => tracing::info!(chunk = %replica.chunk, host = %follower.host,
                        "a log's chunk was ended at another server"),
                    false => tracing::warn!(chunk = %replica.chunk, host = %follower.host, %error,
                        "a server of a log's chunk failed"),
                }
                if error.problem().is_none() { Said::Nothing } else { Said::No }
            }
        };
        (follower.host.clone(), said)
    });
    join_all(sent).await
}

/// What a group came to.
enum Outcome {
    /// It is everywhere.
    Done,
    /// The same, and another batch does not fit.
    Full,
    /// It may be anywhere; these servers were silent.
    Failed(Vec<HostName>),
}

type Waiting = oneshot::Sender<Result<Appended, LogError>>;

/// Groups batches until the chunk ends, and then has it settled.
async fn run(
    server: Arc<Server>,
    log: Arc<OpenLog>,
    followers: Vec<ServerAddress>,
    mut offers: mpsc::Receiver<Offer>,
) {
    let mut unanswered = Vec::new();
    let silent = loop {
        let first = tokio::select! {
            biased;
            () = log.wait_for_end() => break None,
            // The log itself holds a sender.
            first = offers.recv() => match first { Some(first) => first, None => break None },
            // So that logs that nobody writes take no place of others: a server has so many open at most.
            () = tokio::time::sleep(server.idle_log_timeout) => break Some(Vec::new()),
        };
        match group(&server, &log, &followers, first, &mut offers, &mut unanswered).await {
            Outcome::Done => {}
            Outcome::Full => break Some(Vec::new()),
            Outcome::Failed(silent) => break Some(silent),
        }
    };
    end_here(&server, &log).await;
    // Whoever has frozen it settles it.
    if let Some(silent) = silent.filter(|_| !log.is_gone()) {
        let mut servers = followers;
        let own = ServerAddress {
            host: server.host.clone(),
            rack: server.rack.clone(),
            address: server.address.clone(),
        };
        servers.insert(0, own);
        settle(&server, log.replica(), servers, &silent).await;
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
    unanswered: &mut Vec<Waiting>,
) -> Outcome {
    let mut tail = log.tail().await;
    let hosts = followers.iter().map(|follower| follower.host.clone());
    let mut group = Group::new(&tail, hosts.chain([server.host.clone()]));
    let (mut pieces, mut next) = (Vec::new(), Some(first));
    while let Some(Offer { batch, frames, answer }) = next.take() {
        match group.offer(&mut tail, batch, answer) {
            Offered::Write => pieces.push(frames),
            Offered::Nothing => {}
            // A client that is gone wants no answer.
            Offered::Refused(answer, error) => drop(answer.send(Err(error.into()))),
        }
        if group.takes_more() {
            next = offers.try_recv().ok();
        }
    }
    let is_full = group.is_full();
    let (n_batches, frames) = (pieces.len(), Bytes::from(pieces.concat()));
    let (mut tail, silent) = match group.progress() {
        Progress::UnderWay => write_group(server, log, followers, (&mut group, tail, frames)).await,
        Progress::Everywhere | Progress::Differs => (tail, Vec::new()),
    };
    let (progress, bytes) = (group.progress(), group.bytes());
    let Answers { appended, unknown } = group.end_with(&mut tail);
    unanswered.extend(unknown);
    log.acknowledge(tail.acknowledged());
    drop(tail);
    for (answer, offset) in appended {
        // A client that is gone wants no answer.
        let _ = answer.send(Ok(Appended { offset }));
    }
    match progress {
        Progress::Everywhere => {
            if bytes > 0 {
                metrics::observe_log_group(n_batches, bytes);
            }
            if is_full { Outcome::Full } else { Outcome::Done }
        }
        Progress::UnderWay | Progress::Differs => Outcome::Failed(silent),
    }
}

/// Writes a group here and sends it to the followers at the same time; the group knows afterwards who has it. Returns who
/// was silent.
async fn write_group<'a>(
    server: &Arc<Server>,
    log: &'a OpenLog,
    followers: &[ServerAddress],
    (group, mut tail, frames): (&mut Group<Waiting>, MutexGuard<'a, Tail>, Bytes),
) -> (MutexGuard<'a, Tail>, Vec<HostName>) {
    let (at, replica) = (group.at(), log.replica());
    let sending = {
        let (server, followers, frames) = (Arc::clone(server), followers.to_vec(), frames.clone());
        async move { send(&server, replica, &followers, at, &frames).await }
    };
    let sending = AbortOnDrop(tokio::spawn(sending));
    match log.write(at, frames).await {
        Ok(()) => drop(group.synced(&server.host, group.end())),
        Err(error) => {
            tracing::warn!(chunk = %replica.chunk, %error, "a log's primary can't write");
            log.end_at(&mut tail, at);
        }
    }
    drop(tail);
    let sent = tokio::select! {
        biased;
        sent = sending => sent.unwrap_or_default(),
        // Whoever has ended it asks the others too.
        () = log.wait_for_end() => Vec::new(),
    };
    let mut silent = Vec::new();
    for (host, said) in sent {
        match said {
            Said::Has(length) => {
                if group.synced(&host, length) == Progress::Differs {
                    tracing::error!(chunk = %replica.chunk, %host, at, length,
                        "a server of a log's chunk has another length");
                }
            }
            Said::No => {}
            Said::Nothing => silent.push(host),
        }
    }
    (log.tail().await, silent)
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
