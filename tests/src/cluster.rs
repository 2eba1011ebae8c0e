//! A `howdah dev` cluster in a temporary folder: started, asked, killed and restarted daemon by daemon.
//! Everything ends when it is dropped; if the test fails, all logs are printed first.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use chunkstore_client::{ChunkStore, ReadSettings, StoreSettings};
use ids::RackName;
use net::{Client, ClientSettings, Tls, TlsFiles};
use rustix::process::{
    Pid, Signal, kill_process, set_parent_process_death_signal, test_kill_process,
};
use serde_json::Value;
use tempfile::TempDir;

use crate::command::{Finished, finish, howdah};
use crate::{http, wait};

/// Time in which every state that tests wait for must come, on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(120);
/// Bytes of each log's end that a failed test prints.
const LOG_TAIL_BYTES: u64 = 6000;

/// What a test's cluster differs in.
#[derive(Clone, Debug, Default)]
pub struct DevOptions {
    /// TaskTrackers; the default if absent.
    pub trackers: Option<u32>,
    /// `--set` overrides.
    pub set: Vec<String>,
    /// Who the daemons run as; as this process if absent.
    pub user: Option<u32>,
    /// Another binary that the daemons are of, until they are started by hand.
    pub binary: Option<PathBuf>,
}

impl DevOptions {
    /// That many TaskTrackers and chunkservers. What lies in the trash stays there, however full this machine's disk is.
    #[must_use]
    pub fn trackers(n: u32) -> Self {
        let set = vec!["chunkmaster.trash_free_min=0%".to_owned()];
        Self { trackers: Some(n), set, ..Self::default() }
    }

    /// By TLS, with the files `ca.pem`, `cert.pem` and `key.pem` of a folder.
    ///
    /// # Panics
    /// When the folder's path is no text.
    #[must_use]
    pub fn tls(self, folder: &Path) -> Self {
        ["ca", "cert", "key"].into_iter().fold(self, |options, key| {
            let file = folder.join(format!("{key}.pem"));
            options.set(&format!("tls.{key}={}", file.to_str().expect("paths of tests are text")))
        })
    }

    /// With a configuration key set.
    #[must_use]
    pub fn set(mut self, key_and_value: &str) -> Self {
        self.set.push(key_and_value.to_owned());
        self
    }
}

/// A running cluster.
pub struct Dev {
    folder: TempDir,
    supervisor: Option<Child>,
    by_hand: Vec<Child>,
}

impl Dev {
    /// Starts one in a new folder and waits until it is ready.
    ///
    /// # Panics
    /// When it does not get ready.
    #[must_use]
    pub fn start(options: &DevOptions) -> Self {
        let mut dev = Self::to_be_started();
        dev.start_again(options);
        dev
    }

    /// One in a new folder, for [`Dev::start_again`].
    ///
    /// # Panics
    /// When there can be no folder.
    #[must_use]
    pub fn to_be_started() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        Self { folder, supervisor: None, by_hand: Vec::new() }
    }

    /// Starts it again in its folder, after [`Dev::stop`].
    ///
    /// # Panics
    /// When it does not get ready.
    pub fn start_again(&mut self, options: &DevOptions) {
        let mut command = options.binary.as_ref().map_or_else(howdah, Command::new);
        command.arg("dev").arg("--dir").arg(self.dir());
        if let Some(trackers) = options.trackers {
            command.args(["--trackers", &trackers.to_string()]);
        }
        for set in &options.set {
            command.args(["--set", set]);
        }
        fs::create_dir_all(self.dir()).expect("the cluster's folder");
        if let Some(user) = options.user {
            for folder in [self.scratch(), &self.dir()] {
                chown(folder, Some(user), Some(user)).expect("root gives folders away");
            }
            command.uid(user).gid(user);
        }
        let events = self.events_file();
        end_with_this_process(&mut command);
        let mut child = command.stdout(Stdio::piped()).stderr(events).spawn().expect("dev starts");
        let stdout = child.stdout.take().expect("its output is a pipe");
        self.supervisor = Some(child);
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line).expect("its output can be read");
        assert_eq!(line, "ready\n", "dev said: {}", self.events());
    }

    /// The cluster's folder.
    #[must_use]
    pub fn dir(&self) -> PathBuf {
        self.folder.path().join("cluster")
    }

    /// A folder for the test's own files.
    #[must_use]
    pub fn scratch(&self) -> &Path {
        self.folder.path()
    }

    fn events_file(&self) -> fs::File {
        let path = self.folder.path().join("dev.stderr");
        let file = fs::OpenOptions::new().create(true).append(true).open(path);
        file.expect("the events can be written")
    }

    /// What the supervisor has said on standard error.
    #[must_use]
    pub fn events(&self) -> String {
        fs::read_to_string(self.folder.path().join("dev.stderr")).unwrap_or_default()
    }

    /// The binary with `args`, as a client of this cluster.
    #[must_use]
    pub fn client(&self, args: &[&str]) -> Command {
        let mut command = howdah();
        command.args(args).arg("--config").arg(self.config_file());
        command
    }

    /// Runs the binary with `args` as a client of this cluster, to its end.
    #[must_use]
    pub fn run(&self, args: &[&str]) -> Finished {
        finish(&mut self.client(args))
    }

    /// Copies a local file or folder into the store.
    ///
    /// # Panics
    /// When that fails.
    pub fn put(&self, local: &Path, path: &str) {
        let put = finish(self.client(&["fs", "put"]).arg(local).arg(path));
        assert_eq!(put.code, Some(0), "stderr: {}", put.stderr);
    }

    /// Copies a file or folder of the store to a local path.
    ///
    /// # Panics
    /// When that fails.
    pub fn get(&self, path: &str, local: &Path) {
        let got = finish(self.client(&["fs", "get", path]).arg(local));
        assert_eq!(got.code, Some(0), "stderr: {}", got.stderr);
    }

    /// Writes `bytes` to a file of the store through the client's standard input, with further arguments of
    /// `fs put`.
    ///
    /// # Panics
    /// When the client can't be started.
    pub fn put_bytes(&self, bytes: &[u8], path: &str, arguments: &[&str]) -> Finished {
        let mut command = self.client(&["fs", "put", "-", path]);
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the client starts");
        // A client that has given up does not read on.
        child.stdin.take().expect("its input is a pipe").write_all(bytes).ok();
        child.wait_with_output().expect("a child can be waited for").into()
    }

    /// Makes a file of the store with this text.
    ///
    /// # Panics
    /// When that fails.
    pub fn put_text(&self, text: &str, path: &str) {
        let file = self.scratch().join("text-to-put");
        fs::write(&file, text).expect("a file can be written");
        self.put(&file, path);
    }

    /// The file for `--config`.
    #[must_use]
    pub fn config_file(&self) -> PathBuf {
        self.dir().join("cluster.yaml")
    }

    /// The effective configuration.
    ///
    /// # Panics
    /// When it can't be read.
    #[must_use]
    pub fn config(&self) -> config::Config {
        config::load(self.config_file(), &[]).expect("dev writes a valid configuration")
    }

    /// The chunk store, by the library that programs use.
    ///
    /// # Panics
    /// When the configuration can't be read.
    #[must_use]
    pub fn store(&self) -> ChunkStore {
        let config = self.config();
        let client = Client::new(ClientSettings {
            connect_timeout: config.client.connect_timeout.0,
            request_timeout: config.client.request_timeout.0,
            silence_timeout: config.client.silence_timeout.0,
            tls: config.tls.ca.map(|ca| {
                Tls::open(TlsFiles { ca, own: None }).expect("dev checked the authority")
            }),
        });
        let settings = StoreSettings {
            master: config.chunkmaster.address,
            host: None,
            rack: RackName::default_rack(),
            retry_for: config.client.retry_for.0,
            reads: ReadSettings::default(),
        };
        ChunkStore::new(client, settings)
    }

    /// A page of a daemon, by whatever this cluster speaks.
    ///
    /// # Errors
    /// When there is no connection, or what comes is no HTTP.
    pub fn page_of(&self, address: &str, path: &str) -> anyhow::Result<http::Response> {
        http::trusting_get(self.config().tls.ca.as_deref(), address, path)
    }

    /// `host:port` of the JobTracker.
    #[must_use]
    pub fn jobtracker(&self) -> String {
        self.config().jobtracker.address
    }

    /// Process id of a daemon, from its pid file.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn pid(&self, daemon: &str) -> i32 {
        let path = self.pid_file(daemon);
        let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        text.trim().parse().expect("a pid file holds a number")
    }

    /// Whether a daemon runs, by its pid file.
    #[must_use]
    pub fn runs(&self, daemon: &str) -> bool {
        self.pid_file(daemon).exists()
    }

    fn pid_file(&self, daemon: &str) -> PathBuf {
        self.dir().join("pids").join(format!("{daemon}.pid"))
    }

    /// `kill -9` of a daemon; returns when it is gone.
    ///
    /// # Panics
    /// When it does not run.
    pub fn kill(&mut self, daemon: &str) {
        self.end(daemon, Signal::KILL);
    }

    /// Has a daemon stop, as services are stopped (SIGTERM); returns when it is gone.
    ///
    /// # Panics
    /// When it does not run.
    pub fn terminate(&mut self, daemon: &str) {
        self.end(daemon, Signal::TERM);
    }

    fn end(&mut self, daemon: &str, by: Signal) {
        let pid = Pid::from_raw(self.pid(daemon)).expect("a pid is positive");
        self.send(daemon, by);
        // One that was started by hand is this process' child, and there until it is waited for.
        let by_hand = &mut self.by_hand;
        wait::until("the killed process is gone", PATIENCE, || {
            by_hand.retain_mut(|child| matches!(child.try_wait(), Ok(None)));
            test_kill_process(pid).err()
        });
    }

    /// `kill -9` of all daemons, at once; returns when they are gone. What is
    /// left is to [`Dev::stop`] it.
    ///
    /// # Panics
    /// When one does not run.
    pub fn kill_all(&self) {
        let files =
            fs::read_dir(self.dir().join("pids")).expect("daemons leave their pids").flatten();
        let names = files.filter_map(|file| file.file_name().into_string().ok());
        let daemons: Vec<_> =
            names.filter_map(|name| Some(name.strip_suffix(".pid")?.to_owned())).collect();
        let pids = daemons.iter().map(|daemon| Pid::from_raw(self.pid(daemon)));
        let pids: Vec<_> = pids.map(|pid| pid.expect("a pid is positive")).collect();
        for daemon in &daemons {
            self.send(daemon, Signal::KILL);
        }
        for pid in pids {
            wait::until("a killed process is gone", PATIENCE, || is_dead(pid).then_some(()));
        }
    }

    /// The data folder that a daemon has unless it is told otherwise.
    #[must_use]
    pub fn data_dir(&self, daemon: &str) -> PathBuf {
        self.dir().join("data").join(daemon)
    }

    /// Stops a daemon's process in its tracks (SIGSTOP); the task processes of a TaskTracker go on.
    ///
    /// # Panics
    /// When it does not run.
    pub fn freeze(&self, daemon: &str) {
        self.send(daemon, Signal::STOP);
    }

    /// Lets a frozen daemon go on, as if no time had passed.
    ///
    /// # Panics
    /// When it does not run.
    pub fn thaw(&self, daemon: &str) {
        self.send(daemon, Signal::CONT);
    }

    fn send(&self, daemon: &str, signal: Signal) {
        let pid = Pid::from_raw(self.pid(daemon)).expect("a pid is positive");
        kill_process(pid, signal).unwrap_or_else(|e| panic!("{signal:?} to {daemon}: {e}"));
    }

    /// Starts a daemon by hand after its death; returns when it has renewed its pid file and is ready.
    ///
    /// # Panics
    /// When it can't be started, or does not get ready.
    pub fn restart(&mut self, daemon: &str) {
        self.restart_with(daemon, &[]);
    }

    /// The same, with further arguments.
    ///
    /// # Panics
    /// When it can't be started, or does not get ready.
    pub fn restart_with(&mut self, daemon: &str, arguments: &[&str]) {
        let (command, number) = daemon.split_once('-').unwrap_or((daemon, ""));
        let log = fs::OpenOptions::new()
            .append(true)
            .create(true)
            .open(self.dir().join("logs").join(format!("{daemon}.log")))
            .expect("its log can be written");
        let mut start = self.client(&[command]);
        start.args(arguments);
        if !number.is_empty() {
            start.args(["--host", &format!("host-{number}")]);
        }
        end_with_this_process(&mut start);
        let child = start.stdout(Stdio::null()).stderr(log).spawn().expect("the daemon starts");
        let pid = child.id().cast_signed();
        self.by_hand.push(child);
        let file = self.pid_file(daemon);
        let renewed = || {
            let text = fs::read_to_string(&file).ok()?;
            (text.trim().parse() == Ok(pid)).then_some(())
        };
        wait::until(&format!("{daemon} renews its pid file"), PATIENCE, renewed);
        let address = self.address_of(daemon);
        let ready = || self.page_of(&address, "/readyz").ok().filter(|answer| answer.status == 200);
        wait::until(&format!("{daemon} gets ready again"), PATIENCE, ready);
    }

    /// `host:port` of a daemon.
    ///
    /// # Panics
    /// When there is no such daemon.
    #[must_use]
    pub fn address_of(&self, daemon: &str) -> String {
        let config = self.config();
        let (kind, number) = daemon.split_once('-').unwrap_or((daemon, "1"));
        let index = number.parse::<usize>().expect("a daemon's number") - 1;
        let host = config.all_hosts().nth(index).expect("a daemon's host");
        match kind {
            "chunkmaster" => config.chunkmaster.address,
            "jobtracker" => config.jobtracker.address,
            "chunkserver" => host.chunkserver_address,
            "tasktracker" => host.tasktracker_address,
            other => panic!("no daemon {other}"),
        }
    }

    /// Writes a job file and returns its path.
    ///
    /// # Panics
    /// When it can't be written.
    #[must_use]
    pub fn job_file(&self, name: &str, text: &str) -> String {
        let path = self.scratch().join(name);
        fs::write(&path, text).expect("a job file can be written");
        path.to_str().expect("temporary paths are text").to_owned()
    }

    /// The state of a job, over REST alone.
    ///
    /// # Panics
    /// When the JobTracker does not know it.
    #[must_use]
    pub fn job(&self, id: &str) -> Value {
        let answer =
            self.page_of(&self.jobtracker(), &format!("/v1/jobs/{id}")).expect("an answer");
        assert_eq!(answer.status, 200, "{}", answer.text);
        answer.body
    }

    /// TaskTrackers that the JobTracker takes for alive.
    #[must_use]
    pub fn live_trackers(&self) -> Option<u64> {
        self.page_of(&self.jobtracker(), "/v1/cluster").ok()?.body["trackers"].as_u64()
    }

    /// Waits until that many TaskTrackers are alive.
    ///
    /// # Panics
    /// When time is up.
    pub fn await_trackers(&self, n: u64) {
        let reached = || (self.live_trackers()? == n).then_some(());
        wait::until(&format!("{n} TaskTrackers are alive"), PATIENCE, reached);
    }

    /// A counter of the JobTracker, as its metrics show it; 0 if it was never counted.
    ///
    /// # Panics
    /// When the metrics can't be read.
    #[must_use]
    pub fn jobtracker_counter(&self, name: &str) -> u64 {
        let metrics = self.page_of(&self.jobtracker(), "/metrics").expect("an answer").text;
        let line = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.map_or(0, |value| value.parse().expect("a counter is a number"))
    }

    /// Waits until `reached` is true of the job's state. It never waits for a job that has ended
    /// otherwise.
    ///
    /// # Panics
    /// When the job ends without reaching it, or time is up.
    pub fn await_job(&self, id: &str, what: &str, reached: impl Fn(&Value) -> bool) -> Value {
        wait::until(&format!("{id} {what}"), PATIENCE, || {
            let answer = self.page_of(&self.jobtracker(), &format!("/v1/jobs/{id}")).ok()?;
            let job = answer.body;
            if reached(&job) {
                return Some(job);
            }
            let ended =
                ["SUCCEEDED", "FAILED", "KILLED"].iter().any(|state| job["state"] == *state);
            assert!(!ended, "{id} ended before it reached: {what}: {job:#}");
            None
        })
    }

    /// Stops it as a user does, and returns the exit code.
    ///
    /// # Panics
    /// When it does not run.
    pub fn stop(&mut self) -> Option<i32> {
        let mut child = self.supervisor.take().expect("the cluster runs");
        signal(&child, Signal::INT);
        child.wait().expect("a child can be waited for").code()
    }

    /// The ends of all logs.
    #[must_use]
    pub fn logs(&self) -> BTreeMap<String, String> {
        let entries = fs::read_dir(self.dir().join("logs")).into_iter().flatten().flatten();
        // A log may be a device, which has no end.
        let tail = |path: &Path| match path.is_file() {
            true => end_of(path).unwrap_or_default(),
            false => String::new(),
        };
        entries.map(|e| (e.file_name().to_string_lossy().into_owned(), tail(&e.path()))).collect()
    }
}

/// Whether a process is gone, or only waits for its parent to hear of it: one that was started by hand does.
fn is_dead(pid: Pid) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero()));
    stat.map_or(true, |stat| stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('Z')))
}

/// Makes a child end with the thread that starts it, also when that is killed and drops nothing.
pub fn end_with_this_process(command: &mut Command) {
    let ask = || Ok(set_parent_process_death_signal(Some(Signal::KILL))?);
    // SAFETY: between fork and exec one system call is made: no allocation, no lock.
    unsafe { command.pre_exec(ask) };
}

/// The end of a log.
pub(crate) fn end_of(path: &Path) -> std::io::Result<String> {
    let mut file = fs::File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(LOG_TAIL_BYTES)))?;
    let mut bytes = Vec::new();
    file.take(LOG_TAIL_BYTES).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn signal(child: &Child, signal: Signal) {
    if let Some(pid) = Pid::from_raw(child.id().cast_signed()) {
        // It may have ended by itself.
        kill_process(pid, signal).ok();
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("==== dev ====\n{}", self.events());
            for (name, text) in self.logs() {
                eprintln!("==== {name} ====\n{text}");
            }
        }
        for child in &mut self.by_hand {
            child.kill().ok();
            child.wait().ok();
        }
        if let Some(mut child) = self.supervisor.take() {
            // The daemons end with their supervisor.
            child.kill().ok();
            child.wait().ok();
        }
    }
}
