//! Appending: local files behind the end of one of the chunk store.

use std::io::Read;
use std::path::PathBuf;

use anyhow::{Context, anyhow};
use chunkstore_client::{ChunkStore, CreateOptions, StoreError};
use chunkstore_protocol::StorePath;

use super::put::{Ahead, fill, pieces_of, read_ahead, read_stream, scan_local};
use super::{Copied, Tree};
use crate::exit::{Interrupted, OrEarly};
use crate::made::{Made, UNDO_PATIENCE};
use crate::progress::ByteProgress;
use crate::signals::Termination;

/// Puts local files, one after the other, behind the end of a file; one that is missing is made. Either all of
/// it is there then, or the file is as it was.
pub(crate) async fn append(
    store: &ChunkStore,
    from: &[PathBuf],
    path: &StorePath,
    end: &mut Termination,
) -> anyhow::Result<Copied> {
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
    append_pieces(store, read_ahead(pieces), path, &progress, end).await?;
    Ok(Copied { files: from.len(), bytes: progress.moved() })
}

/// The same with all that `source` gives.
pub(crate) async fn append_stream(
    store: &ChunkStore,
    source: impl Read + Send + 'static,
    path: &StorePath,
    end: &mut Termination,
) -> anyhow::Result<Copied> {
    let progress = ByteProgress::endless("append");
    append_pieces(store, read_stream(source), path, &progress, end).await?;
    Ok(Copied { files: 1, bytes: progress.moved() })
}

async fn append_pieces(
    store: &ChunkStore,
    ahead: Ahead,
    path: &StorePath,
    progress: &ByteProgress,
    end: &mut Termination,
) -> anyhow::Result<()> {
    let writer = match store.append(path).await {
        Err(StoreError::NotFound { .. }) => {
            let options = CreateOptions { parents: true, ..CreateOptions::default() };
            store.create(path, options).await
        }
        opened => opened,
    };
    let writer = writer.with_context(|| format!("cannot append to {path}"))?;
    let made = Made::new(vec![path.clone()], Vec::new());
    let mut work = std::pin::pin!(fill(writer, (ahead, None), None, &made, progress));
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
