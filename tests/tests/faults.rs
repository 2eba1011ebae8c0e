//! Real SIGKILLs in the middle of a job: its output is the same as if nothing had happened.

use std::collections::BTreeMap;
use std::fs;

use serde_json::Value;
use tests::books;
use tests::cluster::PATIENCE;
use tests::oracle::{count_words, lines_of_counts, lines_of_parts};
use tests::{Dev, DevOptions, http, long, runs, wait};

/// A cluster whose job has many maps: one for each chunk of 1 MiB.
struct Experiment {
    dev: Dev,
    expected: Vec<Vec<u8>>,
    lines: u64,
    maps: u64,
}

impl Experiment {
    /// With TaskTrackers that count as dead after so much silence.
    fn start(dead_after: &str) -> Self {
        let options = DevOptions::trackers(3)
            .set("chunkmaster.chunk_bytes=1MiB")
            .set("chunkmaster.replication=2")
            .set("chunkmaster.heartbeat_interval=300ms")
            .set("chunkmaster.dead_after=2s")
            .set("jobtracker.heartbeat_interval=300ms")
            .set(&format!("jobtracker.dead_after={dead_after}"));
        let dev = Dev::start(&options);
        let maps: u64 = if long() { 100 } else { 30 };
        let input = dev.scratch().join("text");
        books::generate(&input, &format!("{maps}MiB"), 11);
        let text = fs::read(&input).expect("it was just written");
        let mut counts = BTreeMap::new();
        count_words(&text, &mut counts);
        dev.put(&input, "/in/text");
        let lines = text.split_inclusive(|byte| *byte == b'\n').count() as u64;
        Self { dev, expected: lines_of_counts(&counts), lines, maps }
    }

    /// Submits a word count.
    fn submit(&self, run: &str) -> String {
        let file = self.dev.job_file(
            "job.yaml",
            &format!(
                "name: {run}\ninput: [/in]\noutput: /out/{run}\nprogram:\n  \
                 builtin: {{name: wordcount}}\nreduces: 3\n"
            ),
        );
        self.dev.run(&["job", "submit", &file]).success().text()
    }

    /// Waits until so many of the job's maps are done.
    fn reach(&self, id: &str, percent: u64) -> Value {
        let enough = self.maps * percent / 100;
        self.dev.await_job(id, &format!("{percent} % of the maps"), |job| {
            job["maps"]["total"] == self.maps
                && job["maps"]["succeeded"].as_u64().is_some_and(|done| done >= enough)
        })
    }

    /// Waits for the job's end, and compares.
    fn finish(&self, run: &str, id: &str) {
        self.dev.await_job(id, "succeeds", |job| job["state"] == "SUCCEEDED");
        let got = self.dev.scratch().join(run);
        self.dev.get(&format!("/out/{run}"), &got);
        assert!(lines_of_parts(&got) == self.expected, "{run}: the output differs");
        fs::remove_dir_all(got).expect("the copy can be removed");
        let path = format!("/v1/jobs/{id}/counters");
        let counters = http::get(&self.dev.jobtracker(), &path).expect("an answer").body;
        let lines = &counters["counters"]["task.MAP_INPUT_RECORDS"];
        assert_eq!(lines, &Value::from(self.lines), "{run}: each line counts once");
    }

    /// Checks what an ended job says of its attempts: where they ran, and what they read.
    fn check_attempts(&self, id: &str) {
        let job = http::get(&self.dev.jobtracker(), &format!("/v1/jobs/{id}")).expect("an answer");
        let number = |kind: &str, name: &str| job.body[kind][name].as_u64().expect("a number");
        let n_maps = number("maps", "attempts");
        assert!(n_maps >= self.maps && number("reduces", "attempts") >= 3, "{}", job.text);
        let (near, rack) = (number("maps", "node_local"), number("maps", "rack_local"));
        assert_eq!(near + rack + number("maps", "off_rack"), n_maps, "{}", job.text);
        assert!(near > n_maps / 2, "two of three hosts have each chunk: {}", job.text);
        let path = format!("/v1/jobs/{id}/attempts");
        let list = http::get(&self.dev.jobtracker(), &path).expect("an answer").body;
        let list = list["attempts"].as_array().expect("a list");
        assert!(list.len() as u64 <= n_maps + number("reduces", "attempts"), "{}", job.text);
        let maps: Vec<_> = list.iter().filter(|it| !it["split"].is_null()).collect();
        assert!(maps.len() as u64 >= self.maps, "each map names its split");
        assert!(maps.iter().all(|map| map["split"]["pieces"][0]["path"] == "/in/text"));
    }

    /// Runs a word count, calls `disturb` when `percent` of the maps are done, and compares.
    fn disturbed(
        &mut self,
        run: &str,
        percents: &[u64],
        mut disturb: impl FnMut(&mut Dev, usize),
    ) -> String {
        let id = self.submit(run);
        for (nth, percent) in percents.iter().enumerate() {
            self.reach(&id, *percent);
            disturb(&mut self.dev, nth);
        }
        self.finish(run, &id);
        id
    }

    /// Waits until no TaskTracker holds anything of a job but its logs.
    fn await_purge(&self, id: &str) {
        for host in self.dev.config().all_hosts() {
            let folder = host.tasktracker_dir.join("outputs").join(id);
            let gone = || (!folder.exists()).then_some(());
            wait::until(&format!("{id} is purged from {}", host.name), PATIENCE, gone);
        }
    }
}

#[test]
fn a_tasktracker_and_a_chunkserver_die_at_30_and_at_70_percent_of_the_maps() {
    let mut experiment = Experiment::start("2s");
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
fn chunkservers_die_one_after_the_other_and_no_file_is_lost() {
    let options = DevOptions::trackers(4)
        .set("chunkmaster.chunk_bytes=1MiB")
        .set("chunkmaster.replication=2")
        .set("chunkmaster.heartbeat_interval=200ms")
        .set("chunkmaster.dead_after=2s");
    let mut dev = Dev::start(&options);
    let file = dev.scratch().join("text");
    books::generate(&file, if long() { "1GiB" } else { "64MiB" }, 17);
    dev.put(&file, "/text");
    let chunkmaster = dev.address_of("chunkmaster");
    let gauge = |name: &str| {
        let page = http::get(&chunkmaster, "/metrics").ok()?.text;
        let lines = page.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        lines.filter_map(|value| value.trim().parse::<f64>().ok()).next()
    };
    let whole = |live: f64| {
        let is = |name, value| gauge(name) == Some(value);
        (is("howdah_chunkmaster_servers_live", live)
            && is("howdah_chunkmaster_sweeping", 0.0)
            && is("howdah_chunkmaster_repairs_waiting", 0.0)
            && is("howdah_chunkmaster_repairs_running", 0.0))
        .then_some(())
    };
    // Two replicas each: without repair, the second death would lose a sixth of the file.
    for (server, live) in [("chunkserver-1", 3.0), ("chunkserver-2", 2.0)] {
        dev.kill(server);
        wait::until(&format!("what {server} held is made again"), PATIENCE, || whole(live));
        assert_eq!(gauge("howdah_chunkmaster_chunks_missing"), Some(0.0));
    }
    let got = dev.scratch().join("got");
    dev.get("/text", &got);
    assert!(fs::read(&got).unwrap() == fs::read(&file).unwrap(), "other bytes came back");
}

#[test]
fn the_jobtracker_dies_and_its_job_goes_on_when_it_is_back() {
    let mut experiment = Experiment::start("2s");
    for run in 0..runs(3) {
        let id = experiment.disturbed(&format!("jobtracker-{run}"), &[30, 70], |dev, _| {
            dev.kill("jobtracker");
            dev.restart("jobtracker");
        });
        experiment.check_attempts(&id);
    }
}

#[test]
fn the_chunkmaster_dies_and_jobs_go_on_when_it_is_back() {
    let mut experiment = Experiment::start("2s");
    for run in 0..runs(3) {
        experiment.disturbed(&format!("chunkmaster-{run}"), &[30, 70], |dev, _| {
            dev.kill("chunkmaster");
            dev.restart("chunkmaster");
        });
    }
}

#[test]
fn a_tasktracker_that_starts_again_in_mid_shuffle_serves_the_outputs_it_had() {
    // Longer than its absence, on a busy machine too: what it held is not to be taken for lost.
    let mut experiment = Experiment::start("60s");
    for run in 0..runs(3) {
        let run = format!("shuffle-{run}");
        let id = experiment.submit(&run);
        experiment.reach(&id, 80);
        let fetches = |job: &Value| job["reduces"]["running"].as_u64().is_some_and(|n| n > 0);
        let job = experiment.dev.await_job(&id, "reduces run", fetches);
        assert_eq!(job["reduces"]["succeeded"], 0, "in mid-shuffle");
        experiment.dev.kill("tasktracker-1");
        experiment.dev.restart("tasktracker-1");
        experiment.finish(&run, &id);
        let lost = experiment.dev.jobtracker_counter("howdah_jobtracker_map_outputs_lost_total");
        assert_eq!(lost, 0, "they are on its disk");
    }
}

#[test]
fn a_tasktracker_that_comes_back_from_the_dead_changes_nothing() {
    let experiment = Experiment::start("2s");
    for run in 0..runs(3) {
        let run = format!("zombie-{run}");
        let id = experiment.submit(&run);
        experiment.reach(&id, 30);
        experiment.dev.freeze("tasktracker-1");
        experiment.dev.await_trackers(2);
        experiment.dev.thaw("tasktracker-1");
        experiment.dev.await_trackers(3);
        experiment.finish(&run, &id);
        let lost = experiment.dev.jobtracker_counter("howdah_jobtracker_map_outputs_lost_total");
        assert!(lost > 0, "what it held was made again elsewhere");
        experiment.await_purge(&id);
    }
}

#[test]
fn a_jobtracker_with_a_new_journal_takes_nothing_of_the_old_ones_jobs_for_its_own() {
    let mut experiment = Experiment::start("2s");
    let old = experiment.submit("old");
    experiment.reach(&old, 30);
    experiment.dev.kill("jobtracker");
    fs::remove_dir_all(experiment.dev.config().jobtracker.data_dir).expect("it is there");
    experiment.dev.restart_with("jobtracker", &["--init"]);
    let new = experiment.submit("new");
    assert_ne!(old, new);
    experiment.finish("new", &new);
    experiment.await_purge(&old);
    let forgotten = http::get(&experiment.dev.jobtracker(), &format!("/v1/jobs/{old}"));
    assert_eq!(forgotten.expect("an answer").status, 404);
    assert_eq!(experiment.dev.live_trackers(), Some(3));
}
