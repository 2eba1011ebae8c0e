//! Copies in. What a put has made is kept in [`Made`], to be taken back.

use std::collections::BTreeSet;
use std::fs;
use std::future::Future;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, anyhow};
use bytes::Bytes;
use chunkstore_client::{ChunkStore, CreateOptions, FileWriter, StoreError};
use chunkstore_protocol::{FileKind, StorePath};
use futures_util::{StreamExt, stream};
use tokio::sync::mpsc;

use super::{CopyOptions, Target, Tree, kind_at, name_of};
use crate::exit::{Interrupted, OrEarly};
use crate::made::{Made, UNDO_PATIENCE};
use crate::progress::ByteProgress;
use crate::signals::{Caught, Termination};

/// Bytes of one read of a local file: whole blocks, which the writer then shares.
const PIECE_BYTES: u64 = 1 << 20;
/// What messages call standard input.
const STANDARD_INPUT: &str = "standard input";
/// Pieces between the disk and the network.
const PIECES_AHEAD: usize = 4;

/// Copies local files and folders to `target`, or into it if it is a folder. What `end` interrupts is
/// taken back, and so is what fails.
pub(crate) async fn put(
    store: &ChunkStore,
    from: &[PathBuf],
    target: &Target,
    options: &CopyOptions,
    end: &mut Termination,
) -> anyhow::Result<()> {
    let to = &target.path;
    let into_folder = matches!(kind_at(store, to).await?, Some(FileKind::Folder));
    if !into_folder && from.iter().any(|source| !source.is_dir()) {
        target.check_file()?;
    }
    if from.len() > 1 && !into_folder {
        return Err(anyhow!(
            "{to} is no folder: make it first (`howdah fs mkdir {to}`) to put several things there"
        ));
    }
    let (mut tree, mut targets) = (Tree::default(), Vec::new());
    for source in from {
        let target = if into_folder { to.join(name_of(source)?)? } else { to.clone() };
        if targets.contains(&target) {
            return Err(anyhow!("two of these would both go to {target}")).or_early();
        }
        scan_local(source, &target, &mut tree).or_early()?;
        targets.push(target);
    }
    let above = missing_above(store, &targets[0]).await?;
    let put = Put {
        store,
        options,
        made: Made::new(targets, above),
        progress: ByteProgress::new("put", tree.bytes),
    };
    put.run(put.tree(&tree), end).await
}

/// Makes a file of all that `source` gives.
pub(crate) async fn put_stream(
    store: &ChunkStore,
    source: impl Read + Send + 'static,
    target: &Target,
    options: &CopyOptions,
    end: &mut Termination,
) -> anyhow::Result<()> {
    let path = &target.path;
    target.check_file()?;
    let above = missing_above(store, path).await?;
    let made = Made::new(vec![path.clone()], above);
    let put = Put { store, options, made, progress: ByteProgress::endless("put") };
    let ahead = read_stream(source);
    put.run(put.file(path, true, ahead), end).await
}

/// Puts local files, one after the other, behind the end of a file; one that is missing is made. Either all of
/// it is there then, or the file is as it was.
pub(crate) async fn append(
    store: &ChunkStore,
    from: &[PathBuf],
    path: &StorePath,
    end: &mut Termination,
) -> anyhow::Result<()> {
    let mut tree = Tree::default();
    for source in from {
        scan_local(source, path, &mut tree).or_early()?;
    }
    if let Some(folder) = from.iter().find(|source| source.is_dir()) {
        return Err(anyhow!("{} is a folder: only files are appended", folder.display()))
            .or_early();
    }
    let files = from.to_vec();
    let pieces = files.into_iter().flat_map(pieces_of);
    let progress = ByteProgress::new("append", tree.bytes);
    append_pieces(store, read_ahead(pieces), path, &progress, end).await
}

/// The same with all that `source` gives.
pub(crate) async fn append_stream(
    store: &ChunkStore,
    source: impl Read + Send + 'static,
    path: &StorePath,
    end: &mut Termination,
) -> anyhow::Result<()> {
    let progress = ByteProgress::endless("append");
    append_pieces(store, read_stream(source), path, &progress, end).await
}

async fn append_pieces(
    store: &ChunkStore,
    ahead: Ahead,
    path: &StorePath,
    progress: &ByteProgress,
    end: &mut Termination,
) -> anyhow::Result<()> {
    let writer = match store.append(path).await {
        Err(StoreError::NotFound { .. }) => store.create(path, CreateOptions::default()).await,
        opened => opened,
    };
    let writer = writer.with_context(|| format!("cannot append to {path}"))?;
    let made = Made::new(vec![path.clone()], Vec::new());
    let mut work = std::pin::pin!(fill(writer, ahead, &made, progress));
    let appended = end.or(&mut work).await;
    if appended.is_err() {
        made.stop();
    }
    let appended = match appended {
        Ok(done) => Ok(done),
        // It may have been closed in this very moment.
        Err(by) => match tokio::time::timeout(UNDO_PATIENCE, work).await {
            Ok(Ok(true)) => Ok(Ok(true)),
            _ => Err(by),
        },
    };
    progress.finish();
    match appended {
        Ok(done) => done.map(drop).with_context(|| format!("cannot append to {path}")),
        Err(by) => {
            let remains = format!("{path} is as it was");
            Err(Interrupted { by, remains }.into())
        }
    }
}

/// One put under way.
struct Put<'a> {
    store: &'a ChunkStore,
    options: &'a CopyOptions,
    made: Made,
    progress: ByteProgress,
}

impl Put<'_> {
    /// Does the work, and takes back what it made where it failed or was interrupted.
    async fn run(
        &self,
        work: impl Future<Output = Result<(), StoreError>>,
        end: &mut Termination,
    ) -> anyhow::Result<()> {
        let copied = self.until(work, end).await;
        self.progress.finish();
        match copied {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => {
                // Best effort: the failure itself is reported.
                self.made.undo(self.store).await.ok();
                Err(error).with_context(|| format!("cannot put {}", self.made.shown()))
            }
            Err(by) => {
                let remains = self.made.remains(self.store).await;
                Err(Interrupted { by, remains }.into())
            }
        }
    }

    async fn until(
        &self,
        work: impl Future<Output = Result<(), StoreError>>,
        end: &mut Termination,
    ) -> Result<Result<(), StoreError>, Caught> {
        let mut work = std::pin::pin!(work);
        match end.or(&mut work).await {
            Ok(done) => Ok(done),
            Err(caught) => {
                self.made.stop();
                // Requests under way have a moment for their answers, which say what was made.
                let _late = tokio::time::timeout(UNDO_PATIENCE, work).await;
                Err(caught)
            }
        }
    }

    async fn tree(&self, tree: &Tree<PathBuf, StorePath>) -> Result<(), StoreError> {
        if let Some(above) = tree.folders.first().and_then(StorePath::parent) {
            self.store.mkdir(&above, true).await?;
        }
        for folder in &tree.folders {
            if self.made.is_stopped() {
                return Ok(());
            }
            self.folder(folder).await?;
        }
        // Without parents, a request that arrives after the folder was taken back makes nothing.
        let parents = tree.folders.is_empty();
        let failed = Mutex::new(None);
        let at_once = self.options.at_once;
        let puts = stream::iter(&tree.files).for_each_concurrent(at_once, |(local, path)| {
            let failed = &failed;
            async move {
                if self.made.is_stopped() {
                    return;
                }
                if let Err(error) =
                    self.file(path, parents, read_ahead(pieces_of(local.clone()))).await
                {
                    self.made.stop();
                    failed.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
                }
            }
        });
        puts.await;
        failed.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), Err)
    }

    async fn folder(&self, folder: &StorePath) -> Result<(), StoreError> {
        // Without parents, so that a folder that exists is refused.
        self.store.mkdir(folder, false).await?;
        self.made.add_folder(folder);
        Ok(())
    }

    /// Makes a file of the pieces.
    async fn file(&self, path: &StorePath, parents: bool, ahead: Ahead) -> Result<(), StoreError> {
        let options = CreateOptions { parents, ..self.options.create };
        let writer = self.store.create(path, options).await?;
        if fill(writer, ahead, &self.made, &self.progress).await? {
            self.made.add_file(path);
        }
        Ok(())
    }
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
    let made = Made::new(vec![folder.clone()], Vec::new());
    let progress = ByteProgress::new("put", tree.bytes);
    let put = Put { store, options: &CopyOptions::default(), made, progress };
    let copied = put.tree(&tree).await;
    put.progress.finish();
    copied.context("cannot put the input")?;
    Ok(tree.bytes)
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
    let alone = Made::new(vec![path.clone()], Vec::new());
    fill(writer, read_ahead(blocks.map(Ok)), &alone, progress).await.map(drop)
}

/// What is to be copied; all of it can be read, and has names that the chunk store takes.
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

/// A local file as the writer takes it: pieces of whole blocks, which it then shares.
fn pieces_of(local: PathBuf) -> impl Iterator<Item = Result<Vec<u8>, StoreError>> {
    let mut opened = None;
    std::iter::from_fn(move || {
        let piece = match &mut opened {
            Some(file) => next_piece(file),
            None => fs::File::open(&local).and_then(|file| next_piece(opened.insert(file))),
        };
        let unreadable = |source| StoreError::Local { path: local.clone(), source };
        piece.map_err(unreadable).transpose()
    })
}

fn next_piece(source: &mut impl Read) -> io::Result<Option<Vec<u8>>> {
    let mut piece = Vec::with_capacity(PIECE_BYTES as usize);
    source.take(PIECE_BYTES).read_to_end(&mut piece)?;
    Ok((!piece.is_empty()).then_some(piece))
}

/// Pieces that are made some ahead of the network.
type Ahead = mpsc::Receiver<Result<Vec<u8>, StoreError>>;

/// Makes the pieces on a thread of their own.
fn read_ahead(pieces: impl Iterator<Item = Result<Vec<u8>, StoreError>> + Send + 'static) -> Ahead {
    let (sender, ahead) = mpsc::channel(PIECES_AHEAD);
    tokio::task::spawn_blocking(move || send_all(pieces, &sender));
    ahead
}

/// The same on a thread that is not the runtime's, which would wait at the end for what somebody may type yet.
fn read_stream(mut source: impl Read + Send + 'static) -> Ahead {
    let unreadable = |source| StoreError::Local { path: PathBuf::from(STANDARD_INPUT), source };
    let pieces =
        std::iter::from_fn(move || next_piece(&mut source).map_err(unreadable).transpose());
    let (sender, ahead) = mpsc::channel(PIECES_AHEAD);
    std::thread::spawn(move || send_all(pieces, &sender));
    ahead
}

fn send_all(
    pieces: impl Iterator<Item = Result<Vec<u8>, StoreError>>,
    sender: &mpsc::Sender<Result<Vec<u8>, StoreError>>,
) {
    for piece in pieces {
        let is_last = piece.is_err();
        // A receiver that is gone has failed and says why itself.
        if sender.blocking_send(piece).is_err() || is_last {
            return;
        }
    }
}

/// Writes the pieces and closes the file; tells whether it did. What fails, or is to stop, is given up.
async fn fill(
    mut writer: FileWriter,
    mut ahead: Ahead,
    made: &Made,
    progress: &ByteProgress,
) -> Result<bool, StoreError> {
    let writing = async {
        while let Some(piece) = ahead.recv().await {
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
