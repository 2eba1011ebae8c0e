//! A JobTracker that does as the test says: it parks heartbeats, numbers commands, and hands over what
//! it is told.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use ids::{Epoch, Inbox, Outbox};
use mapreduce_protocol::{
    JobId, MapEvent, MapEvents, ProblemKind, RegisterTracker, TrackerCommand, TrackerEvent,
    TrackerHeartbeat, TrackerHeartbeatReply, TrackerRegistered,
};
use net::{Json, Problem};
use tokio::sync::{Notify, mpsc};

const PARKED: Duration = Duration::from_millis(300);

pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// The JobTracker's end, for the test.
pub(crate) struct FakeJobTracker {
    pub(crate) address: String,
    shared: Arc<Shared>,
    events: mpsc::UnboundedReceiver<TrackerEvent>,
    registrations: mpsc::UnboundedReceiver<RegisterTracker>,
}

struct Shared {
    state: Mutex<Talk>,
    news: Notify,
    events: mpsc::UnboundedSender<TrackerEvent>,
    registrations: mpsc::UnboundedSender<RegisterTracker>,
}

#[derive(Default)]
struct Talk {
    epoch: u64,
    session: u64,
    last_number: u64,
    refusal: Option<ProblemKind>,
    commands: Outbox<TrackerCommand>,
    inbox: Inbox,
    map_events: BTreeMap<JobId, Vec<MapEvent>>,
}

impl FakeJobTracker {
    pub(crate) async fn start() -> Self {
        let (events, told) = mpsc::unbounded_channel();
        let (registrations, registered) = mpsc::unbounded_channel();
        let state = Mutex::new(Talk { epoch: 1, ..Talk::default() });
        let shared = Arc::new(Shared { state, news: Notify::new(), events, registrations });
        let router = axum::Router::new()
            .route("/v1/trackers/register", post(register))
            .route("/v1/trackers/heartbeat", post(heartbeat))
            .with_state(Arc::clone(&shared));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        tokio::spawn(async { axum::serve(listener, router).await.unwrap() });
        Self { address, shared, events: told, registrations: registered }
    }

    pub(crate) fn command(&self, command: TrackerCommand) {
        self.shared.lock().commands.push(command);
        self.shared.news.notify_waiters();
    }

    pub(crate) fn map_event(&self, job: JobId, event: MapEvent) {
        self.shared.lock().map_events.entry(job).or_default().push(event);
        self.shared.news.notify_waiters();
    }

    /// Another process with the same journal: nobody is registered any more.
    pub(crate) fn restart(&self) {
        let mut state = self.shared.lock();
        state.epoch += 1;
        state.session = 0;
        drop(state);
        self.shared.news.notify_waiters();
    }

    pub(crate) fn refuse(&self, kind: ProblemKind) {
        self.shared.lock().refusal = Some(kind);
    }

    pub(crate) async fn event(&mut self) -> TrackerEvent {
        let event = tokio::time::timeout(DEADLINE, self.events.recv()).await;
        event.expect("an event in time").unwrap()
    }

    pub(crate) async fn registration(&mut self) -> RegisterTracker {
        let registration = tokio::time::timeout(DEADLINE, self.registrations.recv()).await;
        registration.expect("a registration in time").unwrap()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Talk> {
        self.state.lock().unwrap()
    }
}

async fn register(
    State(shared): State<Arc<Shared>>,
    Json(registration): Json<RegisterTracker>,
) -> Response {
    let mut state = shared.lock();
    if let Some(kind) = state.refusal {
        return Problem::new(409, kind.as_str(), "not this one").into_response();
    }
    state.session += 1;
    state.last_number = 0;
    state.inbox = Inbox::default();
    let mut commands = Outbox::default();
    for command in state.commands.pending(usize::MAX) {
        commands.push(command.item.clone());
    }
    state.commands = commands;
    shared.registrations.send(registration).unwrap();
    Json(TrackerRegistered {
        cluster: "cluster-1".parse().unwrap(),
        epoch: Epoch(state.epoch),
        session: state.session,
        heartbeat_interval_ms: u64::try_from(PARKED.as_millis()).unwrap(),
    })
    .into_response()
}

async fn heartbeat(
    State(shared): State<Arc<Shared>>,
    Json(heartbeat): Json<TrackerHeartbeat>,
) -> Response {
    let parked = tokio::time::timeout(PARKED, async {
        loop {
            let news = shared.news.notified();
            tokio::pin!(news);
            news.as_mut().enable();
            if let Some(answer) = answer(&shared, &heartbeat, false) {
                return answer;
            }
            news.await;
        }
    });
    match parked.await {
        Ok(answer) => answer,
        Err(_) => answer(&shared, &heartbeat, true).expect("an answer in any case"),
    }
}

/// The answer, if there is something to say or `now` it must be said; else it is parked.
fn answer(shared: &Shared, heartbeat: &TrackerHeartbeat, now: bool) -> Option<Response> {
    let mut state = shared.lock();
    if (heartbeat.epoch, heartbeat.session) != (Epoch(state.epoch), state.session) {
        let kind = ProblemKind::NotRegistered.as_str();
        return Some(Problem::new(409, kind, "register").into_response());
    }
    let newest = heartbeat.number.0 > state.last_number;
    if newest {
        state.last_number = heartbeat.number.0;
        state.commands.acknowledge(heartbeat.commands_done);
        shared.news.notify_waiters();
    }
    let events = state.inbox.accept(heartbeat.events.clone());
    let learnt = !events.is_empty();
    for event in events {
        // The test may have seen enough.
        let _ = shared.events.send(event);
    }
    let mut map_events = Vec::new();
    for (job, first) in &heartbeat.map_event_cursors {
        let list = state.map_events.get(job).map_or(&[][..], Vec::as_slice);
        let events = list.get(usize::try_from(*first).unwrap()..).unwrap_or_default().to_vec();
        if !events.is_empty() {
            map_events.push(MapEvents { job: *job, first: *first, events });
        }
    }
    let overtaken = heartbeat.number.0 < state.last_number;
    let quiet = state.commands.is_empty() && map_events.is_empty() && !learnt && !overtaken;
    if quiet && !now {
        return None;
    }
    let reply = TrackerHeartbeatReply {
        heartbeat_interval_ms: 0,
        epoch: Epoch(state.epoch),
        events_received: state.inbox.received(),
        commands: state.commands.pending(100).cloned().collect(),
        map_events,
    };
    Some(Json(reply).into_response())
}
