//! This crate's parts against the real system: over HTTP, with signals, and in processes that
//! abort.

use std::net::TcpListener;
use std::process::{Command, Output};
use std::time::Duration;

use net::{Client, ClientSettings, Guard, Keyring, Secret, reqwest};

use crate::{
    Health, LogFormat, Metrics, Shutdown, VERSION, install_logging, install_panic_hook, routes,
};

/// No test waits longer than this.
const DEADLINE: Duration = Duration::from_secs(30);

/// A daemon with only these routes; returns its address.
fn serve(health: &Health, shutdown: &Shutdown) -> String {
    let guard = Guard { keyring: Keyring::new(&Secret::random()), anonymous: None };
    let router = routes::<()>(health.clone(), Metrics::install(&[])).into_router((), guard);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let shutdown = shutdown.clone();
    tokio::spawn(net::serve(listener, router, async move { shutdown.wait().await }));
    format!("http://{address}")
}

async fn get(url: String) -> (u16, String, String) {
    let url = url.strip_prefix("http://").unwrap();
    let (address, path) = url.split_at(url.find('/').unwrap());
    let client = Client::new(ClientSettings {
        connect_timeout: DEADLINE,
        request_timeout: DEADLINE,
        silence_timeout: DEADLINE,
        tls: None,
    });
    let request = client.request(reqwest::Method::GET, address, path).send();
    let reply = tokio::time::timeout(DEADLINE, request).await.expect("a reply in time").unwrap();
    let kind = reply.headers()["content-type"].to_str().unwrap().to_owned();
    (reply.status().as_u16(), kind, reply.text().await.unwrap())
}

#[tokio::test]
async fn a_daemon_lives_before_it_is_ready_and_says_why_it_is_not() {
    let (health, shutdown) = (Health::default(), Shutdown::default());
    let base = serve(&health, &shutdown);
    assert_eq!(get(format!("{base}/healthz")).await.0, 200);
    health.not_ready("no word from the chunk master");
    let (code, kind, body) = get(format!("{base}/readyz")).await;
    assert_eq!((code, kind.as_str()), (503, "application/problem+json"));
    assert!(body.contains("no word from the chunk master") && body.contains("not-ready"), "{body}");
    health.ready();
    assert_eq!(get(format!("{base}/readyz")).await.0, 200);
    shutdown.trigger();
}

#[tokio::test]
async fn metrics_are_served_as_prometheus_reads_them() {
    let shutdown = Shutdown::default();
    let base = serve(&Health::default(), &shutdown);
    let (code, kind, body) = get(format!("{base}/metrics")).await;
    assert_eq!((code, kind.as_str()), (200, "text/plain; version=0.0.4; charset=utf-8"));
    assert!(body.contains("# TYPE process_open_fds gauge"), "{body}");
    shutdown.trigger();
}

#[tokio::test]
async fn everybody_hears_of_a_signal_also_who_asks_later() {
    use rustix::process::{Signal, getpid, kill_process};
    for signal in [Signal::TERM, Signal::INT] {
        let shutdown = Shutdown::on_signals().unwrap();
        assert!(!shutdown.is_triggered());
        let waiting = shutdown.clone();
        let waiter = tokio::spawn(async move { waiting.wait().await });
        kill_process(getpid(), signal).unwrap();
        tokio::time::timeout(DEADLINE, waiter).await.expect("the signal is heard in time").unwrap();
        shutdown.wait().await;
        assert!(shutdown.is_triggered());
    }
}

/// Runs one test of this binary in a process of its own; `marker` matches no test, and tells the
/// process that it is the child.
fn run_child(name: &str, marker: &str) -> Output {
    let this = std::env::current_exe().unwrap();
    Command::new(this).args(["--exact", "--nocapture", name, marker]).output().unwrap()
}

fn is_child(marker: &str) -> bool {
    std::env::args().any(|argument| argument == marker)
}

#[test]
fn a_panic_names_version_thread_and_place_and_aborts() {
    const CHILD: &str = "child-that-panics";
    if is_child(CHILD) {
        install_panic_hook();
        let thread = std::thread::Builder::new().name("chunk keeper".to_owned());
        let _aborted = thread.spawn(|| panic!("a broken invariant")).unwrap().join();
        println!("survived");
        return;
    }
    let child = run_child("tests::a_panic_names_version_thread_and_place_and_aborts", CHILD);
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&child.status), Some(6), "SIGABRT");
    assert!(!String::from_utf8_lossy(&child.stdout).contains("survived"));
    let report = String::from_utf8_lossy(&child.stderr);
    for part in [VERSION, "chunk keeper", "a broken invariant", "tests.rs", "panic"] {
        assert!(report.contains(part), "no {part} in {report}");
    }
}

#[test]
fn json_logs_are_one_object_a_line_on_stderr_and_filtered() {
    const CHILD: &str = "child-that-logs";
    if is_child(CHILD) {
        install_logging(LogFormat::Json, "info").unwrap();
        tracing::info!(job = "job_1_0001", "accepted");
        tracing::debug!("not asked for");
        assert!(install_logging(LogFormat::Text, "info").is_err(), "installed twice");
        return;
    }
    let child = run_child("tests::json_logs_are_one_object_a_line_on_stderr_and_filtered", CHILD);
    assert!(child.status.success());
    let log = String::from_utf8(child.stderr).unwrap();
    let lines: Vec<&str> = log.lines().collect();
    assert_eq!(lines.len(), 1, "{log}");
    let line: serde_json::Value = serde_json::from_str(lines[0]).unwrap();
    assert_eq!((&line["level"], &line["message"]), (&"INFO".into(), &"accepted".into()));
    assert_eq!(line["job"], "job_1_0001");
}
