//! Logs of attempts: `logs/<job>/<attempt>.log`, what the attempt's processes wrote to standard output
//! and error. Of a long log the head and the tail are kept. Logs outlive their attempts, and the last
//! jobs' logs outlive the jobs: people read them when a job has failed.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use mapreduce_protocol::{AttemptId, JobId, LogPart};

/// Purged jobs whose logs are kept.
pub(crate) const PURGED_JOBS_MAX: usize = 20;

/// Tries to read a part of a log while its files change.
const READ_TRIES: u32 = 3;

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

    /// Jobs that are over, or were not heard of since the start, whose logs are there.
    pub(crate) fn purged(&self) -> impl Iterator<Item = JobId> {
        self.purged.iter().copied()
    }

    /// Notes that something of a job runs here: its logs stay.
    pub(crate) fn keep(&mut self, job: JobId) {
        self.purged.retain(|purged| *purged != job);
    }

    pub(crate) fn path(folder: &Path, attempt: AttemptId) -> PathBuf {
        folder.join(attempt.task.job.to_string()).join(format!("{attempt}.log"))
    }

    /// Notes that a job is over; the folders of jobs that ended long ago are to be removed.
    pub(crate) fn retire(&mut self, job: JobId) -> Vec<PathBuf> {
        self.keep(job);
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

#[derive(Debug, Default)]
struct Tail {
    /// The newer file; `None` until it can be made.
    file: Option<File>,
    /// Its length.
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

    /// Of its head.
    pub(crate) fn path(&self) -> &Path {
        &self.path
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
        let tail = self.tail.get_or_insert_default();
        if tail.length + piece.len() as u64 > self.quarter && tail.length > 0 {
            let older = part(&self.path, "older");
            let dropped = tail.dropped + std::fs::metadata(&older).map_or(0, |older| older.len());
            // A full disk that refuses the number keeps both files: the next piece tries again.
            keep_dropped(&self.path, dropped)?;
            std::fs::rename(&newer, &older)?;
            *tail = Tail { file: None, length: 0, dropped };
        }
        let file = match &mut tail.file {
            Some(file) => file,
            none => none.insert(File::create(&newer)?),
        };
        file.write_all(piece)?;
        tail.length += piece.len() as u64;
        Ok(())
    }
}

fn part(log: &Path, name: &str) -> PathBuf {
    log.with_extension(format!("log-{name}"))
}

/// Which part of a log somebody wants. Bytes are numbered from 0 as they were written, those left out included.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Wanted {
    /// So many of the last ones that are kept.
    Last {
        /// Bytes.
        bytes: u64,
    },
    /// What is kept from a byte on.
    From {
        /// The byte.
        offset: u64,
        /// Bytes at most.
        limit: u64,
    },
}

/// Reads a log as kept.
///
/// # Errors
/// When there is none, or it can't be read.
pub(crate) fn read(log: &Path) -> io::Result<Vec<u8>> {
    let mut text = read_from(log, 0, u64::MAX)?;
    let dropped = dropped(log);
    if dropped > 0 {
        text.extend_from_slice(format!("\n[… {dropped} bytes left out …]\n").as_bytes());
    }
    for name in ["older", "newer"] {
        text.extend(or_nothing(read_from(&part(log, name), 0, u64::MAX))?);
    }
    Ok(text)
}

/// Reads a part of a log, of bytes that were written one after the other: one that begins before those that were left out ends
/// before them, and one that begins among them begins behind them. The last bytes are never those before.
///
/// # Errors
/// When there is none, or it can't be read.
pub(crate) fn read_part(log: &Path, wanted: Wanted) -> io::Result<LogPart> {
    let mut tries = 1;
    loop {
        // Its writer may have begun another file meanwhile: then the bytes are not those that they seem to be.
        let before = dropped(log);
        let part = read_part_once(log, wanted)?;
        if dropped(log) == before || tries == READ_TRIES {
            return Ok(part);
        }
        tries += 1;
    }
}

fn read_part_once(log: &Path, wanted: Wanted) -> io::Result<LogPart> {
    let length_of = |path: &Path| or_nothing(std::fs::metadata(path).map(|it| it.len()));
    let head = std::fs::metadata(log)?.len();
    let late = ["older", "newer"].map(|name| part(log, name));
    let lengths = [length_of(&late[0])?, length_of(&late[1])?];
    let behind = if lengths == [0, 0] { head } else { head + dropped(log) };
    let length = behind + lengths.iter().sum::<u64>();
    let (offset, limit) = match wanted {
        Wanted::From { offset, limit } => (offset.min(length), limit),
        Wanted::Last { bytes } => {
            let first = if behind > head { behind } else { 0 };
            (length.saturating_sub(bytes).max(first), bytes)
        }
    };
    let offset = if offset < head { offset } else { offset.max(behind) };
    let mut bytes = Vec::new();
    let older = (&late[0], behind, lengths[0]);
    let newer = (&late[1], behind + lengths[0], lengths[1]);
    for (path, begins, long) in [(&log.to_owned(), 0, head), older, newer] {
        let (at, left) = (offset + bytes.len() as u64, limit - bytes.len() as u64);
        if left > 0 && (begins..begins + long).contains(&at) {
            bytes.extend(or_nothing(read_from(path, at - begins, left.min(begins + long - at)))?);
        }
    }
    Ok(LogPart { offset, length, bytes })
}

/// Keeps how many bytes were left out, in a file that takes no more room each time.
fn keep_dropped(log: &Path, dropped: u64) -> io::Result<()> {
    let file =
        File::options().create(true).truncate(false).write(true).open(part(log, "dropped"))?;
    file.write_all_at(format!("{dropped:020}\n").as_bytes(), 0)
}

/// Bytes that were left out between the head and what follows.
fn dropped(log: &Path) -> u64 {
    let text = std::fs::read_to_string(part(log, "dropped")).unwrap_or_default();
    text.trim().parse().unwrap_or_default()
}

/// A short log has a head alone, and files of the tail change their names while they are read.
fn or_nothing<T: Default>(read: io::Result<T>) -> io::Result<T> {
    match read {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(T::default()),
        read => read,
    }
}

fn read_from(path: &Path, offset: u64, limit: u64) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(offset))?;
    let mut bytes = Vec::new();
    file.take(limit).read_to_end(&mut bytes)?;
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
        assert_eq!(read(&path).unwrap(), b"short\n");
        assert_eq!(read_part(&path, Wanted::Last { bytes: 3 }).unwrap().bytes, b"rt\n");
        let mut written = 6;
        for number in 0..100 {
            let line = format!("line {number:03}\n");
            written += line.len();
            log.append(line.as_bytes()).unwrap();
        }
        let text = String::from_utf8(read(&path).unwrap()).unwrap();
        assert!(text.starts_with("short\nline 000\n"), "{text}");
        assert!(text.ends_with("line 098\nline 099\n"), "{text}");
        let (head, rest) = text.split_once("\n[… ").unwrap();
        let (dropped, late) = rest.split_once(" bytes left out …]\n").unwrap();
        assert_eq!(head.len() + late.len() + dropped.parse::<usize>().unwrap(), written);
        assert!(head.len() + late.len() <= 400);
        assert_eq!(read_part(&path, Wanted::Last { bytes: 9 }).unwrap().bytes, b"line 099\n");
        log.append(&[b'x'; 5000]).unwrap();
        assert!(read(&path).unwrap().len() < 450);
    }

    #[test]
    fn a_log_whose_disk_was_full_goes_on_when_there_is_room() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("job").join("a.log");
        let mut log = LogWriter::create(path.clone(), 400).unwrap();
        let line = |number: usize| format!("line {number:03}\n").into_bytes();
        for number in 0..33 {
            log.append(&line(number)).unwrap();
        }
        // A folder that stands in the way of a file is as good as a full disk.
        for (name, lost) in [("dropped", 33), ("older", 34)] {
            let in_the_way = part(&path, name);
            std::fs::create_dir(&in_the_way).unwrap();
            assert!(log.append(&line(lost)).is_err());
            std::fs::remove_dir(&in_the_way).unwrap();
        }
        for number in 35..60 {
            log.append(&line(number)).unwrap();
        }
        let text = String::from_utf8(read(&path).unwrap()).unwrap();
        let (_, late) = text.split_once(" bytes left out …]\n").unwrap();
        assert!(late.ends_with("line 058\nline 059\n"), "{text}");
        assert!(late.len() > 100 && late.len() <= 200, "{text}");
    }

    #[test]
    fn who_reads_a_log_part_by_part_gets_what_is_kept_in_order_and_learns_what_is_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("job").join("a.log");
        let mut log = LogWriter::create(path.clone(), 400).unwrap();
        let lines: Vec<String> = (0..100).map(|number| format!("line {number:03}\n")).collect();
        let whole = lines.concat().into_bytes();
        let mut read_so_far = 0;
        for (number, line) in lines.iter().enumerate() {
            log.append(line.as_bytes()).unwrap();
            // One who keeps up misses nothing.
            let wanted = Wanted::From { offset: read_so_far, limit: 50 };
            let part = read_part(&path, wanted).unwrap();
            assert_eq!((part.offset, part.bytes.as_slice()), (read_so_far, line.as_bytes()));
            read_so_far += part.bytes.len() as u64;
            assert_eq!(part.length, read_so_far, "after line {number}");
        }
        let last = read_part(&path, Wanted::Last { bytes: 399 }).unwrap();
        assert!(last.bytes.len() >= 100 && whole.ends_with(&last.bytes), "none of the head");
        let mut offset = 0;
        let mut kept = Vec::new();
        let mut left_out = 0;
        loop {
            let part = read_part(&path, Wanted::From { offset, limit: 37 }).unwrap();
            assert_eq!(part.length, whole.len() as u64);
            left_out += part.offset - offset;
            if part.bytes.is_empty() {
                break;
            }
            let at = usize::try_from(part.offset).unwrap();
            assert_eq!(part.bytes, whole[at..at + part.bytes.len()]);
            offset = part.offset + part.bytes.len() as u64;
            kept.extend(part.bytes);
        }
        assert!(left_out > 0 && kept.len() as u64 + left_out == whole.len() as u64);
        assert_eq!(read_part(&path, Wanted::From { offset: 9999, limit: 9 }).unwrap().bytes, b"");
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
        logs.keep(job(1));
        assert_eq!(logs.retire(job(kept + 1)), Vec::<PathBuf>::new(), "the oldest one runs");
        let oldest = folder.path().join(job(2).to_string());
        assert_eq!(logs.retire(job(1)), [oldest]);
    }
}
