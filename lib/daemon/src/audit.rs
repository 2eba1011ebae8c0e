//! Where the audit log is kept: a file of JSON lines, written by a thread of its own, and a few
//! older files beside it, so that its size is bounded.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use ids::UnixMillis;
use serde_json::json;

/// Older files that are kept; `<name>.1` is the most recent.
const OLDER_FILES: u32 = 9;
/// Lines that may wait for the disk. Beyond that, lines are lost, and their number is logged later.
const WAITING_MAX: usize = 8192;
/// The same for their bytes. Refused requests may take only half of it, so that callers without
/// rights can't push out what was done.
const WAITING_BYTES_MAX: u64 = 8 << 20;

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

/// Writes this process's audit entries to `<folder>/<name>.audit.jsonl`, which is set aside once it
/// has `bytes_max` bytes.
///
/// # Errors
/// When it can't be opened.
pub fn install_audit(folder: &Path, name: &str, bytes_max: u64) -> Result<(), AuditError> {
    let path = folder.join(format!("{name}.audit.jsonl"));
    let opened = fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
    let file = opened.and_then(|()| open(&path));
    let file = file.map_err(|source| AuditError { path: path.clone(), source })?;
    let log = Log::of(path.clone(), file, bytes_max);
    let (queue, waiting) = Queue::new();
    let started = std::thread::Builder::new().name("audit".to_owned());
    let started = started.spawn(move || log.write_all_of(&waiting));
    started.map_err(|source| AuditError { path, source })?;
    // Tests may start several daemons in one process: the file of the first one gets all entries.
    let _second = net::audit::install(Box::new(move |entry| queue.send(entry)));
    Ok(())
}

/// A line that waits, with its time.
type Line = (UnixMillis, Vec<u8>);

/// The sending end of the queue to the writing thread.
struct Queue {
    lines: SyncSender<Line>,
    bytes: Arc<AtomicU64>,
    /// Lines that found no place, and that the log does not tell of yet.
    lost: Arc<AtomicU64>,
}

/// The receiving end.
struct Waiting {
    lines: Receiver<Line>,
    bytes: Arc<AtomicU64>,
    lost: Arc<AtomicU64>,
}

impl Queue {
    fn new() -> (Self, Waiting) {
        let (sender, lines) = sync_channel(WAITING_MAX);
        let (bytes, lost) = (Arc::<AtomicU64>::default(), Arc::<AtomicU64>::default());
        let queue = Self { lines: sender, bytes: Arc::clone(&bytes), lost: Arc::clone(&lost) };
        (queue, Waiting { lines, bytes, lost })
    }

    fn send(&self, entry: &net::audit::AuditEntry<'_>) {
        let mut line = serde_json::to_vec(entry).expect("an entry is plain data");
        line.push(b'\n');
        let is_refusal = entry.status.is_some_and(|status| (400..500).contains(&status));
        let bytes_max = if is_refusal { WAITING_BYTES_MAX / 2 } else { WAITING_BYTES_MAX };
        let bytes = line.len() as u64;
        let waiting = self.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if waiting > bytes_max || self.lines.try_send((entry.at, line)).is_err() {
            self.bytes.fetch_sub(bytes, Ordering::Relaxed);
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Waiting {
    fn next(&self) -> Option<Line> {
        let (at, line) = self.lines.recv().ok()?;
        self.bytes.fetch_sub(line.len() as u64, Ordering::Relaxed);
        Some((at, line))
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).read(true).append(true).mode(0o600).open(path)
}

struct Log {
    path: PathBuf,
    file: File,
    /// Bytes of the complete lines.
    bytes: u64,
    bytes_max: u64,
    /// Whether the last line is incomplete: the next one then begins with a line end.
    is_torn: bool,
    /// Lines that were lost and that no line tells of yet.
    lost: u64,
}

impl Log {
    fn of(path: PathBuf, file: File, bytes_max: u64) -> Self {
        let bytes = file.metadata().map_or(0, |metadata| metadata.len());
        let mut last = [0];
        // A crash of the host may have left half a line.
        let is_torn =
            bytes > 0 && file.read_exact_at(&mut last, bytes - 1).is_ok() && last != *b"\n";
        Self { path, file, bytes, bytes_max, is_torn, lost: 0 }
    }

    fn write_all_of(mut self, waiting: &Waiting) {
        while let Some((at, line)) = waiting.next() {
            self.lost += waiting.lost.swap(0, Ordering::Relaxed);
            self.write_entry(at, &line);
        }
    }

    /// Writes a line, behind one that tells how many were lost before it.
    fn write_entry(&mut self, at: UnixMillis, line: &[u8]) {
        if self.lost > 0 {
            let told = format!("{}\n", json!({"at": at, "lost": self.lost}));
            if self.write(told.as_bytes()).is_ok() {
                self.lost = 0;
            }
        }
        if self.write(line).is_err() {
            self.lost += 1;
        }
    }

    fn write(&mut self, line: &[u8]) -> io::Result<()> {
        if self.bytes > 0
            && self.bytes + line.len() as u64 > self.bytes_max
            && let Err(error) = self.set_aside()
        {
            tracing::error!(%error, path = %self.path.display(), "the audit log can't be set aside, and grows");
        }
        let ended = if self.is_torn { self.file.write_all(b"\n") } else { Ok(()) };
        let ended_bytes = u64::from(self.is_torn);
        let written = ended.and_then(|()| self.file.write_all(line));
        match &written {
            Ok(()) => {
                self.bytes += ended_bytes + line.len() as u64;
                self.is_torn = false;
            }
            Err(error) => {
                tracing::error!(%error, path = %self.path.display(), "the audit log can't be written");
                self.take_back();
            }
        }
        written
    }

    /// Removes what was written of a line before the disk was full, so that the next one begins on
    /// its own.
    fn take_back(&mut self) {
        self.is_torn |= self.file.set_len(self.bytes).is_err();
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
        self.is_torn = false;
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
        let mut log = Log::of(path.clone(), open(&path).unwrap(), 10);
        for n in 0..30 {
            log.write(format!("{n:07}\n").as_bytes()).unwrap();
        }
        assert_eq!(fs::read_to_string(&path).unwrap(), "0000029\n");
        let names: Vec<_> = fs::read_dir(folder.path()).unwrap().flatten().collect();
        assert_eq!(names.len(), 1 + OLDER_FILES as usize);
        let youngest = fs::read_to_string(folder.path().join("d.audit.jsonl.1")).unwrap();
        let oldest = fs::read_to_string(folder.path().join("d.audit.jsonl.9")).unwrap();
        assert_eq!((youngest.as_str(), oldest.as_str()), ("0000028\n", "0000020\n"));
    }

    #[test]
    fn half_a_line_is_taken_back_and_one_that_is_left_is_ended() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("d.audit.jsonl");
        let mut log = Log::of(path.clone(), open(&path).unwrap(), 1000);
        log.write(b"whole\n").unwrap();
        log.file.write_all(b"ha").unwrap();
        log.take_back();
        log.write(b"next\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "whole\nnext\n");
        log.file.write_all(b"ha").unwrap();
        let mut log = Log::of(path.clone(), open(&path).unwrap(), 1000);
        log.write(b"after a crash\n").unwrap();
        log.write(b"last\n").unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(text, "whole\nnext\nha\nafter a crash\nlast\n");
        assert_eq!(log.bytes, text.len() as u64);
    }

    #[test]
    fn lines_that_are_lost_are_counted_until_the_log_tells_of_them() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("d.audit.jsonl");
        // A file that is open for reads alone refuses every line.
        let file = open(&path).and_then(|_there| File::open(&path)).unwrap();
        let mut log = Log::of(path.clone(), file, 1000);
        for _ in 0..3 {
            log.write_entry(UnixMillis(5), b"refused\n");
        }
        log.file = open(&path).unwrap();
        for line in [b"first\n", b"other\n"] {
            log.write_entry(UnixMillis(6), line);
        }
        // A file that can't be cut may have half a line, which gets its end.
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(text, "\n{\"at\":6,\"lost\":3}\nfirst\nother\n");
    }

    #[test]
    fn a_line_that_was_written_in_part_runs_into_no_other() {
        use std::io::Read as _;

        let (mut reader, writer) = io::pipe().unwrap();
        let file = File::from(std::os::fd::OwnedFd::from(writer));
        rustix::io::ioctl_fionbio(&file, true).unwrap();
        let mut log = Log::of(PathBuf::from("pipe"), file, u64::MAX);
        let long = vec![b'x'; 1 << 21];
        assert!(log.write(&long).is_err());
        let mut part = vec![0; 1 << 16];
        let n = reader.read(&mut part).unwrap();
        assert!(part[..n].iter().all(|byte| *byte == b'x'));
        log.write(b"next\n").unwrap();
        drop(log);
        let mut rest = Vec::new();
        reader.read_to_end(&mut rest).unwrap();
        assert!(rest.ends_with(b"\nnext\n"), "{} bytes", rest.len());
    }

    #[test]
    fn refusals_leave_room_for_what_is_done_and_all_of_it_is_bounded() {
        let (queue, waiting) = Queue::new();
        let entry = |status| net::audit::AuditEntry {
            at: UnixMillis(1),
            user: "ann",
            standing: net::Standing::User,
            from: None,
            method: "POST",
            request: "/v1",
            changes: vec!["x".repeat(1 << 20)],
            unnamed: 0,
            status,
            made: None,
            request_id: "1",
        };
        for status in [Some(403), Some(200), None] {
            for _ in 0..20 {
                queue.send(&entry(status));
            }
        }
        drop(queue.lines);
        let lines: Vec<_> = std::iter::from_fn(|| waiting.next()).collect();
        let refused =
            lines.iter().filter(|(_, line)| line.windows(12).any(|w| w == b"\"status\":403"));
        assert_eq!((refused.count(), lines.len()), (3, 7), "of 4 MiB, and of 8");
        assert_eq!(waiting.bytes.load(Ordering::Relaxed), 0);
    }
}
