//! `howdah demo`: a whole cluster in a temporary folder, one job on it, and what came of it.

use std::path::PathBuf;

use clap::Args;

use super::overrides::Overrides;
use super::size::parse_size;
use super::{Global, runtime};
use crate::supervise::demo::{self, Demo};

/// Arguments of `demo`.
#[derive(Debug, Args)]
#[command(arg(super::idle_config()))]
pub(crate) struct DemoArgs {
    /// TaskTrackers, each with a chunkserver on the same host
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=200))]
    trackers: u16,
    /// A file or folder to read; may be repeated. Without it text is generated
    #[arg(long, value_name = "PATH")]
    input: Vec<PathBuf>,
    /// Size of the generated text
    #[arg(long, value_name = "SIZE", default_value = "256MiB", value_parser = parse_size)]
    size: u64,
    /// The builtin program to run
    #[arg(long, value_name = "NAME", default_value = "wordcount")]
    program: String,
    /// An argument of the program, like pattern=whale; may be repeated
    #[arg(long = "arg", value_name = "NAME=VALUE")]
    args: Vec<String>,
    /// A folder for the output's parts; it must not exist
    #[arg(long, value_name = "DIR")]
    output: Option<PathBuf>,
    /// Leave the cluster up at the end, until Ctrl-C
    #[arg(long)]
    keep: bool,
    #[command(flatten)]
    overrides: Overrides,
}

/// Runs `demo`.
pub(crate) fn run(args: DemoArgs, global: &Global) -> anyhow::Result<()> {
    let demo = Demo {
        trackers: args.trackers.into(),
        input: args.input,
        size: args.size,
        spec: demo::job(&args.program, &args.args)?,
        output: args.output,
        keep: args.keep,
        overrides: args.overrides.parsed()?,
        format: global.format,
    };
    runtime::on_this_thread(demo.run())
}
