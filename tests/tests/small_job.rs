//! What the smallest job costs: its user waits for every sync that comes after another one, and for two processes to start.

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, UNIX_EPOCH};

use clock::Stopwatch;
use tests::command::run;
use tests::{Dev, DevOptions};

/// Syncs of a job that reads a line, in one map, and whose one reduce keeps nothing: one after the other, the job is accepted,
/// planned (while its staging folder is made), the map done, the reduce done, the output published, the job ended.
const EMPTY_JOB_MAX: usize = 6;
/// One whose reduce writes a part has four more: the part's file is made, its bytes kept, and its name, and the file closed.
const JOB_MAX: usize = EMPTY_JOB_MAX + 4;
/// Time that such a job may take, for that of two process starts and its syncs.
const WALL_FACTOR: f64 = 3.0;
/// Jobs of which the one counts that was disturbed least.
const RUNS: usize = 7;

/// From when to when, nanoseconds since 1970.
type Span = (u128, u128);

/// The time at the begin of a line of a log.
fn time_of(line: &str) -> Option<u128> {
    let at = humantime::parse_rfc3339(line.split_whitespace().next()?).ok()?;
    Some(at.duration_since(UNIX_EPOCH).ok()?.as_nanos())
}

fn log_of(dev: &Dev, daemon: &str) -> String {
    let path = dev.dir().join("logs").join(format!("{daemon}.log"));
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// When a daemon synced a file or a folder.
fn syncs_of(log: &str) -> Vec<Span> {
    let (mut begun, mut spans) = (BTreeMap::new(), Vec::new());
    for line in log.lines().filter(|line| line.contains(" sync: ")) {
        let at = time_of(line).expect("a line has its time");
        let file = line.rsplit_once("fd=").expect("a line has its file").1;
        match line.contains("begins") {
            true => drop(begun.insert(file, at)),
            false => spans.push((begun.remove(file).expect("it has begun"), at)),
        }
    }
    spans
}

/// How many of these, at most, can stand one after the other: no chain of syncs that wait for one another is longer.
fn serial(mut spans: Vec<Span>) -> usize {
    spans.sort_by_key(|(_, end)| *end);
    let (mut n, mut last) = (0, 0);
    for (begin, end) in spans {
        if begin >= last {
            (n, last) = (n + 1, end);
        }
    }
    n
}

/// How long at least one of these lasts.
fn covered(mut spans: Vec<Span>) -> Duration {
    spans.sort();
    let (mut all, mut until) = (0, 0);
    for (begin, end) in spans {
        all += end.saturating_sub(until.max(begin));
        until = until.max(end);
    }
    Duration::from_nanos(u64::try_from(all).expect("seconds"))
}

/// What one job waited for.
#[derive(Debug)]
struct Waited {
    serial: usize,
    synced: Duration,
    wall: Duration,
}

/// Runs a job; all syncs of all daemons count from its acceptance to the end of the one that keeps its success.
fn measure(dev: &Dev, job: &str) -> Waited {
    let file = dev.job_file("small.yaml", job);
    let id = dev.run(&["job", "submit", &file, "--wait"]).success().text();
    let log = log_of(dev, "jobtracker");
    let said = |what: &str| {
        let line = log.lines().find(|line| line.contains(what) && line.contains(&id));
        line.and_then(time_of).unwrap_or_else(|| panic!("no {what:?} of {id}"))
    };
    let (accepted, ended) = (said("job accepted"), said("job ended"));
    let own = syncs_of(&log);
    let last = own.iter().filter(|(begin, _)| *begin >= ended).min().expect("it is kept");
    let others = ["chunkmaster", "chunkserver-1", "chunkserver-2", "chunkserver-3"];
    let others = others.iter().flat_map(|daemon| syncs_of(&log_of(dev, daemon)));
    let within = |(begin, end): &Span| *begin >= accepted && *end <= last.1;
    let spans: Vec<_> = own.iter().copied().chain(others).filter(within).collect();
    let wall = Duration::from_nanos(u64::try_from(last.1 - accepted).expect("seconds"));
    Waited { serial: serial(spans.clone()), synced: covered(spans), wall }
}

/// The least time in which this binary starts and ends.
fn process_start() -> Duration {
    let start = || {
        let watch = Stopwatch::start();
        let _ = run(["--version"]).success();
        watch.elapsed()
    };
    (0..RUNS).map(|_| start()).min().expect("some ran")
}

#[test]
fn a_small_job_waits_for_few_syncs_and_two_processes() {
    let settings = ["jobtracker.history_keep=0s", "log.filter=info,sync=trace"];
    let dev = Dev::start(&settings.iter().fold(DevOptions::trackers(3), |it, key| it.set(key)));
    dev.put_text("all work and no play\n", "/in/text");
    let least = |name: &str, lines: &str, max: usize| {
        let job = |nth: usize| {
            format!(
                "name: small\ninput: [/in]\noutput: /{name}/{nth}\nprogram: {{builtin: {{name: wordcount}}}}\n{lines}"
            )
        };
        // The first one warms up.
        let runs: Vec<_> = (0..=RUNS).map(|nth| measure(&dev, &job(nth))).skip(1).collect();
        let least = runs.iter().map(|run| run.serial).min().expect("some ran");
        println!("{name}: {runs:?}");
        assert!(least <= max, "{name}: each job waited for {least} syncs at least: {runs:?}");
        runs
    };
    let empty = least("empty", "output_format: none\n", EMPTY_JOB_MAX);
    let _ = least("small", "", JOB_MAX);
    let start = process_start();
    let allowed = |run: &Waited| (2 * start + run.synced).mul_f64(WALL_FACTOR);
    println!("a process starts and ends in {start:?}");
    let is_quick = |run: &Waited| run.wall <= allowed(run);
    let walls: Vec<_> = empty.iter().map(|run| (run.wall, allowed(run))).collect();
    assert!(empty.iter().any(is_quick), "each job took longer than it may: {walls:?}");
}

#[test]
fn serial_syncs_are_those_that_do_not_overlap() {
    assert_eq!(serial(vec![(0, 5), (1, 2), (3, 4), (6, 9), (7, 8)]), 3);
    assert_eq!(covered(vec![(0, 5), (1, 2), (3, 7), (9, 10)]), Duration::from_nanos(8));
    let log = "2026-12-01T09:42:07.000001Z TRACE sync: begins fd=9\n2026-12-01T09:42:07.000002Z TRACE sync: begins fd=4\n\
               2026-12-01T09:42:07.000004Z TRACE sync: ended fd=9\n2026-12-01T09:42:07.000005Z TRACE sync: ended fd=4\n";
    let spans = syncs_of(log);
    assert_eq!((spans.len(), serial(spans.clone())), (2, 1));
    assert_eq!(covered(spans), Duration::from_micros(4));
}
