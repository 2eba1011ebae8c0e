//! Joins several closed files into one without copying bytes: how a multipart upload ends. This
//! plans the record; its effect is in `Durable::apply`.

use std::collections::BTreeSet;

use chunkstore_protocol::{CONCAT_PARTS_MAX, Concat, FileId, StorePath};
use ids::UnixMillis;

use super::Master;
use super::error::FsError;
use super::record::{Record, Stamp};
use super::tree::{Spot, Target};

/// Chunks of the new file at most. At full length they hold 6.4 TB.
pub const CONCAT_CHUNKS_MAX: usize = 100_000;

/// Why files can't become one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConcatError {
    /// No files, or more files or chunks than the bounds.
    #[error(
        "{to} can't be made of {parts} files with {chunks} chunks: one concat takes 1 to {CONCAT_PARTS_MAX} files \
         with at most {CONCAT_CHUNKS_MAX} chunks; do it in several steps, or write them anew with larger chunks"
    )]
    OutOfBounds {
        /// The new file.
        to: StorePath,
        /// Files it was to be made of.
        parts: usize,
        /// Their chunks, as far as they were counted before the bound was exceeded.
        chunks: usize,
    },
    /// A part is named twice, or is the target as well.
    #[error(
        "{path} is named twice in one concat: name each part once, and another path for the new file"
    )]
    PartTwice {
        /// That part.
        path: StorePath,
    },
}

impl Master {
    pub(super) fn plan_concat(
        &self,
        at: UnixMillis,
        stamp: &Stamp,
        owner: &str,
        request: &Concat,
    ) -> Result<Record, FsError> {
        let Concat { stamp: _, parts: paths, to, replace, parents } = request;
        let parts = self.parts(request)?;
        let first = (&paths[0], parts[0]);
        let Target { spot: Spot { parent, folders, name }, replaced } =
            self.target(first, to, *replace, *parents)?;
        Ok(Record::Concatenated {
            stamp: stamp.clone(),
            at,
            parts,
            parent,
            name: name.to_owned(),
            file: self.next_file_after(&folders),
            folders,
            replaced,
            owner: self.admitted(owner)?,
        })
    }

    /// The files to join: at least one, all different, within the bounds. One record takes each out
    /// of its folder, which costs the loop about a microsecond; their entries are reclaimed in
    /// steps.
    fn parts(&self, request: &Concat) -> Result<Vec<FileId>, FsError> {
        let Concat { parts, to, .. } = request;
        let bad = |chunks| ConcatError::OutOfBounds { to: to.clone(), parts: parts.len(), chunks };
        if !(1..=CONCAT_PARTS_MAX).contains(&parts.len()) {
            return Err(bad(0).into());
        }
        let mut files = Vec::with_capacity(parts.len());
        let mut chunks = 0;
        for path in parts {
            let (id, file) = self.closed_file(path)?;
            files.push(id);
            chunks += file.n_chunks();
        }
        if chunks > CONCAT_CHUNKS_MAX {
            return Err(bad(chunks).into());
        }
        let mut seen = BTreeSet::from([to]);
        match parts.iter().find(|part| !seen.insert(part)) {
            Some(path) => Err(ConcatError::PartTwice { path: path.clone() }.into()),
            None => Ok(files),
        }
    }
}
