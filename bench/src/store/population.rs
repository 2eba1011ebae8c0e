//! Many files in a chunk master's journal, as if they had been written: each of one chunk. What a client
//! would need hours for takes seconds, and the master that starts on it can't tell the difference.

use std::path::Path;

use ::tests::cluster::PATIENCE;
use ::tests::wait;
use anyhow::Context as _;
use chunkstore::master::MasterFold;
use chunkstore_core::master::{Allotted, NewFolder, Record, RequestDigest, Sealed, Stamp};
use chunkstore_protocol::{ChunkId, FileId, IfWriterDies, ServerAddress, Version};
use event_loop::encode_record;
use ids::UnixMillis;
use journal::{AppendError, Durability, Journal, Options};

/// Folders that the files lie in.
pub(crate) const FOLDERS: u64 = 1000;
/// With fewer, what a file takes is lost in what a process takes.
pub(crate) const FILES_TO_JUDGE: u64 = 100_000;
/// Length of a chunk, bytes.
pub(crate) const CHUNK_BYTES: u64 = 1 << 20;
/// What a new cluster has made for itself lies below.
const FIRST_ID: u64 = 10_000;
/// The root folder.
const ROOT: FileId = FileId(0);
/// Of the configuration.
const SEGMENT_BYTES: u64 = 8 << 20;
/// Records that are handed to the disk at once.
const BATCH: u64 = 2000;
/// Closed segments that a master has at most before it makes a snapshot of them.
const TAIL_SEGMENTS: u32 = 4;

/// Length of the paths that [`write_path`] writes.
pub(crate) const PATH_BYTES: usize = "/d0000/file-00000000000".len();

/// The path of file `n` of a population: names of 16 bytes.
pub(crate) fn path(n: u64) -> String {
    format!("/d{:04}/file-{n:011}", n % FOLDERS)
}

/// The same, in place.
pub(crate) fn write_path(n: u64, place: &mut [u8]) {
    place.copy_from_slice(b"/d0000/file-00000000000");
    digits(n % FOLDERS, &mut place[2..6]);
    digits(n, &mut place[12..]);
}

/// Writes the last digits of `n`, as many as there is space for.
pub(crate) fn digits(mut n: u64, place: &mut [u8]) {
    for digit in place.iter_mut().rev() {
        *digit = b'0' + u8::try_from(n % 10).unwrap_or(0);
        n /= 10;
    }
}

/// The chunk of file `n`, and its checksum.
pub(crate) fn sealed(n: u64) -> Sealed {
    let checksum = u32::try_from(n % u64::from(u32::MAX)).unwrap_or(0);
    Sealed { chunk: ChunkId(FIRST_ID + n), version: Version(1), length: CHUNK_BYTES, checksum }
}

/// Adds `files` of three replicas to the journal of a stopped chunk master, snapshot included.
///
/// # Errors
/// When the journal can't be written.
pub(crate) fn add(dir: &Path, files: u64, servers: &[ServerAddress]) -> anyhow::Result<()> {
    let (failed, failures) = std::sync::mpsc::channel();
    let tell = move |word| {
        if let Durability::Failed(error) = word {
            // Nobody listens any more once it is dropped.
            let _over = failed.send(error);
        }
    };
    let opened = Journal::open(dir, Options::with_segments(SEGMENT_BYTES), Box::new(tell))?;
    let (fold, mut journal) = opened.fold::<MasterFold>()?;
    drop(fold);
    let mut stamps = Stamps { client: "bench-population".to_owned(), last: 0 };
    for first in (0..files).step_by(usize::try_from(BATCH)?) {
        for n in first..files.min(first + BATCH) {
            for record in file(n, servers, &mut stamps) {
                append(&mut journal, &record)?;
            }
        }
        journal.flush();
        // The last segments stay: a master that is killed leaves as many.
        if first + BATCH < files && journal.closed_segments() > 16 * TAIL_SEGMENTS {
            journal.snapshotter().run::<MasterFold>()?;
        }
    }
    journal.flush();
    if journal.closed_segments() > TAIL_SEGMENTS {
        journal.snapshotter().run::<MasterFold>()?;
    }
    drop(journal);
    failures.try_recv().map_or(Ok(()), |error| Err(error).context("the journal failed"))
}

fn append(journal: &mut Journal, record: &Record) -> anyhow::Result<()> {
    let bytes = encode_record(record);
    let appended =
        wait::until("the next journal segment", PATIENCE, || match journal.append(&bytes) {
            Err(AppendError::NotYet) => {
                journal.flush();
                None
            }
            done => Some(done.map(|_| ())),
        });
    Ok(appended?)
}

/// Bytes of the record that a create leaves.
pub(crate) fn bytes_of_create(servers: &[ServerAddress]) -> usize {
    // The chunk master makes ids of 64 digits of its clients' ids.
    let mut stamps = Stamps { client: "c".repeat(64), last: 0 };
    encode_record(&created(FOLDERS, servers, &mut stamps)).len()
}

struct Stamps {
    client: String,
    last: u64,
}

impl Stamps {
    fn next(&mut self) -> Stamp {
        self.last += 1;
        let client = self.client.parse().expect("letters and digits are a client id");
        Stamp { client, slot: 0, sequence: self.last, digest: RequestDigest(u64::MAX - self.last) }
    }
}

fn file(n: u64, servers: &[ServerAddress], stamps: &mut Stamps) -> [Record; 2] {
    let created = created(n, servers, stamps);
    let closed = Record::FileClosed {
        stamp: stamps.next(),
        at: at(n),
        file: id(n),
        sealed: Some(sealed(n)),
        moved: None,
    };
    [created, closed]
}

fn created(n: u64, servers: &[ServerAddress], stamps: &mut Stamps) -> Record {
    let folder = FileId(FIRST_ID + n % FOLDERS);
    // The first file of each folder makes it.
    let (parent, folders) = match n {
        0..FOLDERS => (ROOT, vec![NewFolder { id: folder, name: format!("d{:04}", n % FOLDERS) }]),
        _ => (folder, Vec::new()),
    };
    let Sealed { chunk, version, .. } = sealed(n);
    Record::FileCreated {
        stamp: stamps.next(),
        at: at(n),
        parent,
        folders,
        name: format!("file-{n:011}"),
        file: id(n),
        replication: 3,
        chunk_bytes: 64 << 20,
        allotted: Allotted { chunk, version, pipeline: servers.to_vec() },
        if_writer_dies: IfWriterDies::Remove,
        owner: "bench".to_owned(),
    }
}

fn id(n: u64) -> FileId {
    FileId(FIRST_ID + FOLDERS + n)
}

fn at(n: u64) -> UnixMillis {
    UnixMillis(1_700_000_000_000 + n)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_the_same_in_place() {
        for n in [0, 7, 1_000, 123_456, 999_999] {
            let mut place = [0; PATH_BYTES];
            write_path(n, &mut place);
            assert_eq!(std::str::from_utf8(&place), Ok(path(n).as_str()));
            assert_eq!(path(n).rsplit('/').next().map(str::len), Some(16));
        }
    }
}
