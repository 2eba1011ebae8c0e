//! Patterns → the paths of the chunk store that they match. A path that exists by the letter wins over what it
//! means as a pattern; a pattern that matches nothing is an error.

use std::collections::BTreeSet;

use anyhow::{Context as _, anyhow};
use chunkstore_client::{ChunkStore, StoreError};
use chunkstore_protocol::path::SYSTEM_FOLDER;
use chunkstore_protocol::{FileKind, FileStatus, StorePath};

use super::pattern::{Part, Pattern};
use crate::failures::Failures;

/// Entries of one folder, and matches of one pattern, that are looked at.
pub(super) const ENTRIES_MAX: usize = 10_000_000;

/// Entries of one page of a recursive listing.
const PAGE_ENTRIES: u32 = 10_000;

/// A path that was meant.
#[derive(Clone, Debug)]
pub(super) struct Found {
    /// The path.
    pub(super) path: StorePath,
    /// What stands there, as far as it was seen on the way.
    pub(super) seen: Option<FileStatus>,
}

impl Found {
    fn unseen(path: StorePath) -> Self {
        Self { path, seen: None }
    }

    fn seen(status: FileStatus) -> Self {
        Self { path: status.path.clone(), seen: Some(status) }
    }

    fn is_seen_file(&self) -> bool {
        matches!(&self.seen, Some(FileStatus { kind: FileKind::File { .. }, .. }))
    }
}

/// The paths that are meant, each once. Of a plain path nothing is asked. A pattern that matches nothing is a failure,
/// and the others go on.
pub(super) async fn expand(
    store: &ChunkStore,
    patterns: &[Pattern],
    failures: &mut Failures,
) -> anyhow::Result<Vec<StorePath>> {
    let mut all = Vec::new();
    let mut before = BTreeSet::new();
    for pattern in patterns {
        let found = failures.take(matches_of(store, pattern).await)?.unwrap_or_default();
        let paths = found.into_iter().map(|found| found.path);
        all.extend(paths.filter(|path| before.insert(path.clone())));
    }
    Ok(all)
}

/// The same for who reads them: see [`Pattern::of_files`].
pub(super) async fn expand_files(
    store: &ChunkStore,
    patterns: &[Pattern],
    failures: &mut Failures,
) -> anyhow::Result<Vec<StorePath>> {
    expand(store, &of_files(patterns), failures).await
}

pub(super) fn of_files(patterns: &[Pattern]) -> Vec<Pattern> {
    patterns.iter().map(Pattern::of_files).collect()
}

/// The one path that is meant.
pub(super) async fn expand_one(store: &ChunkStore, pattern: &Pattern) -> anyhow::Result<StorePath> {
    let mut found = matches_of(store, pattern).await?;
    match (found.pop(), found.len()) {
        (Some(only), 0) => Ok(only.path),
        (_, n) => Err(anyhow!("{} matches {} paths: name one", pattern.text(), n + 1)),
    }
}

/// What a pattern matches: something.
async fn matches_of(store: &ChunkStore, pattern: &Pattern) -> anyhow::Result<Vec<Found>> {
    let found = matches(store, pattern).await?;
    if found.is_empty() {
        let text = pattern.text();
        return Err(anyhow!(
            "nothing matches {text}: list the folder above to see what there is (a backslash takes the \
             meaning of * ? [ {{ away)"
        ));
    }
    Ok(found)
}

/// What stands at the paths that a pattern means.
pub(super) async fn statuses_of(
    store: &ChunkStore,
    pattern: &Pattern,
) -> anyhow::Result<Vec<FileStatus>> {
    let mut all = Vec::new();
    for found in matches_of(store, pattern).await? {
        all.push(match found.seen {
            Some(seen) => seen,
            None => store.stat(&found.path).await?,
        });
    }
    Ok(all)
}

/// What stands at all paths that are meant, each once. One that is missing is a failure, in the words of what was to be
/// done with it, and the others go on.
pub(super) async fn expand_statuses(
    store: &ChunkStore,
    patterns: &[Pattern],
    verb: &str,
    failures: &mut Failures,
) -> anyhow::Result<Vec<FileStatus>> {
    let mut all = Vec::new();
    let mut before = BTreeSet::new();
    for pattern in patterns {
        let found = statuses_of(store, pattern).await;
        let found = found.with_context(|| format!("cannot {verb} {}", pattern.text()));
        let found = failures.take(found)?.unwrap_or_default();
        all.extend(found.into_iter().filter(|found| before.insert(found.path.clone())));
    }
    Ok(all)
}

/// What a pattern matches, maybe nothing.
pub(super) async fn matches(
    store: &ChunkStore,
    pattern: &Pattern,
) -> Result<Vec<Found>, StoreError> {
    if pattern.alternatives().is_empty() {
        return Ok(pattern.literal().cloned().map(Found::unseen).into_iter().collect());
    }
    if let Some(path) = pattern.literal()
        && let Some(seen) = stat(store, path).await?
    {
        return Ok(vec![Found { path: path.clone(), seen: Some(seen) }]);
    }
    let mut all = Vec::new();
    for parts in pattern.alternatives() {
        let mut found = walk(store, parts).await?;
        if pattern.means_files(parts) {
            found.retain(Found::is_seen_file);
        }
        all.extend(found);
        if all.len() > ENTRIES_MAX {
            let path = pattern.literal().cloned().unwrap_or_else(StorePath::root);
            return Err(StoreError::TooMuch { path, what: "matches", limit: ENTRIES_MAX as u64 });
        }
    }
    Ok(all)
}

async fn walk(store: &ChunkStore, parts: &[Part]) -> Result<Vec<Found>, StoreError> {
    let mut reached = vec![Found::unseen(StorePath::root())];
    for (index, part) in parts.iter().enumerate() {
        let is_last = index + 1 == parts.len();
        let mut next = Vec::new();
        for found in reached.into_iter().filter(|found| !found.is_seen_file()) {
            match part {
                Part::Name(name) => next.extend(found.path.join(name).ok().map(Found::unseen)),
                Part::Glob(regex) => {
                    let entries = entries_if_folder(store, &found.path).await?;
                    let is_match =
                        |path: &StorePath| regex.is_match(path.name().unwrap_or_default());
                    next.extend(entries.into_iter().filter(|entry| is_match(&entry.path)));
                }
                Part::Folders => {
                    let below = match below(store, &found.path).await {
                        Err(StoreError::NotFound { .. } | StoreError::NotAFolder { .. }) => {
                            continue;
                        }
                        below => below?,
                    };
                    let wanted = below.into_iter().map(Found::seen);
                    let wanted = wanted.filter(|entry| is_last || !entry.is_seen_file());
                    if !is_last {
                        next.push(found);
                    }
                    next.extend(wanted);
                }
            }
        }
        reached = next;
    }
    let mut there = Vec::new();
    for found in reached {
        let seen = match found.seen {
            Some(seen) => Some(seen),
            None => stat(store, &found.path).await?,
        };
        there.extend(seen.map(|seen| Found { path: found.path, seen: Some(seen) }));
    }
    Ok(there)
}

async fn stat(store: &ChunkStore, path: &StorePath) -> Result<Option<FileStatus>, StoreError> {
    match store.stat(path).await {
        Ok(found) => Ok(Some(found)),
        Err(StoreError::NotFound { .. } | StoreError::NotAFolder { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// What is in a folder, if it is one.
async fn entries_if_folder(
    store: &ChunkStore,
    folder: &StorePath,
) -> Result<Vec<Found>, StoreError> {
    match entries_of(store, folder).await {
        Ok(entries) => Ok(entries.into_iter().map(Found::seen).collect()),
        Err(StoreError::NotFound { .. } | StoreError::NotAFolder { .. }) => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// What is in a folder. The system's own folder is meant only where it is named.
pub(in crate::cli) async fn entries_of(
    store: &ChunkStore,
    folder: &StorePath,
) -> Result<Vec<FileStatus>, StoreError> {
    let mut entries = store.list_all(folder, ENTRIES_MAX).await?;
    entries.retain(|entry| entry.path != *folder && entry.path.as_str() != SYSTEM_FOLDER);
    Ok(entries)
}

/// All that is below a folder, each folder before what is in it, sorted. The system's own folder is meant only where it is named.
pub(in crate::cli) async fn below(
    store: &ChunkStore,
    folder: &StorePath,
) -> Result<Vec<FileStatus>, StoreError> {
    let system: StorePath = SYSTEM_FOLDER.parse().expect("the constant is a path");
    let is_meant = |path: &StorePath| folder.is_within(&system) || !path.is_within(&system);
    below_where(store, folder, is_meant).await
}

/// The same with the system's own folder.
pub(super) async fn all_below(
    store: &ChunkStore,
    folder: &StorePath,
) -> Result<Vec<FileStatus>, StoreError> {
    below_where(store, folder, |_| true).await
}

async fn below_where(
    store: &ChunkStore,
    folder: &StorePath,
    is_meant: impl Fn(&StorePath) -> bool,
) -> Result<Vec<FileStatus>, StoreError> {
    let is_meant = |path: &StorePath| path != folder && is_meant(path);
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let page = store.list_recursive(folder, after, PAGE_ENTRIES).await?;
        all.extend(page.entries.into_iter().filter(|entry| is_meant(&entry.path)));
        if all.len() > ENTRIES_MAX {
            let path = folder.clone();
            return Err(StoreError::TooMuch { path, what: "entries", limit: ENTRIES_MAX as u64 });
        }
        after = page.next;
        if after.is_none() {
            return Ok(all);
        }
    }
}
