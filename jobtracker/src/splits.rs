//! Makes a job's splits: lists its inputs, asks where their chunks are, cuts. One split for each chunk,
//! in the order of inputs, names and offsets, so that the ordinals of maps are the same whoever plans.

use chunkstore_client::{ChunkStore, CreateOptions, StoreError};
use chunkstore_protocol::{ChunkLocation, FileKind, FileStatus, Located, PathError, StorePath};
use event_loop::{decode_record, encode_record};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use jobtracker_core::{Home, Plan, PlannedSplit, SPLITS_MAX, StagedSplits, StoreOutcome};
use mapreduce_protocol::{JobSpec, Split, SplitPiece};
use xxhash_rust::xxh3::xxh3_128;

use crate::store::outcome_of;

/// Calls to the chunk master of one job at once.
const PARALLEL_CALLS: usize = 16;
/// Entries of one input folder, at most.
const FOLDER_ENTRIES_MAX: usize = 1_000_000;
/// A split list up to this length goes into the journal; a record has at most 1 MiB.
const INLINE_BYTES_MAX: usize = 256 << 10;
/// A split list that is longer than this is not ours.
const STAGED_BYTES_MAX: u64 = 2 << 30;

/// Why there are no splits.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SplitError {
    /// An input is not there any more.
    #[error("input {path} does not exist: put it there, or name another")]
    InputNotFound {
        /// The input.
        path: StorePath,
    },
    /// An input folder without any file that would be read.
    #[error("{}", no_files(path))]
    NoFiles {
        /// The folder.
        path: StorePath,
    },
    /// An input is still being written.
    #[error("input {path} is still being written: submit again when its writer has closed it")]
    InputStillOpen {
        /// The file.
        path: StorePath,
    },
    /// Its chunks do not follow each other up to its length, so it was replaced between two questions.
    #[error("input {path} was replaced while its splits were made: submit again when it rests")]
    InputReplaced {
        /// The file.
        path: StorePath,
    },
    /// Too many of them.
    #[error(
        "the input makes more than {SPLITS_MAX} splits: use larger chunks or splits, or fewer files"
    )]
    TooMany,
    /// The split list that was written down is not the one that is there.
    #[error("the split list {path} is not the one that was written")]
    Altered {
        /// The file.
        path: StorePath,
    },
    /// A path that the chunk store does not take.
    #[error(transparent)]
    Path(#[from] PathError),
    /// The chunk store's no.
    #[error(transparent)]
    Store(Box<StoreError>),
}

impl From<StoreError> for SplitError {
    fn from(error: StoreError) -> Self {
        Self::Store(Box::new(error))
    }
}

/// Makes the staging folder and the splits.
pub(crate) async fn plan(
    store: &ChunkStore,
    spec: &JobSpec,
    staging: &str,
    split_bytes: u64,
) -> StoreOutcome<Plan> {
    outcome(try_plan(store, spec, staging, split_bytes).await)
}

/// Reads a list back that [`plan`] has put into the staging folder.
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
        Err(error) => StoreOutcome::Refused { reason: error.to_string() },
    }
}

async fn try_plan(
    store: &ChunkStore,
    spec: &JobSpec,
    staging: &str,
    split_bytes: u64,
) -> Result<Plan, SplitError> {
    let staging: StorePath = staging.parse()?;
    let made = async { Ok(store.mkdir(&staging, true).await?) };
    let ((), splits) = tokio::try_join!(made, splits(store, spec, split_bytes))?;
    let bytes = encode_record(&splits);
    if bytes.len() <= INLINE_BYTES_MAX {
        return Ok(Plan { splits, staged: None });
    }
    // An earlier try may have left one: each has a name of its own.
    let path = staging.join(&format!("_splits-{}", net::random_hex(8)))?;
    let staged = StagedSplits { path: path.to_string(), digest: digest(&bytes) };
    store.write_all(&path, bytes, CreateOptions::default()).await?;
    Ok(Plan { splits, staged: Some(staged) })
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

async fn splits(
    store: &ChunkStore,
    spec: &JobSpec,
    split_bytes: u64,
) -> Result<Vec<PlannedSplit>, SplitError> {
    let inputs = spec.input.iter().map(|input| input.parse::<StorePath>());
    let inputs = inputs.collect::<Result<Vec<_>, _>>()?;
    let listed = stream::iter(inputs).map(|input| files_of(store, input)).buffered(PARALLEL_CALLS);
    let files: Vec<StorePath> = listed.try_concat().await?;
    let mut located = stream::iter(files).map(|file| locate(store, file)).buffered(PARALLEL_CALLS);
    let mut splits = Vec::new();
    while let Some((file, chunks)) = located.try_next().await? {
        cut(&file, &chunks, split_bytes, &mut splits);
        if splits.len() > SPLITS_MAX {
            return Err(SplitError::TooMany);
        }
    }
    Ok(splits)
}

/// The files that an input means, sorted by name; empty ones make no split.
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
                return Err(SplitError::NoFiles { path: input });
            }
            entries
        }
    };
    entries.into_iter().filter_map(|entry| to_read(entry).transpose()).collect()
}

/// Whether an input folder's entry is read: a file, and not one of those that jobs leave beside data.
pub(crate) fn is_read(entry: &FileStatus) -> bool {
    let is_file = matches!(entry.kind, FileKind::File { .. });
    is_file && !entry.path.name().is_some_and(|name| name.starts_with(['_', '.']))
}

/// An empty folder is more often a wrong name than a wish for an empty output.
pub(crate) fn no_files(folder: &StorePath) -> String {
    format!(
        "input folder {folder} holds no files (subfolders, and names that begin with '_' or '.', are not read): name the folders that hold the files, or put files there"
    )
}

/// A file's path, unless it is empty.
fn to_read(status: FileStatus) -> Result<Option<StorePath>, SplitError> {
    match status.kind {
        FileKind::File { open: true, .. } => Err(SplitError::InputStillOpen { path: status.path }),
        FileKind::File { length, .. } => Ok(Some(status.path).filter(|_| length > 0)),
        FileKind::Folder => Ok(None),
    }
}

/// All chunks of `file`. The chunk master tells so many at once and no more.
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

/// Whether the chunks follow each other from `start` on: a gap would be bytes that no map reads.
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

fn cut(file: &StorePath, located: &Located, split_bytes: u64, splits: &mut Vec<PlannedSplit>) {
    for chunk in &located.chunks {
        let homes = homes(chunk);
        let end = chunk.offset + chunk.length;
        let step = usize::try_from(split_bytes.max(1)).unwrap_or(usize::MAX);
        for offset in (chunk.offset..end).step_by(step) {
            let piece = SplitPiece {
                path: file.to_string(),
                offset,
                length: split_bytes.max(1).min(end - offset),
                file_length: located.length,
            };
            let split = Split { pieces: vec![piece] };
            splits.push(PlannedSplit { split, homes: homes.clone() });
            if splits.len() > SPLITS_MAX {
                return;
            }
        }
    }
}

fn homes(chunk: &ChunkLocation) -> Vec<Home> {
    let home = |server: &chunkstore_protocol::ServerAddress| Home {
        host: server.host.clone(),
        rack: server.rack.clone(),
    };
    chunk.servers.iter().map(home).collect()
}

#[cfg(test)]
mod tests {
    use chunkstore_protocol::{ChunkId, FileId, ServerAddress, Version};

    use super::*;

    #[test]
    fn splits_follow_chunks_and_are_cut_further_where_they_are_long() {
        let server = ServerAddress {
            host: "host-1".parse().unwrap(),
            rack: "/rack-1".parse().unwrap(),
            address: "127.0.0.1:1".to_owned(),
        };
        let chunk = |id, offset, length| ChunkLocation {
            chunk: ChunkId(id),
            version: Version(1),
            offset,
            length,
            checksum: 0,
            servers: vec![server.clone()],
            token: String::new(),
        };
        let located =
            Located { file: FileId(1), length: 25, chunks: vec![chunk(1, 0, 20), chunk(2, 20, 5)] };
        let mut splits = Vec::new();
        cut(&"/in/a".parse().unwrap(), &located, 8, &mut splits);
        let ranges: Vec<_> = splits
            .iter()
            .map(|planned| &planned.split.pieces[0])
            .map(|piece| (piece.offset, piece.length, piece.file_length))
            .collect();
        assert_eq!(ranges, [(0, 8, 25), (8, 8, 25), (16, 4, 25), (20, 5, 25)]);
        assert!(splits.iter().all(|planned| planned.homes[0].host.as_str() == "host-1"));
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
        let file = |path: &str, length, open| {
            let (file, replication, n_chunks) = (chunkstore_protocol::FileId(1), 1, 1);
            let (chunk_bytes, cut) = (1, false);
            let kind =
                FileKind::File { file, length, replication, chunk_bytes, n_chunks, open, cut };
            status(path, kind)
        };
        assert!(!is_read(&file("/in/_SUCCESS", 1, false)));
        assert!(!is_read(&file("/in/.x", 1, false)));
        assert!(!is_read(&status("/in/sub", FileKind::Folder)));
        assert!(is_read(&file("/_in/x", 0, true)));
        assert_eq!(to_read(file("/in/a", 1, false)).unwrap().unwrap().as_str(), "/in/a");
        assert!(to_read(file("/in/a", 0, false)).unwrap().is_none());
        assert!(to_read(file("/in/a", 1, true)).unwrap_err().to_string().contains("still being"));
    }
}
