//! The one wiring function, in boot order.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use chunkstore_client::stores::Stores;
use chunkstore_client::{ReadSettings, StoreSettings};
use daemon::{Asked, FolderError, Health, Metrics, Owner, Reached, Requests, Shutdown};
use mapreduce_protocol::JobId;
use net::{Client, Guard, Keyring, Role};
use tasktracker_core::{Core, HealthRule, HostLimits, Input, Limits, Settings};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::attempt::Host;
use crate::cgroup::{Cgroups, Controller};
use crate::description::Describer;
use crate::event_loop::{EventLoop, INPUTS_MAX};
use crate::folder::{DataFolder, Failing};
use crate::health::{self, HealthSettings};
use crate::http::{self, Served};
use crate::isolation::{Isolation, Layout};
use crate::jobtracker::{JobTracker, RefusedError};
use crate::logs::Logs;
use crate::meter;
use crate::metrics::{self, METRICS, REQUESTS};
use crate::process::Spawner;
use crate::program_store::StoreOfPrograms;
use crate::programs::Programs;
use crate::settings::TasktrackerSettings;
use crate::shuffle_server::ShuffleServer;
use crate::uids::{Uids, UidsError};

/// Why a TaskTracker can't run (any further).
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Its data folder can't be used.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// A part of the data folder can't be read.
    #[error("the data folder {}: {source}", path.display())]
    Recover {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// No thread for task processes.
    #[error("task processes can't be started: {0}")]
    Spawner(io::Error),
    /// This program's own file can't be found.
    #[error(
        "this program's own file, which runs the tasks of builtin programs, can't be found: {0}"
    )]
    OwnExecutable(io::Error),
    /// Tasks can't run as the users that the configuration names.
    #[error(transparent)]
    Uids(#[from] UidsError),
    /// Tasks are to be isolated, and are not.
    #[error(
        "tasktracker.require_isolation is true, and tasks here can't be kept from the cluster's secret, chunks and \
         journals: {why}"
    )]
    NotIsolated {
        /// What is missing, and what to do.
        why: String,
    },
    /// The JobTracker does not want it.
    #[error(transparent)]
    Refused(#[from] RefusedError),
    /// The HTTP server failed.
    #[error("the HTTP server on {address}: {source}")]
    Http {
        /// `host:port`.
        address: String,
        /// Why.
        source: io::Error,
    },
}

/// Runs a TaskTracker on `listener` until `shutdown`; all its task processes end with it.
///
/// # Errors
/// See [`RunError`].
pub async fn run(
    settings: TasktrackerSettings,
    listener: impl Into<net::Listener>,
    shutdown: Shutdown,
) -> Result<(), RunError> {
    let (metrics, health) = (Metrics::install(METRICS), Health::default());
    let (folder, mut failing) = open_folder(&settings).await?;
    let folder = Arc::new(folder);
    let cgroups = Cgroups::open(&settings.data_dir);
    let uids = uids(&settings, &folder)?;
    let spawner = Spawner::start().map_err(RunError::Spawner)?;
    let (isolation, not_isolated) = isolate(&settings, &folder, &spawner).await?;
    tell_of_cgroups(&cgroups);
    let recover = |source| RunError::Recover { path: settings.data_dir.clone(), source };
    let (held, unreadable) = folder.map_outputs().recover();
    failing.extend(unreadable.into_iter().map(|(disk, error)| (disk, error.to_string())));
    let logs = Logs::open(folder.logs()).map_err(recover)?;
    let keyring = settings.keyring.clone();
    let jobs = logs.purged().collect();
    let core_settings = core_settings(&settings, &folder, &cgroups, (jobs, not_isolated));
    let limits = core_settings.limits;
    let mut core = Core::new(core_settings, held);
    let mut disks = health::Disk::all(&folder, settings.health.timeout);
    let findings = health::look_first(failing, &mut disks).await;
    findings.into_iter().for_each(|finding| core.examine(finding));
    let (inputs, incoming) = mpsc::channel(INPUTS_MAX);
    let reached = Reached::new("tasktracker", settings.host.clone(), settings.address.clone());
    let jobtracker = Arc::new(JobTracker::new(
        settings.client.clone(),
        settings.jobtracker.clone(),
        keyring.clone(),
        settings.host.clone(),
        Arc::clone(&folder),
        (health.clone(), reached.clone()),
    ));
    let shuffle = ShuffleServer::new(
        folder.map_outputs().clone(),
        settings.shuffle_requests_max,
        inputs.clone(),
    );
    let served = Served { shuffle: Arc::new(shuffle), logs: folder.logs() };
    let listener: net::Listener = listener.into();
    let guard = Guard { keyring: keyring.clone(), anonymous: listener.anonymous() };
    let probes = daemon::probe_routes(Client::new(settings.client.clone()));
    let routes = http::routes().merge(probes).merge(reached.routes());
    let routes = routes.merge(daemon::routes(health, metrics));
    let router = routes.into_observed_router(served, guard, Requests::new(REQUESTS).observer());
    let address = settings.address.clone();
    let looks = settings.health.clone();
    let asked = asked(&settings);
    let walls = Walls { cgroups, limits, uids, isolation };
    let folders = Arc::clone(&folder);
    let host = host(settings, folder, keyring, spawner.clone(), walls, inputs.clone())?;
    let host = Arc::new(host);
    let mut looking = look_after(looks, &folders, disks, spawner, &inputs);
    looking.spawn(reached.ask_after_registrations(asked));
    let stop = shutdown.clone();
    let http = tokio::spawn(net::serve(listener, router, async move { stop.wait().await }));
    let ended = EventLoop::new(core, host, jobtracker, logs).run(incoming, &shutdown).await;
    shutdown.trigger();
    let served = http.await.map_err(io::Error::other).and_then(|served| served);
    ended?;
    served.map_err(|source| RunError::Http { address, source })
}

/// Who says whether this TaskTracker is reached.
fn asked(settings: &TasktrackerSettings) -> Asked {
    Asked {
        name: "JobTracker",
        address: settings.jobtracker.clone(),
        path: "/v1/trackers/reach",
        role: Role::Tracker,
        client: Client::new(settings.client.clone()),
        keyring: settings.keyring.clone(),
    }
}

/// Looks at the host for as long as the tasks returned are kept.
fn look_after(
    settings: HealthSettings,
    folder: &Arc<DataFolder>,
    disks: Vec<health::Disk>,
    spawner: Spawner,
    inputs: &mpsc::Sender<Input>,
) -> JoinSet<()> {
    let mut looking = JoinSet::new();
    let interval = settings.interval;
    for disk in disks {
        // Each by itself: one that hangs keeps no other from being looked at.
        looking.spawn(health::watch_disk(interval, disk, Arc::clone(folder), inputs.clone()));
    }
    looking.spawn(health::watch_memory(interval, inputs.clone()));
    let root = folder.root().to_owned();
    looking.spawn(health::watch_command(settings, root, spawner, inputs.clone()));
    looking
}

/// Who attempts run as, and the way to their folders opened to them.
fn uids(
    settings: &TasktrackerSettings,
    folder: &DataFolder,
) -> Result<Option<Arc<Uids>>, RunError> {
    let Some(range) = &settings.task_uids else { return Ok(None) };
    folder.let_others_pass()?;
    let executable = task_executable(settings)?;
    let places: Vec<PathBuf> = folder.attempts().chain([executable]).collect();
    let places: Vec<&Path> = places.iter().map(PathBuf::as_path).collect();
    Ok(Some(Uids::of(range, n_slots(settings), &places)?))
}

/// What tasks are held to.
struct Walls {
    cgroups: Cgroups,
    limits: HostLimits,
    uids: Option<Arc<Uids>>,
    isolation: Isolation,
}

/// Finds out what keeps tasks from what is not theirs here, and says it aloud; and why it does not, if so.
async fn isolate(
    settings: &TasktrackerSettings,
    folder: &DataFolder,
    spawner: &Spawner,
) -> Result<(Isolation, Option<String>), RunError> {
    let disks = folder.disks().map(|(_, root)| root.to_owned()).collect();
    let own = Layout::new(folder.root().to_owned(), disks);
    let need: Vec<PathBuf> = task_executable(settings)
        .into_iter()
        .chain(settings.isolation.iter().map(|isolation| isolation.maker.clone()))
        .collect();
    let isolation = Isolation::open(settings.isolation.as_ref(), spawner, own, &need).await;
    if let Some(uids) = &settings.task_uids {
        tracing::info!("tasks run as uids {} to {}", uids.start(), uids.end());
    }
    match isolation.closes_others() {
        true => tracing::info!("tasks can look into or signal no process but their own"),
        false => tracing::info!(
            "no Landlock of Linux 6.12 or later: tasks can signal other processes of their user"
        ),
    }
    for (place, path) in isolation.shared() {
        tracing::info!(
            "tasks share {} with the host, and with one another, since {} lies there",
            place.display(),
            path.display()
        );
    }
    let why = not_isolated(settings, &isolation);
    metrics::observe_isolation(why.is_none());
    match &why {
        None => tracing::info!("tasks are kept from the cluster's secret, chunks and journals"),
        Some(why) => {
            if settings.isolation.as_ref().is_some_and(|isolation| isolation.required) {
                return Err(RunError::NotIsolated { why: why.clone() });
            }
            tracing::warn!(
                "tasks are trusted with all that this daemon can read, the cluster's secret too: {why}"
            );
        }
    }
    Ok((isolation, why))
}

/// Why tasks can read what is not theirs, if they can. Users of their own suffice.
fn not_isolated(settings: &TasktrackerSettings, isolation: &Isolation) -> Option<String> {
    let uid = rustix::process::geteuid();
    match (isolation.missing(), &settings.task_uids) {
        (_, Some(_)) => None,
        (Some(why), None) => Some(format!(
            "they run as its user, uid {}, and without namespaces ({why}); tasktracker.task_uids names users of \
             their own",
            uid.as_raw()
        )),
        (None, None) if uid.is_root() => Some(
            "they do not see it, but run as root, who can undo that; tasktracker.task_uids names users of their own"
                .to_owned(),
        ),
        (None, None) => None,
    }
}

/// Says aloud what this host does not allow.
fn tell_of_cgroups(cgroups: &Cgroups) {
    let groups = cgroups.described();
    let missing: Vec<_> = Controller::ALL.into_iter().filter(|it| !cgroups.controls(*it)).collect();
    if !groups.is_empty() {
        tracing::info!("tasks run in cgroups below {groups}");
    }
    if !missing.is_empty() {
        tracing::warn!(
            "no cgroups with {missing:?} can be made for tasks: what they use is measured every \
             250 ms, so that they may go beyond their limits for a moment"
        );
    }
}

async fn open_folder(
    settings: &TasktrackerSettings,
) -> Result<(DataFolder, Vec<Failing>), FolderError> {
    let owner = Owner::new("tasktracker", settings.host.clone());
    DataFolder::open(&settings.data_dir, &settings.local_dirs, owner).await
}

fn host_limits(
    settings: &TasktrackerSettings,
    folder: &DataFolder,
    cgroups: &Cgroups,
) -> HostLimits {
    let memory = [meter::memory_of_host(), cgroups.memory_max()];
    let memory_max = memory.into_iter().flatten().min().unwrap_or(u64::MAX);
    let default = Limits {
        memory: settings.task_memory.unwrap_or(memory_max / 2).min(memory_max),
        processes: settings.task_processes,
        disk: settings.task_disk.unwrap_or_else(|| half_of_smallest(folder)),
        open_files: settings.task_open_files,
    };
    HostLimits { default, memory_max }
}

fn n_slots(settings: &TasktrackerSettings) -> u32 {
    let processors = || std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    match settings.slots {
        0 => u32::try_from(processors()).unwrap_or(u32::MAX),
        slots => slots,
    }
}

/// The executable of `howdah task`.
fn task_executable(settings: &TasktrackerSettings) -> Result<PathBuf, RunError> {
    match &settings.task_executable {
        Some(path) => Ok(path.clone()),
        None => std::env::current_exe().map_err(RunError::OwnExecutable),
    }
}

fn half_of_smallest(folder: &DataFolder) -> u64 {
    let half = |(_, root): (_, &Path)| {
        rustix::fs::statvfs(root).map_or(u64::MAX, |disk| disk.f_blocks * disk.f_frsize / 2)
    };
    folder.disks().map(half).min().unwrap_or(u64::MAX)
}

fn core_settings(
    settings: &TasktrackerSettings,
    folder: &DataFolder,
    cgroups: &Cgroups,
    (jobs, not_isolated): (BTreeSet<JobId>, Option<String>),
) -> Settings {
    Settings {
        cluster: folder.cluster(),
        host: settings.host.clone(),
        rack: settings.rack.clone(),
        address: settings.address.clone(),
        incarnation: net::random_u64(),
        slots: n_slots(settings),
        task_timeout: settings.task_timeout,
        cut_off_timeout: settings.cut_off_timeout,
        limits: host_limits(settings, folder, cgroups),
        health: HealthRule {
            disk_free_min: settings.disk_free_min,
            memory_free_min: settings.memory_free_min,
        },
        disks: folder.names_of_disks(),
        jobs,
        not_isolated,
        seed: net::random_u64(),
    }
}

fn host(
    settings: TasktrackerSettings,
    folder: Arc<DataFolder>,
    keyring: Keyring,
    spawner: Spawner,
    walls: Walls,
    inputs: mpsc::Sender<Input>,
) -> Result<Host, RunError> {
    let task_executable = task_executable(&settings)?;
    let whose = format!("the configuration of the TaskTracker on {}", settings.host);
    let describer = Describer {
        host: settings.host.clone(),
        rack: settings.rack.clone(),
        chunkmaster: settings.chunkmaster.clone(),
        keyring,
        stores: Stores::of(whose, settings.stores, settings.retry_for),
        tls: settings.client.tls.clone(),
        settings: settings.task,
    };
    let store = StoreOfPrograms {
        client: net::Client::new(settings.client),
        settings: StoreSettings {
            master: settings.chunkmaster,
            host: Some(settings.host),
            rack: settings.rack,
            retry_for: settings.retry_for,
            reads: ReadSettings::hedged_after(Duration::from_millis(
                describer.settings.hedge_after_ms,
            )),
        },
        describer: describer.clone(),
    };
    let path = folder.programs();
    let programs =
        Programs::open(path.clone(), store).map_err(|source| RunError::Recover { path, source })?;
    Ok(Host {
        folder,
        spawner,
        programs,
        describer,
        task_executable,
        log_bytes_max: settings.log_bytes_max,
        cgroups: walls.cgroups,
        limits: walls.limits,
        uids: walls.uids,
        isolation: walls.isolation,
        inputs,
    })
}
