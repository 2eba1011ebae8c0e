//! `howdah pool`: whose share of the slots is how large, and what is done to all jobs of a pool.

use clap::{Args, Subcommand};
use mapreduce_protocol::{PoolList, PoolStatus};

use super::watch::{Frame, Watch};
use super::{Format, Global, runtime, shown};
use crate::jobs::Jobs;
use crate::session::Session;

/// Arguments of `pool`.
#[derive(Debug, Args)]
pub(crate) struct PoolArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List the pools: what each is promised and may, and what it has
    List {
        #[command(flatten)]
        watch: Watch,
    },
    /// Launch nothing of a pool's jobs, nor of those that come later, until it is resumed
    Pause {
        /// The pool
        #[arg(value_parser = pool_name)]
        pool: String,
        /// End what runs of them now; it runs again later
        #[arg(long)]
        now: bool,
    },
    /// Let a paused pool go on
    Resume {
        /// The pool
        #[arg(value_parser = pool_name)]
        pool: String,
    },
    /// End all unfinished jobs of a pool
    Kill {
        /// The pool
        #[arg(value_parser = pool_name)]
        pool: String,
    },
}

/// A name that some pool might have.
fn pool_name(text: &str) -> Result<String, String> {
    match config::is_pool_name(text) {
        true => Ok(text.to_owned()),
        false => Err("no pool is called so: 1 to 64 letters, digits, '-', '_' and '.'".to_owned()),
    }
}

/// Runs `pool`.
pub(crate) fn run(args: &PoolArgs, global: &Global) -> anyhow::Result<()> {
    let format = global.format;
    let session = Session::open(global.client_config()?)?;
    let done = runtime::on_this_thread(async {
        let jobs = session.jobs();
        let status = match &args.action {
            Action::List { watch } => return list(&jobs, *watch, format).await,
            Action::Pause { pool, now } => {
                let status = jobs.pause_pool(pool, *now).await?;
                crate::say::say!("pool {pool} is paused");
                status
            }
            Action::Resume { pool } => {
                let status = jobs.resume_pool(pool).await?;
                crate::say::say!("pool {pool} goes on");
                status
            }
            Action::Kill { pool } => {
                let status = jobs.kill_pool(pool).await?;
                match status.jobs {
                    0 => crate::say::say!("pool {pool} has no jobs any more"),
                    left => crate::say::say!("of pool {pool}, {left} jobs are being published"),
                }
                status
            }
        };
        format.print(&status)
    });
    done.map_err(|error| session.explain(error))
}

async fn list(jobs: &Jobs, watch: Watch, format: Format) -> anyhow::Result<()> {
    let look = async || {
        let list = jobs.pools().await?;
        let text = format.text_of(&list)?.unwrap_or_else(|| table(&list));
        Ok(Frame { text, is_last: false })
    };
    watch.show(look).await
}

fn table(list: &PoolList) -> String {
    let head = ["POOL", "WEIGHT", "SHARE", "SLOTS", "MIN", "MAX", "JOBS", "WAITING", "STATE"];
    let rows: Vec<_> =
        std::iter::once(head.map(str::to_owned)).chain(list.pools.iter().map(row)).collect();
    let right = [false, true, true, true, true, true, true, true, false];
    shown::table(&rows, right)
}

fn row(status: &PoolStatus) -> [String; 9] {
    let limit = |max: Option<u32>| max.map_or_else(|| "-".to_owned(), |max| max.to_string());
    [
        status.pool.clone(),
        status.weight.to_string(),
        status.fair_share.to_string(),
        status.slots.to_string(),
        status.min_slots.to_string(),
        limit(status.slots_max),
        status.jobs.to_string(),
        status.waiting.to_string(),
        if status.paused { "PAUSED" } else { "OPEN" }.to_owned(),
    ]
}
