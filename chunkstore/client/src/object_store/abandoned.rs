//! Removes what uploads left behind that nobody completed or aborted, for instance because their
//! program died: this is done by the next upload that is completed in the same folder, once the
//! files are old. Only the chunk master's clock is used to determine ages.

use std::collections::BTreeMap;
use std::time::Duration;

use chunkstore_protocol::{FileKind, FileStatus, Listing, StorePath};
use ids::UnixMillis;

use super::ChunkObjectStore;
use super::names::Names;
use super::upload::PAGE_ENTRIES;
use crate::StoreError;

/// By default, uploads whose last part is this old count as abandoned.
pub(super) const ABANDONED_AFTER: Duration = Duration::from_hours(7 * 24);

impl ChunkObjectStore {
    /// Removes what abandoned uploads left in the folder of `object`, which was just made; at most
    /// a page of it. What can't be removed stays.
    pub(super) async fn sweep_abandoned(&self, object: &StorePath) {
        if let Err(error) = self.sweep_beside(object).await {
            tracing::debug!(%object, %error, "what abandoned uploads left can't be removed: it stays");
        }
    }

    async fn sweep_beside(&self, object: &StorePath) -> Result<(), StoreError> {
        let folder = object.parent().unwrap_or_else(StorePath::root);
        let page = self.store.list(&folder, Some(Names::before_uploads()), PAGE_ENTRIES).await?;
        let left = whole_uploads(page);
        if left.is_empty() {
            return Ok(());
        }
        let now = self.store.stat(object).await?.modified;
        for path in abandoned(&left, now, self.abandoned_after) {
            tracing::info!(%path, "an abandoned upload's file is removed");
            match self.store.delete_for_good(&path, false).await {
                // Somebody else has removed it.
                Ok(()) | Err(StoreError::NotFound { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// The upload files on a page of a folder, except those of the last upload, which may continue on
/// the next page.
fn whole_uploads(page: Listing) -> Vec<FileStatus> {
    let last = page.next.as_ref().and(page.entries.last()).map(|entry| entry.path.clone());
    let cut = last.as_ref().and_then(Names::upload_of);
    let mut files = page.entries;
    files.retain(|file| Names::upload_of(&file.path).is_some_and(|upload| Some(upload) != cut));
    files
}

/// The files of those uploads of which all files are closed, and at `now` older than `age`.
fn abandoned(left: &[FileStatus], now: UnixMillis, age: Duration) -> Vec<StorePath> {
    let mut uploads = BTreeMap::<&str, (bool, Vec<&StorePath>)>::new();
    for file in left {
        let Some(upload) = Names::upload_of(&file.path) else { continue };
        let is_old =
            file.modified + age < now && matches!(file.kind, FileKind::File { open: false, .. });
        let (all_old, files) = uploads.entry(upload).or_insert((true, Vec::new()));
        *all_old &= is_old;
        files.push(&file.path);
    }
    let old = uploads.into_values().filter(|(all_old, _)| *all_old);
    old.flat_map(|(_, files)| files.into_iter().cloned()).collect()
}

#[cfg(test)]
mod tests {
    use chunkstore_protocol::FileId;

    use super::*;

    fn file(name: &str, modified: u64, open: bool) -> FileStatus {
        FileStatus {
            path: format!("/o/.upload-{name}").parse().unwrap(),
            owner: String::new(),
            created: UnixMillis(modified),
            modified: UnixMillis(modified),
            kind: FileKind::File {
                file: FileId::default(),
                length: 1,
                replication: 1,
                chunk_bytes: 1,
                n_chunks: 1,
                open,
                cut: false,
                log: false,
            },
        }
    }

    #[test]
    fn an_upload_that_a_page_cuts_off_is_not_judged_and_odd_names_stop_nothing() {
        let names = ["not-one-of-ours", "000000000000000a", "000000000000000b-0000000000000001"];
        let entries: Vec<_> = names.iter().map(|name| file(name, 10, false)).collect();
        let n = |next: Option<&str>| {
            let next = next.map(str::to_owned);
            whole_uploads(Listing { entries: entries.clone(), next }).len()
        };
        assert_eq!((n(None), n(Some(".upload-000000000000000b-0000000000000001"))), (2, 1));
    }

    #[test]
    fn an_upload_is_abandoned_when_its_last_file_is_old_and_none_is_being_written() {
        let left = [
            file("000000000000000a", 10, false),
            file("000000000000000b-0000000000000001", 10, false),
            file("000000000000000b-0000000000000002", 90, false),
            file("000000000000000c-0000000000000001", 10, false),
            file("000000000000000c-0000000000000002", 10, true),
            file("000000000000000d-0000000000000001", 10, false),
            file("000000000000000d-0000000000000002", 49, false),
            file("not-one-of-ours", 10, false),
        ];
        let found = abandoned(&left, UnixMillis(100), Duration::from_millis(50));
        let found: Vec<_> = found.iter().filter_map(|path| path.name()).collect();
        let (a, d) = (".upload-000000000000000a", ".upload-000000000000000d-000000000000000");
        assert_eq!(found, [a, &format!("{d}1"), &format!("{d}2")]);
    }
}
