//! Copies within the chunk store: the copies share their chunks with what they are of, so that no byte moves.

use anyhow::{Context as _, anyhow};
use chunkstore_client::{ChunkStore, StoreError};
use chunkstore_protocol::{FileKind, Replace, StorePath};

use super::making::{Making, missing_above};
use super::{Copied, CopyOptions, ENTRIES_MAX, Tree};
use crate::failures::Failures;
use crate::made::Made;
use crate::progress::ByteProgress;
use crate::say::{plain, say};
use crate::signals::Termination;

/// A file, and its length.
type Source = (StorePath, u64);

/// Copies each file or folder to the path beside it. One that is missing, or can't be copied so, is a failure, and the
/// others go on. What `end` interrupts is taken back, and so is what fails.
pub(crate) async fn copy(
    store: &ChunkStore,
    pairs: &[(StorePath, StorePath)],
    recursive: bool,
    options: &CopyOptions,
    end: &mut Termination,
    failures: &mut Failures,
) -> anyhow::Result<Copied> {
    let (mut tree, mut targets) = (Tree::default(), Vec::new());
    for (from, to) in pairs {
        let scanned = scan_one(store, from, to, recursive).await;
        let scanned = scanned.with_context(|| format!("cannot copy {from}"));
        if let Some(found) = failures.take(scanned)? {
            tree.add(found);
            targets.push(to.clone());
        }
    }
    let Some(first) = targets.first() else { return Ok(Copied::default()) };
    let above =
        if tree.folders.is_empty() { Vec::new() } else { missing_above(store, first).await? };
    let made = Made::new(targets, above);
    let copy = Making { store, options, made, progress: ByteProgress::new("cp", tree.bytes) };
    let file = async |from: &Source, to: &StorePath, _| copy_file(&copy, from, to).await;
    copy.run("copy to", copy.tree(&tree, file), end).await?;
    Ok(Copied { files: tree.files.len(), bytes: tree.bytes })
}

async fn scan_one(
    store: &ChunkStore,
    from: &StorePath,
    to: &StorePath,
    recursive: bool,
) -> anyhow::Result<Tree<Source, StorePath>> {
    let mut tree = Tree::default();
    let found = store.stat(from).await?;
    match found.kind {
        FileKind::File { length, .. } => {
            tree.bytes += length;
            tree.files.push(((from.clone(), length), to.clone()));
        }
        FileKind::Folder if !recursive => {
            return Err(anyhow!("{from} is a folder: add -r to copy it with what is in it"));
        }
        FileKind::Folder if to.is_within(from) => {
            return Err(anyhow!("{from} can't be copied into itself: name another target"));
        }
        FileKind::Folder => scan(store, from, to, &mut tree).await?,
    }
    Ok(tree)
}

async fn copy_file(
    copy: &Making<'_>,
    (from, length): &Source,
    to: &StorePath,
) -> Result<(), StoreError> {
    let replace = if copy.options.replace { Replace::Always } else { Replace::Never };
    copy.store.copy(from, to, replace, false).await?;
    copy.progress.add(*length);
    match copy.options.replace {
        true => copy.made.has_replaced(to),
        false => copy.made.add_file(to),
    }
    Ok(())
}

async fn scan(
    store: &ChunkStore,
    from: &StorePath,
    to: &StorePath,
    tree: &mut Tree<Source, StorePath>,
) -> anyhow::Result<()> {
    tree.folders.push(to.clone());
    let mut folders = vec![(from.clone(), to.clone())];
    while let Some((folder, to)) = folders.pop() {
        for entry in store.list_all(&folder, ENTRIES_MAX).await? {
            let to = to.join(entry.path.name().unwrap_or_default())?;
            match entry.kind {
                FileKind::Folder => {
                    tree.folders.push(to.clone());
                    folders.push((entry.path, to));
                }
                FileKind::File { log: true, .. } => say!(
                    "{} is a log, which can't be copied: left out (`howdah fs cat` gives its records)",
                    plain(entry.path.as_str())
                ),
                FileKind::File { length, .. } => {
                    tree.bytes += length;
                    tree.files.push(((entry.path, length), to));
                }
            }
        }
    }
    Ok(())
}
