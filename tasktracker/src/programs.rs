//! Executables of native programs, and the files of streaming programs: fetched from the chunk store once per host,
//! verified by SHA-256, kept in `programs/<sha256>` while there is room. Attempts that want the same one wait for one
//! download.

use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mapreduce_protocol::{Failure, FailureKind};

/// Files kept on disk beyond those in use.
const PROGRAMS_MAX: usize = 64;

/// Bytes of files kept on disk, beyond those in use (Hadoop: `local.cache.size`, with the same default).
const PROGRAMS_BYTES_MAX: u64 = 10 << 30;

const READ_BYTES: usize = 1 << 20;

/// Where executables come from: the chunk store.
pub(crate) trait ProgramStore: Send + Sync + 'static {
    /// Copies the store's file `path` to the new local file `target`.
    fn fetch(
        &self,
        path: &str,
        target: &Path,
    ) -> impl Future<Output = Result<(), FetchError>> + Send;
}

/// Why a file was not copied, by who is to blame.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FetchError {
    /// The store does not give it.
    #[error(transparent)]
    Store(Box<dyn std::error::Error + Send + Sync>),
    /// The local disk says no.
    #[error(transparent)]
    Disk(#[from] io::Error),
}

/// Why an executable can't be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProgramError {
    /// The job does not say what the file must be.
    #[error(
        "the job's file {executable} has no SHA-256 of 64 hexadecimal digits: submit the job with `howdah job submit`, which fills it in, or set its 'sha256'"
    )]
    NoDigest {
        /// Its path in the chunk store.
        executable: String,
    },
    /// It is another file than the job names.
    #[error(
        "the job's file {executable} has the SHA-256 {found}, the job names {expected}: the file was changed after the submit; submit again"
    )]
    Mismatch {
        /// Its path in the chunk store.
        executable: String,
        /// What the job names.
        expected: String,
        /// What the bytes have.
        found: String,
    },
    /// The chunk store does not give it.
    #[error("the job's file {executable} can't be fetched from the chunk store: {source}")]
    Fetch {
        /// Its path in the chunk store.
        executable: String,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// There is no room for it.
    #[error(
        "the host has no room for its copy {} of the job's file {executable}: {source}; bring along smaller files, or \
         make room there",
        path.display()
    )]
    NoRoom {
        /// Its path in the chunk store.
        executable: String,
        /// The local file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The local disk says no.
    #[error("the host's copy {} of a job's file: {source}", path.display())]
    Io {
        /// The local file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl ProgramError {
    /// What to report of an attempt that could not start for this reason.
    pub(crate) fn failure(&self) -> Failure {
        let kind = match self {
            Self::NoDigest { .. } => FailureKind::BadJob,
            // Another host's disk may do.
            Self::Io { .. } => FailureKind::HostUnfit,
            // How large it is, is the job's doing: it must not make one host after the other pass for sick.
            Self::Mismatch { .. } | Self::Fetch { .. } | Self::NoRoom { .. } => {
                FailureKind::ProgramUnavailable
            }
        };
        Failure { kind, message: self.to_string() }
    }
}

/// By whatever user attempts run as.
const RUNNABLE: u32 = 0o755;

/// The executables on this host.
#[derive(Debug)]
pub(crate) struct Programs<S> {
    folder: PathBuf,
    store: S,
    /// See [`PROGRAMS_BYTES_MAX`].
    bytes_max: u64,
    known: Arc<Mutex<Known>>,
}

#[derive(Debug, Default)]
struct Known {
    /// By digest.
    slots: BTreeMap<String, Slot>,
    uses: u64,
}

#[derive(Debug, Default)]
struct Slot {
    users: u32,
    last_use: u64,
    /// Of the file, once it is there.
    bytes: u64,
    /// Whether the file is there and was verified by this process; locked while somebody sees to it.
    verified: Arc<tokio::sync::Mutex<bool>>,
}

/// An executable in use: its file stays as long as this lives.
#[derive(Debug)]
pub(crate) struct ProgramInUse {
    pub(crate) path: PathBuf,
    digest: String,
    known: Arc<Mutex<Known>>,
}

impl Drop for ProgramInUse {
    fn drop(&mut self) {
        if let Some(slot) = lock(&self.known).slots.get_mut(&self.digest) {
            slot.users -= 1;
        }
    }
}

fn lock(known: &Mutex<Known>) -> MutexGuard<'_, Known> {
    known.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<S: ProgramStore> Programs<S> {
    /// Takes over the folder: what a former process has fetched is verified when it is first used.
    ///
    /// # Errors
    /// When the folder can't be read.
    pub(crate) fn open(folder: PathBuf, store: S) -> io::Result<Self> {
        let mut known = Known::default();
        for entry in std::fs::read_dir(&folder)? {
            let entry = entry?;
            match entry.file_name().to_str().filter(|name| is_digest(name)) {
                Some(digest) => {
                    let mode = std::fs::Permissions::from_mode(RUNNABLE);
                    std::fs::set_permissions(entry.path(), mode)?;
                    let slot = Slot { bytes: entry.metadata()?.len(), ..Slot::default() };
                    known.slots.insert(digest.to_owned(), slot);
                }
                None => std::fs::remove_file(entry.path())?,
            }
        }
        let known = Arc::new(Mutex::new(known));
        Ok(Self { folder, store, bytes_max: PROGRAMS_BYTES_MAX, known })
    }

    /// The store's file `executable` with this digest, fetched if it is not here yet.
    ///
    /// # Errors
    /// See [`ProgramError`].
    pub(crate) async fn acquire(
        &self,
        executable: &str,
        sha256: Option<&str>,
    ) -> Result<ProgramInUse, ProgramError> {
        // Whatever printed it: the name on disk has one form.
        let digest = sha256.map(str::to_ascii_lowercase).filter(|digest| is_digest(digest));
        let no_digest = || ProgramError::NoDigest { executable: executable.to_owned() };
        let digest = &digest.ok_or_else(no_digest)?;
        let (program, verified) = self.claim(digest);
        let mut verified = verified.lock().await;
        if !*verified {
            self.provide(executable, digest, &program.path).await?;
            *verified = true;
            self.measure(digest, &program.path).await?;
            let evicting = evict(Arc::clone(&self.known), self.folder.clone(), self.bytes_max);
            // A task of its own: it goes on if nobody waits for the program any more.
            let _ = tokio::spawn(evicting).await;
        }
        Ok(program)
    }

    fn claim(&self, digest: &str) -> (ProgramInUse, Arc<tokio::sync::Mutex<bool>>) {
        let mut known = lock(&self.known);
        known.uses += 1;
        let uses = known.uses;
        let slot = known.slots.entry(digest.to_owned()).or_default();
        slot.users += 1;
        slot.last_use = uses;
        let verified = Arc::clone(&slot.verified);
        drop(known);
        let path = self.folder.join(digest);
        let known = Arc::clone(&self.known);
        (ProgramInUse { path, digest: digest.to_owned(), known }, verified)
    }

    async fn provide(
        &self,
        executable: &str,
        expected: &str,
        path: &Path,
    ) -> Result<(), ProgramError> {
        if digest_of(path).await.is_ok_and(|found| found == expected) {
            return Ok(());
        }
        let target = path.with_extension("fetched");
        let fetched = self.fetch(executable, expected, &target, path).await;
        if fetched.is_err()
            && let Err(source) = tokio::fs::remove_file(&target).await
            && source.kind() != io::ErrorKind::NotFound
        {
            return Err(ProgramError::Io { path: target, source });
        }
        fetched
    }

    async fn fetch(
        &self,
        executable: &str,
        expected: &str,
        target: &Path,
        path: &Path,
    ) -> Result<(), ProgramError> {
        let fetched = self.store.fetch(executable, target).await;
        let io = |source| ProgramError::Io { path: target.to_owned(), source };
        fetched.map_err(|error| match error {
            FetchError::Store(source) => {
                ProgramError::Fetch { executable: executable.to_owned(), source }
            }
            FetchError::Disk(source) if is_for_want_of_room(&source) => {
                let (executable, path) = (executable.to_owned(), target.to_owned());
                ProgramError::NoRoom { executable, path, source }
            }
            FetchError::Disk(source) => io(source),
        })?;
        let found = digest_of(target).await.map_err(io)?;
        if found != expected {
            let (executable, expected) = (executable.to_owned(), expected.to_owned());
            return Err(ProgramError::Mismatch { executable, expected, found });
        }
        let mode = std::fs::Permissions::from_mode(RUNNABLE);
        tokio::fs::set_permissions(target, mode).await.map_err(io)?;
        tokio::fs::rename(target, path).await.map_err(io)
    }

    /// Notes how large the file is.
    async fn measure(&self, digest: &str, path: &Path) -> Result<(), ProgramError> {
        let found = tokio::fs::metadata(path).await;
        let found = found.map_err(|source| ProgramError::Io { path: path.to_owned(), source })?;
        if let Some(slot) = lock(&self.known).slots.get_mut(digest) {
            slot.bytes = found.len();
        }
        Ok(())
    }
}

/// Removes the files that were not used for longest, beyond [`PROGRAMS_MAX`] and `bytes_max`. Nobody waits for a disk with
/// `known` locked.
async fn evict(known: Arc<Mutex<Known>>, folder: PathBuf, bytes_max: u64) {
    loop {
        let Some((digest, verified)) = lock(&known).claim_unused(bytes_max) else { return };
        let Ok(mut verified) = verified.try_lock() else {
            // Somebody has wanted it just now.
            lock(&known).give_up(&digest, true);
            continue;
        };
        // Whoever wants it from now on waits, and then fetches it again.
        if lock(&known).is_claimed_once(&digest) {
            *verified = false;
            let path = folder.join(&digest);
            let removed = tokio::fs::remove_file(&path).await;
            let is_gone = |error: &io::Error| error.kind() == io::ErrorKind::NotFound;
            if let Some(error) = removed.err().filter(|error| !is_gone(error)) {
                tracing::warn!(path = %path.display(), %error, "a program stays");
            }
        }
        lock(&known).give_up(&digest, *verified);
    }
}

impl Known {
    /// Claims what is to be removed next, if anything is.
    fn claim_unused(&mut self, bytes_max: u64) -> Option<(String, Arc<tokio::sync::Mutex<bool>>)> {
        let bytes: u64 = self.slots.values().map(|slot| slot.bytes).sum();
        if self.slots.len() <= PROGRAMS_MAX && bytes <= bytes_max {
            return None;
        }
        let unused = self.slots.iter_mut().filter(|(_, slot)| slot.users == 0);
        let (digest, slot) = unused.min_by_key(|(_, slot)| slot.last_use)?;
        slot.users += 1;
        Some((digest.clone(), Arc::clone(&slot.verified)))
    }

    fn is_claimed_once(&self, digest: &str) -> bool {
        self.slots.get(digest).is_some_and(|slot| slot.users == 1)
    }

    /// Ends the claim; what is not there and nobody else wants is forgotten.
    fn give_up(&mut self, digest: &str, is_there: bool) {
        let Some(slot) = self.slots.get_mut(digest) else { return };
        slot.users -= 1;
        if !is_there {
            slot.bytes = 0;
        }
        if !is_there && slot.users == 0 {
            self.slots.remove(digest);
        }
    }
}

fn is_for_want_of_room(error: &io::Error) -> bool {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge)
}

fn is_digest(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

async fn digest_of(path: &Path) -> io::Result<String> {
    let path = path.to_owned();
    let digest = tokio::task::spawn_blocking(move || {
        let mut file = std::fs::File::open(path)?;
        let mut context = ring::digest::Context::new(&ring::digest::SHA256);
        let mut buffer = vec![0; READ_BYTES];
        loop {
            match io::Read::read(&mut file, &mut buffer)? {
                0 => break,
                n => context.update(&buffer[..n]),
            }
        }
        let digest = context.finish();
        Ok(digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect())
    });
    digest.await.map_err(io::Error::other)?
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    /// Gives every path its own name as content.
    #[derive(Debug, Default)]
    struct Fake {
        fetches: AtomicU32,
    }

    impl ProgramStore for Fake {
        async fn fetch(&self, path: &str, target: &Path) -> Result<(), FetchError> {
            self.fetches.fetch_add(1, Ordering::SeqCst);
            tokio::task::yield_now().await;
            match path {
                "/missing" => Err(FetchError::Store("it is not there".into())),
                "/large" => Err(io::Error::from(io::ErrorKind::StorageFull).into()),
                "/broken" => Err(io::Error::from(io::ErrorKind::ReadOnlyFilesystem).into()),
                path => Ok(tokio::fs::write(target, path).await?),
            }
        }
    }

    fn sha256(text: &str) -> String {
        let digest = ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
        digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    async fn acquire(
        programs: &Programs<Fake>,
        path: &str,
        content: &str,
    ) -> Result<ProgramInUse, ProgramError> {
        programs.acquire(path, Some(&sha256(content))).await
    }

    #[tokio::test]
    async fn attempts_at_once_share_one_download() {
        let folder = tempfile::tempdir().unwrap();
        let programs = Programs::open(folder.path().to_owned(), Fake::default()).unwrap();
        let (a, b, c) = tokio::join!(
            acquire(&programs, "/p", "/p"),
            acquire(&programs, "/p", "/p"),
            acquire(&programs, "/p", "/p")
        );
        let path = a.unwrap().path.clone();
        assert_eq!(path, b.unwrap().path);
        assert_eq!(path, c.unwrap().path);
        assert_eq!(programs.store.fetches.load(Ordering::SeqCst), 1);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, RUNNABLE);
        // The next process verifies the file and does not fetch it; a damaged one it does.
        for (content, fetches) in [("/p", 0), ("/q", 1)] {
            std::fs::write(&path, content).unwrap();
            let next = Programs::open(folder.path().to_owned(), Fake::default()).unwrap();
            acquire(&next, "/p", "/p").await.unwrap();
            assert_eq!(next.store.fetches.load(Ordering::SeqCst), fetches);
        }
    }

    #[tokio::test]
    async fn a_digest_in_upper_case_is_the_same_digest() {
        let folder = tempfile::tempdir().unwrap();
        let programs = Programs::open(folder.path().to_owned(), Fake::default()).unwrap();
        let lower = acquire(&programs, "/p", "/p").await.unwrap();
        let upper = programs.acquire("/p", Some(&sha256("/p").to_uppercase())).await.unwrap();
        assert_eq!(lower.path, upper.path);
        assert_eq!(programs.store.fetches.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn another_file_than_the_job_names_is_refused_with_both_digests() {
        let folder = tempfile::tempdir().unwrap();
        let programs = Programs::open(folder.path().to_owned(), Fake::default()).unwrap();
        let failure = acquire(&programs, "/p", "x").await.unwrap_err().failure();
        assert_eq!(failure.kind, FailureKind::ProgramUnavailable);
        assert!(failure.message.contains(&sha256("/p")) && failure.message.contains(&sha256("x")));
        let missing = acquire(&programs, "/missing", "x").await.unwrap_err().failure();
        assert!(missing.message.contains("/missing"), "{}", missing.message);
        assert_eq!(missing.kind, FailureKind::ProgramUnavailable);
        let large = acquire(&programs, "/large", "x").await.unwrap_err().failure();
        assert_eq!(large.kind, FailureKind::ProgramUnavailable, "{}", large.message);
        let broken = acquire(&programs, "/broken", "x").await.unwrap_err().failure();
        assert_eq!(broken.kind, FailureKind::HostUnfit, "{}", broken.message);
        let refused = programs.acquire("/p", Some("../x")).await.unwrap_err().failure();
        assert_eq!(refused.kind, FailureKind::BadJob);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is left");
    }

    #[tokio::test]
    async fn the_oldest_unused_program_makes_room() {
        let folder = tempfile::tempdir().unwrap();
        let programs = Programs::open(folder.path().to_owned(), Fake::default()).unwrap();
        let kept = acquire(&programs, "/0", "/0").await.unwrap();
        for number in 1..=PROGRAMS_MAX {
            let path = format!("/{number}");
            acquire(&programs, &path, &path).await.unwrap();
        }
        let files = std::fs::read_dir(folder.path()).unwrap().count();
        assert_eq!(files, PROGRAMS_MAX);
        assert!(kept.path.exists(), "what is in use stays");
        assert!(!folder.path().join(sha256("/1")).exists());
    }

    #[tokio::test]
    async fn large_files_make_room_by_their_bytes_and_those_in_use_stay() {
        let folder = tempfile::tempdir().unwrap();
        // From a former process: its bytes count, too.
        let old = acquire_all(&folder, u64::MAX, &["/old"]).await;
        drop(old);
        let kept = acquire_all(&folder, 12, &["/four", "/two4"]).await;
        let there = |content: &str| folder.path().join(sha256(content)).exists();
        assert!(!there("/old"), "14 bytes of 12");
        assert!(there("/four") && there("/two4"));
        drop(kept);
        let programs = Programs::open(folder.path().to_owned(), Fake::default()).unwrap();
        let programs = Programs { bytes_max: 7, ..programs };
        let all = [
            acquire(&programs, "/four", "/four").await.unwrap(),
            acquire(&programs, "/two4", "/two4").await.unwrap(),
        ];
        assert!(there("/four") && there("/two4"), "what is in use stays");
        drop(all);
        acquire(&programs, "/x", "/x").await.unwrap();
        assert!(!there("/four") && there("/two4"), "2 and 5 bytes of 7");
    }

    async fn acquire_all(
        folder: &tempfile::TempDir,
        bytes_max: u64,
        paths: &[&str],
    ) -> Vec<ProgramInUse> {
        let programs = Programs::open(folder.path().to_owned(), Fake::default()).unwrap();
        let programs = Programs { bytes_max, ..programs };
        let mut all = Vec::new();
        for path in paths {
            all.push(acquire(&programs, path, path).await.unwrap());
        }
        all
    }
}
