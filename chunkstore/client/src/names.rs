//! The calls about names: what exists where, and how it is moved, copied and removed. No bytes.

use chunkstore_protocol::{
    Concat, Copy, Count, Counted, Delete, Done, FileStatus, LOCATE_PATHS_MAX, List, Listing,
    LocateMany, Located, LocatedMany, MayMake, Mkdir, PathLocation, Publish, Rename, Replace,
    SetOwner, SetReplication, Stat, StorePath, Winner,
};

use crate::checksum::ChunkChecksum;
use crate::{ChunkStore, StoreError};

/// Entries requested in one page of a listing.
const PAGE_ENTRIES: u32 = 1000;

impl ChunkStore {
    /// The entry at `path`.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] if there is none.
    pub async fn stat(&self, path: &StorePath) -> Result<FileStatus, StoreError> {
        self.ask("/v1/files/stat", path, &Stat { path: path.clone() }).await
    }

    /// Whether there is an entry at `path`.
    ///
    /// # Errors
    /// When the master can't be asked.
    pub async fn exists(&self, path: &StorePath) -> Result<bool, StoreError> {
        match self.stat(path).await {
            Ok(_) => Ok(true),
            Err(StoreError::NotFound { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// One page of a folder, at most `limit` entries whose names come after `after`.
    ///
    /// # Errors
    /// When there is no such folder, or the master can't be asked.
    pub async fn list(
        &self,
        folder: &StorePath,
        after: Option<String>,
        limit: u32,
    ) -> Result<Listing, StoreError> {
        self.ask(
            "/v1/files/list",
            folder,
            &List { path: folder.clone(), after, recursive: false, limit },
        )
        .await
    }

    /// One page of everything below a folder, each folder before its entries: at most `limit`
    /// entries that come after the relative path `after`.
    ///
    /// # Errors
    /// Like [`Self::list`].
    pub async fn list_recursive(
        &self,
        folder: &StorePath,
        after: Option<String>,
        limit: u32,
    ) -> Result<Listing, StoreError> {
        let request = List { path: folder.clone(), after, recursive: true, limit };
        self.ask("/v1/files/list", folder, &request).await
    }

    /// The number of folders, files and bytes at and below `path`.
    ///
    /// # Errors
    /// When there is no entry at `path`, or the master can't be asked.
    pub async fn count(&self, path: &StorePath) -> Result<Counted, StoreError> {
        self.ask("/v1/files/count", path, &Count { path: path.clone() }).await
    }

    /// All entries of a folder, sorted by the names' bytes.
    ///
    /// # Errors
    /// [`StoreError::TooMuch`] if there are more than `entries_max`; otherwise like [`Self::list`].
    pub async fn list_all(
        &self,
        folder: &StorePath,
        entries_max: usize,
    ) -> Result<Vec<FileStatus>, StoreError> {
        let mut entries = Vec::new();
        let mut after = None;
        loop {
            let page = self.list(folder, after, PAGE_ENTRIES).await?;
            entries.extend(page.entries);
            if entries.len() > entries_max {
                return Err(StoreError::TooMuch {
                    path: folder.clone(),
                    what: "entries",
                    limit: entries_max as u64,
                });
            }
            match page.next {
                Some(next) => after = Some(next),
                None => return Ok(entries),
            }
        }
    }

    /// Creates a folder; with `parents` also those above it, and then an existing folder is no
    /// error.
    ///
    /// # Errors
    /// When an entry is in the way, or the master can't be asked.
    pub async fn mkdir(&self, path: &StorePath, parents: bool) -> Result<(), StoreError> {
        let request = |stamp| Mkdir { stamp, path: path.clone(), parents };
        self.change::<_, Done>("/v1/files/mkdir", path, request).await.map(drop)
    }

    /// Moves a file or folder, atomically; `to` must not exist.
    ///
    /// # Errors
    /// When `from` does not exist, `to` does, or the master can't be asked.
    pub async fn rename(&self, from: &StorePath, to: &StorePath) -> Result<(), StoreError> {
        self.rename_over(from, to, Replace::Never).await
    }

    /// Moves a file or folder atomically; a file may replace another one, as `replace` says.
    ///
    /// # Errors
    /// When `from` does not exist, `to` must not be replaced ([`StoreError::Changed`] if it is not
    /// the file that `replace` expects), or the master can't be asked.
    pub async fn rename_over(
        &self,
        from: &StorePath,
        to: &StorePath,
        replace: Replace,
    ) -> Result<(), StoreError> {
        let request = |stamp| Rename { stamp, from: from.clone(), to: to.clone(), replace };
        self.change::<_, Done>("/v1/files/rename", from, request).await.map(drop)
    }

    /// Makes `to` a file with the same chunks as the closed file `from`, without moving bytes. With
    /// `parents`, missing parent folders are created.
    ///
    /// # Errors
    /// When `from` is not a closed file or has too many chunks, `to` must not be replaced
    /// ([`StoreError::Changed`] if it is not the file that `replace` expects), or the master can't
    /// be asked.
    pub async fn copy(
        &self,
        from: &StorePath,
        to: &StorePath,
        replace: Replace,
        parents: bool,
    ) -> Result<FileStatus, StoreError> {
        let request = |stamp| Copy { stamp, from: from.clone(), to: to.clone(), replace, parents };
        self.change("/v1/files/copy", from, request).await
    }

    /// Makes `to` a file with the chunks of closed files, in this order, without moving bytes; the
    /// parts disappear in the same step. At most [`chunkstore_protocol::CONCAT_PARTS_MAX`] at once.
    /// With `parents`, missing parent folders are created.
    ///
    /// # Errors
    /// When a part is not a closed file, `to` must not be replaced ([`StoreError::Changed`] if it
    /// is not the file that `replace` expects), there are too many, or the master can't be asked.
    pub async fn concat(
        &self,
        parts: &[StorePath],
        to: &StorePath,
        replace: Replace,
        parents: bool,
    ) -> Result<FileStatus, StoreError> {
        let parts = parts.to_vec();
        let request =
            |stamp| Concat { stamp, parts: parts.clone(), to: to.clone(), replace, parents };
        self.change("/v1/files/concat", to, request).await
    }

    /// Changes the number of servers on which a closed file is kept. Chunks that it shares with
    /// copies are kept on the highest number that one of these asks for.
    ///
    /// # Errors
    /// When `path` is not a closed file, the number is out of range, or the master can't be asked.
    pub async fn set_replication(
        &self,
        path: &StorePath,
        replication: u8,
    ) -> Result<(), StoreError> {
        let request = |stamp| SetReplication { stamp, path: path.clone(), replication };
        self.change::<_, Done>("/v1/files/set_replication", path, request).await.map(drop)
    }

    /// Gives a file or folder to another owner; entries below a folder keep theirs. Requires a
    /// superuser's token.
    ///
    /// # Errors
    /// When there is no entry at `path`, the token does not suffice, or the master can't be asked.
    pub async fn set_owner(&self, path: &StorePath, owner: &str) -> Result<(), StoreError> {
        let request = |stamp| SetOwner { stamp, path: path.clone(), owner: owner.to_owned() };
        self.change::<_, Done>("/v1/files/set_owner", path, request).await.map(drop)
    }

    /// Checks whether the folder's owner allows this client to create something at `path`.
    ///
    /// # Errors
    /// [`StoreError::Forbidden`] if not; or when the master can't be asked.
    pub async fn may_make(&self, path: &StorePath) -> Result<(), StoreError> {
        let request = MayMake { path: path.clone() };
        self.ask::<_, Done>("/v1/files/may_make", path, &request).await.map(drop)
    }

    /// Removes a file or folder; one with entries only if `recursive`. What a user removes stays in
    /// the trash for a while (`chunkmaster.trash_interval`), from where [`Self::rename`] brings it
    /// back.
    ///
    /// # Errors
    /// When it does not exist or has entries, or the master can't be asked.
    pub async fn delete(&self, path: &StorePath, recursive: bool) -> Result<(), StoreError> {
        self.remove(path, recursive, false).await
    }

    /// Removes a file or folder for good.
    ///
    /// # Errors
    /// Like [`Self::delete`].
    pub async fn delete_for_good(
        &self,
        path: &StorePath,
        recursive: bool,
    ) -> Result<(), StoreError> {
        self.remove(path, recursive, true).await
    }

    async fn remove(
        &self,
        path: &StorePath,
        recursive: bool,
        skip_trash: bool,
    ) -> Result<(), StoreError> {
        let request = |stamp| Delete { stamp, path: path.clone(), recursive, skip_trash };
        self.change::<_, Done>("/v1/files/delete", path, request).await.map(drop)
    }

    /// Makes `target` a folder of the winners in `staging`, with an empty file `marker`, in one
    /// transaction; the rest of `staging` is removed.
    ///
    /// # Errors
    /// When `target` exists, a winner does not exist or is open, or the master can't be asked.
    pub async fn publish(
        &self,
        staging: &StorePath,
        winners: &[Winner],
        target: &StorePath,
        marker: &str,
    ) -> Result<(), StoreError> {
        let request = |stamp| Publish {
            stamp,
            staging: staging.clone(),
            winners: winners.to_vec(),
            target: target.clone(),
            marker: marker.to_owned(),
            owner: None,
        };
        self.change::<_, Done>("/v1/files/publish", target, request).await.map(drop)
    }

    /// Locates many closed files, in the order of `paths`: at most the first
    /// [`chunkstore_protocol::LOCATE_MANY_CHUNKS_MAX`] chunks of each.
    ///
    /// # Errors
    /// When the master can't be asked. An error about a single file is in its place.
    pub async fn locate_many(&self, paths: &[StorePath]) -> Result<Vec<PathLocation>, StoreError> {
        let mut files = Vec::with_capacity(paths.len());
        for batch in paths.chunks(LOCATE_PATHS_MAX) {
            let request = LocateMany { paths: batch.to_vec() };
            let located: LocatedMany =
                self.ask("/v1/files/locate_many", &batch[0], &request).await?;
            files.extend(located.files);
        }
        Ok(files)
    }

    /// CRC32C of all bytes of a closed file, computed from the checksums of its chunks at the
    /// master: it does not depend on how they are cut, and no byte is read.
    ///
    /// # Errors
    /// When there is no such file, it is still open, another took its place meanwhile, or the master can't be
    /// asked.
    pub async fn checksum(&self, path: &StorePath) -> Result<u32, StoreError> {
        let (mut checksum, mut covered) = (ChunkChecksum::default(), 0);
        let mut first = None;
        loop {
            let Located { file, length, chunks, open_log: _ } =
                self.locate(path, covered, None).await?;
            if *first.get_or_insert((file, length)) != (file, length) {
                return Err(StoreError::ChangedMeanwhile { path: path.clone() });
            }
            for chunk in &chunks {
                checksum.push(chunk.checksum, chunk.length);
                covered += chunk.length;
            }
            if covered == length {
                return Ok(checksum.value());
            }
            if covered > length || chunks.is_empty() {
                return Err(StoreError::ChangedMeanwhile { path: path.clone() });
            }
        }
    }
}
