//! `howdah local`: a job on local files, without daemons. It runs in a process of its own, a builtin
//! or streaming program as `howdah task`, so that nothing of it is left when it crashes or is interrupted.

use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};

use anyhow::{Context, anyhow};
use clap::Args;
use config::Config;
use mapreduce_protocol::{JobCounters, LOCAL_ARGUMENT, LocalJob, LocalResult};
use rustix::process::{Pid, Signal};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, Command};

use super::inputs::{self, Recursion};
use super::{Global, runtime};
use crate::exit::{Interrupted, OrEarly, early};
use crate::job_changes::JobChanges;
use crate::job_file::JobFile;
use crate::own_programs::say_own;
use crate::signals::termination;
use crate::submit::say_left_behind;
use crate::supervise::end_with_this_process;
use crate::task_settings::task_settings;

/// Arguments of `local`.
#[derive(Debug, Args)]
pub(crate) struct LocalArgs {
    /// The job, YAML or JSON; its paths are local ones, relative to it; - reads it from standard input
    file: PathBuf,
    #[command(flatten)]
    changes: JobChanges,
    /// Read all that is in subfolders of the input, too
    #[arg(long)]
    recursive: bool,
    /// Run the plain loop that all outputs are compared with: decode, sort, reduce
    #[arg(long)]
    sequential: bool,
}

/// Runs `local`.
pub(crate) fn run(args: &LocalArgs, global: &Global) -> anyhow::Result<()> {
    let config = global.client_config()?;
    let job = JobFile::read_changed(&args.file, &args.changes).or_early()?;
    job.read_executable().or_early()?;
    say_left_behind(&job);
    say_own(&job);
    let mut job = job.with_local_paths().or_early()?.with_files_found().or_early()?;
    let recursion = Recursion { wanted: args.recursive, by: "--recursive" };
    inputs::of_this_host(&mut job, recursion)?;
    job.check_for_local().or_early()?;
    let result = runtime::on_this_thread(run_locally(&mut job, args.sequential, &config))?;
    match result.outcome {
        Err(failure) => Err(anyhow!("{}: {}", job.spec.name, failure.message)),
        Ok(counters) => {
            crate::say::say!("{} is done: {}", job.spec.name, job.spec.output);
            let counters = JobCounters { counters };
            super::job::say_counters(&counters);
            if let Some(skipped) = super::job::skipped_records(&counters, Some(&job.spec.output)) {
                crate::say::say!("skipped  {skipped}");
            }
            global.format.print(&counters)
        }
    }
}

/// Runs a checked job, of whole paths, in a process of its own.
pub(crate) async fn run_locally(
    job: &mut JobFile,
    sequential: bool,
    config: &Config,
) -> anyhow::Result<LocalResult> {
    let sampled = crate::sampling::sample_local(&mut job.spec);
    sampled.with_context(|| format!("{}: reading a sample of the input", job.spec.name))?;
    run_apart(job, &local_job(job, sequential, config)).await
}

fn local_job(job: &JobFile, sequential: bool, config: &Config) -> LocalJob {
    let parallelism = std::thread::available_parallelism().map_or(1, usize::from);
    LocalJob {
        spec: job.spec.clone(),
        sequential,
        parallelism: u32::try_from(parallelism).unwrap_or(u32::MAX),
        split_bytes: config.jobtracker.split_bytes.0,
        settings: task_settings(&config.task, &config.client),
    }
}

/// The process that runs the job: user code may end it in the middle, and so may Ctrl-C.
fn runner(job: &JobFile) -> anyhow::Result<Command> {
    let mut command = match job.executable() {
        None => {
            let own = std::env::current_exe().context("cannot find this binary")?;
            let mut command = Command::new(own);
            command.arg("task");
            command
        }
        // Command looks names without a slash up in PATH; this is a file.
        Some(executable) => Command::new(executable.canonicalize().or_early()?),
    };
    command.arg(LOCAL_ARGUMENT).stdin(Stdio::piped());
    Ok(command)
}

/// Runs it to its end; nothing unfinished is left, however it ends.
async fn run_apart(job: &JobFile, local: &LocalJob) -> anyhow::Result<LocalResult> {
    let encoded = serde_json::to_string(local).context("cannot encode the job")?;
    let mut command = runner(job)?;
    // A group of its own: Ctrl-C reaches this process alone, which ends the other and what that started.
    command.stdout(Stdio::piped()).stderr(Stdio::inherit()).process_group(0);
    end_with_this_process(&mut command);
    let program = Path::new(command.as_std().get_program()).to_owned();
    let mut end = termination()?;
    let traces = mapreduce::runtime::LocalTraces::before(Path::new(&job.spec.output));
    let child = command.spawn();
    let mut child =
        child.map_err(|error| early(anyhow!("cannot run {}: {error}", program.display())))?;
    let pid = child.id().context("a child that was just started has no process id")?;
    let ended = end.or(exchange(&mut child, encoded)).await;
    // Commands may have left something running, as on a cluster, where it is ended, too.
    if let Some(group) = Pid::from_raw(pid.cast_signed()) {
        // Nothing of it may be left.
        rustix::process::kill_process_group(group, Signal::KILL).ok();
    }
    if ended.is_err() {
        child.wait().await.context("cannot wait for the job's process")?;
    }
    traces.remove(pid);
    let remains = "nothing is left behind".to_owned();
    let (status, stdout) = ended.map_err(|by| Interrupted { by, remains })??;
    read_result(&program, status, &stdout)
}

async fn exchange(child: &mut Child, job: String) -> anyhow::Result<(ExitStatus, Vec<u8>)> {
    let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
    // A program that knows nothing of jobs may write much, and read nothing.
    let told = async {
        if let Some(mut stdin) = stdin {
            // A process that ends before it has read the job says why itself.
            stdin.write_all(job.as_bytes()).await.ok();
        }
    };
    let heard = async {
        let mut said = Vec::new();
        match stdout {
            Some(mut stdout) => stdout.read_to_end(&mut said).await.map(|_| said),
            None => Ok(said),
        }
    };
    let ((), said) = tokio::join!(told, heard);
    let said = said.context("cannot read what the job says")?;
    Ok((child.wait().await.context("cannot wait for the job's process")?, said))
}

fn read_result(program: &Path, status: ExitStatus, stdout: &[u8]) -> anyhow::Result<LocalResult> {
    let (printed, result) = told(&String::from_utf8_lossy(stdout));
    if !printed.is_empty() {
        crate::say::say!("{printed}");
    }
    result.ok_or_else(|| no_result(program, status))
}

/// What the author's code has printed, and the result: the last line that is one. What a thread or a library prints at the very
/// end may come behind it.
fn told(stdout: &str) -> (String, Option<LocalResult>) {
    let lines: Vec<&str> = stdout.lines().collect();
    let parsed = |(at, line): (usize, &&str)| Some((at, serde_json::from_str(line).ok()?));
    match lines.iter().enumerate().rev().find_map(parsed) {
        None => (stdout.trim_end().to_owned(), None),
        Some((at, result)) => {
            // The end of line in front of it is its own.
            let before = lines[..at].strip_suffix(&[""]).unwrap_or(&lines[..at]);
            let printed = [before, &lines[at + 1..]].concat().join("\n");
            (printed.trim_end().to_owned(), Some(result))
        }
    }
}

fn no_result(program: &Path, status: ExitStatus) -> anyhow::Error {
    let program = program.display();
    if !status.success() {
        return anyhow!(
            "{program} ended before the job was done: {status}; what it said is above (if it knows no --howdah options, \
             it is not linked with the `mapreduce` crate: run it as a command, by `streaming`)"
        );
    }
    anyhow!(
        "{program} ended without a result: is it linked with the `mapreduce` crate, and does its main return \
         `mapreduce::main(…)`?"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_result_is_found_among_what_the_author_prints() {
        let result = r#"{"outcome":{"Ok":{"task.MAP_INPUT_RECORDS":3}}}"#;
        for (stdout, expected) in [
            (format!("\n{result}\n"), ""),
            (format!("hello\n\n{result}\n"), "hello"),
            (format!("no end\n{result}\n"), "no end"),
            (format!("a\n\nb\n{result}\nfrom a thread"), "a\n\nb\nfrom a thread"),
            (format!("{{\"outcome\": 7}}\n{result}\n"), "{\"outcome\": 7}"),
        ] {
            let (printed, found) = told(&stdout);
            assert_eq!(printed, expected);
            let counters = found.unwrap().outcome.unwrap();
            assert_eq!(counters["task.MAP_INPUT_RECORDS"], 3, "{stdout}");
        }
        let (printed, found) = told("usage: what\nfor\n");
        assert_eq!((printed.as_str(), found.is_none()), ("usage: what\nfor", true));
    }
}
