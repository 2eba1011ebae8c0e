//! `fs rm` and `fs expunge`: what removes, into the trash or for good.

use std::collections::BTreeSet;

use anyhow::Context;
use chunkstore_client::{ChunkStore, StoreError};
use chunkstore_protocol::path::TRASH_FOLDER;
use chunkstore_protocol::{Counted, FileStatus, StorePath};
use clap::Args;
use futures_util::{StreamExt, TryStreamExt, stream};
use serde_json::json;

use super::expand::{ENTRIES_MAX, expand, matches};
use super::place::{Place, Places};
use super::{Format, doing, shown, urls};
use crate::failures::Failures;
use crate::progress::ItemProgress;
use crate::say::{plain, say, tell};
use crate::session::Session;

/// Things of which `rm` says where in the trash they are; of more it says only that they are there.
const TOLD_MAX: usize = 10;
/// Entries of the trash that are looked at for one of them.
const LOOKED_AT_MAX: u32 = 100;
/// Folders of the trash that are removed at once.
const REMOVALS_AT_ONCE: usize = 16;

/// Arguments of `fs rm`.
#[derive(Debug, Args)]
pub(super) struct RmArgs {
    /// What to remove; patterns are expanded
    #[arg(required = true)]
    paths: Vec<Place>,
    /// Remove folders too, with what is in them
    #[arg(short, long, visible_short_alias = 'R')]
    pub(super) recursive: bool,
    /// What does not exist is no failure
    #[arg(short, long)]
    pub(super) force: bool,
    /// Remove for good, and free the space at once; objects of other stores always go for good
    #[arg(long)]
    skip_trash: bool,
}

pub(super) async fn rm(session: &Session, args: &RmArgs, format: Format) -> anyhow::Result<()> {
    let patterns = match Place::of_one_kind(&args.paths)? {
        Places::Own(patterns) => patterns,
        Places::Urls(urls) => return urls::rm(session, &urls, args, format).await,
    };
    let store = session.store().await?;
    let mut trash = Trash::new(&store).await?;
    let (mut gone, mut failures) = (BTreeSet::new(), Failures::default());
    let mut told = Vec::new();
    for pattern in &patterns {
        let paths = match args.force {
            true => matches(&store, pattern).await?.into_iter().map(|found| found.path).collect(),
            false => expand(&store, std::slice::from_ref(pattern), &mut failures).await?,
        };
        let progress = ItemProgress::new("rm", paths.len() as u64, "paths");
        for (n_done, path) in (0..).zip(paths) {
            progress.set(n_done);
            // What lies in a folder that was meant too is gone with it.
            let mut folders = std::iter::successors(Some(path.clone()), StorePath::parent);
            if folders.any(|folder| gone.contains(&folder)) {
                continue;
            }
            let removed = match args.skip_trash {
                true => store.delete_for_good(&path, args.recursive).await,
                false => store.delete(&path, args.recursive).await,
            };
            match removed {
                Err(StoreError::NotFound { .. }) if args.force => continue,
                removed => {
                    let removed = removed.with_context(|| doing("remove", &path));
                    if failures.take(removed)?.is_none() {
                        continue;
                    }
                }
            }
            let there = match args.skip_trash {
                true => None,
                false => trash.tell_of(&path).await?,
            };
            told.push(json!({"path": path, "trash": there}));
            gone.insert(path);
        }
        progress.finish();
    }
    format.print(&json!({"removed": told}))?;
    failures.end()
}

/// The trash, as far as it concerns what this command has removed.
pub(super) struct Trash<'a> {
    store: &'a ChunkStore,
    folder: StorePath,
    /// What is removed from now on has a name that comes after this one.
    after: Option<String>,
    n_told: usize,
}

impl<'a> Trash<'a> {
    /// As it is before anything is removed.
    pub(super) async fn new(store: &'a ChunkStore) -> Result<Self, StoreError> {
        let folder: StorePath = TRASH_FOLDER.parse().expect("the constant is a path");
        let after = match store.stat(&folder).await {
            // Names begin with the chunk master's time, and so does this one's time of change.
            Ok(found) => Some(compact(found.modified)),
            Err(StoreError::NotFound { .. } | StoreError::Forbidden { .. }) => None,
            Err(error) => return Err(error),
        };
        Ok(Self { store, folder, after, n_told: 0 })
    }

    /// Says where what stood at `path` is now, and returns it; nothing if it is gone for good, or after many.
    pub(super) async fn tell_of(
        &mut self,
        path: &StorePath,
    ) -> Result<Option<StorePath>, StoreError> {
        let shown = shown::path(path);
        self.tell_where(path, |there| {
            let path = shown::word(path);
            format!("{shown} is in the trash: `howdah fs mv {there} {path}` brings it back")
        })
        .await
    }

    /// The same in words of the caller's, who is told where it is.
    pub(super) async fn tell_where(
        &mut self,
        path: &StorePath,
        words: impl Fn(&str) -> String,
    ) -> Result<Option<StorePath>, StoreError> {
        self.n_told += 1;
        if self.n_told > TOLD_MAX {
            if self.n_told == TOLD_MAX + 1 {
                say!("howdah: and so on: `howdah fs ls -R {}` shows all", self.folder);
            }
            return Ok(None);
        }
        let page = match self.store.list(&self.folder, self.after.clone(), LOOKED_AT_MAX).await {
            Err(StoreError::NotFound { .. } | StoreError::Forbidden { .. }) => return Ok(None),
            page => page?,
        };
        for entry in page.entries {
            let Ok(there) = entry.path.join(path.as_str().trim_start_matches('/')) else {
                continue;
            };
            if is_there(self.store, &there).await? {
                say!("howdah: {}", words(&shown::word(&there)));
                self.after = entry.path.name().map(str::to_owned);
                return Ok(Some(there));
            }
        }
        Ok(None)
    }
}

async fn is_there(store: &ChunkStore, path: &StorePath) -> Result<bool, StoreError> {
    match store.stat(path).await {
        Ok(_) => Ok(true),
        Err(
            StoreError::NotFound { .. }
            | StoreError::NotAFolder { .. }
            | StoreError::Forbidden { .. },
        ) => Ok(false),
        Err(error) => Err(error),
    }
}

/// A time as the names in the trash begin.
fn compact(at: ids::UnixMillis) -> String {
    let millis = i64::try_from(at.0).unwrap_or(i64::MAX);
    jiff::Timestamp::from_millisecond(millis)
        .map_or_else(|_| String::new(), |time| time.strftime("%Y%m%dT%H%M%S%3fZ").to_string())
}

pub(super) async fn expunge(session: &Session, format: Format) -> anyhow::Result<()> {
    let store = session.store().await?;
    let folder: StorePath = TRASH_FOLDER.parse().expect("the constant is a path");
    let entries = match store.list_all(&folder, ENTRIES_MAX).await {
        Err(StoreError::NotFound { .. }) => Vec::new(),
        entries => entries.with_context(|| doing("list", &folder))?,
    };
    let (progress, mut n_done) = (ItemProgress::new("expunge", entries.len() as u64, "entries"), 0);
    let mut removals = stream::iter(entries)
        .map(|entry| {
            let store = &store;
            async move {
                let removed = expunge_one(store, &entry).await;
                removed.with_context(|| doing("remove", &entry.path))
            }
        })
        .buffered(REMOVALS_AT_ONCE);
    let (mut n_others, mut gone) = (0, Vec::new());
    while let Some(removed) = removals.try_next().await? {
        n_done += 1;
        progress.set(n_done);
        match removed {
            Expunged::Gone(entry, counted) if format.is_document() => {
                let FileStatus { path, owner, .. } = entry;
                let Counted { files, bytes, .. } = counted;
                gone.push(json!({"path": path, "owner": owner, "files": files, "bytes": bytes}));
            }
            Expunged::Gone(entry, counted) => {
                let (path, owner) = (shown::path(&entry.path), plain(&entry.owner));
                progress.beside(|| {
                    tell!("{path} of {owner}: {} files, {} bytes", counted.files, counted.bytes);
                });
            }
            Expunged::Nothing => {}
            Expunged::Others => n_others += 1,
        }
    }
    progress.finish();
    format.print(&json!({"removed": gone, "others": n_others}))?;
    if n_others > 0 {
        say!("howdah: entries of the trash that are other users', and stay: {n_others}");
    }
    Ok(())
}

/// What became of an entry of the trash.
enum Expunged {
    /// It is removed; what it was.
    Gone(FileStatus, Counted),
    /// The chunk master has emptied it, or somebody else has.
    Nothing,
    /// It is another user's.
    Others,
}

async fn expunge_one(store: &ChunkStore, entry: &FileStatus) -> Result<Expunged, StoreError> {
    let counted = match store.count(&entry.path).await {
        Err(StoreError::NotFound { .. }) => return Ok(Expunged::Nothing),
        Err(StoreError::Forbidden { .. }) => return Ok(Expunged::Others),
        counted => counted?,
    };
    match store.delete_for_good(&entry.path, true).await {
        Err(StoreError::NotFound { .. }) => Ok(Expunged::Nothing),
        Err(StoreError::Forbidden { .. }) => Ok(Expunged::Others),
        removed => {
            removed?;
            Ok(Expunged::Gone(entry.clone(), counted))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_compared_with_the_names_in_the_trash() {
        assert_eq!(compact(ids::UnixMillis(1_795_341_600_042)), "20261122T100000042Z");
        assert!(compact(ids::UnixMillis(1_795_341_600_042)).as_str() < "20261122T100000042Z-7");
    }
}
