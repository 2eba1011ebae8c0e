//! `kill -9` of daemons at random moments, while several jobs run: outputs are what one process makes of the same input, no
//! job stands still, and what had been done is not done again. Chance is seeded; the moments are those of this machine.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clock::Stopwatch;
use serde_json::Value;
use tests::books;
use tests::cluster::PATIENCE;
use tests::command::run;
use tests::contents::Numbers;
use tests::job_author::trial;
use tests::{Dev, DevOptions, http, long, wait};

const TRACKERS: u64 = 3;
const SLOTS: u64 = 4;
/// Of each job.
const MAPS: u64 = 12;
/// Silence after which a tracker counts as dead.
const DEAD_AFTER: Duration = Duration::from_secs(2);

/// A cluster, and a program whose tasks take a while.
struct Experiment {
    dev: Dev,
    program: PathBuf,
}

impl Experiment {
    fn start(dead_after: Duration) -> Self {
        let options = DevOptions::trackers(TRACKERS as u32)
            .set("chunkmaster.chunk_bytes=1MiB")
            .set("jobtracker.split_bytes=128KiB")
            .set("chunkmaster.replication=2")
            .set("chunkmaster.heartbeat_interval=200ms")
            .set("chunkmaster.dead_after=2s")
            .set("jobtracker.heartbeat_interval=200ms")
            .set(&format!("jobtracker.dead_after={}ms", dead_after.as_millis()))
            .set("jobtracker.locality_wait=0s")
            .set(&format!("tasktracker.slots={SLOTS}"));
        let dev = Dev::start(&options);
        let program = trial(dev.scratch());
        let input = dev.scratch().join("text");
        books::generate(&input, &format!("{}KiB", 128 * MAPS), 31);
        dev.put(&input, "/in/text");
        Self { dev, program }
    }

    /// A job file; `more` are further keys.
    fn job_file(&self, name: &str, job: &Job, more: &str) -> String {
        let (program, Job { what, reduces, millis }) = (self.program.display(), job);
        self.dev.job_file(
            &format!("{name}.yaml"),
            &format!(
                "name: {name}\nprogram:\n  native: {{executable: {program}, args: [{what}, '{millis}']}}\n\
                 reduces: {reduces}\n{more}"
            ),
        )
    }

    fn submit(&self, name: &str, job: &Job, more: &str) -> String {
        let paths = format!("input: [/in]\noutput: /out/{name}\n{more}");
        self.dev.run(&["job", "submit", &self.job_file(name, job, &paths)]).success().text()
    }

    /// What one process makes of the same input, the plain way.
    fn expected(&self, job: &Job) -> Vec<u8> {
        let (name, input) = (format!("{}-alone", job.what), self.dev.scratch().join("text"));
        let output = self.dev.scratch().join(&name);
        let paths = format!("input: [{}]\noutput: {}\n", input.display(), output.display());
        let _ = run(["local", &self.job_file(&name, job, &paths), "--sequential"]).success();
        bytes_of_parts(&output)
    }

    /// Waits for the job's end; the bytes of its parts, and how long it took by the JobTracker's clock.
    fn finish(&self, name: &str, id: &str) -> (Vec<u8>, f64) {
        let job = self.dev.await_job(id, "succeeds", |job| job["state"] == "SUCCEEDED");
        let got = self.dev.scratch().join(name);
        self.dev.get(&format!("/out/{name}"), &got);
        let bytes = bytes_of_parts(&got);
        fs::remove_dir_all(got).expect("the copy can be removed");
        let at = |key: &str| job[key].as_i64().expect("a time");
        (bytes, (at("finished_at") - at("submitted_at")) as f64 / 1000.0)
    }

    /// What became of the job's attempts.
    fn attempts(&self, id: &str) -> BTreeMap<String, String> {
        let path = format!("/v1/jobs/{id}/attempts");
        let list = http::get(&self.dev.jobtracker(), &path).expect("an answer").body;
        let text = |attempt: &Value, key: &str| attempt[key].as_str().expect("text").to_owned();
        let all = list["attempts"].as_array().expect("a list").iter();
        all.map(|attempt| (text(attempt, "attempt"), text(attempt, "state"))).collect()
    }
}

/// What a job does, and for how long at least each task of it.
struct Job {
    what: &'static str,
    reduces: u64,
    millis: u64,
}

/// The bytes of all parts, one after the other.
fn bytes_of_parts(folder: &Path) -> Vec<u8> {
    let entries = fs::read_dir(folder).expect("an output folder").flatten();
    let is_part = |path: &PathBuf| {
        path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("part-"))
    };
    let mut parts: Vec<_> = entries.map(|entry| entry.path()).filter(is_part).collect();
    parts.sort();
    parts.iter().flat_map(|part| fs::read(part).expect("a part can be read")).collect()
}

/// Waits until so much time has passed.
fn await_time(watch: &Stopwatch, time: Duration) {
    let passed = || (watch.elapsed() >= time).then_some(());
    wait::until("time passes", time + PATIENCE, passed);
}

fn median(times: &[f64]) -> f64 {
    let mut times = times.to_vec();
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// Runs of a repeated experiment.
fn runs() -> u64 {
    if long() { 100 } else { 5 }
}

const LOAD: [Job; 3] = [
    Job { what: "count", reduces: 3, millis: 700 },
    Job { what: "sort", reduces: 3, millis: 700 },
    Job { what: "shout", reduces: 0, millis: 1000 },
];

/// Runs all jobs of the load at once, calls `disturb` meanwhile, and compares; how long each took.
fn run_load(
    experiment: &mut Experiment,
    run: &str,
    expected: &[Vec<u8>],
    disturb: impl FnOnce(&mut Dev),
) -> Vec<f64> {
    let name = |job: &Job| format!("{}-{run}", job.what);
    let ids: Vec<_> = LOAD.iter().map(|job| experiment.submit(&name(job), job, "")).collect();
    disturb(&mut experiment.dev);
    let mut times = Vec::new();
    for ((job, id), expected) in LOAD.iter().zip(&ids).zip(expected) {
        let (bytes, seconds) = experiment.finish(&name(job), id);
        assert!(bytes == *expected, "{}: the output differs", name(job));
        times.push(seconds);
    }
    times
}

/// Kills each kind of daemon once, in any order, at any moment of `time`, and starts it again after a moment.
fn kill_each(dev: &mut Dev, numbers: &mut Numbers, time: Duration) {
    let mut someone = |kind: &str| format!("{kind}-{}", 1 + numbers.below(TRACKERS));
    let (tracker, server) = (someone("tasktracker"), someone("chunkserver"));
    let victims = ["jobtracker", "chunkmaster", &tracker, &server];
    let mut kills: Vec<_> = victims
        .map(|victim| (numbers.below(time.as_millis() as u64), numbers.below(1000), victim))
        .to_vec();
    kills.sort();
    println!("  kills (at ms, for ms, whom): {kills:?}");
    let watch = Stopwatch::start();
    for (at, moment, victim) in kills {
        await_time(&watch, Duration::from_millis(at));
        dev.kill(victim);
        let dead = Stopwatch::start();
        await_time(&dead, Duration::from_millis(moment));
        dev.restart(victim);
    }
}

/// What a disturbed job may take beside 1.3 times what an undisturbed one takes: until a death is known.
const DETECTION: f64 = DEAD_AFTER.as_secs_f64();

#[test]
fn jobs_under_kills_of_each_daemon_make_what_they_make_without() {
    let mut experiment = Experiment::start(DEAD_AFTER);
    let expected: Vec<_> = LOAD.iter().map(|job| experiment.expected(job)).collect();
    let (mut calm, mut disturbed) = (Vec::new(), Vec::new());
    for run in 0..runs() {
        let mut numbers = Numbers::new(run);
        let times = run_load(&mut experiment, &format!("calm-{run}"), &expected, |_| {});
        let longest = times.iter().copied().fold(0.0, f64::max);
        calm.extend(times);
        let time = Duration::from_secs_f64(longest);
        let name = format!("disturbed-{run}");
        let times = run_load(&mut experiment, &name, &expected, |dev| {
            kill_each(dev, &mut numbers, time);
        });
        println!("run {run}: without kills {longest:.1} s at most, with them {times:.1?} s");
        disturbed.extend(times);
        experiment.dev.await_trackers(TRACKERS);
    }
    let (calm, disturbed) = (median(&calm), median(&disturbed));
    println!(
        "{} runs of {} jobs at once: median job {calm:.1} s without kills, {disturbed:.1} s with one of each daemon",
        runs(),
        LOAD.len()
    );
    assert!(disturbed <= 1.3 * calm + DETECTION, "{disturbed:.1} s instead of {calm:.1} s");
}

/// More reduces than slots: all tasks of a wave end at one time, and when nearly all of the job is done, the last wave runs.
const LAST_WAVE: Job = Job { what: "count", reduces: TRACKERS * SLOTS + 3, millis: 1000 };

/// Kills the JobTracker when so much of a job is done, for so long, and compares the attempts before and after.
fn jobtracker_dies(experiment: &mut Experiment, percent: u64, down: Duration, expected: &[u8]) {
    let job = LAST_WAVE;
    let name = format!("at-{percent}-for-{}", down.as_secs());
    let id = experiment.submit(&name, &job, "speculative: false\n");
    let tasks = MAPS + job.reduces;
    experiment.dev.await_job(&id, &format!("{percent} % of the tasks"), |job| {
        let n = |kind: &str, what: &str| job[kind][what].as_u64().unwrap_or(0);
        let done = n("maps", "succeeded") + n("reduces", "succeeded");
        n("maps", "total") == MAPS && done >= tasks * percent / 100
    });
    let before = experiment.attempts(&id);
    experiment.dev.kill("jobtracker");
    await_time(&Stopwatch::start(), down);
    experiment.dev.restart("jobtracker");
    let (bytes, _) = experiment.finish(&name, &id);
    assert!(bytes == expected, "{name}: the output differs");
    let after = experiment.attempts(&id);
    let of = |state: &str| before.iter().filter(|(_, it)| *it == state).count();
    let kept = |state: &str| {
        let was = before.iter().filter(|(_, it)| *it == state);
        was.filter(|(id, _)| after.get(*id).is_some_and(|it| it == "SUCCEEDED")).count()
    };
    println!(
        "JobTracker dead at {percent} % for {down:?}: {} of {} finished tasks kept, {} of {} running attempts went on and won; \
         {} attempts of {tasks} tasks",
        kept("SUCCEEDED"),
        of("SUCCEEDED"),
        kept("RUNNING"),
        of("RUNNING"),
        after.len()
    );
    assert!(of("RUNNING") > 0, "{before:?}");
    assert!(kept("SUCCEEDED") * 100 >= of("SUCCEEDED") * 95, "{before:?}, then {after:?}");
    assert_eq!(kept("RUNNING"), of("RUNNING"), "{before:?}, then {after:?}");
    assert_eq!(after.len() as u64, tasks, "no task ran twice: {after:?}");
}

#[test]
fn a_jobtracker_that_dies_has_nothing_done_again_that_is_done_or_runs() {
    // Trackers may be silent for as long as it takes until a JobTracker that was down has time for them.
    let mut experiment = Experiment::start(Duration::from_secs(10));
    let expected = experiment.expected(&Job { millis: 0, ..LAST_WAVE });
    for percent in [10, 50, 90] {
        jobtracker_dies(&mut experiment, percent, Duration::ZERO, &expected);
    }
    let down = Duration::from_secs(if long() { 40 } else { 15 });
    jobtracker_dies(&mut experiment, 50, down, &expected);
    let list = http::get(&experiment.dev.jobtracker(), "/v1/jobs").expect("an answer").body;
    let states: Vec<_> = list["jobs"].as_array().expect("a list").iter().collect();
    assert!(states.len() == 4 && states.iter().all(|job| job["state"] == "SUCCEEDED"), "{list}");
}

/// Of a job that says of each record which attempt made it: the attempts by map, and how many records there are.
fn makers(bytes: &[u8]) -> (BTreeMap<String, BTreeSet<String>>, usize) {
    let text = String::from_utf8_lossy(bytes);
    let mut makers: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    for line in text.lines() {
        let (_, who) = line.split_once('\t').expect("a key and a value");
        let (task, attempt) = who.split_once(' ').expect("a task and an attempt");
        makers.entry(task.to_owned()).or_default().insert(attempt.to_owned());
    }
    (makers, text.lines().count())
}

/// Records of each map, as the program has it.
const RECORDS: usize = 64;

#[test]
fn what_each_map_made_comes_from_one_of_its_attempts_in_all_reduces() {
    let mut experiment = Experiment::start(DEAD_AFTER);
    // More reduces than slots: some want a map's output when others have long read it.
    let job = Job { what: "who", reduces: 2 * TRACKERS * SLOTS, millis: 400 };
    let mut n_undone = 0;
    for run in 0..runs() {
        let mut numbers = Numbers::new(run);
        let name = format!("who-{run}");
        let id = experiment.submit(&name, &job, "");
        let victim = |numbers: &mut Numbers| format!("tasktracker-{}", 1 + numbers.below(TRACKERS));
        let (first, second) = (victim(&mut numbers), victim(&mut numbers));
        let (maps, reduces) = (numbers.below(MAPS), 1 + numbers.below(job.reduces / 2));
        experiment.dev.await_job(&id, &format!("{maps} maps"), |job| {
            job["maps"]["succeeded"].as_u64().is_some_and(|n| n >= maps)
        });
        experiment.dev.kill(&first);
        experiment.dev.restart(&first);
        experiment.dev.await_job(&id, &format!("{reduces} reduces"), |job| {
            job["reduces"]["succeeded"].as_u64().is_some_and(|n| n >= reduces)
        });
        experiment.dev.kill(&second);
        experiment.dev.await_trackers(TRACKERS - 1);
        experiment.dev.restart(&second);
        let (bytes, seconds) = experiment.finish(&name, &id);
        let (makers, n_records) = makers(&bytes);
        let again = makers.values().flatten().filter(|attempt| !attempt.ends_with("_0")).count();
        let count = |name: &str| experiment.dev.jobtracker_counter(name);
        n_undone = count("howdah_jobtracker_reduces_undone_total");
        let n_backups = count("howdah_jobtracker_backups_won_total");
        println!(
            "run {run}: {first} at {maps} maps, {second} at {reduces} reduces: {seconds:.1} s, {again} maps made again; in all \
             {n_undone} maps made other bytes than reduces had read, {n_backups} backups won"
        );
        let mixed = makers.values().find(|attempts| attempts.len() != 1);
        assert_eq!(mixed, None, "{name}: records of one map that several attempts made");
        assert_eq!(makers.len() as u64, MAPS, "{name}: {makers:?}");
        assert_eq!(n_records, RECORDS * makers.len(), "{name}");
        experiment.dev.await_trackers(TRACKERS);
    }
    assert!(n_undone > 0, "nothing was put to the test");
}
