//! The one task that owns the core: it brings inputs with the time, and carries out effects. It decides
//! nothing.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use daemon::Shutdown;
use mapreduce_protocol::{AttemptId, Launch, RegisterTracker, TrackerHeartbeat};
use tasktracker_core::{Core, DiskNumber, Effect, Input};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use crate::attempt::{self, Host, Order};
use crate::jobtracker::{JobTracker, RefusedError};
use crate::logs::Logs;
use crate::map_outputs::MapOutputs;
use crate::{metrics, tree};

/// Inputs that wait for the loop at most; attempts and shuffle requests then wait too.
pub(crate) const INPUTS_MAX: usize = 1024;

/// How long the end of all attempts is waited for at a shutdown.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(3);

/// The core and what carries out its effects.
pub(crate) struct EventLoop {
    pub(crate) core: Core,
    pub(crate) host: Arc<Host>,
    pub(crate) jobtracker: Arc<JobTracker>,
    pub(crate) outputs: MapOutputs,
    pub(crate) logs: Logs,
    orders: BTreeMap<AttemptId, mpsc::UnboundedSender<Order>>,
    attempts: JoinSet<()>,
    /// Calls to the JobTracker: at most two heartbeats, or a registration.
    calls: JoinSet<()>,
    refused: Option<oneshot::Receiver<RefusedError>>,
}

impl EventLoop {
    pub(crate) fn new(
        core: Core,
        host: Arc<Host>,
        jobtracker: Arc<JobTracker>,
        logs: Logs,
    ) -> Self {
        Self {
            core,
            outputs: host.folder.map_outputs().clone(),
            host,
            jobtracker,
            logs,
            orders: BTreeMap::new(),
            attempts: JoinSet::new(),
            calls: JoinSet::new(),
            refused: None,
        }
    }

    /// Runs until the shutdown, then ends all attempts.
    ///
    /// # Errors
    /// When the JobTracker refuses this tracker for good.
    pub(crate) async fn run(
        mut self,
        mut inputs: mpsc::Receiver<Input>,
        shutdown: &Shutdown,
    ) -> Result<(), RefusedError> {
        let effects = self.core.handle_timeout(clock::now());
        self.carry_out_all(effects);
        let ended = loop {
            let effects = tokio::select! {
                () = shutdown.wait() => break Ok(()),
                error = refusal(&mut self.refused) => break Err(error),
                input = inputs.recv() => match input {
                    Some(input) => self.handle(input),
                    None => break Ok(()),
                },
                () = deadline(&self.core) => self.core.handle_timeout(clock::now()),
            };
            self.carry_out_all(effects);
            metrics::observe_summary(&self.core.summary());
        };
        drop(inputs);
        self.end_attempts().await;
        ended
    }

    fn handle(&mut self, input: Input) -> Vec<Effect> {
        match &input {
            Input::Ended { attempt, .. } => drop(self.orders.remove(attempt)),
            Input::Examined(finding) => metrics::observe_finding(finding),
            _ => {}
        }
        self.core.handle(clock::now(), input)
    }

    fn carry_out_all(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            self.carry_out(effect);
        }
    }

    fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Spawn(launch, disk) => self.spawn(launch, disk),
            Effect::KillProcess { attempt, reason } => {
                self.order(attempt, Order::Kill { reason });
            }
            Effect::SendMapEvents { attempt, events } => {
                self.order(attempt, Order::MapEvents { events });
            }
            Effect::RemoveMapOutput { attempt } => {
                self.outputs.forget(attempt).into_iter().for_each(remove);
            }
            Effect::LeaveDisk { disk } => self.leave(disk),
            Effect::RemoveJob { job } => {
                self.outputs.forget_job(job).into_iter().for_each(remove);
                self.logs.retire(job).into_iter().for_each(remove);
            }
            Effect::SendHeartbeat(heartbeat) => self.send_heartbeat(heartbeat),
            Effect::Register(registration) => self.register(registration),
        }
    }

    fn spawn(&mut self, launch: Box<Launch>, disk: DiskNumber) {
        while self.attempts.try_join_next().is_some() {}
        let attempt = launch.attempt;
        tracing::info!(%attempt, "starting");
        self.logs.keep(attempt.task.job);
        let (orders, received) = mpsc::unbounded_channel();
        self.orders.insert(attempt, orders);
        self.attempts.spawn(attempt::run(Arc::clone(&self.host), launch, disk, received));
    }

    fn leave(&mut self, disk: DiskNumber) {
        let lost = self.host.folder.leave(disk);
        let disks = self.host.folder.disks().map(|(_, root)| root.to_owned());
        self.host.isolation.work_on(disks.collect());
        tracing::error!(
            disk = disk.0,
            outputs = lost.len(),
            "a local disk is left until the next start"
        );
        for attempt in lost {
            let effects = self.core.handle(clock::now(), Input::MapOutputBroken { attempt });
            self.carry_out_all(effects);
        }
    }

    fn order(&self, attempt: AttemptId, order: Order) {
        if let Some(orders) = self.orders.get(&attempt) {
            // An attempt that does not listen any more has ended, and says so next.
            let _ = orders.send(order);
        }
    }

    fn send_heartbeat(&mut self, heartbeat: Box<TrackerHeartbeat>) {
        while self.calls.try_join_next().is_some() {}
        let (jobtracker, host) = (Arc::clone(&self.jobtracker), Arc::clone(&self.host));
        self.calls.spawn(async move {
            let input = jobtracker.heartbeat(&heartbeat).await;
            // The loop is gone only when the daemon ends.
            let _ = host.inputs.send(input).await;
        });
    }

    fn register(&mut self, registration: Box<RegisterTracker>) {
        let (jobtracker, host) = (Arc::clone(&self.jobtracker), Arc::clone(&self.host));
        let (refuse, refused) = oneshot::channel();
        self.refused = Some(refused);
        self.calls.spawn(async move {
            match jobtracker.register(&registration).await {
                Ok(input) => drop(host.inputs.send(input).await),
                Err(error) => drop(refuse.send(error)),
            }
        });
    }

    async fn end_attempts(mut self) {
        self.calls.shutdown().await;
        // An attempt without orders to come ends its process.
        self.orders.clear();
        let all = async { while self.attempts.join_next().await.is_some() {} };
        if tokio::time::timeout(SHUTDOWN_GRACE, all).await.is_err() {
            tracing::warn!("some attempts have not ended; the next start removes what is left");
        }
    }
}

async fn deadline(core: &Core) {
    match core.poll_timeout() {
        Some(at) => tokio::time::sleep(at.since(clock::now().monotonic)).await,
        None => std::future::pending().await,
    }
}

/// Resolves only when the registration is refused for good.
async fn refusal(refused: &mut Option<oneshot::Receiver<RefusedError>>) -> RefusedError {
    if let Some(receiver) = refused {
        if let Ok(error) = receiver.await {
            return error;
        }
        *refused = None;
    }
    std::future::pending().await
}

fn remove(path: PathBuf) {
    tokio::task::spawn_blocking(move || {
        if let Err(error) = tree::remove(&path) {
            tracing::warn!(path = %path.display(), %error, "can't be removed");
        }
    });
}
