//! Hosts that stand in racks, and hosts that are to be emptied: real daemons, whose topology file the tests write.

use std::fs;

use serde_json::Value;
use tests::cluster::PATIENCE;
use tests::contents::content;
use tests::{Dev, DevOptions, wait};

const FILES: u64 = 12;
const FILE_BYTES: usize = 3 << 20;

fn options() -> DevOptions {
    DevOptions::trackers(4)
        .set("chunkmaster.chunk_bytes=1MiB")
        .set("chunkmaster.replication=2")
        .set("chunkmaster.heartbeat_interval=200ms")
        .set("chunkmaster.dead_after=2s")
}

fn path(nth: u64) -> String {
    format!("/files/{nth}")
}

fn put_all(dev: &Dev) {
    for nth in 0..FILES {
        let _ = dev.put_bytes(content(nth, FILE_BYTES), &path(nth), &[]).success();
    }
}

fn check_all(dev: &Dev) {
    for nth in 0..FILES {
        let cat = dev.run(&["fs", "cat", &path(nth)]).success();
        assert!(cat.stdout == content(nth, FILE_BYTES), "file {nth}: other bytes came back");
    }
}

fn json(dev: &Dev, verb: &str) -> Value {
    let said = dev.run(&["fs", verb, "--format", "json"]);
    serde_json::from_slice(&said.stdout).unwrap_or_else(|_| panic!("{verb}: {}", said.stderr))
}

/// What is wrong with the chunks of all files.
fn faults(dev: &Dev) -> Vec<String> {
    let found = json(dev, "fsck");
    let files = found["files"].as_array().expect("files").iter();
    let chunks = files.flat_map(|file| file["chunks"].as_array().expect("chunks"));
    chunks.map(|chunk| chunk["fault"].as_str().expect("a fault").to_owned()).collect()
}

/// `hosts-1` and `-2` in a rack, the others in another; or all in one.
fn write_topology(dev: &Dev, racks: usize) {
    let rack = |host: usize| if racks == 1 || host <= 2 { "/a" } else { "/b" };
    let lines: String = (1..=4).map(|host| format!("host-{host} {}\n", rack(host))).collect();
    fs::write(dev.scratch().join("topology"), lines).expect("it can be written");
}

#[test]
fn a_rack_dies_and_every_file_is_exact_also_of_what_was_put_before_there_were_racks() {
    let mut dev = Dev::to_be_started();
    write_topology(&dev, 1);
    let topology = dev.scratch().join("topology").display().to_string();
    let options = options().set(&format!("cluster.topology_file={topology}"));
    dev.start_again(&options);
    put_all(&dev);
    assert_eq!(faults(&dev), Vec::<String>::new());

    // Racks come from the file when a server registers.
    dev.stop();
    write_topology(&dev, 2);
    dev.start_again(&DevOptions::default());
    let found = faults(&dev);
    assert!(found.iter().any(|fault| fault == "mis_replicated"), "of {found:?}");
    wait::until("each chunk is in both racks", PATIENCE, || faults(&dev).is_empty().then_some(()));

    for nth in FILES..FILES + 3 {
        let _ = dev.put_bytes(content(nth, FILE_BYTES), &path(nth), &[]).success();
    }
    dev.kill("chunkserver-1");
    dev.kill("chunkserver-2");
    check_all(&dev);
    for nth in FILES..FILES + 3 {
        let cat = dev.run(&["fs", "cat", &path(nth)]).success();
        assert!(cat.stdout == content(nth, FILE_BYTES), "file {nth}: other bytes came back");
    }
    // The other rack alone can't hold replicas in two.
    wait::until("each chunk has two replicas again", PATIENCE, || {
        faults(&dev).is_empty().then_some(())
    });
}

/// What is left of emptying host-1.
fn drain(dev: &Dev) -> Value {
    let report = json(dev, "report");
    let servers = report["servers"].as_array().expect("servers").iter();
    let mut drains = servers.filter(|server| server["host"] == "host-1").map(|it| &it["drain"]);
    drains.next().expect("host-1 is there").clone()
}

#[test]
fn a_host_is_emptied_whatever_dies_meanwhile_and_is_not_needed_any_more_then() {
    let mut dev = Dev::start(&options().set("chunkserver.repair_rate=2MiB"));
    put_all(&dev);
    let _ = dev.run(&["fs", "drain", "host-1"]).success();
    let left = wait::until("it is told how much is left", PATIENCE, || {
        let drain = drain(&dev);
        let left = drain["chunks_left"].as_u64()?;
        (drain["counted"] == true && left > 0).then_some(left)
    });
    dev.kill("chunkmaster");
    dev.restart("chunkmaster");
    wait::until("it goes on after the chunk master's restart", PATIENCE, || {
        let drain = drain(&dev);
        assert!(drain.is_object(), "the chunk master has forgotten that host-1 is to be emptied");
        (drain["counted"] == true && drain["chunks_left"].as_u64()? < left).then_some(())
    });
    let waiting = dev.run(&["fs", "drain", "--wait", "host-1"]).success();
    let drain = drain(&dev);
    assert_eq!((&drain["counted"], &drain["chunks_left"]), (&true.into(), &0.into()), "{drain}");
    assert!(waiting.stderr.contains("host-1"), "{}", waiting.stderr);

    dev.kill("chunkserver-1");
    wait::until("it counts as dead", PATIENCE, || {
        (json(&dev, "report")["totals"]["servers_dead"] == 1).then_some(())
    });
    assert_eq!(faults(&dev), Vec::<String>::new(), "nothing of it is missed");
    check_all(&dev);
    let _ = dev.run(&["fs", "forget", "host-1"]).success();
    assert_eq!(faults(&dev), Vec::<String>::new());
}
