//! `howdah completion`: what a shell needs to complete the command line. From the same definition as the help.

use std::io::Write as _;

use clap::{Args, CommandFactory as _, ValueEnum};
use clap_complete::Shell;

use super::Cli;
use crate::say::quiet_if_closed;

/// Arguments of `completion`.
#[derive(Debug, Args)]
#[command(arg(super::idle_config()))]
pub(crate) struct CompletionArgs {
    /// The shell
    #[arg(value_enum)]
    shell: Supported,
}

/// Shells whose scripts are tested.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Supported {
    /// For ~/.local/share/bash-completion/completions/howdah
    Bash,
    /// For a folder of $fpath, as _howdah
    Zsh,
    /// For ~/.config/fish/completions/howdah.fish
    Fish,
}

/// Prints the script.
pub(crate) fn run(args: &CompletionArgs) -> anyhow::Result<()> {
    let shell = match args.shell {
        Supported::Bash => Shell::Bash,
        Supported::Zsh => Shell::Zsh,
        Supported::Fish => Shell::Fish,
    };
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "howdah", &mut script);
    quiet_if_closed(std::io::stdout().lock().write_all(&script))
}
