//! Copies in. What a put has made is kept in [`Made`], to be taken back.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, anyhow};
use bytes::Bytes;
use chunkstore_client::{ChunkStore, CreateOptions, FileWriter, StoreError};
use chunkstore_protocol::{FileKind, Replace, StorePath};
use clock::Stopwatch;
use tokio::sync::mpsc;

use super::making::{Making, missing_above};
use super::{Copied, CopyOptions, Sources, Target, Tree, kind_at, name_of, refuse_clashes};
use crate::exit::OrEarly;
use crate::local_file::UNFINISHED;
use crate::made::Made;
use crate::progress::ByteProgress;
use crate::signals::Termination;

/// Bytes of one read of a local file: whole blocks, which the writer then shares.
const PIECE_BYTES: u64 = 1 << 20;
/// Bytes of one read of a stream: a pipe has no more at once.
const PIPE_BYTES: usize = 64 << 10;
/// What messages call standard input.
const STANDARD_INPUT: &str = "standard input";
/// Pieces between the disk and the network.
const PIECES_AHEAD: usize = 4;

/// What a stream has written shows to those who follow the file after so long.
const SHOW_AFTER: Duration = Duration::from_secs(10);

/// Copies local files and folders to `target`, or into it if it is a folder. What `end` interrupts is
/// taken back, and so is what fails.
pub(crate) async fn put(
    store: &ChunkStore,
    from: Sources<'_, PathBuf>,
    target: &Target,
    options: &CopyOptions,
    end: &mut Termination,
) -> anyhow::Result<Copied> {
    let to = &target.path;
    let into_folder = matches!(kind_at(store, to).await?, Some(FileKind::Folder));
    if !into_folder && from.paths.iter().any(|source| !source.is_dir()) {
        target.check_file()?;
    }
    if from.are_several() && !into_folder {
        return Err(anyhow!(
            "{to} is no folder: make it first (`howdah fs mkdir -p {to}`) to put several things there"
        ));
    }
    let (mut tree, mut targets) = (Tree::default(), Vec::new());
    for source in from.paths {
        let target = if into_folder { to.join(name_of(source)?)? } else { to.clone() };
        scan_local(source, &target, &mut tree).or_early()?;
        targets.push(target);
    }
    refuse_clashes(&targets)?;
    let above = missing_above(store, &targets[0]).await?;
    let put = Making {
        store,
        options,
        made: Made::new(targets, above),
        progress: ByteProgress::new("put", tree.bytes),
    };
    put.run("put", put_tree(&put, &tree), end).await?;
    Ok(Copied { files: tree.files.len(), bytes: put.progress.moved() })
}

/// Makes a file of all that `source` gives.
pub(crate) async fn put_stream(
    store: &ChunkStore,
    source: impl Read + Send + 'static,
    target: &Target,
    options: &CopyOptions,
    end: &mut Termination,
) -> anyhow::Result<Copied> {
    let path = &target.path;
    target.check_file()?;
    let above = missing_above(store, path).await?;
    let made = Made::new(vec![path.clone()], above);
    let put = Making { store, options, made, progress: ByteProgress::endless("put") };
    let ahead = read_stream(source);
    put.run("put", put_file(&put, path, true, (ahead, Some(SHOW_AFTER))), end).await?;
    Ok(Copied { files: 1, bytes: put.progress.moved() })
}

/// Makes a file of the pieces. To replace one it is written beside it, and takes its place as it is closed.
async fn put_file(
    put: &Making<'_>,
    path: &StorePath,
    parents: bool,
    pieces: (Ahead, Option<Duration>),
) -> Result<(), StoreError> {
    let options = CreateOptions { parents, ..put.options.create };
    let beside = put.options.replace.then(|| beside(path)).flatten();
    let written = beside.as_ref().unwrap_or(path);
    let writer = put.store.create(written, options).await?;
    let into = beside.as_ref().map(|_| path);
    if fill(writer, pieces, into, &put.made, &put.progress).await? {
        match into {
            None => put.made.add_file(path),
            Some(_) => put.made.has_replaced(path),
        }
    }
    Ok(())
}

/// A name beside `path` that nobody has.
fn beside(path: &StorePath) -> Option<StorePath> {
    path.parent()?.join(&format!("{UNFINISHED}{}", net::random_hex(8))).ok()
}

async fn put_tree(put: &Making<'_>, tree: &Tree<PathBuf, StorePath>) -> Result<(), StoreError> {
    let file = async |local: &PathBuf, path: &StorePath, parents| {
        put_file(put, path, parents, (read_ahead(pieces_of(local.clone())), None)).await
    };
    put.tree(tree, file).await
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
    let put = Making { store, options: &CopyOptions::default(), made, progress };
    let copied = put_tree(&put, &tree).await;
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
    fill(writer, (read_ahead(blocks.map(Ok)), None), None, &alone, progress).await.map(drop)
}

/// What is to be copied; all of it can be read, and has names that the chunk store takes.
pub(super) fn scan_local(
    local: &Path,
    target: &StorePath,
    tree: &mut Tree<PathBuf, StorePath>,
) -> anyhow::Result<()> {
    scan_below(local, target, tree, &mut Vec::new())
}

/// The same; `above` are the folders that `local` lies in, by device and inode: links may lead back to one of them.
fn scan_below(
    local: &Path,
    target: &StorePath,
    tree: &mut Tree<PathBuf, StorePath>,
    above: &mut Vec<(u64, u64)>,
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
        let local = local.display();
        return Err(anyhow!(
            "{local} is neither a file nor a folder: put what it gives with `howdah fs put - PATH < {local}`"
        ));
    }
    let folder = (found.dev(), found.ino());
    if above.contains(&folder) {
        let local = local.display();
        return Err(anyhow!("{local} is a link to a folder that it lies in: leave it out"));
    }
    above.push(folder);
    tree.folders.push(target.clone());
    let entries = fs::read_dir(local).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let mut entries = entries.with_context(unreadable)?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let path = entry.path();
        let below = target.join(name_of(&path)?).with_context(|| path.display().to_string())?;
        scan_below(&path, &below, tree, above)?;
    }
    above.pop();
    Ok(())
}

/// A local file as the writer takes it: pieces of whole blocks, which it then shares.
pub(super) fn pieces_of(local: PathBuf) -> impl Iterator<Item = Result<Vec<u8>, StoreError>> {
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

/// What a slow source has so far, without waiting for more.
fn what_came(source: &mut impl Read) -> io::Result<Option<Vec<u8>>> {
    let mut piece = vec![0; PIPE_BYTES];
    let n_bytes = loop {
        match source.read(&mut piece) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            read => break read?,
        }
    };
    piece.truncate(n_bytes);
    Ok((n_bytes > 0).then_some(piece))
}

/// Pieces that are made some ahead of the network.
pub(super) type Ahead = mpsc::Receiver<Result<Vec<u8>, StoreError>>;

/// Makes the pieces on a thread of their own.
pub(super) fn read_ahead(
    pieces: impl Iterator<Item = Result<Vec<u8>, StoreError>> + Send + 'static,
) -> Ahead {
    let (sender, ahead) = mpsc::channel(PIECES_AHEAD);
    tokio::task::spawn_blocking(move || send_all(pieces, &sender));
    ahead
}

/// The same on a thread that is not the runtime's, which would wait at the end for what somebody may type yet.
pub(super) fn read_stream(mut source: impl Read + Send + 'static) -> Ahead {
    let unreadable = |source| StoreError::Local { path: PathBuf::from(STANDARD_INPUT), source };
    let pieces = std::iter::from_fn(move || what_came(&mut source).map_err(unreadable).transpose());
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

/// Writes the pieces and closes the file, in place of another one if it is to go `into` its name; tells whether it did. What
/// fails, or is to stop, is given up. With a time what is written shows after it, however slowly more comes.
pub(super) async fn fill(
    mut writer: FileWriter,
    (mut ahead, show_after): (Ahead, Option<Duration>),
    into: Option<&StorePath>,
    made: &Made,
    progress: &ByteProgress,
) -> Result<bool, StoreError> {
    let writing = async {
        let mut unseen: Option<Stopwatch> = None;
        loop {
            let left = unseen.as_ref().zip(show_after);
            let left = left.map(|(since, after)| after.saturating_sub(since.elapsed()));
            let next = ahead.recv();
            let piece = match left {
                Some(left) => tokio::time::timeout(left, next).await,
                None => Ok(next.await),
            };
            match piece {
                Ok(None) => return Ok(true),
                Ok(Some(piece)) => {
                    let piece = piece?;
                    let n_bytes = piece.len() as u64;
                    writer.write(Bytes::from(piece)).await?;
                    progress.add(n_bytes);
                    unseen.get_or_insert_with(Stopwatch::start);
                }
                Err(_time_is_over) => {
                    writer.flush().await?;
                    unseen = None;
                }
            }
        }
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
    let closed = match into {
        Some(path) => writer.close_into(path, Replace::Always).await,
        None => writer.close().await,
    };
    closed.map(|_closed| true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_back_to_a_folder_above_is_refused_and_one_to_another_folder_followed() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        fs::create_dir_all(root.join("a/b")).unwrap();
        fs::create_dir(root.join("other")).unwrap();
        fs::write(root.join("other/file"), "x").unwrap();
        for name in ["one", "two"] {
            std::os::unix::fs::symlink(root.join("other"), root.join("a/b").join(name)).unwrap();
        }
        let scan =
            |tree: &mut Tree<PathBuf, StorePath>| scan_local(root, &"/in".parse().unwrap(), tree);
        let mut tree = Tree::default();
        scan(&mut tree).unwrap();
        assert_eq!((tree.files.len(), tree.folders.len()), (3, 6));
        std::os::unix::fs::symlink("..", root.join("other/back")).unwrap();
        let refused = scan(&mut Tree::default()).unwrap_err().to_string();
        assert!(refused.contains("back is a link to a folder that it lies in"), "{refused}");
    }
}
