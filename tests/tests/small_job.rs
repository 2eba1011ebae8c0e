//! What the smallest job costs: its user waits for every sync that comes after another one, for two processes to start, and
//! for no heartbeat. All of that is counted, and not timed: a machine that others use as well makes everything longer, and
//! nothing more.

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, UNIX_EPOCH};

use tests::{Dev, DevOptions, wait};

/// Syncs of a job that reads a line, in one map, and whose one reduce keeps nothing: one after the other, the job is accepted,
/// planned (while its staging folder is made), the map done, the reduce done, the output published, the job ended.
const EMPTY_JOB: Most = Most { serial: 6, all: 7 };
/// One whose reduce writes a part has four more: the part's file is made, its bytes kept, and its name, and the file closed;
/// bytes and name on all servers at once.
const JOB: Most =
    Most { serial: EMPTY_JOB.serial + 4, all: EMPTY_JOB.all + 2 + 2 * TRACKERS as usize };
/// A map and a reduce.
const STARTS: usize = 2;
/// Hosts, and so replicas of a part.
const TRACKERS: u32 = 3;
/// Between two heartbeats that tell nothing.
const HEARTBEATS: Duration = Duration::from_mins(1);
/// Jobs that follow one another within that time: each that waited for one would take as long.
const RUNS: usize = 7;
/// How long a job is looked for that waited for no more than it must. Two syncs that need not wait for each other may well
/// come one after the other, where the machine has no time for both.
const SEARCH: Duration = Duration::from_mins(1);

/// Syncs at most.
struct Most {
    /// One after the other.
    serial: usize,
    all: usize,
}

/// From when to when, nanoseconds since 1970.
type Span = (u128, u128);

/// The time at the begin of a line of a log.
fn time_of(line: &str) -> Option<u128> {
    let at = humantime::parse_rfc3339(line.split_whitespace().next()?).ok()?;
    Some(at.duration_since(UNIX_EPOCH).ok()?.as_nanos())
}

fn log_of(dev: &Dev, daemon: &str) -> String {
    let path = dev.dir().join("logs").join(format!("{daemon}.log"));
    let mut log =
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    // The last line may be on its way.
    log.truncate(log.rfind('\n').map_or(0, |end| end + 1));
    log
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

/// What one job waited for.
#[derive(Debug)]
struct Waited {
    serial: usize,
    all: usize,
    starts: usize,
    wall: Duration,
}

impl Waited {
    fn is_within(&self, most: &Most) -> bool {
        self.serial <= most.serial && self.all <= most.all && self.starts == STARTS
    }
}

/// Processes that the trackers have started for a job.
fn starts_of(dev: &Dev, job: &str) -> usize {
    let of_job = job.trim_start_matches("job_");
    let is_start = |line: &&str| line.contains(" starting ") && line.contains(of_job);
    let logs = (1..=TRACKERS).map(|n| log_of(dev, &format!("tasktracker-{n}")));
    logs.map(|log| log.lines().filter(is_start).count()).sum()
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
    let servers = (1..=TRACKERS).map(|n| format!("chunkserver-{n}"));
    let others = servers.chain(["chunkmaster".to_owned()]);
    let others = others.flat_map(|daemon| syncs_of(&log_of(dev, &daemon)));
    let within = |(begin, end): &Span| *begin >= accepted && *end <= last.1;
    let spans: Vec<_> = own.iter().copied().chain(others).filter(within).collect();
    let wall = Duration::from_nanos(u64::try_from(last.1 - accepted).expect("seconds"));
    Waited { all: spans.len(), serial: serial(spans), starts: starts_of(dev, &id), wall }
}

#[test]
fn a_small_job_waits_for_few_syncs_two_processes_and_no_heartbeat() {
    let heartbeats = ["chunkmaster", "jobtracker"].into_iter().flat_map(|master| {
        let interval = format!("{master}.heartbeat_interval={}s", HEARTBEATS.as_secs());
        [format!("{master}.dead_after=1h"), interval]
    });
    let settings = ["jobtracker.history_keep=0s", "log.filter=info,sync=trace"];
    let settings = settings.into_iter().map(str::to_owned).chain(heartbeats);
    let dev = Dev::start(&settings.fold(DevOptions::trackers(TRACKERS), |it, key| it.set(&key)));
    dev.put_text("all work and no play\n", "/in/text");
    let see = |name: &str, lines: &str, most: &Most| {
        let run = |nth: usize| {
            let program = "program: {builtin: {name: wordcount}}";
            let job =
                format!("name: small\ninput: [/in]\noutput: /{name}/{nth}\n{program}\n{lines}");
            let waited = measure(&dev, &job);
            println!("{name} {nth}: {waited:?}");
            waited
        };
        // The first one warms up.
        let runs: Vec<_> = (0..=RUNS).map(run).skip(1).collect();
        let wall: Duration = runs.iter().map(|run| run.wall).sum();
        assert!(wall < HEARTBEATS, "{name}: {RUNS} jobs took {wall:?}");
        let mut seen = runs.iter().any(|run| run.is_within(most));
        let mut nths = RUNS + 1..;
        wait::until(&format!("{name}: a job waits for no more than it must"), SEARCH, || {
            seen = seen || nths.next().is_some_and(|nth| run(nth).is_within(most));
            seen.then_some(())
        });
    };
    see("empty", "output_format: none\n", &EMPTY_JOB);
    see("small", "", &JOB);
}

#[test]
fn serial_syncs_are_those_that_do_not_overlap() {
    assert_eq!(serial(vec![(0, 5), (1, 2), (3, 4), (6, 9), (7, 8)]), 3);
    let log = "2026-12-01T09:42:07.000001Z TRACE sync: begins fd=9\n2026-12-01T09:42:07.000002Z TRACE sync: begins fd=4\n\
               2026-12-01T09:42:07.000004Z TRACE sync: ended fd=9\n2026-12-01T09:42:07.000005Z TRACE sync: ended fd=4\n";
    let spans = syncs_of(log);
    assert_eq!((spans.len(), serial(spans)), (2, 1));
}
