//! The metrics that the code lists are those that real daemons serve, and Prometheus is told of every daemon.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use tests::binary::root;
use tests::cluster::PATIENCE;
use tests::command::run;
use tests::{Dev, DevOptions, http, wait};

/// A metric as `howdah metrics` lists it.
struct Listed {
    kind: String,
    /// Their values; none where they are not known before they occur.
    labels: BTreeMap<String, Vec<String>>,
}

/// What `daemon` is to serve, by name.
fn listed(daemon: &str) -> BTreeMap<String, Listed> {
    let list = run(["metrics", "--format", "json"]).success().text();
    let list: Vec<Value> = serde_json::from_str(&list).expect("a list");
    let ours = list.iter().filter(|it| it["daemon"].is_null() || it["daemon"] == daemon);
    let entry = |metric: &Value| {
        let labels = serde_json::from_value(metric["labels"].clone()).expect("lists of values");
        let text = |key: &str| metric[key].as_str().expect("a text").to_owned();
        (text("name"), Listed { kind: text("type"), labels })
    };
    ours.map(entry).collect()
}

/// The labels of a line of the text format; no value of ours holds a comma.
fn labels(line: &str) -> Vec<(String, String)> {
    let Some((_, rest)) = line.split_once('{') else { return Vec::new() };
    let inner = rest.rsplit_once("} ").expect("labels end").0;
    let pairs = inner.split("\",").filter_map(|pair| pair.split_once("=\""));
    pairs.map(|(name, value)| (name.to_owned(), value.trim_end_matches('"').to_owned())).collect()
}

/// What is wrong with what a daemon serves, if anything: a metric or a label that is not listed, or another type.
fn surprises(page: &str, listed: &BTreeMap<String, Listed>) -> Vec<String> {
    let (mut found, mut family) = (Vec::new(), None);
    for line in page.lines().filter(|line| !line.is_empty() && !line.starts_with("# HELP")) {
        if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').expect("a name and a type");
            family = listed.get(name).filter(|it| it.kind == kind);
            if family.is_none() {
                found.push(format!("{name} is no listed {kind}"));
            }
        } else if let Some(family) = family {
            for (name, value) in labels(line).iter().filter(|(name, _)| name != "le") {
                match family.labels.get(name) {
                    Some(values) if values.is_empty() || values.contains(value) => {}
                    _ => found.push(format!("{line}: label {name} of {value:?} is not listed")),
                }
            }
        }
    }
    found
}

fn served(page: &str) -> BTreeSet<&str> {
    let types = page.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    types.filter_map(|line| Some(line.split_once(' ')?.0)).collect()
}

#[test]
fn the_page_of_metrics_is_what_the_binary_lists() {
    let page = std::fs::read_to_string(root().join("dashboards/METRICS.md")).expect("it stands");
    let printed = run(["metrics"]).success().text();
    assert!(page.trim_end() == printed, "write it anew: howdah metrics > dashboards/METRICS.md");
}

#[test]
fn daemons_serve_the_metrics_that_are_listed_and_no_others() {
    let dev = Dev::start(&DevOptions::trackers(2).set("tasktracker.health_interval=1s"));
    dev.put_text(&"all work and no play\n".repeat(400), "/in/text");
    let job = "name: n\ninput: [/in]\noutput: /out\nprogram: {builtin: {name: wordcount}}\n";
    let _id = dev.run(&["job", "submit", &dev.job_file("job.yaml", job), "--wait"]).success();
    for daemon in ["jobtracker", "chunkmaster", "tasktracker-1", "chunkserver-1"] {
        let listed = listed(daemon.split('-').next().expect("a kind"));
        let address = dev.address_of(daemon);
        // Of certificates only a cluster with TLS tells: `tls` asks one.
        let of_tls = ["howdah_tls_certificate_remaining_seconds", "howdah_tls_files_wrong"];
        let mut missing: Vec<String> = listed.keys().cloned().collect();
        missing.retain(|name| !of_tls.contains(&name.as_str()));
        wait::until(&format!("{daemon} serves all of {missing:?}"), PATIENCE, || {
            let page = http::get(&address, "/metrics").ok()?.text;
            assert_eq!(surprises(&page, &listed), [""; 0], "{daemon}");
            missing.retain(|name| !served(&page).contains(name.as_str()));
            missing.is_empty().then_some(())
        });
    }
}

/// All targets that a master tells of: `daemon` and `host`, by address.
fn targets(dev: &Dev, master: &str) -> BTreeMap<String, (String, String)> {
    let answer = http::get(&dev.address_of(master), "/v1/prometheus/targets").expect("an answer");
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")));
    let groups = answer.body.as_array().expect("a list of target groups").clone();
    let entry = |group: &Value| {
        let label = |name: &str| group["labels"][name].as_str().expect("a label").to_owned();
        let [target] = &group["targets"].as_array().expect("targets")[..] else {
            panic!("one target: {group}");
        };
        let address = target.as_str().expect("an address").to_owned();
        (address, (label("daemon"), label("host")))
    };
    groups.iter().map(entry).collect()
}

#[test]
fn the_masters_tell_prometheus_of_every_daemon_dead_ones_too() {
    let fast = "chunkmaster.heartbeat_interval=200ms";
    let options = DevOptions::trackers(2).set(fast).set("chunkmaster.dead_after=2s");
    let fast = "jobtracker.heartbeat_interval=200ms";
    let mut dev = Dev::start(&options.set(fast).set("jobtracker.dead_after=2s"));
    let expected = |kind: &str| -> Vec<_> {
        let hosts = [1, 2].map(|n| format!("host-{n}"));
        let one = |host: String| {
            let address = dev.address_of(&host.replace("host", kind));
            (address, (kind.to_owned(), host))
        };
        hosts.into_iter().map(one).collect()
    };
    let master = |kind: &str| (dev.address_of(kind), (kind.to_owned(), "127.0.0.1".to_owned()));
    let trackers = expected("tasktracker");
    let trackers = trackers.into_iter().chain([master("jobtracker"), master("chunkmaster")]);
    let trackers: BTreeMap<_, _> = trackers.collect();
    let servers = expected("chunkserver").into_iter().chain([master("chunkmaster")]);
    let servers: BTreeMap<_, _> = servers.collect();
    assert_eq!(targets(&dev, "jobtracker"), trackers);
    assert_eq!(targets(&dev, "chunkmaster"), servers);

    dev.kill("tasktracker-2");
    dev.kill("chunkserver-2");
    dev.await_trackers(1);
    wait::until("the chunkserver counts as dead", PATIENCE, || {
        let dead = tests::metrics::metric(&dev, "chunkmaster", "howdah_chunkmaster_servers_dead ");
        (dead == Some(1.0)).then_some(())
    });
    assert_eq!(targets(&dev, "jobtracker"), trackers);
    assert_eq!(targets(&dev, "chunkmaster"), servers);
}
