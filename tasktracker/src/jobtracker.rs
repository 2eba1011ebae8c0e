//! The calls to the JobTracker: each ends in one input for the core. When they are made and repeated is
//! decided there.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use daemon::{FolderError, Health, Reached};
use ids::{ClusterId, HostName};
use mapreduce_protocol::{
    ProblemKind, RegisterTracker, TrackerHeartbeat, TrackerHeartbeatReply, TrackerRegistered,
};
use net::reqwest::Method;
use net::{CallError, Capability, Client, Keyring, Problem, Role};
use tasktracker_core::{Input, SessionId};

use crate::folder::DataFolder;

/// How long a request's capability counts; hosts' clocks differ.
const TOKEN_LIFE: Duration = Duration::from_hours(24);

/// Why this TaskTracker can't belong to the JobTracker's cluster. Trying again is of no use.
#[derive(Debug, thiserror::Error)]
pub enum RefusedError {
    /// The JobTracker said no for good.
    #[error("the JobTracker at {address} refuses this tasktracker: {problem}")]
    Problem {
        /// `host:port`.
        address: String,
        /// What it said.
        problem: Problem,
    },
    /// The data folder belongs to another cluster.
    #[error(
        "the data folder, or a local one, belongs to the cluster {ours}, the JobTracker at {address} to {theirs}: name another JobTracker, or give this tasktracker empty folders"
    )]
    OtherCluster {
        /// `host:port`.
        address: String,
        /// In the identity file.
        ours: ClusterId,
        /// What the JobTracker said.
        theirs: ClusterId,
    },
    /// The identity can't be kept.
    #[error(transparent)]
    Folder(#[from] FolderError),
}

/// The JobTracker as seen from here.
#[derive(Debug)]
pub(crate) struct JobTracker {
    client: Client,
    address: String,
    keyring: Keyring,
    host: HostName,
    folder: Arc<DataFolder>,
    health: Health,
    reached: Reached,
    /// Time for the answer to a small request.
    request_timeout: Duration,
    /// How long a heartbeat may stay parked, milliseconds.
    parked_ms: AtomicU64,
    /// Whether the last call failed: only the first failure is worth a warning.
    away: AtomicBool,
}

impl JobTracker {
    pub(crate) fn new(
        settings: net::ClientSettings,
        address: String,
        keyring: Keyring,
        host: HostName,
        folder: Arc<DataFolder>,
        (health, reached): (Health, Reached),
    ) -> Self {
        Self {
            request_timeout: settings.request_timeout,
            client: Client::new(settings),
            address,
            keyring,
            host,
            folder,
            health,
            reached,
            parked_ms: AtomicU64::new(0),
            away: AtomicBool::new(false),
        }
    }

    /// Registers; a first registration is kept in the data folder before the core hears of it.
    ///
    /// # Errors
    /// When it can never succeed.
    pub(crate) async fn register(&self, request: &RegisterTracker) -> Result<Input, RefusedError> {
        let answer: Result<TrackerRegistered, _> =
            self.client().post(&self.address, "/v1/trackers/register", request).await;
        let registered = match answer {
            Ok(registered) => registered,
            Err(error) => return self.on_register_error(error),
        };
        self.join(&registered.cluster)?;
        self.parked_ms.store(registered.heartbeat_interval_ms, Ordering::Relaxed);
        self.away.store(false, Ordering::Relaxed);
        self.health.ready();
        self.reached.has_registered();
        tracing::info!(epoch = %registered.epoch, session = registered.session, "registered");
        Ok(Input::Registered(registered))
    }

    fn on_register_error(&self, error: CallError) -> Result<Input, RefusedError> {
        let kind = error.problem_kind().and_then(ProblemKind::of);
        let for_good = matches!(kind, Some(ProblemKind::WrongCluster | ProblemKind::WrongProtocol));
        match error {
            CallError::Problem { address, problem } if for_good => {
                Err(RefusedError::Problem { address, problem })
            }
            error => {
                self.on_away(&error);
                Ok(Input::RegistrationFailed)
            }
        }
    }

    fn join(&self, theirs: &ClusterId) -> Result<(), RefusedError> {
        match self.folder.other_cluster(theirs) {
            None => Ok(self.folder.join(theirs)?),
            Some(ours) => {
                let (address, theirs) = (self.address.clone(), theirs.clone());
                Err(RefusedError::OtherCluster { address, ours, theirs })
            }
        }
    }

    pub(crate) async fn heartbeat(&self, heartbeat: &TrackerHeartbeat) -> Input {
        let (session, number) = (SessionId::of(heartbeat), heartbeat.number.0);
        let parked = Duration::from_millis(self.parked_ms.load(Ordering::Relaxed));
        let client = self.client();
        let request = client
            .request(Method::POST, &self.address, "/v1/trackers/heartbeat")
            .json(heartbeat)
            .timeout(parked.saturating_add(self.request_timeout));
        match client.exchange::<TrackerHeartbeatReply>(&self.address, request).await {
            Ok(reply) => {
                if reply.heartbeat_interval_ms > 0 {
                    self.parked_ms.store(reply.heartbeat_interval_ms, Ordering::Relaxed);
                }
                if self.away.swap(false, Ordering::Relaxed) {
                    self.health.ready();
                }
                Input::HeartbeatReply { session, number, reply }
            }
            Err(error)
                if error.problem_kind().and_then(ProblemKind::of)
                    == Some(ProblemKind::NotRegistered) =>
            {
                Input::NotRegistered { session }
            }
            Err(error) => {
                self.on_away(&error);
                Input::HeartbeatFailed { session, number }
            }
        }
    }

    fn on_away(&self, error: &CallError) {
        if !self.away.swap(true, Ordering::Relaxed) {
            tracing::warn!(%error, "the JobTracker can't be reached or says no; running attempts go on");
            self.health.not_ready(format!("the JobTracker at {}: {error}", self.address));
        }
    }

    fn client(&self) -> Client {
        self.client.with_token(self.keyring.mint(&Capability::unlimited(
            self.host.as_str(),
            Role::Tracker,
            clock::wall() + TOKEN_LIFE,
        )))
    }
}
