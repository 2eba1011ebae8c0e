//! Map outputs on the local disks: `outputs/<job>/<attempt>.map`, each on the disk of its attempt. A task writes its
//! own into its attempt's folder (`mapreduce`), from where it is moved here when the task has succeeded: no task writes
//! where another's outputs are. Here their index is read and checked, and byte ranges are read for the shuffle server.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crc_fast::crc32_iscsi;
use mapreduce_protocol::map_output::{self, LayoutError, Segment, TRAILER_BYTES, Trailer};
use mapreduce_protocol::{AttemptId, JobId};
use tasktracker_core::DiskNumber;

use crate::tree;

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

impl MapOutputError {
    /// Whether it may pass: this process has no descriptor or memory left just now, which says nothing of the output.
    pub(crate) fn passes(&self) -> bool {
        let Self::Io { source, .. } = self else { return false };
        matches!(source.raw_os_error(), Some(libc::EMFILE | libc::ENFILE | libc::ENOMEM))
    }
}

/// The folders of all map outputs, one on each disk, and what lies where.
#[derive(Clone, Debug)]
pub(crate) struct MapOutputs {
    folders: Arc<[PathBuf]>,
    places: Arc<Mutex<Places>>,
}

#[derive(Debug, Default)]
struct Places {
    disk_of: BTreeMap<AttemptId, DiskNumber>,
    left: BTreeSet<DiskNumber>,
}

/// An open map output with an intact index.
#[derive(Debug)]
pub(crate) struct MapOutput {
    file: File,
    segments: Vec<Segment>,
}

impl MapOutputs {
    pub(crate) fn new(folders: Vec<PathBuf>) -> Self {
        Self { folders: folders.into(), places: Arc::default() }
    }

    fn places(&self) -> MutexGuard<'_, Places> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn of_job_on(&self, job: JobId, disk: DiskNumber) -> PathBuf {
        self.folders[disk.0].join(job.to_string())
    }

    /// The folder of a job's map outputs on a disk, made if need be.
    ///
    /// # Errors
    /// When the disk says no.
    pub(crate) fn make_folder(&self, job: JobId, disk: DiskNumber) -> io::Result<()> {
        std::fs::create_dir_all(self.of_job_on(job, disk))
    }

    fn path_on(&self, attempt: AttemptId, disk: DiskNumber) -> PathBuf {
        self.of_job_on(attempt.task.job, disk).join(format!("{attempt}.map"))
    }

    /// Forgets an output; its file, which is to be removed, if there may be one.
    pub(crate) fn forget(&self, attempt: AttemptId) -> Option<PathBuf> {
        let disk = self.places().disk_of.remove(&attempt)?;
        Some(self.path_on(attempt, disk))
    }

    /// Forgets a job; its folders, which are to be removed.
    pub(crate) fn forget_job(&self, job: JobId) -> Vec<PathBuf> {
        let mut places = self.places();
        places.disk_of.retain(|attempt, _| attempt.task.job != job);
        let disks = (0..self.folders.len()).map(DiskNumber);
        let remaining = disks.filter(|disk| !places.left.contains(disk));
        remaining.map(|disk| self.of_job_on(job, disk)).collect()
    }

    /// Touches nothing on a disk any more; the outputs that lay there.
    pub(crate) fn leave(&self, disk: DiskNumber) -> Vec<AttemptId> {
        let mut places = self.places();
        places.left.insert(disk);
        let lost = places.disk_of.extract_if(.., |_, on| *on == disk);
        lost.map(|(attempt, _)| attempt).collect()
    }

    /// Moves what a task has left at `from` to where it is served. Done twice, it is done once.
    ///
    /// # Errors
    /// When there is no such file, or something else than a file of its own in its place: a link would
    /// have this process serve whatever it points to.
    pub(crate) fn take(&self, attempt: AttemptId, disk: DiskNumber, from: &Path) -> io::Result<()> {
        let to = self.path_on(attempt, disk);
        let moved = own_file(from).and_then(|()| std::fs::rename(from, &to));
        match moved {
            Err(error) if error.kind() == io::ErrorKind::NotFound && to.exists() => return Ok(()),
            moved => moved?,
        }
        // Only now can the task put nothing else in its place any more.
        if let Err(error) = own_file(&to) {
            tree::remove(&to)?;
            return Err(error);
        }
        self.places().disk_of.insert(attempt, disk);
        Ok(())
    }

    /// How many disks there are.
    pub(crate) fn n_disks(&self) -> usize {
        self.folders.len()
    }

    /// Where an output lies; nowhere, if it is not there or its disk was left.
    pub(crate) fn disk_of(&self, attempt: AttemptId) -> Option<DiskNumber> {
        self.places().disk_of.get(&attempt).copied()
    }

    /// Opens an output and checks its index.
    ///
    /// # Errors
    /// See [`MapOutputError`].
    pub(crate) fn open(&self, attempt: AttemptId) -> Result<MapOutput, MapOutputError> {
        match self.disk_of(attempt) {
            Some(disk) => open(self.path_on(attempt, disk)),
            None => Err(MapOutputError::Missing { path: self.path_on(attempt, DiskNumber(0)) }),
        }
    }

    /// The outputs that are whole; what is broken, or no output, is removed. And the disks that can't be read.
    pub(crate) fn recover(&self) -> (Vec<AttemptId>, Vec<(DiskNumber, io::Error)>) {
        let (mut whole, mut failing) = (Vec::new(), Vec::new());
        for disk in (0..self.folders.len()).map(DiskNumber) {
            if self.places().left.contains(&disk) {
                continue;
            }
            match self.recover_from(disk) {
                Ok(found) => whole.extend(found),
                Err(error) => failing.push((disk, error)),
            }
        }
        (whole, failing)
    }

    fn recover_from(&self, disk: DiskNumber) -> io::Result<Vec<AttemptId>> {
        let mut whole = Vec::new();
        for job in std::fs::read_dir(&self.folders[disk.0])? {
            let job = job?.path();
            let Some(id) = parsed::<JobId>(&job) else { continue };
            let outputs = match std::fs::read_dir(&job) {
                Ok(outputs) => outputs,
                Err(error) => {
                    tracing::warn!(path = %job.display(), %error, "a job's map outputs can't be listed: they count as lost");
                    continue;
                }
            };
            for path in outputs.flatten().map(|output| output.path()) {
                let attempt = parsed::<AttemptId>(&path).filter(|attempt| attempt.task.job == id);
                whole.extend(attempt.filter(|_| is_whole(&path)));
            }
        }
        self.places().disk_of.extend(whole.iter().map(|attempt| (*attempt, disk)));
        Ok(whole)
    }
}

/// Whether a map output can be served. One that is broken, or is none, is removed; one that just can't be read may be sound.
fn is_whole(path: &Path) -> bool {
    let (error, is_broken) = match own_file(path).map(|()| open(path.to_owned())) {
        Ok(Ok(_)) => return true,
        Ok(Err(error)) => (error.to_string(), matches!(error, MapOutputError::Broken { .. })),
        Err(error) => (error.to_string(), error.kind() == io::ErrorKind::InvalidData),
    };
    let path_shown = path.display();
    if !is_broken {
        tracing::warn!(path = %path_shown, error, "a map output can't be read: it counts as lost");
        return false;
    }
    match tree::remove(path) {
        Ok(()) => tracing::info!(path = %path_shown, error, "removed what is no map output"),
        Err(why) => tracing::warn!(path = %path_shown, error, %why, "can't be removed"),
    }
    false
}

/// Whether a file is there, and nothing that leads to another one.
fn own_file(path: &Path) -> io::Result<()> {
    let found = path.symlink_metadata()?;
    match found.is_file() && found.nlink() == 1 {
        true => Ok(()),
        false => Err(io::Error::new(io::ErrorKind::InvalidData, "it is a link, or no file")),
    }
}

fn open(path: PathBuf) -> Result<MapOutput, MapOutputError> {
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

    pub(crate) const DISK: DiskNumber = DiskNumber(0);

    impl MapOutputs {
        /// Puts an output in its place.
        pub(crate) fn put(&self, attempt: AttemptId, bytes: &[u8]) {
            self.put_on(attempt, DISK, bytes);
        }

        pub(crate) fn put_on(&self, attempt: AttemptId, disk: DiskNumber, bytes: &[u8]) {
            self.make_folder(attempt.task.job, disk).unwrap();
            std::fs::write(self.path_on(attempt, disk), bytes).unwrap();
            self.places().disk_of.insert(attempt, disk);
        }

        fn has_file(&self, attempt: AttemptId) -> bool {
            self.path_on(attempt, DISK).exists()
        }
    }

    #[test]
    fn what_lies_on_a_disk_that_is_left_is_lost_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let folders = ["one", "two"].map(|name| folder.path().join(name));
        let outputs = MapOutputs::new(folders.to_vec());
        let job = JobId { date: 20_261_122, ordinal: 1 };
        let map = |index| job.task(TaskKind::Map, index).attempt(0);
        let left = folder.path().join("output.map");
        for (index, disk) in [(0, 0), (1, 1), (2, 1)] {
            std::fs::write(&left, encode(&[b"abc"])).unwrap();
            outputs.make_folder(job, DiskNumber(disk)).unwrap();
            outputs.take(map(index), DiskNumber(disk), &left).unwrap();
        }
        let again = MapOutputs::new(folders.to_vec());
        let (mut found, failing) = again.recover();
        found.sort();
        assert_eq!((found, failing.len()), (vec![map(0), map(1), map(2)], 0));
        assert!(again.open(map(2)).is_ok());
        assert_eq!(again.leave(DiskNumber(1)), [map(1), map(2)]);
        assert!(again.open(map(0)).is_ok());
        assert!(matches!(again.open(map(1)), Err(MapOutputError::Missing { .. })));
        assert_eq!(again.forget_job(job), [folders[0].join(job.to_string())]);
    }

    #[test]
    fn a_tasks_own_file_is_taken_over_and_no_link_to_anothers() {
        let folder = tempfile::tempdir().unwrap();
        let outputs = MapOutputs::new(vec![folder.path().join("outputs")]);
        let job = JobId { date: 20_261_122, ordinal: 1 };
        let map = |index| job.task(TaskKind::Map, index).attempt(0);
        outputs.make_folder(job, DISK).unwrap();
        let (left, secret) = (folder.path().join("output.map"), folder.path().join("secret"));
        std::fs::write(&secret, "secret").unwrap();
        std::fs::write(&left, encode(&[b"abc"])).unwrap();
        for _ in 0..2 {
            outputs.take(map(0), DISK, &left).unwrap();
            assert!(!left.exists() && outputs.open(map(0)).is_ok());
        }
        let refused = |index| {
            let error = outputs.take(map(index), DISK, &left).unwrap_err();
            assert!(!outputs.has_file(map(index)));
            error.kind()
        };
        assert_eq!(refused(1), io::ErrorKind::NotFound);
        std::os::unix::fs::symlink(&secret, &left).unwrap();
        assert_eq!(refused(1), io::ErrorKind::InvalidData);
        std::fs::remove_file(&left).unwrap();
        std::fs::hard_link(&secret, &left).unwrap();
        assert_eq!(refused(1), io::ErrorKind::InvalidData);
        std::fs::remove_file(&left).unwrap();
        std::fs::create_dir_all(left.join("full")).unwrap();
        assert_eq!(refused(1), io::ErrorKind::InvalidData);
        assert!(secret.exists() && left.exists(), "its folder goes with the attempt");
    }

    #[test]
    fn whole_outputs_survive_a_restart_and_torn_ones_are_removed() {
        let folder = tempfile::tempdir().unwrap();
        let outputs = MapOutputs::new(vec![folder.path().to_owned()]);
        let job = JobId { date: 20_261_122, ordinal: 1 };
        let map = |index| job.task(TaskKind::Map, index).attempt(0);
        let good = encode(&[b"abc", b"", b"defg"]);
        outputs.put(map(0), &good);
        outputs.put(map(1), &good[..good.len() - 1]);
        let mut flipped = good.clone();
        flipped[30] ^= 1;
        outputs.put(map(2), &flipped);
        outputs.put(map(3), b"");
        let other = |name: String| folder.path().join(job.to_string()).join(name);
        std::fs::create_dir_all(other(format!("{}.map/full", map(4)))).unwrap();
        std::os::unix::fs::symlink("/dev/zero", other(format!("{}.map", map(5)))).unwrap();
        std::fs::write(folder.path().join("job_20261122_0002"), "no folder").unwrap();
        let outputs = MapOutputs::new(vec![folder.path().to_owned()]);
        let (whole, failing) = outputs.recover();
        assert_eq!(whole, [map(0)]);
        assert!(failing.is_empty(), "{failing:?}");
        for index in 1..=5 {
            assert!(!outputs.has_file(map(index)), "{index}");
        }
        let output = outputs.open(map(0)).unwrap();
        let segment = output.segment(2);
        let mut bytes = [0; 4];
        output.read(&mut bytes, segment.offset).unwrap();
        assert_eq!((segment.length, &bytes), (4, b"defg"));
        assert_eq!(output.segment(9).length, 0);
        assert!(matches!(outputs.open(map(1)), Err(MapOutputError::Missing { .. })));
    }
}
