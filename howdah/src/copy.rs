//! Files and folders into the chunk store and out of it. What is copied appears whole or not at all
//! where that can be had: single files always, folders on the local side; of a folder that could not be
//! put, what was put is removed again, after Ctrl-C too. `fs` and `demo` call it.

use std::collections::BTreeSet;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, anyhow};
use bytes::Bytes;
use chunkstore_client::{ChunkStore, CreateOptions, FileWriter, StoreError};
use chunkstore_protocol::{FileKind, FileStatus, StorePath};
use futures_util::{StreamExt, TryStreamExt, stream};

use crate::exit::{Interrupted, OrEarly, early};
use crate::local_file::{LocalFileError, UnfinishedFolder};
use crate::made::{Made, UNDO_PATIENCE};
use crate::progress::ByteProgress;
use crate::signals::{Caught, Termination};

/// Files copied at once: small ones wait for the disks of several servers.
const FILES_AT_ONCE: usize = 4;
/// Bytes of one read of a local file: whole blocks, which the writer then shares.
const PIECE_BYTES: u64 = 1 << 20;
/// Pieces between the disk and the network.
const PIECES_AHEAD: usize = 4;
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

/// Where in the chunk store something is to go, as it was written.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    /// The path.
    pub(crate) path: StorePath,
    /// It ends with a slash: a file is to go into it.
    pub(crate) is_folder: bool,
}

impl Target {
    /// Refuses to make a file of that name where a folder is meant.
    pub(crate) fn check_file(&self) -> anyhow::Result<()> {
        let path = &self.path;
        if self.is_folder {
            return Err(anyhow!(
                "{path}/ is no folder: make it first (`howdah fs mkdir -p {path}`), or leave the slash off"
            ));
        }
        Ok(())
    }
}

/// Copies local files and folders to `target`, or into it if it is a folder. What `end` interrupts is
/// taken back, and so is what fails.
pub(crate) async fn put(
    store: &ChunkStore,
    from: &[PathBuf],
    target: &Target,
    end: &mut Termination,
) -> anyhow::Result<()> {
    let to = &target.path;
    let into_folder = matches!(kind_at(store, to).await?, Some(FileKind::Folder));
    if !into_folder && from.iter().any(|source| !source.is_dir()) {
        target.check_file()?;
    }
    if from.len() > 1 && !into_folder {
        return Err(anyhow!(
            "{to} is no folder: make it first (`howdah fs mkdir`) to put several things there"
        ));
    }
    let mut stays = Vec::new();
    for source in from {
        let target = if into_folder { to.join(name_of(source)?)? } else { to.clone() };
        let mut tree = Tree::default();
        scan_local(source, &target, &mut tree).or_early()?;
        let made = Made::new(target.clone(), missing_above(store, &target).await?);
        let progress = ByteProgress::new("put", tree.bytes);
        let copied = put_tree(store, &made, &tree, &progress, end).await;
        progress.finish();
        match copied {
            Ok(Ok(())) => stays.push(target.to_string()),
            Ok(Err(error)) => {
                // Best effort: the failure itself is reported.
                made.undo(store).await.ok();
                return Err(error).with_context(|| format!("cannot put {}", source.display()));
            }
            Err(by) => {
                let remains = made.remains(store, &stays).await;
                return Err(Interrupted { by, remains }.into());
            }
        }
    }
    Ok(())
}

/// The folders above `path` that are missing, innermost first.
async fn missing_above(store: &ChunkStore, path: &StorePath) -> Result<Vec<StorePath>, StoreError> {
    let mut above = Vec::new();
    let mut next = path.parent();
    while let Some(folder) = next {
        if kind_at(store, &folder).await?.is_some() {
            break;
        }
        next = folder.parent();
        above.push(folder);
    }
    Ok(above)
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
    let copied = put_all(store, &Made::new(folder.clone(), Vec::new()), &tree, &progress).await;
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
    made: &Made,
    tree: &Tree<PathBuf, StorePath>,
    progress: &ByteProgress,
    end: &mut Termination,
) -> Result<Result<(), StoreError>, Caught> {
    let mut work = std::pin::pin!(put_all(store, made, tree, progress));
    match end.or(&mut work).await {
        Ok(done) => Ok(done),
        Err(caught) => {
            made.stop();
            // Requests under way have a moment for their answers, which say what was made.
            let _late = tokio::time::timeout(UNDO_PATIENCE, work).await;
            Err(caught)
        }
    }
}

async fn put_all(
    store: &ChunkStore,
    made: &Made,
    tree: &Tree<PathBuf, StorePath>,
    progress: &ByteProgress,
) -> Result<(), StoreError> {
    if let Some(above) = tree.folders.first().and_then(StorePath::parent) {
        store.mkdir(&above, true).await?;
    }
    for folder in &tree.folders {
        if made.is_stopped() {
            return Ok(());
        }
        // Without parents, so that a folder that exists is refused.
        store.mkdir(folder, false).await?;
        made.add_folder(folder);
    }
    // Without parents, a request that arrives after the folder was taken back makes nothing.
    let parents = tree.folders.is_empty();
    let failed = Mutex::new(None);
    let puts = stream::iter(&tree.files).for_each_concurrent(FILES_AT_ONCE, |(local, path)| {
        let failed = &failed;
        async move {
            if made.is_stopped() {
                return;
            }
            if let Err(error) = put_file(store, made, (local, path), parents, progress).await {
                made.stop();
                failed.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
            }
        }
    });
    puts.await;
    failed.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), Err)
}

async fn put_file(
    store: &ChunkStore,
    made: &Made,
    (local, path): (&Path, &StorePath),
    parents: bool,
    progress: &ByteProgress,
) -> Result<(), StoreError> {
    let (writer, pieces) = open(store, local, path, parents).await?;
    if fill(writer, pieces, made, progress).await? {
        made.add_file(path);
    }
    Ok(())
}

async fn open(
    store: &ChunkStore,
    local: &Path,
    path: &StorePath,
    parents: bool,
) -> Result<(FileWriter, Pieces), StoreError> {
    let unreadable = |source| StoreError::Local { path: local.to_owned(), source };
    let file = fs::File::open(local).map_err(unreadable)?;
    let options = CreateOptions { parents, ..CreateOptions::default() };
    let writer = store.create(path, options).await?;
    Ok((writer, Pieces { file, path: local.to_owned() }))
}

/// A local file as the writer takes it: pieces of whole blocks, which it then shares.
struct Pieces {
    file: fs::File,
    path: PathBuf,
}

impl Iterator for Pieces {
    type Item = Result<Vec<u8>, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut piece = Vec::with_capacity(PIECE_BYTES as usize);
        match (&mut self.file).take(PIECE_BYTES).read_to_end(&mut piece) {
            Ok(0) => None,
            Ok(_) => Some(Ok(piece)),
            Err(source) => Some(Err(StoreError::Local { path: self.path.clone(), source })),
        }
    }
}

/// Writes the pieces, which are made on a thread of their own, and closes the file; tells whether it did.
/// What fails, or is to stop, is given up.
async fn fill(
    mut writer: FileWriter,
    pieces: impl Iterator<Item = Result<Vec<u8>, StoreError>> + Send + 'static,
    made: &Made,
    progress: &ByteProgress,
) -> Result<bool, StoreError> {
    let (sender, mut receiver) = tokio::sync::mpsc::channel(PIECES_AHEAD);
    tokio::task::spawn_blocking(move || {
        for piece in pieces {
            let is_last = piece.is_err();
            // A receiver that is gone has failed and says why itself.
            if sender.blocking_send(piece).is_err() || is_last {
                return;
            }
        }
    });
    let writing = async {
        while let Some(piece) = receiver.recv().await {
            let piece = piece?;
            let n_bytes = piece.len() as u64;
            writer.write(Bytes::from(piece)).await?;
            progress.add(n_bytes);
        }
        Ok(true)
    };
    let written = tokio::select! {
        written = writing => written,
        () = made.stopped() => Ok(false),
    };
    if !matches!(written, Ok(true)) {
        // The first failure is what the caller must hear of; the lease ends by itself.
        writer.abandon().await.ok();
        return written;
    }
    writer.close().await.map(|_closed| true)
}

/// Copies files and folders of the chunk store to the local `to`, or into it if it is a folder.
pub(crate) async fn get(store: &ChunkStore, from: &[StorePath], to: &Path) -> anyhow::Result<()> {
    let into_folder = to.is_dir();
    if !into_folder && to.as_os_str().as_encoded_bytes().ends_with(b"/") {
        return Err(early(anyhow!(
            "{} is no folder: make it first, or leave the slash off",
            to.display()
        )));
    }
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
    let unfinished = UnfinishedFolder::beside(target)?;
    let whole = unfinished.path().join("whole");
    let mut tree = Tree::default();
    if let FileKind::File { length, .. } = found.kind {
        tree.bytes = length;
        tree.files.push((source.clone(), whole.clone()));
    } else {
        tree.folders.push(whole.clone());
        scan_store(store, &found, &whole, &mut tree).await?;
    }
    let progress = ByteProgress::new("get", tree.bytes);
    let copied = get_tree(store, &tree, &progress).await;
    progress.finish();
    copied?;
    fs::rename(whole, target).with_context(|| format!("cannot write {}", target.display()))
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

/// Makes a new file of generated blocks.
pub(crate) async fn put_blocks(
    store: &ChunkStore,
    path: &StorePath,
    blocks: impl Iterator<Item = Vec<u8>> + Send + 'static,
    progress: &ByteProgress,
) -> Result<(), StoreError> {
    let options = CreateOptions { parents: true, ..CreateOptions::default() };
    let writer = store.create(path, options).await?;
    let alone = Made::new(path.clone(), Vec::new());
    fill(writer, blocks.map(Ok), &alone, progress).await.map(drop)
}
