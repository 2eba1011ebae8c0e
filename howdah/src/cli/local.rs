//! `howdah local`: a job on local files, without daemons. A builtin program runs in this process, a
//! native one in its own.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, anyhow};
use clap::Args;
use config::Config;
use mapreduce_protocol::{JobCounters, LOCAL_ARGUMENT, LocalJob, LocalResult, Program};
use tasktracker::TasktrackerSettings;

use super::{Format, Global, print_json};
use crate::exit::{OrEarly, early};
use crate::job_file::JobFile;

/// Arguments of `local`.
#[derive(Debug, Args)]
pub(crate) struct LocalArgs {
    /// The job, YAML or JSON; its paths are local ones
    file: PathBuf,
    /// Run the plain loop that all outputs are compared with: decode, sort, reduce
    #[arg(long)]
    sequential: bool,
}

/// Runs `local`.
pub(crate) fn run(args: &LocalArgs, global: &Global) -> anyhow::Result<()> {
    let config = global.client_config()?;
    let job = JobFile::read(&args.file).or_early()?;
    job.check_local_paths().or_early()?;
    let local = local_job(&job, args.sequential, &config);
    let result = match &job.spec.program {
        Program::Builtin(builtin) => {
            let program = mapreduce::builtin(&builtin.name, &builtin.args).or_early()?;
            mapreduce::run_local(&program, &local)
        }
        Program::Native(_) => run_executable(&job, &local)?,
    };
    match result.outcome {
        Err(failure) => Err(anyhow!("{}: {}", job.spec.name, failure.message)),
        Ok(counters) => {
            crate::say::say!("{} is done: {}", job.spec.name, job.spec.output);
            match global.format {
                Format::Text => Ok(()),
                Format::Json => print_json(&JobCounters { counters }),
            }
        }
    }
}

fn local_job(job: &JobFile, sequential: bool, config: &Config) -> LocalJob {
    let parallelism = std::thread::available_parallelism().map_or(1, usize::from);
    LocalJob {
        spec: job.spec.clone(),
        sequential,
        parallelism: u32::try_from(parallelism).unwrap_or(u32::MAX),
        split_bytes: config.jobtracker.split_bytes.0,
        settings: TasktrackerSettings::task_settings(&config.task, &config.client),
    }
}

/// Runs the author's executable, which holds the job and the local runner.
fn run_executable(job: &JobFile, local: &LocalJob) -> anyhow::Result<LocalResult> {
    job.read_executable().or_early()?;
    let executable = job.executable().context("a native program has an executable")?;
    // Command looks names without a slash up in PATH; this is a file.
    let executable = executable.canonicalize().or_early()?;
    let argument = serde_json::to_string(local).context("cannot encode the job")?;
    let ran = Command::new(&executable)
        .arg(format!("{LOCAL_ARGUMENT}{argument}"))
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output();
    let ran =
        ran.map_err(|error| early(anyhow!("cannot run {}: {error}", executable.display())))?;
    read_result(&executable, &ran.stdout).with_context(|| format!("it ended with {}", ran.status))
}

/// The result is the last line: the author's code may have printed lines of its own.
fn read_result(executable: &Path, stdout: &[u8]) -> anyhow::Result<LocalResult> {
    let text = String::from_utf8_lossy(stdout);
    let (printed, last) = match text.trim_end().rsplit_once('\n') {
        Some((printed, last)) => (Some(printed), last),
        None => (None, text.trim_end()),
    };
    if let Some(printed) = printed {
        crate::say::tell!("{printed}");
    }
    serde_json::from_str(last).map_err(|_| {
        anyhow!(
            "{} gave no result: is it linked with `mapreduce` and does its main call mapreduce::main?",
            executable.display()
        )
    })
}
