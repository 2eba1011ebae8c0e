//! Multipart uploads whose id outlives the process that began them: one process begins and fills
//! them, another one completes or aborts them. Uncompleted ones are found by asking the store.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use http::Method;
use object_store::aws::AmazonS3;
use object_store::client::{HttpClient, HttpRequestBody};
use object_store::multipart::MultipartStore;
use object_store::path::Path;
use object_store::signer::{SignedUrlOptions, Signer as _};
use object_store::{Error, Result};
use serde::Deserialize;

use super::http::Connector;

/// How long a signed request is valid.
const SIGNED_FOR: Duration = Duration::from_mins(5);
/// Uploads aborted concurrently.
const AT_ONCE: usize = 8;
/// Maximum number of pages, of 1000 uploads each, in one listing.
const PAGES_MAX: usize = 1000;

/// The uploads of one bucket.
#[derive(Clone)]
pub(super) struct Uploads {
    store: Arc<dyn MultipartStore>,
    /// Lists the uploads; `None` in tests.
    lister: Option<Lister>,
}

#[derive(Clone)]
struct Lister {
    s3: Arc<AmazonS3>,
    client: HttpClient,
}

impl fmt::Debug for Uploads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Uploads")
    }
}

/// An upload that was begun and not completed.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Unfinished {
    key: String,
    upload_id: String,
}

/// S3's answer to a request for these.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Page {
    is_truncated: bool,
    next_key_marker: String,
    next_upload_id_marker: String,
    upload: Vec<Unfinished>,
}

impl Uploads {
    pub(super) fn of_s3(s3: Arc<AmazonS3>, connector: Connector) -> Result<Self> {
        let lister = Lister { s3: s3.clone(), client: connector.client()? };
        Ok(Self { store: s3, lister: Some(lister) })
    }

    /// The uploads of a store that nobody else uses.
    #[cfg(test)]
    pub(super) fn of_memory(store: Arc<object_store::memory::InMemory>) -> Self {
        Self { store, lister: None }
    }

    pub(super) fn store(&self) -> &dyn MultipartStore {
        &*self.store
    }

    /// Aborts all uploads of objects below `folder`. One that begins concurrently may be missed.
    pub(super) async fn abort_below(&self, folder: &Path) -> Result<usize> {
        let Some(lister) = &self.lister else { return Ok(0) };
        let unfinished = lister.below(folder).await?;
        let aborted = stream::iter(unfinished).map(|upload| async move {
            match self.store.abort_multipart(&Path::parse(&upload.key)?, &upload.upload_id).await {
                // Somebody else has aborted it.
                Ok(()) | Err(Error::NotFound { .. }) => Ok(1),
                Err(error) => Err(error),
            }
        });
        aborted.buffer_unordered(AT_ONCE).try_fold(0, |n, one| async move { Ok(n + one) }).await
    }
}

impl Lister {
    async fn below(&self, folder: &Path) -> Result<Vec<Unfinished>> {
        let (mut all, mut after) = (Vec::new(), None);
        for _ in 0..PAGES_MAX {
            let page = self.page(folder, after.as_ref()).await?;
            all.extend(page.upload);
            if !page.is_truncated {
                return Ok(all);
            }
            after = Some((page.next_key_marker, page.next_upload_id_marker));
        }
        Err(failed("there are too many unfinished uploads"))
    }

    async fn page(&self, folder: &Path, after: Option<&(String, String)>) -> Result<Page> {
        let mut query = vec![("uploads", String::new()), ("prefix", format!("{folder}/"))];
        if let Some((key, upload)) = after {
            query.extend([("key-marker", key.clone()), ("upload-id-marker", upload.clone())]);
        }
        let options = SignedUrlOptions::new().with_query(query);
        let bucket = Path::default();
        let url = self.s3.signed_url_opts(Method::GET, &bucket, SIGNED_FOR, &options).await?;
        let request = http::Request::get(url.as_str()).body(HttpRequestBody::empty());
        let answer = self.client.execute(request.map_err(failed)?).await.map_err(failed)?;
        let status = answer.status();
        let body = answer.into_body().bytes().await.map_err(failed)?;
        let text = String::from_utf8_lossy(&body);
        match status {
            status if status.is_success() => quick_xml::de::from_str(&text).map_err(failed),
            http::StatusCode::FORBIDDEN => Err(Error::PermissionDenied {
                path: folder.to_string(),
                source: "the key may not list uploads (s3:ListBucketMultipartUploads)".into(),
            }),
            status => Err(failed(format!("listing uploads: HTTP status {status}"))),
        }
    }
}

fn failed(why: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::Generic { store: "S3", source: why.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unfinished_uploads_are_read_from_the_answer_to_the_question_for_them() {
        let answer = r#"<?xml version="1.0" encoding="UTF-8"?>
<ListMultipartUploadsResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">
  <Bucket>b</Bucket><KeyMarker></KeyMarker><UploadIdMarker></UploadIdMarker>
  <NextKeyMarker>out/b</NextKeyMarker><NextUploadIdMarker>2</NextUploadIdMarker>
  <MaxUploads>2</MaxUploads><IsTruncated>true</IsTruncated>
  <Upload><Key>out/a&amp;1</Key><UploadId>1</UploadId><Initiator><ID>x</ID></Initiator>
    <StorageClass>STANDARD</StorageClass><Initiated>2026-11-28T20:51:51.000Z</Initiated></Upload>
  <Upload><Key>out/b</Key><UploadId>2</UploadId></Upload>
</ListMultipartUploadsResult>"#;
        let page: Page = quick_xml::de::from_str(answer).unwrap();
        let keys: Vec<_> = page.upload.iter().map(|upload| upload.key.as_str()).collect();
        assert_eq!(keys, ["out/a&1", "out/b"]);
        let next = (page.is_truncated, &*page.next_key_marker, &*page.next_upload_id_marker);
        assert_eq!(next, (true, "out/b", "2"));
        let none = "<ListMultipartUploadsResult><IsTruncated>false</IsTruncated></ListMultipartUploadsResult>";
        assert_eq!(quick_xml::de::from_str::<Page>(none).unwrap(), Page::default());
    }
}
