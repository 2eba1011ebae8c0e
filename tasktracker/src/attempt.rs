//! One attempt from its launch to its end: program, folder, process, channel, log, and what is left of
//! it removed. What its messages mean, and when it is to end, is decided by the core.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use mapreduce_protocol::{
    AttemptId, CHANNEL_ARGUMENT, Failure, FailureKind, FromTask, Launch, MapEvent, Program,
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
use crate::metrics;
use crate::process::{CHANNEL_FD, Executable, Killer, Process, Spawner};
use crate::program_store::StoreOfPrograms;
use crate::programs::{ProgramInUse, Programs};
use crate::record_note;
use crate::uids::{Uid, Uids};
use crate::vfork::{StartError, Step};

/// Bytes of a log's end that a crash is reported with.
const LOG_TAIL_BYTES: u64 = 2048;
/// Of a process that never said a word.
const NOT_LINKED: &str = "it is no Howdah program: its process ended and has said nothing to the TaskTracker; \
     it must be linked with the `mapreduce` crate, and its main must call `mapreduce::main`; another program runs as a \
     command, by `streaming`";

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
    if !ended.has_succeeded
        && let Some(record) = record_note::read(&launch, &folder)
    {
        host.tell(Input::WasAt { attempt, record }).await;
    }
    if !ended.has_succeeded && !host.folder.is_left(disk) {
        let attempts = folder.parent().unwrap_or(&folder).to_owned();
        if let Some(finding) = health::blame(attempts, disk).await {
            host.tell(Input::Examined(finding)).await;
        }
    }
    if !host.folder.is_left(disk)
        && let Err(error) = tokio::fs::remove_dir_all(&folder).await
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(%attempt, %error, "an attempt's folder can't be removed: {}", folder.display());
    }
    host.tell(Input::Ended { attempt, otherwise: ended.otherwise }).await;
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
    let log = prepare_folder(host, launch, &place).map_err(|error| no_folder(&folder, &error))?;
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

fn prepare_folder(host: &Host, launch: &Launch, place: &Place) -> io::Result<LogWriter> {
    DirBuilder::new().mode(0o700).create(&place.folder)?;
    if let Some(Uid { number, .. }) = &place.uid {
        std::os::unix::fs::chown(&place.folder, Some(*number), Some(*number))?;
    }
    if leaves_map_output(launch) {
        host.folder.map_outputs().make_folder(launch.attempt.task.job, place.disk)?;
    }
    LogWriter::create(Logs::path(&host.folder.logs(), launch.attempt), host.log_bytes_max)
}

fn leaves_map_output(launch: &Launch) -> bool {
    launch.attempt.task.kind == TaskKind::Map && launch.job.n_reduces > 0
}

fn no_folder(folder: &Path, error: &io::Error) -> Failure {
    let message = format!("the attempt's folder {} can't be made: {error}", folder.display());
    Failure { kind: FailureKind::OutOfSpace, message }
}

fn not_confined(error: &io::Error) -> Failure {
    let message = format!("the attempt can't be kept from what is not its own: {error}");
    Failure { kind: FailureKind::OutOfSpace, message }
}

/// It is this host's fault unless it is the program that can't be executed, and even then if there are too many
/// processes or too little memory for another one.
fn not_run(path: &Path, error: &StartError) -> Failure {
    let kind = match (error.step, error.source.kind()) {
        (Step::Walls, _) => return not_confined(&error.source),
        (Step::Process, _) | (_, io::ErrorKind::WouldBlock | io::ErrorKind::OutOfMemory) => {
            FailureKind::OutOfSpace
        }
        (Step::Program, _) => FailureKind::ProgramUnavailable,
    };
    let path = path.display();
    let message = match error.step {
        Step::Program => format!("the program {path} can't be run: {error}"),
        Step::Process | Step::Walls => format!("no process can be made for {path}: {error}"),
    };
    Failure { kind, message }
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
            let message = format!("the channel to the task can't be used: {error}");
            let otherwise = Failure { kind: FailureKind::OutOfSpace, message };
            return End { otherwise, has_succeeded: false };
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
    let otherwise = crashed(status, heard, &Logs::path(&host.folder.logs(), attempt));
    End { otherwise, has_succeeded }
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

/// What came from a task.
struct Heard {
    anything: bool,
    has_succeeded: bool,
    /// Why it can't be understood.
    complaint: Option<String>,
}

/// Passes on what the task says, until it closes the channel. A task that can't be understood is
/// killed; the result says why.
async fn read_all(taker: Taker, mut reader: OwnedReadHalf, killer: Killer) -> Heard {
    let attempt = taker.launch.attempt;
    let mut heard = Heard { anything: false, has_succeeded: false, complaint: None };
    loop {
        match channel::read::<FromTask>(&mut reader).await {
            Ok(Some(message)) => {
                metrics::observe_message(&message);
                let message = taker.with_output_taken(message);
                heard.anything = true;
                heard.has_succeeded |= matches!(message, FromTask::Succeeded { .. });
                taker.host.tell(Input::Said { attempt, message }).await;
            }
            Ok(None) | Err(channel::ChannelError::Io(_)) => return heard,
            Err(error) => {
                killer.kill();
                return Heard { anything: true, complaint: Some(error.to_string()), ..heard };
            }
        }
    }
}

/// Takes over what a map leaves.
struct Taker {
    host: Arc<Host>,
    launch: Arc<Launch>,
    disk: DiskNumber,
}

impl Taker {
    /// A map that says it has succeeded is believed when its output is where it is served.
    fn with_output_taken(&self, message: FromTask) -> FromTask {
        let FromTask::Succeeded { .. } = &message else { return message };
        if !leaves_map_output(&self.launch) {
            return message;
        }
        let (folder, attempt) = (&self.host.folder, self.launch.attempt);
        let left = folder.attempt(attempt, self.disk).join(MAP_OUTPUT);
        match folder.map_outputs().take(attempt, self.disk, &left) {
            Ok(()) => message,
            Err(error) => {
                let kind = match error.kind() {
                    io::ErrorKind::NotFound | io::ErrorKind::InvalidData => FailureKind::UserCode,
                    _ => FailureKind::OutOfSpace,
                };
                let message = format!(
                    "it says that it has succeeded, but its output {} can't be taken over: {error}",
                    left.display()
                );
                FromTask::Failed { failure: Failure { kind, message } }
            }
        }
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
    while let Ok(n @ 1..) = from.read(&mut buffer).await {
        if let Err(error) = log.append(&buffer[..n]) {
            tracing::debug!(%error, "a log has no room");
        }
    }
}

fn crashed(status: Option<ExitStatus>, heard: Heard, log: &Path) -> Failure {
    use std::os::unix::process::ExitStatusExt as _;
    let exit_code = status.and_then(|status| status.code());
    let signal = status.and_then(|status| status.signal());
    let last = Wanted::Last { bytes: LOG_TAIL_BYTES };
    let tail = logs::read_part(log, last).map(|part| part.bytes).unwrap_or_default();
    let tail = String::from_utf8_lossy(&tail);
    // A program that knows nothing of tasks ends well, or complains of an option that it does not know.
    let complains = tail.contains(CHANNEL_ARGUMENT.trim_end_matches('='));
    let is_stranger = !heard.anything && (exit_code == Some(0) || exit_code.is_some() && complains);
    let ending = heard.complaint.unwrap_or_else(|| match (exit_code, signal) {
        _ if is_stranger => NOT_LINKED.to_owned(),
        (Some(code), _) => format!("the process exited with status {code} and no last word"),
        (None, Some(signal)) => format!("the process was ended by signal {signal}"),
        (None, None) => "the process ended".to_owned(),
    });
    let message = match tail.trim() {
        "" => format!("{ending}; its log is empty"),
        tail => format!("{ending}; its log ends: {tail}"),
    };
    let kind = match is_stranger {
        true => FailureKind::BadJob,
        false => FailureKind::Crashed { exit_code, signal },
    };
    Failure { kind, message }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_program_that_cannot_be_executed_counts_against_its_job() {
        let program = Path::new("/bin/program");
        for (step, error, kind, words) in [
            (
                Step::Program,
                libc::ENOENT,
                FailureKind::ProgramUnavailable,
                "/bin/program can't be run",
            ),
            (Step::Program, libc::EAGAIN, FailureKind::OutOfSpace, "/bin/program can't be run"),
            (
                Step::Process,
                libc::EBUSY,
                FailureKind::OutOfSpace,
                "no process can be made for /bin",
            ),
            (Step::Walls, libc::ENOENT, FailureKind::OutOfSpace, "kept from what is not its own"),
        ] {
            let source = io::Error::from_raw_os_error(error);
            let failure = not_run(program, &StartError { step, source });
            assert_eq!(failure.kind, kind, "{step:?}: {}", failure.message);
            assert!(failure.message.contains(words), "{}", failure.message);
        }
    }
}
