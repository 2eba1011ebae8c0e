//! `howdah streaming`: a job by Hadoop Streaming's command line, submitted and waited for. What the line means is in
//! `hadoop_line`.

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::Args;

use super::inputs::{self, Recursion};
use super::{Global, job, runtime};
use crate::exit::OrEarly;
use crate::hadoop_line;
use crate::hadoop_names::HEEDED;
use crate::job_file::JobFile;
use crate::session::Session;

const OPTIONS: &str = "\
Options, as behind `hadoop jar hadoop-streaming.jar`:
  -input PATH...           files and folders of the chunk store, URLs, patterns
  -output PATH             the folder to make
  -mapper COMMAND          -reducer COMMAND|NONE          -combiner COMMAND
  -file FILE               -files FILE[#NAME],...         files for the commands' folder; hdfs:///PATH is the chunk store
  -archives FILE[#NAME],...                               archives, unpacked there
  -cacheFile, -cacheArchive                               as -files and -archives
  -inputformat CLASS       TextInputFormat, KeyValueTextInputFormat, NLineInputFormat
  -outputformat CLASS      TextOutputFormat, NullOutputFormat
  -cmdenv NAME=VALUE       a variable of the commands' environment
  -numReduceTasks N        number of reduces; 0 as -reducer NONE
  -partitioner CLASS       KeyFieldBasedPartitioner, with its properties
  -D NAME=VALUE            a property, see below; -jobconf is the same
  -background              submit, and do not wait
  -info, -help             this text
  --config FILE            the cluster's configuration, also before the other options

Properties that count, also under Hadoop 1's names; others are named in a warning, or refused where the result would be
another:";

/// What makes the job read subfolders.
const RECURSIVE_OPTION: &str = "-D mapreduce.input.fileinputformat.input.dir.recursive=true";

/// Arguments of `streaming`.
#[derive(Debug, Args)]
#[command(after_help = help(), override_usage = "howdah streaming -input PATH -output PATH -mapper COMMAND [OPTIONS]")]
pub(crate) struct StreamingArgs {
    /// Options of Hadoop Streaming
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true, hide = true)]
    line: Vec<String>,
}

/// Runs `streaming`.
pub(crate) fn run(args: &StreamingArgs, global: &Global) -> anyhow::Result<()> {
    if args.line.iter().any(|argument| ["-info", "-help"].contains(&argument.as_str())) {
        crate::say::tell!("{}", help());
        return Ok(());
    }
    let line = hadoop_line::parse(&args.line).or_early()?;
    for warning in &line.warnings {
        crate::say::say!("warning: {warning}");
    }
    let mut global = global.clone();
    if let Some(file) = &line.config {
        global.config = Some(PathBuf::from(file));
    }
    let session = Session::open(global.client_config()?)?;
    let recursion = Recursion { wanted: line.recursive, by: RECURSIVE_OPTION };
    let done = runtime::on_this_thread(async {
        let mut job = JobFile::of(PathBuf::from("the command line"), line.spec).or_early()?;
        job.check_for_cluster().or_early()?;
        inputs::of_store(&session, &mut job, recursion).await?;
        job::submit_job(&session, &job, !line.background, global.format).await
    });
    done.map_err(|error| session.explain(error))
}

/// The help behind the options' own: what is read of Hadoop's line.
fn help() -> String {
    let mut text = OPTIONS.to_owned();
    for (names, meaning) in HEEDED {
        for name in names.split(", ") {
            let _ = write!(text, "\n  {name}");
        }
        let _ = write!(text, "\n      {meaning}");
    }
    text
}
