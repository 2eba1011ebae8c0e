//! An object that appears in a single step long after it was written, by somebody else than its
//! writer: it is staged by a [`StagedWriter`], published by [`OtherStore::publish`], which may be
//! repeated, and removed by [`OtherStore::sweep`] if it is never published.
//!
//! On S3 it is a multipart upload to its target, which is invisible until it is completed.
//! Elsewhere it is an object of its own, which the store renames (files) or copies: uploads of
//! other kinds can't be found again when their writer was killed.

use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, future};
use object_store::multipart::PartId;
use object_store::path::Path;
use object_store::{
    MultipartId, MultipartUpload, ObjectStoreExt as _, PutPayload, PutPayloadMut, Result,
};

use super::{OtherStore, OtherStoreError, Scheme, local_files};

/// Length of the first parts of an upload. Later parts are longer, so that long objects have few
/// parts and short ones need little memory.
const PART_BYTES: usize = 8 << 20;
/// Number of parts of the same length; then the length is doubled.
const PARTS_PER_LENGTH: usize = 64;
/// Maximum length of a part.
const PART_BYTES_MAX: usize = 128 << 20;
/// Maximum number of parts of a staged object: their names are kept in a journal.
pub const STAGED_PARTS_MAX: usize = 1024;

/// What is needed to publish a staged object; to be kept until then.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StagedObject {
    /// The upload's id; `None` if it is an object of its own.
    pub upload: Option<String>,
    /// The store's names of the upload's parts.
    pub parts: Vec<String>,
    /// Total length, bytes.
    pub bytes: u64,
}

/// Where a staged object is, and where it goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StagedPlace {
    /// Where it will be published.
    pub target: Path,
    /// A place that belongs to the attempt, used where uploads are not.
    pub scratch: Path,
}

/// Writes a staged object. If it is neither finished nor abandoned, it is left for a sweep.
pub struct StagedWriter {
    store: OtherStore,
    target: Path,
    way: Way,
    buffer: PutPayloadMut,
    n_parts: usize,
    bytes: u64,
}

impl std::fmt::Debug for StagedWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "StagedWriter({}, {} bytes)", self.target, self.bytes)
    }
}

enum Way {
    Upload { id: MultipartId, parts: Vec<PartId> },
    Scratch(Box<dyn MultipartUpload>),
}

fn part_bytes(n_parts: usize) -> usize {
    let doubled = u32::try_from(n_parts / PARTS_PER_LENGTH).unwrap_or(u32::MAX).min(16);
    (PART_BYTES << doubled).min(PART_BYTES_MAX)
}

impl StagedWriter {
    /// Appends bytes; waits while a part is being sent.
    ///
    /// # Errors
    /// When the store refuses or does not answer, or the object gets too long.
    pub async fn write(&mut self, bytes: Bytes) -> Result<(), OtherStoreError> {
        self.bytes += bytes.len() as u64;
        self.buffer.push(bytes);
        match self.buffer.content_length() >= part_bytes(self.n_parts) {
            true => self.send().await,
            false => Ok(()),
        }
    }

    async fn send(&mut self) -> Result<(), OtherStoreError> {
        if self.n_parts == STAGED_PARTS_MAX {
            let url = self.store.root.with_path(self.target.clone());
            let limit = (0..STAGED_PARTS_MAX).map(|n| part_bytes(n) as u64).sum();
            return Err(OtherStoreError::TooLong { url, limit });
        }
        let payload = std::mem::take(&mut self.buffer).freeze();
        let sent = self.send_part(payload).await;
        self.n_parts += 1;
        sent.map_err(|error| self.store.failed(&self.target, error))
    }

    async fn send_part(&mut self, payload: PutPayload) -> Result<()> {
        match (&mut self.way, &self.store.uploads) {
            (Way::Upload { id, parts }, Some(uploads)) => {
                let part = uploads.store().put_part(&self.target, id, self.n_parts, payload).await;
                parts.push(part?);
                Ok(())
            }
            (Way::Upload { .. }, None) => unreachable!("uploads are begun where there are some"),
            (Way::Scratch(upload), _) => upload.put_part(payload).await,
        }
    }

    /// Sends the rest. On return the store has all bytes, and none is visible at the target.
    ///
    /// # Errors
    /// When the store refuses or does not answer.
    pub async fn finish(mut self) -> Result<StagedObject, OtherStoreError> {
        // An upload needs at least one part.
        if !self.buffer.is_empty() || self.n_parts == 0 {
            self.send().await?;
        }
        match self.way {
            Way::Upload { id, parts } => {
                let parts = parts.into_iter().map(|part| part.content_id).collect();
                Ok(StagedObject { upload: Some(id), parts, bytes: self.bytes })
            }
            Way::Scratch(mut upload) => {
                let completed = upload.complete().await;
                completed.map_err(|error| self.store.failed(&self.target, error))?;
                Ok(StagedObject { upload: None, parts: Vec::new(), bytes: self.bytes })
            }
        }
    }

    /// Abandons the object: nothing of it stays, if the store can be reached.
    ///
    /// # Errors
    /// When the store refuses or does not answer.
    pub async fn abandon(mut self) -> Result<(), OtherStoreError> {
        let aborted = match (&mut self.way, &self.store.uploads) {
            (Way::Upload { id, .. }, Some(uploads)) => {
                uploads.store().abort_multipart(&self.target, id).await
            }
            (Way::Upload { .. }, None) => Ok(()),
            (Way::Scratch(upload), _) => upload.abort().await,
        };
        aborted.map_err(|error| self.store.failed(&self.target, error))
    }
}

impl OtherStore {
    /// Begins to stage an object.
    ///
    /// # Errors
    /// When the store refuses or does not answer.
    pub async fn stage(&self, place: &StagedPlace) -> Result<StagedWriter, OtherStoreError> {
        let way = match &self.uploads {
            Some(uploads) => {
                let id = uploads.store().create_multipart(&place.target).await;
                id.map(|id| Way::Upload { id, parts: Vec::new() })
            }
            None => self.objects.put_multipart(&place.scratch).await.map(Way::Scratch),
        };
        let way = way.map_err(|error| self.failed(&place.target, error))?;
        let (target, buffer) = (place.target.clone(), PutPayloadMut::new());
        Ok(StagedWriter { store: self.clone(), target, way, buffer, n_parts: 0, bytes: 0 })
    }

    /// Makes a staged object appear at its target. Repeating it has no effect.
    ///
    /// # Errors
    /// When the object is neither staged nor published, or the store refuses or does not answer.
    pub async fn publish(
        &self,
        staged: &StagedObject,
        place: &StagedPlace,
    ) -> Result<(), OtherStoreError> {
        let published = match (&staged.upload, &self.uploads) {
            (Some(id), Some(uploads)) => {
                let part = |content_id: &String| PartId { content_id: content_id.clone() };
                let parts = staged.parts.iter().map(part).collect();
                uploads.store().complete_multipart(&place.target, id, parts).await.map(drop)
            }
            (None, None) if self.root.scheme() == Scheme::File => {
                self.objects.rename(&place.scratch, &place.target).await
            }
            (None, None) => self.objects.copy(&place.scratch, &place.target).await,
            (Some(_), None) | (None, Some(_)) => Err(object_store::Error::NotSupported {
                source:
                    "it was staged in another way than this store has: the configurations differ"
                        .into(),
            }),
        };
        let Err(error) = published else { return Ok(()) };
        // A process that died before it could report may have published the object already.
        match self.find(&place.target).await {
            Ok(Some(there)) if there.bytes == staged.bytes => Ok(()),
            _ => Err(self.failed(&place.target, error)),
        }
    }

    /// Puts a small object.
    ///
    /// # Errors
    /// When the store refuses or does not answer.
    pub async fn put(&self, path: &Path, bytes: Bytes) -> Result<(), OtherStoreError> {
        let put = self.objects.put(path, PutPayload::from_bytes(bytes)).await;
        put.map(drop).map_err(|error| self.failed(path, error))
    }

    /// The locations of objects below `folder` that are neither known nor below `scratch`, but were
    /// put there by others; only the first few.
    ///
    /// # Errors
    /// When the store refuses or does not answer.
    pub async fn strangers(
        &self,
        folder: &Path,
        scratch: &Path,
        is_known: impl Fn(&Path) -> bool,
    ) -> Result<Vec<Path>, OtherStoreError> {
        let strange = |path: &Path| !path.prefix_matches(scratch) && !is_known(path);
        let found = self.objects.list(Some(folder)).map_ok(|meta| meta.location);
        let found = found.try_filter(|path| future::ready(strange(path))).take(3);
        found.try_collect().await.map_err(|error| self.failed(folder, error))
    }

    /// Removes what was staged for targets below `folder`, or at scratch places below `scratch`,
    /// and not published. Returns how many things were removed.
    ///
    /// # Errors
    /// When the store refuses or does not answer; what is left can be swept again.
    pub async fn sweep(&self, folder: &Path, scratch: &Path) -> Result<usize, OtherStoreError> {
        if let Some(uploads) = &self.uploads {
            return uploads.abort_below(folder).await.map_err(|error| self.failed(folder, error));
        }
        let below = self.objects.list(Some(scratch)).map_ok(|meta| meta.location).boxed();
        let removed = self.objects.delete_stream(below).filter_map(|removed| {
            future::ready(match removed {
                Err(object_store::Error::NotFound { .. }) => None,
                removed => Some(removed),
            })
        });
        let removed = removed.try_fold(0, |n, _| future::ok(n + 1)).await;
        let removed = removed.map_err(|error| self.failed(scratch, error))?;
        // Only file systems have folders without objects.
        if self.root.scheme() == Scheme::File && scratch.prefix_matches(folder) && scratch != folder
        {
            let gone = local_files::remove_scratch(scratch).await;
            gone.map_err(|error| self.failed(scratch, error))?;
        }
        Ok(removed)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use object_store::ObjectStore as _;
    use object_store::memory::InMemory;

    use super::super::uploads::Uploads;
    use super::*;

    fn place(attempt: u32) -> StagedPlace {
        let scratch = Path::from(format!("out/_temporary/j/{attempt}"));
        StagedPlace { target: Path::from("out/part-0"), scratch }
    }

    /// Empty stores of both kinds.
    fn both() -> [(OtherStore, Arc<InMemory>); 2] {
        [true, false].map(|with_uploads| {
            let memory = Arc::new(InMemory::new());
            let uploads = with_uploads.then(|| Uploads::of_memory(memory.clone()));
            let url = if with_uploads { "s3://b" } else { "gs://b" };
            (OtherStore::new(&url.parse().unwrap(), memory.clone(), uploads), memory)
        })
    }

    async fn stage(store: &OtherStore, attempt: u32, text: &'static str) -> StagedObject {
        let mut writer = store.stage(&place(attempt)).await.unwrap();
        for piece in text.as_bytes().chunks(3) {
            writer.write(Bytes::from_static(piece)).await.unwrap();
        }
        writer.finish().await.unwrap()
    }

    async fn text_at(memory: &InMemory, path: &Path) -> Option<String> {
        let bytes = memory.get(path).await.ok()?.bytes().await.unwrap();
        Some(String::from_utf8(bytes.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn of_several_attempts_the_one_that_is_published_appears_and_a_second_time_changes_nothing()
     {
        for (store, memory) in both() {
            let target = place(0).target;
            let loser = stage(&store, 0, "the loser's").await;
            let winner = stage(&store, 1, "the winner's bytes").await;
            assert_eq!(text_at(&memory, &target).await, None, "staged is not seen");
            for _ in 0..2 {
                store.publish(&winner, &place(1)).await.unwrap();
                let seen = text_at(&memory, &target).await;
                assert_eq!(seen.as_deref(), Some("the winner's bytes"));
            }
            assert_eq!((winner.bytes, loser.bytes), (18, 11));
            let (folder, scratch) = (Path::from("out"), Path::from("out/_temporary/j"));
            store.sweep(&folder, &scratch).await.unwrap();
            // Publishing again works after the sweep, too: the process that swept may have died
            // before it could report.
            store.publish(&winner, &place(1)).await.unwrap();
            let left: Vec<_> =
                memory.list(None).map_ok(|o| o.location).try_collect().await.unwrap();
            assert_eq!(left, [target]);
        }
    }

    #[tokio::test]
    async fn an_empty_object_is_one_and_what_was_given_up_or_swept_cannot_be_published() {
        for (store, memory) in both() {
            let empty = stage(&store, 0, "").await;
            store.publish(&empty, &place(0)).await.unwrap();
            assert_eq!(text_at(&memory, &place(0).target).await.as_deref(), Some(""));
        }
        for (store, memory) in both() {
            let mut given_up = store.stage(&place(0)).await.unwrap();
            given_up.write(Bytes::from_static(b"x")).await.unwrap();
            given_up.abandon().await.unwrap();
            let gone = StagedObject { upload: Some("0".to_owned()), ..StagedObject::default() };
            let gone = if store.uploads.is_some() { gone } else { StagedObject::default() };
            store.publish(&gone, &place(0)).await.unwrap_err();
            assert_eq!(text_at(&memory, &place(0).target).await, None);
        }
    }

    #[tokio::test]
    async fn files_are_renamed_and_their_scratch_folders_go() {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("file://{}/out", folder.path().display()).parse().unwrap();
        let access = super::super::StoreAccess::local_files();
        let store = super::super::Stores::new(vec![access], std::time::Duration::ZERO);
        let store = store.open(&url).unwrap();
        let below = |path: &Path| Path::parse(format!("{}/{path}", url.path())).unwrap();
        let place = |attempt| {
            let StagedPlace { target, scratch } = place(attempt);
            StagedPlace { target: below(&target), scratch: below(&scratch) }
        };
        let mut staged = Vec::new();
        for attempt in 0..2 {
            let mut writer = store.stage(&place(attempt)).await.unwrap();
            writer.write(Bytes::from(format!("of {attempt}"))).await.unwrap();
            staged.push(writer.finish().await.unwrap());
        }
        store.publish(&staged[1], &place(1)).await.unwrap();
        store.publish(&staged[1], &place(1)).await.unwrap();
        let out = folder.path().join("out/out");
        assert_eq!(std::fs::read_to_string(out.join("part-0")).unwrap(), "of 1");
        let (folder, scratch) = (below(&Path::from("out")), below(&Path::from("out/_temporary/j")));
        assert_eq!(store.sweep(&folder, &scratch).await.unwrap(), 1);
        assert_eq!(std::fs::read_dir(&out).unwrap().count(), 1, "nothing but the part");
        // The same if everything staged was published, and with an uncompleted upload.
        let mut writer = store.stage(&place(2)).await.unwrap();
        writer.write(Bytes::from_static(b"of 2")).await.unwrap();
        let last = writer.finish().await.unwrap();
        store.publish(&last, &place(2)).await.unwrap();
        std::fs::create_dir_all(out.join("_temporary/j")).unwrap();
        std::fs::write(out.join("_temporary/j/3#1"), "half").unwrap();
        assert_eq!(store.sweep(&folder, &scratch).await.unwrap(), 0);
        assert_eq!(std::fs::read_dir(&out).unwrap().count(), 1, "nothing but the part");
    }

    #[tokio::test]
    async fn strangers_are_told_from_parts_and_scratch() {
        for (store, memory) in both() {
            for path in ["out/part-0", "out/_temporary/j/0", "out/mine", "other"] {
                memory.put(&Path::from(path), PutPayload::from_static(b"x")).await.unwrap();
            }
            let (folder, scratch) = (Path::from("out"), Path::from("out/_temporary"));
            let known = |path: &Path| path.filename().is_some_and(|name| name.starts_with("part-"));
            let found = store.strangers(&folder, &scratch, known).await.unwrap();
            assert_eq!(found, [Path::from("out/mine")]);
        }
    }

    #[test]
    fn parts_get_longer_up_to_a_limit_that_memory_has() {
        assert_eq!([0, 63, 64, 127, 128].map(part_bytes), [8, 8, 16, 16, 32].map(|n| n << 20));
        assert_eq!([STAGED_PARTS_MAX, usize::MAX].map(part_bytes), [PART_BYTES_MAX; 2]);
    }
}
