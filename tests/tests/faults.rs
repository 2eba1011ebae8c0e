//! Real SIGKILLs in the middle of a job: its output is the same as if nothing had happened.

use std::collections::BTreeMap;
use std::fs;

use tests::books;
use tests::oracle::{count_words, lines_of_counts, lines_of_parts};
use tests::{Dev, DevOptions, long, runs};

/// A cluster whose job has many maps: one for each chunk of 1 MiB.
struct Experiment {
    dev: Dev,
    expected: Vec<Vec<u8>>,
    maps: u64,
}

impl Experiment {
    fn start() -> Self {
        let options = DevOptions::trackers(3)
            .set("chunkmaster.chunk_bytes=1MiB")
            .set("chunkmaster.replication=2")
            .set("chunkmaster.heartbeat_interval=300ms")
            .set("chunkmaster.dead_after=2s")
            .set("jobtracker.heartbeat_interval=300ms")
            .set("jobtracker.dead_after=2s");
        let dev = Dev::start(&options);
        let maps: u64 = if long() { 100 } else { 30 };
        let input = dev.scratch().join("text");
        books::generate(&input, &format!("{maps}MiB"), 11);
        let mut counts = BTreeMap::new();
        count_words(&fs::read(&input).expect("it was just written"), &mut counts);
        dev.put(&input, "/in/text");
        Self { dev, expected: lines_of_counts(&counts), maps }
    }

    /// Submits a word count, calls `disturb` when `percent` of the maps are done, and compares.
    fn disturbed(&mut self, run: &str, percents: &[u64], mut disturb: impl FnMut(&mut Dev, usize)) {
        let file = self.dev.job_file(
            "job.yaml",
            &format!(
                "name: {run}\ninput: [/in]\noutput: /out/{run}\nprogram:\n  \
                 builtin: {{name: wordcount}}\nreduces: 3\n"
            ),
        );
        let id = self.dev.run(&["job", "submit", &file]).success().text();
        for (nth, percent) in percents.iter().enumerate() {
            let enough = self.maps * percent / 100;
            let reached = |job: &serde_json::Value| {
                job["maps"]["total"] == self.maps
                    && job["maps"]["succeeded"].as_u64().is_some_and(|done| done >= enough)
            };
            self.dev.await_job(&id, &format!("{percent} % of the maps"), reached);
            disturb(&mut self.dev, nth);
        }
        self.dev.await_job(&id, "succeeds", |job| job["state"] == "SUCCEEDED");
        let got = self.dev.scratch().join(run);
        self.dev.get(&format!("/out/{run}"), &got);
        assert!(lines_of_parts(&got) == self.expected, "{run}: the output differs");
        fs::remove_dir_all(got).expect("the copy can be removed");
    }
}

#[test]
fn a_tasktracker_and_a_chunkserver_die_at_30_and_at_70_percent_of_the_maps() {
    let mut experiment = Experiment::start();
    for run in 0..runs(3) {
        experiment.disturbed(&format!("workers-{run}"), &[30, 70], |dev, nth| {
            // Different hosts: with two replicas each chunk outlives one chunkserver.
            if nth == 0 {
                dev.kill("tasktracker-1");
                dev.kill("chunkserver-2");
            } else {
                dev.restart("tasktracker-1");
                dev.restart("chunkserver-2");
                dev.kill("tasktracker-3");
                dev.kill("chunkserver-1");
            }
        });
        experiment.dev.restart("tasktracker-3");
        experiment.dev.restart("chunkserver-1");
    }
}

#[test]
fn the_jobtracker_dies_and_its_job_goes_on_when_it_is_back() {
    let mut experiment = Experiment::start();
    for run in 0..runs(3) {
        experiment.disturbed(&format!("jobtracker-{run}"), &[30, 70], |dev, _| {
            dev.kill("jobtracker");
            dev.restart("jobtracker");
        });
    }
}

#[test]
fn the_chunkmaster_dies_and_jobs_go_on_when_it_is_back() {
    let mut experiment = Experiment::start();
    for run in 0..runs(3) {
        experiment.disturbed(&format!("chunkmaster-{run}"), &[30, 70], |dev, _| {
            dev.kill("chunkmaster");
            dev.restart("chunkmaster");
        });
    }
}
