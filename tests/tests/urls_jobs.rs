//! Jobs from and to a local S3 server, with kills in the middle: their outputs are those of a plain count, and nothing
//! else is left in the bucket. Skipped, and said to be, where there is no such server.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use tests::cluster::PATIENCE;
use tests::oracle::{count_words, lines_of, lines_of_counts};
use tests::s3::{BUCKET, S3, SECRET};
use tests::{Dev, DevOptions, books, http, long, runs, wait};

/// A cluster that knows the server, with words in the bucket.
struct Experiment {
    dev: Dev,
    s3: S3,
    expected: Vec<Vec<u8>>,
    maps: u64,
}

impl Experiment {
    fn start() -> Option<Self> {
        let s3 = S3::start()?;
        let mut dev = Dev::to_be_started();
        let secret = dev.scratch().join("s3.secret");
        fs::write(&secret, SECRET).expect("a file can be written");
        let owners = fs::Permissions::from_mode(0o600);
        fs::set_permissions(&secret, owners).expect("it is ours");
        let options = DevOptions::trackers(2)
            .set(&format!("stores=[{}]", s3.entry_with_file(&secret)))
            .set("jobtracker.split_bytes=256KiB")
            .set("jobtracker.heartbeat_interval=300ms")
            .set("jobtracker.dead_after=2s")
            .set("client.retry_for=20s");
        dev.start_again(&options);
        let (objects, maps) = if long() { (40, 160) } else { (8, 32) };
        let folder = dev.scratch().join("text");
        fs::create_dir(&folder).expect("a folder can be made");
        let mut counts = BTreeMap::new();
        for n in 0..objects {
            let file = folder.join(format!("{n:02}"));
            books::generate(&file, "1MiB", n);
            count_words(&fs::read(&file).expect("it was just written"), &mut counts);
        }
        drop(dev.run(&["fs", "put", text(&folder), &url("in")]).success());
        // What jobs leave beside data is no input.
        s3.put("in/_SUCCESS", "no words");
        s3.put("in/sub/x", "no words");
        Some(Self { dev, s3, expected: lines_of_counts(&counts), maps })
    }

    fn submit(&self, input: &str, output: &str) -> String {
        let job = format!(
            "name: words\ninput: ['{input}']\noutput: '{output}'\nprogram:\n  \
             builtin: {{name: wordcount}}\nreduces: 6\n"
        );
        let file = self.dev.job_file("job.yaml", &job);
        self.dev.run(&["job", "submit", &file]).success().text()
    }

    fn succeeded(&self, id: &str) {
        self.dev.await_job(id, "ends", |job| {
            assert_ne!(job["state"], "FAILED", "{job}");
            job["state"] == "SUCCEEDED"
        });
    }

    /// The output is that of a plain count, and beside it nothing is left.
    fn check_output(&self, folder: &str) {
        let parts: Vec<_> = (0..6).map(|n| format!("{folder}/part-r-{n:05}")).collect();
        let expected: Vec<_> =
            [format!("{folder}/_SUCCESS")].into_iter().chain(parts.iter().cloned()).collect();
        assert_eq!(self.s3.keys(&format!("{folder}/")), expected);
        let mut lines: Vec<_> =
            parts.iter().flat_map(|part| lines_of(self.s3.text(part).as_bytes())).collect();
        lines.sort_unstable();
        assert!(lines == self.expected, "{folder}: the output differs");
        self.await_no_uploads();
    }

    /// What was not published is swept away when the job has ended.
    fn await_no_uploads(&self) {
        wait::until("no upload is left unfinished", PATIENCE, || {
            self.s3.uploads().is_empty().then_some(())
        });
    }
}

fn url(key: &str) -> String {
    format!("s3://{BUCKET}/{key}")
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path of text")
}

/// Files below `folder` that hold the secret, but for the one that is to.
fn holders_of_the_secret(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(holders_of_the_secret(&path));
        } else if path.file_name().is_some_and(|name| name != "s3.secret") {
            let bytes = fs::read(&path).unwrap_or_default();
            if bytes.windows(SECRET.len()).any(|window| window == SECRET.as_bytes()) {
                found.push(path.display().to_string());
            }
        }
    }
    found
}

#[test]
fn a_word_count_from_and_to_s3_is_right_with_a_tasktracker_and_the_jobtracker_killed_in_the_middle()
{
    let Some(mut experiment) = Experiment::start() else { return };
    for run in 0..runs(3) {
        let out = format!("out-{run}");
        let id = experiment.submit(&url("in"), &url(&out));
        let maps = experiment.maps;
        experiment.dev.await_job(&id, "30 % of the maps", |job| {
            job["maps"]["total"] == maps
                && job["maps"]["succeeded"].as_u64().is_some_and(|done| done >= maps * 3 / 10)
        });
        experiment.dev.kill("tasktracker-1");
        // Parts are staged, and none is published: whoever made them, or decides on them, dies.
        wait::until("a part is staged", PATIENCE, || {
            (!experiment.s3.uploads().is_empty()).then_some(())
        });
        experiment.dev.kill("jobtracker");
        experiment.dev.kill("tasktracker-2");
        assert_eq!(experiment.s3.keys(&format!("{out}/")), Vec::<String>::new());
        experiment.dev.restart("jobtracker");
        experiment.dev.restart("tasktracker-1");
        experiment.dev.restart("tasktracker-2");
        experiment.succeeded(&id);
        experiment.check_output(&out);
    }
    let scratch = experiment.dev.scratch();
    assert_eq!(holders_of_the_secret(scratch), Vec::<String>::new());
}

#[test]
fn jobs_go_between_s3_and_the_chunk_store_and_leave_nothing_when_they_are_killed_or_refused() {
    let Some(mut experiment) = Experiment::start() else { return };
    let id = experiment.submit(&url("in/"), "/counted");
    experiment.succeeded(&id);
    let got = experiment.dev.scratch().join("counted");
    experiment.dev.get("/counted", &got);
    assert!(tests::oracle::lines_of_parts(&got) == experiment.expected, "into the chunk store");
    drop(experiment.dev.run(&["fs", "cp", "-r", &url("in"), "/"]).success());
    drop(experiment.dev.run(&["fs", "rm", "-r", "/in/_SUCCESS", "/in/sub"]).success());
    let id = experiment.submit("howdah:///in", &url("counted/"));
    experiment.succeeded(&id);
    experiment.check_output("counted");

    let refused = |input: &str, output: &str, status: u16, said: &[&str]| {
        let job = serde_json::json!({
            "name": "words", "input": [input], "output": output,
            "program": {"builtin": {"name": "wordcount"}},
        });
        let address = experiment.dev.jobtracker();
        let answer = http::request(&address, "POST", "/v1/jobs", &[], &job.to_string());
        let answer = answer.expect("an answer");
        assert_eq!(answer.status, status, "{}", answer.text);
        assert!(said.iter().all(|said| answer.text.contains(said)), "{}", answer.text);
    };
    refused(&url("in"), &url("counted"), 409, &["holds objects already", "fs rm -r"]);
    refused(&url("no/such"), &url("new"), 404, &["no/such holds no files"]);
    refused("s3://other/in", &url("new"), 400, &["s3://other/in", "`stores`", "jobs: true"]);
    refused(
        "file:///etc",
        "/new",
        400,
        &["file:///etc", "`stores`", "of the JobTracker (127.0.0.1:"],
    );
    refused(&url("in"), "s3://b-1", 400, &["whole bucket"]);
    refused(&url("in"), &url("in/out"), 400, &["overlaps"]);

    let id = experiment.submit(&url("in"), &url("killed"));
    wait::until("a part is staged", PATIENCE, || {
        (!experiment.s3.uploads().is_empty()).then_some(())
    });
    // The reduce that has staged it is not the last one, since there are fewer slots than reduces; should it be,
    // the job can't be killed any more.
    experiment.dev.kill("tasktracker-1");
    experiment.dev.kill("tasktracker-2");
    drop(experiment.dev.run(&["job", "kill", &id]).success());
    experiment.await_no_uploads();
    assert_eq!(experiment.s3.keys("killed"), Vec::<String>::new());
}

#[test]
fn an_input_that_is_replaced_after_the_plan_fails_the_job_by_its_name() {
    let Some(mut experiment) = Experiment::start() else { return };
    experiment.dev.kill("tasktracker-1");
    experiment.dev.kill("tasktracker-2");
    let id = experiment.submit(&url("in"), &url("out"));
    let maps = experiment.maps;
    experiment.dev.await_job(&id, "is planned", |job| job["maps"]["total"] == maps);
    // As long as before: only its e-tag tells.
    let length = experiment.s3.text("in/03").len();
    experiment.s3.put("in/03", &"x ".repeat(length)[..length]);
    experiment.dev.restart("tasktracker-1");
    experiment.dev.restart("tasktracker-2");
    let ended = experiment.dev.await_job(&id, "fails", |job| job["state"] == "FAILED");
    let failure = ended["failure"].as_str().expect("a reason");
    assert!(failure.contains(&url("in/03")) && failure.contains("replaced"), "{failure}");
    experiment.await_no_uploads();
    assert_eq!(experiment.s3.keys("out"), Vec::<String>::new());
}
