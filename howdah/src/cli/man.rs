//! `howdah man`: the manual pages, from the same definition as the help.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, Command, CommandFactory as _};

use super::Cli;

/// Arguments of `man`.
#[derive(Debug, Args)]
#[command(arg(super::idle_config()))]
pub(crate) struct ManArgs {
    /// The folder to write them to, made if missing: howdah.1, and a page for each command (howdah-fs.1,
    /// howdah-fs-put.1)
    #[arg(long)]
    dir: PathBuf,
}

/// Writes the pages; those of former releases that are there are replaced.
pub(crate) fn run(args: &ManArgs) -> anyhow::Result<()> {
    let folder = &args.dir;
    let made = std::fs::create_dir_all(folder);
    made.with_context(|| format!("cannot make the folder {}", folder.display()))?;
    let written = clap_mangen::generate_to(without_help(Cli::command()), folder);
    written.with_context(|| format!("cannot write the pages to {}", folder.display()))
}

/// The same without `help`, which would have a page for each command again.
fn without_help(command: Command) -> Command {
    command.disable_help_subcommand(true).mut_subcommands(without_help)
}
