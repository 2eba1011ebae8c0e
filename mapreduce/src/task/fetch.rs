//! Fetching map outputs, on the I/O thread: listens to the job's map events, asks trackers as
//! `fetch_plan.rs` says, and hands verified segments to the task's thread.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use ids::Monotonic;
use mapreduce_protocol::shuffle;
use mapreduce_protocol::{AttemptId, Failure, FailureKind, MapEvent};
use net::Client;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::channel::Channel;
use super::failure::failure;
use super::fetch_body::{self, Body, FetchError};
use super::fetch_plan::{Batch, FetchPlan};
use super::progress::Progress;
use super::segments::Budget;
use super::source::{Source, unpacked_bytes};

/// Segments that wait for the task's thread; their bytes are bounded by the budget.
const SEGMENTS_QUEUED: usize = 256;

/// Time between two signs of life while nothing arrives.
const SIGN_OF_LIFE: Duration = Duration::from_millis(500);

/// A map's verified segment.
pub(crate) struct Segment {
    /// The map's ordinal.
    pub(crate) map: u32,
    /// In memory (taken from the budget) or on disk.
    pub(crate) source: Source,
}

/// What the fetcher is given.
pub(crate) struct FetchSettings {
    /// Its client, with the attempt's token.
    pub(crate) client: Client,
    /// The attempt's folder.
    pub(crate) folder: PathBuf,
    /// The job whose maps they are, and the partition wanted.
    pub(crate) job: mapreduce_protocol::JobId,
    /// The partition wanted.
    pub(crate) partition: u32,
    /// Maps of the job.
    pub(crate) n_maps: u32,
    /// Requests at once.
    pub(crate) parallel_fetches: u32,
    /// First pause after a failure.
    pub(crate) retry: Duration,
    /// Silence after which a tracker is given up for now.
    pub(crate) stall: Duration,
    /// Memory for segments.
    pub(crate) budget: Budget,
    /// How far the reduce is.
    pub(crate) progress: Progress,
    /// How often a map output did not come and was, or will be, asked for again.
    pub(crate) retries: Arc<AtomicU64>,
}

/// Fetches all segments; they come out of the channel, which ends after the last one or a failure.
/// `tell` speaks to the tracker.
pub(crate) fn start(
    settings: FetchSettings,
    tell: Channel,
    events: mpsc::Receiver<Vec<MapEvent>>,
) -> (impl Future<Output = ()> + Send, mpsc::Receiver<Result<Segment, Failure>>) {
    let (segments, received) = mpsc::channel(SEGMENTS_QUEUED);
    let plan = FetchPlan::new(settings.n_maps, settings.retry, settings.partition as usize);
    let fetcher = Fetcher { plan, tell, segments, settings: Arc::new(settings) };
    (fetcher.run(events), received)
}

struct Fetcher {
    plan: FetchPlan,
    tell: Channel,
    segments: mpsc::Sender<Result<Segment, Failure>>,
    settings: Arc<FetchSettings>,
}

/// What happened in a request.
enum Happened {
    Arrived {
        attempt: AttemptId,
        source: Source,
    },
    Failed {
        attempt: AttemptId,
        message: String,
    },
    /// This host can't keep what comes.
    Unkept {
        failure: Failure,
    },
    Ended {
        address: String,
    },
}

impl Fetcher {
    async fn run(mut self, events: mpsc::Receiver<Vec<MapEvent>>) {
        if let Err(failure) = self.fetch_all(events).await {
            // The task's thread stops listening only when it has failed itself.
            let _ = self.segments.send(Err(failure)).await;
        }
    }

    async fn fetch_all(
        &mut self,
        mut events: mpsc::Receiver<Vec<MapEvent>>,
    ) -> Result<(), Failure> {
        let (happened, mut happens) = mpsc::channel(16);
        let mut requests = JoinSet::new();
        let mut sign_of_life = tokio::time::interval(SIGN_OF_LIFE);
        // Looking costs a pass over all maps: only what can change the answer makes it worth it.
        let mut look = true;
        let mut timeout = None;
        while !self.plan.is_complete() {
            while look && requests.len() < self.settings.parallel_fetches.max(1) as usize {
                let Some(batch) = self.plan.next_batch(clock::monotonic()) else { break };
                requests.spawn(request(Arc::clone(&self.settings), batch, happened.clone()));
            }
            if look {
                timeout = self.plan.poll_timeout();
            }
            look = tokio::select! {
                news = events.recv() => {
                    self.learn(news)?;
                    true
                }
                Some(what) = happens.recv() => self.handle(what).await?,
                Some(_) = requests.join_next() => true,
                () = wait_until(timeout) => true,
                _ = sign_of_life.tick() => {
                    self.report();
                    false
                }
            };
        }
        Ok(())
    }

    fn learn(&mut self, news: Option<Vec<MapEvent>>) -> Result<(), Failure> {
        let Some(news) = news else {
            let message = "the TaskTracker's channel closed before all maps were known".to_owned();
            return Err(failure(FailureKind::TrackerLost, message));
        };
        let now = clock::monotonic();
        news.into_iter().try_for_each(|event| self.plan.learn(now, event))
    }

    /// Returns whether there may be something to ask for now; a failure ends the attempt.
    async fn handle(&mut self, what: Happened) -> Result<bool, Failure> {
        match what {
            Happened::Arrived { attempt, source } => {
                if self.plan.arrived(attempt, clock::monotonic()) {
                    let segment = Segment { map: attempt.task.index, source };
                    let _ = self.segments.send(Ok(segment)).await;
                    return Ok(false);
                }
                self.settings.budget.give_back(source.memory());
                Ok(true)
            }
            Happened::Unkept { failure } => Err(failure),
            Happened::Failed { attempt, message } => {
                self.settings.retries.fetch_add(1, Ordering::Relaxed);
                if self.plan.failed(attempt, clock::monotonic(), net::random_u64()) {
                    eprintln!("{attempt}'s output did not come: {message}");
                    self.tell.fetch_failed(attempt, message);
                }
                Ok(true)
            }
            Happened::Ended { address } => {
                self.plan.ended(&address);
                Ok(true)
            }
        }
    }

    /// Fetching is the first half of a reduce's way. To wait for maps is no silence.
    fn report(&self) {
        let n_maps = u64::from(self.settings.n_maps.max(1));
        let progress = &self.settings.progress;
        progress.make_due();
        progress.at(self.plan.fetched().into(), 2 * n_maps);
    }
}

async fn wait_until(timeout: Option<Monotonic>) {
    match timeout {
        Some(at) => tokio::time::sleep(at.since(clock::monotonic())).await,
        None => std::future::pending().await,
    }
}

/// One request and all its segments; every map asked for is told of, and then the end.
async fn request(settings: Arc<FetchSettings>, batch: Batch, tell: mpsc::Sender<Happened>) {
    let Batch { address, maps } = batch;
    let mut arrived = 0;
    let outcome = receive(&settings, &address, &maps, &tell, &mut arrived).await;
    match outcome {
        Ok(()) => {}
        // What stands behind a broken segment can't be told apart: all of it is asked for again.
        Err(FetchError::Peer(message)) => {
            for attempt in &maps[arrived..] {
                let what = Happened::Failed { attempt: *attempt, message: message.clone() };
                let _ = tell.send(what).await;
            }
        }
        Err(FetchError::Local(failure)) => drop(tell.send(Happened::Unkept { failure }).await),
    }
    let _ = tell.send(Happened::Ended { address }).await;
}

async fn receive(
    settings: &FetchSettings,
    address: &str,
    maps: &[AttemptId],
    tell: &mpsc::Sender<Happened>,
    told: &mut usize,
) -> Result<(), FetchError> {
    let path = shuffle::path_and_query(settings.job, settings.partition, maps);
    let mut body = Body::open(&settings.client, address, &path, settings.stall).await?;
    for attempt in maps {
        let what = match body.segment_header(*attempt).await? {
            None => {
                let message = format!("{address} does not have it");
                Happened::Failed { attempt: *attempt, message }
            }
            Some(length) if settings.budget.take(length) => match body.segment(length).await {
                Ok(bytes) => {
                    let source = kept(settings, bytes).await?;
                    Happened::Arrived { attempt: *attempt, source }
                }
                Err(message) => {
                    settings.budget.give_back(length);
                    return Err(message.into());
                }
            },
            Some(length) => {
                let path = new_file(settings);
                let source = fetch_body::segment_in_file(&mut body, length, &path).await?;
                Happened::Arrived { attempt: *attempt, source }
            }
        };
        *told += 1;
        if tell.send(what).await.is_err() {
            return Ok(());
        }
    }
    Ok(())
}

/// Where the next segment goes that is not kept in memory.
fn new_file(settings: &FetchSettings) -> PathBuf {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    settings.folder.join(format!("fetched-{number:06}"))
}

/// A segment whose length was taken from the budget: in memory, if there is room for what its merge decompresses, too.
async fn kept(settings: &FetchSettings, blocks: Bytes) -> Result<Source, FetchError> {
    if settings.budget.take(unpacked_bytes(&blocks)) {
        return Ok(Source::Memory(blocks));
    }
    let length = blocks.len() as u64;
    let source = fetch_body::blocks_in_file(blocks, &new_file(settings)).await?;
    settings.budget.give_back(length);
    Ok(source)
}

#[cfg(test)]
#[path = "fetch_tests.rs"]
mod tests;
