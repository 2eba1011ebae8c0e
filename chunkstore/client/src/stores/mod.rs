//! Stores besides the chunk store, named by URLs: `s3://`, `gs://`, `az://` and `file://`.
//! [`Stores`] is the registry, made from the configuration; an [`OtherStore`] is one of them,
//! opened. Here: finding, listing and reading objects. How an output appears in a single step is in
//! `staged.rs`.

mod access;
mod error;
mod http;
mod local_files;
mod staged;
mod uploads;
mod url;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::BoxStream;
use futures_util::{StreamExt as _, TryStreamExt as _};
use object_store::path::Path;
use object_store::{GetOptions, GetRange, ObjectMeta, ObjectStore, ObjectStoreExt as _};

pub use access::{StoreAccess, StoreSecret};
pub use error::OtherStoreError;
pub use staged::{STAGED_PARTS_MAX, StagedObject, StagedPlace, StagedWriter};
pub use url::{Scheme, StoreUrl, UrlError};

use uploads::Uploads;

/// Objects of a folder that are examined in search of a matching one.
const LOOKED_AT_MAX: usize = 10_000;

/// The stores that URLs may name. Clones share the opened stores.
#[derive(Clone, Debug)]
pub struct Stores {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    /// Whose configuration it is, for messages.
    whose: String,
    accesses: Vec<StoreAccess>,
    retry_for: Duration,
    opened: Mutex<BTreeMap<(Scheme, String), OtherStore>>,
}

impl Stores {
    /// The stores that `accesses` cover; calls are retried for `retry_for`.
    #[must_use]
    pub fn new(accesses: Vec<StoreAccess>, retry_for: Duration) -> Self {
        Self::of("the configuration", accesses, retry_for)
    }

    /// Like [`Self::new`], for a daemon's configuration; messages name `whose` it is, like `the
    /// JobTracker's configuration`.
    #[must_use]
    pub fn of(whose: impl Into<String>, accesses: Vec<StoreAccess>, retry_for: Duration) -> Self {
        let (whose, opened) = (whose.into(), Mutex::default());
        Self { inner: Arc::new(Inner { whose, accesses, retry_for, opened }) }
    }

    /// How the store of `url` is accessed.
    ///
    /// # Errors
    /// When the configuration has no entry for it.
    pub fn access(&self, url: &StoreUrl) -> Result<&StoreAccess, OtherStoreError> {
        let fitting = self.inner.accesses.iter().filter_map(|one| Some((one.covers(url)?, one)));
        let best = fitting.max_by_key(|(fits, _)| *fits);
        best.map(|(_, access)| access).ok_or_else(|| OtherStoreError::NotConfigured {
            whose: self.inner.whose.clone(),
            url: url.clone(),
            scheme: url.scheme().as_str(),
            bucket: url.bucket().to_owned(),
        })
    }

    /// The store of `url`. Nothing is sent yet.
    ///
    /// # Errors
    /// When the configuration has no entry for it, or an unusable one.
    pub fn open(&self, url: &StoreUrl) -> Result<OtherStore, OtherStoreError> {
        let access = self.access(url)?;
        let mut opened = self.inner.opened.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (url.scheme(), url.bucket().to_owned());
        if let Some(store) = opened.get(&key) {
            return Ok(store.clone());
        }
        let bad = |source| OtherStoreError::BadEntry { url: url.clone(), source: Box::new(source) };
        let store = access.open(url, self.inner.retry_for).map_err(bad)?;
        opened.insert(key, store.clone());
        Ok(store)
    }
}

/// An opened store. Clones share its connections.
#[derive(Clone)]
pub struct OtherStore {
    /// Its root.
    root: StoreUrl,
    objects: Arc<dyn ObjectStore>,
    uploads: Option<Uploads>,
}

impl fmt::Debug for OtherStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OtherStore({})", self.root)
    }
}

/// An object in a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// Its URL.
    pub url: StoreUrl,
    /// Its length.
    pub bytes: u64,
    /// Its e-tag, which another object at the same place would not have.
    pub e_tag: Option<String>,
}

impl OtherStore {
    fn new(url: &StoreUrl, objects: Arc<dyn ObjectStore>, uploads: Option<Uploads>) -> Self {
        Self { root: url.with_path(Path::default()), objects, uploads }
    }

    /// The store's `object_store` interface.
    #[must_use]
    pub fn objects(&self) -> &Arc<dyn ObjectStore> {
        &self.objects
    }

    fn failed(&self, path: &Path, error: object_store::Error) -> OtherStoreError {
        OtherStoreError::of(self.root.with_path(path.clone()), error)
    }

    fn object(&self, meta: ObjectMeta) -> Object {
        let url = self.root.with_path(meta.location);
        Object { url, bytes: meta.size, e_tag: meta.e_tag }
    }

    /// The object at `path`, if there is one.
    ///
    /// # Errors
    /// When the store refuses or does not answer.
    pub async fn find(&self, path: &Path) -> Result<Option<Object>, OtherStoreError> {
        if path.as_ref().is_empty() {
            return Ok(None);
        }
        match self.objects.head(path).await {
            Ok(meta) => Ok(Some(self.object(meta))),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(self.failed(path, error)),
        }
    }

    /// Whether there is no object below `folder`.
    ///
    /// # Errors
    /// When the store refuses or does not answer.
    pub async fn is_empty(&self, folder: &Path) -> Result<bool, OtherStoreError> {
        let first = self.objects.list(Some(folder)).try_next().await;
        first.map(|first| first.is_none()).map_err(|error| self.failed(folder, error))
    }

    /// Whether there may be an object directly in `folder` whose name satisfies `is_meant`. If
    /// there are very many objects, only the first ones are examined, and the answer is yes.
    ///
    /// # Errors
    /// When the store refuses or does not answer.
    pub async fn may_hold(
        &self,
        folder: &Path,
        is_meant: impl Fn(&str) -> bool,
    ) -> Result<bool, OtherStoreError> {
        let mut listed = self.objects.list(Some(folder)).take(LOOKED_AT_MAX);
        let depth = folder.parts().count() + 1;
        let mut looked_at = 0;
        while let Some(meta) = listed.next().await {
            let path = meta.map_err(|error| self.failed(folder, error))?.location;
            if path.parts().count() == depth && path.filename().is_some_and(&is_meant) {
                return Ok(true);
            }
            looked_at += 1;
        }
        Ok(looked_at == LOOKED_AT_MAX)
    }

    /// The objects directly in `folder`, sorted by name; at most `limit`.
    ///
    /// # Errors
    /// When there are more, or the store refuses or does not answer.
    pub async fn list_level(
        &self,
        folder: &Path,
        limit: usize,
    ) -> Result<Vec<Object>, OtherStoreError> {
        let listed = self.objects.list_with_delimiter(Some(folder)).await;
        let mut metas = listed.map_err(|error| self.failed(folder, error))?.objects;
        if metas.len() > limit {
            return Err(OtherStoreError::TooMany {
                url: self.root.with_path(folder.clone()),
                limit,
            });
        }
        metas.sort_unstable_by(|a, b| a.location.cmp(&b.location));
        Ok(metas.into_iter().map(|meta| self.object(meta)).collect())
    }

    /// Reads `length` bytes from `offset` on of the object with this `e_tag`; also returns the
    /// object's length.
    ///
    /// # Errors
    /// When the object does not exist or has been replaced, or the store refuses or does not
    /// answer.
    pub async fn read_range(
        &self,
        path: &Path,
        e_tag: Option<&str>,
        offset: u64,
        length: u64,
    ) -> Result<(u64, BoxStream<'static, Result<Bytes, OtherStoreError>>), OtherStoreError> {
        let options = GetOptions {
            range: Some(GetRange::Bounded(offset..offset.saturating_add(length))),
            if_match: e_tag.map(str::to_owned),
            ..GetOptions::default()
        };
        let got = self.objects.get_opts(path, options).await;
        let got = got.map_err(|error| self.failed(path, error))?;
        let (whole, url) = (got.meta.size, self.root.with_path(path.clone()));
        let failed = move |error| OtherStoreError::of(url.clone(), error);
        Ok((whole, Box::pin(got.into_stream().map_err(failed))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access(url: &str) -> StoreAccess {
        StoreAccess { url: url.to_owned(), ..StoreAccess::local_files() }
    }

    #[test]
    fn the_entry_that_says_most_is_taken_and_none_is_an_error_that_says_what_to_add() {
        let all = ["s3://", "s3://b", "file:///mnt", "file:///mnt/shared"].map(access);
        let stores = Stores::of("the configuration of somebody", all.to_vec(), Duration::ZERO);
        for (url, entry) in [
            ("s3://b/x", Some("s3://b")),
            ("s3://bc/x", Some("s3://")),
            ("file:///mnt/x", Some("file:///mnt")),
            ("file:///mnt/shared/x", Some("file:///mnt/shared")),
            ("file:///mnt/shared", Some("file:///mnt/shared")),
            ("file:///mnts/x", None),
            ("file:///etc/passwd", None),
            ("gs://b/x", None),
        ] {
            match (stores.access(&url.parse().unwrap()), entry) {
                (Ok(found), Some(entry)) => assert_eq!(found.url, entry, "{url}"),
                (Err(error), None) => {
                    let error = error.to_string();
                    let whose = "`stores` in the configuration of somebody covers";
                    assert!(error.contains(url) && error.contains(whose), "{error}");
                }
                (found, _) => panic!("{url}: {found:?}"),
            }
        }
    }

    #[test]
    fn secrets_are_not_shown() {
        let secret = Some(StoreSecret::new(" sesame\n"));
        let access = StoreAccess { secret, key_id: Some("AK".to_owned()), ..access("s3://b") };
        let stores = Stores::new(vec![access], Duration::ZERO);
        let opened = stores.open(&"s3://b/x".parse().unwrap()).unwrap();
        let shown = format!("{stores:?} {opened:?} {:?}", opened.objects());
        assert!(!shown.contains("sesame"), "{shown}");
    }

    #[tokio::test]
    async fn files_are_found_listed_and_read_as_long_as_they_stay_the_same() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("sub")).unwrap();
        for (name, text) in [("b", "0123456789"), ("a", "x"), ("sub/c", "y")] {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        let stores = Stores::new(vec![StoreAccess::local_files()], Duration::ZERO);
        let url: StoreUrl = format!("file://{}", folder.path().display()).parse().unwrap();
        let store = stores.open(&url).unwrap();
        let listed = store.list_level(url.path(), 10).await.unwrap();
        let names: Vec<_> = listed.iter().map(|o| (o.url.path().filename(), o.bytes)).collect();
        assert_eq!(names, [(Some("a"), 1), (Some("b"), 10)]);
        assert!(matches!(
            store.list_level(url.path(), 1).await,
            Err(OtherStoreError::TooMany { limit: 1, .. })
        ));
        let b = store.find(listed[1].url.path()).await.unwrap().unwrap();
        assert_eq!(b, listed[1]);
        let (whole, bytes) =
            store.read_range(b.url.path(), b.e_tag.as_deref(), 3, 4).await.unwrap();
        let bytes: Vec<Bytes> = bytes.try_collect().await.unwrap();
        assert_eq!((whole, bytes.concat()), (10, b"3456".to_vec()));
        std::fs::write(folder.path().join("b"), "another text").unwrap();
        let replaced = store.read_range(b.url.path(), b.e_tag.as_deref(), 3, 4).await;
        let error = replaced.map(drop).unwrap_err();
        assert!(matches!(error, OtherStoreError::Replaced { .. }), "{error}");
        assert!(error.to_string().contains("/b was replaced"), "{error}");
        assert_eq!(store.find(&Path::from("no/such")).await.unwrap(), None);
    }
}
