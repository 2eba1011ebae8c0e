//! Where a replica is written, and how it goes on when its disk takes no more of it: what is there of it is read again,
//! verified, and written to another disk of the server. So a disk that is ill or full costs a writer nothing while another
//! has room. When that is to be tried is `open_chunk`'s word, which disk comes next `disks`'.

use std::fs::File;
use std::io::{self, IoSlice};
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chunkstore_client::checksum::crc32c;
use chunkstore_core::replica::ReplicaKey;
use chunkstore_protocol::block::BLOCK_BYTES;
use rustix::fs::{Advice, fadvise};

use super::data_dir::{Booking, DataDir};
use super::disks::Disks;
use super::open_chunk::DiskError;
use super::syncs::{sync_file, sync_folder};

/// What of a replica is taken to another disk at once: 1 MiB.
const BLOCKS_PER_STEP: u64 = 16;
/// A disk that gives no answer has so long to give what is to be taken from it: what it has in memory.
const SOURCE_PATIENCE: Duration = Duration::from_secs(1);
/// Pieces that one write takes (`IOV_MAX` is 1024).
pub(super) const PIECES_PER_WRITE: usize = 512;

/// The file of a replica that is being written.
#[derive(Debug)]
pub(super) struct Place {
    dir: Booking,
    path: PathBuf,
    file: Arc<File>,
    /// The folders on whose disks it could not be written.
    given_up: Vec<PathBuf>,
}

/// Bytes to be written behind one another.
#[derive(Debug)]
pub(super) struct Write {
    pub(super) pieces: Vec<Bytes>,
    /// Offset of the first in the file.
    pub(super) at: u64,
    /// From here on the disk is asked to begin writing.
    pub(super) flush_from: Option<u64>,
}

impl Write {
    fn len(&self) -> u64 {
        self.pieces.iter().map(|piece| piece.len() as u64).sum()
    }
}

/// What is known of a replica's bytes besides its file.
#[derive(Debug)]
pub(super) struct Known {
    /// Checksums of its blocks so far.
    pub(super) blocks: Vec<u32>,
    /// Where the last of them ends.
    pub(super) verified: u64,
    /// What came behind that.
    pub(super) behind: Vec<Bytes>,
    /// What comes behind the bytes that could not be written.
    pub(super) ahead: Vec<Bytes>,
}

impl Place {
    /// On the disk with most room.
    pub(super) async fn create(disks: &Disks, replica: ReplicaKey) -> Result<Self, DiskError> {
        Self::besides(disks, replica, Vec::new()).await
    }

    async fn besides(
        disks: &Disks,
        replica: ReplicaKey,
        mut given_up: Vec<PathBuf>,
    ) -> Result<Self, DiskError> {
        let (dir, file) = disks.create_file(replica, &mut given_up).await?;
        Ok(Self { path: dir.open_path(replica), dir, file: Arc::new(file), given_up })
    }

    pub(super) fn dir(&self) -> &Arc<DataDir> {
        &self.dir
    }

    /// Its name until it is sealed, and from then on.
    pub(super) fn paths(&self, replica: ReplicaKey) -> [PathBuf; 2] {
        [self.path.clone(), self.dir.sealed_path(replica)]
    }

    /// Writes bytes at their place. Blocks.
    pub(super) fn write(&self, write: &Write) -> Result<(), DiskError> {
        self.on_disk(|| {
            check_room(&self.dir, write.len())?;
            write_at(&self.file, &write.pieces, write.at)?;
            let end = write.at + write.len();
            write.flush_from.map_or(Ok(()), |from| begin_flush(&self.file, from, end - from))
        })
    }

    /// Makes its first `end` bytes durable, under the name of a sealed one. On return it survives a power cut. Blocks.
    pub(super) fn seal(&self, replica: ReplicaKey, end: u64) -> Result<(), DiskError> {
        let [from, to] = self.paths(replica);
        self.on_disk(|| {
            // Of a cut one, more may lie behind the footer.
            self.file.set_len(end)?;
            sync_file(&self.file)?;
            std::fs::rename(&from, &to)?;
            to.parent().map_or(Ok(()), sync_folder)
        })?;
        match self.dir.hold(replica) {
            true => Ok(()),
            false => Err(self.has_failed()),
        }
    }

    fn on_disk(&self, work: impl FnOnce() -> io::Result<()>) -> Result<(), DiskError> {
        if self.dir.failed().is_some() {
            return Err(self.has_failed());
        }
        work().map_err(|error| {
            self.dir.blame(&error);
            DiskError::new(&self.dir, &self.path, error)
        })
    }

    fn has_failed(&self) -> DiskError {
        DiskError::Failed { folder: self.dir.root().to_owned() }
    }

    /// Writes all that there is, and what could not be written here, to another disk.
    ///
    /// # Errors
    /// Why it could not be written here, if no other disk takes it or what is here is not what was written.
    pub(super) async fn move_on(
        &self,
        disks: &Disks,
        replica: ReplicaKey,
        known: &Arc<Known>,
        write: &Arc<Write>,
        error: DiskError,
    ) -> Result<Self, DiskError> {
        let mut given_up = self.given_up.clone();
        given_up.push(self.dir.root().to_owned());
        loop {
            let other = match Self::besides(disks, replica, given_up).await {
                Ok(other) => other,
                // All that work are full: it names them.
                Err(all @ DiskError::OutOfSpace { .. }) if error.is_of_room() => return Err(all),
                Err(_) => return Err(error),
            };
            match other.take_over(self, known, write).await {
                Ok(()) => {
                    tracing::warn!(chunk = %replica.chunk, %error, to = %other.dir.root().display(),
                        "a replica can't be written to a disk: it goes on on another");
                    return Ok(other);
                }
                Err(failure) => {
                    tracing::warn!(chunk = %replica.chunk, error = %failure.error(),
                        "a replica can't go on on another disk");
                    given_up = other.given_up.clone();
                    given_up.push(other.dir.root().to_owned());
                    let is_source = matches!(failure, TakeOverError::Source(_));
                    // Not waited for: its disk may hang.
                    tokio::spawn(async move { other.remove(replica).await });
                    if is_source {
                        return Err(error);
                    }
                }
            }
        }
    }

    /// Best effort: the next start removes what is left of an unfinished one, or sees that it lies on two disks.
    pub(super) async fn remove(&self, replica: ReplicaKey) {
        self.dir.forget(replica);
        if self.dir.failed().is_some() {
            return;
        }
        let paths = self.paths(replica);
        let removed = self.dir.begin(move |_| remove_if_there(&paths)).end().await;
        if let Err(error) = removed.unwrap_or_else(|cause| Err(cause.into())) {
            tracing::error!(path = %self.path.display(), %error,
                "what was written of a replica that is on another disk now can't be removed");
        }
    }

    /// Each step is a call to one of the two disks: either may hang.
    async fn take_over(
        &self,
        from: &Self,
        known: &Arc<Known>,
        write: &Arc<Write>,
    ) -> Result<(), TakeOverError> {
        let file_end = write.at.min(known.verified);
        let (dir, end) = (Arc::clone(self.dir()), write.at + write.len());
        self.on_this(move |_| check_room(&dir, end)).await?;
        let n_blocks = file_end.div_ceil(BLOCK_BYTES as u64);
        let mut first = 0;
        while first < n_blocks {
            let blocks = first..(first + BLOCKS_PER_STEP).min(n_blocks);
            let (source, known, write) =
                (Arc::clone(&from.file), Arc::clone(known), Arc::clone(write));
            let read = blocks.clone();
            let mut reading = from.dir.begin(move |_| {
                read.map(|index| block_of(&source, index, &known, &write).map(Bytes::from))
                    .collect::<io::Result<Vec<_>>>()
            });
            let read = reading.within(SOURCE_PATIENCE).await;
            let read = read.unwrap_or_else(|cause| Err(cause.into()));
            let read = read.map_err(TakeOverError::Source)?;
            self.on_this(move |file| write_at(file, &read, first * BLOCK_BYTES as u64)).await?;
            first = blocks.end;
        }
        let behind = first_of(&known.behind, write.at - file_end);
        let write = Arc::clone(write);
        self.on_this(move |file| {
            write_at(file, &behind, file_end)?;
            write_at(file, &write.pieces, write.at)
        })
        .await
    }

    /// Runs what blocks on this replica's disk.
    async fn on_this(
        &self,
        work: impl FnOnce(&File) -> io::Result<()> + Send + 'static,
    ) -> Result<(), TakeOverError> {
        let file = Arc::clone(&self.file);
        let mut working = self.dir.begin(move |dir| {
            work(&file).inspect_err(|error| {
                dir.blame(error);
            })
        });
        let done = match working.answer().await {
            Ok(done) => done.map_err(|error| DiskError::new(&self.dir, &self.path, error)),
            Err(cause) => Err(DiskError::no_answer(&self.dir, cause)),
        };
        done.map_err(TakeOverError::Disk)
    }
}

/// Removes the files, those that there are. Blocks.
pub(super) fn remove_if_there(paths: &[PathBuf; 2]) -> io::Result<()> {
    paths.iter().try_for_each(|path| match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    })
}

/// Why a replica does not go on elsewhere.
#[derive(Debug)]
enum TakeOverError {
    /// It can't be read where it was, or is not what was written.
    Source(io::Error),
    /// It can't be written there either.
    Disk(DiskError),
}

impl TakeOverError {
    fn error(&self) -> &dyn std::error::Error {
        match self {
            Self::Source(error) => error,
            Self::Disk(error) => error,
        }
    }
}

/// What the file has of a block, which ends in what was to be written perhaps, or behind it; verified as a whole.
fn block_of(file: &File, index: u64, known: &Known, write: &Write) -> io::Result<Vec<u8>> {
    let begin = index * BLOCK_BYTES as u64;
    let end = (begin + BLOCK_BYTES as u64).min(known.verified);
    let in_file = usize::try_from(end.min(write.at) - begin).unwrap_or(usize::MAX);
    let mut block = vec![0; in_file];
    file.read_exact_at(&mut block, begin)?;
    let left = end - end.min(write.at);
    let (here, there) = (first_of(&write.pieces, left), left.saturating_sub(write.len()));
    for piece in here.iter().chain(&first_of(&known.ahead, there)) {
        block.extend_from_slice(piece);
    }
    let expected = usize::try_from(index).ok().and_then(|index| known.blocks.get(index));
    if expected != Some(&crc32c(&block)) {
        let reason = format!("the block at byte {begin} is not what was written");
        return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
    }
    block.truncate(in_file);
    Ok(block)
}

/// The first `n` bytes of the pieces.
fn first_of(pieces: &[Bytes], n: u64) -> Vec<Bytes> {
    let mut left = usize::try_from(n).unwrap_or(usize::MAX);
    let cut = pieces.iter().map_while(|piece| {
        let taken = piece.len().min(left);
        left -= taken;
        (taken > 0 || piece.is_empty()).then(|| piece.slice(..taken))
    });
    cut.collect()
}

/// An error if so many more bytes do not fit.
pub(super) fn check_room(dir: &DataDir, n: u64) -> io::Result<()> {
    match dir.make_room(n)? {
        true => Ok(()),
        false => Err(io::ErrorKind::StorageFull.into()),
    }
}

fn write_at(file: &File, pieces: &[Bytes], mut at: u64) -> io::Result<()> {
    let mut pieces: Vec<_> = pieces.iter().map(|piece| IoSlice::new(piece)).collect();
    let mut left = pieces.as_mut_slice();
    // Empty pieces would look like a full disk.
    IoSlice::advance_slices(&mut left, 0);
    while !left.is_empty() {
        let most = left.len().min(PIECES_PER_WRITE);
        match rustix::io::pwritev(file, &left[..most], at) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(n) => {
                at += n as u64;
                IoSlice::advance_slices(&mut left, n);
            }
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// `DONTNEED` on dirty pages makes Linux begin to write them, and keeps them cached while it does: what
/// `sync_file_range` is for, without a call that only Linux knows.
fn begin_flush(file: &File, from: u64, n: u64) -> io::Result<()> {
    let n = std::num::NonZeroU64::new(n);
    Ok(fadvise(file, from, n, Advice::DontNeed)?)
}
