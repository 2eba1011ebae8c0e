//! A chunkserver of a writer's pipeline dies or falls silent in the middle of a chunk: the writer goes on with the
//! others, and every byte is there once.

use std::io::Write as _;
use std::process::Stdio;

use tests::cluster::PATIENCE;
use tests::contents::content;
use tests::replicas::chunk_files;
use tests::{Dev, DevOptions, Finished, wait};

const CHUNK_BYTES: usize = 4 << 20;
/// Ends in the middle of a chunk.
const FILE_BYTES: usize = 6 * CHUNK_BYTES + 12_345;
/// Of these some are on their way when the server fails, behind whole chunks.
const BYTES_BEFORE: usize = 2 * CHUNK_BYTES + CHUNK_BYTES / 2;

fn start(replication: u32) -> Dev {
    let options = DevOptions::trackers(3)
        .set("chunkmaster.chunk_bytes=4MiB")
        .set(&format!("chunkmaster.replication={replication}"))
        .set("chunkmaster.heartbeat_interval=200ms")
        .set("chunkmaster.dead_after=3s");
    Dev::start(&options)
}

/// Puts a file through a pipe; in the middle of a chunk that `server` has a part of, calls `fail`.
fn put_and(dev: &mut Dev, server: &str, fail: impl FnOnce(&mut Dev)) -> Finished {
    let mut command = dev.client(&["fs", "put", "-", "/file"]);
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the client starts");
    let mut input = child.stdin.take().expect("its input is a pipe");
    let bytes = content(1, FILE_BYTES);
    input.write_all(&bytes[..BYTES_BEFORE]).expect("the client reads");
    let disk = dev.data_dir(server);
    wait::until("two chunks are whole, and a third one begun", PATIENCE, || {
        let open = disk.join("chunks").join("03").join("0000000000000003_1.open");
        (chunk_files(&disk).len() == 2 && open.exists()).then_some(())
    });
    fail(dev);
    input.write_all(&bytes[BYTES_BEFORE..]).expect("the client reads on");
    drop(input);
    child.wait_with_output().expect("a child can be waited for").into()
}

fn check(dev: &Dev) {
    let cat = dev.run(&["fs", "cat", "/file"]).success();
    assert!(cat.stdout == content(1, FILE_BYTES), "other bytes came back");
}

/// All chunks get as many replicas as they should have.
fn becomes_whole(dev: &Dev) {
    wait::until("nothing is left to be repaired", PATIENCE, || {
        let fsck = dev.run(&["fs", "fsck", "--format", "json"]);
        let told: serde_json::Value = serde_json::from_slice(&fsck.stdout).ok()?;
        (fsck.code == Some(0) && told["files"].as_array().is_some_and(Vec::is_empty)).then_some(())
    });
}

#[test]
fn on_three_hosts_a_put_goes_on_when_one_is_killed() {
    let mut dev = start(3);
    let put = put_and(&mut dev, "chunkserver-2", |dev| dev.kill("chunkserver-2"));
    let _ = put.success();
    check(&dev);
    dev.restart("chunkserver-2");
    becomes_whole(&dev);
    check(&dev);
}

#[test]
fn on_three_hosts_a_put_goes_on_when_one_falls_silent_and_nothing_is_wrong_when_it_wakes() {
    let mut dev = start(3);
    let put = put_and(&mut dev, "chunkserver-3", |dev| dev.freeze("chunkserver-3"));
    let _ = put.success();
    check(&dev);
    dev.thaw("chunkserver-3");
    becomes_whole(&dev);
    check(&dev);
}
