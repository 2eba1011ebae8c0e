//! Maps run where their data is.

use tests::books;
use tests::{Dev, DevOptions, long, runs};

/// The share of node-local maps of a word count over 1 MiB chunks, in percent.
fn node_local_percent(trackers: u32, replication: u8) -> u64 {
    let dev = Dev::start(
        &DevOptions::trackers(trackers)
            .set("chunkmaster.chunk_bytes=1MiB")
            .set(&format!("chunkmaster.replication={replication}")),
    );
    let maps: u64 = if long() { 100 } else { 40 };
    let input = dev.scratch().join("text");
    books::generate(&input, &format!("{maps}MiB"), 3);
    dev.put(&input, "/in/text");
    let file = dev.job_file(
        "job.yaml",
        "name: local\ninput: [/in]\noutput: /out\nprogram: {builtin: {name: wordcount}}\nreduces: 2\n",
    );
    let id = dev.run(&["job", "submit", &file, "--wait"]).success().text();
    let job = dev.job(&id);
    assert_eq!(job["maps"]["total"], maps);
    job["maps"]["node_local"].as_u64().expect("a number") * 100 / maps
}

#[test]
fn nine_of_ten_maps_are_node_local_with_two_replicas_on_three_trackers() {
    let worst = (0..runs(5)).map(|_| node_local_percent(3, 2)).min().unwrap();
    assert!(worst >= 90, "{worst} %");
}

#[test]
fn nine_of_ten_maps_are_node_local_with_one_replica_on_four_trackers() {
    let worst = (0..runs(5)).map(|_| node_local_percent(4, 1)).min().unwrap();
    assert!(worst >= 90, "{worst} %");
}
