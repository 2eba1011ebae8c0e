//! One attempt from its launch to its end: program, folder, process, channel, log, and what is left of
//! it removed. What its messages mean, and when it is to end, is decided by the core.
//!
//! Whatever asks a disk does so on a thread of its own: one that hangs keeps this attempt waiting, and nobody else.

mod failures;

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use mapreduce_protocol::{
    AttemptId, Blame, CHANNEL_ARGUMENT, Failure, FailureKind, FromTask, Launch, MapEvent, Program,
    TaskKind, ToTask,
};
use tasktracker_core::{DiskNumber, HostLimits, Input};
use tokio::io::AsyncReadExt as _;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf, pipe};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::cgroup::Cgroups;
use crate::channel;
use crate::description::Describer;
use crate::folder::DataFolder;
use crate::health;
use crate::isolation::{Confinement, Isolation};
use crate::logs::{self, LogWriter, Logs, Wanted};
use crate::meter::Meter;
use crate::process::{CHANNEL_FD, Executable, Killer, Process, Spawner};
use crate::program_store::StoreOfPrograms;
use crate::programs::{ProgramInUse, Programs};
use crate::record_note;
use crate::uids::{Uid, Uids};
use crate::vfork::StartError;
use crate::{metrics, tree};
use failures::{Heard, crashed, no_channel, no_folder, not_confined, not_run, not_taken};

/// Bytes of a log's end that a crash is reported with.
const LOG_TAIL_BYTES: u64 = 2048;
/// How long what a process has left in its channel and log is waited for once it and its descendants are
/// gone: more only comes from what could not be ended.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(1);

/// Tries to run an executable that the system calls busy: a child that is just being started holds a
/// copy of the descriptor that it was written through.
const BUSY_TRIES: u32 = 50;
const BUSY_PAUSE: Duration = Duration::from_millis(10);

/// What a map leaves in its folder.
const MAP_OUTPUT: &str = "output.map";

const MEASURE_INTERVAL: Duration = Duration::from_millis(250);
const MEASURE_INTERVAL_MAX: Duration = Duration::from_secs(2);

const LOG_READ_BYTES: usize = 16 << 10;

/// How long a disk may take to tell what a failure is reported with.
const DISK_PATIENCE: Duration = Duration::from_secs(5);

/// How long the removal of an attempt's folder is waited for; it goes on.
const REMOVAL_PATIENCE: Duration = Duration::from_secs(60);

/// What attempts need of this host.
#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) folder: Arc<DataFolder>,
    pub(crate) spawner: Spawner,
    pub(crate) programs: Programs<StoreOfPrograms>,
    pub(crate) describer: Describer,
    /// The executable of `howdah task`.
    pub(crate) task_executable: PathBuf,
    pub(crate) log_bytes_max: u64,
    pub(crate) cgroups: Cgroups,
    pub(crate) limits: HostLimits,
    /// Who attempts run as; as this process if absent.
    pub(crate) uids: Option<Arc<Uids>>,
    pub(crate) isolation: Isolation,
    pub(crate) inputs: mpsc::Sender<Input>,
}

/// What an attempt is told from outside. At most one kill, and no more map events than its job has.
#[derive(Debug)]
pub(crate) enum Order {
    Kill { reason: String },
    MapEvents { events: Vec<MapEvent> },
}

/// A running process and what goes with it.
struct Running {
    process: Process,
    log: LogWriter,
    description: ToTask,
    /// Keeps the files of its program.
    _files: Vec<ProgramInUse>,
    place: Place,
}

/// Where an attempt works, and as who: others have another user, and another namespace, as long as this lives.
struct Place {
    disk: DiskNumber,
    folder: PathBuf,
    uid: Option<Uid>,
    confinement: Arc<Confinement>,
}

/// Runs an attempt to its end, which the core is told last.
pub(crate) async fn run(
    host: Arc<Host>,
    launch: Box<Launch>,
    disk: DiskNumber,
    mut orders: mpsc::UnboundedReceiver<Order>,
) {
    let launch = Arc::new(*launch);
    let attempt = launch.attempt;
    let started = tokio::select! {
        started = start(&host, &launch, disk) => started,
        reason = killed(&mut orders) => Err(Failure { kind: FailureKind::Killed, message: reason }),
    };
    let ended = match started {
        Ok(running) => follow(&host, &launch, running, orders).await,
        Err(otherwise) => End { otherwise, has_succeeded: false },
    };
    let folder = host.folder.attempt(attempt, disk);
    if !ended.has_succeeded {
        look_into(&host, &launch, disk, &folder).await;
    }
    if !host.folder.is_left(disk) {
        remove(attempt, folder).await;
    }
    host.tell(Input::Ended { attempt, otherwise: ended.otherwise }).await;
}

/// Tells what may have to do with its failure: the record that it was at, and how its disk is.
async fn look_into(host: &Host, launch: &Arc<Launch>, disk: DiskNumber, folder: &Path) {
    let (of, within) = (Arc::clone(launch), folder.to_owned());
    let record = from_disk(DISK_PATIENCE, move || record_note::read(&of, &within)).await;
    if let Some(record) = record.flatten() {
        host.tell(Input::WasAt { attempt: launch.attempt, record }).await;
    }
    if !host.folder.is_left(disk) {
        let attempts = folder.parent().unwrap_or(folder).to_owned();
        if let Some(finding) = health::blame(attempts, disk).await {
            host.tell(Input::Examined(finding)).await;
        }
    }
}

async fn remove(attempt: AttemptId, folder: PathBuf) {
    let path = folder.clone();
    match from_disk(REMOVAL_PATIENCE, move || tree::remove(&folder)).await {
        Some(Ok(())) => {}
        Some(Err(error)) => {
            tracing::warn!(%attempt, path = %path.display(), %error, "an attempt's folder can't be removed");
        }
        None => {
            tracing::warn!(%attempt, path = %path.display(), "an attempt's folder is still being removed");
        }
    }
}

/// Asks a disk for something, for so long; nothing if it does not answer.
async fn from_disk<T: Send + 'static>(
    patience: Duration,
    ask: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    let asked = tokio::task::spawn_blocking(ask);
    tokio::time::timeout(patience, asked).await.ok()?.ok()
}

impl Host {
    async fn tell(&self, input: Input) {
        // The loop is gone only when the daemon ends.
        let _ = self.inputs.send(input).await;
    }
}

async fn killed(orders: &mut mpsc::UnboundedReceiver<Order>) -> String {
    loop {
        match orders.recv().await {
            Some(Order::Kill { reason }) => return reason,
            Some(Order::MapEvents { .. }) => {}
            None => return "the tasktracker stops".to_owned(),
        }
    }
}

async fn start(host: &Host, launch: &Launch, disk: DiskNumber) -> Result<Running, Failure> {
    let (path, arguments, executable) = executable(host, launch).await?;
    let mut files = Vec::new();
    for file in launch.job.program.shipped() {
        files.push(acquire(host, &file.path, file.sha256.as_deref()).await?);
    }
    let folder = host.folder.attempt(launch.attempt, disk);
    let uid = match &host.uids {
        Some(uids) => Some(uids.acquire().await),
        None => None,
    };
    let confinement = host.isolation.confine().await.map_err(|error| not_confined(&error))?;
    let place = Place { disk, folder: folder.clone(), uid, confinement };
    let log = prepare_folder(host, launch, &place).await;
    let log = log.map_err(|error| no_folder(&folder, &error))?;
    let map_output = folder.join(MAP_OUTPUT);
    let mut description = host.describer.describe(launch, &folder, &map_output, clock::wall());
    description.files = files.iter().map(|file| file.path.display().to_string()).collect();
    files.extend(executable);
    let description = ToTask::Describe(Box::new(description));
    let watch = clock::Stopwatch::start();
    let process = spawn(host, launch, &path, &arguments, &place).await;
    let process = process.map_err(|error| not_run(&path, &error))?;
    metrics::observe_spawn(watch.elapsed());
    Ok(Running { process, log, description, _files: files, place })
}

/// What to execute, with which arguments, and what keeps it here.
async fn executable(
    host: &Host,
    launch: &Launch,
) -> Result<(PathBuf, Vec<String>, Option<ProgramInUse>), Failure> {
    let channel = format!("{CHANNEL_ARGUMENT}{CHANNEL_FD}");
    match &launch.job.program {
        Program::Builtin(_) | Program::Streaming(_) => {
            Ok((host.task_executable.clone(), vec!["task".to_owned(), channel], None))
        }
        Program::Native(native) => {
            let program = acquire(host, &native.executable, native.sha256.as_deref()).await?;
            let arguments = std::iter::once(channel).chain(native.args.iter().cloned()).collect();
            Ok((program.path.clone(), arguments, Some(program)))
        }
    }
}

async fn acquire(host: &Host, path: &str, sha256: Option<&str>) -> Result<ProgramInUse, Failure> {
    host.programs.acquire(path, sha256).await.map_err(|error| error.failure())
}

/// Makes the folder, a place for what a map leaves, and the log. A disk that hangs is waited for until somebody has
/// the attempt killed.
async fn prepare_folder(host: &Host, launch: &Launch, place: &Place) -> io::Result<LogWriter> {
    let (all, path, disk) = (Arc::clone(&host.folder), place.folder.clone(), place.disk);
    let (attempt, log_bytes_max) = (launch.attempt, host.log_bytes_max);
    let uid = place.uid.as_ref().map(|uid| uid.number);
    let (leaves_output, confinement) = (leaves_map_output(launch), Arc::clone(&place.confinement));
    let made = tokio::task::spawn_blocking(move || {
        DirBuilder::new().mode(0o700).create(&path)?;
        if uid.is_some() {
            std::os::unix::fs::chown(&path, uid, uid)?;
        }
        confinement.furnish(&path, uid)?;
        if leaves_output {
            all.map_outputs().make_folder(attempt.task.job, disk)?;
        }
        LogWriter::create(Logs::path(&all.logs(), attempt), log_bytes_max)
    });
    made.await.map_err(io::Error::other)?
}

fn leaves_map_output(launch: &Launch) -> bool {
    launch.attempt.task.kind == TaskKind::Map && launch.job.n_reduces > 0
}

async fn spawn(
    host: &Host,
    launch: &Launch,
    path: &Path,
    arguments: &[String],
    place: &Place,
) -> Result<Process, StartError> {
    let limits = host.limits.of(&launch.job.limits);
    let mut tries = 0;
    loop {
        let executable = Executable {
            path: path.to_owned(),
            arguments: arguments.to_vec(),
            folder: place.folder.clone(),
            uid: place.uid.as_ref().map(|uid| uid.number),
            disk: Some(place.disk),
            confinement: Some(Arc::clone(&place.confinement)),
            group: host.cgroups.make(&launch.attempt.to_string(), &limits)?,
            limits,
            environment: vec![
                ("HOWDAH_JOB_ID", launch.attempt.task.job.to_string()),
                ("HOWDAH_TASK_ID", launch.attempt.task.to_string()),
                ("HOWDAH_ATTEMPT_ID", launch.attempt.to_string()),
                ("HOWDAH_HOST", host.describer.host.to_string()),
            ],
        };
        match host.spawner.spawn(executable).await {
            Err(error)
                if error.source.kind() == io::ErrorKind::ExecutableFileBusy
                    && tries < BUSY_TRIES =>
            {
                tries += 1;
                tokio::time::sleep(BUSY_PAUSE).await;
            }
            spawned => return spawned,
        }
    }
}

/// Carries messages and orders until the process is gone.
async fn follow(
    host: &Arc<Host>,
    launch: &Arc<Launch>,
    running: Running,
    mut orders: mpsc::UnboundedReceiver<Order>,
) -> End {
    let attempt = launch.attempt;
    let Running { process, log, description, _files, place } = running;
    let Process { channel, log: log_pipe, mut exit, killer, meter, leash: _leash } = process;
    let (reader, writer) = match tokio::net::UnixStream::from_std(channel) {
        Ok(channel) => channel.into_split(),
        Err(error) => {
            killer.kill();
            return End { otherwise: no_channel(&error), has_succeeded: false };
        }
    };
    host.tell(Input::Started { attempt }).await;
    let log = tokio::spawn(copy_log(log_pipe, log));
    let (to_task, outgoing) = mpsc::unbounded_channel();
    let _ = to_task.send(description);
    let writing = tokio::spawn(write_all(writer, outgoing));
    let taker = Taker { host: Arc::clone(host), launch: Arc::clone(launch), disk: place.disk };
    let reading = tokio::spawn(read_all(taker, reader, killer.clone()));
    let measuring = tokio::spawn(measure_all(Arc::clone(host), attempt, meter.clone()));
    let status = loop {
        tokio::select! {
            order = orders.recv() => match order {
                Some(Order::MapEvents { events }) => drop(to_task.send(ToTask::MapEvents { events })),
                Some(Order::Kill { reason }) => {
                    tracing::info!(%attempt, reason, "killing");
                    killer.kill();
                }
                None => {
                    killer.kill();
                    break (&mut exit).await.ok();
                }
            },
            status = &mut exit => break status.ok(),
        }
    };
    writing.abort();
    measuring.abort();
    host.tell(Input::Measured { attempt, usage: meter.last() }).await;
    // What is not known to have said nothing may have said something.
    let unknown = Heard { anything: true, has_succeeded: false, complaint: None };
    let heard = finish(reading).await.unwrap_or(unknown);
    finish(log).await;
    let has_succeeded = heard.has_succeeded;
    let tail = match has_succeeded {
        // Nobody is told how it could have failed.
        true => Vec::new(),
        false => tail_of(Logs::path(&host.folder.logs(), attempt)).await,
    };
    let otherwise = crashed(status, heard, &tail);
    End { otherwise, has_succeeded }
}

/// A log's end, as far as its disk says it soon.
async fn tail_of(log: PathBuf) -> Vec<u8> {
    let last = Wanted::Last { bytes: LOG_TAIL_BYTES };
    let tail = from_disk(DISK_PATIENCE, move || logs::read_part(&log, last)).await;
    tail.and_then(Result::ok).map(|part| part.bytes).unwrap_or_default()
}

/// How an attempt has ended.
struct End {
    /// What to report if it did not say it itself.
    otherwise: Failure,
    has_succeeded: bool,
}

async fn finish<T>(mut task: JoinHandle<T>) -> Option<T> {
    match tokio::time::timeout(DRAIN_TIMEOUT, &mut task).await {
        Ok(done) => done.ok(),
        Err(_) => {
            task.abort();
            None
        }
    }
}

/// Writes what the task is told. A channel that broke off shows as the end of the process.
async fn write_all(mut writer: OwnedWriteHalf, mut outgoing: mpsc::UnboundedReceiver<ToTask>) {
    while let Some(message) = outgoing.recv().await {
        if let Err(error) = channel::write(&mut writer, &message).await {
            tracing::debug!(%error, "a task does not listen");
            return;
        }
    }
}

/// Passes on what the task says, until it closes the channel. A task that can't be understood is
/// killed; the result says why.
async fn read_all(taker: Taker, mut reader: OwnedReadHalf, killer: Killer) -> Heard {
    let mut heard = Heard { anything: false, has_succeeded: false, complaint: None };
    loop {
        match channel::read::<FromTask>(&mut reader).await {
            Ok(Some(message)) => {
                metrics::observe_message(&message);
                heard.anything = true;
                let input = taker.input_of(message).await;
                heard.has_succeeded |=
                    matches!(&input, Input::Said { message: FromTask::Succeeded { .. }, .. });
                taker.host.tell(input).await;
            }
            Ok(None) | Err(channel::ChannelError::Io(_)) => return heard,
            Err(error) => {
                killer.kill();
                return Heard { anything: true, complaint: Some(error.to_string()), ..heard };
            }
        }
    }
}

/// Looks after what a task says.
struct Taker {
    host: Arc<Host>,
    launch: Arc<Launch>,
    disk: DiskNumber,
}

impl Taker {
    /// What the core is to hear. A map that says it has succeeded is believed when its output is where it is served.
    async fn input_of(&self, message: FromTask) -> Input {
        let attempt = self.launch.attempt;
        match &message {
            FromTask::Succeeded { .. } if leaves_map_output(&self.launch) => {
                if let Err(failure) = self.take_output().await {
                    return Input::NotTaken { attempt, failure };
                }
            }
            FromTask::Failed { failure } if failure.kind.blame() == Blame::Host => {
                // While it holds all that it has written.
                let attempts = self.host.folder.attempts_on(self.disk);
                if let Some(finding) = health::room(attempts, self.disk).await {
                    self.host.tell(Input::Examined(finding)).await;
                }
            }
            _ => {}
        }
        Input::Said { attempt, message }
    }

    async fn take_output(&self) -> Result<(), Failure> {
        let (attempt, disk) = (self.launch.attempt, self.disk);
        let folder = Arc::clone(&self.host.folder);
        let left = folder.attempt(attempt, disk).join(MAP_OUTPUT);
        let from = left.clone();
        let taking =
            tokio::task::spawn_blocking(move || folder.map_outputs().take(attempt, disk, &from));
        let taken = taking.await.map_err(io::Error::other).and_then(|taken| taken);
        taken.map_err(|error| not_taken(&left, &error))
    }
}

/// Measures an attempt until it is stopped.
async fn measure_all(host: Arc<Host>, attempt: AttemptId, meter: Meter) {
    let mut pause = MEASURE_INTERVAL;
    loop {
        tokio::time::sleep(pause).await;
        let meter = meter.clone();
        let watch = clock::Stopwatch::start();
        let measured = tokio::task::spawn_blocking(move || meter.measure()).await;
        // Many files or processes are not walked through all the time.
        pause = (watch.elapsed() * 9).clamp(MEASURE_INTERVAL, MEASURE_INTERVAL_MAX);
        if let Ok(usage) = measured {
            host.tell(Input::Measured { attempt, usage }).await;
        }
    }
}

/// Copies what the process writes into its log, until nobody can write any more.
async fn copy_log(from: io::PipeReader, mut log: LogWriter) {
    let opened = pipe::Receiver::from_owned_fd(from.into());
    let Ok(mut from) = opened else { return };
    let mut buffer = vec![0; LOG_READ_BYTES];
    let mut is_refused = false;
    while let Ok(n @ 1..) = from.read(&mut buffer).await {
        let writing = tokio::task::spawn_blocking(move || {
            let written = log.append(&buffer[..n]);
            (log, buffer, written)
        });
        let Ok((writer, read, written)) = writing.await else { return };
        (log, buffer) = (writer, read);
        match written {
            Err(error) if !is_refused => {
                tracing::warn!(log = %log.path().display(), %error, "a task's log lacks what its disk does not take");
                is_refused = true;
            }
            Ok(()) | Err(_) => {}
        }
    }
}
