//! This host's copy of a file that the job brings along. Whatever goes wrong with one is the job's fault, or this host's
//! alone: its disk may fail, and what was fetched and verified may have changed since. An attempt elsewhere helps only
//! against the latter.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use mapreduce_protocol::{Failure, FailureKind, ShippedFile};

use crate::task::failure::failure;

const READ_BYTES: usize = 1 << 20;

/// See the module.
#[derive(Clone, Copy)]
pub(super) struct HostCopy<'a> {
    /// `file` or `archive`, for people.
    pub(super) kind: &'static str,
    /// What the job says of it.
    pub(super) file: &'a ShippedFile,
    /// Where it lies.
    pub(super) path: &'a Path,
}

impl HostCopy<'_> {
    /// To be read from its beginning.
    pub(super) fn open(&self) -> Result<Watched<File>, Failure> {
        let file = File::open(self.path).map_err(|error| self.unreadable(&error))?;
        Ok(Watched { inner: file, failed: None })
    }

    /// The host can't read it.
    pub(super) fn unreadable(&self, error: &io::Error) -> Failure {
        self.unavailable(&format!("can't be read from {}: {error}", self.path.display()))
    }

    /// The failure that counts where `blamed` says that the job is to blame for what was read; `failed` is how reading
    /// went.
    pub(super) fn judge(&self, blamed: Failure, failed: Option<io::Error>) -> Failure {
        if blamed.kind != FailureKind::BadJob {
            return blamed;
        }
        if let Some(error) = failed {
            return self.unreadable(&error);
        }
        let Some(expected) = &self.file.sha256 else { return blamed };
        match digest_of(self.path) {
            Err(error) => self.unreadable(&error),
            Ok(found) if found.eq_ignore_ascii_case(expected) => blamed,
            Ok(found) => self.unavailable(&format!(
                "has changed on this host: {} has the SHA-256 {found}, the job names {expected}; the disk may be failing",
                self.path.display()
            )),
        }
    }

    fn unavailable(&self, why: &str) -> Failure {
        let message = format!("the job's {} {} {why}", self.kind, self.file.name);
        failure(FailureKind::ProgramUnavailable, message)
    }
}

fn digest_of(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut context = ring::digest::Context::new(&ring::digest::SHA256);
    let mut buffer = vec![0; READ_BYTES];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => break,
            Ok(n) => context.update(&buffer[..n]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(context.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Remembers that reading has failed: decoders pass errors on in their own words.
pub(super) struct Watched<R> {
    inner: R,
    /// The last failure.
    pub(super) failed: Option<io::Error>,
}

impl<R> Watched<R> {
    fn watch<T>(&mut self, done: io::Result<T>) -> io::Result<T> {
        match done {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => {
                let passed_on = io::Error::new(error.kind(), error.to_string());
                self.failed = Some(error);
                Err(passed_on)
            }
            done => done,
        }
    }
}

impl<R: Read> Read for Watched<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let done = self.inner.read(buffer);
        self.watch(done)
    }
}

impl<R: Seek> Seek for Watched<R> {
    // A seek that fails was asked for by what was read, such as a zip's offsets.
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.inner.seek(to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::failure::bad_job;

    fn shipped(sha256: Option<&str>) -> ShippedFile {
        let mut file: ShippedFile = "/p#the-name".parse().unwrap();
        file.sha256 = sha256.map(str::to_owned);
        file
    }

    #[test]
    fn the_job_is_to_blame_for_the_bytes_that_it_names_and_for_no_others() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("copy");
        std::fs::write(&path, "abc").unwrap();
        let digest = digest_of(&path).unwrap();
        for (sha256, expected) in [
            (None, "blamed"),
            (Some(digest.as_str()), "blamed"),
            (Some(digest.to_uppercase().as_str()), "blamed"),
            (Some("0".repeat(64).as_str()), "has changed on this host"),
        ] {
            let file = shipped(sha256);
            let copy = HostCopy { kind: "archive", file: &file, path: &path };
            let judged = copy.judge(bad_job("blamed"), None);
            assert!(judged.message.contains(expected), "{sha256:?}: {}", judged.message);
            let is_the_jobs = judged.kind == FailureKind::BadJob;
            assert_eq!(is_the_jobs, expected == "blamed", "{sha256:?}: {}", judged.message);
            let other = failure(FailureKind::OutOfSpace, "full".to_owned());
            assert_eq!(copy.judge(other, None).message, "full");
        }
    }

    /// A disk that fails behind its first bytes.
    struct Failing(usize);

    impl Read for Failing {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            match std::mem::take(&mut self.0).min(buffer.len()) {
                0 => Err(io::Error::from_raw_os_error(5)),
                n => Ok(n),
            }
        }
    }

    #[test]
    fn a_disk_that_fails_below_a_decoder_is_the_hosts() {
        let file = shipped(None);
        let copy = HostCopy { kind: "archive", file: &file, path: Path::new("/copy") };
        let mut watched = Watched { inner: Failing(100), failed: None };
        let mut archive = tar::Archive::new(&mut watched);
        let read = archive.entries().unwrap().next().unwrap();
        let Err(error) = read.map(drop) else { panic!("a header of 100 bytes") };
        let judged = copy.judge(bad_job(error.to_string()), watched.failed.take());
        assert_eq!(judged.kind, FailureKind::ProgramUnavailable);
        assert!(judged.message.contains("the job's archive the-name"), "{}", judged.message);
    }
}
