//! Inputs that change between a job's plan and its maps: a file that is replaced, though by one of the same length, fails the
//! job at its first attempt; what is appended to one is left to the next job.

use serde_json::Value;
use tests::{Dev, DevOptions};

/// A cluster whose maps don't run yet, and a job that counts the words of `/in` and is planned.
fn planned(text: &str) -> (Dev, String) {
    let mut dev = Dev::start(&DevOptions::trackers(1));
    dev.put_text(text, "/in/a");
    dev.kill("tasktracker-1");
    let job = dev.job_file(
        "count.yaml",
        "name: count\ninput: [/in]\noutput: /out\nprogram: {builtin: {name: wordcount}}\n",
    );
    let id = dev.run(&["job", "submit", &job]).success().text();
    dev.await_job(&id, "is planned", |job| job["maps"]["total"] == 1);
    (dev, id)
}

/// Lets the maps run; the job at its end.
fn ended(dev: &mut Dev, id: &str) -> Value {
    dev.restart("tasktracker-1");
    dev.await_job(id, "ends", |job| !job["finished_at"].is_null())
}

#[test]
fn a_file_that_is_replaced_by_one_of_its_length_fails_the_job_at_once_and_says_so() {
    let (mut dev, id) = planned("one two\n");
    let other = dev.scratch().join("other");
    std::fs::write(&other, "six ten\n").expect("the scratch folder takes files");
    let _ = dev.run(&["fs", "put", "-f", &other.to_string_lossy(), "/in/a"]).success();
    let job = ended(&mut dev, &id);
    assert_eq!(job["state"], "FAILED", "{job}");
    let failure = job["failure"].as_str().expect("it says why");
    assert!(failure.contains("/in/a") && failure.contains("replaced"), "{failure}");
    assert_eq!(job["maps"]["failed_attempts"], 1, "{job}");
}

#[test]
fn what_is_appended_to_an_input_is_left_to_the_next_job() {
    let (mut dev, id) = planned("one two\n");
    let more = dev.scratch().join("more");
    std::fs::write(&more, "three\n").expect("the scratch folder takes files");
    let _ = dev.run(&["fs", "append", &more.to_string_lossy(), "/in/a"]).success();
    let job = ended(&mut dev, &id);
    assert_eq!(job["state"], "SUCCEEDED", "{job}");
    let counts = dev.run(&["fs", "cat", "/out/part-r-00000"]).success().text();
    assert_eq!(counts.lines().collect::<Vec<_>>(), ["one\t1", "two\t1"]);
}
