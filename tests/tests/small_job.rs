//! What the smallest job costs: its user waits for every sync that comes after another one.

use tests::metrics::metric;
use tests::{Dev, DevOptions};

/// Syncs between a submission and its success, one after the other: the job is accepted, its staging folder made, its splits
/// planned, the map done, the output's file made, its bytes kept, the file closed, the reduce done, the output published,
/// the job ended.
const SERIAL_SYNCS_MAX: u64 = 10;
/// Jobs of which the one counts that disturbed itself least: what is done after a job's end may be counted too.
const RUNS: usize = 5;

/// Syncs so far: of the two journals, and of chunks, each of which two servers sync at the same time.
fn syncs(dev: &Dev) -> [u64; 3] {
    let count = |daemon: &str, name: &str| {
        metric(dev, daemon, &format!("{name}_count ")).expect("the daemon answers") as u64
    };
    let seals =
        [1, 2, 3].map(|n| count(&format!("chunkserver-{n}"), "howdah_chunkserver_seal_seconds"));
    [
        count("jobtracker", "howdah_jobtracker_journal_sync_seconds"),
        count("chunkmaster", "howdah_chunkmaster_journal_sync_seconds"),
        seals.iter().sum::<u64>() / 2,
    ]
}

#[test]
fn a_small_job_waits_for_few_syncs() {
    let dev = Dev::start(&DevOptions::trackers(3).set("jobtracker.history_keep=0s"));
    dev.put_text(&"all work and no play\n".repeat(400), "/in/text");
    let run = |nth: usize| {
        let job = format!(
            "name: small\ninput: [/in]\noutput: /out/{nth}\nprogram: {{builtin: {{name: wordcount}}}}\n"
        );
        let file = dev.job_file("small.yaml", &job);
        let before = syncs(&dev);
        let _id = dev.run(&["job", "submit", &file, "--wait"]).success();
        let after = syncs(&dev);
        [0, 1, 2].map(|at| after[at] - before[at])
    };
    let runs: Vec<_> = (0..=RUNS).map(run).collect();
    println!("syncs of [jobtracker, chunkmaster, chunk] by job: {runs:?}");
    let least = runs[1..].iter().map(|run| run.iter().sum::<u64>()).min().expect("some ran");
    assert!(least <= SERIAL_SYNCS_MAX, "each job waited for {least} syncs at least: {runs:?}");
}
