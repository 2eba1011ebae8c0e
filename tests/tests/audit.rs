//! The audit log of a real cluster, and that no daemon tells a secret or a token to whom it is not for.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tests::cluster::PATIENCE;
use tests::{Dev, DevOptions, http, wait};

/// How every token begins: `{"subject"` in base64.
const TOKEN_HEAD: &str = "eyJzdWJqZWN0";

fn entries(folder: &Path, daemon: &str) -> Vec<Value> {
    let text = fs::read_to_string(folder.join(format!("{daemon}.audit.jsonl"))).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).expect(line)).collect()
}

fn by(dev: &Dev, user: &str, address: &str, path: &str, body: &str) -> http::Response {
    let token = dev.run(&["token", "--user", user]).success().text();
    let headers =
        [format!("Authorization: Bearer {token}"), "X-Request-Id: 0123456789abcdef".to_owned()];
    let headers = [headers[0].as_str(), headers[1].as_str()];
    http::request(address, "POST", path, &headers, body).expect("an answer")
}

fn await_entry(folder: &Path, daemon: &str, is_it: impl Fn(&Value) -> bool) -> Value {
    let found = || entries(folder, daemon).into_iter().find(|entry| is_it(entry));
    wait::until("the audit log has the entry", PATIENCE, found)
}

#[test]
fn each_change_is_told_with_who_what_from_where_and_what_became_of_it() {
    let dev = Dev::to_be_started();
    let folder = dev.scratch().join("audit");
    let mut dev = dev;
    dev.start_again(
        &DevOptions::trackers(1)
            .set("cluster.anonymous_loopback=false")
            .set("users=[{name: ann}, {name: ben}, {name: vic, role: viewer}]")
            .set(&format!("log.audit_dir={}", folder.display())),
    );
    let chunkmaster = dev.address_of("chunkmaster");
    let mkdir = |n: u32, path: &str| {
        format!(
            "{{\"stamp\": {{\"client\": \"audit-test\", \"slot\": 0, \"sequence\": {n}}}, \"path\": \"{path}\"}}"
        )
    };
    assert_eq!(by(&dev, "ann", &chunkmaster, "/v1/files/mkdir", &mkdir(1, "/ann")).status, 200);
    let stat = by(&dev, "ann", &chunkmaster, "/v1/files/stat", r#"{"path": "/ann"}"#);
    assert_eq!(stat.status, 200);
    let made = await_entry(&folder, "chunkmaster", |entry| entry["changes"][0] == "/ann");
    for (key, value) in [
        ("user", Value::from("ann")),
        ("standing", "user".into()),
        ("from", "127.0.0.1".into()),
        ("method", "POST".into()),
        ("request", "/v1/files/mkdir".into()),
        ("status", 200.into()),
        ("request_id", "0123456789abcdef".into()),
    ] {
        assert_eq!(made[key], value, "{key} of {made}");
    }
    assert!(made["at"].is_u64(), "{made}");
    let refused = by(&dev, "ben", &chunkmaster, "/v1/files/delete", &mkdir(1, "/ann"));
    assert_eq!(refused.status, 403);
    let refused = await_entry(&folder, "chunkmaster", |entry| entry["user"] == "ben");
    assert_eq!((&refused["status"], &refused["changes"][0]), (&403.into(), &"/ann".into()));
    assert_eq!(by(&dev, "vic", &chunkmaster, "/v1/files/mkdir", &mkdir(2, "/vic")).status, 403);
    let viewer = await_entry(&folder, "chunkmaster", |entry| entry["user"] == "vic");
    assert_eq!((&viewer["status"], &viewer["standing"]), (&403.into(), &"viewer".into()));
    let looked = entries(&folder, "chunkmaster");
    assert!(looked.iter().all(|entry| entry["request"] != "/v1/files/stat"), "{looked:?}");

    dev.put_text("a b\n", "/in/in.txt");
    let text = "name: n\ninput: [/in]\noutput: /out\nprogram: {builtin: {name: wordcount}}\n";
    let id = dev.run(&["job", "submit", "--wait", &dev.job_file("job", text)]).success().text();
    let submitted = await_entry(&folder, "jobtracker", |entry| entry["request"] == "/v1/jobs");
    assert_eq!(submitted["made"], format!("/v1/jobs/{id}"), "{submitted}");
    assert_eq!((&submitted["user"], &submitted["changes"][0]), (&"howdah".into(), &"/out".into()));
    let published =
        await_entry(&folder, "chunkmaster", |entry| entry["request"] == "/v1/files/publish");
    assert_eq!(published["user"], "jobtracker", "{published}");
    let killed = by(&dev, "ben", &dev.jobtracker(), &format!("/v1/jobs/{id}/kill"), "{}");
    assert_eq!(killed.status, 403);
    let killed = await_entry(&folder, "jobtracker", |entry| entry["user"] == "ben");
    assert_eq!(killed["request"], format!("/v1/jobs/{id}/kill"), "{killed}");
    let mode = fs::metadata(folder.join("chunkmaster.audit.jsonl")).expect("the file");
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&mode.permissions()) & 0o077, 0);
}

/// What every process of this cluster tells on its command line and in its environment.
fn processes(pids: &[i32]) -> Vec<(PathBuf, Vec<u8>)> {
    let files = pids.iter().flat_map(|pid| {
        ["cmdline", "environ"].map(|file| PathBuf::from(format!("/proc/{pid}/{file}")))
    });
    files.filter_map(|path| fs::read(&path).ok().map(|bytes| (path, bytes))).collect()
}

/// All that descend from these.
fn descendants(mut known: Vec<i32>) -> Vec<i32> {
    let parents: Vec<(i32, i32)> = fs::read_dir("/proc")
        .expect("processes")
        .flatten()
        .filter_map(|entry| {
            let pid: i32 = entry.file_name().to_str()?.parse().ok()?;
            let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
            let parent = stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()?;
            Some((pid, parent))
        })
        .collect();
    let mut at = 0;
    while at < known.len() {
        let below = parents.iter().filter(|(_, parent)| *parent == known[at]);
        let below: Vec<i32> =
            below.map(|(pid, _)| *pid).filter(|pid| !known.contains(pid)).collect();
        known.extend(below);
        at += 1;
    }
    known
}

fn files_below(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        match entry.path() {
            path if path.is_dir() => files_below(&path, found),
            path => found.push(path),
        }
    }
}

#[test]
fn neither_secret_nor_token_is_told_in_logs_processes_or_errors() {
    let mut dev = Dev::to_be_started();
    let folder = dev.scratch().join("audit");
    dev.start_again(
        &DevOptions::trackers(2)
            .set("cluster.anonymous_loopback=false")
            .set("log.filter=debug")
            .set(&format!("log.audit_dir={}", folder.display())),
    );
    let secret = fs::read_to_string(dev.dir().join("secret")).expect("the secret");
    let secret = secret.trim().to_owned();
    let daemons = ["chunkmaster", "jobtracker", "chunkserver-1", "tasktracker-1", "tasktracker-2"];
    let tells = |bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes);
        text.contains(&secret) || text.contains(TOKEN_HEAD)
    };
    assert!(
        tells(dev.run(&["token", "--user", "ann"]).success().text().as_bytes()),
        "it can be seen"
    );

    dev.put_text("a b\n", "/in/in.txt");
    // Its own environment and the commands around it are what a task can tell of.
    let text = "name: n\ninput: [/in]\noutput: /out\nprogram:\n  streaming:\n    mapper: \
                \"env; cat /proc/self/environ /proc/*/cmdline /proc/*/environ 2> /dev/null; sleep 2; cat > /dev/null\"\n";
    let job = dev.job_file("job", text);
    let id = dev.run(&["job", "submit", &job]).success().text();
    let pids: Vec<i32> = daemons.iter().map(|daemon| dev.pid(daemon)).collect();
    let state = || {
        let status = dev.run(&["job", "status", &id, "--format", "json"]).success().text();
        let status: Value = serde_json::from_str(&status).expect("it is JSON");
        status["state"].as_str().expect("a state").to_owned()
    };
    let mut seen = 0;
    wait::until("the job has ended", PATIENCE, || {
        let all = descendants(pids.clone());
        seen = seen.max(all.len());
        for (path, bytes) in processes(&all) {
            assert!(!tells(&bytes), "{}", path.display());
        }
        Some(state()).filter(|state| state != "RUNNING" && state != "PREP")
    });
    assert!(seen > pids.len(), "a task was looked at");
    assert_eq!(state(), "SUCCEEDED");
    let output = dev.run(&["fs", "cat", "/out/*"]).success();
    assert!(output.stdout.len() > 100, "{}", output.text());
    assert!(!tells(&output.stdout), "a task told: {}", output.text());

    let token = dev.run(&["token", "--user", "ann", "--path", "/ann"]).success().text();
    let bearer = format!("Authorization: Bearer {token}");
    let forged = format!("{bearer}x");
    for daemon in daemons {
        let address = dev.address_of(daemon);
        for header in [&bearer, &forged] {
            for (method, path, body) in [
                ("POST", "/v1/files/stat", r#"{"path": "/in"}"#),
                ("POST", "/v1/files/stat", "{"),
                ("POST", "/v1/jobs", "{}"),
                ("GET", "/v1/none", ""),
                ("GET", "/v1/chunks/0000000000000001?version=1", ""),
                ("GET", "/v1/attempts/attempt_1/log", ""),
                ("GET", "/metrics", ""),
            ] {
                let answer = http::request(&address, method, path, &[header], body);
                let answer = answer.expect("an answer");
                assert!(!tells(answer.text.as_bytes()), "{daemon} {path}: {}", answer.text);
                assert!(!tells(answer.headers.join("\n").as_bytes()), "{daemon} {path}");
            }
        }
    }
    for daemon in daemons {
        let log =
            fs::read_to_string(dev.dir().join(format!("logs/{daemon}.log"))).expect("its log");
        let strangers: Vec<&str> =
            log.lines().filter(|line| line.contains("signed with another secret")).collect();
        let [told] = strangers[..] else { panic!("{daemon}: once, at once: {strangers:?}") };
        assert!(told.contains("WARN") && told.contains("127.0.0.1"), "{told}");
    }
    let mut files = Vec::new();
    files_below(&dev.dir().join("logs"), &mut files);
    files_below(&folder, &mut files);
    for daemon in ["tasktracker-1", "tasktracker-2", "chunkmaster", "jobtracker"] {
        files_below(&dev.data_dir(daemon), &mut files);
    }
    assert!(files.len() > 10, "{files:?}");
    for file in files {
        let bytes = fs::read(&file).unwrap_or_default();
        assert!(!tells(&bytes), "{} tells", file.display());
    }
}
