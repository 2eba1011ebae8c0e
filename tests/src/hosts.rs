//! A cluster as people deploy it: one file and one secret for several hosts of a network, a daemon started on each. Two
//! masters, on a host each; four hosts in two racks with a chunkserver and a TaskTracker each; and a client.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::cluster::{PATIENCE, end_of, end_with_this_process};
use crate::command::{Finished, finish, howdah};
use crate::http::{self, Response};
use crate::network::{Entered, Network};
use crate::wait;

/// The chunk master's host.
pub const CHUNKMASTER: &str = "master-1";
/// The JobTracker's host.
pub const JOBTRACKER: &str = "master-2";
/// The hosts with a chunkserver and a TaskTracker, of two racks each half.
pub const HOSTS: [&str; 4] = ["host-1", "host-2", "host-3", "host-4"];
/// Slots of each.
pub const SLOTS: u64 = 2;
const CLIENT: &str = "client-1";

/// Time in which a host that can be reached answers.
const ANSWER: Duration = Duration::from_secs(10);

/// A running cluster; its daemons end with it. If the test fails, their logs are printed.
pub struct Hosts {
    daemons: Vec<Daemon>,
    token: String,
    /// The test speaks as the client. Before the network, so that it goes home first.
    _entered: Entered,
    network: Network,
    folder: TempDir,
}

struct Daemon {
    name: &'static str,
    host: &'static str,
    port: u16,
    process: Child,
}

impl Hosts {
    /// Starts one, with these lines of the configuration besides, and waits until it is ready; `None`, and said, where
    /// there can be no such network.
    ///
    /// # Panics
    /// When it does not get ready.
    #[must_use]
    pub fn start() -> Option<Self> {
        let mut names = vec![CHUNKMASTER, JOBTRACKER, CLIENT];
        names.extend(HOSTS);
        let network = Network::of(&names)?;
        let folder = tempfile::tempdir().expect("a temporary folder");
        let entered = network.enter(CLIENT);
        let mut hosts =
            Self { daemons: vec![], token: String::new(), _entered: entered, network, folder };
        hosts.write_configuration();
        hosts.start_daemon("chunkmaster", CHUNKMASTER, 7870);
        hosts.start_daemon("jobtracker", JOBTRACKER, 7880);
        for host in HOSTS {
            hosts.start_daemon("chunkserver", host, 7871);
            hosts.start_daemon("tasktracker", host, 7881);
        }
        hosts.token = hosts.run(&["token"]).success().text();
        for daemon in &hosts.daemons {
            let address = SocketAddr::from((hosts.network.address(daemon.host), daemon.port));
            let ready = || hosts.ask(address, "/readyz").ok().filter(|answer| answer.status == 200);
            wait::until(&format!("{} on {} is ready", daemon.name, daemon.host), PATIENCE, ready);
        }
        Some(hosts)
    }

    /// What the hosts are joined by.
    #[must_use]
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// A folder for the test's own files.
    #[must_use]
    pub fn scratch(&self) -> &Path {
        self.folder.path()
    }

    /// The data folder of a host's daemon.
    #[must_use]
    pub fn data_dir(&self, daemon: &str, host: &str) -> PathBuf {
        self.folder.path().join(host).join(daemon)
    }

    fn config_file(&self) -> PathBuf {
        self.folder.path().join("howdah.yaml")
    }

    /// Hosts that are cut off again and again get tasks all the same.
    fn write_configuration(&self) {
        let folder = self.folder.path();
        let secret = folder.join("secret");
        let mut file = fs::OpenOptions::new();
        let file = file.write(true).create_new(true).mode(0o600).open(&secret);
        let text = net::random_hex(32);
        std::io::Write::write_all(&mut file.expect("a new file"), text.as_bytes()).expect("room");
        let (master_1, master_2) = (CHUNKMASTER, JOBTRACKER);
        let (secret, folder) = (secret.display(), folder.display());
        let mut yaml = format!(
            "cluster: {{secret_file: {secret}}}\n\
             chunkmaster:\n  address: {master_1}:7870\n  data_dir: {folder}/{master_1}/chunkmaster\n  \
             chunk_bytes: 1MiB\n\
             jobtracker:\n  address: {master_2}:7880\n  data_dir: {folder}/{master_2}/jobtracker\n  \
             host_strikes_max: 0\n\
             tasktracker: {{slots: {SLOTS}}}\n\
             hosts:\n"
        );
        for (nth, host) in HOSTS.into_iter().enumerate() {
            let rack = nth * 2 / HOSTS.len() + 1;
            yaml += &format!(
                "- name: {host}\n  rack: /rack-{rack}\n  \
                 chunkserver: {{address: \"{host}:7871\", data_dirs: [{folder}/{host}/chunkserver]}}\n  \
                 tasktracker: {{address: \"{host}:7881\", data_dir: {folder}/{host}/tasktracker}}\n"
            );
        }
        fs::write(self.config_file(), yaml).expect("the configuration can be written");
    }

    fn start_daemon(&mut self, name: &'static str, host: &'static str, port: u16) {
        let home = self.folder.path().join(host);
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&home);
        made.expect("a host's folder can be made");
        let log = fs::File::create(home.join(format!("{name}.log"))).expect("a log can be made");
        let mut command = howdah();
        command.arg(name).arg("--config").arg(self.config_file());
        match host {
            CHUNKMASTER | JOBTRACKER => command.arg("--init"),
            _ => command.args(["--host", host]),
        };
        let mut command = self.network.on(host, &command);
        end_with_this_process(&mut command);
        let started = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn();
        let process = started.expect("the daemon starts");
        self.daemons.push(Daemon { name, host, port, process });
    }

    /// The binary with `args`, run on the client's host.
    #[must_use]
    pub fn client(&self, args: &[&str]) -> Command {
        let mut command = howdah();
        command.args(args).arg("--config").arg(self.config_file());
        self.network.on(CLIENT, &command)
    }

    /// The same, to its end.
    #[must_use]
    pub fn run(&self, args: &[&str]) -> Finished {
        finish(&mut self.client(args))
    }

    fn ask(&self, address: SocketAddr, path: &str) -> anyhow::Result<Response> {
        let token = format!("Authorization: Bearer {}", self.token);
        http::request_within(ANSWER, address, "GET", path, &[&token], "")
    }

    /// What the JobTracker says.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn ask_jobtracker(&self, path: &str) -> anyhow::Result<Value> {
        let answer = self.ask((self.network.address(JOBTRACKER), 7880).into(), path)?;
        anyhow::ensure!(answer.status == 200, "{path}: {}: {}", answer.status, answer.text);
        Ok(answer.body)
    }

    /// A metric without labels of a master; `None` if it does not answer.
    #[must_use]
    pub fn gauge(&self, host: &str, name: &str) -> Option<f64> {
        let daemon = self.daemons.iter().find(|daemon| daemon.host == host)?;
        let address = SocketAddr::from((self.network.address(host), daemon.port));
        let page = self.ask(address, "/metrics").ok()?.text;
        let value = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value?.trim().parse().ok()
    }

    /// Processes on a host that are no daemons: tasks.
    #[must_use]
    pub fn tasks_on(&self, host: &str) -> Vec<i32> {
        let mut processes = self.network.processes(host);
        let ids = self.daemons.iter().map(|daemon| daemon.process.id().cast_signed());
        let daemons: Vec<_> = ids.collect();
        processes.retain(|process| !daemons.contains(process));
        processes
    }
}

impl Drop for Hosts {
    fn drop(&mut self) {
        for daemon in &mut self.daemons {
            daemon.process.kill().ok();
            daemon.process.wait().ok();
        }
        if std::thread::panicking() {
            for Daemon { name, host, .. } in &self.daemons {
                let log = self.folder.path().join(host).join(format!("{name}.log"));
                eprintln!("==== {name} on {host} ====\n{}", end_of(&log).unwrap_or_default());
            }
        }
    }
}
