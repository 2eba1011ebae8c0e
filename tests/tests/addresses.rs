//! Daemons that listen elsewhere than others connect to them, as behind a router that translates addresses: here the router is a
//! relay for each daemon, on another loopback address. Jobs run by way of the relays alone, and who is not reached is told so.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::Value;
use tempfile::TempDir;
use tests::cluster::{PATIENCE, end_with_this_process};
use tests::command::{Finished, finish, howdah, run};
use tests::oracle::{count_words_of, lines_of_counts, lines_of_parts};
use tests::{books, http, wait};

/// Where the relays are.
const OUTSIDE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
/// The daemons in boot order, with the host whose they are.
const DAEMONS: [(&str, &str); 6] = [
    ("chunkmaster", ""),
    ("chunkserver", "host-1"),
    ("chunkserver", "host-2"),
    ("jobtracker", ""),
    ("tasktracker", "host-1"),
    ("tasktracker", "host-2"),
];

/// Passes connections on to a daemon, while it is open.
struct Relay {
    address: SocketAddr,
    target: SocketAddr,
    is_open: Arc<AtomicBool>,
}

impl Relay {
    /// A new one, to a port of loopback at which nobody listens yet.
    fn new() -> Self {
        let listener = TcpListener::bind((OUTSIDE, 0)).expect("loopback has many addresses");
        let (address, target) = (listener.local_addr().expect("it is bound"), free_address());
        let is_open = Arc::new(AtomicBool::new(true));
        let open = Arc::clone(&is_open);
        std::thread::spawn(move || {
            for accepted in listener.incoming().flatten() {
                if !open.load(Ordering::Relaxed) {
                    continue;
                }
                let Ok(connected) = TcpStream::connect(target) else { continue };
                let both = accepted.try_clone().and_then(|it| Ok((it, connected.try_clone()?)));
                let (back, there) = both.expect("descriptors are left");
                std::thread::spawn(move || pass(accepted, connected));
                std::thread::spawn(move || pass(there, back));
            }
        });
        Self { address, target, is_open }
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream) {
    // Whoever breaks it off, the other side hears of it.
    let _ = io::copy(&mut from, &mut to);
    let _ = to.shutdown(Shutdown::Write);
}

/// A port below those that the system gives to connections: nobody takes it in between.
fn free_address() -> SocketAddr {
    let port = || 15_000 + (net::random_u64() % 15_000) as u16;
    let addresses = std::iter::repeat_with(|| SocketAddr::from((Ipv4Addr::LOCALHOST, port())));
    let mut free = addresses.take(200).filter(|it| TcpListener::bind(it).is_ok());
    free.next().expect("some port is free")
}

struct Cluster {
    relays: BTreeMap<String, Relay>,
    running: BTreeMap<String, Child>,
    folder: TempDir,
}

impl Cluster {
    fn start() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let relays = DAEMONS.map(|(kind, host)| (format!("{kind}{host}"), Relay::new()));
        let mut cluster = Self { relays: relays.into(), running: BTreeMap::new(), folder };
        let secret = cluster.folder.path().join("secret");
        let _ = run([OsStr::new("secret"), OsStr::new("new"), secret.as_os_str()]).success();
        fs::write(cluster.config_file(), cluster.configuration()).expect("it can be written");
        for (kind, host) in DAEMONS {
            let more: &[&str] = if host.is_empty() { &["--init"] } else { &[] };
            cluster.start_daemon(kind, host, more);
        }
        for (name, relay) in &cluster.relays {
            let address = relay.address.to_string();
            let is_ready = || http::get(&address, "/readyz").ok().filter(|it| it.status == 200);
            wait::until(&format!("{name} is ready"), PATIENCE, is_ready);
        }
        cluster
    }

    fn configuration(&self) -> String {
        let folder = self.folder.path().display();
        let at = |daemon: &str| {
            let Relay { address, target, .. } = &self.relays[daemon];
            format!("address: \"{address}\", listen: \"{target}\"")
        };
        let mut yaml = format!(
            "cluster: {{secret_file: {folder}/secret}}\n\
             chunkmaster: {{{}, data_dir: {folder}/chunkmaster, replication: 2, chunk_bytes: 256KiB}}\n\
             jobtracker: {{{}, data_dir: {folder}/jobtracker}}\n\
             tasktracker: {{slots: 2}}\n\
             hosts:\n",
            at("chunkmaster"),
            at("jobtracker"),
        );
        for host in ["host-1", "host-2"] {
            yaml += &format!(
                "- name: {host}\n  \
                 chunkserver: {{{}, data_dirs: [{folder}/{host}/chunks]}}\n  \
                 tasktracker: {{{}, data_dir: {folder}/{host}/tasks}}\n",
                at(&format!("chunkserver{host}")),
                at(&format!("tasktracker{host}")),
            );
        }
        yaml
    }

    fn config_file(&self) -> PathBuf {
        self.folder.path().join("howdah.yaml")
    }

    fn log_file(&self, kind: &str, host: &str) -> PathBuf {
        self.folder.path().join(format!("{kind}{host}.log"))
    }

    fn log(&self, kind: &str, host: &str) -> String {
        fs::read_to_string(self.log_file(kind, host)).unwrap_or_default()
    }

    fn start_daemon(&mut self, kind: &str, host: &str, more: &[&str]) {
        let mut command = howdah();
        command.arg(kind).arg("--config").arg(self.config_file()).args(more);
        if !host.is_empty() {
            command.args(["--host", host]);
        }
        let log = fs::OpenOptions::new().create(true).append(true).open(self.log_file(kind, host));
        end_with_this_process(&mut command);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log.expect("a log"));
        let child = command.spawn().expect("the daemon starts");
        self.running.insert(format!("{kind}{host}"), child);
    }

    fn kill(&mut self, kind: &str, host: &str) {
        let mut child = self.running.remove(&format!("{kind}{host}")).expect("it runs");
        child.kill().expect("it is ours");
        child.wait().expect("it is a child");
    }

    fn client(&self, args: &[&str]) -> Finished {
        finish(howdah().args(args).arg("--config").arg(self.config_file()))
    }

    fn count_words(&self, output: &str) -> Vec<Vec<u8>> {
        let job = self.folder.path().join("job.yaml");
        let text = format!(
            "name: words\ninput: [/in]\noutput: {output}\nreduces: 2\nprogram: {{builtin: {{name: wordcount}}}}\n"
        );
        fs::write(&job, text).expect("a job file can be written");
        let job = job.to_str().expect("temporary paths are text");
        let _ = self.client(&["job", "submit", job, "--wait"]).success();
        let got = self.folder.path().join(output.trim_start_matches('/'));
        let _ = self.client(&["fs", "get", output, got.to_str().expect("text")]).success();
        lines_of_parts(&got)
    }

    fn gauge(&self, daemon: &str, name: &str) -> f64 {
        let page =
            http::get(&self.relays[daemon].address.to_string(), "/metrics").expect("an answer");
        let line = page.text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.expect("it is there").parse().expect("a number")
    }

    fn n_unreached(&self) -> [f64; 2] {
        [
            self.gauge("jobtracker", "howdah_jobtracker_trackers_unreached"),
            self.gauge("chunkmaster", "howdah_chunkmaster_servers_unreached"),
        ]
    }

    fn let_through(&self, host: &str, is_open: bool) {
        for kind in ["chunkserver", "tasktracker"] {
            self.relays[&format!("{kind}{host}")].is_open.store(is_open, Ordering::Relaxed);
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for child in self.running.values_mut() {
            child.kill().ok();
            child.wait().ok();
        }
        if std::thread::panicking() {
            for (kind, host) in DAEMONS {
                eprintln!("==== {kind} {host} ====\n{}", self.log(kind, host));
            }
        }
    }
}

fn generate(folder: &Path) {
    fs::create_dir(folder).expect("a folder can be made");
    books::generate(&folder.join("text"), "2MiB", 7);
}

#[test]
fn jobs_run_where_daemons_listen_elsewhere_than_they_are_reached_and_who_is_not_reached_is_told() {
    let mut cluster = Cluster::start();
    let input = cluster.folder.path().join("texts");
    generate(&input);
    let text = input.join("text");
    let put = ["fs", "put", text.to_str().expect("text"), "/in/text"];
    let _ = cluster.client(&put).success();
    let expected = lines_of_counts(&count_words_of(&input));
    assert!(cluster.count_words("/out-1") == expected, "the counts differ");

    let list = || cluster.client(&["host", "list", "--format", "json"]).success().text();
    let hosts: Value = serde_json::from_str(&list()).expect("JSON");
    for (nth, host) in ["host-1", "host-2"].into_iter().enumerate() {
        let relay = &cluster.relays[&format!("tasktracker{host}")];
        assert_eq!(hosts["hosts"][nth]["address"], relay.address.to_string());
        assert_ne!(relay.address, relay.target);
        assert!(TcpStream::connect(relay.target).is_ok(), "it listens where it was told");
    }
    assert_eq!(cluster.n_unreached(), [0.0, 0.0]);
    assert!(!list().contains("unreached"), "{}", list());

    cluster.let_through("host-2", false);
    for kind in ["chunkserver", "tasktracker"] {
        cluster.kill(kind, "host-2");
        cluster.start_daemon(kind, "host-2", &[]);
    }
    let asked = [
        (["host", "list"], "host-2 is not reached by the JobTracker", "tasktracker"),
        (["fs", "report"], "host-2 is not reached by the chunk master", "chunkserver"),
    ];
    for (command, said, kind) in asked {
        let answer = || cluster.client(&command).success().text();
        let told = wait::until(said, PATIENCE, || Some(answer()).filter(|it| it.contains(said)));
        assert!(!told.contains("host-1 is not reached"), "{told}");
        let relay = &cluster.relays[&format!("{kind}host-2")];
        let remedy = format!("correct {kind}.address of host-2 in 'hosts', or let TCP");
        for part in [relay.address.to_string(), remedy.clone()] {
            assert!(told.contains(&part), "no {part:?} in {told}");
        }
        let of_daemon = || cluster.log(kind, "host-2");
        wait::until("its own log says so", PATIENCE, || {
            let log = of_daemon();
            (log.contains(&format!("does not reach this {kind}")) && log.contains(&remedy))
                .then_some(())
        });
    }
    assert_eq!(cluster.n_unreached(), [1.0, 1.0]);
    // It was registered all the same.
    let table = cluster.client(&["host", "list"]).success().text();
    assert!(
        table.lines().any(|line| line.starts_with("host-2 ") && line.contains("LIVE")),
        "{table}"
    );

    cluster.let_through("host-2", true);
    wait::until("all are reached again", PATIENCE, || {
        (cluster.n_unreached() == [0.0, 0.0]).then_some(())
    });
    for (command, said, kind) in asked {
        let told = cluster.client(&command).success().text();
        assert!(!told.contains(said), "{told}");
        let heard = || {
            cluster.log(kind, "host-2").contains(&format!("reaches this {kind} now")).then_some(())
        };
        wait::until("its log says so", PATIENCE, heard);
    }
    assert!(cluster.count_words("/out-2") == expected, "the counts differ");
}
