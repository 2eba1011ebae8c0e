//! Where a sorted run's blocks come from: memory (a fetched segment) or a file of the map output's layout.
//! Blocks of files are verified as they are read, those in memory when they arrived.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use crc_fast::crc32_iscsi as crc32c;
use mapreduce_protocol::Failure;
use mapreduce_protocol::map_output::{
    self, BLOCK_HEADER_BYTES, BlockHeader, CODEC_NONE, LayoutError, Segment, Trailer,
};

use super::block_codec::raw_of;
use super::failure;

/// A file of runs, opened when it is first read: far more of them may wait than may be open.
#[derive(Debug)]
pub(crate) struct RunFile {
    path: PathBuf,
    open: OnceLock<File>,
    is_temporary: bool,
}

impl RunFile {
    /// A file that is there to stay.
    pub(crate) fn kept(path: &Path) -> Arc<Self> {
        Arc::new(Self { path: path.to_owned(), open: OnceLock::new(), is_temporary: false })
    }

    /// A file that is removed with its last reader.
    pub(crate) fn temporary(path: &Path) -> Arc<Self> {
        Arc::new(Self { path: path.to_owned(), open: OnceLock::new(), is_temporary: true })
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    fn opened(&self) -> io::Result<&File> {
        if let Some(file) = self.open.get() {
            return Ok(file);
        }
        let file = File::open(&self.path)?;
        Ok(self.open.get_or_init(|| file))
    }

    fn read(&self, bytes: &mut [u8], at: u64) -> Result<(), Failure> {
        self.opened()
            .and_then(|file| file.read_exact_at(bytes, at))
            .map_err(|error| failure::disk(&error, "read", &self.path))
    }

    fn broken(&self, reason: &str) -> Failure {
        failure::broken_run(reason, &self.path)
    }
}

impl Drop for RunFile {
    fn drop(&mut self) {
        if self.is_temporary {
            // It lies in the attempt's folder, which goes as a whole if this fails.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Where a run's blocks come from.
#[derive(Clone, Debug)]
pub(crate) enum Source {
    /// Blocks back to back, verified.
    Memory(Bytes),
    /// A range of a file.
    File {
        /// The file.
        file: Arc<RunFile>,
        /// First byte not yet read.
        at: u64,
        /// Where the run ends.
        end: u64,
    },
}

impl Source {
    /// The blocks of one of a file's segments.
    pub(crate) fn of(file: &Arc<RunFile>, segment: &Segment) -> Self {
        let (at, end) = (segment.offset, segment.offset + segment.length);
        Self::File { file: Arc::clone(file), at, end }
    }

    /// Bytes left.
    pub(crate) fn remaining(&self) -> u64 {
        match self {
            Self::Memory(bytes) => bytes.len() as u64,
            Self::File { at, end, .. } => end - at,
        }
    }

    /// Memory that it takes while it is merged: what it holds, and its longest block once that is decompressed. (A block that
    /// is stored as it is lies there already; of files one block at a time is read, and few files.)
    pub(crate) fn memory(&self) -> u64 {
        match self {
            Self::Memory(bytes) => bytes.len() as u64 + unpacked_bytes(bytes),
            Self::File { .. } => 0,
        }
    }

    /// The raw bytes of the next block, decompressed.
    pub(crate) fn next_block(&mut self) -> Result<Option<Bytes>, Failure> {
        match self {
            Self::Memory(bytes) => {
                let Some((header, stored)) = split_block(bytes) else { return Ok(None) };
                raw_of(&header, stored).map(Some).ok_or_else(|| self.broken(UNDECODED))
            }
            Self::File { at, end, .. } if at == end => Ok(None),
            Self::File { file, at, end } => {
                let (header, stored) = read_block(file, *at, *end)?;
                *at += (BLOCK_HEADER_BYTES + stored.len()) as u64;
                raw_of(&header, stored).map(Some).ok_or_else(|| self.broken(UNDECODED))
            }
        }
    }

    /// A record in it is not one.
    pub(crate) fn malformed(&self) -> Failure {
        self.broken("a record is malformed")
    }

    fn broken(&self, reason: &str) -> Failure {
        match self {
            Self::Memory(_) => failure::broken_run(reason, Path::new("a fetched segment")),
            Self::File { file, .. } => file.broken(reason),
        }
    }
}

/// The checksum of a compressed block was right, and it is none.
const UNDECODED: &str = "a block can't be decompressed";

/// Takes the first block off `bytes`, which were verified as whole blocks.
fn split_block(bytes: &mut Bytes) -> Option<(BlockHeader, Bytes)> {
    let header = BlockHeader::decode(bytes.first_chunk::<BLOCK_HEADER_BYTES>()?).ok()?;
    let mut block = bytes.split_to(BLOCK_HEADER_BYTES + header.stored_length as usize);
    Some((header, block.split_off(BLOCK_HEADER_BYTES)))
}

/// The longest of these blocks that are compressed, once it is not; 0 where none is. They were verified as whole blocks.
pub(crate) fn unpacked_bytes(blocks: &Bytes) -> u64 {
    let (mut rest, mut longest) = (blocks.clone(), 0);
    while let Some((header, _)) = split_block(&mut rest) {
        if header.codec != CODEC_NONE {
            longest = longest.max(u64::from(header.raw_length));
        }
    }
    longest
}

fn read_block(file: &RunFile, at: u64, end: u64) -> Result<(BlockHeader, Bytes), Failure> {
    let mut header = [0; BLOCK_HEADER_BYTES];
    if end - at < BLOCK_HEADER_BYTES as u64 {
        return Err(file.broken("it ends inside a block's header"));
    }
    file.read(&mut header, at)?;
    let header = BlockHeader::decode(&header).map_err(|error| file.broken(&error.to_string()))?;
    let body = at + BLOCK_HEADER_BYTES as u64;
    if u64::from(header.stored_length) > end - body {
        return Err(file.broken("a block is longer than its segment"));
    }
    let mut block = vec![0; header.stored_length as usize];
    file.read(&mut block, body)?;
    if crc32c(&block) != header.crc32c {
        return Err(file.broken("a block's checksum does not match"));
    }
    Ok((header, block.into()))
}

/// Reads the index of a map output file.
pub(crate) fn read_index(file: &RunFile) -> Result<Vec<Segment>, Failure> {
    let broken = |error: LayoutError| file.broken(&error.to_string());
    let file_length = file
        .opened()
        .and_then(File::metadata)
        .map_err(|error| failure::disk(&error, "read", file.path()))?
        .len();
    let mut trailer = [0; map_output::TRAILER_BYTES];
    let trailer_offset = map_output::trailer_offset(file_length).map_err(broken)?;
    file.read(&mut trailer, trailer_offset)?;
    let trailer = Trailer::decode(&trailer, file_length).map_err(broken)?;
    let mut index = vec![0; usize::try_from(trailer.index_length()).unwrap_or(usize::MAX)];
    file.read(&mut index, trailer.index_offset)?;
    map_output::decode_index(&index, crc32c(&index), &trailer).map_err(broken)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::cursor::Cursor;
    use crate::task::run_writer::RunWriter;

    const N_PARTITIONS: u32 = 3;

    /// A file with records in partitions 0 and 2, some blocks long.
    fn write(folder: &Path) -> PathBuf {
        let path = folder.join("output");
        let mut writer = RunWriter::create_output(&path, N_PARTITIONS, Default::default()).unwrap();
        for partition in [0, 2] {
            for n in 0..2000_u32 {
                writer.record(partition, &n.to_be_bytes(), &[b'x'; 70]).unwrap();
            }
        }
        writer.finish().unwrap();
        path
    }

    /// Partition, key and value.
    type Record = (u32, Vec<u8>, Vec<u8>);

    /// Reads all records of the file, as a reduce would.
    fn read(path: &Path) -> Result<Vec<Record>, Failure> {
        let file = RunFile::kept(path);
        let mut all = Vec::new();
        for (partition, segment) in (0..).zip(read_index(&file)?) {
            let mut cursor = Cursor::new(Source::of(&file, &segment))?;
            while !cursor.is_done() {
                all.push((partition, cursor.key().to_vec(), cursor.value().to_vec()));
                cursor.advance()?;
            }
        }
        Ok(all)
    }

    #[test]
    fn a_torn_or_corrupt_file_is_refused_wherever_it_is_broken() {
        let folder = tempfile::tempdir().unwrap();
        let path = write(folder.path());
        let good = std::fs::read(&path).unwrap();
        let records = read(&path).unwrap();
        assert_eq!(records.len(), 4000);
        let spots = (0..good.len()).filter(|at| {
            let near_the_end = good.len() - at < 200;
            *at >= map_output::HEADER_BYTES && (near_the_end || *at < 60 || at % 4001 == 0)
        });
        for at in spots {
            let mut bad = good.clone();
            bad[at] ^= 0x10;
            std::fs::write(&path, &bad).unwrap();
            match read(&path) {
                Err(failure) => assert!(failure.message.contains("output"), "{}", failure.message),
                // The index holds numbers for people, too; but it has a checksum.
                Ok(_) => panic!("a bit turned at {at} of {}", good.len()),
            }
            std::fs::write(&path, &good[..at]).unwrap();
            read(&path).unwrap_err();
        }
    }

    #[test]
    fn temporary_files_go_with_their_last_reader() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run");
        let mut writer = RunWriter::create_temporary(&path, 1, Default::default()).unwrap();
        writer.record(0, b"key", b"value").unwrap();
        let run = writer.finish().unwrap();
        let source = Source::of(&run.file, &run.segments[0]);
        drop(run);
        let cursor = Cursor::new(source).unwrap();
        assert_eq!((cursor.key(), cursor.value()), (&b"key"[..], &b"value"[..]));
        assert!(path.exists());
        drop(cursor);
        assert!(!path.exists());
    }
}
