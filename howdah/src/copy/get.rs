//! Copies out. Everything is fetched under a temporary name beside its target, and moved there when all of it
//! is whole.

use std::cell::Cell;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use chunkstore_client::{ChunkStore, StoreError};
use chunkstore_protocol::{FileKind, StorePath};
use futures_util::{StreamExt, stream};

use super::{Copied, CopyOptions, ENTRIES_MAX, Sources, Tree, refuse_clashes};
use crate::exit::{OrEarly as _, early};
use crate::failures::Failures;
use crate::local_file::{LocalFileError, UnfinishedFolder, move_new};
use crate::progress::ByteProgress;

/// One thing to fetch.
struct Fetch {
    source: StorePath,
    /// Where it is fetched to.
    whole: PathBuf,
    /// Where it goes then.
    target: PathBuf,
    tree: Tree<StorePath, PathBuf>,
    /// Some of it could not be had.
    failed: Cell<bool>,
}

/// Copies files and folders of the chunk store to the local `to`, or into it if it is a folder. What can't be had is a
/// failure, and the others go on.
pub(crate) async fn get(
    store: &ChunkStore,
    from: Sources<'_, StorePath>,
    to: &Path,
    options: &CopyOptions,
    failures: &mut Failures,
) -> anyhow::Result<Copied> {
    let mut copied = Copied::default();
    let targets = targets_of(&from, to, options)?;
    let Some((_, first)) = targets.first() else { return Ok(copied) };
    let unfinished = UnfinishedFolder::beside(first)?;
    let mut fetches = Vec::new();
    for (index, (source, target)) in targets.into_iter().enumerate() {
        let whole = unfinished.path().join(index.to_string());
        let fetch = scan(store, source, whole, target).await;
        let fetch = fetch.with_context(|| format!("cannot get {source}"));
        fetches.extend(failures.take(fetch)?);
    }
    let progress = ByteProgress::new("get", fetches.iter().map(|fetch| fetch.tree.bytes).sum());
    let fetched = fetch_all(store, &fetches, options, &progress, failures).await;
    progress.finish();
    fetched?;
    for Fetch { source, whole, target, tree, .. } in fetches.iter().filter(|it| !it.failed.get()) {
        let placed = place(whole, target, options.replace);
        if failures.take(placed.with_context(|| format!("cannot get {source}")))?.is_some() {
            copied.files += tree.files.len();
            copied.bytes += tree.bytes;
        }
    }
    Ok(copied)
}

fn targets_of<'a>(
    from: &Sources<'a, StorePath>,
    to: &Path,
    options: &CopyOptions,
) -> anyhow::Result<Vec<(&'a StorePath, PathBuf)>> {
    let into_folder = to.is_dir();
    if !into_folder && to.as_os_str().as_encoded_bytes().ends_with(b"/") {
        let to = to.display();
        return Err(early(anyhow!("{to} is no folder: make it first, or leave the slash off")));
    }
    if from.are_several() && !into_folder {
        let to = to.display();
        return Err(early(anyhow!("{to} is no folder: make it first to get several things there")));
    }
    let target_of = |source: &StorePath| match (into_folder, source.name()) {
        (true, Some(name)) => to.join(name),
        _ => to.to_owned(),
    };
    let targets: Vec<_> = from.paths.iter().map(|source| (source, target_of(source))).collect();
    refuse_clashes(targets.iter().map(|(_, target)| target.display()))?;
    if options.replace {
        let mut plain = targets.iter().filter(|(_, target)| !target.is_dir());
        plain.try_for_each(|(_, target)| refuse_special(target)).or_early()?;
    }
    let stands = |target: &Path| fs::symlink_metadata(target).is_ok();
    match targets.iter().find(|(_, target)| !options.replace && stands(target)) {
        Some((_, target)) => {
            let exists = LocalFileError::Exists { path: target.clone() };
            Err(early(anyhow!("{exists}, or replace it with -f")))
        }
        None => Ok(targets),
    }
}

async fn scan(
    store: &ChunkStore,
    source: &StorePath,
    whole: PathBuf,
    target: PathBuf,
) -> Result<Fetch, StoreError> {
    let found = store.stat(source).await?;
    let mut tree = Tree::default();
    if let FileKind::File { length, .. } = found.kind {
        tree.bytes = length;
        tree.files.push((source.clone(), whole.clone()));
    } else {
        tree.folders.push(whole.clone());
        scan_folder(store, source, &whole, &mut tree).await?;
    }
    let failed = Cell::new(false);
    Ok(Fetch { source: source.clone(), whole, target, tree, failed })
}

async fn scan_folder(
    store: &ChunkStore,
    source: &StorePath,
    whole: &Path,
    tree: &mut Tree<StorePath, PathBuf>,
) -> Result<(), StoreError> {
    let mut folders = vec![(source.clone(), whole.to_owned())];
    while let Some((folder, whole)) = folders.pop() {
        for entry in store.list_all(&folder, ENTRIES_MAX).await? {
            let whole = whole.join(entry.path.name().unwrap_or_default());
            match entry.kind {
                FileKind::Folder => {
                    tree.folders.push(whole.clone());
                    folders.push((entry.path, whole));
                }
                FileKind::File { length, .. } => {
                    tree.bytes += length;
                    tree.files.push((entry.path, whole));
                }
            }
        }
    }
    Ok(())
}

async fn fetch_all(
    store: &ChunkStore,
    fetches: &[Fetch],
    options: &CopyOptions,
    progress: &ByteProgress,
    failures: &mut Failures,
) -> anyhow::Result<()> {
    for folder in fetches.iter().flat_map(|fetch| &fetch.tree.folders) {
        fs::create_dir(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    let files =
        fetches.iter().flat_map(|it| it.tree.files.iter().map(move |file| (&it.failed, file)));
    let gets = files.map(|(failed, (path, whole))| async move {
        match failed.get() {
            true => (failed, Ok(())),
            false => (failed, fetch_file(store, path, whole, progress).await),
        }
    });
    let mut gets = stream::iter(gets).buffer_unordered(options.at_once);
    while let Some((failed, got)) = gets.next().await {
        // Of one folder the first failure is enough.
        if got.is_err() && failed.get() {
            continue;
        }
        if failures.take(got)?.is_none() {
            failed.set(true);
        }
    }
    Ok(())
}

async fn fetch_file(
    store: &ChunkStore,
    path: &StorePath,
    whole: &Path,
    progress: &ByteProgress,
) -> anyhow::Result<()> {
    let told = Cell::new(0);
    let tell = |so_far: u64| progress.add(so_far - told.replace(so_far));
    let got = match store.get_local(path, whole, &tell).await {
        // Its records are what it holds, each as a line.
        Err(StoreError::LogOrNot { .. }) => store.get_local_records(path, whole, &tell).await,
        got => got,
    };
    got.map(drop).with_context(|| format!("cannot get {path}"))
}

/// A device, a pipe or a link is more than its bytes: nothing takes its place.
fn refuse_special(target: &Path) -> Result<(), LocalFileError> {
    match fs::symlink_metadata(target) {
        Ok(found) if !found.is_file() && !found.is_dir() => {
            Err(LocalFileError::Special { path: target.to_owned() })
        }
        _ => Ok(()),
    }
}

/// Gives what is whole its name. To replace is: files over files, and folders get what is missing.
fn place(whole: &Path, target: &Path, replace: bool) -> Result<(), LocalFileError> {
    if !replace {
        return move_new(whole, target);
    }
    let unwritable = |cause| LocalFileError::Unwritable { path: target.to_owned(), cause };
    if !(whole.is_dir() && target.is_dir()) {
        refuse_special(target)?;
        return fs::rename(whole, target).map_err(unwritable);
    }
    for entry in fs::read_dir(whole).map_err(unwritable)? {
        let entry = entry.map_err(unwritable)?;
        place(&entry.path(), &target.join(entry.file_name()), replace)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_take_the_place_of_files_alone() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::os::unix::fs::symlink("file", at("link")).unwrap();
        std::os::unix::fs::symlink(".", at("link-to-folder")).unwrap();
        let pipe = rustix::fs::FileType::Fifo;
        rustix::fs::mknodat(rustix::fs::CWD, at("pipe"), pipe, 0o600.into(), 0).unwrap();
        for (name, is_replaced) in [
            ("file", true),
            ("new", true),
            ("link", false),
            ("link-to-folder", false),
            ("pipe", false),
        ] {
            fs::write(at("file"), "old").unwrap();
            fs::write(at("whole"), "whole").unwrap();
            let before = fs::symlink_metadata(at(name)).map(|found| found.file_type()).ok();
            let placed = place(&at("whole"), &at(name), true);
            assert_eq!(placed.is_ok(), is_replaced, "{name}: {placed:?}");
            let after = fs::symlink_metadata(at(name)).map(|found| found.file_type()).ok();
            assert!(is_replaced || before == after, "{name}");
        }
    }
}
