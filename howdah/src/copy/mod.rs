//! Files and folders into the chunk store ([`put()`]), out of it ([`get()`]) and within it ([`copy()`]); and between
//! it, other stores and the host ([`copy_objects()`]). What is copied appears whole or
//! not at all where that can be had: single files always, folders on the local side; of what could not be
//! put, what was put is removed again, after Ctrl-C too. `fs` and `demo` call it.

mod append;
mod get;
mod making;
mod objects;
mod put;
mod within;

use std::collections::BTreeSet;
use std::fmt::Display;
use std::path::Path;

use anyhow::anyhow;
use chunkstore_client::{ChunkStore, CreateOptions, StoreError};
use chunkstore_protocol::{FileKind, StorePath};
use serde::Serialize;

pub(crate) use self::append::{append, append_stream};
pub(crate) use self::get::get;
pub(crate) use self::objects::{From, To, copy_objects, copy_stream};
pub(crate) use self::put::{put, put_blocks, put_files, put_stream};
pub(crate) use self::within::copy;
use crate::exit::early;

/// Files copied at once where nothing else is wished: small ones wait for the disks of several servers.
pub(crate) const FILES_AT_ONCE: usize = 4;
/// Entries of one folder.
const ENTRIES_MAX: usize = 10_000_000;

/// How files are to be copied.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CopyOptions {
    /// Files that stand there are replaced, each in one step; folders get what is missing.
    pub(crate) replace: bool,
    /// Files copied at once; at least 1.
    pub(crate) at_once: usize,
    /// How files of the chunk store are made.
    pub(crate) create: CreateOptions,
}

impl Default for CopyOptions {
    fn default() -> Self {
        Self { replace: false, at_once: FILES_AT_ONCE, create: CreateOptions::default() }
    }
}

/// What one command has copied: what programs are told of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Copied {
    /// Files.
    pub(crate) files: usize,
    /// Their bytes.
    pub(crate) bytes: u64,
}

/// What stands at `path`, if anything does.
pub(crate) async fn kind_at(
    store: &ChunkStore,
    path: &StorePath,
) -> Result<Option<FileKind>, StoreError> {
    match store.stat(path).await {
        Ok(found) => Ok(Some(found.kind)),
        Err(StoreError::NotFound { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Refuses several things that would have one path: each would take the place of the one before.
pub(crate) fn refuse_clashes(
    targets: impl IntoIterator<Item = impl Display>,
) -> anyhow::Result<()> {
    let mut taken = BTreeSet::new();
    match targets.into_iter().map(|target| target.to_string()).find(|it| !taken.insert(it.clone()))
    {
        None => Ok(()),
        Some(target) => Err(early(anyhow!(
            "two of these would both go to {target}: take them one by one, under names of their own"
        ))),
    }
}

/// What one command copies.
#[derive(Debug)]
pub(crate) struct Sources<'a, T> {
    /// Those that are there, as far as is known.
    pub(crate) paths: &'a [T],
    /// How many were named. One that is left of several is not what gets the target's name.
    pub(crate) n_named: usize,
}

impl<'a, T> Sources<'a, T> {
    pub(crate) fn one(path: &'a T) -> Self {
        Self { paths: std::slice::from_ref(path), n_named: 1 }
    }

    /// Whether they need a folder to go to.
    pub(crate) fn are_several(&self) -> bool {
        self.n_named.max(self.paths.len()) > 1
    }
}

/// A tree of files to be copied: folders first, each before what is in it.
struct Tree<From, To> {
    folders: Vec<To>,
    files: Vec<(From, To)>,
    bytes: u64,
}

impl<From, To> Tree<From, To> {
    /// All of another one too.
    fn add(&mut self, other: Self) {
        self.folders.extend(other.folders);
        self.files.extend(other.files);
        self.bytes += other.bytes;
    }
}

impl<From, To> Default for Tree<From, To> {
    fn default() -> Self {
        Self { folders: Vec::new(), files: Vec::new(), bytes: 0 }
    }
}

/// Where in the chunk store something is to go, as it was written.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    /// The path.
    pub(crate) path: StorePath,
    /// It ends with a slash: a file is to go into it.
    pub(crate) is_folder: bool,
}

impl Target {
    /// Refuses to make a file of that name where a folder is meant.
    pub(crate) fn check_file(&self) -> anyhow::Result<()> {
        let path = &self.path;
        if self.is_folder {
            return Err(anyhow!(
                "{path}/ is no folder: make it first (`howdah fs mkdir -p {path}`), or leave the slash off"
            ));
        }
        Ok(())
    }
}

/// The name under which a local file or folder is put.
fn name_of(path: &Path) -> anyhow::Result<&str> {
    let name = path.file_name().and_then(|name| name.to_str());
    name.ok_or_else(|| early(anyhow!("{} has no name in UTF-8 to be put under", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_two_things_that_would_have_one_path_neither_goes() {
        assert!(refuse_clashes(["/into/a", "/into/b"]).is_ok());
        let refused = refuse_clashes(["/into/a", "/into/b", "/into/a"]).unwrap_err().to_string();
        assert!(refused.starts_with("two of these would both go to /into/a:"), "{refused}");
    }
}
