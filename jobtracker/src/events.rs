//! Events for listeners: `GET /v1/events`. While there is a listener, the core is asked twice a
//! second for the state of the cluster and the newest jobs, as by any client, and changes are sent
//! to all listeners. So the cost is the same for one listener as for hundreds, there is none
//! without listeners, and the event loop knows nothing of them.
//!
//! A new listener first gets the present state. Each listener has its own queue; one that does not
//! read it in time is cut off, and starts again when it reconnects.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use daemon::Shutdown;
use jobtracker_core::{Input, JobFilter, Query, Reply, Summary};
use mapreduce_protocol::{ClusterPulse, JobId, JobStatus, JobtrackerInfo};
use serde::Serialize;
use tokio::sync::{broadcast, mpsc};

use crate::event_loop::CoreHandle;
use crate::metrics::count_dropped_listener;

/// Limit on the listeners; further ones are told to come back.
pub(crate) const LISTENERS_MAX: usize = 500;
/// Time between two queries of the core.
const INTERVAL: Duration = Duration::from_millis(500);
/// Number of the newest jobs whose events go to all listeners.
const JOBS: usize = 100;
/// Number of events by which a listener may lag behind.
const BEHIND_MAX: usize = 1024;
/// Number of events queued for one listener's connection.
const QUEUE: usize = 64;
/// How long a connection may accept no event.
const STALL_MAX: Duration = Duration::from_secs(15);
/// Silence after which a comment is sent: it detects listeners that have gone, and keeps proxies
/// from closing the connection.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Sends events to listeners. Cheap to clone; all clones share one state.
#[derive(Clone)]
pub(crate) struct Events(Arc<Shared>);

struct Shared {
    core: CoreHandle,
    shutdown: Shutdown,
    board: Mutex<Board>,
    news: broadcast::Sender<Event>,
}

/// What listeners were last told.
#[derive(Default)]
struct Board {
    pulse: Option<ClusterPulse>,
    jobs: BTreeMap<JobId, JobStatus>,
    n_listeners: usize,
    /// Jobs that are the only interest of some listener, with the number of those; they may not be
    /// among the newest.
    watched: BTreeMap<JobId, usize>,
    is_looking: bool,
}

/// One event, as sent.
#[derive(Clone, Debug)]
struct Event {
    /// The job that it is about.
    job: Option<JobId>,
    text: Bytes,
}

impl Event {
    /// JSON contains no line ends, so it fits on one line of data.
    fn new(kind: &str, job: Option<JobId>, data: &impl Serialize) -> Self {
        let data = serde_json::to_string(data).expect("events are plain data");
        Self { job, text: format!("event: {kind}\ndata: {data}\n\n").into() }
    }

    fn of_cluster(pulse: &ClusterPulse) -> Self {
        Self::new("cluster", None, pulse)
    }

    fn of_job(status: &JobStatus) -> Self {
        Self::new("job", Some(status.id), status)
    }
}

/// The limit on listeners is reached.
#[derive(Debug, thiserror::Error)]
#[error(
    "{LISTENERS_MAX} listen to events already: try again in a while, or ask for states instead"
)]
pub(crate) struct TooManyListeners;

impl Events {
    pub(crate) fn new(core: CoreHandle, shutdown: Shutdown) -> Self {
        let board = Mutex::default();
        let news = broadcast::Sender::new(BEHIND_MAX);
        Self(Arc::new(Shared { core, shutdown, board, news }))
    }

    /// A stream of server-sent events from now on, for `long` at most. If a job is named, it has
    /// only events of that job and of the cluster.
    pub(crate) fn listen(
        &self,
        only: Option<JobId>,
        long: Duration,
    ) -> Result<mpsc::Receiver<Bytes>, TooManyListeners> {
        let mut board = self.board();
        if board.n_listeners >= LISTENERS_MAX {
            return Err(TooManyListeners);
        }
        board.n_listeners += 1;
        if let Some(job) = only {
            *board.watched.entry(job).or_default() += 1;
        }
        // Under the lock, so that nothing is missed between the known state and the news.
        let news = self.0.news.subscribe();
        let cluster = board.pulse.iter().map(Event::of_cluster);
        let jobs = board.jobs.values().filter(|job| only.is_none_or(|only| only == job.id));
        let known: Vec<_> = cluster.chain(jobs.map(Event::of_job)).collect();
        if !std::mem::replace(&mut board.is_looking, true) {
            tokio::spawn(self.clone().look_again_and_again());
        }
        drop(board);
        let (queue, sent) = mpsc::channel(QUEUE);
        let listener = Listener { events: self.clone(), only };
        tokio::spawn(async move { listener.serve(known, news, queue, long).await });
        Ok(sent)
    }

    /// Number of listeners.
    pub(crate) fn n_listeners(&self) -> usize {
        self.board().n_listeners
    }

    /// Never held across an await.
    fn board(&self) -> MutexGuard<'_, Board> {
        self.0.board.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn look_again_and_again(self) {
        loop {
            let watched: Vec<JobId> = {
                let mut board = self.board();
                if board.n_listeners == 0 || self.0.shutdown.is_triggered() {
                    // The next listener must not get a state that is out of date.
                    (board.is_looking, board.pulse) = (false, None);
                    board.jobs.clear();
                    return;
                }
                board.watched.keys().copied().collect()
            };
            self.look(watched).await;
            // On shutdown it does not wait.
            let _time_is_over = tokio::time::timeout(INTERVAL, self.0.shutdown.wait()).await;
        }
    }

    async fn look(&self, watched: Vec<JobId>) {
        let only = JobFilter::default();
        let Some(Reply::List(list)) = self.ask(Query::List { limit: JOBS, only }).await else {
            return;
        };
        let mut jobs = list.jobs;
        for job in watched {
            if jobs.iter().all(|known| known.id != job)
                && let Some(Reply::Status(status)) =
                    self.ask(Query::Status { job, wait: None }).await
            {
                jobs.push(*status);
            }
        }
        let cluster = self.ask(Query::Cluster).await;
        let (Some(Reply::Cluster(info)), Some(Reply::Summary(summary))) =
            (cluster, self.ask(Query::Summary).await)
        else {
            return;
        };
        self.tell(pulse(&info, &summary), jobs);
    }

    async fn ask(&self, query: Query) -> Option<Reply> {
        self.0.core.ask(|reply_to| Input::Query { query, reply_to }).await.ok()
    }

    /// Sends whatever has changed to all listeners.
    fn tell(&self, pulse: ClusterPulse, jobs: Vec<JobStatus>) {
        let mut board = self.board();
        // It is no error if nobody listens.
        let tell = |event| drop(self.0.news.send(event));
        if board.pulse.as_ref() != Some(&pulse) {
            tell(Event::of_cluster(&pulse));
            board.pulse = Some(pulse);
        }
        let changed = jobs.iter().filter(|job| board.jobs.get(&job.id) != Some(job));
        changed.map(Event::of_job).for_each(tell);
        board.jobs = jobs.into_iter().map(|job| (job.id, job)).collect();
    }
}

fn pulse(info: &JobtrackerInfo, summary: &Summary) -> ClusterPulse {
    ClusterPulse {
        cluster: info.cluster.clone(),
        epoch: info.epoch,
        trackers: summary.trackers,
        trackers_ill: summary.trackers_ill,
        trackers_set_aside: summary.trackers_set_aside,
        trackers_drained: summary.trackers_drained,
        slots: summary.slots,
        slots_occupied: summary.slots_occupied,
        maps_waiting: summary.maps.waiting,
        maps_running: summary.maps.running,
        reduces_waiting: summary.reduces.waiting,
        reduces_running: summary.reduces.running,
        jobs_unfinished: info.unfinished_jobs.into(),
        jobs_paused: summary.jobs_paused,
        launches_node_local: summary.launches.node_local,
        launches_rack_local: summary.launches.rack_local,
        launches_off_rack: summary.launches.off_rack,
    }
}

/// A listener; its place becomes free when this is dropped.
struct Listener {
    events: Events,
    only: Option<JobId>,
}

impl Listener {
    /// Serves until the listener goes away, is too slow, or may listen no longer, or the JobTracker
    /// stops.
    async fn serve(
        self,
        known: Vec<Event>,
        news: broadcast::Receiver<Event>,
        queue: mpsc::Sender<Bytes>,
        long: Duration,
    ) {
        tokio::select! {
            () = self.events.0.shutdown.wait() => {}
            () = tokio::time::sleep(long) => {}
            end = pass_on(self.only, known, news, &queue, STALL_MAX) => {
                if end == End::Behind {
                    count_dropped_listener();
                }
            }
        }
    }
}

/// Why a listener gets no more events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// It does not read what it is sent.
    Behind,
    /// It has gone away.
    Gone,
}

/// Sends the known state, then the news. If a job is named, only events of that job and of the
/// cluster.
async fn pass_on(
    only: Option<JobId>,
    known: Vec<Event>,
    mut news: broadcast::Receiver<Event>,
    queue: &mpsc::Sender<Bytes>,
    stall: Duration,
) -> End {
    for event in known {
        if let Err(end) = send(queue, event.text, stall).await {
            return end;
        }
    }
    loop {
        let next = tokio::select! {
            () = queue.closed() => return End::Gone,
            next = tokio::time::timeout(KEEP_ALIVE, news.recv()) => next,
        };
        let text = match next {
            Ok(Ok(Event { job, text })) => {
                let is_others = job.is_some() && only.is_some() && job != only;
                if is_others {
                    continue;
                }
                text
            }
            Ok(Err(broadcast::error::RecvError::Lagged(_))) => return End::Behind,
            Ok(Err(broadcast::error::RecvError::Closed)) => return End::Gone,
            Err(_silence) => Bytes::from_static(b": still here\n\n"),
        };
        if let Err(end) = send(queue, text, stall).await {
            return end;
        }
    }
}

async fn send(queue: &mpsc::Sender<Bytes>, text: Bytes, stall: Duration) -> Result<(), End> {
    match tokio::time::timeout(stall, queue.send(text)).await {
        Ok(sent) => sent.map_err(|_| End::Gone),
        Err(_stalled) => Err(End::Behind),
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let mut board = self.events.board();
        board.n_listeners -= 1;
        if let Some(job) = self.only
            && let Some(n) = board.watched.get_mut(&job)
        {
            *n -= 1;
            if *n == 0 {
                board.watched.remove(&job);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    fn event(ordinal: u32) -> Event {
        let job = JobId { date: 20_261_122, ordinal };
        Event::new("job", Some(job), &ordinal)
    }

    #[tokio::test]
    async fn who_listens_to_one_job_hears_of_it_and_of_the_cluster_alone() {
        let news = broadcast::Sender::new(16);
        let receiver = news.subscribe();
        for told in [event(1), event(2), Event::new("cluster", None, &7), event(1)] {
            news.send(told).unwrap();
        }
        drop(news);
        let (queue, mut sent) = mpsc::channel(16);
        let known = vec![event(1)];
        let end = pass_on(event(1).job, known, receiver, &queue, LONG).await;
        assert_eq!(end, End::Gone, "nothing more can come");
        drop(queue);
        let mut heard = Vec::new();
        while let Some(text) = sent.recv().await {
            heard.push(String::from_utf8(text.to_vec()).unwrap());
        }
        let of_job = "event: job\ndata: 1\n\n";
        assert_eq!(heard, [of_job, of_job, "event: cluster\ndata: 7\n\n", of_job]);
    }

    #[tokio::test]
    async fn who_does_not_read_is_cut_off_and_holds_up_nobody() {
        let news = broadcast::Sender::new(4);
        let (slow, quick) = (news.subscribe(), news.subscribe());
        let (queue, _unread) = mpsc::channel(1);
        let known = vec![event(1), event(2)];
        let end = pass_on(None, known, slow, &queue, Duration::from_millis(1)).await;
        assert_eq!(end, End::Behind, "his connection takes nothing");
        (0..9).for_each(|ordinal| drop(news.send(event(ordinal))));
        let (queue, _sent) = mpsc::channel(64);
        let end = pass_on(None, Vec::new(), quick, &queue, LONG).await;
        assert_eq!(end, End::Behind, "he has missed some");
    }

    #[tokio::test]
    async fn who_has_gone_away_is_noticed_without_news() {
        let news = broadcast::Sender::<Event>::new(4);
        let (queue, sent) = mpsc::channel(4);
        drop(sent);
        let end = pass_on(None, Vec::new(), news.subscribe(), &queue, LONG).await;
        assert_eq!(end, End::Gone);
    }
}
