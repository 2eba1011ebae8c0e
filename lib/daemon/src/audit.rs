//! Where the audit log is kept: a file of JSON lines, a thread of its own that writes it, and a few older files beside
//! it, so that it has a bound.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use ids::UnixMillis;
use serde_json::json;

/// Older files that are kept: `<name>.1` is the youngest.
const OLDER_FILES: u32 = 9;
/// Lines that wait for the disk at most; when it takes none for so long, more are lost, and how many is written then.
const WAITING_MAX: usize = 8192;

/// Why there is no audit log.
#[derive(Debug, thiserror::Error)]
#[error(
    "the audit log {} can't be written: {source}; make the folder for this daemon's user, or name another with \
     log.audit_dir",
    path.display()
)]
pub struct AuditError {
    path: PathBuf,
    source: io::Error,
}

/// Has this process' audit entries written to `<folder>/<name>.audit.jsonl`, which is set aside when it has
/// `bytes_max` bytes.
///
/// # Errors
/// When it can't be opened.
pub fn install_audit(folder: &Path, name: &str, bytes_max: u64) -> Result<(), AuditError> {
    let path = folder.join(format!("{name}.audit.jsonl"));
    let opened = fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
    let file = opened.and_then(|()| open(&path));
    let file = file.map_err(|source| AuditError { path: path.clone(), source })?;
    let bytes = file.metadata().map_or(0, |metadata| metadata.len());
    let (lines, waiting) = sync_channel(WAITING_MAX);
    let log = Log { path: path.clone(), file, bytes, bytes_max };
    let started = std::thread::Builder::new().name("audit".to_owned());
    let started = started.spawn(move || log.write_all_of(&waiting));
    started.map_err(|source| AuditError { path, source })?;
    // Tests of one process may start several daemons: the first one's file has all.
    let _second = net::audit::install(Box::new(move |entry| send(&lines, entry)));
    Ok(())
}

/// Lines that were lost and are not told of yet.
static LOST: AtomicU64 = AtomicU64::new(0);

fn send(lines: &SyncSender<(UnixMillis, Vec<u8>)>, entry: &net::audit::AuditEntry<'_>) {
    let mut line = serde_json::to_vec(entry).expect("an entry is plain data");
    line.push(b'\n');
    if lines.try_send((entry.at, line)).is_err() {
        LOST.fetch_add(1, Ordering::Relaxed);
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).mode(0o600).open(path)
}

struct Log {
    path: PathBuf,
    file: File,
    bytes: u64,
    bytes_max: u64,
}

impl Log {
    fn write_all_of(mut self, waiting: &Receiver<(UnixMillis, Vec<u8>)>) {
        while let Ok((at, line)) = waiting.recv() {
            let lost = LOST.swap(0, Ordering::Relaxed);
            if lost > 0 {
                let told = format!("{}\n", json!({"at": at, "lost": lost}));
                self.write(told.as_bytes());
            }
            self.write(&line);
        }
    }

    fn write(&mut self, line: &[u8]) {
        if self.bytes > 0
            && self.bytes + line.len() as u64 > self.bytes_max
            && let Err(error) = self.set_aside()
        {
            tracing::error!(%error, path = %self.path.display(), "the audit log can't be set aside, and grows");
        }
        match self.file.write_all(line) {
            Ok(()) => self.bytes += line.len() as u64,
            Err(error) => {
                LOST.fetch_add(1, Ordering::Relaxed);
                tracing::error!(%error, path = %self.path.display(), "the audit log can't be written");
            }
        }
    }

    fn set_aside(&mut self) -> io::Result<()> {
        let older = |n: u32| {
            let mut name = self.path.clone().into_os_string();
            name.push(format!(".{n}"));
            PathBuf::from(name)
        };
        for n in (1..OLDER_FILES).rev() {
            if let Err(error) = fs::rename(older(n), older(n + 1))
                && error.kind() != io::ErrorKind::NotFound
            {
                return Err(error);
            }
        }
        fs::rename(&self.path, older(1))?;
        self.file = open(&self.path)?;
        self.bytes = 0;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_file_is_set_aside_and_the_oldest_goes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("d.audit.jsonl");
        let mut log =
            Log { file: open(&path).unwrap(), path: path.clone(), bytes: 0, bytes_max: 10 };
        for n in 0..30 {
            log.write(format!("{n:07}\n").as_bytes());
        }
        assert_eq!(fs::read_to_string(&path).unwrap(), "0000029\n");
        let names: Vec<_> = fs::read_dir(folder.path()).unwrap().flatten().collect();
        assert_eq!(names.len(), 1 + OLDER_FILES as usize);
        let youngest = fs::read_to_string(folder.path().join("d.audit.jsonl.1")).unwrap();
        let oldest = fs::read_to_string(folder.path().join("d.audit.jsonl.9")).unwrap();
        assert_eq!((youngest.as_str(), oldest.as_str()), ("0000028\n", "0000020\n"));
    }
}
