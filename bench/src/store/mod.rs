//! The chunk store's speed and size, each thing in turn with what it is compared with.

mod creates;
mod files;
mod hdfs;
mod load;
mod master;
mod namespace;
mod opens;
mod population;
mod scale;
mod servers;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use crate::report::Report;
use master::Master;

/// What to measure, and how long.
#[derive(Args)]
pub(crate) struct StoreArgs {
    /// Only these.
    #[arg(long, value_delimiter = ',')]
    only: Vec<Part>,
    /// Files in the namespace.
    #[arg(long, default_value_t = 1_000_000)]
    files: u64,
    /// Runs of each thing; the median counts.
    #[arg(long, default_value_t = 7)]
    runs: u32,
    /// Milliseconds of each run of a load.
    #[arg(long, default_value_t = 2000)]
    run_ms: u64,
    /// Length of the files that are put and read.
    #[arg(long, default_value = "1GiB")]
    size: config::Bytes,
    /// Folder of the jars of Hadoop 2.7, to measure HDFS too; see the README of `bench/peers`.
    #[arg(long)]
    hadoop_jars: Option<PathBuf>,
    /// Fail if a goal is missed.
    #[arg(long)]
    pub(crate) goals: bool,
    /// Keep the table in this file.
    #[arg(long)]
    pub(crate) write: Option<PathBuf>,
}

/// A part of the measurements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Where a file is, one a request.
    Opens,
    /// Where many are, a thousand a request.
    Batch,
    /// New files, one a request.
    Create,
    /// Whole files to and from the cluster, and read on its host.
    Files,
    /// Whole files read by HTTP, also from another network namespace.
    Network,
    /// Memory, start and the longest input with many files.
    Scale,
}

impl StoreArgs {
    fn has(&self, part: Part) -> bool {
        self.only.is_empty() || self.only.contains(&part)
    }

    /// How long one run of a load lasts.
    fn time(&self) -> Duration {
        Duration::from_millis(self.run_ms)
    }
}

/// Adds a row for each thing that is measured.
///
/// # Errors
/// When something can't be, or answers wrongly.
pub(crate) fn measure(args: &StoreArgs, report: &mut Report) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(metadata(args, report))?;
    if args.has(Part::Files) {
        files::put_and_get(args, report)?;
    }
    if args.has(Part::Network) {
        files::across(args, report)?;
    }
    if args.has(Part::Scale) {
        runtime.block_on(scale::daemon(args, report))?;
        scale::inputs(args, report)?;
    }
    Ok(())
}

/// What the chunk master does alone.
async fn metadata(args: &StoreArgs, report: &mut Report) -> anyhow::Result<()> {
    if ![Part::Opens, Part::Batch, Part::Create].into_iter().any(|part| args.has(part)) {
        return Ok(());
    }
    let master = Master::start(args.files).await?;
    if args.has(Part::Opens) {
        opens::one_by_one(&master, args, report).await?;
    }
    if args.has(Part::Batch) {
        opens::in_batches(&master, args, report).await?;
    }
    if args.has(Part::Create) {
        creates::measure(&master, args, report).await?;
    }
    Ok(())
}
