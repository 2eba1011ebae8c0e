//! Users' routes that give browsers and `curl` access to the chunk store: a subset of the
//! interfaces of the chunk master and the chunkservers, offered by the daemon that people already
//! use, so that no other daemon has to admit pages of another origin, and chunkservers may have
//! addresses that only the cluster reaches. Requests are made with the caller's own rights. File
//! contents pass through here in pieces, for a few files at once: `howdah fs` is the tool for
//! moving many.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use chunkstore_client::{ChunkStore, CreateOptions, FileReader, FileWriter, StoreError};
use chunkstore_protocol::{
    ClusterReport, FileKind, FileStatus, LIST_ENTRIES_MAX, Listing, Replace, StorePath,
};
use futures_util::{StreamExt as _, stream};
use net::api::{Methods, get};
use net::{Access, Caller, Json, Problem, Query as UrlQuery, Right, Routes};
use schemars::JsonSchema;
use serde::Deserialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::ServerState;
use super::error::{
    LOOKS, READS, REMOVES, WRITES, bad_path, broken_upload, coded_upload, folder_not_removed,
    no_such_range, of_store, partial_upload, too_many, unknown_condition,
};
use super::range::{RangeHeader, Wanted};

/// Limit on the files whose contents pass through at once.
pub(super) const TRANSFERS_MAX: usize = 8;
/// Page size of a listing unless the request gives one.
const LIST_DEFAULT: u32 = 500;
/// How long an upload may deliver nothing.
const STALL_MAX: Duration = Duration::from_secs(60);
/// A user's file must not act as a page, whatever its contents.
const POLICY: &str = "default-src 'none'; sandbox";
/// Nor as part of another site's page.
const RESOURCE_POLICY: &str = "cross-origin-resource-policy";

type Answer<T> = Result<Json<T>, Problem>;

pub(super) fn routes() -> Routes<ServerState> {
    Routes::new()
        .route(
            "/v1/store/report",
            Access::USERS,
            get(report)
                .summary("Tells of the chunk store's servers, disks and repairs.")
                .problems(LOOKS),
        )
        .route(
            "/v1/files",
            Access::USERS,
            get(list).summary("Lists a folder of the chunk store, page by page.").problems(LOOKS),
        )
        .route(
            "/v1/files/stat",
            Access::USERS,
            get(stat).summary("Tells what stands at a path.").problems(LOOKS),
        )
        .route("/v1/files/content", Access::USERS, content())
}

fn content() -> Methods<ServerState> {
    get(download)
        .summary("Gives the bytes of a file, or a range of them.")
        .gives_text(200, "text/plain", "The bytes, as an attachment.")
        .gives_text(206, "text/plain", "The bytes of the range that the header asks for.")
        .problems(LOOKS)
        .problems(READS)
        .put(upload)
        .summary("Makes a file of the body: whole, or not at all.")
        .gives::<FileStatus>(201)
        .problems(LOOKS)
        .problems(WRITES)
        .delete(remove)
        .summary("Removes a file; into the trash, if that is not skipped.")
        .gives_nothing(204)
        .problems(LOOKS)
        .problems(REMOVES)
}

/// Permits for file transfers.
#[derive(Clone, Debug)]
pub(crate) struct Transfers(Arc<Semaphore>);

impl Default for Transfers {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(TRANSFERS_MAX)))
    }
}

impl Transfers {
    fn begin(&self) -> Result<OwnedSemaphorePermit, Problem> {
        Arc::clone(&self.0).try_acquire_owned().map_err(|_| {
            too_many(format!(
                "{TRANSFERS_MAX} files are on their way through the JobTracker already: try again in a moment, or use \
                 `howdah fs get` and `put`, which go to the chunkservers themselves"
            ))
        })
    }
}

async fn report(State(state): State<ServerState>, caller: Caller) -> Answer<ClusterReport> {
    let report = state.store.of_caller(&caller).report().await;
    report.map(Json).map_err(|error| of_store(&error))
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ListParameters {
    /// The folder.
    path: String,
    /// The `next` of the page before.
    after: Option<String>,
    /// So many at most, 500 if absent.
    limit: Option<u32>,
}

async fn list(
    State(state): State<ServerState>,
    caller: Caller,
    UrlQuery(asked): UrlQuery<ListParameters>,
) -> Answer<Listing> {
    let path = path_of(&asked.path)?;
    let limit = asked.limit.unwrap_or(LIST_DEFAULT).clamp(1, LIST_ENTRIES_MAX);
    let listing = state.store.of_caller(&caller).list(&path, asked.after, limit).await;
    listing.map(Json).map_err(|error| of_store(&error))
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct StatParameters {
    /// The file or folder.
    path: String,
}

async fn stat(
    State(state): State<ServerState>,
    caller: Caller,
    UrlQuery(asked): UrlQuery<StatParameters>,
) -> Answer<FileStatus> {
    let path = path_of(&asked.path)?;
    let status = state.store.of_caller(&caller).stat(&path).await;
    status.map(Json).map_err(|error| of_store(&error))
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ReadParameters {
    /// The file.
    path: String,
    /// From this byte on; from the first if absent.
    offset: Option<u64>,
    /// So many bytes; to its end if absent.
    length: Option<u64>,
}

async fn download(
    State(state): State<ServerState>,
    caller: Caller,
    UrlQuery(asked): UrlQuery<ReadParameters>,
    RangeHeader(range): RangeHeader,
) -> Result<Response, Problem> {
    let path = path_of(&asked.path)?;
    let transfer = state.transfers.begin()?;
    let store = state.store.of_caller(&caller);
    if let Some(range) = range.filter(|_| asked.offset.is_none() && asked.length.is_none()) {
        return download_range(&store, &path, range, transfer).await;
    }
    let (offset, length) = (asked.offset.unwrap_or(0), asked.length.unwrap_or(u64::MAX));
    let reader = store.open_range(&path, offset, length).await;
    let reader = reader.map_err(|error| of_store(&error))?;
    let length = length.min(reader.len().saturating_sub(offset));
    Ok(bytes_of(&path, reader, length, transfer))
}

/// The range that the header asks for, with its position in the file.
async fn download_range(
    store: &ChunkStore,
    path: &StorePath,
    range: Wanted,
    transfer: OwnedSemaphorePermit,
) -> Result<Response, Problem> {
    let looked_at = store.open_range(path, 0, 0).await.map_err(|error| of_store(&error))?;
    let whole = looked_at.len();
    let no_such = |whole: u64| {
        let about = [(header::CONTENT_RANGE, format!("bytes */{whole}"))];
        (about, no_such_range(path.as_str(), whole)).into_response()
    };
    let Some((first, length)) = range.of(whole) else { return Ok(no_such(whole)) };
    let reader = store.open_range(path, first, length).await.map_err(|error| of_store(&error))?;
    // The file may have been replaced meanwhile.
    let whole = reader.len();
    let length = length.min(whole.saturating_sub(first));
    if length == 0 {
        return Ok(no_such(whole));
    }
    let last = first + length - 1;
    let about = [(header::CONTENT_RANGE, format!("bytes {first}-{last}/{whole}"))];
    let bytes = bytes_of(path, reader, length, transfer);
    Ok((StatusCode::PARTIAL_CONTENT, about, bytes).into_response())
}

fn bytes_of(
    path: &StorePath,
    reader: FileReader,
    length: u64,
    transfer: OwnedSemaphorePermit,
) -> Response {
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8")),
        (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY)),
        (header::CONTENT_DISPOSITION, attachment(path)),
        (header::ACCEPT_RANGES, HeaderValue::from_static("bytes")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (HeaderName::from_static(RESOURCE_POLICY), HeaderValue::from_static("same-origin")),
        (header::CONTENT_LENGTH, HeaderValue::from(length)),
    ];
    let body = stream::unfold(Some((reader, transfer)), next_piece);
    (headers, Body::from_stream(body)).into_response()
}

/// After an error the body ends: it is shorter than its header says, so that nobody takes it for
/// complete.
async fn next_piece<T>(
    reading: Option<(FileReader, T)>,
) -> Option<(Result<Bytes, StoreError>, Option<(FileReader, T)>)> {
    let (mut reader, transfer) = reading?;
    match reader.next().await {
        Ok(piece) => Some((Ok(piece?), Some((reader, transfer)))),
        Err(error) => {
            tracing::debug!(%error, path = %reader.path(), "a download breaks off");
            Some((Err(error), None))
        }
    }
}

/// Makes browsers save the file rather than show it.
fn attachment(path: &StorePath) -> HeaderValue {
    let mut text = "attachment; filename*=UTF-8''".to_owned();
    for byte in path.name().unwrap_or("root").bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' => {
                text.push(char::from(byte));
            }
            other => text.push_str(&format!("%{other:02X}")),
        }
    }
    HeaderValue::try_from(text).expect("what is encoded is ASCII")
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct WriteParameters {
    /// The file.
    path: String,
    /// Whether missing folders above it are made.
    #[serde(default)]
    parents: bool,
    /// Whether it takes the place of a file that is there, in one step: it is written beside that, so that the folder
    /// must be the caller's to write.
    #[serde(default)]
    replace: bool,
}

/// Makes a file of the body: completely, or not at all.
async fn upload(
    State(state): State<ServerState>,
    caller: Caller,
    UrlQuery(asked): UrlQuery<WriteParameters>,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, Json<FileStatus>), Problem> {
    let path = path_of(&asked.path)?;
    check_conditions(&headers, asked.replace)?;
    check_whole(&headers)?;
    caller.require(Right::Write, path.as_str())?;
    let _transfer = state.transfers.begin()?;
    let options = CreateOptions { parents: asked.parents, ..CreateOptions::default() };
    let store = state.store.of_caller(&caller);
    let beside = asked.replace.then(|| beside(&path)).flatten();
    let writer = store.create(beside.as_ref().unwrap_or(&path), options).await;
    let mut writer = writer.map_err(|error| of_store(&error))?;
    if let Err(problem) = write_whole(&mut writer, body.into_data_stream()).await {
        // Report the failure in any case; if this fails, the file goes when its lease ends.
        let _ = writer.abandon().await;
        return Err(problem);
    }
    // In a task of its own, so that it completes even if the caller, who has sent everything, is
    // gone.
    let ended = tokio::spawn(async move {
        match beside {
            Some(beside) => close_over(&store, writer, &beside, path).await,
            None => writer.close().await,
        }
    });
    let status = match ended.await {
        Ok(status) => status.map_err(|error| of_store(&error))?,
        // The daemon shuts down.
        Err(ended) => return Err(broken_upload(&ended.to_string())),
    };
    Ok((StatusCode::CREATED, Json(status)))
}

/// Closes a file that was written beside another one, and moves it to that one's place.
async fn close_over(
    store: &ChunkStore,
    writer: FileWriter,
    beside: &StorePath,
    path: StorePath,
) -> Result<FileStatus, StoreError> {
    let status = writer.close().await?;
    if let Err(error) = store.rename_over(beside, &path, Replace::Always).await {
        // The temporary name must not stay.
        let _ = store.delete_for_good(beside, false).await;
        return Err(error);
    }
    Ok(FileStatus { path, ..status })
}

/// A partial body (RFC 9110, 14.5) or one with a content coding (8.4) must not become the file.
fn check_whole(headers: &HeaderMap) -> Result<(), Problem> {
    if headers.contains_key(header::CONTENT_RANGE) {
        return Err(partial_upload());
    }
    match headers.get(header::CONTENT_ENCODING) {
        Some(coding) if coding != "identity" => Err(coded_upload()),
        _ => Ok(()),
    }
}

/// A caller that guards against concurrent changes by a condition must not lose one. The only
/// condition supported is that nothing exists yet, in a request that replaces nothing.
fn check_conditions(headers: &HeaderMap, may_replace: bool) -> Result<(), Problem> {
    let is_kept = |value: &HeaderValue| value == "*" && !may_replace;
    if headers.contains_key(header::IF_MATCH) {
        return Err(unknown_condition("If-Match"));
    }
    match headers.get(header::IF_NONE_MATCH) {
        Some(value) if !is_kept(value) => Err(unknown_condition("If-None-Match")),
        _ => Ok(()),
    }
}

/// An unused name in the same folder, which no job reads.
fn beside(path: &StorePath) -> Option<StorePath> {
    path.parent()?.join(&format!(".howdah-{}", net::random_hex(8))).ok()
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct RemoveParameters {
    /// The file.
    path: String,
    /// Whether it is gone for good, and its space free at once.
    #[serde(default)]
    skip_trash: bool,
}

/// Removes a file but no folder, as that would be many files.
async fn remove(
    State(state): State<ServerState>,
    caller: Caller,
    UrlQuery(asked): UrlQuery<RemoveParameters>,
    headers: HeaderMap,
) -> Result<StatusCode, Problem> {
    let path = path_of(&asked.path)?;
    check_conditions(&headers, true)?;
    caller.require(Right::Write, path.as_str())?;
    let store = state.store.of_caller(&caller);
    let found = store.stat(&path).await.map_err(|error| of_store(&error))?;
    if found.kind == FileKind::Folder {
        return Err(folder_not_removed(path.as_str()));
    }
    let removed = match asked.skip_trash {
        true => store.delete_for_good(&path, false).await,
        false => store.delete(&path, false).await,
    };
    removed.map(|()| StatusCode::NO_CONTENT).map_err(|error| of_store(&error))
}

async fn write_whole(writer: &mut FileWriter, mut body: BodyDataStream) -> Result<(), Problem> {
    loop {
        let stalled =
            |_| broken_upload(&format!("nothing more came for {} s", STALL_MAX.as_secs()));
        match tokio::time::timeout(STALL_MAX, body.next()).await.map_err(stalled)? {
            Some(Ok(piece)) => writer.write(piece).await.map_err(|error| of_store(&error))?,
            Some(Err(error)) => return Err(broken_upload(&error.to_string())),
            None => return Ok(()),
        }
    }
}

fn path_of(path: &str) -> Result<StorePath, Problem> {
    path.parse().map_err(|error| bad_path(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_download_can_hold_nothing_but_itself() {
        let named = |path: &str| attachment(&path.parse().unwrap()).to_str().unwrap().to_owned();
        assert_eq!(named("/a/part-r-00000"), "attachment; filename*=UTF-8''part-r-00000");
        assert_eq!(named("/a/x\"; y=é"), "attachment; filename*=UTF-8''x%22%3B%20y%3D%C3%A9");
    }

    #[test]
    fn only_so_many_files_pass_at_once() {
        let transfers = Transfers::default();
        let held: Vec<_> = (0..TRANSFERS_MAX).map(|_| transfers.begin().unwrap()).collect();
        let problem = transfers.begin().unwrap_err();
        assert_eq!((problem.status, problem.kind.as_str()), (429, "too-many-requests"));
        drop(held);
        assert!(transfers.begin().is_ok());
    }
}
