//! Files and folders into the chunk store and out of it. What is copied appears whole or not at all
//! where that can be had: single files always, folders on the local side; of a folder that could not be
//! put, what was put is removed again. `fs` and `demo` call it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use bytes::Bytes;
use chunkstore_client::{ChunkStore, CreateOptions, StoreError};
use chunkstore_protocol::{FileKind, FileStatus, StorePath};
use futures_util::{StreamExt, TryStreamExt, stream};

use crate::exit::{OrEarly, early};
use crate::local_file::LocalFileError;
use crate::progress::ByteProgress;

/// Files copied at once: small ones wait for the disks of several servers.
const FILES_AT_ONCE: usize = 4;
/// Entries of one folder.
const ENTRIES_MAX: usize = 10_000_000;

/// What stands at `path`, if anything does.
pub(crate) async fn kind_at(
    store: &ChunkStore,
    path: &StorePath,
) -> Result<Option<FileKind>, StoreError> {
    match store.stat(path).await {
        Ok(found) => Ok(Some(found.kind)),
        Err(StoreError::NotFound { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// A tree of files to be copied: folders first, each before what is in it.
struct Tree<From, To> {
    folders: Vec<To>,
    files: Vec<(From, To)>,
    bytes: u64,
}

impl<From, To> Default for Tree<From, To> {
    fn default() -> Self {
        Self { folders: Vec::new(), files: Vec::new(), bytes: 0 }
    }
}

/// Copies local files and folders to `to`, or into it if it is a folder.
pub(crate) async fn put(
    store: &ChunkStore,
    from: &[PathBuf],
    to: &StorePath,
) -> anyhow::Result<()> {
    let into_folder = matches!(kind_at(store, to).await?, Some(FileKind::Folder));
    if from.len() > 1 && !into_folder {
        return Err(anyhow!(
            "{to} is no folder: make it first (`howdah fs mkdir`) to put several things there"
        ));
    }
    for source in from {
        let target = if into_folder { to.join(name_of(source)?)? } else { to.clone() };
        let mut tree = Tree::default();
        scan_local(source, &target, &mut tree).or_early()?;
        let progress = ByteProgress::new("put", tree.bytes);
        let copied = put_tree(store, &target, &tree, &progress).await;
        progress.finish();
        copied.with_context(|| format!("cannot put {}", source.display()))?;
    }
    Ok(())
}

/// Copies local files into `folder`, each by its own name, behind a number where names clash. Returns
/// their bytes.
pub(crate) async fn put_files(
    store: &ChunkStore,
    files: &[PathBuf],
    folder: &StorePath,
) -> anyhow::Result<u64> {
    let mut tree = Tree::default();
    let mut taken = BTreeSet::new();
    for (index, file) in files.iter().enumerate() {
        let name = name_of(file)?;
        let free = if taken.contains(name) { format!("{index}-{name}") } else { name.to_owned() };
        scan_local(file, &folder.join(&free)?, &mut tree).or_early()?;
        taken.insert(free);
    }
    let progress = ByteProgress::new("put", tree.bytes);
    let copied = put_below(store, &tree, &progress).await;
    progress.finish();
    copied.context("cannot put the input")?;
    Ok(tree.bytes)
}

fn name_of(path: &Path) -> anyhow::Result<&str> {
    let name = path.file_name().and_then(|name| name.to_str());
    name.ok_or_else(|| early(anyhow!("{} has no name in UTF-8 to be put under", path.display())))
}

fn scan_local(
    local: &Path,
    target: &StorePath,
    tree: &mut Tree<PathBuf, StorePath>,
) -> anyhow::Result<()> {
    let unreadable = || format!("cannot read {}", local.display());
    let found = fs::metadata(local).with_context(unreadable)?;
    if found.is_file() {
        fs::File::open(local).with_context(unreadable)?;
        tree.bytes += found.len();
        tree.files.push((local.to_owned(), target.clone()));
        return Ok(());
    }
    if !found.is_dir() {
        return Err(anyhow!("{} is neither a file nor a folder", local.display()));
    }
    tree.folders.push(target.clone());
    let entries = fs::read_dir(local).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let mut entries = entries.with_context(unreadable)?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let path = entry.path();
        let below = target.join(name_of(&path)?).with_context(|| path.display().to_string())?;
        scan_local(&path, &below, tree)?;
    }
    Ok(())
}

async fn put_tree(
    store: &ChunkStore,
    target: &StorePath,
    tree: &Tree<PathBuf, StorePath>,
    progress: &ByteProgress,
) -> Result<(), StoreError> {
    if let Some(folder) = tree.folders.first() {
        if let Some(above) = folder.parent() {
            store.mkdir(&above, true).await?;
        }
        // Without parents, so that a folder that exists is refused.
        store.mkdir(folder, false).await?;
    }
    let copied = put_below(store, tree, progress).await;
    if copied.is_err() && !tree.folders.is_empty() {
        // Best effort: the failure itself is reported.
        store.delete(target, true).await.ok();
    }
    copied
}

async fn put_below(
    store: &ChunkStore,
    tree: &Tree<PathBuf, StorePath>,
    progress: &ByteProgress,
) -> Result<(), StoreError> {
    for folder in tree.folders.iter().skip(1) {
        store.mkdir(folder, false).await?;
    }
    let options = CreateOptions { parents: true, ..CreateOptions::default() };
    let puts = tree.files.iter().map(|(local, path)| async move {
        let told = std::cell::Cell::new(0);
        let tell = |so_far: u64| progress.add(so_far - told.replace(so_far));
        store.put_local(local, path, options, tell).await.map(drop)
    });
    stream::iter(puts).buffer_unordered(FILES_AT_ONCE).try_collect().await
}

/// Copies files and folders of the chunk store to the local `to`, or into it if it is a folder.
pub(crate) async fn get(store: &ChunkStore, from: &[StorePath], to: &Path) -> anyhow::Result<()> {
    let into_folder = to.is_dir();
    if from.len() > 1 && !into_folder {
        return Err(early(anyhow!(
            "{} is no folder: make it first to get several things there",
            to.display()
        )));
    }
    for source in from {
        let target = match (into_folder, source.name()) {
            (true, Some(name)) => to.join(name),
            _ => to.to_owned(),
        };
        if fs::symlink_metadata(&target).is_ok() {
            return Err(early(LocalFileError::Exists { path: target }));
        }
        get_one(store, source, &target).await.with_context(|| format!("cannot get {source}"))?;
    }
    Ok(())
}

async fn get_one(store: &ChunkStore, source: &StorePath, target: &Path) -> anyhow::Result<()> {
    let found = store.stat(source).await?;
    if let FileKind::File { length, .. } = found.kind {
        let progress = ByteProgress::new("get", length);
        let copied = get_file(store, source, target, &progress).await;
        progress.finish();
        return copied;
    }
    let above = target.parent().filter(|above| !above.as_os_str().is_empty());
    let unwritable = || format!("cannot write {}", target.display());
    // Beside the target, so that the finished folder only has to be renamed.
    let partial = tempfile::Builder::new()
        .prefix(".howdah-")
        .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o777))
        .tempdir_in(above.unwrap_or(Path::new(".")))
        .with_context(unwritable)?;
    let mut tree = Tree::default();
    scan_store(store, &found, partial.path(), &mut tree).await?;
    let progress = ByteProgress::new("get", tree.bytes);
    let copied = get_tree(store, &tree, &progress).await;
    progress.finish();
    copied?;
    fs::rename(partial.keep(), target).with_context(unwritable)
}

async fn scan_store(
    store: &ChunkStore,
    root: &FileStatus,
    target: &Path,
    tree: &mut Tree<StorePath, PathBuf>,
) -> Result<(), StoreError> {
    let mut folders = vec![(root.path.clone(), target.to_owned())];
    while let Some((folder, target)) = folders.pop() {
        for entry in store.list_all(&folder, ENTRIES_MAX).await? {
            let target = target.join(entry.path.name().unwrap_or_default());
            match entry.kind {
                FileKind::Folder => {
                    tree.folders.push(target.clone());
                    folders.push((entry.path, target));
                }
                FileKind::File { length, .. } => {
                    tree.bytes += length;
                    tree.files.push((entry.path, target));
                }
            }
        }
    }
    Ok(())
}

async fn get_tree(
    store: &ChunkStore,
    tree: &Tree<StorePath, PathBuf>,
    progress: &ByteProgress,
) -> anyhow::Result<()> {
    for folder in &tree.folders {
        fs::create_dir(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    let gets = tree.files.iter().map(|(path, target)| get_file(store, path, target, progress));
    stream::iter(gets).buffer_unordered(FILES_AT_ONCE).try_collect().await
}

async fn get_file(
    store: &ChunkStore,
    path: &StorePath,
    target: &Path,
    progress: &ByteProgress,
) -> anyhow::Result<()> {
    let told = std::cell::Cell::new(0);
    let tell = |so_far: u64| progress.add(so_far - told.replace(so_far));
    store.get_local(path, target, tell).await.with_context(|| path.to_string())?;
    Ok(())
}

/// Makes a new file of generated blocks, which are made on a thread of their own.
pub(crate) async fn put_blocks(
    store: &ChunkStore,
    path: &StorePath,
    blocks: impl Iterator<Item = Vec<u8>> + Send + 'static,
    progress: &ByteProgress,
) -> anyhow::Result<()> {
    const BLOCKS_AHEAD: usize = 8;
    let (sender, mut receiver) = tokio::sync::mpsc::channel(BLOCKS_AHEAD);
    tokio::task::spawn_blocking(move || {
        for block in blocks {
            // A receiver that is gone has failed and says why itself.
            if sender.blocking_send(Bytes::from(block)).is_err() {
                return;
            }
        }
    });
    let options = CreateOptions { parents: true, ..CreateOptions::default() };
    let mut writer = store.create(path, options).await?;
    while let Some(block) = receiver.recv().await {
        let n_bytes = block.len() as u64;
        writer.write(block).await?;
        progress.add(n_bytes);
    }
    writer.close().await?;
    Ok(())
}
