//! Disks of chunkservers and TaskTrackers that fail under a running cluster.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tests::cluster::PATIENCE;
use tests::metrics::metric;
use tests::oracle::lines_of_parts;
use tests::replicas::chunk_files;
use tests::{Dev, DevOptions, books, http, wait};

/// Waits until so many replicas are held by the chunkservers together.
fn await_replicas(dev: &Dev, servers: &[&str], n: u64) {
    wait::until(&format!("{n} replicas are held"), PATIENCE, || {
        let held = servers.iter().map(|server| metric(dev, server, "howdah_chunkserver_replicas "));
        let held: f64 = held.sum::<Option<f64>>()?;
        (held as u64 == n).then_some(())
    });
}

const SERVERS: [&str; 3] = ["chunkserver-1", "chunkserver-2", "chunkserver-3"];

#[test]
fn what_lay_on_a_disk_that_is_pulled_is_made_again_elsewhere() {
    let options = DevOptions::trackers(3)
        .set("chunkmaster.chunk_bytes=1MiB")
        .set("chunkmaster.replication=2")
        .set("chunkmaster.heartbeat_interval=200ms");
    let mut dev = Dev::start(&options);
    dev.stop();
    let mut config = dev.config();
    let disk = dev.scratch().join("second-disk");
    let disks = config.hosts[0].chunkserver.data_dirs.as_mut().expect("dev names its folders");
    disks.push(disk.clone());
    fs::write(dev.config_file(), config.to_yaml()).expect("its configuration can be written");
    dev.start_again(&DevOptions::default());
    let file = dev.scratch().join("text");
    books::generate(&file, "24MiB", 23);
    dev.put(&file, "/text");
    let n_chunks = fs::metadata(&file).expect("it was just written").len().div_ceil(1 << 20);
    await_replicas(&dev, &SERVERS, 2 * n_chunks);
    assert!(!chunk_files(&disk).is_empty(), "the disks take turns");
    let other = dev.config().all_hosts().next().expect("a host").chunkserver_dirs[0].clone();

    fs::rename(&disk, disk.with_extension("pulled")).expect("the disk can be pulled");
    fs::write(&disk, "").expect("a file can take its place");
    wait::until("the disk counts as failed", PATIENCE, || {
        let failed = r#"howdah_chunkserver_disks{state="failed"} "#;
        (metric(&dev, SERVERS[0], failed)? as u64 == 1).then_some(())
    });
    // From then on the sum tells what is really there.
    wait::until("what lay on it counts no more", PATIENCE, || {
        let held = metric(&dev, SERVERS[0], "howdah_chunkserver_replicas ")? as usize;
        (held <= chunk_files(&other).len()).then_some(())
    });
    await_replicas(&dev, &SERVERS, 2 * n_chunks);
    // So every chunk outlives one server again.
    dev.kill("chunkserver-2");
    let got = dev.scratch().join("got");
    dev.get("/text", &got);
    assert!(fs::read(&got).unwrap() == fs::read(&file).unwrap(), "other bytes came back");
}

#[test]
fn what_rots_on_an_idle_disk_is_found_and_made_again_and_a_kill_does_not_begin_anew() {
    let options = DevOptions::trackers(3)
        .set("chunkmaster.chunk_bytes=1MiB")
        .set("chunkmaster.replication=2")
        .set("chunkserver.scrub_rate=1MiB");
    let mut dev = Dev::start(&options);
    let file = dev.scratch().join("text");
    books::generate(&file, "15MiB", 29);
    dev.put(&file, "/text");
    let n_chunks = fs::metadata(&file).expect("it was just written").len().div_ceil(1 << 20);
    await_replicas(&dev, &SERVERS, 2 * n_chunks);
    // About 10 MiB on each: a round takes ten seconds.
    let disk = dev.config().all_hosts().next().expect("a host").chunkserver_dirs[0].clone();
    let files = chunk_files(&disk);
    let [flipped, cut, deleted] = [&files[1], &files[3], &files[5]];
    let mut bytes = fs::read(flipped).expect("a chunk can be read");
    bytes[700_000] ^= 1;
    fs::write(flipped, bytes).expect("and written");
    let writer = fs::File::options().write(true).open(cut).expect("a chunk can be written");
    writer.set_len(70_000).expect("and cut");
    fs::remove_file(deleted).expect("and removed");
    let found = "howdah_chunkserver_scrub_bad_replicas_total ";
    wait::until("all three are found", PATIENCE, || {
        (metric(&dev, SERVERS[0], found)? as u64 == 3).then_some(())
    });
    await_replicas(&dev, &SERVERS, 2 * n_chunks);

    let place = || -> Option<Value> {
        serde_json::from_slice(&fs::read(disk.join("scrub.json")).ok()?).ok()
    };
    let in_mid_round = || place().filter(|place| !place["after"].is_null());
    let before = wait::until("the scrubber's place is kept", PATIENCE, in_mid_round);
    dev.kill(SERVERS[0]);
    let before = place().unwrap_or(before);
    dev.restart(SERVERS[0]);
    let after = wait::until("it is kept again", PATIENCE, || place().filter(|it| *it != before));
    let same_round = after["round_started"] == before["round_started"];
    let further = after["after"][0].as_str() > before["after"][0].as_str();
    // It may have come to the round's end, which takes longer from a round's beginning.
    let round = metric(&dev, SERVERS[0], "howdah_chunkserver_scrub_round_seconds");
    let has_ended = round.is_some_and(|seconds| seconds > 0.0);
    assert!((same_round && further) || has_ended, "from {before} to {after}");
    let got = dev.scratch().join("got");
    dev.get("/text", &got);
    assert!(fs::read(&got).unwrap() == fs::read(&file).unwrap(), "other bytes came back");
}

/// A cluster of two TaskTrackers, the first with these disks.
fn with_local_disks(disks: &[PathBuf], dev: &mut Dev) {
    let mut config = dev.config();
    config.hosts[0].tasktracker.local_dirs = Some(disks.to_vec());
    fs::write(dev.config_file(), config.to_yaml()).expect("its configuration can be written");
    dev.start_again(&DevOptions::default());
}

/// Submits a job of 16 maps whose 8 reduces wait until there is the file `go`.
fn submit_a_job_that_waits(dev: &Dev, go: &Path) -> String {
    for nth in 0..16 {
        dev.put_text(&format!("word-{nth} a b\n"), &format!("/in/{nth}"));
    }
    let reducer = format!("while ! test -e {}; do sleep 0.05; done; cat", go.display());
    let io = ["-input", "/in", "-output", "/out", "-mapper", "cat", "-numReduceTasks", "8"];
    let submit = [&["streaming", "-background", "-reducer", &reducer][..], &io].concat();
    let said = dev.run(&submit).success().text();
    let mut words = said.split_whitespace();
    words.find(|word| word.starts_with("job_")).expect("the job's id").to_owned()
}

fn files_in(disk: &Path, room: &str) -> usize {
    fs::read_dir(disk.join(room)).map_or(0, |folder| folder.flatten().count())
}

/// Waits until so many local disks are in that state.
fn await_local_disks(dev: &Dev, tracker: &str, state: &str, n: u64) {
    let name = format!(r#"howdah_tasktracker_disks{{state="{state}"}} "#);
    wait::until(&format!("{n} disks are {state}"), PATIENCE, || {
        (metric(dev, tracker, &name)? as u64 == n).then_some(())
    });
}

#[test]
fn a_tasktracker_goes_on_without_a_disk_that_is_pulled_and_what_lay_there_is_made_again() {
    const SICK: &str = "tasktracker-1";
    let options = DevOptions::trackers(2)
        .set("tasktracker.slots=4")
        .set("tasktracker.health_interval=200ms")
        .set("jobtracker.speculative=false")
        .set("jobtracker.heartbeat_interval=200ms");
    let mut dev = Dev::start(&options);
    dev.stop();
    let disks = ["disk-1", "disk-2"].map(|name| dev.scratch().join(name));
    with_local_disks(&disks, &mut dev);
    let go = dev.scratch().join("go");
    let id = submit_a_job_that_waits(&dev, &go);
    dev.await_job(&id, "has all maps done", |job| job["maps"]["succeeded"] == 16);
    wait::until("both disks have attempts", PATIENCE, || {
        disks.iter().all(|disk| files_in(disk, "attempts") > 0).then_some(())
    });
    assert!(disks.iter().all(|disk| files_in(disk, "outputs") > 0), "map outputs on both disks");

    let pulled = disks[0].with_extension("pulled");
    fs::rename(&disks[0], &pulled).expect("the disk can be pulled");
    fs::write(&disks[0], "").expect("a file can take its place");
    await_local_disks(&dev, SICK, "failed", 1);
    await_local_disks(&dev, SICK, "ok", 1);
    wait::until("people hear of it", PATIENCE, || {
        let list = dev.run(&["host", "list"]).success().text();
        list.contains("host-1 does without a disk").then_some(())
    });
    fs::write(&go, "").expect("a file can be written");
    let job = dev.await_job(&id, "succeeds", |job| job["state"] == "SUCCEEDED");
    assert!(job["maps"]["attempts"].as_u64() > Some(16), "maps run again: {job}");
    let path = format!("/v1/jobs/{id}/attempts");
    let attempts = http::get(&dev.jobtracker(), &path).expect("an answer").body;
    let attempts = attempts["attempts"].as_array().expect("a list of attempts").clone();
    let failed = attempts.iter().filter(|attempt| attempt["state"] == "FAILED");
    let kinds: Vec<_> = failed.map(|attempt| attempt["failure"]["kind"].clone()).collect();
    assert!(!kinds.is_empty() && kinds.iter().all(|kind| *kind == "host_unfit"), "{attempts:?}");
    let got = dev.scratch().join("got");
    dev.get("/out", &got);
    assert_eq!(lines_of_parts(&got).len(), 16, "each line once");

    dev.kill(SICK);
    fs::remove_file(&disks[0]).and_then(|()| fs::rename(&pulled, &disks[0])).expect("it is back");
    dev.restart(SICK);
    await_local_disks(&dev, SICK, "ok", 2);
}
