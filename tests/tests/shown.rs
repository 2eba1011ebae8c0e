//! What commands print: the same document in JSON and YAML, tables for people, the same answer again and again (`--watch`), all
//! that is known of a host, and where each value of the configuration comes from.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use serde_json::{Deserializer, Value, json};
use tests::cluster::PATIENCE;
use tests::command::run;
use tests::{Dev, DevOptions, wait};

/// The paths of all keys of a document. What is behind them may have changed between two questions.
fn keys(value: &Value, above: &str, into: &mut BTreeSet<String>) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                keys(value, &format!("{above}.{key}"), into);
            }
        }
        Value::Array(values) => {
            values.iter().for_each(|value| keys(value, &format!("{above}[]"), into));
        }
        _ => drop(into.insert(above.to_owned())),
    }
}

fn keys_of(value: &Value) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    keys(value, "", &mut all);
    all
}

/// A job that runs until it is ended.
fn submit_endless(dev: &Dev) -> String {
    dev.put_text("a\n", "/in.txt");
    let job = "name: endless\ninput: [/in.txt]\noutput: /out\nprogram: {streaming: {mapper: 'cat >/dev/null; sleep 600'}}\n";
    dev.run(&["job", "submit", &dev.job_file("endless.yaml", job)]).success().text()
}

#[test]
fn every_command_prints_the_same_document_in_json_and_yaml_and_a_table_for_people() {
    let dev = Dev::start(&DevOptions::trackers(2));
    let id = submit_endless(&dev);
    let _ = dev.await_job(&id, "runs", |job| job["maps"]["running"] == 1);
    let job = id.as_str();
    let commands: [&[&str]; 13] = [
        &["job", "list"],
        &["job", "status", job],
        &["job", "counters", job],
        &["job", "explain", job],
        &["attempt", "list", job],
        &["host", "list"],
        &["host", "show", "host-1"],
        &["pool", "list"],
        &["fs", "report"],
        &["fs", "ls", "/"],
        &["fs", "du", "/"],
        &["config", "explain"],
        &["config", "print"],
    ];
    for command in commands {
        let text =
            |format: &str| dev.run(&[command, &["--format", format]].concat()).success().text();
        let json: Value = serde_json::from_str(&text("json")).expect("JSON");
        let yaml: Value = serde_yaml::from_str(&text("yaml")).expect("YAML");
        assert_eq!(keys_of(&json), keys_of(&yaml), "{command:?}");
        let table = text("table");
        assert!(serde_json::from_str::<Value>(&table).is_err(), "{command:?}: {table}");
        let shape = |text: &str| {
            text.lines().map(|line| line.split(' ').next().map(str::to_owned)).collect::<Vec<_>>()
        };
        assert_eq!(shape(&table), shape(&dev.run(command).success().text()), "{command:?}");
        assert_eq!(shape(&table), shape(&text("text")), "{command:?}: as before");
    }
    let _ = dev.run(&["job", "list", "--format", "xml"]).refused(2, &["table", "json", "yaml"]);
}

#[test]
fn what_changes_something_answers_with_a_document_too() {
    let dev = Dev::start(&DevOptions::trackers(2));
    let file = dev.scratch().join("file");
    std::fs::write(&file, "one\ntwo\n").expect("a file");
    let local = file.to_str().expect("text");
    let got = dev.scratch().join("got");
    let answer = |args: &[&str]| -> Value {
        let answer = dev.run(&[&["fs"], args, &["--format", "json"]].concat()).success().text();
        serde_json::from_str(&answer).unwrap_or_else(|error| panic!("{args:?}: {error}: {answer}"))
    };
    let commands: [(&[&str], Value); 16] = [
        (&["mkdir", "/d", "/e"], json!({"folders": ["/d", "/e"]})),
        (&["put", local, "/d/f"], json!({"files": 1, "bytes": 8})),
        (&["put", "-f", local, "/d/f"], json!({"files": 1, "bytes": 8})),
        (&["cp", "/d/f", "/d/g"], json!({"files": 1, "bytes": 8})),
        (&["cp", "-r", "/d", "/e/d"], json!({"files": 2, "bytes": 16})),
        (&["append", local, "/d/g"], json!({"files": 1, "bytes": 8})),
        (&["append", "--lines", local, "/log"], json!({"records": 2})),
        (&["get", "/d", got.to_str().expect("text")], json!({"files": 2, "bytes": 24})),
        (
            &["touch", "/d/f", "/d/new"],
            json!({"files": [{"path": "/d/f", "is_new": false}, {"path": "/d/new", "is_new": true}]}),
        ),
        (&["mv", "/d/new", "/d/old"], json!({"moved": [{"from": "/d/new", "to": "/d/old"}]})),
        (&["setrep", "1", "/d"], json!({"replication": 1, "files": 3})),
        (&["chown", "-R", "ann", "/e"], json!({"owner": "ann", "entries": 4})),
        (
            &["rm", "--skip-trash", "/d/old"],
            json!({"removed": [{"path": "/d/old", "trash": null}]}),
        ),
        (&["orphans", "host-1"], json!({"host": "host-1", "orphans": 0})),
        (&["orphans", "--delete", "host-1"], json!({"host": "host-1", "deleted": 0})),
        (&["rm", "-f", "/none"], json!({"removed": []})),
    ];
    for (args, expected) in commands {
        assert_eq!(answer(args), expected, "{args:?}");
    }
    let removed = answer(&["rm", "/d/f"]);
    let there = removed["removed"][0]["trash"].as_str().expect("a place");
    assert!(there.starts_with("/.howdah/trash/") && there.ends_with("/d/f"), "{removed}");
    let expunged = answer(&["expunge"]);
    assert_eq!((&expunged["removed"][0]["files"], &expunged["others"]), (&json!(1), &json!(0)));
    assert_eq!(answer(&["expunge"]), json!({"removed": [], "others": 0}));
    assert!(answer(&["drain", "host-2"])["drain"].is_object());
    let back = answer(&["undrain", "host-2"]);
    assert_eq!((&back["host"], &back["drain"]), (&json!("host-2"), &Value::Null));
}

#[test]
fn the_systems_folder_is_listed_where_it_is_asked_for_and_a_local_file_is_compared() {
    let dev = Dev::start(&DevOptions::trackers(1));
    dev.put_text("one\ntwo\n", "/in/f");
    let listed = |args: &[&str]| dev.run(&[&["fs", "ls"], args].concat()).success().text();
    for hidden in [&["/"][..], &["-R", "/"]] {
        let listed = listed(hidden);
        assert!(listed.contains("/in") && !listed.contains("/.howdah"), "{hidden:?}: {listed}");
    }
    assert!(listed(&["-a", "/"]).contains("/.howdah"));
    let all = listed(&["-aR", "/"]);
    assert!(all.contains("/.howdah/") && all.contains("/in/f"), "{all}");
    assert!(!listed(&["/.howdah"]).is_empty());

    let file = dev.scratch().join("copy");
    std::fs::write(&file, "one\ntwo\n").expect("a file");
    let (local, url) = (file.to_str().expect("text"), format!("file://{}", file.display()));
    let sum = |args: &[&str]| {
        let told = dev.run(&[&["fs", "checksum"], args].concat()).success().text();
        told.split(' ').next().unwrap_or_default().to_owned()
    };
    let stored = sum(&["/in/f"]);
    assert_eq!([sum(&["--local", local]), sum(&[&url])], [stored.clone(), stored]);
    let _ = dev.run(&["fs", "checksum", "s3://bucket/x"]).refused(2, &["e-tag"]);
    let _ = dev.run(&["fs", "checksum", "--local", "/no/such"]).refused(1, &["/no/such"]);
}

#[test]
fn a_line_that_no_record_can_hold_is_named_with_how_many_are_in_the_log() {
    let dev = Dev::start(&DevOptions::trackers(1));
    let (fine, long) = (dev.scratch().join("fine"), dev.scratch().join("long"));
    std::fs::write(&fine, "1\n2\n3\n").expect("a file");
    let line = "x".repeat(2 << 20);
    std::fs::write(&long, format!("4\n5\n{line}\n6\n")).expect("a file");
    let (fine, long) = (fine.to_str().expect("text"), long.to_str().expect("text"));
    let refused = dev.run(&["fs", "append", "--lines", fine, long, "/log"]);
    let place = format!("line 3 of {long} has more than");
    let _ = refused.refused(
        1,
        &["/log, which has the first 5 of these records", &place, "cut it into several"],
    );
    assert_eq!(dev.run(&["fs", "cat", "/log"]).success().text(), "1\n2\n3\n4\n5");
    let whole = dev.run(&["fs", "append", "--record", long, "/log"]);
    let _ =
        whole.refused(1, &["has the first 0 of these records", &format!("{long} has more than")]);
}

#[test]
fn a_host_is_shown_with_its_daemons_and_what_runs_there() {
    let dev = Dev::start(&DevOptions::trackers(2));
    let id = submit_endless(&dev);
    let _ = dev.await_job(&id, "runs", |job| job["maps"]["running"] == 1);
    let attempts = dev.run(&["attempt", "list", &id, "--format", "json"]).success().text();
    let attempts: Value = serde_json::from_str(&attempts).expect("JSON");
    let (attempt, host) = (&attempts["attempts"][0]["attempt"], &attempts["attempts"][0]["host"]);
    let (attempt, host) = (attempt.as_str().expect("an id"), host.as_str().expect("a name"));
    let other = if host == "host-1" { "host-2" } else { "host-1" };
    let shown = dev.run(&["host", "show", host]).success().text();
    for part in [
        &format!("host       {host}"),
        "state      LIVE",
        "of which 1 are taken",
        "REPLICAS",
        attempt,
    ] {
        assert!(shown.contains(part), "no {part:?} in {shown}");
    }
    let shown = dev.run(&["host", "show", other]).success().text();
    assert!(!shown.contains(attempt) && shown.contains("of which 0 are taken"), "{shown}");
    let _ = dev.run(&["host", "show", "host-9"]).refused(1, &["host-9"]);
}

#[test]
fn a_watched_job_is_shown_until_it_is_over_and_a_watched_list_until_nobody_reads() {
    let dev = Dev::start(&DevOptions::trackers(1));
    let id = submit_endless(&dev);
    let _ = dev.await_job(&id, "runs", |job| job["maps"]["running"] == 1);
    let watch = |args: &[&str]| {
        let mut command = dev.client(args);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the client starts")
    };
    let mut list = watch(&["host", "list", "--watch=1"]);
    let mut lines = BufReader::new(list.stdout.take().expect("a pipe")).lines();
    let heads =
        lines.by_ref().map(|line| line.expect("text")).filter(|line| line.starts_with("HOST "));
    assert_eq!(heads.take(3).count(), 3);
    drop(lines);
    wait::until("it ends with its reader", PATIENCE, || list.try_wait().expect("a child"));

    let status = watch(&["job", "status", &id, "--watch=1", "--format", "json"]);
    let _ = dev.run(&["job", "kill", &id]).success();
    let ended = status.wait_with_output().expect("it ends with the job");
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    let documents: Vec<Value> = Deserializer::from_slice(&ended.stdout)
        .into_iter()
        .collect::<Result<_, _>>()
        .expect("JSON");
    assert_eq!(documents.last().expect("one")["state"], "KILLED");
    let over = dev.run(&["job", "status", &id, "--watch"]).success().text();
    assert!(over.contains("KILLED"), "{over}");
    let _ = dev.run(&["job", "list", "--watch=0"]).refused(2, &["watch"]);
}

#[test]
fn each_value_is_explained_with_its_line_and_no_secret_is_shown() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (file, secret) = (folder.path().join("howdah.yaml"), folder.path().join("secret"));
    std::fs::write(&secret, "do-not-tell-".repeat(4)).expect("it can be written");
    let yaml = format!(
        "cluster:\n  secret_file: {}\njobtracker:\n  max_attempts: 7\ntasktracker:\n  slots: 3\nhosts:\n- name: host-1\n  \
         tasktracker: {{address: \"host-1:9\"}}\n",
        secret.display()
    );
    std::fs::write(&file, yaml).expect("it can be written");
    let path = file.to_str().expect("temporary paths are text");
    let said = run(["config", "explain", path, "--host", "host-1"]).success().text();
    for (key, value, from) in [
        ("jobtracker.max_attempts", "7", format!("{path}:4")),
        ("jobtracker.split_bytes", "64MiB", "default".to_owned()),
        ("tasktracker.slots", "3", format!("{path}:6")),
        ("tasktracker.address", "host-1:9", format!("{path}:9")),
        ("tasktracker.listen", "host-1:9", "as tasktracker.address".to_owned()),
        ("cluster.secret_file", secret.to_str().expect("text"), format!("{path}:2")),
    ] {
        let line = said.lines().find(|line| line.split_whitespace().next() == Some(key));
        let words: Vec<_> =
            line.unwrap_or_else(|| panic!("no {key}: {said}")).split_whitespace().collect();
        assert_eq!((words[1], words[2..].join(" ")), (value, from), "{key}");
    }
    assert!(!said.contains("do-not-tell"), "{said}");
    let some =
        run(["config", "explain", path, "--key", "jobtracker", "--format", "json"]).success();
    let some: Value = serde_json::from_str(&some.text()).expect("JSON");
    let all = some["values"].as_array().expect("a list");
    assert!(
        all.iter().all(|it| it["key"].as_str().is_some_and(|key| key.starts_with("jobtracker."))),
        "{some}"
    );
    let _ =
        run(["config", "explain", path, "--key", "jobtraker"]).refused(2, &["no key jobtraker"]);
    let _ = run(["config", "explain", path, "--host", "host-2"]).refused(2, &["host-2", "host-1"]);
}
