//! `howdah simulate`: how long a job takes on a pretended cluster, by the real scheduler. What is assumed are times, and they
//! are options.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::anyhow;
use clap::Args;
use config::{Bytes, Config, Time};
use mapreduce_protocol::{JobId, JobState};
use serde_json::json;
use simulator::cluster::{
    Cluster, Deaths, InUse, JobPlan, JobReport, Rates, Report, Scenario, SimulationError,
    simulate_telling,
};

use super::size::parse_size;
use super::{Format, Global, runtime, shown};
use crate::exit::{OrEarly, early};
use crate::job_file::JobFile;
use crate::progress::ItemProgress;
use crate::say::quiet_if_closed;
use crate::session::Session;
use crate::simulation::{Assumed, of_file, of_history};

/// Hosts of a rack, where nobody says how many racks there are.
const HOSTS_OF_A_RACK: usize = 40;
/// Hosts more that the same is tried with.
const MORE_HOSTS: usize = 10;
/// What is shorter by less than that part is not worth a host.
const WORTH: f64 = 0.02;

/// Arguments of `simulate`.
#[derive(Debug, Args)]
#[command(group(clap::ArgGroup::new("what").required(true).args(["job", "history"])))]
pub(crate) struct SimulateArgs {
    /// The job, YAML or JSON, which has never run; needs --input-bytes
    #[arg(long, value_name = "FILE", requires = "input_bytes")]
    job: Option<PathBuf>,
    /// A job that has succeeded: its tasks take what they took then, but for where they read
    #[arg(long, value_name = "ID", conflicts_with = "input_bytes")]
    history: Option<JobId>,
    /// TaskTrackers
    #[arg(long, value_name = "N", default_value_t = 10)]
    trackers: usize,
    /// Racks that they stand in [default: one for each 40]
    #[arg(long, value_name = "N")]
    racks: Option<usize>,
    /// Slots of each
    #[arg(long, value_name = "N", default_value_t = 2)]
    slots: u32,
    /// What the job reads, like 1TiB
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    input_bytes: Option<u64>,
    /// What its maps leave for the reduces, or write if there are none, for each byte that they read
    #[arg(long, value_name = "RATIO", default_value_t = 1.0)]
    map_output: f64,
    /// What its reduces write for each byte that they fetch
    #[arg(long, value_name = "RATIO", default_value_t = 1.0)]
    reduce_output: f64,
    /// TaskTrackers that are slow: how many, or a part like 5%
    #[arg(long, value_name = "N|N%", default_value = "0")]
    slow: Share,
    /// How many times longer everything takes there
    #[arg(long, value_name = "F", default_value_t = 4.0)]
    slow_factor: f64,
    /// TaskTrackers that die: how many, or a part like 11%
    #[arg(long, value_name = "N|N%", default_value = "0")]
    kill: Share,
    /// How long after the submit
    #[arg(long, value_name = "TIME", default_value = "1m")]
    kill_at: Time,
    /// How long after that their TaskTrackers are back, with the map outputs on their disks [default: never, the hosts are
    /// gone]
    #[arg(long, value_name = "TIME")]
    back_after: Option<Time>,
    /// What chance there is comes out of it: the same seed gives the same answer
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,
    /// Try the same with so many TaskTrackers [default: 10 more]
    #[arg(long, value_name = "N")]
    compare_trackers: Option<usize>,
    #[command(flatten)]
    rates: RateArgs,
}

/// What one attempt gets done in a second on a host whose slots are all busy.
#[derive(Debug, Args)]
#[command(
    next_help_heading = "Rates: what one attempt gets done in a second while all slots are busy"
)]
struct RateArgs {
    /// A map reads from its own host
    #[arg(long, value_name = "SIZE", default_value = "100MiB")]
    read_rate: Bytes,
    /// A map reads from a host of its rack
    #[arg(long, value_name = "SIZE", default_value = "60MiB")]
    rack_rate: Bytes,
    /// A map reads from elsewhere
    #[arg(long, value_name = "SIZE", default_value = "30MiB")]
    remote_rate: Bytes,
    /// A map works through its input and leaves its output
    #[arg(long, value_name = "SIZE", default_value = "50MiB")]
    map_rate: Bytes,
    /// A reduce fetches
    #[arg(long, value_name = "SIZE", default_value = "30MiB")]
    fetch_rate: Bytes,
    /// A reduce merges and reduces
    #[arg(long, value_name = "SIZE", default_value = "50MiB")]
    reduce_rate: Bytes,
    /// An attempt writes the job's output, with all replicas
    #[arg(long, value_name = "SIZE", default_value = "50MiB")]
    write_rate: Bytes,
    /// Until the process of an attempt runs
    #[arg(long, value_name = "TIME", default_value = "100ms")]
    start_time: Time,
    /// How much attempts that are alike differ: the standard deviation of their times, as a part of them
    #[arg(long, value_name = "RATIO", default_value_t = 0.1)]
    spread: f64,
}

/// So many, or such a part of all.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Share {
    Count(usize),
    Percent(f64),
}

impl FromStr for Share {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || format!("'{text}' is neither a number like 5 nor a part like 5% of all");
        match text.strip_suffix('%') {
            None => text.parse().map(Self::Count).map_err(|_| wrong()),
            Some(percent) => match percent.parse() {
                Ok(percent) if (0.0..=100.0).contains(&percent) => Ok(Self::Percent(percent)),
                Ok(_) | Err(_) => Err(wrong()),
            },
        }
    }
}

impl Share {
    fn of(self, all: usize) -> usize {
        match self {
            Self::Count(n) => n,
            #[expect(clippy::cast_possible_truncation, reason = "at most all")]
            #[expect(clippy::cast_sign_loss, reason = "a part is not negative")]
            Self::Percent(percent) => (all as f64 * percent / 100.0).round() as usize,
        }
    }
}

/// Runs `simulate`.
pub(crate) fn run(args: &SimulateArgs, global: &Global) -> anyhow::Result<()> {
    let config = global.client_config()?;
    let job = plan(args, &config)?;
    let n_tasks = (job.maps.len() + job.reduces.len()) as u64;
    let progress = ItemProgress::new("simulate", 2 * n_tasks, "tasks");
    // How many tasks are done in each of the two.
    let done = [AtomicU64::new(0), AtomicU64::new(0)];
    let live = |trackers: usize, own: usize| {
        let scenario = scenario(args, &config, job.clone(), trackers);
        let tell = |n_done: u64| {
            done[own].store(n_done, Ordering::Relaxed);
            progress.set(done.iter().map(|it| it.load(Ordering::Relaxed)).sum());
        };
        simulate_telling(&scenario, &tell).map_err(|error| match error {
            SimulationError::Invalid(invalid) => early(invalid),
            SimulationError::NoEnd(no_end) => no_end.into(),
        })
    };
    let other = args.compare_trackers.unwrap_or(args.trackers.saturating_add(MORE_HOSTS));
    // Neither knows of the other, and each has a world of its own.
    let (report, compared) = std::thread::scope(|scope| {
        let compared = scope.spawn(|| live(other, 1));
        let report = live(args.trackers, 0);
        let compared = compared.join().map_err(|_| anyhow!("the simulation has panicked"));
        anyhow::Ok((report?, compared??))
    })?;
    progress.finish();
    match global.format {
        Format::Json | Format::Yaml => global.format.print(&json!({
            "trackers": args.trackers,
            "seed": args.seed,
            "report": document(&report),
            "compared": {"trackers": other, "report": document(&compared)},
        }))?,
        Format::Table => {
            let text = text(args, &report) + &comparison(args.trackers, &report, other, &compared);
            quiet_if_closed(std::io::stdout().lock().write_all(text.as_bytes()))?;
        }
    }
    must_have_succeeded(&report)
}

fn must_have_succeeded(report: &Report) -> anyhow::Result<()> {
    let failed = report.jobs.iter().find(|job| job.state != JobState::Succeeded);
    failed.map_or(Ok(()), |job| {
        let why = job.failure.as_deref().unwrap_or("nobody knows why");
        Err(anyhow!("the job {} there: {why}", job.state.as_str()))
    })
}

fn plan(args: &SimulateArgs, config: &Config) -> anyhow::Result<JobPlan> {
    if let Some(id) = args.history {
        let session = Session::open(config.clone())?;
        let read = runtime::on_this_thread(async {
            let jobs = session.jobs();
            anyhow::Ok((jobs.history(id).await?, jobs.history_attempts(id).await?))
        });
        let (job, attempts) = read.map_err(|error| session.explain(error))?;
        return Ok(of_history(&job, &attempts)?);
    }
    let file = args.job.as_ref().ok_or_else(|| early(anyhow!("name a job with --job")))?;
    let job = JobFile::read(file).or_early()?;
    let assumed = Assumed {
        input_bytes: args.input_bytes.unwrap_or_default(),
        split_bytes: config.jobtracker.split_bytes.0,
        map_output: args.map_output,
        reduce_output: args.reduce_output,
    };
    of_file(&job.spec, &assumed).or_early()
}

fn scenario(args: &SimulateArgs, config: &Config, job: JobPlan, trackers: usize) -> Scenario {
    let racks = args.racks.unwrap_or(trackers.div_ceil(HOSTS_OF_A_RACK)).min(trackers);
    let dying = args.kill.of(trackers);
    let (at, back_after) = (args.kill_at.0, args.back_after.map(|time| time.0));
    let death = Deaths { hosts: dying, at, back_after };
    Scenario {
        seed: args.seed,
        cluster: Cluster {
            hosts: trackers,
            racks,
            slots: args.slots,
            slow: args.slow.of(trackers),
            slow_factor: args.slow_factor,
        },
        rules: jobtracker::pretended_rules(config),
        rates: args.rates.rates(),
        jobs: vec![job],
        deaths: if dying > 0 { vec![death] } else { Vec::new() },
    }
}

impl RateArgs {
    fn rates(&self) -> Rates {
        let rate = |bytes: Bytes| bytes.0 as f64;
        Rates {
            read_local: rate(self.read_rate),
            read_rack: rate(self.rack_rate),
            read_remote: rate(self.remote_rate),
            map: rate(self.map_rate),
            fetch: rate(self.fetch_rate),
            reduce: rate(self.reduce_rate),
            write: rate(self.write_rate),
            start: self.start_time.0,
            spread: self.spread,
        }
    }
}

/// The phases of a job: what each is called, how long it took, and until what.
fn phases(job: &JobReport) -> Vec<(&'static str, Duration, &'static str)> {
    let marks = [
        ("maps", job.maps_done, "until the last map was done"),
        ("shuffle", job.fetched, "then, until the last reduce had fetched everything"),
        (
            "reduces",
            job.tasks_done.filter(|_| job.reduces > 0),
            "then, until the last one was done",
        ),
        ("output", Some(job.ended), "then, until the output was there"),
    ];
    let mut from = job.submitted;
    let mut phases = Vec::new();
    for (name, at, what) in marks {
        if let Some(at) = at {
            phases.push((name, at.saturating_sub(from), what));
            from = at.max(from);
        }
    }
    phases
}

fn text(args: &SimulateArgs, report: &Report) -> String {
    let mut text = String::new();
    for job in &report.jobs {
        let took = shown::duration(job.ended.saturating_sub(job.submitted));
        let (name, maps, reduces) = (crate::say::plain(&job.name), job.maps, job.reduces);
        let _ = writeln!(text, "{name}: {maps} maps, {reduces} reduces: {took}");
        for (name, time, what) in phases(job) {
            let _ = writeln!(text, "  {name:<9} {:>10}  {what}", shown::duration(time));
        }
    }
    let [node_local, rack_local, off_rack] = report.places().shares().map(|share| 100.0 * share);
    let _ = writeln!(
        text,
        "maps ran    {node_local:.1} % node-local, {rack_local:.1} % rack-local, {off_rack:.1} % elsewhere"
    );
    let (slots, used) = (report.slots, 100.0 * report.utilisation());
    let _ = writeln!(text, "slots       {slots}, of which {used:.0} % were used in the mean");
    let backups = report.backups;
    let _ = writeln!(
        text,
        "backups     {} won, {} lost, {} useless",
        backups.won, backups.lost, backups.useless
    );
    let _ = writeln!(
        text,
        "run again   {} attempts; {} map outputs were lost",
        report.rerun, report.outputs_lost
    );
    let _ = writeln!(text, "slots in use, from the submit to the end (seed {}):", args.seed);
    for (name, of) in [("maps", (|it| it.maps) as fn(&InUse) -> f64), ("reduces", |it| it.reduces)]
    {
        let _ = writeln!(text, "  {name:<9} {}", bars(&report.timeline, report.slots, of));
    }
    text
}

/// A bar for each piece of time; a full one is all slots.
fn bars(timeline: &[InUse], slots: u64, of: impl Fn(&InUse) -> f64) -> String {
    const BARS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let bar = |it: &InUse| {
        let share = (of(it) / slots.max(1) as f64).clamp(0.0, 1.0);
        // Whatever is in use at all shows.
        #[expect(clippy::cast_possible_truncation, reason = "one of nine")]
        #[expect(clippy::cast_sign_loss, reason = "a share is not negative")]
        let height = if share < 1e-6 { 0 } else { ((share * 8.0).round() as usize).max(1) };
        BARS[height.min(8)]
    };
    timeline.iter().map(bar).collect::<String>().trim_end().to_owned()
}

fn comparison(trackers: usize, report: &Report, others: usize, compared: &Report) -> String {
    let (time, other) = (report.time.as_secs_f64(), compared.time.as_secs_f64());
    let gain = if time > 0.0 { (time - other) / time } else { 0.0 };
    let change = match gain {
        gain if gain >= 0.0 => format!("{:.1} % shorter", 100.0 * gain),
        loss => format!("{:.1} % longer", -100.0 * loss),
    };
    let verdict = match (others > trackers, gain >= WORTH) {
        (true, true) => format!("{} more would help", others - trackers),
        (true, false) => format!("{} more would not help", others - trackers),
        (false, _) if gain >= -WORTH => "as many would do".to_owned(),
        (false, _) => "the others would be missed".to_owned(),
    };
    format!("with {others} trackers: {}, {change}: {verdict}\n", shown::duration(compared.time))
}

fn document(report: &Report) -> serde_json::Value {
    let seconds = |time: Duration| time.as_secs_f64();
    let maybe = |time: Option<Duration>| time.map(seconds);
    let job = |job: &JobReport| {
        let places = job.places;
        json!({
            "name": job.name, "state": job.state, "failure": job.failure,
            "maps": job.maps, "reduces": job.reduces,
            "submitted_s": seconds(job.submitted), "first_launch_s": maybe(job.launched),
            "maps_done_s": maybe(job.maps_done), "fetched_s": maybe(job.fetched),
            "tasks_done_s": maybe(job.tasks_done), "ended_s": seconds(job.ended),
            "slot_s": seconds(job.slot_time),
            "fetched_bytes": job.fetched_bytes, "fetched_from_others": job.fetched_from_others,
            "node_local": places.node_local, "rack_local": places.rack_local,
            "off_rack": places.off_rack,
        })
    };
    let in_use = |it: &InUse| json!({"maps": it.maps, "reduces": it.reduces});
    let backups = report.backups;
    json!({
        "time_s": seconds(report.time),
        "slots": report.slots,
        "utilisation": report.utilisation(),
        "jobs": report.jobs.iter().map(job).collect::<Vec<_>>(),
        "slots_in_use": report.timeline.iter().map(in_use).collect::<Vec<_>>(),
        "backups": {"won": backups.won, "lost": backups.lost, "useless": backups.useless},
        "attempts_killed": report.killed,
        "attempts_run_again": report.rerun,
        "map_outputs_lost": report.outputs_lost,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_counted_or_are_a_part_of_all() {
        for (text, of_200) in [("0", 0), ("5", 5), ("5%", 10), ("11.5%", 23), ("100%", 200)] {
            assert_eq!(text.parse::<Share>().unwrap().of(200), of_200, "{text}");
        }
        for wrong in ["", "%", "-1", "101%", "five", "NaN%"] {
            assert!(wrong.parse::<Share>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_bar_shows_whatever_is_in_use() {
        let piece = |maps| InUse { maps, reduces: 0.0 };
        let timeline = [0.0, 0.1, 50.0, 100.0, 0.0].map(piece);
        assert_eq!(bars(&timeline, 100, |it| it.maps), " ▁▄█");
    }

    #[test]
    fn more_hosts_help_if_they_save_a_fiftieth() {
        let took = |seconds| Report { time: Duration::from_secs(seconds), ..Report::default() };
        for (others, seconds, expected) in [
            (20, 50, "with 20 trackers: 50.0s, 50.0 % shorter: 10 more would help\n"),
            (20, 99, "with 20 trackers: 1m 39s, 1.0 % shorter: 10 more would not help\n"),
            (20, 101, "with 20 trackers: 1m 41s, 1.0 % longer: 10 more would not help\n"),
            (5, 101, "with 5 trackers: 1m 41s, 1.0 % longer: as many would do\n"),
            (5, 150, "with 5 trackers: 2m 30s, 50.0 % longer: the others would be missed\n"),
        ] {
            assert_eq!(comparison(10, &took(100), others, &took(seconds)), expected);
        }
    }
}
