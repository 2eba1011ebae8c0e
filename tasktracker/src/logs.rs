//! Logs of attempts: `logs/<job>/<attempt>.log`, what the attempt's processes wrote to standard output
//! and error. Of a long log the head and the tail are kept. Logs outlive their attempts, and the last
//! jobs' logs outlive the jobs: people read them when a job has failed.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use mapreduce_protocol::{AttemptId, JobId};

/// Purged jobs whose logs are kept.
pub(crate) const PURGED_JOBS_MAX: usize = 20;

/// The folder of all logs.
#[derive(Debug)]
pub(crate) struct Logs {
    folder: PathBuf,
    /// Purged jobs whose logs are still there, oldest first.
    purged: VecDeque<JobId>,
}

impl Logs {
    /// Takes over a folder: what it holds counts as purged, in the order of job ids.
    ///
    /// # Errors
    /// When the folder can't be read.
    pub(crate) fn open(folder: PathBuf) -> io::Result<Self> {
        let mut jobs = Vec::new();
        for entry in std::fs::read_dir(&folder)? {
            jobs.extend(entry?.file_name().to_str().and_then(|name| name.parse::<JobId>().ok()));
        }
        jobs.sort_by_key(|job| job.ordinal);
        Ok(Self { folder, purged: jobs.into() })
    }

    pub(crate) fn path(folder: &Path, attempt: AttemptId) -> PathBuf {
        folder.join(attempt.task.job.to_string()).join(format!("{attempt}.log"))
    }

    /// Notes that a job is over; the folders of jobs that ended long ago are to be removed.
    pub(crate) fn retire(&mut self, job: JobId) -> Vec<PathBuf> {
        self.purged.retain(|purged| *purged != job);
        self.purged.push_back(job);
        let excess = self.purged.len().saturating_sub(PURGED_JOBS_MAX);
        self.purged.drain(..excess).map(|job| self.folder.join(job.to_string())).collect()
    }
}

/// Writes one attempt's log within a bound: its first half to one file, then alternately to two files
/// of a quarter each, so that the tail is never shorter than a quarter of the bound.
#[derive(Debug)]
pub(crate) struct LogWriter {
    path: PathBuf,
    file: File,
    head_left: u64,
    quarter: u64,
    tail: Option<Tail>,
}

#[derive(Debug)]
struct Tail {
    file: File,
    length: u64,
    dropped: u64,
}

impl LogWriter {
    /// Creates the log, of at most `bytes_max`.
    ///
    /// # Errors
    /// When the disk says no.
    pub(crate) fn create(path: PathBuf, bytes_max: u64) -> io::Result<Self> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let file = File::create(&path)?;
        Ok(Self { path, file, head_left: bytes_max / 2, quarter: bytes_max / 4, tail: None })
    }

    /// Appends what fits; what is left out is counted.
    ///
    /// # Errors
    /// When the disk says no.
    pub(crate) fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let head = bytes.len().min(usize::try_from(self.head_left).unwrap_or(usize::MAX));
        self.file.write_all(&bytes[..head])?;
        self.head_left -= head as u64;
        let rest = &bytes[head..];
        let keep = usize::try_from(self.quarter).unwrap_or(usize::MAX);
        for piece in rest.chunks(keep.max(1)) {
            self.append_to_tail(piece)?;
        }
        Ok(())
    }

    fn append_to_tail(&mut self, piece: &[u8]) -> io::Result<()> {
        let newer = part(&self.path, "newer");
        let tail = match &mut self.tail {
            Some(tail) => tail,
            none => none.insert(Tail { file: File::create(&newer)?, length: 0, dropped: 0 }),
        };
        if tail.length + piece.len() as u64 > self.quarter && tail.length > 0 {
            let older = part(&self.path, "older");
            tail.dropped += std::fs::metadata(&older).map_or(0, |older| older.len());
            std::fs::rename(&newer, &older)?;
            std::fs::write(part(&self.path, "dropped"), tail.dropped.to_string())?;
            tail.file = File::create(&newer)?;
            tail.length = 0;
        }
        tail.file.write_all(piece)?;
        tail.length += piece.len() as u64;
        Ok(())
    }
}

fn part(log: &Path, name: &str) -> PathBuf {
    log.with_extension(format!("log-{name}"))
}

/// Reads a log as kept, or only its last `tail` bytes.
///
/// # Errors
/// When there is none, or it can't be read.
pub(crate) fn read(log: &Path, tail: Option<u64>) -> io::Result<Vec<u8>> {
    let mut text = read_end(log, tail)?;
    let mut late = Vec::new();
    for name in ["older", "newer"] {
        match read_end(&part(log, name), tail) {
            Ok(bytes) => late.extend_from_slice(&bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    let dropped = std::fs::read_to_string(part(log, "dropped")).unwrap_or_default();
    if !matches!(dropped.as_str(), "" | "0") {
        text.extend_from_slice(format!("\n[… {dropped} bytes left out …]\n").as_bytes());
    }
    text.extend_from_slice(&late);
    let keep = tail.and_then(|tail| usize::try_from(tail).ok()).unwrap_or(usize::MAX);
    Ok(text.split_off(text.len().saturating_sub(keep)))
}

fn read_end(path: &Path, tail: Option<u64>) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    if let Some(tail) = tail {
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(tail)))?;
    }
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_long_log_head_and_tail_are_kept_within_the_bound() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("job").join("a.log");
        let mut log = LogWriter::create(path.clone(), 400).unwrap();
        log.append(b"short\n").unwrap();
        assert_eq!(read(&path, None).unwrap(), b"short\n");
        assert_eq!(read(&path, Some(3)).unwrap(), b"rt\n");
        let mut written = 6;
        for number in 0..100 {
            let line = format!("line {number:03}\n");
            written += line.len();
            log.append(line.as_bytes()).unwrap();
        }
        let text = String::from_utf8(read(&path, None).unwrap()).unwrap();
        assert!(text.starts_with("short\nline 000\n"), "{text}");
        assert!(text.ends_with("line 098\nline 099\n"), "{text}");
        let (head, rest) = text.split_once("\n[… ").unwrap();
        let (dropped, late) = rest.split_once(" bytes left out …]\n").unwrap();
        assert_eq!(head.len() + late.len() + dropped.parse::<usize>().unwrap(), written);
        assert!(head.len() + late.len() <= 400);
        assert_eq!(read(&path, Some(9)).unwrap(), b"line 099\n");
        log.append(&[b'x'; 5000]).unwrap();
        assert!(read(&path, None).unwrap().len() < 450);
    }

    #[test]
    fn the_logs_of_the_last_jobs_are_kept_over_a_restart_too() {
        let folder = tempfile::tempdir().unwrap();
        let job = |ordinal| JobId { date: 20_261_122, ordinal };
        for ordinal in 1..=5 {
            std::fs::create_dir(folder.path().join(job(ordinal).to_string())).unwrap();
        }
        let mut logs = Logs::open(folder.path().to_owned()).unwrap();
        let kept = u32::try_from(PURGED_JOBS_MAX).unwrap();
        assert_eq!(logs.retire(job(5)), Vec::<PathBuf>::new());
        for ordinal in 6..=kept {
            assert_eq!(logs.retire(job(ordinal)), Vec::<PathBuf>::new());
        }
        let oldest = folder.path().join(job(1).to_string());
        assert_eq!(logs.retire(job(kept + 1)), [oldest]);
    }
}
