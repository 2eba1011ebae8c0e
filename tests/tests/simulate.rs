//! `howdah simulate` of a job that has never run: it needs no cluster, only a configuration.

use std::path::Path;

use tests::command::run;

const JOB: &str =
    "name: sort\ninput: [/in]\noutput: /out\nreduces: 30\nprogram: {builtin: {name: sort}}\n";

/// What it says as JSON.
fn simulate(job: &Path, args: &[&str]) -> serde_json::Value {
    let job = job.to_str().expect("a path of ours");
    let fixed = ["simulate", "--format", "json", "--input-bytes", "10GiB", "--job", job];
    let text = run(fixed.iter().chain(args)).success().text();
    serde_json::from_str(&text).expect("a document")
}

fn time(document: &serde_json::Value) -> f64 {
    document["report"]["time_s"].as_f64().expect("a time")
}

#[test]
fn a_cluster_and_a_configuration_are_tried_without_running_anything() {
    let folder = tempfile::tempdir().expect("there is room for a file");
    let job = folder.path().join("sort.yaml");
    std::fs::write(&job, JOB).expect("it can be written");
    let ten = simulate(&job, &[]);
    assert_eq!(ten, simulate(&job, &[]), "the same seed gives the same answer");
    assert_eq!(ten["report"]["jobs"][0]["maps"], 160);
    assert_eq!(ten["compared"]["trackers"], 20);
    let forty = simulate(&job, &["--trackers", "40"]);
    assert!(time(&forty) < time(&ten) * 0.75, "{forty} {ten}");

    let slow = ["--slow", "1", "--slow-factor", "10"];
    let backed_up = simulate(&job, &slow);
    let config = folder.path().join("without.yaml");
    std::fs::write(&config, "jobtracker: {speculative: false}\n").expect("it can be written");
    let config = config.to_str().expect("a path of ours");
    let without = simulate(&job, &[slow.as_slice(), &["--config", config]].concat());
    assert!(time(&without) > time(&backed_up) * 1.5, "{without} {backed_up}");
    assert!(backed_up["report"]["backups"]["won"].as_u64() > Some(0), "{backed_up}");

    let killed = simulate(&job, &["--kill", "20%", "--kill-at", "10s"]);
    assert!(killed["report"]["map_outputs_lost"].as_u64() > Some(0), "{killed}");
    assert!(time(&killed) > time(&ten), "{killed}");
}

#[test]
fn what_can_not_be_simulated_is_said_before_anything_is() {
    let folder = tempfile::tempdir().expect("there is room for a file");
    let job = folder.path().join("sort.yaml");
    std::fs::write(&job, JOB).expect("it can be written");
    let job = job.to_str().expect("a path of ours");
    drop(run(["simulate"]).refused(2, &["--job", "--history"]));
    drop(run(["simulate", "--job", job]).refused(2, &["--input-bytes"]));
    let refused = |args: &[&str], why: &str| {
        let fixed = ["simulate", "--input-bytes", "1GiB", "--job", job];
        drop(run(fixed.iter().chain(args)).refused(2, &[why]));
    };
    refused(&["--slow", "11"], "11 hosts are to be slow");
    refused(&["--kill", "101%"], "101%");
    refused(&["--trackers", "0"], "1 to 100000 hosts");
    refused(&["--slow-factor", "0"], "above 0");
    refused(&["--job", "/nowhere.yaml"], "--job");
    drop(run(["simulate", "--input-bytes", "0", "--job", job]).refused(2, &["no job with a map"]));
    let dead =
        ["simulate", "--input-bytes", "1GiB", "--job", job, "--kill", "100%", "--kill-at", "1s"];
    drop(run(dead).refused(1, &["do not end"]));
}
