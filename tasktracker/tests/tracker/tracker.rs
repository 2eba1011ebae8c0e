//! A TaskTracker in a temporary folder, with a shell script as its task executable.

use std::fmt::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use daemon::Shutdown;
use ids::{RackName, UnixMillis};
use mapreduce_protocol::map_output::{self, Segment, Trailer};
use mapreduce_protocol::{
    AttemptId, Builtin, FromTask, JobDescription, JobId, Launch, Program, Split, TaskKind,
    TaskLimits, TaskSettings, TrackerCommand, Work,
};
use net::reqwest::Method;
use net::{Capability, ClientSettings, Grant, Keyring, Role, Secret};
use tasktracker::{HealthSettings, RunError, TasktrackerSettings};

use crate::jobtracker::DEADLINE;

pub(crate) const JOB: JobId = JobId { date: 20_261_122, ordinal: 1 };

const CLIENT: ClientSettings = ClientSettings {
    connect_timeout: Duration::from_secs(2),
    request_timeout: Duration::from_secs(20),
    silence_timeout: Duration::from_secs(3),
    tls: None,
};

/// What a task is told, who does not listen here.
const TASK: TaskSettings = TaskSettings {
    sort_buffer_bytes: 1 << 20,
    fetch_buffer_bytes: 1 << 20,
    parallel_fetches: 1,
    merge_factor: 10,
    fetch_retry_ms: 100,
    fetch_stall_ms: 1000,
    connect_timeout_ms: 1000,
    request_timeout_ms: 1000,
    silence_timeout_ms: 1000,
    store_retry_ms: 1000,
    hedge_after_ms: 0,
    output_replication: None,
};

/// Where trackers of one test live, one after the other.
pub(crate) struct Place {
    folder: tempfile::TempDir,
    secret: Secret,
    pub(crate) task_timeout: Duration,
}

/// A running tracker.
pub(crate) struct RunningTracker {
    address: String,
    shutdown: Shutdown,
    ended: tokio::task::JoinHandle<Result<(), RunError>>,
}

/// A shell command that says `message` on the channel.
pub(crate) fn say(message: &FromTask) -> String {
    let body = serde_json::to_vec(message).unwrap();
    let length = u32::try_from(body.len()).unwrap().to_le_bytes();
    let mut octal = String::new();
    for byte in length.iter().chain(&body) {
        write!(octal, "\\{byte:03o}").unwrap();
    }
    format!("printf '{octal}' >&3")
}

impl Place {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { folder, secret: Secret::random(), task_timeout: Duration::from_mins(5) }
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.path().join("data")
    }

    /// Makes `script` what task processes run.
    pub(crate) fn task(&self, script: &str) {
        let path = self.path().join("task.sh");
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).unwrap();
    }

    /// Leaves a map output with these segments in `prepared.map`.
    pub(crate) fn map_output(&self, segments: &[&[u8]]) {
        let mut file = map_output::header().to_vec();
        let mut index = Vec::new();
        for bytes in segments {
            let (offset, length) = (file.len() as u64, bytes.len() as u64);
            index.push(Segment { offset, length, records: 1, raw_bytes: length });
            file.extend_from_slice(bytes);
        }
        let encoded = map_output::encode_index(&index);
        let trailer = Trailer {
            index_offset: file.len() as u64,
            partitions: u32::try_from(segments.len()).unwrap(),
            index_crc32c: crc_fast::crc32_iscsi(&encoded),
        };
        file.extend_from_slice(&encoded);
        file.extend_from_slice(&trailer.encode());
        std::fs::write(self.path().join("prepared.map"), file).unwrap();
    }

    pub(crate) fn launch(&self, attempt: AttemptId) -> TrackerCommand {
        let builtin = Builtin { name: "wordcount".to_owned(), args: Default::default() };
        let job = JobDescription {
            job: attempt.task.job,
            name: "words".to_owned(),
            program: Program::Builtin(builtin),
            n_reduces: 2,
            n_maps: 2,
            staging: "/.howdah/staging/job_20261122_0001".to_owned(),
            output: None,
            limits: TaskLimits::default(),
            formats: Default::default(),
            output_forms: Default::default(),
        };
        let work = match attempt.task.kind {
            TaskKind::Map => Work::Map { split: Split { pieces: Vec::new() } },
            TaskKind::Reduce => Work::Reduce,
        };
        TrackerCommand::Launch(Launch { attempt, job: Arc::new(job), work, skipping: None })
    }

    pub(crate) fn start(&self, jobtracker: &str, slots: u32) -> RunningTracker {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let settings = TasktrackerSettings {
            host: "host-1".parse().unwrap(),
            rack: RackName::default(),
            address: address.clone(),
            jobtracker: jobtracker.to_owned(),
            chunkmaster: "127.0.0.1:1".to_owned(),
            data_dir: self.data(),
            local_dirs: vec![self.data()],
            slots,
            task_timeout: self.task_timeout,
            cut_off_timeout: Duration::from_mins(5),
            log_bytes_max: 1 << 20,
            task_memory: Some(256 << 20),
            task_processes: 64,
            task_disk: Some(32 << 20),
            task_open_files: 256,
            task_uids: None,
            isolation: None,
            disk_free_min: 0,
            memory_free_min: 0,
            health: HealthSettings {
                interval: Duration::from_secs(10),
                command: None,
                command_interval: Duration::from_secs(10),
                timeout: Duration::from_secs(60),
            },
            shuffle_requests_max: 8,
            task: TASK,
            client: CLIENT,
            retry_for: Duration::from_secs(1),
            keyring: Keyring::new(&self.secret),
            stores: Vec::new(),
            task_executable: Some(self.path().join("task.sh")),
        };
        let shutdown = Shutdown::default();
        let ended = tokio::spawn(tasktracker::run(settings, listener, shutdown.clone()));
        RunningTracker { address, shutdown, ended }
    }

    pub(crate) fn mint(&self, capability: &Capability) -> String {
        Keyring::new(&self.secret).mint(capability)
    }

    pub(crate) fn token(&self, role: Role, resource: &str) -> String {
        self.token_of(role, Grant::read(resource))
    }

    /// Of one who may do all.
    pub(crate) fn unlimited(&self, role: Role) -> String {
        self.token_of(role, Grant::all("/"))
    }

    fn token_of(&self, role: Role, grant: Grant) -> String {
        self.mint(&Capability {
            subject: "test".to_owned(),
            role,
            grants: vec![grant],
            expires: UnixMillis(u64::MAX),
        })
    }

    /// Waits for an exact state.
    pub(crate) async fn until(&self, what: &str, state: impl Fn() -> bool) {
        let waited = tokio::time::timeout(DEADLINE, async {
            while !state() {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        });
        assert!(waited.await.is_ok(), "in vain: {what}");
    }

    /// Processes of this tracker's attempts.
    pub(crate) fn processes(&self) -> Vec<u32> {
        let mark = format!("HOWDAH_ATTEMPT_FOLDER={}", self.data().display());
        let mut found = Vec::new();
        for entry in std::fs::read_dir("/proc").unwrap().flatten() {
            let pid = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok());
            let environment = std::fs::read(entry.path().join("environ")).unwrap_or_default();
            let ours = String::from_utf8_lossy(&environment).contains(&mark);
            found.extend(pid.filter(|_| ours));
        }
        found
    }

    pub(crate) fn attempt_folders(&self) -> usize {
        std::fs::read_dir(self.data().join("attempts")).map_or(0, Iterator::count)
    }
}

impl RunningTracker {
    pub(crate) async fn get(&self, path: &str, token: &str) -> Vec<u8> {
        let client = net::Client::new(CLIENT).with_token(token);
        let request = client.request(Method::GET, &self.address, path);
        let response = client.send(&self.address, request).await.unwrap();
        response.bytes().await.unwrap().to_vec()
    }

    pub(crate) async fn status(&self, path: &str, token: &str) -> u16 {
        let client = net::Client::new(CLIENT).with_token(token);
        let request = client.request(Method::GET, &self.address, path);
        match client.send(&self.address, request).await {
            Ok(response) => response.status().as_u16(),
            Err(error) => error.problem().expect("a problem document").status,
        }
    }

    /// Waits until the server answers: the folder is open then.
    pub(crate) async fn serves(&self) {
        assert_eq!(self.status("/healthz", "").await, 200);
    }

    pub(crate) async fn stop(self) -> Result<(), RunError> {
        self.shutdown.trigger();
        self.ended().await
    }

    pub(crate) async fn ended(self) -> Result<(), RunError> {
        tokio::time::timeout(DEADLINE, self.ended).await.expect("it ends in time").unwrap()
    }
}
