//! The one task that owns the replica core: takes an input at a time, lets the core decide, and carries
//! its effects out (messages to the chunk master, removals). It decides nothing itself, and touches no disk: one that hangs
//! would hold up the others. Uploads and reads talk to it through [`ReplicaLoop`].

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chunkstore_core::replica::{
    Effect, FreezeAnswer, Input, KeptTerm, OpenAnswer, Refusal, ReplicaKey, Replicas, ReplyTo,
    SealAnswer, StopReason,
};
use chunkstore_protocol::{ProblemKind, RegisterServer, ServerHeartbeat};
use clock::Stopwatch;
use ids::{Monotonic, Now};
use net::{CallError, Capability, Keyring, Role};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::{mpsc, oneshot};

use super::data_dir::DataDirError;
use super::removal::{self, Doomed};
use super::{Server, assembly, copy, logs, metrics, scrub};

/// Inputs that may wait for the core.
const QUEUE: usize = 1024;
/// Replicas of each failed disk that are reported as lost at once. Keeps the loop free.
const LOST_PER_STEP: usize = 2000;
/// How long a token of this server counts; each message gets a new one.
const TOKEN_LIFE: Duration = Duration::from_hours(1);

/// The daemon is stopping: nobody answers any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the chunkserver is stopping: try another server")]
pub(super) struct Stopped;

/// Why the loop ended by itself.
#[derive(Debug, thiserror::Error)]
pub(super) enum LoopError {
    /// The core says so.
    #[error(transparent)]
    Stop(#[from] StopReason),
    /// The cluster's id, or the master's term, can't be kept.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
}

#[derive(Debug)]
enum Message {
    Open {
        replica: ReplicaKey,
        is_copy: bool,
        answer: oneshot::Sender<OpenAnswer>,
    },
    OpenLog {
        replica: ReplicaKey,
        answer: oneshot::Sender<OpenAnswer>,
    },
    Freeze {
        replica: ReplicaKey,
        answer: oneshot::Sender<FreezeAnswer>,
    },
    Seal {
        replica: ReplicaKey,
        length: u64,
        answer: oneshot::Sender<SealAnswer>,
    },
    Input(Input),
    /// The master refused the message in flight, in these words.
    Refused(Refusal, String),
    /// What keeping the cluster's id came to.
    ClusterKept(Result<(), DataDirError>),
    /// What keeping the chunk master's term came to.
    TermKept(Result<KeptTerm, DataDirError>),
}

/// The way to the core, for uploads and reads.
#[derive(Clone, Debug)]
pub(super) struct ReplicaLoop {
    messages: mpsc::Sender<Message>,
}

impl ReplicaLoop {
    /// The handle, and what [`run`] reads from.
    pub(super) fn new() -> (Self, Inbox) {
        let (messages, inbox) = mpsc::channel(QUEUE);
        (Self { messages }, Inbox(inbox))
    }

    /// May this replica be written?
    pub(super) async fn open(
        &self,
        replica: ReplicaKey,
        is_copy: bool,
    ) -> Result<OpenAnswer, Stopped> {
        let (answer, answered) = oneshot::channel();
        self.send(Message::Open { replica, is_copy, answer }).await?;
        answered.await.map_err(|_| Stopped)
    }

    /// May this replica of a log be made?
    pub(super) async fn open_log(&self, replica: ReplicaKey) -> Result<OpenAnswer, Stopped> {
        let (answer, answered) = oneshot::channel();
        self.send(Message::OpenLog { replica, answer }).await?;
        answered.await.map_err(|_| Stopped)
    }

    /// What is there of this replica? Nothing is added to it from the answer on.
    pub(super) async fn freeze(&self, replica: ReplicaKey) -> Result<FreezeAnswer, Stopped> {
        let (answer, answered) = oneshot::channel();
        self.send(Message::Freeze { replica, answer }).await?;
        answered.await.map_err(|_| Stopped)
    }

    /// May this replica be sealed at `length`?
    pub(super) async fn seal(
        &self,
        replica: ReplicaKey,
        length: u64,
    ) -> Result<SealAnswer, Stopped> {
        let (answer, answered) = oneshot::channel();
        self.send(Message::Seal { replica, length, answer }).await?;
        answered.await.map_err(|_| Stopped)
    }

    /// Something happened to a replica.
    pub(super) async fn tell(&self, input: Input) -> Result<(), Stopped> {
        self.send(Message::Input(input)).await
    }

    async fn send(&self, message: Message) -> Result<(), Stopped> {
        self.messages.send(message).await.map_err(|_| Stopped)
    }
}

/// The loop's end of [`ReplicaLoop`].
#[derive(Debug)]
pub(super) struct Inbox(mpsc::Receiver<Message>);

/// What the loop needs to carry effects out.
#[derive(Debug)]
pub(super) struct Shell {
    pub(super) server: Arc<Server>,
    pub(super) keyring: Keyring,
    pub(super) master: String,
    pub(super) health: daemon::Health,
    pub(super) reached: daemon::Reached,
}

/// Runs until the core or the disk says stop; dropped at shutdown.
pub(super) async fn run(mut core: Replicas, mut inbox: Inbox, shell: Shell) -> LoopError {
    let mut waiting = Waiting::default();
    let mut link = LinkLog::default();
    loop {
        let message = next_message(&mut inbox, core.poll_timeout()).await;
        let now = clock::now();
        let effects = match message {
            Some(Message::Open { replica, is_copy, answer }) => {
                let to = waiting.next();
                waiting.open.insert(to, answer);
                core.handle(now, Input::OpenRequested { to, replica, is_copy })
            }
            Some(Message::OpenLog { replica, answer }) => {
                let to = waiting.next();
                waiting.open.insert(to, answer);
                core.handle(now, Input::LogRequested { to, replica })
            }
            Some(Message::Freeze { replica, answer }) => {
                let to = waiting.next();
                waiting.freeze.retain(|_, asker| !asker.is_closed());
                waiting.freeze.insert(to, answer);
                core.handle(now, Input::FreezeRequested { to, replica })
            }
            Some(Message::Seal { replica, length, answer }) => {
                let to = waiting.next();
                waiting.seal.insert(to, answer);
                core.handle(now, Input::SealRequested { to, replica, length })
            }
            Some(Message::Input(input)) => {
                link.observe(&shell, &input);
                let mut effects = Vec::new();
                if matches!(input, Input::Registered(_)) {
                    let broken = shell.server.disks.broken();
                    effects.extend(core.handle(now, Input::BrokenKept(broken)));
                }
                effects.extend(core.handle(now, input));
                effects
            }
            Some(Message::Refused(refusal, words)) => {
                link.observe_refusal(&shell, refusal, &words);
                core.handle(now, Input::MasterRefused(refusal))
            }
            Some(Message::ClusterKept(Ok(()))) => core.handle(now, Input::ClusterKept),
            Some(Message::TermKept(Ok(term))) => core.handle(now, Input::TermKept(term)),
            Some(Message::ClusterKept(Err(error)) | Message::TermKept(Err(error))) => {
                return error.into();
            }
            None => {
                let mut effects = shell.look_at_disks(&mut core, now);
                effects.extend(core.handle_timeout(now));
                effects
            }
        };
        if let Some(reason) = shell.carry_out(effects, &mut waiting) {
            return reason.into();
        }
    }
}

/// `None` when the core's time-out is due.
async fn next_message(inbox: &mut Inbox, due: Option<Monotonic>) -> Option<Message> {
    let Some(due) = due else {
        // The shell holds a sender, so that the channel never closes.
        return inbox.0.recv().await;
    };
    let pause = due.since(clock::monotonic());
    if pause.is_zero() {
        return None;
    }
    tokio::time::timeout(pause, inbox.0.recv()).await.ok().flatten()
}

/// Who waits for the core's answers.
#[derive(Debug, Default)]
struct Waiting {
    last: u64,
    open: BTreeMap<ReplyTo, oneshot::Sender<OpenAnswer>>,
    /// An answer to these may take as long as an upload's end; who has gone is forgotten.
    freeze: BTreeMap<ReplyTo, oneshot::Sender<FreezeAnswer>>,
    seal: BTreeMap<ReplyTo, oneshot::Sender<SealAnswer>>,
}

impl Waiting {
    fn next(&mut self) -> ReplyTo {
        self.last += 1;
        ReplyTo(self.last)
    }
}

impl Shell {
    /// Tells the core what the disks were like a moment ago, and what was lost with those that failed.
    fn look_at_disks(&self, core: &mut Replicas, now: Now) -> Vec<Effect> {
        let (space, disks) = self.server.disks.measured();
        metrics::observe_state(&core.summary(), space);
        metrics::observe_disks(&disks);
        let lost = self.server.disks.take_lost(LOST_PER_STEP).into_iter();
        let lost = lost.map(|replica| Input::Lost { replica });
        let seen = [Input::SpaceMeasured(space), Input::DisksMeasured(disks)];
        seen.into_iter().chain(lost).flat_map(|input| core.handle(now, input)).collect()
    }

    fn carry_out(&self, effects: Vec<Effect>, waiting: &mut Waiting) -> Option<StopReason> {
        let mut doomed = Vec::new();
        for effect in effects {
            match effect {
                Effect::Reply { to, answer } => {
                    if let Some(asker) = waiting.open.remove(&to) {
                        self.answer(asker, answer);
                    }
                }
                // Who has gone wants no answer.
                Effect::ReplyFrozen { to, answer } => {
                    let _ = waiting.freeze.remove(&to).map(|asker| asker.send(answer));
                }
                Effect::ReplySeal { to, answer } => {
                    let _ = waiting.seal.remove(&to).map(|asker| asker.send(answer));
                }
                Effect::EndUpload { replica } => {
                    self.server.unfinished.end_upload(replica);
                    logs::freeze(&self.server, replica);
                }
                Effect::Verify { command, replica } => {
                    let reading = scrub::carry_out(Arc::clone(&self.server), command, replica);
                    self.server.behind.spawn(reading);
                }
                Effect::EndLog { command, replica, servers, sealed } => {
                    let server = Arc::clone(&self.server);
                    tokio::spawn(async move {
                        logs::end(&server, replica, servers, sealed).await;
                        // A loop that is gone needs no answer.
                        let _ = server.replicas.tell(Input::LogEndTried { command }).await;
                    });
                }
                Effect::Register(request) => self.register(*request),
                Effect::Heartbeat(request) => self.heartbeat(*request),
                Effect::KeepCluster(cluster) => {
                    let server = Arc::clone(&self.server);
                    tokio::spawn(async move {
                        let kept = Message::ClusterKept(server.disks.keep_cluster(&cluster).await);
                        // A loop that is gone needs no answer.
                        let _ = server.replicas.send(kept).await;
                    });
                }
                Effect::KeepTerm(term) => {
                    let server = Arc::clone(&self.server);
                    tokio::spawn(async move {
                        let kept = server.disks.keep_term(term).await.map(|()| term);
                        // A loop that is gone needs no answer.
                        let _ = server.replicas.send(Message::TermKept(kept)).await;
                    });
                }
                Effect::Delete { command, replica, orphan } => {
                    doomed.push(Doomed { command, replica, orphan });
                }
                Effect::Copy { command, replica, to, purpose } => {
                    let (server, keyring) = (Arc::clone(&self.server), self.keyring.clone());
                    let copying = copy::carry_out(server, keyring, command, replica, (to, purpose));
                    self.server.behind.spawn(copying);
                }
                Effect::Assemble { command, replica, sealed, from } => {
                    let (server, keyring) = (Arc::clone(&self.server), self.keyring.clone());
                    let what = assembly::Wanted { replica, sealed, from };
                    self.server.behind.spawn(assembly::carry_out(server, keyring, command, what));
                }
                Effect::Stop(reason) => return Some(reason),
            }
        }
        removal::begin(&self.server, doomed);
        None
    }

    fn answer(&self, asker: oneshot::Sender<OpenAnswer>, answer: OpenAnswer) {
        let begins = answer == OpenAnswer::Write;
        if asker.send(answer).is_err() && begins {
            tracing::debug!("an upload was given up before it began");
        }
    }

    fn register(&self, request: RegisterServer) {
        self.ask_master("/v1/servers/register", request, Input::Registered);
    }

    fn heartbeat(&self, request: ServerHeartbeat) {
        self.ask_master("/v1/servers/heartbeat", request, Input::HeartbeatReplied);
    }

    fn ask_master<Q, A>(
        &self,
        route: &'static str,
        request: Q,
        input: impl FnOnce(A) -> Input + Send + 'static,
    ) where
        Q: Serialize + Send + Sync + 'static,
        A: DeserializeOwned + Send,
    {
        let client = self.server.client.with_token(self.token());
        let (master, to_loop) = (self.master.clone(), self.server.replicas.clone());
        tokio::spawn(async move {
            let message = match client.post::<Q, A>(&master, route, &request).await {
                Ok(answer) => Message::Input(input(answer)),
                Err(error) => {
                    tracing::debug!(%error, route, "the chunk master");
                    match refusal(&error) {
                        Some(refusal) => Message::Refused(refusal, error.to_string()),
                        None => Message::Input(Input::MasterSilent),
                    }
                }
            };
            // A loop that is gone needs no answer.
            let _ = to_loop.send(message).await;
        });
    }

    fn token(&self) -> String {
        self.keyring.mint(&Capability::unlimited(
            self.server.host.as_str(),
            Role::Server,
            clock::wall() + TOKEN_LIFE,
        ))
    }
}

fn refusal(error: &CallError) -> Option<Refusal> {
    Some(match ProblemKind::of(error.problem_kind()?) {
        Some(ProblemKind::NotRegistered) => Refusal::NotRegistered,
        Some(ProblemKind::WrongCluster) => Refusal::WrongCluster,
        Some(ProblemKind::WrongProtocol) => Refusal::WrongProtocol,
        Some(ProblemKind::HostNameTaken) => Refusal::HostNameTaken,
        _ => Refusal::Other,
    })
}

/// Says aloud when the link to the master changes, once each time; that the master refuses this server, again and again.
#[derive(Debug, Default)]
struct LinkLog {
    trouble: bool,
    refused: Option<Refused>,
}

/// When it was said last that the master refuses this server, and how long that is not said again.
#[derive(Clone, Copy, Debug)]
struct Refused {
    said: Stopwatch,
    pause: Duration,
}

/// At first; it doubles.
const SAID_AGAIN_AFTER: Duration = Duration::from_secs(10);
const SAID_AGAIN_AFTER_MAX: Duration = Duration::from_mins(10);

impl LinkLog {
    fn observe(&mut self, shell: &Shell, input: &Input) {
        let master = &shell.master;
        match input {
            Input::Registered(registered) => {
                tracing::info!(%master, epoch = registered.epoch.0, cluster = %registered.cluster,
                    "registered with the chunk master");
                metrics::observe_registration();
                (self.trouble, self.refused) = (false, None);
                shell.health.ready();
                shell.reached.has_registered();
            }
            Input::HeartbeatReplied(_) if self.trouble => {
                tracing::info!(%master, "the chunk master answers again");
                self.trouble = false;
            }
            Input::MasterSilent if !self.trouble => {
                tracing::warn!(%master, "the chunk master does not answer: trying until it does");
                self.trouble = true;
            }
            _ => {}
        }
    }

    fn observe_refusal(&mut self, shell: &Shell, refusal: Refusal, words: &str) {
        if refusal == Refusal::NotRegistered {
            return shell.health.not_ready("registering with the chunk master");
        }
        let pause = match self.refused {
            Some(Refused { said, pause }) if said.elapsed() < pause => return,
            Some(Refused { pause, .. }) => (pause * 2).min(SAID_AGAIN_AFTER_MAX),
            None => SAID_AGAIN_AFTER,
        };
        let master = &shell.master;
        tracing::warn!(%master, "the chunk master refuses this server: {words}");
        self.refused = Some(Refused { said: Stopwatch::start(), pause });
    }
}
