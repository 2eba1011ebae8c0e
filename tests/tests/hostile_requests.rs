//! Requests that nobody means well, to all daemons: nearly right ones made from the committed descriptions, and such that
//! are no HTTP. No daemon ends, fails, grows or makes others wait; no answer is another than the description says.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clock::Stopwatch;
use net::{Capability, Keyring, Role, Secret};
use rustix::process::{Resource, getrlimit, setrlimit};
use serde_json::{Value, json};
use tests::fuzz::{Dice, End, Fuzzer, Operation, exchange, fault, operations};
use tests::malformed::malformed;
use tests::{Dev, DevOptions, http, long};

const DAEMONS: [&str; 4] = ["chunkmaster", "jobtracker", "chunkserver-1", "tasktracker-1"];

/// A cluster, and who its daemons were when it began.
struct Prey {
    dev: Dev,
    pids: [i32; 4],
}

impl Prey {
    fn start(set: &str) -> Self {
        let dev = Dev::start(&DevOptions::trackers(1).set(set));
        dev.put_text("one two\n", "/in/text");
        let pids = DAEMONS.map(|daemon| dev.pid(daemon));
        Self { dev, pids }
    }

    fn address(&self, daemon: &str) -> String {
        self.dev.address_of(daemon)
    }

    /// All daemons are those that they were, and none has panicked.
    fn check_alive(&self) {
        for (daemon, pid) in DAEMONS.iter().zip(self.pids) {
            assert_eq!(self.dev.pid(daemon), pid, "{daemon} has started again");
            let alive = http::get(&self.address(daemon), "/healthz").expect("an answer");
            assert_eq!(alive.status, 200, "{daemon}");
        }
        for (log, text) in self.dev.logs() {
            assert!(!text.contains("panicked"), "{log}:\n{text}");
        }
    }

    /// Memory that each daemon holds, bytes.
    fn memory(&self) -> [u64; 4] {
        self.pids.map(|pid| {
            let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
            let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
            let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse().ok());
            kib.map(|kib: u64| kib << 10).expect("a number of KiB")
        })
    }
}

fn document(master: &str) -> Value {
    let file = format!("{}/../docs/openapi/{master}.json", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&fs::read_to_string(file).expect("it is committed")).expect("JSON")
}

/// A token for whom the operation is, mostly.
fn authorization(keyring: &Keyring, operation: &Operation<'_>, dice: &mut Dice) -> Vec<String> {
    let expires = clock::wall() + Duration::from_hours(1);
    let roles: Vec<&str> = operation.said["x-roles"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let (name, role) = match roles.first() {
        Some(&"tracker") => ("host-1", Role::Tracker),
        Some(&"server") => ("host-1", Role::Server),
        _ if dice.percent(5) => ("host-1", Role::Tracker),
        _ => ("fuzz", Role::User),
    };
    match dice.below(20) {
        0 => Vec::new(),
        1 => vec!["Authorization: Bearer nonsense".to_owned()],
        _ => {
            let token = keyring.mint(&Capability::unlimited(name, role, expires));
            vec![format!("Authorization: Bearer {token}")]
        }
    }
}

/// What is there, by the schemas and fields that name it.
fn known(prey: &Prey, master: &str, job: &str) -> BTreeMap<&'static str, Vec<Value>> {
    let cluster = http::get(&prey.address(master), "/v1/cluster").expect("an answer").body;
    let attempt = format!("{}_m_000000_0", job.replace("job", "attempt"));
    let paths = ["/", "/in", "/in/text", "/fuzz", "/fuzz/a", "/fuzz/a/b", "/out", "/.howdah/trash"];
    let paths: Vec<Value> = paths.iter().map(|path| json!(path)).collect();
    BTreeMap::from([
        ("StorePath", paths.clone()),
        ("path", paths),
        ("JobId", vec![json!(job), json!(job), json!("job_20200101_9999")]),
        ("job", vec![json!(job)]),
        ("before", vec![json!(job)]),
        ("AttemptId", vec![json!(attempt), json!("attempt_20200101_9999_m_000000_0")]),
        ("HostName", vec![json!("host-1"), json!("no-host")]),
        ("ClientId", vec![json!("fuzz-client")]),
        ("pool", vec![json!("default")]),
        ("name", vec![json!("wordcount"), json!("grep")]),
        ("input", vec![json!(["/in"]), json!(["/in/text"]), json!(["/none"])]),
        ("output", vec![json!("/out/fuzz"), json!("/fuzz/out"), json!("/in")]),
        ("wait_ms", vec![json!(0), json!(10)]),
        ("cluster", vec![cluster["cluster"].clone()]),
        ("epoch", vec![cluster["epoch"].clone()]),
        ("FileId", vec![json!(1), json!(2), json!(3)]),
    ])
}

/// Sends requests to one master, and says what was wrong with the answers.
fn fuzz(prey: &Prey, master: &str, job: &str, seed: u64) -> Vec<String> {
    let document = document(master);
    let (address, known) = (prey.address(master), known(prey, master, job));
    let secret = Secret::read_file(&prey.dev.dir().join("secret")).expect("the cluster's secret");
    let keyring = Keyring::new(&secret);
    let (mut dice, mut fuzzer) = (Dice::new(seed), Fuzzer::new(&document, seed, known));
    let mut all = operations(&document);
    // Daemons that are none confuse a master for the rest of the test, as they may: they hold the cluster's secret.
    all.sort_by_key(|operation| operation.said["x-internal"] == true);
    let per_operation = if long() { 400 } else { 40 };
    let (mut faults, mut statuses) = (BTreeMap::new(), BTreeMap::<u16, u32>::new());
    for operation in &all {
        for _ in 0..per_operation {
            let headers = authorization(&keyring, operation, &mut dice);
            let sent = fuzzer.request(operation, &headers);
            let answer = exchange(&address, &sent.bytes, End::WithTheAnswer).expect("a connection");
            let Some(answer) = answer else { continue };
            *statuses.entry(answer.status).or_default() += 1;
            if let Some(fault) = fault(&document, operation, &answer) {
                let key = (operation.method.clone(), operation.path, answer.status);
                faults.entry(key).or_insert_with(|| format!("{}\n    {fault}", sent.told));
            }
        }
    }
    println!("{master}: {statuses:?}");
    for needed in [200, 400, 401, 404, 409] {
        assert!(
            statuses.contains_key(&needed),
            "{master}: the requests reach nothing: {statuses:?}"
        );
    }
    faults.into_values().collect()
}

#[test]
fn a_path_that_is_none_is_refused_at_each_entrance_of_the_jobtracker() {
    let dev = Dev::start(&DevOptions::trackers(1));
    dev.put_text("one\n", "/in/text");
    let address = dev.address_of("jobtracker");
    let before = dev.run(&["fs", "ls", "-aR", "/in"]).success().text();
    let document = document("jobtracker");
    let takes_path = |operation: &&Operation<'_>| {
        let parameters = operation.said["parameters"].as_array();
        parameters.into_iter().flatten().any(|it| it["name"] == "path")
    };
    let all = operations(&document);
    let entrances: Vec<_> = all.iter().filter(takes_path).collect();
    assert!(entrances.len() >= 5, "of {}", all.len());
    let (part, whole) = (format!("/{}", "x".repeat(256)), "/x".repeat(2049));
    for Operation { method, path, .. } in entrances {
        for (bad, said) in [
            ("", "leading '/'"),
            ("in", "leading '/'"),
            ("//", "'..' part"),
            ("/in/", "'..' part"),
            ("/in/..", "'..' part"),
            ("/./in", "'..' part"),
            ("/in%2f..%2f..", "'..' part"),
            ("/in%00", "NUL"),
            ("/in%ff", ""),
            (&part, "too long"),
            (&whole, "too long"),
        ] {
            let target = format!("{path}?path={bad}");
            let answer = http::request(&address, method, &target, &[], "").expect("an answer");
            assert_eq!(answer.status, 400, "{method} {target}: {}", answer.text);
            assert_eq!(answer.body["type"], "invalid-request", "{method} {target}");
            assert!(answer.text.contains(said), "{method} {target}: {}", answer.text);
        }
    }
    assert_eq!(dev.run(&["fs", "ls", "-aR", "/in"]).success().text(), before);
}

#[test]
fn no_request_gets_another_answer_than_the_description_says() {
    let seed = config::env::process().seed().unwrap_or(6);
    println!("HOWDAH_SEED={seed}");
    let prey = Prey::start("cluster.anonymous_loopback=true");
    let file = prey.dev.job_file(
        "job.yaml",
        "name: n\ninput: [/in]\noutput: /out/n\nprogram: {builtin: {name: wordcount}}\n",
    );
    let job = prey.dev.run(&["job", "submit", &file]).success().text();
    let mut faults = Vec::new();
    for master in ["jobtracker", "chunkmaster"] {
        faults.extend(fuzz(&prey, master, &job, seed));
    }
    assert!(faults.is_empty(), "HOWDAH_SEED={seed}:\n{}", faults.join("\n"));
    prey.check_alive();
}

/// What a good client asks each daemon.
fn good(daemon: &str) -> &'static str {
    match daemon {
        "jobtracker" | "chunkmaster" => "/v1/cluster",
        _ => "/healthz",
    }
}

/// Times of answers to a good client, the slow ones last.
fn times(address: &str, path: &str, mut goes_on: impl FnMut(usize) -> bool) -> Vec<Duration> {
    let mut times = Vec::new();
    while goes_on(times.len()) {
        let watch = Stopwatch::start();
        let answer = http::get(address, path).expect("a good client is answered");
        assert_eq!(answer.status, 200, "{path}: {}", answer.text);
        times.push(watch.elapsed());
    }
    times.sort();
    times
}

fn p99(times: &[Duration]) -> Duration {
    times[times.len() * 99 / 100]
}

/// A good client's answers may take so long in any case: what hostile clients need of this machine's processors is theirs.
const FLOOR: Duration = Duration::from_millis(150);
/// Memory that a daemon may gain, bytes.
const GROWTH_MAX: u64 = 64 << 20;

fn routes_of(daemon: &str) -> Vec<&'static str> {
    let routes = match daemon {
        "jobtracker" => jobtracker::access(),
        "chunkmaster" => chunkstore::master::access(),
        "chunkserver-1" => chunkstore::server::access(),
        _ => tasktracker::access(),
    };
    routes.into_iter().map(|(route, _)| route).collect()
}

#[test]
fn what_is_no_http_ends_no_daemon_fills_none_and_makes_nobody_wait() {
    let n = if long() { 10_000 } else { 1000 };
    let prey = Prey::start("cluster.anonymous_loopback=true");
    let addresses = DAEMONS.map(|daemon| prey.address(daemon));
    let send = |nth: usize, seed: u64, n: usize| {
        let (mut dice, routes) = (Dice::new(seed + nth as u64), routes_of(DAEMONS[nth]));
        for _ in 0..n {
            let bytes = malformed(&mut dice, &routes);
            let answer = exchange(&addresses[nth], &bytes, End::AtOnce).expect("a connection");
            if let Some(answer) = answer {
                let is_fine = answer.status < 500 || [501, 503, 505, 507].contains(&answer.status);
                let sent = String::from_utf8_lossy(&bytes[..bytes.len().min(300)]).into_owned();
                assert!(is_fine, "{}: {} to {sent:?}", DAEMONS[nth], answer.status);
            }
        }
    };
    // What each code path keeps for ever is there afterwards.
    (0..4).for_each(|nth| send(nth, 1, 200));
    let alone = DAEMONS.map(|daemon| p99(&times(&prey.address(daemon), good(daemon), |n| n < 300)));
    let (before, is_over) = (prey.memory(), AtomicBool::new(false));
    let beside = std::thread::scope(|scope| {
        let good_clients = DAEMONS.map(|daemon| {
            let goes_on = |n| n < 100 || !is_over.load(Ordering::Relaxed);
            let address = prey.address(daemon);
            scope.spawn(move || p99(&times(&address, good(daemon), goes_on)))
        });
        let hostile = [0, 1, 2, 3].map(|nth| scope.spawn(move || send(nth, 1000, n)));
        let ended = hostile.map(std::thread::ScopedJoinHandle::join);
        is_over.store(true, Ordering::Relaxed);
        ended.into_iter().for_each(|it| it.expect("no answer is a failure"));
        good_clients.map(|it| it.join().expect("a good client is answered"))
    });
    let after = prey.memory();
    for (nth, daemon) in DAEMONS.iter().enumerate() {
        let growth = after[nth].saturating_sub(before[nth]);
        println!(
            "{daemon}: p99 {:?} alone, {:?} beside; grew by {} KiB",
            alone[nth],
            beside[nth],
            growth >> 10
        );
        assert!(growth <= GROWTH_MAX, "{daemon} grew by {growth} bytes");
        let most = (alone[nth] * 2).max(FLOOR);
        assert!(beside[nth] <= most, "{daemon}: {:?} beside, {:?} alone", beside[nth], alone[nth]);
    }
    prey.check_alive();
    let counted = prey.dev.run(&["fs", "cat", "/in/text"]).success().text();
    assert_eq!(counted, "one two");
}

/// As many connections as the test needs at both ends are allowed to this process.
fn allow_descriptors(n: u64) {
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current.is_some_and(|current| current < n) {
        limit.current = Some(limit.maximum.map_or(n, |most| most.min(n)));
        setrlimit(Resource::Nofile, limit).expect("a limit may be raised to its maximum");
    }
}

/// Connections whose request never gets whole: of a head, or of a body.
fn slow_clients(address: &str, n: usize) -> Vec<TcpStream> {
    let begin = |nth: usize| {
        let mut stream = TcpStream::connect(address).expect("a connection");
        let bytes = match nth % 3 {
            0 => "GET /v1/clu".to_owned(),
            1 => "POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 5000\r\n\r\n{"
                .to_owned(),
            _ => "GET /v1/cluster HTTP/1.1\r\nHost: localhost\r\nX-Slow: ".to_owned(),
        };
        stream.write_all(bytes.as_bytes()).expect("a few bytes");
        stream
    };
    (0..n).map(begin).collect()
}

#[test]
fn a_thousand_slow_clients_hold_up_no_heartbeat() {
    let n = if long() { 1000 } else { 200 };
    allow_descriptors(4096);
    let prey = Prey::start("jobtracker.heartbeat_interval=500ms");
    let masters = ["jobtracker", "chunkmaster"].map(|master| prey.address(master));
    let mut slow: Vec<TcpStream> = masters.iter().flat_map(|it| slow_clients(it, n)).collect();
    let watch = Stopwatch::start();
    let (mut oldest, mut asked) = (0, 0);
    while watch.elapsed() < Duration::from_secs(20) {
        for stream in &mut slow {
            // Those that were cut off are fewer, and no error.
            let _ = stream.write_all(b" ");
        }
        let hosts = prey.dev.run(&["host", "list", "--format", "json"]).success().text();
        let hosts: Value = serde_json::from_str(&hosts).expect("JSON");
        let host = &hosts["hosts"][0];
        assert_eq!(host["state"], "LIVE", "{host}");
        oldest = oldest.max(host["last_heartbeat_ms"].as_u64().expect("milliseconds"));
        asked += 1;
    }
    println!(
        "{n} slow clients at each master: the oldest heartbeat of {asked} looks was {oldest} ms old"
    );
    assert!(oldest < 5000, "a heartbeat is {oldest} ms old");
    let file = prey.dev.job_file(
        "job.yaml",
        "name: n\ninput: [/in]\noutput: /out/n\nprogram: {builtin: {name: wordcount}}\n",
    );
    let _ = prey.dev.run(&["job", "submit", &file, "--wait"]).success();
    drop(slow);
    prey.check_alive();
}
