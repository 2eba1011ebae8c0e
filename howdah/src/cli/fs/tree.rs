//! `fs mkdir`, `fs touch`, `fs mv` and `fs cp`: what changes the tree, and removes nothing.

use anyhow::{Context, anyhow};
use chunkstore_client::stores::StoreUrl;
use chunkstore_client::{ChunkStore, CreateOptions, LogOptions, StoreError};
use chunkstore_protocol::{FileKind, Replace, StorePath};
use clap::Args;
use serde_json::json;

use super::expand::expand;
use super::pattern::Pattern;
use super::place::only_own;
use super::{Format, doing, or_replace, shown, urls};
use crate::copy::{self, CopyOptions, Target};
use crate::exit::{OrEarly, early};
use crate::failures::Failures;
use crate::prompt_words::with_parents_flag;
use crate::session::Session;
use crate::signals::termination;

/// Files that `cp` has copied at once: each is one small request.
const COPIES_AT_ONCE: usize = 16;

/// Arguments of `fs mkdir`.
#[derive(Debug, Args)]
pub(super) struct MkdirArgs {
    /// The folders
    #[arg(required = true, value_parser = only_own::<StorePath>(
        "folders are there as soon as an object lies in them, and need not be made"
    ))]
    paths: Vec<StorePath>,
    /// Make missing folders above too; an existing folder is fine
    #[arg(short, long)]
    parents: bool,
}

/// Arguments of `fs touch`.
#[derive(Debug, Args)]
pub(super) struct TouchArgs {
    /// The files
    #[arg(required = true, value_parser = only_own::<StorePath>(
        "make an empty object with `howdah fs put /dev/null URL`"
    ))]
    paths: Vec<StorePath>,
    /// Make logs, to which many may append records at once
    #[arg(long)]
    log: bool,
}

/// Arguments of `fs mv`.
#[derive(Debug, Args)]
pub(super) struct MvArgs {
    /// What to move, patterns are expanded; and, last, the new path, or an existing folder that gets it inside
    #[arg(required = true, value_name = "PATH... PATH")]
    paths: Vec<String>,
    /// A file may take another file's place, in one step
    #[arg(short, long)]
    pub(super) force: bool,
}

/// Arguments of `fs cp`.
#[derive(Debug, Args)]
pub(super) struct CpArgs {
    /// What to copy, patterns are expanded; and, last, the new path, or an existing folder that gets it inside
    #[arg(required = true, value_name = "PATH... PATH")]
    paths: Vec<String>,
    /// Copy folders too, with what is in them
    #[arg(short, long, visible_short_alias = 'R')]
    recursive: bool,
    /// Replace files that are there, each in one step; folders get what is missing
    #[arg(short, long)]
    pub(super) force: bool,
}

pub(super) async fn mkdir(
    session: &Session,
    args: &MkdirArgs,
    format: Format,
) -> anyhow::Result<()> {
    let store = session.store().await?;
    let (mut folders, mut failures) = (Vec::new(), Failures::default());
    for path in &args.paths {
        let made = store.mkdir(path, args.parents).await.with_context(|| doing("make", path));
        folders.extend(failures.take(made.map_err(with_parents_flag))?.map(|_| path));
    }
    format.print(&json!({"folders": folders}))?;
    failures.end()
}

pub(super) async fn touch(
    session: &Session,
    args: &TouchArgs,
    format: Format,
) -> anyhow::Result<()> {
    let store = session.store().await?;
    let (mut files, mut failures) = (Vec::new(), Failures::default());
    for path in &args.paths {
        let made = match args.log {
            true => store.create_log(path, LogOptions::default()).await,
            false => store.write_all(path, Vec::new(), CreateOptions::default()).await,
        };
        let made = match made {
            // Whatever is there stays as it is.
            Err(StoreError::AlreadyExists { .. }) => Ok(false),
            made => made.map(|_| true).with_context(|| doing("make", path)),
        };
        let made = failures.take(made)?;
        files.extend(made.map(|is_new| json!({"path": path, "is_new": is_new})));
    }
    format.print(&json!({"files": files}))?;
    failures.end()
}

/// The sources and the target, where one of them is in another store.
fn with_urls<'a>(
    paths: &'a [String],
    usage: &str,
) -> anyhow::Result<Option<(&'a [String], &'a str)>> {
    if !paths.iter().any(|path| ids::names_another_store(path)) {
        return Ok(None);
    }
    match paths.split_last() {
        Some((to, from)) if !from.is_empty() => Ok(Some((from, to))),
        _ => Err(early(anyhow!("two paths at least are needed: howdah {usage}"))),
    }
}

/// The sources, as patterns, and the target of what `usage` shows.
fn sources_and_target(paths: &[String], usage: &str) -> anyhow::Result<(Vec<Pattern>, Target)> {
    let Some((to, from)) = paths.split_last().filter(|(_, from)| !from.is_empty()) else {
        return Err(early(anyhow!("two paths at least are needed: howdah {usage}")));
    };
    let own = |text: &String| StoreUrl::without_own_scheme(text).parse();
    let from = from.iter().map(own).collect::<Result<_, _>>().or_early()?;
    Ok((from, shown::target(StoreUrl::without_own_scheme(to)).or_early()?))
}

/// Each source with the path that it is to get: in the target, if that is a folder.
async fn targets_of(
    store: &ChunkStore,
    from: &[Pattern],
    to: &Target,
    failures: &mut Failures,
) -> anyhow::Result<Vec<(StorePath, StorePath)>> {
    let into_folder = matches!(copy::kind_at(store, &to.path).await?, Some(FileKind::Folder));
    let n_asked = from.len();
    let from = expand(store, from, failures).await?;
    // Those that are missing count: one that is left of several is not what gets the target's name.
    if n_asked.max(from.len()) > 1 && !into_folder {
        let to = &to.path;
        return Err(anyhow!(
            "{to} is no folder: make it first (`howdah fs mkdir -p {to}`) to have several things there"
        ));
    }
    let mut targets = Vec::new();
    for from in from {
        let target = match from.name() {
            Some(name) if into_folder => to.path.join(name)?,
            _ => to.path.clone(),
        };
        if to.is_folder && !into_folder && is_file(store, &from).await? {
            to.check_file()?;
        }
        targets.push((from, target));
    }
    copy::refuse_clashes(targets.iter().map(|(_, target)| target))?;
    Ok(targets)
}

pub(super) async fn mv(session: &Session, args: &MvArgs, format: Format) -> anyhow::Result<()> {
    let usage = "fs mv PATH... PATH";
    if let Some((from, to)) = with_urls(&args.paths, usage)? {
        return urls::mv(session, from, to, args.force, format).await;
    }
    let (from, to) = sources_and_target(&args.paths, usage)?;
    let store = session.store().await?;
    let (mut all, mut failures) = (Vec::new(), Failures::default());
    for (from, target) in targets_of(&store, &from, &to, &mut failures).await? {
        let replace = if args.force { Replace::Always } else { Replace::Never };
        let moved = store.rename_over(&from, &target, replace).await;
        let moved = moved.with_context(|| format!("cannot move {from} to {target}"));
        let moved = failures.take(moved.map_err(or_replace(args.force)))?;
        all.extend(moved.map(|_| json!({"from": from, "to": target})));
    }
    format.print(&json!({"moved": all}))?;
    failures.end()
}

pub(super) async fn cp(session: &Session, args: &CpArgs, format: Format) -> anyhow::Result<()> {
    let usage = "fs cp PATH... PATH";
    if let Some((from, to)) = with_urls(&args.paths, usage)? {
        let options = CopyOptions { replace: args.force, ..CopyOptions::default() };
        return urls::cp(session, from, to, args.recursive, &options, format).await;
    }
    let (from, to) = sources_and_target(&args.paths, usage)?;
    let store = session.store().await?;
    let mut failures = Failures::default();
    let pairs = targets_of(&store, &from, &to, &mut failures).await?;
    let options =
        CopyOptions { replace: args.force, at_once: COPIES_AT_ONCE, ..CopyOptions::default() };
    let end = &mut termination()?;
    let copied = copy::copy(&store, &pairs, args.recursive, &options, end, &mut failures).await?;
    format.print(&copied)?;
    failures.end()
}

async fn is_file(store: &ChunkStore, path: &StorePath) -> anyhow::Result<bool> {
    Ok(matches!(copy::kind_at(store, path).await?, Some(FileKind::File { .. })))
}
