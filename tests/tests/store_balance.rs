//! A new, empty chunkserver joins full ones: it fills up at the configured rate, and every file stays as it was.

use std::time::Duration;

use clock::Stopwatch;
use serde_json::Value;
use tests::cluster::PATIENCE;
use tests::contents::content;
use tests::metrics::metric;
use tests::small_disk::SmallDisk;
use tests::{Dev, DevOptions, wait};

const SERVERS: [&str; 4] = ["chunkserver-1", "chunkserver-2", "chunkserver-3", "chunkserver-4"];
const DISK_MIB: u64 = 128;
const FILES: u64 = 15;
const FILE_BYTES: usize = 8 << 20;
/// What each server may send for balance.
const RATE: u64 = 2 << 20;
const EVEN: Duration = Duration::from_mins(3);

fn report(dev: &Dev) -> Value {
    let report = dev.run(&["fs", "report", "--format", "json"]).success();
    serde_json::from_slice(&report.stdout).expect("a report is JSON")
}

fn moved(dev: &Dev, server: &str) -> f64 {
    let name = r#"howdah_chunkserver_copied_bytes_total{purpose="balance"} "#;
    metric(dev, server, name).unwrap_or(0.0)
}

/// How far the used share of the server furthest from the mean is from it. What lies in the trash is free.
fn spread(report: &Value) -> f64 {
    let servers = report["servers"].as_array().expect("it has servers").iter();
    let number = |of: &Value, key: &str| of[key].as_u64().expect("it is a number") as f64;
    let space: Vec<_> = servers
        .map(|server| {
            let trash = number(&server["disks"][0], "trash_bytes");
            (number(server, "capacity_bytes"), number(server, "free_bytes") + trash)
        })
        .collect();
    let capacity: f64 = space.iter().map(|(capacity, _)| capacity).sum();
    let free: f64 = space.iter().map(|(_, free)| free).sum();
    let far = |(own, its_free): &(f64, f64)| (its_free / own - free / capacity).abs();
    space.iter().map(far).fold(0.0, f64::max)
}

fn check(dev: &Dev) {
    for nth in 0..FILES {
        let cat = dev.run(&["fs", "cat", &format!("/files/{nth}")]).success();
        assert!(cat.stdout == content(nth, FILE_BYTES), "file {nth}: other bytes came back");
    }
}

#[test]
fn a_new_server_fills_up_at_the_configured_rate_and_every_file_stays_exact() {
    if !SmallDisk::may_be_mounted() {
        return;
    }
    let options = DevOptions::trackers(3)
        .set("chunkmaster.chunk_bytes=1MiB")
        .set("chunkmaster.replication=2")
        .set("chunkmaster.heartbeat_interval=200ms")
        .set("chunkserver.balance_rate=2MiB")
        .set("chunkserver.reserve=0B");
    let mut dev = Dev::start(&options);
    dev.stop();
    let _disks = SERVERS.map(|server| SmallDisk::mount(dev.data_dir(server), DISK_MIB));
    dev.start_again(&DevOptions::default());
    for nth in 0..FILES {
        let path = format!("/files/{nth}");
        let _ = dev.put_bytes(content(nth, FILE_BYTES), &path, &[]).success();
    }
    dev.stop();
    dev.start_again(&DevOptions::trackers(4));
    let told = wait::until("chunks move to the new server", PATIENCE, || {
        let report = report(&dev);
        (report["balance"]["n_running"].as_u64()? > 0).then_some(report)
    });
    let began = Stopwatch::start();
    assert_eq!(told["balance"]["servers_under"], 1, "{told:#}");
    assert_eq!(told["balance"]["running"][0]["to"], "host-4", "{told:#}");

    wait::until("all servers are as full as the others", EVEN, || {
        for server in &SERVERS[..3] {
            // One copy may end just after a second begins.
            let most = (began.elapsed().as_secs_f64() + 2.0) * 1.05 * RATE as f64;
            assert!(moved(&dev, server) <= most, "{server} sends more than it may");
        }
        let report = report(&dev);
        let balance = &report["balance"];
        let left = ["servers_over", "servers_under", "n_running"].map(|of| balance[of].as_u64());
        let is_over = left.into_iter().sum::<Option<u64>>()? == 0;
        // For a moment what has just arrived may count twice.
        (is_over && spread(&report) <= 0.1).then_some(())
    });
    let took = began.elapsed().as_secs_f64();
    let sent: f64 = SERVERS[..3].iter().map(|server| moved(&dev, server)).sum();
    println!(
        "{:.0} MiB in {took:.1} s, {:.2} of one server's rate",
        sent / 1048576.0,
        sent / took / RATE as f64
    );
    assert!(sent >= 0.9 * took * RATE as f64, "it takes longer than at one server's rate");
    wait::until("no chunk has replicas too many or too few", PATIENCE, || {
        (dev.run(&["fs", "fsck"]).code == Some(0)).then_some(())
    });
    check(&dev);
    let _ = dev.run(&["fs", "report"]).success();
}
