//! Checks whether a daemon can be reached at the address that it gives. After each registration, a
//! chunkserver or TaskTracker asks its master to contact it at its address, as all others will, and
//! gets the result; the master remembers which daemons it can't reach, for people who look. Neither
//! registrations nor heartbeats wait for this, and nothing is decided by it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::routing::get;
use clock::Stopwatch;
use ids::HostName;
use net::{
    Access, CallError, Capability, Client, ClientSettings, Json, Keyring, Problem, Role, Routes,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, Semaphore};
use tokio::time::{sleep, timeout};

use crate::probe::is_address;

/// The route at which a daemon says who it is.
const PATH: &str = "/v1/reach";
/// The callers of that route.
const CALLERS: Access = Access::Roles(&[Role::Master]);
/// How long the tokens of these calls are valid; hosts' clocks differ.
const TOKEN_LIFE: Duration = Duration::from_hours(1);
/// Time limit for one attempt.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a request waits for its turn.
const TURN: Duration = Duration::from_secs(5);
/// Daemons that a master contacts at the same time.
const AT_ONCE: usize = 64;
/// Failures in a row before they are reported: packets get lost.
const FAILURES: u32 = 3;
/// Time between two attempts, and after a request that got no answer.
const SOON: Duration = Duration::from_secs(2);
/// Time between two attempts once failure is reported, until one succeeds.
const LATER: Duration = Duration::from_secs(30);
/// How long a master remembers a daemon that it did not reach; one that still runs has asked again
/// by then.
const KEPT: Duration = Duration::from_mins(2);

/// What a daemon asks its master: to be knocked at.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
pub struct ReachRequest {
    /// Its host.
    pub host: HostName,
    /// `host:port` where it says to be reached.
    pub address: String,
    /// What it answers there, and nobody else.
    pub id: String,
}

/// What came of it.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ReachReply {
    /// Whether somebody had the time to knock.
    pub knocked: bool,
    /// Why it was not reached, if it was not.
    pub error: Option<String>,
}

/// A daemon's answer at its address.
#[derive(Clone, Debug, Deserialize, Serialize)]
struct Reachable {
    daemon: String,
    host: HostName,
    id: String,
}

/// How to fix that a daemon, a `chunkserver` or `tasktracker`, is not reached at its address.
#[must_use]
pub fn reach_remedy(daemon: &str, host: &HostName, address: &str) -> String {
    let port = address.rsplit_once(':').map_or("", |(_, port)| port);
    format!(
        "correct {daemon}.address of {host} in 'hosts', or let TCP connections to port {port} through (firewalls, routers); \
         `howdah doctor` shows who reaches whom"
    )
}

/// The master's side: contacts daemons, and remembers which it can't reach. Clones share one state.
#[derive(Clone, Debug)]
pub struct Reach(Arc<Knocker>);

#[derive(Debug)]
struct Knocker {
    name: &'static str,
    client: Client,
    keyring: Keyring,
    turns: Semaphore,
    /// Locked only briefly.
    unreached: Mutex<BTreeMap<HostName, Unreached>>,
}

#[derive(Debug)]
struct Unreached {
    address: String,
    /// Number of failures in a row.
    failures: u32,
    error: String,
    seen: Stopwatch,
}

impl Unreached {
    fn is_told(&self) -> bool {
        self.failures >= FAILURES && self.seen.elapsed() < KEPT
    }
}

impl Reach {
    /// For the master `name`.
    #[must_use]
    pub fn new(name: &'static str, client: ClientSettings, keyring: Keyring) -> Self {
        // A kept connection would prove nothing about the way to the address.
        let client = Client::without_kept_connections(client);
        let (turns, unreached) = (Semaphore::new(AT_ONCE), Mutex::default());
        Self(Arc::new(Knocker { name, client, keyring, turns, unreached }))
    }

    /// Contacts the daemon that asks for it.
    ///
    /// # Errors
    /// When the address is malformed.
    pub async fn knock(&self, request: ReachRequest) -> Result<ReachReply, Problem> {
        if !is_address(&request.address) {
            let detail = format!("address: {:?} is not of the form host:port", request.address);
            return Err(Problem::new(400, "invalid-request", detail));
        }
        let Ok(Ok(_turn)) = timeout(TURN, self.0.turns.acquire()).await else {
            return Ok(ReachReply { knocked: false, error: None });
        };
        let error = self.0.ask(&request).await.err();
        self.note(request, error.clone());
        Ok(ReachReply { knocked: true, error })
    }

    /// Why the daemon of a host can't be reached, if that has been so for a while.
    #[must_use]
    pub fn unreached(&self, host: &HostName) -> Option<String> {
        let unreached = self.lock();
        let unreached = unreached.get(host).filter(|it| it.is_told())?;
        Some(format!("at {}: {}", unreached.address, unreached.error))
    }

    /// Number of daemons that can't be reached.
    #[must_use]
    pub fn n_unreached(&self) -> usize {
        self.lock().values().filter(|it| it.is_told()).count()
    }

    fn note(&self, request: ReachRequest, error: Option<String>) {
        let ReachRequest { host, address, .. } = request;
        let mut all = self.lock();
        all.retain(|_, it| it.seen.elapsed() < KEPT);
        let known = all.remove(&host).filter(|it| it.address == address);
        let failures = known.map_or(0, |it| it.failures);
        let Some(error) = error else {
            if failures >= FAILURES {
                tracing::info!(%host, address, "it is reached now");
            }
            return;
        };
        let failures = failures.saturating_add(1);
        if failures == FAILURES {
            tracing::warn!(%host, address, error, "it is not reached at the address that it has registered");
        }
        all.insert(host, Unreached { address, failures, error, seen: Stopwatch::start() });
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<HostName, Unreached>> {
        self.0.unreached.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Knocker {
    async fn ask(&self, request: &ReachRequest) -> Result<(), String> {
        let ReachRequest { host, address, id } = request;
        // The token gives no right except to ask this, whoever answers there.
        let (subject, role, grants) = (self.name.to_owned(), Role::Master, Vec::new());
        let expires = clock::wall() + TOKEN_LIFE;
        let token = self.keyring.mint(&Capability { subject, role, grants, expires });
        let client = self.client.with_token(token);
        match timeout(PATIENCE, client.get::<Reachable>(address, PATH)).await {
            Ok(Ok(it)) if it.host == *host && it.id == *id => Ok(()),
            Ok(Ok(Reachable { daemon, host, .. })) => {
                Err(format!("another daemon answers there: the {daemon} of {host}"))
            }
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err(CallError::TimedOut { address: address.clone() }.to_string()),
        }
    }
}

/// The daemon's side: says at its address who it is, and asks whether it is reached there. Clones
/// share one state.
#[derive(Clone, Debug)]
pub struct Reached {
    daemon: &'static str,
    request: ReachRequest,
    registered: Arc<Notify>,
}

/// The master to ask, and the caller's identity.
#[derive(Debug)]
pub struct Asked {
    /// Its name in logs.
    pub name: &'static str,
    /// `host:port`.
    pub address: String,
    /// The route for a [`ReachRequest`].
    pub path: &'static str,
    /// The caller's role.
    pub role: Role,
    /// Makes the calls.
    pub client: Client,
    /// Signs them.
    pub keyring: Keyring,
}

impl Reached {
    /// For the `chunkserver` or `tasktracker` of a host, which claims to be at `address`.
    #[must_use]
    pub fn new(daemon: &'static str, host: HostName, address: String) -> Self {
        let request = ReachRequest { host, address, id: net::random_hex(16) };
        Self { daemon, request, registered: Arc::default() }
    }

    /// The route at which it says who it is.
    pub fn routes<S: Clone + Send + Sync + 'static>(&self) -> Routes<S> {
        let ReachRequest { host, id, .. } = self.request.clone();
        let said = Reachable { daemon: self.daemon.to_owned(), host, id };
        let say = async move || Json(said.clone());
        Routes::new().route(PATH, CALLERS, get(say))
    }

    /// It has registered: now the master is to contact it.
    pub fn has_registered(&self) {
        self.registered.notify_one();
    }

    /// After each registration, asks until the daemon is reached, and logs if it is not. To be
    /// dropped with the daemon.
    pub async fn ask_after_registrations(self, asked: Asked) {
        loop {
            self.registered.notified().await;
            self.ask_until_reached(&asked).await;
        }
    }

    async fn ask_until_reached(&self, asked: &Asked) {
        let ReachRequest { host, address, .. } = &self.request;
        let mut failures = 0_u32;
        loop {
            match asked.ask(&self.request).await {
                Ok(ReachReply { knocked: true, error: None }) => {
                    if failures >= FAILURES {
                        tracing::info!(
                            address,
                            "the {} reaches this {} now",
                            asked.name,
                            self.daemon
                        );
                    }
                    return;
                }
                Ok(ReachReply { error: Some(error), .. }) => {
                    failures = failures.saturating_add(1);
                    if failures == FAILURES {
                        let remedy = reach_remedy(self.daemon, host, address);
                        tracing::warn!(
                            address,
                            error,
                            "the {} does not reach this {}, as others will not: {remedy}",
                            asked.name,
                            self.daemon
                        );
                    }
                }
                Ok(ReachReply { knocked: false, .. }) => {}
                // If the master was away, the daemon registers with it again anyway.
                Err(error) => {
                    tracing::debug!(%error, "the {} does not say whether it reaches this {}", asked.name, self.daemon);
                    if !error.is_transient() {
                        return;
                    }
                }
            }
            sleep(if failures < FAILURES { SOON } else { LATER }).await;
        }
    }
}

impl Asked {
    async fn ask(&self, request: &ReachRequest) -> Result<ReachReply, CallError> {
        let subject = request.host.as_str();
        let capability = Capability::unlimited(subject, self.role, clock::wall() + TOKEN_LIFE);
        let client = self.client.with_token(self.keyring.mint(&capability));
        client.post(&self.address, self.path, request).await
    }
}

/// Who may ask a daemon who it is; tests compare a table with it.
#[must_use]
pub fn reach_access() -> (&'static str, Access) {
    (PATH, CALLERS)
}

#[cfg(test)]
mod tests {
    use net::{Guard, Secret};

    use super::*;

    fn settings() -> ClientSettings {
        let limit = Duration::from_secs(5);
        ClientSettings {
            connect_timeout: limit,
            request_timeout: limit,
            silence_timeout: limit,
            tls: None,
        }
    }

    fn host(name: &str) -> HostName {
        name.parse().unwrap()
    }

    /// A daemon that listens, and its address.
    fn listening(keyring: &Keyring, name: &str) -> (Reached, String) {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let reached = Reached::new("tasktracker", host(name), address.clone());
        let guard = Guard { keyring: keyring.clone(), anonymous: None };
        let router = reached.routes::<()>().into_router((), guard);
        tokio::spawn(net::serve(listener, router, std::future::pending()));
        (reached, address)
    }

    async fn knock_times(reach: &Reach, request: &ReachRequest, n: u32) -> ReachReply {
        let mut last = ReachReply { knocked: false, error: None };
        for _ in 0..n {
            last = reach.knock(request.clone()).await.unwrap();
        }
        last
    }

    #[tokio::test]
    async fn who_is_reached_is_not_told_and_who_is_not_only_after_several_knocks_until_one_succeeds()
     {
        let keyring = Keyring::new(&Secret::random());
        let reach = Reach::new("jobtracker", settings(), keyring.clone());
        let (reached, address) = listening(&keyring, "host-1");
        let reply = knock_times(&reach, &reached.request, 1).await;
        assert_eq!(reply, ReachReply { knocked: true, error: None });
        assert_eq!((reach.n_unreached(), reach.unreached(&host("host-1"))), (0, None));
        // Nobody listens at its address.
        let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let nobody = ReachRequest {
            address: gone.local_addr().unwrap().to_string(),
            ..reached.request.clone()
        };
        drop(gone);
        let reply = knock_times(&reach, &nobody, FAILURES - 1).await;
        assert!(reply.error.unwrap().contains("no connection"));
        assert_eq!(reach.n_unreached(), 0, "it may be a lost packet");
        knock_times(&reach, &nobody, 1).await;
        assert_eq!(reach.n_unreached(), 1);
        let told = reach.unreached(&host("host-1")).unwrap();
        assert!(told.contains(&nobody.address), "{told}");
        knock_times(&reach, &reached.request, 1).await;
        assert_eq!((reach.n_unreached(), reach.unreached(&host("host-1"))), (0, None), "{address}");
        // Three failures in total, but not in a row.
        for _ in 0..FAILURES {
            knock_times(&reach, &nobody, 1).await;
            knock_times(&reach, &reached.request, 1).await;
        }
        assert_eq!(reach.n_unreached(), 0);
    }

    #[tokio::test]
    async fn another_daemon_at_the_address_is_no_answer_and_a_stranger_learns_nothing() {
        let keyring = Keyring::new(&Secret::random());
        let reach = Reach::new("jobtracker", settings(), keyring.clone());
        let (_other, address) = listening(&keyring, "host-2");
        let mistaken = Reached::new("tasktracker", host("host-1"), address.clone());
        let error = knock_times(&reach, &mistaken.request, 1).await.error.unwrap();
        assert!(error.contains("another daemon") && error.contains("host-2"), "{error}");
        // A previous process at the same address counts as another daemon, too.
        let former = Reached::new("tasktracker", host("host-2"), address.clone());
        assert!(knock_times(&reach, &former.request, 1).await.error.is_some());
        let foreign = Reach::new("jobtracker", settings(), Keyring::new(&Secret::random()));
        assert!(knock_times(&foreign, &mistaken.request, 1).await.error.is_some());
        for wrong in ["host", "a@b:1", "host:1/x", ""] {
            let request = ReachRequest { address: wrong.to_owned(), ..mistaken.request.clone() };
            assert_eq!(reach.knock(request).await.unwrap_err().status, 400, "{wrong}");
        }
    }
}
