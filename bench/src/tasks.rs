//! What a task costs that does nothing: a native job without reduces, each of whose maps gets one empty line and has a process,
//! a folder, a capability, a log and a record of its success; in turn with the same program started and waited for, and no more.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use clock::Stopwatch;
use serde_json::Value;
use tests::cluster::{Dev, DevOptions};

use crate::measure::Rates;
use crate::report::Report;
use crate::suite::usage;

const TRACKERS: u32 = 4;
/// Rate of tasks for that of bare processes, at least.
const RATIO_MIN: f64 = 0.4;
/// Processor time of a task, over all processes, at most.
const CPU_MAX: Duration = Duration::from_millis(4);
/// Bare processes of a run, at most.
const BARE_MAX: u32 = 3000;

#[derive(Args)]
pub(crate) struct TasksArgs {
    /// Maps of the job.
    #[arg(long, default_value_t = 10_000)]
    tasks: u32,
    /// Runs of each thing; the median counts.
    #[arg(long, default_value_t = 3)]
    runs: u32,
    /// Fail if a goal is missed.
    #[arg(long)]
    pub(crate) goals: bool,
    /// Keep the table in this file.
    #[arg(long)]
    pub(crate) write: Option<PathBuf>,
}

/// Adds the rows of rate and of processor time.
pub(crate) fn measure(args: &TasksArgs, report: &mut Report) -> anyhow::Result<()> {
    let program = std::env::current_exe()?.with_file_name("nothing");
    let cluster = Dev::start(&DevOptions::trackers(TRACKERS));
    let text = cluster.scratch().join("lines");
    std::fs::write(&text, "\n".repeat(args.tasks as usize))?;
    cluster.put(&text, "/in");
    let slots = TRACKERS * cluster.config().tasktracker.slots;
    let (mut tasks, mut bare) = (Rates::default(), Rates::default());
    let mut cpu_ms = Rates::default();
    for run in 0..=args.runs {
        let alone = bare_rate(&program, args.tasks.min(BARE_MAX), slots)?;
        let (rate, cpu_of_one) = run_job(&cluster, &program, args.tasks, run)?;
        if run > 0 {
            bare.push(alone);
            tasks.push(rate);
            cpu_ms.push(cpu_of_one * 1e3);
        }
    }
    let ratio = tasks.ratio_to(&bare);
    let n = args.tasks;
    report.row(
        format!("{n} tasks without input, {TRACKERS} trackers of {} slots in all", slots),
        format!("{tasks}; bare processes, {slots} at once, {bare}; ratio {ratio:.2}"),
        format!("≥ {RATIO_MIN} × bare processes"),
        ratio >= RATIO_MIN,
    );
    let (cpu, most) = (cpu_ms.median(), CPU_MAX.as_secs_f64() * 1e3);
    report.row(
        "processor time of such a task, over all processes",
        format!("{cpu:.2} ms"),
        format!("≤ {most} ms"),
        cpu <= most,
    );
    Ok(())
}

/// Processes a second, so many at once.
fn bare_rate(program: &Path, n: u32, at_once: u32) -> anyhow::Result<f64> {
    let next = AtomicU32::new(0);
    let one = || -> anyhow::Result<()> {
        let mut command = Command::new(program);
        command.arg("--bare").stdin(Stdio::null()).stdout(Stdio::null());
        let status = command.status().with_context(|| {
            format!("{}: build it with `cargo build --release -p bench`", program.display())
        })?;
        anyhow::ensure!(status.success(), "{} --bare failed: {status}", program.display());
        Ok(())
    };
    let watch = Stopwatch::start();
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..at_once)
            .map(|_| {
                scope.spawn(|| {
                    while next.fetch_add(1, Ordering::Relaxed) < n {
                        one()?;
                    }
                    anyhow::Ok(())
                })
            })
            .collect();
        threads.into_iter().try_for_each(|it| it.join().unwrap_or_else(|_| Ok(())))
    })?;
    Ok(f64::from(n) / watch.elapsed().as_secs_f64())
}

/// Tasks a second from the job's acceptance to its end, and processor seconds of one.
fn run_job(cluster: &Dev, program: &Path, n: u32, run: u32) -> anyhow::Result<(f64, f64)> {
    let spec = serde_json::json!({
        "name": "nothing", "input": ["/in"], "output": format!("/out-{run}"), "reduces": 0,
        "input_format": {"lines": 1}, "output_format": "none",
        "program": {"native": {"executable": program}},
    });
    let file = cluster.job_file("tasks.json", &spec.to_string());
    let mut ended = Value::Null;
    let used = usage::of(&daemons(cluster), || {
        let id = cluster.run(&["job", "submit", &file, "--wait"]).success().text();
        ended = cluster.job(&id);
        Ok(())
    })?;
    let at = |key: &str| ended[key].as_u64().with_context(|| format!("{key} in {ended}"));
    let succeeded = ended["maps"]["succeeded"].as_u64();
    anyhow::ensure!(succeeded == Some(n.into()), "{succeeded:?} of {n} maps: {ended:#}");
    let took = Duration::from_millis(at("finished_at")? - at("submitted_at")?);
    Ok((f64::from(n) / took.as_secs_f64(), used.cpu_seconds / f64::from(n)))
}

fn daemons(cluster: &Dev) -> Vec<i32> {
    let of_hosts =
        (1..=TRACKERS).flat_map(|n| [format!("chunkserver-{n}"), format!("tasktracker-{n}")]);
    let all = ["chunkmaster".to_owned(), "jobtracker".to_owned()].into_iter().chain(of_hosts);
    all.map(|daemon| cluster.pid(&daemon)).collect()
}
