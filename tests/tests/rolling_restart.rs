//! Every daemon is restarted, one after the other, while files are put and jobs run: no put and no job fails, and nothing that
//! was written is lost or counted twice.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use serde_json::Value;
use tests::cluster::PATIENCE;
use tests::command::{finish, howdah};
use tests::oracle::{count_words_of, lines_of, lines_of_counts};
use tests::{Dev, DevOptions, books, wait};

/// In the order that docs/operating.md gives: the masters first.
const DAEMONS: [&str; 8] = [
    "chunkmaster",
    "jobtracker",
    "tasktracker-1",
    "chunkserver-1",
    "tasktracker-2",
    "chunkserver-2",
    "tasktracker-3",
    "chunkserver-3",
];
/// Threads that put files, and that submit jobs.
const PUTTERS: u64 = 2;
const SUBMITTERS: u64 = 2;

/// What people and their programs do meanwhile.
struct Load {
    config: PathBuf,
    text: PathBuf,
    is_over: AtomicBool,
    n_put: AtomicU64,
    n_jobs: AtomicU64,
    failures: Mutex<Vec<String>>,
}

impl Load {
    fn client(&self, args: &[&str]) -> Command {
        let mut command = howdah();
        command.args(args).arg("--config").arg(&self.config);
        command
    }

    /// Runs a command, which must succeed, and counts it.
    fn does(&self, mut command: Command, count: &AtomicU64) {
        let done = finish(&mut command);
        match done.code {
            Some(0) => drop(count.fetch_add(1, Ordering::Relaxed)),
            code => {
                let mut failures = self.failures.lock().expect("nobody panics with it");
                failures.push(format!("{command:?}: {code:?}: {}", done.stderr));
            }
        }
    }

    fn put_again_and_again(&self, who: u64) {
        let text = self.text.to_str().expect("temporary paths are text");
        for n in 0.. {
            if self.is_over.load(Ordering::Relaxed) {
                return;
            }
            self.does(self.client(&["fs", "put", text, &format!("/put/{who}-{n}")]), &self.n_put);
        }
    }

    fn submit_again_and_again(&self, who: u64, jobs: &Path) {
        for n in 0.. {
            if self.is_over.load(Ordering::Relaxed) {
                return;
            }
            let file = jobs.join(format!("{who}-{n}.yaml"));
            let job = format!(
                "name: words\ninput: [/in]\noutput: /out/{who}-{n}\nreduces: 2\nprogram: {{builtin: {{name: wordcount}}}}\n"
            );
            std::fs::write(&file, job).expect("a job file can be written");
            let file = file.to_str().expect("temporary paths are text");
            self.does(self.client(&["job", "submit", file, "--wait"]), &self.n_jobs);
        }
    }

    fn counts(&self) -> (u64, u64) {
        (self.n_put.load(Ordering::Relaxed), self.n_jobs.load(Ordering::Relaxed))
    }

    /// Waits until files have been put and jobs have run since then, or something failed.
    fn await_more_than(&self, (put, jobs): (u64, u64)) {
        wait::until("files are put and jobs run", PATIENCE, || {
            let (put_now, jobs_now) = self.counts();
            let has_failed = !self.failures.lock().expect("nobody panics with it").is_empty();
            (has_failed || put_now > put && jobs_now > jobs).then_some(())
        });
    }
}

/// What an operator waits for before the next daemon.
fn await_well(dev: &Dev) {
    wait::until("all chunks are where they belong", PATIENCE, || {
        let report = dev.run(&["fs", "report", "--format", "json"]);
        let report: Value = serde_json::from_slice(&report.stdout).ok()?;
        let (totals, repairs) = (&report["totals"], &report["repairs"]);
        let is_well = totals["servers_live"] == 3
            && repairs["chunks_missing"] == 0
            && report["safe_mode"].is_null();
        is_well.then_some(())
    });
}

fn check_all(dev: &Dev, text: &Path, n_expected: u64) {
    let put = std::fs::read(text).expect("it is ours");
    let names = |folder: &str| {
        let listed = dev.run(&["fs", "ls", folder, "--format", "json"]).success().text();
        let listed: Value = serde_json::from_str(&listed).expect("JSON");
        let entries = listed["entries"].as_array().expect("a list").clone();
        entries
            .into_iter()
            .map(|it| it["path"].as_str().expect("a path").to_owned())
            .collect::<Vec<_>>()
    };
    let files = names("/put");
    assert_eq!(files.len() as u64, n_expected, "each file is there once: {files:?}");
    for path in files {
        assert!(
            dev.run(&["fs", "cat", &path]).success().stdout == put,
            "{path} is not what was put"
        );
    }
    let counted: BTreeMap<_, _> = count_words_of(text);
    let expected = lines_of_counts(&counted);
    for output in names("/out") {
        let mut lines =
            lines_of(&dev.run(&["fs", "cat", &format!("{output}/part-*")]).success().stdout);
        lines.sort_unstable();
        assert!(lines == expected, "{output} is not what one machine counts");
    }
    let checked = dev.run(&["fs", "fsck", "/"]).success().text();
    assert!(checked.contains("0 missing, 0 corrupt"), "{checked}");
}

/// Restarts all daemons of a cluster, which are of another binary at first if one is given.
fn restart_all(former: Option<&PathBuf>) {
    let options = DevOptions::trackers(3).set("chunkmaster.chunk_bytes=256KiB");
    let mut dev = Dev::start(&DevOptions { binary: former.cloned(), ..options });
    let text = dev.scratch().join("text");
    books::generate(&text, "1MiB", 5);
    dev.put(&text, "/in/text");
    let jobs = dev.scratch().join("jobs");
    std::fs::create_dir(&jobs).expect("a folder can be made");
    let load = Load {
        config: dev.config_file(),
        text: text.clone(),
        is_over: AtomicBool::new(false),
        n_put: AtomicU64::new(0),
        n_jobs: AtomicU64::new(0),
        failures: Mutex::default(),
    };
    for folder in ["/put", "/out"] {
        let _ = dev.run(&["fs", "mkdir", folder]).success();
    }
    std::thread::scope(|scope| {
        for who in 0..PUTTERS {
            let load = &load;
            scope.spawn(move || load.put_again_and_again(who));
        }
        for who in 0..SUBMITTERS {
            let (load, jobs) = (&load, &jobs);
            scope.spawn(move || load.submit_again_and_again(who, jobs));
        }
        let end = EndOfLoad(&load);
        // TaskTrackers whose protocol the new JobTracker does not speak end by themselves: jobs wait for the first new one.
        let is_other = former.is_some();
        for daemon in DAEMONS {
            let waits = is_other && daemon.starts_with("tasktracker");
            if !waits {
                load.await_more_than(load.counts());
            }
            println!("{daemon} is restarted after {:?} puts and jobs", load.counts());
            if !waits || dev.runs(daemon) {
                dev.terminate(daemon);
            }
            dev.restart(daemon);
            if !is_other {
                dev.await_trackers(3);
            }
            await_well(&dev);
        }
        dev.await_trackers(3);
        load.await_more_than(load.counts());
        drop(end);
    });
    let failures = load.failures.into_inner().expect("nobody panicked with it");
    assert!(failures.is_empty(), "{} failed:\n{}", failures.len(), failures.join("\n"));
    let (n_put, n_jobs) = (load.n_put.into_inner(), load.n_jobs.into_inner());
    println!("{n_put} files were put, {n_jobs} jobs ran");
    assert!(n_put >= DAEMONS.len() as u64 && n_jobs >= DAEMONS.len() as u64);
    check_all(&dev, &text, n_put);
}

/// Ends the load, also when the test fails.
struct EndOfLoad<'a>(&'a Load);

impl Drop for EndOfLoad<'_> {
    fn drop(&mut self) {
        self.0.is_over.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_rolling_restart_of_every_daemon_under_load_fails_no_put_and_no_job() {
    restart_all(None);
}

/// The data folders of another build, and its daemons beside ours.
#[test]
fn a_cluster_of_a_former_build_is_taken_over_daemon_by_daemon_under_load() {
    match config::env::process().former_bin() {
        Some(former) => restart_all(Some(&former)),
        None => println!("skipped: HOWDAH_FORMER_BIN names no binary of a former build"),
    }
}
