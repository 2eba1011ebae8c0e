//! Checks of a job against the chunk store before it is submitted to the core: its inputs exist and
//! hold files, its output does not exist. (The core refuses a second job with the same output.)

use chunkstore_client::stores::{OtherStoreError, StoreUrl, Stores, UrlError};
use chunkstore_client::{ChunkStore, StoreError};
use chunkstore_protocol::{FileKind, PathError, StorePath};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use jobtracker_core::InvalidJob;
use mapreduce_protocol::{JobSpec, Program, ProgramFileTooLong, check_program_file, is_url};
use net::Caller;

use crate::splits::{is_log, is_read, is_read_object, no_files, no_logs};
use crate::store::Store;

/// Limit on the parallel calls to the chunk master for one job.
const PARALLEL_CALLS: usize = 16;
/// Page size for listing an input folder: mostly one of the first entries is a file.
const PAGE_ENTRIES: u32 = 1000;

/// Why a job is not submitted to the core.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AdmissionError {
    /// The job cannot be run as it is specified.
    #[error(transparent)]
    Invalid(#[from] InvalidJob),
    /// A path that the chunk store does not accept.
    #[error(transparent)]
    Path(#[from] PathError),
    /// An input does not exist.
    #[error("input {path} does not exist: put it there with `howdah fs put`, or name another")]
    InputNotFound {
        /// The input.
        path: StorePath,
    },
    /// An input folder has no files that would be read.
    #[error("{}", no_files(path))]
    InputWithoutFiles {
        /// The folder, or its URL.
        path: String,
    },
    /// An input, or a file in an input folder, is a log.
    #[error("{}", no_logs(path))]
    InputIsLog {
        /// The log.
        path: StorePath,
    },
    /// The output exists.
    #[error(
        "output {path} exists: choose another, remove it with `howdah fs rm -r`, or let `howdah job submit --overwrite` put it in the trash"
    )]
    OutputExists {
        /// The output.
        path: StorePath,
    },
    /// The output is in another store and holds objects.
    #[error(
        "output {url} holds objects already: choose another, or remove them with `howdah fs rm -r`"
    )]
    OutputHoldsObjects {
        /// The output.
        url: StoreUrl,
    },
    /// A URL that names no store.
    #[error(transparent)]
    Url(#[from] UrlError),
    /// Another store does not answer, or refuses.
    #[error("the job can't be checked against another store: {0}")]
    Elsewhere(#[from] OtherStoreError),
    /// The executable of a native program, or a file of a streaming program, does not exist or is a
    /// folder.
    #[error(
        "the program's file {path} is no file of the chunk store: put it there, or let `howdah job submit` do so"
    )]
    NoProgramFile {
        /// Where it should be.
        path: StorePath,
    },
    /// A program's file is too large to be copied to hosts.
    #[error("the program's file {path} can't be brought along: {source}")]
    ProgramFileTooLong {
        /// Where it is.
        path: StorePath,
        /// How long it is.
        source: ProgramFileTooLong,
    },
    /// The output would be in a folder that the user may not write to.
    #[error("the job's output can't be made: {said}")]
    NotYours {
        /// What the chunk master says.
        said: String,
    },
    /// The chunk store does not answer, or refuses.
    #[error("the job can't be checked against the chunk store: {0}")]
    Store(Box<StoreError>),
}

impl From<StoreError> for AdmissionError {
    fn from(error: StoreError) -> Self {
        Self::Store(Box::new(error))
    }
}

/// A path of the chunk store, or a URL of another store.
#[derive(Clone, Debug)]
pub(crate) enum Place {
    Own(StorePath),
    Url(StoreUrl),
}

impl Place {
    fn parse(text: &str) -> Result<Self, AdmissionError> {
        Ok(match is_url(text) {
            true => Self::Url(text.parse()?),
            false => Self::Own(text.parse()?),
        })
    }

    /// See [`resource`].
    pub(crate) fn resource(&self) -> &str {
        match self {
            Self::Own(path) => path.as_str(),
            Self::Url(_) => "/",
        }
    }
}

/// The resource that a caller's token must cover for a place: only a token for everything reaches
/// other stores.
pub(crate) fn resource(place: &str) -> &str {
    if is_url(place) { "/" } else { place }
}

/// Normalises each place: paths without `howdah://`, URLs without a trailing slash. What is neither
/// stays, and will be refused. Also writes down the default compression where none is given.
pub(crate) fn normalise(spec: &mut JobSpec) {
    for place in spec.input.iter_mut().chain([&mut spec.output]) {
        *place = match place.parse::<StoreUrl>() {
            Ok(url) => url.to_string(),
            Err(_) => StoreUrl::without_own_scheme(place).to_owned(),
        };
    }
    spec.write_compression_down();
}

/// The parsed paths of a job.
pub(crate) struct JobPaths {
    pub(crate) inputs: Vec<Place>,
    pub(crate) output: Place,
    /// The program's executable and other files.
    pub(crate) files: Vec<StorePath>,
}

/// Checks what can be checked without the chunk store.
///
/// # Errors
/// The first rule that the job breaks.
pub(crate) fn check_spec(spec: &JobSpec) -> Result<JobPaths, AdmissionError> {
    jobtracker_core::validate(spec)?;
    let executable = match &spec.program {
        Program::Native(native) => Some(&native.executable),
        Program::Streaming(_) | Program::Builtin(_) => None,
    };
    let files = executable.into_iter().chain(spec.program.shipped().map(|file| &file.path));
    let files = files.map(|path| path.parse()).collect::<Result<_, _>>()?;
    Ok(JobPaths {
        inputs: spec.input.iter().map(|input| Place::parse(input)).collect::<Result<_, _>>()?,
        output: Place::parse(&spec.output)?,
        files,
    })
}

/// Checks the job against the chunk store.
///
/// # Errors
/// When an input or a file of the program is missing, the output is there, or there is no answer.
pub(crate) async fn check_store(store: &Store, paths: &JobPaths) -> Result<(), AdmissionError> {
    let (others, store) = (store.others(), &store.prompt());
    let inputs = stream::iter(paths.inputs.clone())
        .map(|input| async move {
            match input {
                Place::Own(path) => check_input(store, path).await,
                Place::Url(url) => check_input_elsewhere(others, url).await,
            }
        })
        .buffered(PARALLEL_CALLS)
        .try_collect::<()>();
    let files = stream::iter(paths.files.clone())
        .map(|path| find_program_file(store, path))
        .buffered(PARALLEL_CALLS)
        .try_collect::<()>();
    let output = async {
        match &paths.output {
            Place::Own(path) => check_output(store, path).await,
            Place::Url(url) => check_output_elsewhere(others, url).await,
        }
    };
    tokio::try_join!(inputs, files, output)?;
    Ok(())
}

/// Asks the chunk master on behalf of the user whether they may make the output.
///
/// # Errors
/// When they may not, or there is no answer.
pub(crate) async fn check_owner(
    store: &Store,
    user: &Caller,
    output: &Place,
) -> Result<(), AdmissionError> {
    let Place::Own(path) = output else { return Ok(()) };
    match store.of_caller(user).may_make(path).await {
        Err(StoreError::Forbidden { problem, .. }) => {
            Err(AdmissionError::NotYours { said: problem.detail })
        }
        asked => Ok(asked?),
    }
}

async fn check_input_elsewhere(others: &Stores, url: StoreUrl) -> Result<(), AdmissionError> {
    let store = others.open(&url)?;
    if store.find(url.path()).await?.is_some() {
        return Ok(());
    }
    match store.may_hold(url.path(), |name| is_read_object(Some(name))).await? {
        true => Ok(()),
        false => Err(AdmissionError::InputWithoutFiles { path: url.to_string() }),
    }
}

async fn check_output_elsewhere(others: &Stores, url: &StoreUrl) -> Result<(), AdmissionError> {
    let store = others.open(url)?;
    let is_free = store.find(url.path()).await?.is_none() && store.is_empty(url.path()).await?;
    match is_free {
        true => Ok(()),
        false => Err(AdmissionError::OutputHoldsObjects { url: url.clone() }),
    }
}

async fn check_input(store: &ChunkStore, input: StorePath) -> Result<(), AdmissionError> {
    let is_folder = match store.stat(&input).await {
        Ok(status) if is_log(&status) => return Err(AdmissionError::InputIsLog { path: input }),
        Ok(status) => matches!(status.kind, FileKind::Folder),
        Err(StoreError::NotFound { .. }) => {
            return Err(AdmissionError::InputNotFound { path: input });
        }
        Err(error) => return Err(error.into()),
    };
    match is_folder && !has_files(store, &input).await? {
        true => Err(AdmissionError::InputWithoutFiles { path: input.to_string() }),
        false => Ok(()),
    }
}

/// Stops at the first page with a file to read: a log after that fails the job's plan.
async fn has_files(store: &ChunkStore, folder: &StorePath) -> Result<bool, AdmissionError> {
    let mut after = None;
    loop {
        let page = store.list(folder, after, PAGE_ENTRIES).await?;
        if let Some(log) = page.entries.iter().find(|entry| is_read(entry) && is_log(entry)) {
            return Err(AdmissionError::InputIsLog { path: log.path.clone() });
        }
        if page.entries.iter().any(is_read) {
            return Ok(true);
        }
        match page.next {
            Some(next) => after = Some(next),
            None => return Ok(false),
        }
    }
}

async fn check_output(store: &ChunkStore, output: &StorePath) -> Result<(), AdmissionError> {
    match store.exists(output).await? {
        true => Err(AdmissionError::OutputExists { path: output.clone() }),
        false => Ok(()),
    }
}

async fn find_program_file(store: &ChunkStore, path: StorePath) -> Result<(), AdmissionError> {
    match store.stat(&path).await {
        Ok(status) => judge_program_file(path, &status.kind),
        Err(StoreError::NotFound { .. }) => Err(AdmissionError::NoProgramFile { path }),
        Err(error) => Err(error.into()),
    }
}

fn judge_program_file(path: StorePath, kind: &FileKind) -> Result<(), AdmissionError> {
    let FileKind::File { length, .. } = kind else {
        return Err(AdmissionError::NoProgramFile { path });
    };
    check_program_file(*length)
        .map_err(|source| AdmissionError::ProgramFileTooLong { path, source })
}

#[cfg(test)]
mod tests {
    use chunkstore_protocol::FileId;
    use mapreduce_protocol::PROGRAM_FILE_BYTES_MAX;

    use super::*;

    #[test]
    fn a_program_that_no_host_is_to_copy_is_refused() {
        let path = || "/p".parse::<StorePath>().unwrap();
        let judge = |length| {
            let kind = FileKind::File {
                file: FileId(1),
                length,
                replication: 3,
                chunk_bytes: 1 << 26,
                n_chunks: length.div_ceil(1 << 26),
                open: false,
                cut: false,
                log: false,
            };
            judge_program_file(path(), &kind)
        };
        assert!(judge(PROGRAM_FILE_BYTES_MAX).is_ok());
        let refused = judge(PROGRAM_FILE_BYTES_MAX + 1).unwrap_err();
        let said = refused.to_string();
        assert!(said.contains("/p ") && said.contains("2147483649 bytes"), "{said}");
        let folder = judge_program_file(path(), &FileKind::Folder);
        assert!(matches!(folder, Err(AdmissionError::NoProgramFile { .. })));
    }
}
