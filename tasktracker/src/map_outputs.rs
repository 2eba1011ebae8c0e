//! Map outputs on the local disk: `outputs/<job>/<attempt>.map`. A task writes its own into its attempt's
//! folder (`mapreduce`), from where it is moved here when the task has succeeded: no task writes where
//! another's outputs are. Here their index is read and checked, and byte ranges are read for the shuffle
//! server.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use crc_fast::crc32_iscsi;
use mapreduce_protocol::map_output::{self, LayoutError, Segment, TRAILER_BYTES, Trailer};
use mapreduce_protocol::{AttemptId, JobId};

/// Why a map output can't be served.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MapOutputError {
    /// It is not there.
    #[error("map output {} is missing", path.display())]
    Missing {
        /// Its file.
        path: PathBuf,
    },
    /// It can't be read.
    #[error("map output {}: {source}", path.display())]
    Io {
        /// Its file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is torn or broken.
    #[error("map output {}: {source}", path.display())]
    Broken {
        /// Its file.
        path: PathBuf,
        /// What is wrong.
        source: LayoutError,
    },
}

/// The folder of all map outputs.
#[derive(Clone, Debug)]
pub(crate) struct MapOutputs {
    folder: PathBuf,
}

/// An open map output with an intact index.
#[derive(Debug)]
pub(crate) struct MapOutput {
    file: File,
    segments: Vec<Segment>,
}

impl MapOutputs {
    pub(crate) fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    pub(crate) fn of_job(&self, job: JobId) -> PathBuf {
        self.folder.join(job.to_string())
    }

    pub(crate) fn path(&self, attempt: AttemptId) -> PathBuf {
        self.of_job(attempt.task.job).join(format!("{attempt}.map"))
    }

    /// Moves what a task has left at `from` to where it is served. Done twice, it is done once.
    ///
    /// # Errors
    /// When there is no such file, or something else than a file of its own in its place: a link would
    /// have this process serve whatever it points to.
    pub(crate) fn take(&self, attempt: AttemptId, from: &Path) -> io::Result<()> {
        let to = self.path(attempt);
        match std::fs::rename(from, &to) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && to.exists() => return Ok(()),
            moved => moved?,
        }
        // The task can't put another one in its place any more.
        let left = to.symlink_metadata()?;
        if left.is_file() && left.nlink() == 1 {
            return Ok(());
        }
        std::fs::remove_file(&to)?;
        Err(io::Error::new(io::ErrorKind::InvalidData, "it is a link, or no file"))
    }

    /// Opens an output and checks its index.
    ///
    /// # Errors
    /// See [`MapOutputError`].
    pub(crate) fn open(&self, attempt: AttemptId) -> Result<MapOutput, MapOutputError> {
        let path = self.path(attempt);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(MapOutputError::Missing { path });
            }
            Err(source) => return Err(MapOutputError::Io { path, source }),
        };
        let segments = read_index(&file).map_err(|error| error.at(&path))?;
        Ok(MapOutput { file, segments })
    }

    /// The outputs that are whole; what is not, is removed.
    ///
    /// # Errors
    /// When the folder can't be read.
    pub(crate) fn recover(&self) -> io::Result<Vec<AttemptId>> {
        let mut whole = Vec::new();
        for job in std::fs::read_dir(&self.folder)? {
            let job = job?;
            let Some(id) = parsed::<JobId>(&job.path()) else { continue };
            for output in std::fs::read_dir(job.path())? {
                let path = output?.path();
                let attempt = parsed::<AttemptId>(&path).filter(|attempt| attempt.task.job == id);
                match attempt.map(|attempt| self.open(attempt).map(|_| attempt)) {
                    Some(Ok(attempt)) => whole.push(attempt),
                    Some(Err(error)) => {
                        tracing::info!(%error, "removed");
                        std::fs::remove_file(&path)?;
                    }
                    None => {}
                }
            }
        }
        Ok(whole)
    }
}

fn parsed<T: std::str::FromStr>(path: &Path) -> Option<T> {
    path.file_stem()?.to_str()?.parse().ok()
}

enum ReadError {
    Io(io::Error),
    Layout(LayoutError),
}

impl From<io::Error> for ReadError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<LayoutError> for ReadError {
    fn from(error: LayoutError) -> Self {
        Self::Layout(error)
    }
}

impl ReadError {
    fn at(self, path: &Path) -> MapOutputError {
        let path = path.to_owned();
        match self {
            Self::Io(source) => MapOutputError::Io { path, source },
            Self::Layout(source) => MapOutputError::Broken { path, source },
        }
    }
}

fn read_index(file: &File) -> Result<Vec<Segment>, ReadError> {
    let length = file.metadata()?.len();
    let mut trailer = [0; TRAILER_BYTES];
    file.read_exact_at(&mut trailer, map_output::trailer_offset(length)?)?;
    let trailer = Trailer::decode(&trailer, length)?;
    let mut index = vec![0; usize::try_from(trailer.index_length()).unwrap_or(usize::MAX)];
    file.read_exact_at(&mut index, trailer.index_offset)?;
    Ok(map_output::decode_index(&index, crc32_iscsi(&index), &trailer)?)
}

impl MapOutput {
    /// Where a partition stands; empty if the map knows fewer partitions.
    pub(crate) fn segment(&self, partition: u32) -> Segment {
        self.segments.get(partition as usize).copied().unwrap_or_default()
    }

    /// Reads a piece of the file.
    ///
    /// # Errors
    /// When the disk fails, or the file was cut since its index was read.
    pub(crate) fn read(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_exact_at(buffer, offset)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use mapreduce_protocol::TaskKind;

    use super::*;

    /// The bytes of a map output with these segments (whatever they hold).
    pub(crate) fn encode(segments: &[&[u8]]) -> Vec<u8> {
        let mut file = map_output::header().to_vec();
        let mut index = Vec::new();
        for bytes in segments {
            let (offset, length) = (file.len() as u64, bytes.len() as u64);
            index.push(Segment { offset, length, records: 1, raw_bytes: length });
            file.extend_from_slice(bytes);
        }
        let encoded = map_output::encode_index(&index);
        let trailer = Trailer {
            index_offset: file.len() as u64,
            partitions: u32::try_from(segments.len()).unwrap(),
            index_crc32c: crc32_iscsi(&encoded),
        };
        file.extend_from_slice(&encoded);
        file.extend_from_slice(&trailer.encode());
        file
    }

    #[test]
    fn a_tasks_own_file_is_taken_over_and_no_link_to_anothers() {
        let folder = tempfile::tempdir().unwrap();
        let outputs = MapOutputs::new(folder.path().join("outputs"));
        let job = JobId { date: 20_261_122, ordinal: 1 };
        let map = |index| job.task(TaskKind::Map, index).attempt(0);
        std::fs::create_dir_all(outputs.of_job(job)).unwrap();
        let (left, secret) = (folder.path().join("output.map"), folder.path().join("secret"));
        std::fs::write(&secret, "secret").unwrap();
        std::fs::write(&left, encode(&[b"abc"])).unwrap();
        for _ in 0..2 {
            outputs.take(map(0), &left).unwrap();
            assert!(!left.exists() && outputs.open(map(0)).is_ok());
        }
        let refused = |index| {
            let error = outputs.take(map(index), &left).unwrap_err();
            assert!(!outputs.path(map(index)).exists());
            error.kind()
        };
        assert_eq!(refused(1), io::ErrorKind::NotFound);
        std::os::unix::fs::symlink(&secret, &left).unwrap();
        assert_eq!(refused(1), io::ErrorKind::InvalidData);
        std::fs::hard_link(&secret, &left).unwrap();
        assert_eq!(refused(1), io::ErrorKind::InvalidData);
        assert!(secret.exists());
    }

    #[test]
    fn whole_outputs_survive_a_restart_and_torn_ones_are_removed() {
        let folder = tempfile::tempdir().unwrap();
        let outputs = MapOutputs::new(folder.path().to_owned());
        let job = JobId { date: 20_261_122, ordinal: 1 };
        let map = |index| job.task(TaskKind::Map, index).attempt(0);
        std::fs::create_dir(outputs.of_job(job)).unwrap();
        let good = encode(&[b"abc", b"", b"defg"]);
        std::fs::write(outputs.path(map(0)), &good).unwrap();
        std::fs::write(outputs.path(map(1)), &good[..good.len() - 1]).unwrap();
        let mut flipped = good.clone();
        flipped[30] ^= 1;
        std::fs::write(outputs.path(map(2)), flipped).unwrap();
        std::fs::write(outputs.path(map(3)), b"").unwrap();
        assert_eq!(outputs.recover().unwrap(), [map(0)]);
        assert!(!outputs.path(map(1)).exists() && !outputs.path(map(2)).exists());
        let output = outputs.open(map(0)).unwrap();
        let segment = output.segment(2);
        let mut bytes = [0; 4];
        output.read(&mut bytes, segment.offset).unwrap();
        assert_eq!((segment.length, &bytes), (4, b"defg"));
        assert_eq!(output.segment(9).length, 0);
        assert!(matches!(outputs.open(map(1)), Err(MapOutputError::Missing { .. })));
    }
}
