//! Whole local files into the chunk store and out of it. The disk is read and written on blocking
//! threads, a few pieces ahead of the network.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use chunkstore_protocol::{FileStatus, StorePath};
use tokio::sync::mpsc;

use crate::{ChunkStore, CreateOptions, FileReader, FileWriter, StoreError};

/// Bytes of one read of a local file: whole blocks, which the writer then shares.
const READ_BYTES: usize = 1 << 20;
/// Pieces between the disk and the network.
const PIECES_AHEAD: usize = 4;
/// Of verified blocks.
const BLOCKS_AHEAD: usize = 64;

impl ChunkStore {
    /// Makes a new file of a local one. `progress` is told the bytes so far. On failure the open file is
    /// taken back.
    ///
    /// # Errors
    /// When the local file can't be read; otherwise as [`ChunkStore::create`], [`FileWriter::write`] and
    /// [`FileWriter::close`].
    pub async fn put_local(
        &self,
        local: &Path,
        path: &StorePath,
        options: CreateOptions,
        progress: impl Fn(u64),
    ) -> Result<FileStatus, StoreError> {
        let source = local.to_owned();
        let opened = on_blocking_thread(local, move || open_local_file(&source)).await?;
        let mut writer = self.create(path, options).await?;
        match copy_in(opened, local, &mut writer, progress).await {
            Ok(()) => writer.close().await,
            Err(error) => {
                // The first failure is what the caller must hear of; the lease ends by itself.
                let _ = writer.abandon().await;
                Err(error)
            }
        }
    }

    /// Copies a file to a local one, which appears, or is replaced, when it is whole. `progress` is told
    /// the bytes so far.
    ///
    /// # Errors
    /// When the local file can't be written; otherwise as [`ChunkStore::open`] and [`FileReader::next`].
    pub async fn get_local(
        &self,
        path: &StorePath,
        local: &Path,
        progress: impl Fn(u64),
    ) -> Result<u64, StoreError> {
        let mut reader = self.open(path).await?;
        let partial = partial_path(local);
        let copied = copy_out(&mut reader, &partial, progress).await;
        let (target, from) = (local.to_owned(), partial.clone());
        let named = match copied {
            Ok(()) => on_blocking_thread(local, move || std::fs::rename(from, target)).await,
            Err(error) => Err(error),
        };
        if named.is_err() {
            // Best effort: the failure itself is reported.
            let _ = on_blocking_thread(local, move || std::fs::remove_file(partial)).await;
        }
        named.map(|()| reader.len())
    }
}

async fn copy_in(
    file: File,
    local: &Path,
    writer: &mut FileWriter,
    progress: impl Fn(u64),
) -> Result<(), StoreError> {
    let (sender, mut pieces) = mpsc::channel(PIECES_AHEAD);
    let reading = tokio::task::spawn_blocking(move || read_pieces(file, &sender));
    let mut n_bytes = 0;
    while let Some(piece) = pieces.recv().await {
        n_bytes += piece.len() as u64;
        writer.write(piece).await?;
        progress(n_bytes);
    }
    drop(pieces);
    reading
        .await
        .unwrap_or_else(|error| Err(std::io::Error::other(error)))
        .map_err(local_error(local))
}

fn read_pieces(mut file: File, pieces: &mpsc::Sender<Bytes>) -> std::io::Result<()> {
    loop {
        let mut piece = Vec::with_capacity(READ_BYTES);
        let n = (&mut file).take(READ_BYTES as u64).read_to_end(&mut piece)?;
        // A receiver that is gone has failed and says why itself.
        if n == 0 || pieces.blocking_send(piece.into()).is_err() {
            return Ok(());
        }
    }
}

async fn copy_out(
    reader: &mut FileReader,
    partial: &Path,
    progress: impl Fn(u64),
) -> Result<(), StoreError> {
    let target = partial.to_owned();
    let file = on_blocking_thread(partial, move || File::create(target)).await?;
    let (sender, pieces) = mpsc::channel(BLOCKS_AHEAD);
    let writing = tokio::task::spawn_blocking(move || write_pieces(file, pieces));
    let mut n_bytes = 0;
    let mut outcome = Ok(());
    loop {
        match reader.next().await {
            Ok(Some(piece)) => {
                n_bytes += piece.len() as u64;
                if sender.send(piece).await.is_err() {
                    break; // The writing side has failed and says why.
                }
                progress(n_bytes);
            }
            Ok(None) => break,
            Err(error) => {
                outcome = Err(error);
                break;
            }
        }
    }
    drop(sender);
    let written = writing.await.unwrap_or_else(|error| Err(std::io::Error::other(error)));
    outcome.and(written.map_err(local_error(partial)))
}

fn write_pieces(mut file: File, mut pieces: mpsc::Receiver<Bytes>) -> std::io::Result<()> {
    while let Some(piece) = pieces.blocking_recv() {
        file.write_all(&piece)?;
    }
    file.flush()
}

fn open_local_file(path: &Path) -> std::io::Result<File> {
    let file = File::open(path)?;
    if file.metadata()?.is_dir() {
        return Err(std::io::Error::from(std::io::ErrorKind::IsADirectory));
    }
    Ok(file)
}

/// Beside the target, so that the rename stays on one disk.
fn partial_path(local: &Path) -> PathBuf {
    let mut name = local.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.partial", net::random_hex(4)));
    local.with_file_name(name)
}

async fn on_blocking_thread<T: Send + 'static>(
    path: &Path,
    work: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> Result<T, StoreError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(std::io::Error::other(error))).map_err(local_error(path))
}

fn local_error(path: &Path) -> impl Fn(std::io::Error) -> StoreError {
    let path = path.to_owned();
    move |source| StoreError::Local { path: path.clone(), source }
}
