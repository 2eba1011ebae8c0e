//! `howdah streaming`: a job by Hadoop Streaming's command line, submitted and waited for. What the line means is in
//! `hadoop_line`.

use std::path::PathBuf;

use chunkstore_client::ChunkStore;
use chunkstore_client::stores::StoreUrl;
use clap::Args;

use super::{Global, fs, job, runtime};
use crate::exit::OrEarly;
use crate::hadoop_line;
use crate::job_file::JobFile;
use crate::session::Session;

const OPTIONS: &str = "\
Options, as behind `hadoop jar hadoop-streaming.jar`:
  -input PATH...           files and folders of the chunk store, URLs, patterns
  -output PATH             the folder to make
  -mapper COMMAND          -reducer COMMAND|NONE          -combiner COMMAND
  -file FILE               -files FILE[#NAME],...         local files for the commands' folder
  -archives FILE[#NAME],...                               local archives, unpacked there
  -cmdenv NAME=VALUE       a variable of the commands' environment
  -numReduceTasks N        number of reduces; 0 as -reducer NONE
  -partitioner CLASS       KeyFieldBasedPartitioner, with its properties
  -D NAME=VALUE            a property of Hadoop 1 or 2; those that mean nothing here are named
  -background              submit, and do not wait
  --config FILE            the cluster's configuration, also before the other options";

/// Arguments of `streaming`.
#[derive(Debug, Args)]
#[command(after_help = OPTIONS, override_usage = "howdah streaming -input PATH -output PATH -mapper COMMAND [OPTIONS]")]
pub(crate) struct StreamingArgs {
    /// Options of Hadoop Streaming
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true, hide = true)]
    line: Vec<String>,
}

/// Runs `streaming`.
pub(crate) fn run(args: &StreamingArgs, global: &Global) -> anyhow::Result<()> {
    let mut line = hadoop_line::parse(&args.line).or_early()?;
    for warning in &line.warnings {
        crate::say::say!("warning: {warning}");
    }
    let mut global = global.clone();
    if let Some(file) = &line.config {
        global.config = Some(PathBuf::from(file));
    }
    let session = Session::open(global.client_config()?)?;
    let done = runtime::on_this_thread(async {
        if line.spec.input.iter().any(|input| is_pattern(input)) {
            let store = session.store().await?;
            line.spec.input = expand(&store, line.spec.input).await?;
        }
        let job = JobFile::of(PathBuf::from("the command line"), line.spec).or_early()?;
        job.check_for_cluster().or_early()?;
        job::submit_job(&session, &job, !line.background, global.format).await
    });
    done.map_err(|error| session.explain(error))
}

fn is_pattern(input: &str) -> bool {
    !StoreUrl::is_url(input) && input.contains(['*', '?', '[', '{'])
}

/// Each pattern's paths in its place.
async fn expand(store: &ChunkStore, inputs: Vec<String>) -> anyhow::Result<Vec<String>> {
    let mut all = Vec::new();
    for input in inputs {
        match is_pattern(&input) {
            true => all.extend(fs::expand_pattern(store, &input).await?),
            false => all.push(input),
        }
    }
    Ok(all)
}
