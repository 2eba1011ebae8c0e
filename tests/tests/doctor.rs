//! `howdah doctor` over a real cluster: all is well, and each thing that is broken is found, with what to do.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::PathBuf;

use serde_json::Value;
use tests::command::{Finished, finish, howdah};
use tests::small_disk::SmallDisk;
use tests::{Dev, DevOptions};

/// The checks that found something.
fn not_well(said: &Value) -> Vec<(String, String, String)> {
    let checks = said["checks"].as_array().expect("a list").iter();
    let text = |check: &Value, key: &str| check[key].as_str().unwrap_or_default().to_owned();
    let found = checks.filter(|check| check["verdict"] != "ok");
    found.map(|it| (text(it, "check"), text(it, "about"), text(it, "remedy"))).collect()
}

/// Runs it with a configuration; what it says, and its exit code.
fn examine(config: &std::path::Path, args: &[&str]) -> (Value, Option<i32>) {
    let mut command = howdah();
    command.arg("doctor").args(args).args(["--format", "json", "--config"]).arg(config);
    let Finished { code, stdout, stderr } = finish(&mut command);
    let said = serde_json::from_slice(&stdout);
    (said.unwrap_or_else(|error| panic!("{error}: {stderr}")), code)
}

/// A copy of the cluster's configuration with something else in it.
fn changed(dev: &Dev, name: &str, change: impl FnOnce(&mut config::Config)) -> PathBuf {
    let mut config = dev.config();
    change(&mut config);
    let file = dev.scratch().join(name);
    fs::write(&file, config.to_yaml()).expect("it can be written");
    file
}

/// Fails unless what is wrong is said by this check, about that, with this remedy, and by nothing else.
fn assert_found(case: &str, (said, code): &(Value, Option<i32>), expected: (&str, &str, &str)) {
    let (check, about, remedy) = expected;
    let found: Vec<_> = not_well(said);
    let failed = said["failed"].as_u64().expect("a number");
    assert_eq!(*code, Some(1), "{case}: {found:#?}");
    assert!(failed > 0, "{case}: {found:#?}");
    let is_it = |it: &&(String, String, String)| {
        it.0 == check && it.1.contains(about) && it.2.contains(remedy)
    };
    assert!(found.iter().any(|it| is_it(&it)), "{case}: {found:#?}");
}

#[test]
fn a_cluster_that_is_well_passes_every_check() {
    let dev = Dev::start(&DevOptions::trackers(2).set("chunkserver.reserve=0B"));
    let (said, code) = examine(&dev.config_file(), &[]);
    let failed = not_well(&said);
    assert_eq!((code, &said["failed"]), (Some(0), &Value::from(0)), "{failed:#?}");
    let checks = said["checks"].as_array().expect("a list").iter();
    let checks: BTreeSet<&str> = checks.filter_map(|check| check["check"].as_str()).collect();
    let expected = [
        "address",
        "between",
        "clock",
        "configuration",
        "disk",
        "limit",
        "name",
        "port",
        "rate",
        "registered",
        "secret",
        "version",
    ];
    for check in expected {
        assert!(checks.contains(check), "{check} is not in {checks:?}");
    }
    let text = dev.run(&["doctor"]).success().text();
    assert!(text.contains("reaches all 5 others"), "{text}");
    assert!(text.ends_with(", 0 failed"), "{text}");
    let quiet = dev.run(&["doctor", "--quiet"]).success().text();
    assert!(!quiet.contains("\nok "), "{quiet}");
}

#[test]
fn each_thing_that_is_broken_is_found_with_its_remedy() {
    let mut dev = Dev::start(&DevOptions::trackers(2).set("chunkserver.reserve=0B"));
    // Another secret than the cluster's.
    let secret = dev.scratch().join("another");
    let _ = tests::command::run(["secret".as_ref(), "new".as_ref(), secret.as_os_str()]).success();
    let other = changed(&dev, "secret.yaml", |it| it.cluster.secret_file = Some(secret.clone()));
    let found = examine(&other, &[]);
    assert_found("another secret", &found, ("secret", "jobtracker", "sha256sum"));
    assert_found("another secret", &found, ("secret", "tasktracker of host-1", "sha256sum"));
    // None at all.
    let missing = dev.scratch().join("missing");
    let none = changed(&dev, "missing.yaml", |it| it.cluster.secret_file = Some(missing.clone()));
    assert_found("no secret", &examine(&none, &[]), ("secret", "missing", "howdah secret new"));
    // A name that leads nowhere.
    let wrong = changed(&dev, "name.yaml", |it| {
        it.hosts[1].tasktracker.address = Some("no-such-host.invalid:7881".to_owned());
    });
    assert_found("a wrong name", &examine(&wrong, &[]), ("name", "no-such-host", "/etc/hosts"));
    // An address of somebody else's.
    let foreign = changed(&dev, "address.yaml", |it| {
        it.hosts[1].tasktracker.address = Some("192.0.2.7:7881".to_owned());
    });
    let found = examine(&foreign, &["--host", "host-2", "--local"]);
    assert_found("another address", &found, ("address", "tasktracker of host-2", "--host"));
    // A host that is not in the file.
    let found = examine(&dev.config_file(), &["--host", "host-9"]);
    assert_found("no such host", &found, ("configuration", "cluster.yaml", "host-1, host-2"));
    // More room than there is.
    let full = changed(&dev, "full.yaml", |it| it.chunkserver.reserve = config::Bytes(1 << 60));
    assert_found("no room", &examine(&full, &[]), ("disk", "chunkserver of host-1", "make room"));
    // A port that somebody else has, who knows nothing of HTTP and says so.
    dev.kill("tasktracker-2");
    let address = dev.address_of("tasktracker-2");
    let squatter = TcpListener::bind(&address).expect("the port is free");
    std::thread::spawn(move || {
        for stream in squatter.incoming().flatten() {
            let mut stream = stream;
            let _what = stream.read(&mut [0; 1000]);
            let _gone = stream.write_all(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n");
        }
    });
    let found = examine(&dev.config_file(), &[]);
    assert_found("a taken port", &found, ("port", "tasktracker of host-2", "ss -ltnp"));
    // A configuration that is none.
    let broken = dev.scratch().join("broken.yaml");
    fs::write(&broken, "chunkmaster: {replicaton: 2}\n").expect("it can be written");
    let found = examine(&broken, &[]);
    assert_found("a wrong file", &found, ("configuration", "broken.yaml", "every key"));
}

#[test]
fn a_full_disk_and_a_clock_that_is_wrong_are_found() {
    if !SmallDisk::may_be_mounted() {
        return;
    }
    let scratch = tempfile::tempdir().expect("a temporary folder");
    let disk = SmallDisk::mount(scratch.path().join("disk"), 4);
    let _hog = disk.fill_but(0);
    let secret = scratch.path().join("secret");
    let _ = tests::command::run(["secret".as_ref(), "new".as_ref(), secret.as_os_str()]).success();
    // It answers as a chunk master would, of an hour ago.
    let old = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = old.local_addr().expect("bound");
    let date = clock::wall().0 / 1000 - 3600;
    std::thread::spawn(move || {
        for stream in old.incoming().flatten() {
            let mut stream = stream;
            let _what = stream.read(&mut [0; 4000]);
            let answer = format!(
                "HTTP/1.1 200 OK\r\nx-request-id: 1\r\ndate: {}\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{{}}",
                http_date(date)
            );
            let _gone = stream.write_all(answer.as_bytes());
        }
    });
    let path = |name: &str| scratch.path().join(name).display().to_string();
    let yaml = format!(
        "cluster: {{secret_file: {}}}\nchunkmaster: {{address: '{address}', data_dir: {}}}\n\
         jobtracker: {{address: '127.0.0.1:1', data_dir: {}}}\n\
         chunkserver: {{reserve: 0B}}\n\
         hosts: [{{name: host-1, chunkserver: {{address: '127.0.0.1:2', data_dirs: [{}]}}, \
         tasktracker: {{address: '127.0.0.1:3', data_dir: {}}}}}]\n",
        path("secret"),
        path("chunkmaster"),
        path("jobtracker"),
        path("disk"),
        path("tasks"),
    );
    let file = scratch.path().join("howdah.yaml");
    fs::write(&file, yaml).expect("it can be written");
    let found = examine(&file, &[]);
    assert_found("a full disk", &found, ("disk", "chunkserver of host-1", "make room"));
    assert_found("an old clock", &found, ("clock", "chunkmaster", "timedatectl"));
}

/// As HTTP wants it, from seconds since 1970: by `date`, which knows the calendar.
fn http_date(seconds: u64) -> String {
    let mut date = std::process::Command::new("date");
    date.args(["--utc", "+%a, %d %b %Y %H:%M:%S GMT", "--date"]).arg(format!("@{seconds}"));
    finish(date.env("LC_ALL", "C")).success().text()
}
