//! `howdah chunkmaster|chunkserver|jobtracker|tasktracker`: one daemon in the foreground.

use clap::Args;

use super::Global;
use crate::daemons::{self, Beginning};

/// Arguments of a daemon that belongs to a host.
#[derive(Debug, Args)]
pub(crate) struct HostArgs {
    /// Which entry of `hosts` this is; may be left out where there is one
    #[arg(long, value_name = "NAME")]
    host: Option<String>,
}

/// Arguments of the chunk master.
#[derive(Debug, Args)]
pub(crate) struct ChunkmasterArgs {
    #[command(flatten)]
    master: MasterArgs,
    /// Start though the journal is older than the cluster, once, where the newer one is lost for good: what only
    /// that one knew is given up
    #[arg(long, conflicts_with_all = ["init", "init_only"])]
    accept_old_journal: bool,
}

impl ChunkmasterArgs {
    fn beginning(&self) -> Beginning {
        if self.accept_old_journal { Beginning::OverOldJournal } else { self.master.beginning() }
    }
}

/// Arguments of a master.
#[derive(Debug, Args)]
pub(crate) struct MasterArgs {
    /// The first start, in an empty data folder: the chunk master makes a new cluster, the JobTracker
    /// joins it
    #[arg(long)]
    init: bool,
    /// As --init, and end when that is done: before the daemon is started as a service
    #[arg(long, conflicts_with = "init")]
    init_only: bool,
    /// Start though only one of the journal's two folders is there, once, where the other one is lost for good and this
    /// one was in use to the end: what the other one went on with alone is given up
    #[arg(long, conflicts_with_all = ["init", "init_only"])]
    accept_one_journal_folder: bool,
}

impl MasterArgs {
    fn beginning(&self) -> Beginning {
        match (self.init, self.init_only) {
            (true, _) => Beginning::First,
            (false, true) => Beginning::FirstOnly,
            (false, false) => Beginning::Again,
        }
    }
}

/// Runs `chunkmaster`.
pub(crate) fn chunkmaster(args: &ChunkmasterArgs, global: &Global) -> anyhow::Result<()> {
    let accepts_one = args.master.accept_one_journal_folder;
    daemons::chunkmaster::run(&global.config_file()?, args.beginning(), accepts_one)
}

/// Runs `chunkserver`.
pub(crate) fn chunkserver(args: &HostArgs, global: &Global) -> anyhow::Result<()> {
    daemons::chunkserver::run(&global.config_file()?, args.host.as_deref())
}

/// Runs `jobtracker`.
pub(crate) fn jobtracker(args: &MasterArgs, global: &Global) -> anyhow::Result<()> {
    let accepts_one = args.accept_one_journal_folder;
    daemons::jobtracker::run(&global.config_file()?, args.beginning(), accepts_one)
}

/// Runs `tasktracker`.
pub(crate) fn tasktracker(args: &HostArgs, global: &Global) -> anyhow::Result<()> {
    daemons::tasktracker::run(&global.config_file()?, args.host.as_deref())
}
