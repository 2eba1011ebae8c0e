//! The command line: one file per command. Parsing and printing only; what a command does lies in the
//! room it calls. Every command returns an error whose type says the exit code (see `exit`).

mod attempt;
mod builtins;
mod certs;
mod completion;
mod config_file;
mod daemon;
mod demo;
mod dev;
mod doctor;
mod explain;
mod fs;
mod gen_data;
mod host;
mod host_show;
pub(crate) mod inputs;
mod job;
mod job_list;
mod job_logs;
mod journal;
mod local;
mod man;
mod metrics;
mod openapi;
mod overrides;
mod pool;
mod record;
mod runtime;
mod secret;
mod shown;
mod simulate;
mod size;
mod streaming;
pub(crate) mod task;
mod token;
mod watch;
mod workflow;

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::error::ErrorKind;
use clap::{CommandFactory, Parser, Subcommand, ValueEnum};
use serde_yaml::with::singleton_map_recursive;

pub(crate) use fs::translated;
pub(crate) use local::run_locally;
pub(crate) use shown::word as shell_word;

use crate::say::quiet_if_closed;

/// MapReduce on a GFS-like chunk store.
#[derive(Debug, Parser)]
#[command(name = "howdah", version, propagate_version = true, arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// What every command takes.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Global {
    /// The cluster's configuration file; else HOWDAH_CONFIG names it; clients without either take
    /// the defaults, on loopback
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// How data is printed
    #[arg(long, global = true, value_enum, default_value_t = Format::Table)]
    format: Format,
}

/// How data is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people
    #[value(alias = "text")]
    Table,
    /// One JSON document
    Json,
    /// The same document in YAML
    Yaml,
}

impl Format {
    /// Whether programs read what is printed.
    pub(crate) fn is_document(self) -> bool {
        self != Self::Table
    }

    /// Prints `document` for programs. For people nothing: they are told in other words.
    pub(crate) fn print(self, document: &impl serde::Serialize) -> anyhow::Result<()> {
        let text = self.text_of(document)?.unwrap_or_default();
        quiet_if_closed(io::stdout().lock().write_all(text.as_bytes()))
    }

    /// `document` as it is printed; none for people.
    pub(crate) fn text_of(
        self,
        document: &impl serde::Serialize,
    ) -> anyhow::Result<Option<String>> {
        match self {
            Self::Table => Ok(None),
            Self::Json => {
                let text =
                    serde_json::to_string_pretty(document).context("cannot encode as JSON")?;
                Ok(Some(text + "\n"))
            }
            Self::Yaml => {
                // Commands that print several begin each anew.
                let mut text = b"---\n".to_vec();
                // Enums with data as JSON has them: a map of one key, no tag.
                singleton_map_recursive::serialize(
                    document,
                    &mut serde_yaml::Serializer::new(&mut text),
                )
                .context("cannot encode as YAML")?;
                Ok(Some(String::from_utf8(text).context("cannot encode as YAML")?))
            }
        }
    }
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show it: a whole cluster on loopback, a job on it, a summary; nothing stays
    Demo(demo::DemoArgs),
    /// Run a whole cluster on loopback in the foreground, kept in a folder
    Dev(dev::DevArgs),
    /// Run the master of the chunk store
    Chunkmaster(daemon::ChunkmasterArgs),
    /// Run the chunkserver of one host
    Chunkserver(daemon::HostArgs),
    /// Run the scheduler
    Jobtracker(daemon::MasterArgs),
    /// Run the TaskTracker of one host
    Tasktracker(daemon::HostArgs),
    /// Work with files and folders of the chunk store
    Fs(fs::FsArgs),
    /// Submit jobs and look after them
    Job(job::JobArgs),
    /// Look at a job's attempts, and end one
    Attempt(attempt::AttemptArgs),
    /// Look at the hosts that jobs run on
    Host(host::HostArgs),
    /// Submit a job of commands by the command line of Hadoop Streaming
    Streaming(streaming::StreamingArgs),
    /// Look at the pools that share the slots, and pause one or end its jobs
    Pool(pool::PoolArgs),
    /// Run several jobs of one file, with loops, and go on where one was interrupted
    Workflow(workflow::WorkflowArgs),
    /// List the builtin programs, with what they take
    Builtins(builtins::BuiltinsArgs),
    /// Run a job on local files, without daemons
    Local(local::LocalArgs),
    /// Say how long a job would take on a cluster of another size, or by other rules, without running anything
    Simulate(simulate::SimulateArgs),
    /// Make up input data: local files of an exact size
    Gen(gen_data::GenArgs),
    /// Check or print a configuration
    Config(config_file::ConfigArgs),
    /// Find out what is wrong with this host and its cluster, and what to do; exit code 1 if something can't work
    Doctor(doctor::DoctorArgs),
    /// Look into a master's journal
    Journal(journal::JournalArgs),
    /// Print the page of all metrics that the daemons serve, for Prometheus
    Metrics(metrics::MetricsArgs),
    /// Make the cluster's secret
    Secret(secret::SecretArgs),
    /// Print the description (OpenAPI 3.1) of a master's REST interface
    Openapi(openapi::OpenapiArgs),
    /// Make a user's token, for commands and REST
    Token(token::TokenArgs),
    /// Make and show the certificates of a cluster that speaks TLS
    Certs(certs::CertsArgs),
    /// Print the script by which a shell completes the command line
    Completion(completion::CompletionArgs),
    /// Write the manual pages into a folder
    Man(man::ManArgs),
    /// Run one attempt of a builtin program, as a TaskTracker's child
    #[command(hide = true)]
    Task(task::TaskArgs),
}

/// Runs what was asked for.
pub(crate) fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    refuse_idle_config(&cli);
    let done = match cli.command {
        Command::Task(args) => return task::run(&args),
        Command::Doctor(args) => return doctor::run(&args, &cli.global),
        Command::Fs(args) => return fs::run(args, &cli.global),
        Command::Demo(args) => demo::run(args, &cli.global),
        Command::Dev(args) => dev::run(&args),
        Command::Chunkmaster(args) => daemon::chunkmaster(&args, &cli.global),
        Command::Chunkserver(args) => daemon::chunkserver(&args, &cli.global),
        Command::Jobtracker(args) => daemon::jobtracker(&args, &cli.global),
        Command::Tasktracker(args) => daemon::tasktracker(&args, &cli.global),
        Command::Job(args) => job::run(args, &cli.global),
        Command::Attempt(args) => attempt::run(&args, &cli.global),
        Command::Host(args) => host::run(&args, &cli.global),
        Command::Streaming(args) => streaming::run(&args, &cli.global),
        Command::Pool(args) => pool::run(&args, &cli.global),
        Command::Workflow(args) => workflow::run(args, &cli.global),
        Command::Builtins(args) => builtins::run(&args, &cli.global),
        Command::Local(args) => local::run(&args, &cli.global),
        Command::Simulate(args) => simulate::run(&args, &cli.global),
        Command::Gen(args) => gen_data::run(&args),
        Command::Config(args) => config_file::run(args, &cli.global),
        Command::Journal(args) => journal::run(&args, &cli.global),
        Command::Metrics(args) => metrics::run(&args, &cli.global),
        Command::Secret(args) => secret::run(args, &cli.global),
        Command::Openapi(args) => {
            openapi::run(&args);
            Ok(())
        }
        Command::Token(args) => token::run(&args, &cli.global),
        Command::Certs(args) => certs::run(args, &cli.global),
        Command::Completion(args) => completion::run(&args),
        Command::Man(args) => man::run(&args),
    };
    done.map(|()| ExitCode::SUCCESS)
}

/// `--config` of commands that read none: not in their help, and refused below.
fn idle_config() -> clap::Arg {
    let parser = clap::value_parser!(PathBuf);
    clap::Arg::new("config").long("config").global(true).hide(true).value_parser(parser)
}

/// A file that would not be read must not look as if it were.
fn refuse_idle_config(cli: &Cli) {
    let why = match &cli.command {
        Command::Demo(_) => "demo makes a cluster of its own: --set changes its configuration",
        Command::Dev(_) => "dev keeps its configuration in its --dir: --set changes it",
        Command::Builtins(_)
        | Command::Completion(_)
        | Command::Gen(_)
        | Command::Journal(_)
        | Command::Man(_)
        | Command::Metrics(_)
        | Command::Openapi(_) => "this command reads no configuration",
        _ => return,
    };
    if cli.global.config.is_some() {
        Cli::command().error(ErrorKind::ArgumentConflict, format!("--config: {why}")).exit();
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[derive(serde::Serialize)]
    enum Cause {
        Late { seconds: u32 },
        Gone,
    }

    #[test]
    fn a_document_says_the_same_in_every_format_and_people_get_none() {
        let document = (
            json!({"b": "no", "a": [1, null, "line\u{2028}\u{85}\nend"]}),
            [Cause::Late { seconds: 3 }, Cause::Gone],
        );
        let text = |format: Format| format.text_of(&document).unwrap();
        assert_eq!(text(Format::Table), None);
        let json: serde_json::Value = serde_json::from_str(&text(Format::Json).unwrap()).unwrap();
        let yaml: serde_json::Value = serde_yaml::from_str(&text(Format::Yaml).unwrap()).unwrap();
        assert_eq!(yaml, json);
        assert_eq!(json[1], json!([{"Late": {"seconds": 3}}, "Gone"]));
    }
}
