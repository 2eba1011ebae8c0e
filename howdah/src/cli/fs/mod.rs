//! `howdah fs`: files and folders of the chunk store, and with many verbs objects of other stores. Here: which verbs
//! there are. Each group of verbs has a file of its own, with their arguments and what they print; copies in and out
//! are in `crate::copy`.

mod checksum;
mod expand;
mod expand_local;
mod hadoop_verbs;
mod health;
mod health_tables;
mod list;
mod log;
mod owner;
mod pattern;
mod place;
mod put_aside;
mod read;
mod remove;
mod replication;
mod text;
mod transfer;
mod tree;
mod urls;
mod usage;

use std::process::ExitCode;

use chunkstore_client::{ChunkStore, StoreError};
use chunkstore_protocol::{FileKind, FileStatus, StorePath};
use clap::{Args, Subcommand};

pub(super) use health_tables::text_of_server;

use super::watch::Watch;
use super::{Format, Global, runtime, shown};
use crate::exit::{OrEarly as _, sentence};
use crate::prompt_words::at_the_prompt;
use crate::session::Session;

pub(super) use expand::{below, entries_of};
pub(super) use expand_local::{Matched, expand_local};
pub(crate) use hadoop_verbs::translated;
pub(super) use pattern::could_match;
pub(super) use put_aside::PutAside;

/// What a pattern matches in the chunk store, for other commands.
pub(super) async fn expand_store(
    store: &ChunkStore,
    pattern: &str,
) -> anyhow::Result<Vec<Matched>> {
    let pattern = pattern.parse::<pattern::Pattern>().or_early()?;
    let found = expand::statuses_of(store, &pattern).await?;
    let matched = |it: FileStatus| Matched {
        path: it.path.to_string(),
        is_folder: matches!(it.kind, FileKind::Folder),
    };
    Ok(found.into_iter().map(matched).collect())
}

/// Arguments of `fs`.
#[derive(Debug, Args)]
pub(crate) struct FsArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Copy local files and folders into the chunk store
    #[command(override_usage = "howdah fs put [OPTIONS] LOCAL... PATH")]
    Put(transfer::PutArgs),
    /// Copy files and folders out of the chunk store
    #[command(override_usage = "howdah fs get [OPTIONS] PATH... LOCAL")]
    Get(transfer::GetArgs),
    /// Put local files, or standard input, behind the end of a file; or their lines, as records, into a log
    #[command(override_usage = "howdah fs append [OPTIONS] LOCAL... PATH")]
    Append(transfer::AppendArgs),
    /// Write files to standard output
    Cat(read::CatArgs),
    /// Write what files hold to standard output: decompressed, where the ends of their names say so
    Text(text::TextArgs),
    /// Write the beginning of files to standard output
    Head(read::HeadArgs),
    /// Write the end of files to standard output
    Tail(read::TailArgs),
    /// Tell the CRC32C of files, in hexadecimal
    Checksum(checksum::ChecksumArgs),
    /// List folders
    #[command(disable_help_flag = true)]
    Ls(list::LsArgs),
    /// Show what stands at a path
    Stat(list::StatArgs),
    /// Ask what stands at a path: the exit code is 0 for yes, 1 for no
    Test(list::TestArgs),
    /// Sum up the bytes of what is in folders: of the files, and of all their replicas
    #[command(disable_help_flag = true)]
    Du(usage::DuArgs),
    /// Tell how much room the chunkservers have
    #[command(disable_help_flag = true)]
    Df(usage::DfArgs),
    /// Count folders, files and bytes
    #[command(disable_help_flag = true)]
    Count(usage::CountArgs),
    /// Make folders
    Mkdir(tree::MkdirArgs),
    /// Make empty files, or logs; what exists stays as it is
    Touch(tree::TouchArgs),
    /// Move files and folders
    #[command(override_usage = "howdah fs mv [OPTIONS] PATH... PATH")]
    Mv(tree::MvArgs),
    /// Copy files and folders within the chunk store, without moving their bytes, or from and to other stores
    #[command(override_usage = "howdah fs cp [OPTIONS] PATH... PATH")]
    Cp(tree::CpArgs),
    /// Set how many replicas files have
    Setrep(replication::SetrepArgs),
    /// Make files and folders another user's; takes an admin
    Chown(owner::ChownArgs),
    /// Remove files and folders; they can be had back from the trash for a while
    Rm(remove::RmArgs),
    /// Empty the trash
    Expunge,
    /// Show how the chunkservers are, and what is repaired
    Report {
        #[command(flatten)]
        watch: Watch,
    },
    /// Check that all chunks have as many live replicas as asked for
    Fsck(health::FsckArgs),
    /// Empty a chunkserver, so that it can be taken away
    Drain(health::DrainArgs),
    /// Have a chunkserver get new chunks again: what drain --stop does
    Undrain(health::UndrainArgs),
    /// Count a chunkserver's replicas that no file refers to and that are too many to go unasked, or delete
    /// them
    Orphans(health::OrphansArgs),
    /// Forget a dead chunkserver: a chunk master that starts does not wait for it any more
    Forget(health::ForgetArgs),
}

/// Runs `fs`.
pub(crate) fn run(args: FsArgs, global: &Global) -> anyhow::Result<ExitCode> {
    let session = Session::open(global.client_config()?)?;
    let format = global.format;
    let done = runtime::on_this_thread(async {
        match args.action {
            Action::Put(args) => {
                transfer::put(&session, &args, format).await.map_err(or_replace(args.force))
            }
            Action::Get(args) => transfer::get(&session, &args, format).await,
            Action::Append(args) => transfer::append(&session, &args, format).await,
            Action::Cat(args) => read::cat(&session, &args).await,
            Action::Text(args) => text::text(&session, &args).await,
            Action::Head(args) => read::head(&session, &args).await,
            Action::Tail(args) => read::tail(&session, &args).await,
            Action::Checksum(args) => checksum::checksum(&session, &args, format).await,
            Action::Ls(args) => list::ls(&session, &args, format).await,
            Action::Stat(args) => list::stat(&session, &args, format).await,
            Action::Test(args) => return list::test(&session, &args).await,
            Action::Du(args) => usage::du(&session, &args, format).await,
            Action::Df(args) => usage::df(&session, &args, format).await,
            Action::Count(args) => usage::count(&session, &args, format).await,
            Action::Mkdir(args) => tree::mkdir(&session, &args, format).await,
            Action::Touch(args) => tree::touch(&session, &args, format).await,
            Action::Mv(args) => tree::mv(&session, &args, format).await,
            Action::Cp(args) => {
                tree::cp(&session, &args, format).await.map_err(or_replace(args.force))
            }
            Action::Setrep(args) => replication::setrep(&session, &args, format).await,
            Action::Chown(args) => owner::chown(&session, &args, format).await,
            Action::Rm(args) => remove::rm(&session, &args, format).await,
            Action::Expunge => remove::expunge(&session, format).await,
            Action::Report { watch } => health::report(&session, watch, format).await,
            Action::Fsck(args) => health::fsck(&session, &args, format).await,
            Action::Drain(args) => health::drain(&session, &args, format).await,
            Action::Undrain(args) => health::undrain(&session, &args, format).await,
            Action::Orphans(args) => health::orphans(&session, &args, format).await,
            Action::Forget(args) => health::forget(&session, &args, format).await,
        }
        .map(|()| ExitCode::SUCCESS)
    });
    done.map_err(|error| session.explain(at_the_prompt(error)))
}

/// What stands where something is to go may be replaced; but not what a writer holds, even one that was killed.
fn or_replace(was_tried: bool) -> impl Fn(anyhow::Error) -> anyhow::Error {
    move |error| {
        let remedy = error.chain().find_map(|cause| match cause.downcast_ref()? {
            StoreError::AlreadyExists { .. } if was_tried => {
                Some("; only a file takes a file's place, and nothing a folder's")
            }
            StoreError::AlreadyExists { .. } => Some(", or replace it with -f"),
            StoreError::StillOpen { .. } => Some(
                "; if that one was killed, the name is free when its lease is over, and at once after `howdah fs rm`",
            ),
            _ => None,
        });
        match remedy {
            Some(remedy) => anyhow::anyhow!("{}{remedy}", sentence(&error)),
            None => error,
        }
    }
}

fn doing(verb: &str, path: &StorePath) -> String {
    format!("cannot {verb} {path}")
}
