//! A job on its way into the cluster and to its end: the author's executable is put once, the job is
//! submitted once, its end awaited through restarts of the JobTracker. `job` and `demo` call it.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, anyhow};
use bytes::Bytes;
use chunkstore_client::{ChunkStore, CreateOptions, StoreError};
use chunkstore_protocol::path::PROGRAMS_FOLDER;
use chunkstore_protocol::{FileKind, StorePath};
use mapreduce_protocol::streaming::{Command, CommandRole};
use mapreduce_protocol::{
    JobAccepted, JobId, JobSpec, JobState, JobStatus, PROGRAM_FILE_BYTES_MAX, Program, ShippedFile,
};
use serde::{Deserialize, Serialize};

use crate::exit::{Interrupted, OrEarly};
use crate::job_file::{JobFile, stored};
use crate::jobs::Jobs;
use crate::progress::JobProgress;
use crate::sampling;
use crate::session::Session;
use crate::signals::Termination;

/// Time between two looks at a job.
const STATUS_INTERVAL: Duration = Duration::from_millis(250);

/// Submits a checked job; a native program's executable, and what a program brings along, are put into the chunk
/// store first, if all of it is there. `end` ends it before its answer.
pub(crate) async fn submit(
    session: &Session,
    job: &JobFile,
    end: &mut Termination,
) -> anyhow::Result<JobAccepted> {
    say_left_behind(job);
    let spec = prepared(session, job, &mut Shipped::default(), end).await?;
    let accepted = end.or_soon(session.jobs().submit(&spec)).await;
    let remains = "the job may have been submitted: `howdah job list` tells".to_owned();
    Ok(accepted.map_err(|by| Interrupted { by, remains })??)
}

/// Where local programs and files were put, by their paths as they are written.
pub(crate) type Shipped = BTreeMap<String, ShippedAs>;

/// A file of the chunk store, and its digest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ShippedAs {
    path: String,
    sha256: String,
}

/// The job as the JobTracker takes it: all that it brings along is in the chunk store, and a sort knows where its
/// parts begin. What is in `shipped` is there already, and need not be here.
pub(crate) async fn prepared(
    session: &Session,
    job: &JobFile,
    shipped: &mut Shipped,
    end: &mut Termination,
) -> anyhow::Result<JobSpec> {
    let mut spec: JobSpec = job.spec.clone();
    ship_local(session, job, shipped, end).await?;
    if let Program::Native(native) = &mut spec.program
        && let Some(at) = shipped.get(&native.executable)
    {
        (native.executable, native.sha256) = (at.path.clone(), Some(at.sha256.clone()));
    }
    ship_stored(session, &mut spec.program, shipped, end).await?;
    if sampling::is_wanted(&spec) {
        session.jobs().is_there().await?;
        let store = session.store().await?;
        let sampled = end.or_soon(sampling::sample_store(&store, &mut spec)).await;
        let remains = "nothing was submitted".to_owned();
        sampled.map_err(|by| Interrupted { by, remains })?.context(
            "reading a sample of the input, to know where the parts of the output begin",
        )?;
    }
    Ok(spec)
}

/// Puts the job's executable and the local files that it brings along into the chunk store, but those that are there.
pub(crate) async fn ship_local(
    session: &Session,
    job: &JobFile,
    shipped: &mut Shipped,
    end: &mut Termination,
) -> anyhow::Result<()> {
    let is_new = |it: &&ShippedFile| stored(it).is_none() && !shipped.contains_key(&it.path);
    let new: Vec<ShippedFile> = job.spec.program.shipped().filter(is_new).cloned().collect();
    // All of it is here before anything is left in the chunk store.
    new.iter().try_for_each(|file| job.check_shipped(file)).or_early()?;
    if let Program::Native(native) = &job.spec.program
        && !shipped.contains_key(&native.executable)
        && let Some(executable) = job.read_executable().or_early()?
    {
        session.jobs().is_there().await?;
        let at = put_as(&session.store().await?, executable, end).await;
        shipped.insert(native.executable.clone(), at.context("shipping the executable")?);
    }
    if new.is_empty() {
        return Ok(());
    }
    session.jobs().is_there().await?;
    let store = session.store().await?;
    for file in new {
        let bytes = job.read_shipped(&file).or_early()?;
        let at = put_as(&store, bytes, end).await;
        let at = at.with_context(|| format!("shipping {}", file.path))?;
        shipped.insert(file.path, at);
    }
    Ok(())
}

async fn put_as(
    store: &ChunkStore,
    bytes: Vec<u8>,
    end: &mut Termination,
) -> anyhow::Result<ShippedAs> {
    let sha256 = sha256_of(&bytes);
    let path = put_program(store, &sha256, bytes, end).await?.to_string();
    Ok(ShippedAs { path, sha256 })
}

/// Warns of files that commands name and the job does not bring along.
pub(crate) fn say_left_behind(job: &JobFile) {
    for (role, name) in left_behind(job) {
        let name = crate::say::plain(&name);
        crate::say::say!(
            "warning: the {role} names {name}, which lies beside the job file and is not among its 'files': commands will \
             not find it"
        );
    }
}

/// Files beside the job file that a command names and the job does not bring along: the hosts will not have them.
/// Each with the command's role.
fn left_behind(job: &JobFile) -> Vec<(CommandRole, String)> {
    let Program::Streaming(streaming) = &job.spec.program else { return Vec::new() };
    let names: Vec<&str> = job.spec.program.shipped().map(|file| file.name.as_str()).collect();
    let is_left = |word: &String| {
        let name = word.strip_prefix("./").unwrap_or(word);
        !name.is_empty()
            && !Path::new(name).is_absolute()
            && !names.contains(&name.split('/').next().unwrap_or_default())
            && job.beside(name).is_file()
    };
    let mut left = Vec::new();
    for role in [CommandRole::Mapper, CommandRole::Combiner, CommandRole::Reducer] {
        let words = match streaming.command(role).map(str::parse) {
            Some(Ok(Command::Words(words))) => words,
            Some(Ok(Command::Shell(line))) => line.split_whitespace().map(str::to_owned).collect(),
            _ => continue,
        };
        left.extend(words.into_iter().filter(is_left).map(|word| (role, word)));
    }
    left
}

/// Says where each file that the program brings along lies; those of the chunk store are copied there first.
async fn ship_stored(
    session: &Session,
    program: &mut Program,
    shipped: &Shipped,
    end: &mut Termination,
) -> anyhow::Result<()> {
    for file in program.shipped_mut() {
        let at = match (stored(file), shipped.get(&file.path)) {
            (Some(path), _) => {
                let store = session.store().await?;
                let bytes = read_stored(&store, path).await?;
                let at = put_as(&store, bytes, end).await;
                at.with_context(|| format!("shipping {}", file.path))?
            }
            (None, Some(at)) => at.clone(),
            (None, None) => continue,
        };
        (file.path, file.sha256) = (at.path, Some(at.sha256));
    }
    Ok(())
}

/// A file of the chunk store that a job brings along. What the job gets is a copy, which stays as it is.
async fn read_stored(store: &ChunkStore, path: &str) -> anyhow::Result<Vec<u8>> {
    let path: StorePath = path.parse().or_early()?;
    let read = store.read_all(&path, PROGRAM_FILE_BYTES_MAX).await;
    read.with_context(|| format!("cannot read {path}, which the program brings along"))
}

fn sha256_of(bytes: &[u8]) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, bytes);
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Makes the executable stand at its path, whole: it is written beside it and then renamed. Where other bytes
/// have that name it stays where it was written: jobs go by the digest, not by the name.
async fn put_program(
    store: &ChunkStore,
    sha256: &str,
    executable: Vec<u8>,
    end: &mut Termination,
) -> anyhow::Result<StorePath> {
    let folder: StorePath = PROGRAMS_FOLDER.parse().expect("the constant is a path");
    let below = |name: &str| folder.join(name).expect("digests are parts of paths");
    let path = below(sha256);
    let n_bytes = executable.len() as u64;
    if stands_whole(store, &path, sha256, n_bytes).await? {
        return Ok(path);
    }
    let beside = below(&format!("{sha256}.{}", net::random_hex(8)));
    let options = CreateOptions { parents: true, ..CreateOptions::default() };
    match end.or(store.write_all(&beside, Bytes::from(executable), options)).await {
        Ok(written) => written.map(drop)?,
        Err(by) => {
            // Best effort: an open file disappears with its lease.
            store.delete_for_good(&beside, false).await.ok();
            let remains = "nothing was submitted".to_owned();
            return Err(Interrupted { by, remains }.into());
        }
    }
    match store.rename(&beside, &path).await {
        Ok(()) => Ok(path),
        Err(StoreError::AlreadyExists { .. }) => {
            if !stands_whole(store, &path, sha256, n_bytes).await? {
                return Ok(beside);
            }
            store.delete_for_good(&beside, false).await?;
            Ok(path)
        }
        Err(error) => Err(error.into()),
    }
}

/// Whether these very bytes stand there: neither name nor length says so, since others may put there what they
/// like, and a replica may be lost.
async fn stands_whole(
    store: &ChunkStore,
    path: &StorePath,
    sha256: &str,
    n_bytes: u64,
) -> Result<bool, StoreError> {
    match store.stat(path).await {
        Ok(found) => match found.kind {
            FileKind::File { length, open: false, .. } if length == n_bytes => {}
            FileKind::File { .. } | FileKind::Folder => return Ok(false),
        },
        Err(StoreError::NotFound { .. }) => return Ok(false),
        Err(error) => return Err(error),
    }
    match store.read_all(path, n_bytes).await {
        Ok(bytes) => Ok(sha256_of(&bytes) == sha256),
        Err(StoreError::NotFound { .. } | StoreError::Unreadable { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Waits for a job's end, showing how far it is. A JobTracker that goes away is waited for.
pub(crate) async fn await_end(
    jobs: &Jobs,
    id: JobId,
    progress: &mut JobProgress,
) -> anyhow::Result<JobStatus> {
    let mut away: Option<clock::Stopwatch> = None;
    loop {
        match jobs.status_after(id, STATUS_INTERVAL).await {
            Ok(status) => {
                away = None;
                progress.show(&status);
                if status.state.is_final() {
                    progress.finish();
                    return Ok(status);
                }
            }
            Err(error) if error.is_transient() => {
                if away.is_none() {
                    progress.say(&format!("{error}; waiting for it to come back"));
                }
                if away.get_or_insert_with(clock::Stopwatch::start).elapsed() > jobs.retry_for() {
                    return Err(error).with_context(|| format!("waiting for {id}, which goes on"));
                }
                tokio::time::sleep(STATUS_INTERVAL).await;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// Says why a job has not succeeded.
pub(crate) fn must_have_succeeded(ended: &JobStatus) -> anyhow::Result<()> {
    let JobStatus { id, state, .. } = ended;
    match (state, &ended.failure) {
        (JobState::Succeeded, _) => Ok(()),
        (_, Some(failure)) => Err(anyhow!("{id} {}: {failure}", state.as_str())),
        (_, None) => Err(anyhow!("{id} {}", state.as_str())),
    }
}
