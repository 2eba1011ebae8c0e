//! Facebook's jobs: many small ones and a few large ones, of several users who come as they like (Zaharia et al., EuroSys
//! 2010, table 1: the bins of job sizes and how many jobs of each there are of 100; there one comes every 14 seconds).

use std::time::Duration;

use simulator::cluster::JobReport;

use super::*;

/// Maps of a job, and how many of 100 jobs have so many.
const BINS: [(usize, usize); 9] =
    [(1, 38), (2, 16), (10, 14), (50, 8), (100, 6), (200, 6), (400, 4), (800, 4), (4800, 4)];
/// Seconds between two jobs, in the mean: as in the paper, but for a load that leaves few slots idle.
const PAUSE: f64 = 10.0;

const USERS: usize = 8;
/// Hosts: the paper's experiments had 100, the cluster that the bins are of 600.
const HOSTS: usize = 100;
const HOSTS_LONG: usize = 600;
const SLOTS: u32 = 4;

/// What a map of 64 MB takes: the scans of the paper's mix are bound by the disk.
fn rates() -> Rates {
    Rates {
        read_local: 10.0 * MB,
        read_rack: 8.0 * MB,
        read_remote: 5.0 * MB,
        map: 10.0 * MB,
        fetch: 10.0 * MB,
        reduce: 10.0 * MB,
        write: 10.0 * MB,
        start: Duration::from_millis(500),
        spread: 0.1,
    }
}

/// A small generator (Knuth's MMIX constants), so that each run has the same jobs.
struct Dice(u64);

impl Dice {
    fn share(&mut self) -> f64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn below(&mut self, n: usize) -> usize {
        (self.share() * n as f64) as usize
    }
}

fn user(n: usize) -> String {
    format!("user-{n}")
}

fn scan(name: String, pool: Option<String>, at: Duration, maps: usize) -> JobPlan {
    let map = MapPlan { input: CHUNK, output: 0, partition: None, took: None };
    let (priority, speculative) = (None, None);
    JobPlan { name, pool, priority, speculative, at, maps: vec![map; maps], reduces: vec![] }
}

fn cluster(hosts: usize) -> Cluster {
    Cluster { hosts, racks: hosts.div_ceil(40).max(2), slots: SLOTS, slow: 0, slow_factor: 1.0 }
}

/// So many times a hundred jobs, shuffled, each of a user drawn by chance.
fn mix(hundreds: usize) -> Scenario {
    let mut dice = Dice(7);
    let sizes = BINS.iter().flat_map(|(maps, jobs)| vec![*maps; *jobs]);
    let mut sizes: Vec<usize> = sizes.cycle().take(100 * hundreds).collect();
    for last in (1..sizes.len()).rev() {
        sizes.swap(last, dice.below(last + 1));
    }
    let hosts = if is_long() { HOSTS_LONG } else { HOSTS };
    // As many times more jobs come as there are more hosts.
    let pause = PAUSE * HOSTS as f64 / hosts as f64;
    let mut at = 0.0;
    let mut job = |(n, maps): (usize, usize)| {
        at -= pause * (1.0 - dice.share()).ln();
        let pool = user(dice.below(USERS));
        scan(format!("job {n}"), Some(pool), Duration::from_secs_f64(at), maps)
    };
    let jobs = sizes.into_iter().enumerate().map(&mut job).collect();
    let pools = (0..USERS).map(|n| PoolRule::named(&user(n)));
    let pools = pools.chain([PoolRule::named(DEFAULT_POOL)]).collect();
    let rules = Settings { pools, ..rules() };
    Scenario { seed: 1, cluster: cluster(hosts), rules, rates: rates(), jobs, deaths: vec![] }
}

/// How many hundred jobs.
fn hundreds() -> usize {
    if is_long() { 6 } else { 1 }
}

/// Prints what became of the jobs of each size.
fn show(report: &Report) {
    for (maps, _) in BINS {
        let of: Vec<&JobReport> = report.jobs.iter().filter(|job| job.maps == maps).collect();
        let mean = |what: &dyn Fn(&JobReport) -> f64| {
            of.iter().map(|job| what(job)).sum::<f64>() / of.len() as f64
        };
        println!(
            "  {} jobs of {maps} maps: {:.1} s until the first one runs, {:.1} s to the end, {:.1} % node-local",
            of.len(),
            mean(&|job| wait_of(job).as_secs_f64()),
            mean(&|job| (job.ended - job.submitted).as_secs_f64()),
            mean(&|job| 100.0 * job.places.shares()[0]),
        );
    }
}

/// How long a job waited for its first slot.
fn wait_of(job: &JobReport) -> Duration {
    job.launched.expect("it has run") - job.submitted
}

/// The part of its maps that ran node-local, in the mean of all jobs: most are small.
fn local_of_a_job(report: &Report) -> f64 {
    let shares = report.jobs.iter().map(|job| job.places.shares()[0]);
    shares.sum::<f64>() / report.jobs.len() as f64
}

/// The paper: with delay scheduling nearly all maps are node-local, and the users get the same shares.
#[test]
fn facebooks_mix_runs_near_its_bytes_and_its_users_get_alike() {
    let report = live("Facebook's mix", &mix(hundreds()));
    show(&report);
    println!("  Jain's index of what {USERS} users got of their shares: {:.4}", report.fairness());
    let [node_local, ..] = report.places().shares();
    assert!(node_local >= 0.95, "{node_local}");
    assert!(report.fairness() >= 0.95, "{}: {:?}", report.fairness(), report.pools);
}

/// Small jobs have few hosts to wait for: without a wait next to none of their maps is local (in the paper 5 % of those of
/// jobs with one), with the shipped one most are, and with the paper's five seconds all but all.
#[test]
fn small_jobs_run_near_their_bytes_if_they_wait() {
    let local = |seconds: Option<u64>| {
        let mut scenario = mix(hundreds());
        let wait = seconds.map(Duration::from_secs);
        scenario.rules.locality_wait = wait.unwrap_or(scenario.rules.locality_wait);
        let report = live(
            &format!("Facebook's mix, locality_wait {:?}", scenario.rules.locality_wait),
            &scenario,
        );
        show(&report);
        local_of_a_job(&report)
    };
    let (none, shipped, five) = (local(Some(0)), local(None), local(Some(5)));
    println!(
        "  node-local in the mean of jobs: {none:.3} without a wait, {shipped:.3}, {five:.3} with 5 s"
    );
    assert!(none <= 0.5, "{none}");
    assert!(shipped >= 0.7, "{shipped}");
    assert!(five >= 0.95, "{five}");
}

/// Two users keep all slots busy, and another one comes with a small job.
#[test]
fn a_small_job_on_a_busy_cluster_begins_within_a_tasks_time() {
    let mut scenario = mix(1);
    let n_slots = scenario.cluster.hosts * SLOTS as usize;
    let large = |n: usize| scan(format!("large {n}"), Some(user(n)), Duration::ZERO, 20 * n_slots);
    let small = |n: usize| {
        let at = Duration::from_secs(60 + 7 * n as u64);
        scan(format!("small {n}"), Some(user(2 + n % 6)), at, 1 + n)
    };
    scenario.jobs = (0..2).map(large).chain((0..10).map(small)).collect();
    let report = live("a busy cluster and small jobs", &scenario);
    // Reads and works through 64 MiB.
    let task = Duration::from_secs_f64(2.0 * CHUNK as f64 / (10.0 * MB));
    for job in &report.jobs[2..] {
        let (wait, whole) = (wait_of(job), job.ended - job.submitted);
        println!(
            "  {}, {} maps: {wait:.1?} until the first one runs, {whole:.1?} to the end",
            job.name, job.maps
        );
        assert!(wait <= task, "{}: {wait:?}", job.name);
    }
}

/// A report is the same for the same seed, byte for byte, and another one for another.
#[test]
fn the_same_seed_gives_the_same_report() {
    let mut scenario = mix(1);
    scenario.jobs.truncate(30);
    scenario.cluster.slow = 3;
    scenario.cluster.slow_factor = 5.0;
    let run = |scenario: &Scenario| format!("{:?}", live("thirty jobs", scenario));
    let first = run(&scenario);
    assert_eq!(first, run(&scenario));
    scenario.seed += 1;
    assert_ne!(first, run(&scenario));
}
