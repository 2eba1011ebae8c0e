//! Local files as a task's input and output.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use bytes::Bytes;
use mapreduce_protocol::{Failure, FailureKind, SplitPiece};

use crate::task::failure::{disk, failure};
use crate::task::storage::{Blocks, Input, OutputFile};

/// Bytes read at once: what a processor's second cache holds.
const BLOCK_BYTES: u64 = 256 << 10;

/// Any file of this host.
pub(super) struct LocalInput;

struct LocalBlocks {
    file: File,
    path: String,
    at: u64,
    end: u64,
}

/// An input file can't be read.
pub(super) fn unreadable(path: &str, error: &std::io::Error) -> Failure {
    failure(FailureKind::InputUnavailable, format!("can't read input {path}: {error}"))
}

impl Input for LocalInput {
    fn read(&self, of: &SplitPiece, offset: u64, length: u64) -> Result<Box<dyn Blocks>, Failure> {
        let path = of.path.to_string();
        let file = File::open(&path).map_err(|error| unreadable(&path, &error))?;
        Ok(Box::new(LocalBlocks { file, path, at: offset, end: offset + length }))
    }
}

impl Blocks for LocalBlocks {
    fn next_block(&mut self) -> Result<Option<Bytes>, Failure> {
        let length = (self.end - self.at).min(BLOCK_BYTES);
        if length == 0 {
            return Ok(None);
        }
        let mut block = vec![0; usize::try_from(length).unwrap_or(0)];
        self.file
            .read_exact_at(&mut block, self.at)
            .map_err(|error| unreadable(&self.path, &error))?;
        self.at += length;
        Ok(Some(block.into()))
    }
}

/// A new file of this host.
pub(super) struct LocalOutput {
    file: File,
    path: PathBuf,
}

impl LocalOutput {
    /// Creates it; it must not exist.
    pub(super) fn create(path: PathBuf) -> Result<Self, Failure> {
        let file = File::create_new(&path).map_err(|error| disk(&error, "create", &path))?;
        Ok(Self { file, path })
    }
}

impl OutputFile for LocalOutput {
    fn write(&mut self, bytes: Bytes) -> Result<(), Failure> {
        self.file.write_all(&bytes).map_err(|error| disk(&error, "write", &self.path))
    }

    fn close(self: Box<Self>) -> Result<(), Failure> {
        Ok(())
    }
}
