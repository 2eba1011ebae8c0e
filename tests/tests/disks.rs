//! Disks of chunkservers that fail under a running cluster.

use std::fs;

use tests::cluster::PATIENCE;
use tests::{Dev, DevOptions, books, http, wait};

/// A sum of metrics of a daemon, all labels together.
fn metric(dev: &Dev, daemon: &str, name: &str) -> Option<f64> {
    let page = http::get(&dev.address_of(daemon), "/metrics").ok()?.text;
    let lines = page.lines().filter(|line| line.starts_with(name));
    lines.map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok()).sum()
}

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
    let n_on_disk = fs::read_dir(disk.join("chunks")).expect("the disk is in use").count();
    assert!(n_on_disk > 0, "the disks take turns");

    fs::rename(&disk, disk.with_extension("pulled")).expect("the disk can be pulled");
    fs::write(&disk, "").expect("a file can take its place");
    wait::until("the disk counts as failed", PATIENCE, || {
        let failed = r#"howdah_chunkserver_disks{state="failed"} "#;
        (metric(&dev, SERVERS[0], failed)? as u64 == 1).then_some(())
    });
    await_replicas(&dev, &SERVERS, 2 * n_chunks);
    // So every chunk outlives one server again.
    dev.kill("chunkserver-2");
    let got = dev.scratch().join("got");
    dev.get("/text", &got);
    assert!(fs::read(&got).unwrap() == fs::read(&file).unwrap(), "other bytes came back");
}
