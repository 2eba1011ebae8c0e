//! Who may call what: every route of every daemon, as the routers list them, by every kind of caller. A route that has
//! no row here fails.

use std::collections::BTreeSet;

use ids::UnixMillis;
use net::{Access, Capability, Grant, Keyring, Role, Secret};
use tests::{Dev, DevOptions, http};

/// Callers, those who are let in nowhere or in few places first, so that what they are refused is still there.
const CALLERS: [&str; 9] =
    ["nobody", "expired", "forged", "task", "server", "tracker", "vic", "ben", "ann"];
/// And the last ones: `ada` is an admin, `master` the JobTracker.
const LAST: [&str; 2] = ["ada", "master"];

/// People who only look may do it.
const PEOPLE: &str = "vic ben ann ada master";
/// Whoever has a client of the chunk store, but a task for its own files alone.
const CLIENTS: &str = "tracker vic ben ann ada master";
/// The owner of what it is about, and who may do all. A TaskTracker is trusted with files.
const OWNER: &str = "ann ada master";
const OWNER_OF_FILE: &str = "tracker ann ada master";
/// Who has a right somewhere, which the lease then says.
const HOLDERS: &str = "task tracker vic ben ann ada master";
/// Whoever may do all.
const ADMINS: &str = "ada master";
const EVERYBODY: &str = "task server tracker vic ben ann ada master";
const NOBODY: &str = "";

/// A request: its method, the route, the path where that differs, the body, and who is let in. `JOB` is a job of ann's,
/// which is paused; files below `/ann` are ann's.
type Row = (&'static str, &'static str, &'static str, &'static str, &'static str);

const CHUNKMASTER: &[Row] = &[
    ("GET", "/v1/cluster", "", "", EVERYBODY),
    (
        "POST",
        "/v1/files/create",
        "",
        r#"{"stamp": STAMP, "path": "/ann/created", "if_writer_dies": "remove"}"#,
        OWNER_OF_FILE,
    ),
    ("POST", "/v1/files/append", "", r#"{"stamp": STAMP, "path": "/ann/append"}"#, OWNER_OF_FILE),
    ("POST", "/v1/files/allocate", "", r#"{"stamp": STAMP, "file": 999999}"#, HOLDERS),
    ("POST", "/v1/files/close", "", r#"{"stamp": STAMP, "file": 999999}"#, HOLDERS),
    ("POST", "/v1/files/abandon", "", r#"{"stamp": STAMP, "file": 999999}"#, HOLDERS),
    ("POST", "/v1/files/renew", "", r#"{"client": "client-1", "files": [999999]}"#, HOLDERS),
    ("POST", "/v1/files/stat", "", r#"{"path": "/ann/append"}"#, CLIENTS),
    ("POST", "/v1/files/list", "", r#"{"path": "/ann", "limit": 10}"#, CLIENTS),
    ("POST", "/v1/files/count", "", r#"{"path": "/ann"}"#, CLIENTS),
    ("POST", "/v1/files/locate", "", r#"{"path": "/ann/append", "offset": 0}"#, CLIENTS),
    // Each path is answered for itself.
    ("POST", "/v1/files/locate_many", "", r#"{"paths": ["/ann/append"]}"#, HOLDERS),
    ("POST", "/v1/files/mkdir", "", r#"{"stamp": STAMP, "path": "/ann/made"}"#, OWNER_OF_FILE),
    (
        "POST",
        "/v1/files/rename",
        "",
        r#"{"stamp": STAMP, "from": "/ann/move", "to": "/moved"}"#,
        OWNER_OF_FILE,
    ),
    (
        "POST",
        "/v1/files/copy",
        "",
        r#"{"stamp": STAMP, "from": "/ann/append", "to": "/ann/copy"}"#,
        OWNER_OF_FILE,
    ),
    (
        "POST",
        "/v1/files/concat",
        "",
        r#"{"stamp": STAMP, "parts": ["/ann/part"], "to": "/whole"}"#,
        OWNER_OF_FILE,
    ),
    (
        "POST",
        "/v1/files/set_replication",
        "",
        r#"{"stamp": STAMP, "path": "/ann/append", "replication": 1}"#,
        OWNER_OF_FILE,
    ),
    (
        "POST",
        "/v1/files/set_owner",
        "",
        r#"{"stamp": STAMP, "path": "/ann/given", "owner": "ann"}"#,
        "ada master",
    ),
    ("POST", "/v1/files/may_make", "", r#"{"path": "/ann/x"}"#, OWNER_OF_FILE),
    ("POST", "/v1/files/delete", "", r#"{"stamp": STAMP, "path": "/ann/delete"}"#, OWNER_OF_FILE),
    (
        "POST",
        "/v1/files/publish",
        "",
        r#"{"stamp": STAMP, "staging": "/.howdah/staging/job_20200101_0001", "winners": [], "target": "/ann/out", "marker": "_SUCCESS"}"#,
        "master",
    ),
    ("POST", "/v1/files/fsck", "", r#"{"path": "/", "limit": 1}"#, PEOPLE),
    ("POST", "/v1/logs/create", "", r#"{"stamp": STAMP, "path": "/ann/log-2"}"#, OWNER_OF_FILE),
    ("POST", "/v1/logs/open", "", r#"{"path": "/ann/log"}"#, OWNER_OF_FILE),
    ("POST", "/v1/logs/begin", "", "{}", "server"),
    ("POST", "/v1/logs/end", "", "{}", "server"),
    ("POST", "/v1/servers/report", "", "{}", PEOPLE),
    (
        "POST",
        "/v1/servers/drain",
        "",
        r#"{"stamp": STAMP, "host": "no-host", "stop": true}"#,
        ADMINS,
    ),
    ("POST", "/v1/servers/delete_orphans", "", r#"{"host": "no-host"}"#, ADMINS),
    ("POST", "/v1/servers/forget", "", r#"{"stamp": STAMP, "host": "no-host"}"#, ADMINS),
    ("POST", "/v1/servers/register", "", "{}", "server"),
    ("POST", "/v1/servers/heartbeat", "", "{}", "server"),
    ("POST", "/v1/servers/reach", "", "{}", "server"),
    ("POST", "/v1/servers/broken", "", "{}", "server"),
    ("GET", "/v1/prometheus/targets", "", "", PEOPLE),
    ("GET", "/v1/openapi.json", "", "", EVERYBODY),
];

const CHUNKSERVER: &[Row] = &[
    ("GET", "/v1/chunks/{chunk}", "/v1/chunks/0000000000000001?version=1", "", NOBODY),
    ("PUT", "/v1/chunks/{chunk}", "/v1/chunks/0000000000000001?version=1", "", NOBODY),
    // Servers settle the ends of logs among themselves.
    (
        "POST",
        "/v1/chunks/{chunk}/freeze",
        "/v1/chunks/00000000000000ff/freeze?version=1",
        "",
        "server",
    ),
    ("POST", "/v1/chunks/{chunk}/seal", "/v1/chunks/00000000000000ff/seal?version=1", "", "server"),
    (
        "POST",
        "/v1/chunks/{chunk}/suspect",
        "/v1/chunks/0000000000000001/suspect?version=1",
        "",
        NOBODY,
    ),
    (
        "GET",
        "/v1/chunks/{chunk}/records",
        "/v1/chunks/0000000000000001/records?version=1",
        "",
        NOBODY,
    ),
    (
        "POST",
        "/v1/chunks/{chunk}/records",
        "/v1/chunks/0000000000000001/records?version=1",
        "",
        NOBODY,
    ),
    (
        "POST",
        "/v1/chunks/{chunk}/follow",
        "/v1/chunks/00000000000000ff/follow?version=1",
        "",
        "server",
    ),
    // The name of a socket that only this host's processes reach, and where a token is asked for again.
    ("GET", "/v1/descriptor", "", "", "task"),
    // It costs other daemons work.
    ("GET", "/v1/probe", "/v1/probe?bytes=1", "", ADMINS),
    ("POST", "/v1/probe", "", r#"{"addresses": []}"#, ADMINS),
    ("GET", "/v1/reach", "", "", "master"),
];

const JOBTRACKER: &[Row] = &[
    ("GET", "/v1/cluster", "", "", EVERYBODY),
    ("GET", "/v1/jobs", "", "", PEOPLE),
    (
        "POST",
        "/v1/jobs",
        "",
        r#"{"name": "n", "input": ["/none"], "output": "/ann/out", "program": {"builtin": {"name": "wordcount"}}}"#,
        "ben ann ada master",
    ),
    ("GET", "/v1/jobs/{id}", "/v1/jobs/JOB", "", PEOPLE),
    ("POST", "/v1/jobs/{id}/pause", "/v1/jobs/JOB/pause", "{}", OWNER),
    ("POST", "/v1/jobs/{id}/resume", "/v1/jobs/OTHER/resume", "{}", OWNER),
    ("POST", "/v1/jobs/{id}/priority", "/v1/jobs/JOB/priority", r#"{"priority": "high"}"#, OWNER),
    ("GET", "/v1/jobs/{id}/counters", "/v1/jobs/JOB/counters", "", PEOPLE),
    ("GET", "/v1/jobs/{id}/attempts", "/v1/jobs/JOB/attempts", "", PEOPLE),
    (
        "POST",
        "/v1/jobs/{id}/attempts/{attempt}/kill",
        "/v1/jobs/JOB/attempts/ATTEMPT/kill",
        "{}",
        OWNER,
    ),
    (
        "POST",
        "/v1/jobs/{id}/attempts/{attempt}/fail",
        "/v1/jobs/JOB/attempts/ATTEMPT/fail",
        "{}",
        OWNER,
    ),
    ("GET", "/v1/jobs/{id}/explain", "/v1/jobs/JOB/explain", "", PEOPLE),
    ("POST", "/v1/jobs/{id}/kill", "/v1/jobs/OTHER/kill", "{}", OWNER),
    ("GET", "/v1/history", "", "", PEOPLE),
    ("GET", "/v1/history/{id}", "/v1/history/JOB", "", PEOPLE),
    ("GET", "/v1/history/{id}/attempts", "/v1/history/JOB/attempts", "", PEOPLE),
    (
        "GET",
        "/v1/history/{id}/attempts/{attempt}/log",
        "/v1/history/JOB/attempts/ATTEMPT/log",
        "",
        PEOPLE,
    ),
    ("GET", "/v1/hosts", "", "", PEOPLE),
    ("GET", "/v1/hosts/{host}", "/v1/hosts/host-1", "", PEOPLE),
    ("POST", "/v1/hosts/{host}/drain", "/v1/hosts/no-host/drain", "{}", ADMINS),
    ("POST", "/v1/hosts/{host}/undrain", "/v1/hosts/no-host/undrain", "{}", ADMINS),
    ("POST", "/v1/hosts/{host}/forgive", "/v1/hosts/no-host/forgive", "{}", ADMINS),
    // What would go on for hours is asked of a job that there is none of.
    ("GET", "/v1/events", "/v1/events?job=none", "", PEOPLE),
    (
        "GET",
        "/v1/jobs/{id}/attempts/{attempt}/log",
        "/v1/jobs/JOB/attempts/ATTEMPT/log",
        "",
        PEOPLE,
    ),
    ("GET", "/v1/jobs/{id}/partitions", "/v1/jobs/JOB/partitions", "", PEOPLE),
    ("GET", "/v1/jobs/{id}/timeline", "/v1/jobs/JOB/timeline", "", PEOPLE),
    ("GET", "/v1/store/report", "", "", PEOPLE),
    ("GET", "/v1/files", "/v1/files?path=/ann", "", PEOPLE),
    ("GET", "/v1/files/stat", "/v1/files/stat?path=/ann/in.txt", "", PEOPLE),
    ("GET", "/v1/files/content", "/v1/files/content?path=/ann/in.txt", "", PEOPLE),
    ("PUT", "/v1/files/content", "/v1/files/content?path=/ann/uploaded", "x", OWNER),
    ("DELETE", "/v1/files/content", "/v1/files/content?path=/ann/uploaded", "", OWNER),
    ("GET", "/v1/pools", "", "", PEOPLE),
    ("POST", "/v1/pools/{pool}/pause", "/v1/pools/none/pause", "{}", ADMINS),
    ("POST", "/v1/pools/{pool}/resume", "/v1/pools/none/resume", "{}", ADMINS),
    ("POST", "/v1/pools/{pool}/kill", "/v1/pools/none/kill", "{}", ADMINS),
    ("GET", "/v1/prometheus/targets", "", "", PEOPLE),
    ("GET", "/v1/openapi.json", "", "", EVERYBODY),
    ("POST", "/v1/trackers/register", "", "{}", "tracker"),
    ("POST", "/v1/trackers/heartbeat", "", "{}", "tracker"),
    ("POST", "/v1/trackers/reach", "", "{}", "tracker"),
];

const TASKTRACKER: &[Row] = &[
    ("GET", "/v1/shuffle/{job}/{partition}", "/v1/shuffle/JOB/0?maps=0.0", "", NOBODY),
    // Others ask the JobTracker, which knows whose job it is.
    ("GET", "/v1/attempts/{attempt}/log", "/v1/attempts/ATTEMPT/log", "", ADMINS),
    // It costs other daemons work.
    ("GET", "/v1/probe", "/v1/probe?bytes=1", "", ADMINS),
    ("POST", "/v1/probe", "", r#"{"addresses": []}"#, ADMINS),
    ("GET", "/v1/reach", "", "", "master"),
];

/// The page itself, which holds nothing of the cluster: it asks by the routes above.
const OPEN: [&str; 2] = ["/", "/web/{file}"];

/// Methods that a path may take.
const METHODS: [&str; 5] = ["GET", "POST", "PUT", "DELETE", "PATCH"];

/// What is true of one cluster's requests.
struct Scene {
    dev: Dev,
    keyring: Keyring,
    job: String,
    other: String,
    sequence: u64,
}

impl Scene {
    fn new() -> Self {
        const USERS: &str =
            "users=[{name: ann}, {name: ben}, {name: vic, role: viewer}, {name: ada, role: admin}]";
        let options = DevOptions::trackers(1).set("cluster.anonymous_loopback=false").set(USERS);
        let dev = Dev::start(&options);
        let secret = Secret::read_file(&dev.dir().join("secret")).expect("the cluster's secret");
        let keyring = Keyring::new(&secret);
        let mut scene =
            Self { dev, keyring, job: String::new(), other: String::new(), sequence: 0 };
        for (path, text) in [("/ann/in.txt", "a b\n"), ("/ann/append", "a"), ("/ann/part", "b")] {
            scene.dev.put_text(text, path);
        }
        for path in ["/ann/move", "/ann/delete", "/ann/given"] {
            let _ = scene.dev.run(&["fs", "touch", path]).success();
        }
        let _ = scene.dev.run(&["fs", "touch", "--log", "/ann/log"]).success();
        let _ = scene.dev.run(&["fs", "chown", "-R", "ann", "/ann"]).success();
        let _ = scene.dev.run(&["host", "drain", "host-1"]).success();
        scene.job = scene.submit("/ann/out-1");
        scene.other = scene.submit("/ann/out-2");
        scene
    }

    /// A job of ann's, which waits for a host.
    fn submit(&mut self, output: &str) -> String {
        let job = format!(
            "{{\"name\": \"n\", \"input\": [\"/ann/in.txt\"], \"output\": \"{output}\", \
             \"program\": {{\"builtin\": {{\"name\": \"wordcount\"}}}}}}"
        );
        let bearer = self.header_of("ann").expect("ann has a token");
        let answer = http::request(&self.dev.jobtracker(), "POST", "/v1/jobs", &[&bearer], &job);
        let answer = answer.expect("the JobTracker answers");
        assert_eq!(answer.status, 201, "{}", answer.text);
        answer.body["id"].as_str().expect("its id").to_owned()
    }

    fn header_of(&self, caller: &str) -> Option<String> {
        let (now, hour) = (clock::wall(), std::time::Duration::from_hours(1));
        let token = match caller {
            "nobody" => return None,
            "expired" => {
                let gone = Capability::unlimited("ada", Role::User, UnixMillis(now.0 - 1));
                self.keyring.mint_for_user(&gone, UnixMillis(now.0 - 1000))
            }
            "forged" => {
                let ada = Capability::unlimited("ada", Role::User, now + hour);
                Keyring::new(&Secret::random()).mint_for_user(&ada, now)
            }
            "task" => self.keyring.mint(&Capability {
                subject: "attempt_20200101_0009_m_000000_0".to_owned(),
                role: Role::Task,
                grants: vec![
                    Grant::read("/other/in.txt"),
                    Grant::all(
                        "/.howdah/staging/job_20200101_0009/attempt_20200101_0009_m_000000_0",
                    ),
                    Grant::read("shuffle/job_20200101_0009"),
                ],
                expires: now + hour,
            }),
            "server" => self.keyring.mint(&Capability {
                subject: "host-1".to_owned(),
                role: Role::Server,
                grants: vec![Grant::all("/"), Grant::all("chunk/00000000000000ff")],
                expires: now + hour,
            }),
            "tracker" => self.of_daemon("host-1", Role::Tracker),
            "master" => self.of_daemon("jobtracker", Role::Master),
            user => self
                .keyring
                .mint_for_user(&Capability::unlimited(user, Role::User, now + hour), now),
        };
        Some(format!("Authorization: Bearer {token}"))
    }

    fn of_daemon(&self, name: &str, role: Role) -> String {
        let expires = clock::wall() + std::time::Duration::from_hours(1);
        self.keyring.mint(&Capability::unlimited(name, role, expires))
    }

    fn ask(
        &mut self,
        address: &str,
        caller: &str,
        (method, route, path, body, _): Row,
    ) -> (u16, String) {
        let path = if path.is_empty() { route } else { path };
        let attempt = format!("{}_m_000000_0", self.job.replace("job", "attempt"));
        let path = path
            .replace("JOB", &self.job)
            .replace("OTHER", &self.other)
            .replace("ATTEMPT", &attempt);
        self.sequence += 1;
        let stamp = format!(
            "{{\"client\": \"access-test\", \"slot\": 0, \"sequence\": {}}}",
            self.sequence
        );
        let body = body.replace("STAMP", &stamp);
        let header = self.header_of(caller);
        let headers: Vec<&str> = header.as_deref().into_iter().collect();
        let answer = http::request(address, method, &path, &headers, &body).expect("an answer");
        (answer.status, answer.text)
    }

    /// Compares what each row says with what the daemon does, and the rows with the routes.
    fn check(&mut self, daemon: &str, routes: &[(&str, Access)], rows: &[Row]) {
        let address = self.dev.address_of(daemon);
        let mut wrong = Vec::new();
        for row in rows {
            let (method, route, .., who) = *row;
            let who: BTreeSet<&str> = who.split_whitespace().collect();
            let is_in = |caller: &&str| who.contains(caller);
            let all = CALLERS.into_iter().chain(LAST);
            let refused = all.clone().filter(|caller| !is_in(caller));
            for caller in refused.chain(all.clone().filter(is_in)) {
                let (status, text) = self.ask(&address, caller, *row);
                let unknown = ["nobody", "expired", "forged"].contains(&caller);
                let expected = match (who.contains(caller), unknown) {
                    (true, _) => !matches!(status, 401 | 403 | 405 | 500..),
                    (false, true) => status == 401,
                    (false, false) => status == 403,
                };
                if !expected {
                    wrong.push(format!("{method} {route} by {caller}: {status} {text}"));
                }
            }
        }
        assert!(wrong.is_empty(), "{daemon}:\n{}", wrong.join("\n"));
        let known: BTreeSet<(&str, &str)> = rows.iter().map(|row| (row.0, row.1)).collect();
        let mut real = BTreeSet::new();
        for (route, access) in routes {
            if OPEN.contains(route) {
                assert!(matches!(access, Access::Public), "{route} is the page");
                continue;
            }
            assert!(matches!(access, Access::Roles(_)), "{route} is open to all");
            for method in METHODS {
                let path = route.replace(['{', '}'], "");
                let answer = http::request(&address, method, &path, &[], "{}").expect("an answer");
                if answer.status != 405 {
                    assert_eq!(answer.status, 401, "{method} {route}: {}", answer.text);
                    real.insert((method, *route));
                }
            }
        }
        assert_eq!(known, real, "{daemon}: each route has a row");
        let Some(document) = document_of(daemon) else { return };
        let paths = document["paths"].as_object().expect("paths");
        let described: BTreeSet<(String, &str)> = paths
            .iter()
            .flat_map(|(path, item)| {
                let methods = item.as_object().expect("methods").keys();
                methods.map(move |method| (method.to_ascii_uppercase(), path.as_str()))
            })
            .filter(|(_, path)| !OPEN.contains(path))
            .collect();
        let real = real.into_iter().map(|(method, route)| (method.to_owned(), route)).collect();
        assert_eq!(described, real, "{daemon}: its document describes each route");
    }
}

/// The description of a master's interface.
fn document_of(daemon: &str) -> Option<serde_json::Value> {
    let text = match daemon {
        "jobtracker" => jobtracker::openapi(),
        "chunkmaster" => chunkstore::master::openapi(),
        _ => return None,
    };
    Some(serde_json::from_str(text).expect("it is JSON"))
}

#[test]
fn every_route_lets_in_whom_it_is_meant_for_and_nobody_else() {
    let mut scene = Scene::new();
    scene.check("tasktracker-1", &tasktracker::access(), TASKTRACKER);
    scene.check("chunkmaster", &chunkstore::master::access(), CHUNKMASTER);
    scene.check("jobtracker", &jobtracker::access(), JOBTRACKER);
    // Last: it makes a replica of a chunk that the chunk master never gave out, which then takes its journal for an old one.
    scene.check("chunkserver-1", &chunkstore::server::access(), CHUNKSERVER);
    for daemon in ["chunkserver-1", "tasktracker-1", "chunkmaster", "jobtracker"] {
        for path in ["/healthz", "/readyz", "/metrics"] {
            let answer = http::get(&scene.dev.address_of(daemon), path).expect("an answer");
            assert!(![401, 403].contains(&answer.status), "{daemon} {path}: {}", answer.status);
            assert!(!answer.text.contains("/ann"), "it tells nothing of files");
        }
    }
}
