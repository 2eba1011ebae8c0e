//! Makes a job's splits: lists its inputs, asks where their chunks are, and cuts them. One split
//! per chunk, in the order of inputs, names and offsets, so that maps get the same ordinals whoever
//! plans.

mod cut;

use chunkstore_client::stores::{Object, OtherStoreError, StoreUrl, Stores, UrlError};
use chunkstore_client::{ChunkStore, CreateOptions, StoreError};
use chunkstore_protocol::{ChunkLocation, FileKind, FileStatus, Located, PathError, StorePath};
use event_loop::{decode_record, encode_record};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use jobtracker_core::{Plan, PlannedSplit, SPLITS_MAX, StagedSplits, StoreOutcome};
use mapreduce_protocol::{JobSpec, is_hidden, is_url};
use xxhash_rust::xxh3::xxh3_128;

use crate::store::{Store, outcome_of, outcome_of_other};
use cut::{Allowance, COUNTED_BYTES_MAX, Found, lines_per_split, packed};

/// Limit on the parallel calls to the chunk master for one job.
const PARALLEL_CALLS: usize = 16;
/// Limit on the entries of one input folder.
const FOLDER_ENTRIES_MAX: usize = 1_000_000;
/// A split list up to this length goes into the journal, where a record has at most 1 MiB.
const INLINE_BYTES_MAX: usize = 256 << 10;
/// Prefix of the names of split lists.
const LIST_PREFIX: &str = "_splits-";
/// Length limit of a split list; a longer file was not written by us.
const STAGED_BYTES_MAX: u64 = 2 << 30;

/// Why there are no splits.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SplitError {
    /// An input no longer exists.
    #[error("input {path} does not exist: put it there, or name another")]
    InputNotFound {
        /// The input.
        path: StorePath,
    },
    /// An input folder has no files that would be read.
    #[error("{}", no_files(path))]
    NoFiles {
        /// The folder, or its URL.
        path: String,
    },
    /// An input is still being written.
    #[error("input {path} is still being written: submit again when its writer has closed it")]
    InputStillOpen {
        /// The file.
        path: StorePath,
    },
    /// An input is a log.
    #[error("{}", no_logs(path))]
    InputIsLog {
        /// The log.
        path: StorePath,
    },
    /// A file's chunks are not contiguous up to its length, so it was replaced between two queries.
    #[error("input {path} was replaced while its splits were made: submit again when it rests")]
    InputReplaced {
        /// The file.
        path: StorePath,
    },
    /// There are too many splits.
    #[error(
        "the input makes more than {SPLITS_MAX} splits: use larger chunks or splits, or fewer files"
    )]
    TooMany,
    /// A file that cannot be read in its format.
    #[error("{reason}")]
    Format {
        /// Which file, why, and what to do.
        reason: String,
    },
    /// Counting the lines of the input would take too long.
    #[error(
        "with {path} the input has more than {COUNTED_BYTES_MAX} bytes: of so many 'input_format: lines' counts the lines before \
         the job begins; read it as 'text', or by several jobs"
    )]
    TooLongToCount {
        /// The first file beyond the limit.
        path: String,
    },
    /// The split list is not the one that was written.
    #[error("the split list {path} is not the one that was written")]
    Altered {
        /// The file.
        path: StorePath,
    },
    /// A path that the chunk store does not accept.
    #[error(transparent)]
    Path(#[from] PathError),
    /// A URL that names no store.
    #[error(transparent)]
    Url(#[from] UrlError),
    /// Another store's error.
    #[error("input {0}")]
    Elsewhere(#[from] OtherStoreError),
    /// The chunk store's error.
    #[error(transparent)]
    Store(Box<StoreError>),
}

impl From<StoreError> for SplitError {
    fn from(error: StoreError) -> Self {
        Self::Store(Box::new(error))
    }
}

/// Makes the splits and the staging folder. If the splits are few, `found` gets them first: the
/// JobTracker journals them while the chunk master makes the folder.
pub(crate) async fn plan(
    store: &Store,
    spec: &JobSpec,
    staging: &str,
    split_bytes: u64,
    found: impl AsyncFnOnce(Vec<PlannedSplit>),
) -> Planned {
    let listed = splits((&store.patient(), store.others()), spec, split_bytes).await;
    let splits = match listed {
        Ok(splits) => splits,
        Err(error) => return Planned::Whole(outcome(Err(error))),
    };
    let bytes = encode_record(&splits);
    if bytes.len() <= INLINE_BYTES_MAX {
        found(splits).await;
        return Planned::Staging(make_staging(store, staging).await);
    }
    Planned::Whole(outcome(with_staged_list(&store.patient(), staging, splits, bytes).await))
}

/// The result of a plan.
pub(crate) enum Planned {
    /// It contains the splits.
    Whole(StoreOutcome<Plan>),
    /// The splits were passed on before; this tells whether the staging folder was made.
    Staging(StoreOutcome<()>),
}

/// Makes the staging folder unless it exists.
pub(crate) async fn make_staging(store: &Store, staging: &str) -> StoreOutcome<()> {
    let make = async {
        let staging: StorePath = staging.parse()?;
        Ok(store.patient().mkdir(&staging, true).await?)
    };
    outcome(make.await)
}

/// Reads back a list that [`plan`] has put into the staging folder.
pub(crate) async fn read(
    store: &ChunkStore,
    list: &StagedSplits,
) -> StoreOutcome<Vec<PlannedSplit>> {
    outcome(try_read(store, list).await)
}

fn outcome<T>(result: Result<T, SplitError>) -> StoreOutcome<T> {
    match result {
        Ok(done) => StoreOutcome::Done(done),
        Err(SplitError::Store(error)) => outcome_of(&error),
        Err(SplitError::Elsewhere(error)) => outcome_of_other(&error),
        Err(error) => StoreOutcome::Refused { reason: error.to_string() },
    }
}

/// Makes the staging folder, and writes a list into it that is too long for the journal.
async fn with_staged_list(
    store: &ChunkStore,
    staging: &str,
    splits: Vec<PlannedSplit>,
    bytes: Vec<u8>,
) -> Result<Plan, SplitError> {
    let staging: StorePath = staging.parse()?;
    store.mkdir(&staging, true).await?;
    // An earlier try may have left a list, or may still reach the chunk master: each has a name of
    // its own.
    remove_former_lists(store, &staging).await?;
    let path = staging.join(&format!("{LIST_PREFIX}{}", net::random_hex(8)))?;
    let staged = StagedSplits { path: path.to_string(), digest: digest(&bytes) };
    store.write_all(&path, bytes, CreateOptions::default()).await?;
    Ok(Plan { splits, staged: Some(staged) })
}

/// Removes lists left by earlier plans of the same job, which no record refers to.
pub(crate) async fn remove_former_lists(
    store: &ChunkStore,
    staging: &StorePath,
) -> Result<(), StoreError> {
    let entries = store.list_all(staging, FOLDER_ENTRIES_MAX).await?;
    let is_list = |it: &&FileStatus| it.path.name().is_some_and(|it| it.starts_with(LIST_PREFIX));
    for list in entries.iter().filter(is_list) {
        match store.delete_for_good(&list.path, false).await {
            Ok(()) | Err(StoreError::NotFound { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

async fn try_read(
    store: &ChunkStore,
    list: &StagedSplits,
) -> Result<Vec<PlannedSplit>, SplitError> {
    let path: StorePath = list.path.parse()?;
    let bytes = store.read_all(&path, STAGED_BYTES_MAX).await?;
    let same = digest(&bytes) == list.digest;
    decode_record(&bytes).ok().filter(|_| same).ok_or(SplitError::Altered { path })
}

fn digest(bytes: &[u8]) -> String {
    format!("{:032x}", xxh3_128(bytes))
}

/// A file or object to be read.
enum Source {
    File(StorePath),
    Object(Object),
}

async fn splits(
    (store, others): (&ChunkStore, &Stores),
    spec: &JobSpec,
    split_bytes: u64,
) -> Result<Vec<PlannedSplit>, SplitError> {
    let listed = stream::iter(spec.input.clone()).map(|input| async move {
        if is_url(&input) {
            return objects_of(others, input.parse()?).await;
        }
        let files = files_of(store, input.parse()?).await?;
        Ok::<Vec<_>, SplitError>(files.into_iter().map(Source::File).collect())
    });
    let sources: Vec<Source> = listed.buffered(PARALLEL_CALLS).try_concat().await?;
    let located = stream::iter(sources).map(|source| async move {
        match source {
            Source::Object(object) => Ok(Found::object(object)),
            Source::File(file) => {
                locate(store, file).await.map(|(file, all)| Found::file(&file, all))
            }
        }
    });
    let mut located = std::pin::pin!(located.buffered(PARALLEL_CALLS));
    let formats = spec.formats();
    let (mut splits, mut allowance) = (Vec::new(), Allowance::default());
    while let Some(found) = located.try_next().await? {
        splits.extend(match lines_per_split(&formats) {
            Some(n) => found.cut_by_lines((store, others), &formats, n, &mut allowance).await?,
            None => found.cut(&formats, split_bytes),
        });
        if splits.len() > SPLITS_MAX {
            return Err(SplitError::TooMany);
        }
    }
    Ok(if spec.combines_files() { packed(splits, split_bytes) } else { splits })
}

/// The files that an input stands for, sorted by name; empty ones make no split.
async fn files_of(store: &ChunkStore, input: StorePath) -> Result<Vec<StorePath>, SplitError> {
    let status = match store.stat(&input).await {
        Err(StoreError::NotFound { path, .. }) => return Err(SplitError::InputNotFound { path }),
        status => status?,
    };
    let entries = match status.kind {
        FileKind::File { .. } => vec![status],
        FileKind::Folder => {
            let mut entries = store.list_all(&input, FOLDER_ENTRIES_MAX).await?;
            entries.retain(is_read);
            if entries.is_empty() {
                return Err(SplitError::NoFiles { path: input.to_string() });
            }
            entries
        }
    };
    entries.into_iter().filter_map(|entry| to_read(entry).transpose()).collect()
}

/// The objects that a URL stands for, sorted by name; empty ones make no split.
async fn objects_of(others: &Stores, url: StoreUrl) -> Result<Vec<Source>, SplitError> {
    let store = others.open(&url)?;
    let mut objects: Vec<_> = store.find(url.path()).await?.into_iter().collect();
    if objects.is_empty() {
        objects = store.list_level(url.path(), FOLDER_ENTRIES_MAX).await?;
        objects.retain(|object| is_read_object(object.url.path().filename()));
        if objects.is_empty() {
            return Err(SplitError::NoFiles { path: url.to_string() });
        }
    }
    objects.retain(|object| object.bytes > 0);
    Ok(objects.into_iter().map(Source::Object).collect())
}

/// The same as [`is_read`], for the name of an object.
pub(crate) fn is_read_object(name: Option<&str>) -> bool {
    name.is_some_and(|name| !is_hidden(name))
}

/// Whether an entry of an input folder is read: it is a file, and not one of those that jobs leave
/// beside data.
pub(crate) fn is_read(entry: &FileStatus) -> bool {
    let is_file = matches!(entry.kind, FileKind::File { .. });
    is_file && !entry.path.name().is_some_and(is_hidden)
}

/// Empty folders are refused: more often than wanting an empty output, somebody mistyped a name.
pub(crate) fn no_files(folder: &str) -> String {
    format!(
        "input folder {folder} holds no files (subfolders, and names that begin with '_' or '.', are not read): name the folders that hold the files, or put files there"
    )
}

/// Whether it is a log, whose length is not final: the latest appends are in its open chunk.
pub(crate) fn is_log(entry: &FileStatus) -> bool {
    matches!(entry.kind, FileKind::File { log: true, .. })
}

/// Why a log is not read, and what to do.
pub(crate) fn no_logs(log: &StorePath) -> String {
    format!(
        "input {log} is a log, which no job reads, since it may get longer while the job runs: write what it holds into a file \
         with `howdah fs cat {log} | howdah fs put - PATH`, and name that"
    )
}

/// A file's path, unless it is empty.
fn to_read(status: FileStatus) -> Result<Option<StorePath>, SplitError> {
    match status.kind {
        FileKind::File { log: true, .. } => Err(SplitError::InputIsLog { path: status.path }),
        FileKind::File { open: true, .. } => Err(SplitError::InputStillOpen { path: status.path }),
        FileKind::File { length, .. } => Ok(Some(status.path).filter(|_| length > 0)),
        FileKind::Folder => Ok(None),
    }
}

/// All chunks of `file`. The chunk master returns only so many per call.
async fn locate(store: &ChunkStore, file: StorePath) -> Result<(StorePath, Located), SplitError> {
    let mut all = locate_from(store, &file, 0).await?;
    check_row(&file, 0, &all.chunks)?;
    loop {
        let end = all.chunks.last().map_or(0, |chunk| chunk.offset + chunk.length);
        if end >= all.length {
            return Ok((file, all));
        }
        if all.chunks.len() > SPLITS_MAX {
            return Err(SplitError::TooMany);
        }
        let more = locate_from(store, &file, end).await?;
        if more.length != all.length || more.chunks.is_empty() {
            return Err(SplitError::InputReplaced { path: file });
        }
        check_row(&file, end, &more.chunks)?;
        all.chunks.extend(more.chunks);
    }
}

async fn locate_from(
    store: &ChunkStore,
    file: &StorePath,
    offset: u64,
) -> Result<Located, SplitError> {
    match store.locate(file, offset, None).await {
        Err(StoreError::NotFound { path, .. }) => Err(SplitError::InputNotFound { path }),
        located => Ok(located?),
    }
}

/// Checks that the chunks are contiguous from `start` on: no map would read the bytes in a gap.
fn check_row(file: &StorePath, start: u64, chunks: &[ChunkLocation]) -> Result<(), SplitError> {
    let mut end = start;
    for chunk in chunks {
        if chunk.offset != end || chunk.length == 0 {
            return Err(SplitError::InputReplaced { path: file.clone() });
        }
        end += chunk.length;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use mapreduce_protocol::Formats;

    use super::*;

    #[tokio::test]
    async fn objects_are_listed_by_name_and_cut_by_length_with_their_e_tags() {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in [("b", "0123456789"), ("a", "xyz"), ("_SUCCESS", "x"), ("empty", "")] {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        let access = chunkstore_client::stores::StoreAccess::local_files();
        let stores = Stores::new(vec![access], std::time::Duration::ZERO);
        let url = format!("file://{}", folder.path().display());
        let sources = objects_of(&stores, url.parse().unwrap()).await.unwrap();
        let mut splits = Vec::new();
        for source in &sources {
            let Source::Object(object) = source else { panic!("a file of the chunk store") };
            splits.extend(Found::object(object.clone()).cut(&Formats::default(), 4));
        }
        let pieces = splits.iter().map(|planned| &planned.split.pieces[0]);
        let found: Vec<_> =
            pieces.clone().map(|p| (p.path.to_string(), p.offset, p.length)).collect();
        let (a, b) = (format!("{url}/a"), format!("{url}/b"));
        assert_eq!(found, [(a, 0, 3), (b.clone(), 0, 4), (b.clone(), 4, 4), (b, 8, 2)]);
        assert!(pieces.clone().all(|piece| piece.e_tag.is_some() && piece.file_length >= 3));
        assert!(splits.iter().all(|planned| planned.homes.is_empty()));
        let one = objects_of(&stores, format!("{url}/a").parse().unwrap()).await.unwrap();
        assert_eq!(one.len(), 1);
        let none = objects_of(&stores, format!("{url}/no").parse().unwrap()).await;
        assert!(none.err().unwrap().to_string().contains("holds no files"));
    }

    #[test]
    fn a_folders_hidden_entries_subfolders_and_empty_files_are_not_read() {
        let status = |path: &str, kind| FileStatus {
            path: path.parse().unwrap(),
            owner: "tester".to_owned(),
            created: ids::UnixMillis(0),
            modified: ids::UnixMillis(0),
            kind,
        };
        let file_or_log = |path: &str, length, open, log| {
            let (file, replication, n_chunks) = (chunkstore_protocol::FileId(1), 1, 1);
            let (chunk_bytes, cut) = (1, false);
            let kind =
                FileKind::File { file, length, replication, chunk_bytes, n_chunks, open, cut, log };
            status(path, kind)
        };
        let file = |path: &str, length, open| file_or_log(path, length, open, false);
        assert!(!is_read(&file("/in/_SUCCESS", 1, false)));
        assert!(!is_read(&file("/in/.x", 1, false)));
        assert!(!is_read(&status("/in/sub", FileKind::Folder)));
        assert!(is_read(&file("/_in/x", 0, true)));
        assert_eq!(to_read(file("/in/a", 1, false)).unwrap().unwrap().as_str(), "/in/a");
        assert!(to_read(file("/in/a", 0, false)).unwrap().is_none());
        assert!(to_read(file("/in/a", 1, true)).unwrap_err().to_string().contains("still being"));
        // A log is refused as such, even if none of its chunks is sealed and its length is 0.
        for length in [0, 1] {
            let log = file_or_log("/in/log", length, false, true);
            assert!(is_read(&log) && is_log(&log));
            let refused = to_read(log).unwrap_err().to_string();
            assert!(
                refused.contains("/in/log is a log") && refused.contains("fs cat"),
                "{refused}"
            );
        }
    }
}
