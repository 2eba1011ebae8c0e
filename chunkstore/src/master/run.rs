//! Connects the chunk master's parts: journal, core, loop, HTTP; and shuts them down in reverse.

use std::io;
use std::path::PathBuf;

use chunkstore_core::master::{Input, Master, Start};
use daemon::{Health, Metrics, Reach, Shutdown};
use event_loop::{RecoverError, Recovered, Unsettled, recover_async};
use net::Guard;

use super::event_loop::{AskError, start};
use super::http::{Leases, ServerState, Shared, router};
use super::metrics::METRICS;
use super::{MasterFold, MasterSettings};

/// Why the chunk master can't serve, or ended badly.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Its journal can't be read.
    #[error(transparent)]
    Recover(#[from] RecoverError),
    /// Its journal was created but holds no cluster.
    #[error(
        "the journal in {} holds no cluster: for a new one, start once with --init; if there was one, mount its disk or \
         bring its journal back: with --init its files would be nobody's",
        data_dir.display()
    )]
    NotInitialised {
        /// The journal's folder.
        data_dir: PathBuf,
    },
    /// Its listener can't be used.
    #[error("the chunk master can't serve on its listener: {0}")]
    Listen(#[from] io::Error),
    /// The loop ended before the master served.
    #[error("the chunk master stopped before it served; see the log")]
    Stopped,
    /// It was stopped, but its journal's disk did not cooperate.
    #[error("the chunk master was stopped, but {0}")]
    Unsettled(#[from] Unsettled),
}

/// Runs the chunk master until `shutdown`. It begins to serve once its new term is on disk.
///
/// # Errors
/// When it can't start: no journal, an unreadable one, or an unusable listener; or when it was
/// stopped while its journal's disk hung or was full.
pub async fn run(
    settings: MasterSettings,
    listener: impl Into<net::Listener>,
    shutdown: Shutdown,
) -> Result<(), RunError> {
    let metrics = Metrics::install(METRICS);
    let recovered = recover_async::<MasterFold>(settings.folders(), settings.journal());
    let recovered = tokio::select! {
        recovered = recovered => recovered?,
        // Nobody was told anything yet.
        () = shutdown.wait() => return Ok(()),
    };
    let Recovered { durable, log } = recovered;
    let master = Master::recover(settings.core, durable.0);
    let master =
        master.map_err(|_| RunError::NotInitialised { data_dir: settings.data_dir.clone() })?;
    let cluster = master.cluster().clone();
    let health = Health::default();
    let beginning = Start {
        term_id: net::random_u64().max(1),
        accept_old_journal: settings.accept_old_journal,
        last_record: log.last_record(),
    };
    let event_loop = settings.event_loop();
    let (core, running) = start((master, beginning), log, event_loop, health.clone()).await;
    // The first answer comes once the new term is on disk.
    tokio::select! {
        answered = core.ask(Input::Summarise) => {
            answered.map_err(|_: AskError| RunError::Stopped)?;
        }
        () = shutdown.wait() => return Ok(running.stop().await?),
    }

    let listener: net::Listener = listener.into();
    let guard = Guard { keyring: settings.keyring.clone(), anonymous: listener.anonymous() };
    let state = ServerState::new(Shared {
        core,
        reach: Reach::new("chunkmaster", settings.client, settings.keyring.clone()),
        keyring: settings.keyring,
        address: settings.address,
        is_tls: listener.is_tls(),
        cluster,
        leases: Leases::default(),
        topology: settings.topology,
        shutdown: shutdown.clone(),
    });
    let router = router(state, guard, health.clone(), metrics);
    health.ready();
    let served = net::serve(listener, router, async move { shutdown.wait().await }).await;
    health.not_ready("shutting down");
    running.stop().await?;
    Ok(served?)
}
