//! Wires the JobTracker: journal, core, loop, HTTP; and shuts it down in reverse order.

use std::fmt::Display;
use std::io;
use std::path::PathBuf;

use daemon::{Health, Metrics, Reach, Shutdown};
use event_loop::{RecoverError, Recovered, Unsettled, recover_async};
use ids::ClusterId;
use jobtracker_core::{Input, JobFilter, Query, Reply};
use mapreduce_protocol::JobId;
use net::{Backoff, Guard};
use tokio::task::JoinHandle;

use crate::event_loop::{AskError, CoreHandle, start};
use crate::events::Events;
use crate::history::{HistoryError, sweep};
use crate::http::{HistoryReads, ServerState, Transfers, router};
use crate::init::ask_cluster;
use crate::metrics::METRICS;
use crate::newest::{Beginning, OlderBy, find_newer};
use crate::store::Store;
use crate::{JobFold, JobtrackerSettings};

/// Why the JobTracker does not serve.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Its journal cannot be read.
    #[error(transparent)]
    Recover(#[from] RecoverError),
    /// Its journal was never initialised.
    #[error(
        "the journal in {} belongs to no cluster: for a new one, start once with --init; if there was one, mount its disk \
         or bring its journal back: with --init its unfinished jobs are lost",
        data_dir.display()
    )]
    NotInitialised {
        /// The journal's folder.
        data_dir: PathBuf,
    },
    /// The chunk master belongs to another cluster.
    #[error(
        "the journal in {} belongs to {ours}, the chunk master at {chunkmaster} to {theirs}: name another chunk master, or another data folder", data_dir.display()
    )]
    OtherCluster {
        /// The journal's folder.
        data_dir: PathBuf,
        /// The cluster in it.
        ours: ClusterId,
        /// `host:port` of the chunk master.
        chunkmaster: String,
        /// Its cluster.
        theirs: ClusterId,
    },
    /// Its journal is older than the cluster.
    #[error(
        "the JobTracker's journal in {} is an older copy: {by}. Bring the newest one back \
         (jobtracker.data_dir, journal_mirror), and start it again; if that is lost for good, move this one away, and \
         start once with --init: jobs that are not over are lost then, their inputs and outputs are not",
        data_dir.display()
    )]
    JournalOutdated {
        /// The journal's folder.
        data_dir: PathBuf,
        /// The evidence.
        by: OlderBy,
    },
    /// Its listener cannot be used.
    #[error("the JobTracker can't serve on its listener: {0}")]
    Listen(#[from] io::Error),
    /// The loop ended before it could serve.
    #[error("the JobTracker stopped before it served; see the log")]
    Stopped,
    /// It was stopped while its journal's disk hung or was full.
    #[error("the JobTracker was stopped, but {0}")]
    Unsettled(#[from] Unsettled),
}

/// Runs the JobTracker until `shutdown`. It serves once its new term is on disk. It is ready for
/// submissions once the chunk master has confirmed that it belongs to the same cluster, and stays
/// so even if that goes away later: TaskTrackers could not report to a JobTracker that is taken out
/// of service.
///
/// # Errors
/// When it cannot start: there is no journal, it cannot be read, or the listener cannot be used;
/// when the chunk master belongs to another cluster; or when it was stopped while its journal's
/// disk hung or was full.
pub async fn run(
    settings: JobtrackerSettings,
    listener: impl Into<net::Listener>,
    shutdown: Shutdown,
) -> Result<(), RunError> {
    let metrics = Metrics::install(METRICS);
    let recovered = tokio::select! {
        recovered = recover_async::<JobFold>(settings.folders(), settings.journal()) => recovered?,
        // No request has been answered yet.
        () = shutdown.wait() => return Ok(()),
    };
    let Recovered { durable, log } = recovered;
    let durable = durable.0;
    let Some(cluster) = durable.cluster().cloned() else {
        return Err(RunError::NotInitialised { data_dir: settings.jobtracker.data_dir.clone() });
    };
    let store = Store::new(&settings);
    let (epoch, next_ordinal) = (durable.epoch().next(), durable.next_ordinal());
    let beginning = Beginning::new(epoch, next_ordinal);
    let core = jobtracker_core::Core::new(settings.core(cluster.clone()), durable);
    let health = Health::default();
    let (split_bytes, log) = (settings.jobtracker.split_bytes.0, (log, settings.event_loop()));
    let (core, running) = start(core, log, health.clone(), store.clone(), split_bytes).await;
    // The first reply is sent when the new term is on disk.
    tokio::select! {
        answered = core.ask(|reply_to| Input::Query { query: Query::Cluster, reply_to }) => {
            answered.map_err(|_: AskError| RunError::Stopped)?;
        }
        () = shutdown.wait() => return Ok(running.stop().await?),
    }

    let listener: net::Listener = listener.into();
    let guard = Guard { keyring: settings.keyring.clone(), anonymous: listener.anonymous() };
    let address = settings.jobtracker.address.clone();
    let topology = settings.topology.clone();
    let state = ServerState {
        core: core.clone(),
        store: store.clone(),
        topology,
        reach: Reach::new("jobtracker", settings.client.clone(), settings.keyring.clone()),
        address,
        is_tls: listener.is_tls(),
        events: Events::new(core.clone(), shutdown.clone()),
        transfers: Transfers::default(),
        history_reads: HistoryReads::default(),
    };
    let router = router(state, guard, health.clone(), metrics);
    let stop = shutdown.clone();
    let limits = net::ConnectionLimits::of_all_hosts();
    let stopped = async move { stop.wait().await };
    let served = net::serve_within(limits, listener, router, stopped);
    let history_keep = settings.jobtracker.history_keep.0;
    let asking = core.clone();
    let swept = sweep::sweep_again_and_again(core, store.clone(), history_keep);
    let sweeping = (!history_keep.is_zero()).then(|| tokio::spawn(swept));
    let compared = compare(&settings, &store, (&cluster, &beginning), &asking, &health);
    let ended = tokio::select! {
        served = served => served.map_err(RunError::from),
        error = compared => Err(error),
    };
    health.not_ready("shutting down");
    sweeping.inspect(JoinHandle::abort);
    match (ended, running.stop().await) {
        (Ok(()), settled) => Ok(settled?),
        (error, Ok(())) => error,
        (error, Err(unsettled)) => {
            tracing::error!("{unsettled}");
            error
        }
    }
}

/// Asks the chunk master which cluster it belongs to, and whether there is a newer journal, for as
/// long as it takes. Returns only if it belongs to another cluster, or there is a newer journal.
async fn compare(
    settings: &JobtrackerSettings,
    store: &Store,
    (ours, beginning): (&ClusterId, &Beginning),
    core: &CoreHandle,
    health: &Health,
) -> RunError {
    let mut backoff = Backoff::default();
    loop {
        match ask_cluster(store).await {
            Ok(theirs) if theirs == *ours => {
                match find_newer(&store.prompt(), beginning, async || newest_job(core).await).await
                {
                    Ok(None) => {
                        health.ready();
                        return std::future::pending().await;
                    }
                    Ok(Some(by)) => {
                        let data_dir = settings.jobtracker.data_dir.clone();
                        return RunError::JournalOutdated { data_dir, by };
                    }
                    Err(error) => wait_for_master(&error, health, &mut backoff).await,
                }
            }
            Ok(theirs) => {
                return RunError::OtherCluster {
                    data_dir: settings.jobtracker.data_dir.clone(),
                    ours: ours.clone(),
                    chunkmaster: settings.chunkmaster.clone(),
                    theirs,
                };
            }
            Err(error) => wait_for_master(&error, health, &mut backoff).await,
        }
    }
}

/// The newest job that this process knows.
async fn newest_job(core: &CoreHandle) -> Result<Option<JobId>, HistoryError> {
    let newest = Query::List { limit: 1, only: JobFilter::default() };
    let list = |reply_to| Input::Query { query: newest, reply_to };
    Ok(match core.ask(list).await? {
        Reply::List(list) => list.jobs.first().map(|job| job.id),
        _ => None,
    })
}

async fn wait_for_master(error: &impl Display, health: &Health, backoff: &mut Backoff) {
    tracing::debug!(%error, "the chunk master does not say whether this is the cluster's newest JobTracker");
    health.not_ready("the chunk master does not answer");
    backoff.pause().await;
}
