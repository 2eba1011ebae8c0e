//! Benchmarks of the whole system: real daemons on loopback, measured in turn with a baseline.
//!
//! `cargo run --release -p bench -- --size 256MiB --runs 5 --goals` measures jobs, and
//! `cargo run --release -p bench -- suite` jobs of every kind beside other programs, `-- store` the chunk store;
//! `-- scheduler` and `-- trackers` the JobTracker at a scale that no test machine has, `-- tasks` tasks that do nothing.
//!
//! Prints a table; with `--goals` a goal that is missed, or an output that is wrong, fails the run;
//! with `--write FILE` the table is kept.

mod idle;
mod main_job;
mod measure;
mod peer;
mod report;
mod scheduler;
mod small_job;
mod store;
mod suite;
mod tasks;
mod trackers;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use report::Report;

#[derive(Parser)]
#[command(about = "Measures Howdah against its goals", args_conflicts_with_subcommands = true)]
struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    /// Generated text for word count.
    #[arg(long, default_value = "256MiB")]
    size: String,
    /// Runs of each thing; the median counts.
    #[arg(long, default_value_t = 5)]
    runs: u32,
    /// The one-thread program to compare with: `PROGRAM INPUT OUTPUT` writes `word<TAB>count` lines.
    /// The default is this package's `st_wordcount`.
    #[arg(long, value_name = "PROGRAM")]
    baseline: Option<PathBuf>,
    /// Fail if a goal is missed.
    #[arg(long)]
    goals: bool,
    /// Keep the table in this file.
    #[arg(long)]
    write: Option<PathBuf>,
}

#[derive(Subcommand)]
enum Command {
    /// Measure the chunk store instead of jobs.
    Store(store::StoreArgs),
    /// Measure jobs of every kind beside the programs that do the same elsewhere.
    Suite(suite::SuiteArgs),
    /// Measure the JobTracker's core alone.
    Scheduler(scheduler::SchedulerArgs),
    /// Measure the JobTracker with very many TaskTrackers over HTTP.
    Trackers(trackers::TrackersArgs),
    /// Measure what a task costs that does nothing.
    Tasks(tasks::TasksArgs),
    /// Be one of the programs that Howdah is compared with.
    #[command(subcommand, hide = true)]
    Peer(peer::Peer),
}

fn main() -> anyhow::Result<ExitCode> {
    let args = Args::parse();
    let mut report = Report::new();
    let ended = |report: &Report, goals| match goals && !report.all_met() {
        true => ExitCode::FAILURE,
        false => ExitCode::SUCCESS,
    };
    match args.command {
        Some(Command::Peer(peer)) => {
            peer.run()?;
            return Ok(ExitCode::SUCCESS);
        }
        Some(Command::Store(args)) => {
            store::measure(&args, &mut report)?;
            report.give(args.write.as_deref())?;
            return Ok(ended(&report, args.goals));
        }
        Some(Command::Suite(args)) => {
            let is_as_cheap = suite::measure(&args, &mut report)?;
            report.give(args.write.as_deref())?;
            return Ok(if is_as_cheap { ended(&report, args.goals) } else { ExitCode::FAILURE });
        }
        Some(Command::Scheduler(args)) => {
            scheduler::measure(&args, &mut report)?;
            report.give(args.write.as_deref())?;
            return Ok(ended(&report, args.goals));
        }
        Some(Command::Trackers(args)) => {
            trackers::measure(&args, &mut report)?;
            report.give(args.write.as_deref())?;
            return Ok(ended(&report, args.goals));
        }
        Some(Command::Tasks(args)) => {
            tasks::measure(&args, &mut report)?;
            report.give(args.write.as_deref())?;
            return Ok(ended(&report, args.goals));
        }
        None => {}
    }
    let baseline = match args.baseline {
        Some(named) => named,
        None => std::env::current_exe()?.with_file_name("st_wordcount"),
    };
    main_job::measure(&args.size, args.runs, &baseline, &mut report)?;
    small_job::measure(args.runs.max(5) * 2 - 1, &mut report)?;
    idle::measure(&mut report)?;
    report.give(args.write.as_deref())?;
    Ok(ended(&report, args.goals))
}
