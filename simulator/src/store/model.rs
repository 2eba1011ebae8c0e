//! The simplest possible model of the store's names: a sorted map of paths. It is folded from the
//! records in their order, but takes what each of them did from the request that a client sent. So
//! it agrees with the master only if the master did what it was asked to, once, and in that order.

mod logs;
mod replication;

use std::collections::{BTreeMap, BTreeSet};

use chunkstore_core::master::{Mutation, NewFolder, Record, Sealed, Stamp};
use chunkstore_protocol::path::TRASH_FOLDER;
use chunkstore_protocol::{ChunkId, Concat, Delete, FileId, Replace, StorePath};
use ids::{ClientId, HostName};

/// A request, identified by its stamp.
pub(crate) type StampKey = (ClientId, u32, u64);

/// Every request that any client sent.
pub(crate) type Requests = BTreeMap<StampKey, Mutation>;

/// The record is not what the request asked for, or nobody asked for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Odd(pub(crate) String);

/// A file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ModelFile {
    pub(crate) id: FileId,
    pub(crate) open: bool,
    pub(crate) replication: u8,
    pub(crate) chunks: Vec<Sealed>,
    /// While the file is open again: the number of chunks that it had before.
    before: Option<usize>,
    /// It ends where its writer died.
    pub(crate) cut: bool,
    pub(crate) is_log: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    Folder,
    File(ModelFile),
}

/// All names, with what is there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Model {
    entries: BTreeMap<String, Entry>,
    /// Servers that are being drained.
    draining: BTreeSet<HostName>,
    /// The folders in the trash.
    trash: BTreeMap<FileId, String>,
}

/// Planted bugs move requests by a multiple of this many slots; no client uses those slots.
pub(crate) const STRANGE_SLOTS: u32 = 1000;

/// The request's key as its client numbered it.
pub(crate) fn key(stamp: &Stamp) -> StampKey {
    (stamp.client.clone(), stamp.slot % STRANGE_SLOTS, stamp.sequence)
}

impl ModelFile {
    fn new(id: FileId, open: bool, replication: u8) -> Self {
        let (chunks, before) = (Vec::new(), None);
        Self { id, open, replication, chunks, before, cut: false, is_log: false }
    }

    fn has(&self, chunk: ChunkId) -> bool {
        self.chunks.iter().any(|sealed| sealed.chunk == chunk)
    }

    /// The chunks that readers see; `None` if the file was never closed.
    pub(crate) fn readable(&self) -> Option<&[Sealed]> {
        match self.before {
            Some(n) => Some(&self.chunks[..n]),
            None => (!self.open).then_some(self.chunks.as_slice()),
        }
    }

    pub(crate) fn length(&self) -> u64 {
        self.chunks.iter().map(|chunk| chunk.length).sum()
    }
}

impl Model {
    /// Applies one record.
    pub(crate) fn apply(&mut self, record: &Record, requests: &Requests) -> Result<(), Odd> {
        let asked = record.stamp().map(|stamp| requests.get(&key(stamp)));
        match (record, asked) {
            (_, Some(None)) => Err(Odd(format!("no client asked for {record:?}"))),
            (Record::LeaseExpired { file, .. }, _) => self.remove_file(*file),
            (Record::WriterDied { file, cut, .. }, _) => self.end(*file, *cut),
            (Record::AppendLapsed { file, .. }, _) => self.undo_append(*file),
            (Record::LogChunkEnded { file, sealed: Some(sealed), .. }, _) => {
                self.end_log_chunk(*file, *sealed)
            }
            (Record::TrashEmptied { folder, .. }, _) => match self.trash.remove(folder) {
                Some(path) => self.delete(&path, true),
                None => Err(Odd(format!("{folder:?} is not in the trash"))),
            },
            (_, None) => Ok(()),
            (_, Some(Some(request))) => self.carry_out(record, request),
        }
    }

    fn carry_out(&mut self, record: &Record, request: &Mutation) -> Result<(), Odd> {
        match (record, request) {
            (Record::FileCreated { file, replication, .. }, Mutation::Create(asked)) => {
                let file = ModelFile::new(*file, true, *replication);
                self.add(asked.path.as_str(), asked.parents, Entry::File(file))
            }
            (Record::LogCreated { file, replication, .. }, Mutation::CreateLog(asked)) => {
                self.create_log(*file, *replication, asked)
            }
            (Record::FileReopened { file, .. }, Mutation::Append(asked)) => {
                self.reopen(*file, asked.path.as_str())
            }
            (Record::AppendAbandoned { file, .. }, Mutation::Abandon(asked))
                if *file == asked.file =>
            {
                self.undo_append(*file)
            }
            (Record::ChunkAllocated { file, sealed, .. }, Mutation::Allocate(asked)) => {
                let told = asked.sealed.as_ref().map(Sealed::from);
                self.append(*file, *sealed, told, true)
            }
            (Record::FileClosed { file, sealed, .. }, Mutation::Close(asked)) => {
                let told = asked.sealed.as_ref().map(Sealed::from);
                self.append(*file, *sealed, told, false)
            }
            (Record::FileAbandoned { file, .. }, Mutation::Abandon(asked))
                if *file == asked.file =>
            {
                self.remove_file(*file)
            }
            (_, Mutation::Drain(_) | Mutation::Forget(_)) => self.follow_servers(record, request),
            (Record::FoldersMade { .. }, Mutation::Mkdir(asked)) => {
                self.add(asked.path.as_str(), asked.parents, Entry::Folder)
            }
            (Record::Renamed { replaced, .. }, Mutation::Rename(asked)) => {
                let (from, to) = (asked.from.as_str(), asked.to.as_str());
                self.replace(to, asked.replace, *replaced)?;
                self.rename(from, to)
            }
            (Record::Copied { source, file, replaced, .. }, Mutation::Copy(asked)) => {
                let copy = self.copied(*source, asked.from.as_str(), *file)?;
                self.replace(asked.to.as_str(), asked.replace, *replaced)?;
                self.add(asked.to.as_str(), asked.parents, Entry::File(copy))
            }
            (Record::Concatenated { parts, file, replaced, .. }, Mutation::Concat(asked)) => {
                let whole = self.take_parts(parts, asked, *file)?;
                self.replace(asked.to.as_str(), asked.replace, *replaced)?;
                self.add(asked.to.as_str(), asked.parents, Entry::File(whole))
            }
            (Record::ReplicationSet { file, .. }, Mutation::SetReplication(asked)) => {
                self.set_replication(*file, asked)
            }
            (Record::Trashed { folders, name, .. }, Mutation::Delete(asked))
                if !asked.skip_trash =>
            {
                self.throw_away(asked, folders, name)
            }
            (Record::Deleted { .. }, Mutation::Delete(asked)) => {
                self.delete(asked.path.as_str(), asked.recursive)
            }
            (Record::Published { marker_file, replication, .. }, Mutation::Publish(asked)) => {
                let marker = ModelFile::new(*marker_file, false, *replication);
                self.publish(asked, marker)
            }
            _ => Err(Odd(format!("asked was {request:?}, and done {record:?}"))),
        }
    }

    fn follow_servers(&mut self, record: &Record, request: &Mutation) -> Result<(), Odd> {
        match (record, request) {
            (Record::ServerDraining { host, on: true, .. }, Mutation::Drain(asked))
                if *host == asked.host && !asked.stop =>
            {
                self.draining.insert(host.clone());
                Ok(())
            }
            (Record::ServerDraining { host, on: false, .. }, Mutation::Drain(asked))
                if *host == asked.host && asked.stop =>
            {
                self.draining.remove(host);
                Ok(())
            }
            (Record::ServerForgotten { host, .. }, Mutation::Forget(asked))
                if *host == asked.host =>
            {
                self.draining.remove(host);
                Ok(())
            }
            _ => Err(Odd(format!("asked was {request:?}, and done {record:?}"))),
        }
    }

    fn add(&mut self, path: &str, parents: bool, entry: Entry) -> Result<(), Odd> {
        if self.entries.contains_key(path) {
            return Err(Odd(format!("{path} was there already")));
        }
        for folder in above(path) {
            match self.entries.get(folder) {
                Some(Entry::Folder) => {}
                Some(Entry::File(_)) => return Err(Odd(format!("{folder} is a file"))),
                None if parents => drop(self.entries.insert(folder.to_owned(), Entry::Folder)),
                None => return Err(Odd(format!("{folder} is missing for {path}"))),
            }
        }
        self.entries.insert(path.to_owned(), entry);
        Ok(())
    }

    fn append(
        &mut self,
        id: FileId,
        sealed: Option<Sealed>,
        told: Option<Sealed>,
        open: bool,
    ) -> Result<(), Odd> {
        if sealed != told {
            return Err(Odd(format!("{told:?} was told and {sealed:?} is recorded")));
        }
        let file = self.file_mut(id).filter(|file| file.open);
        let file = file.ok_or_else(|| Odd(format!("{id:?} is not open")))?;
        file.chunks.extend(sealed);
        file.open = open;
        if !open {
            (file.before, file.cut) = (None, false);
        }
        Ok(())
    }

    fn reopen(&mut self, id: FileId, path: &str) -> Result<(), Odd> {
        match self.entries.get_mut(path) {
            Some(Entry::File(file)) if file.id == id && !file.open => {
                (file.open, file.before) = (true, Some(file.chunks.len()));
                Ok(())
            }
            other => Err(Odd(format!("{path} is opened again and was {other:?}"))),
        }
    }

    fn undo_append(&mut self, id: FileId) -> Result<(), Odd> {
        let file = self.file_mut(id).filter(|file| file.open);
        let file = file.ok_or_else(|| Odd(format!("{id:?} is not open")))?;
        let before = file.before.take();
        file.chunks.truncate(before.ok_or_else(|| Odd(format!("{id:?} is a new file")))?);
        file.open = false;
        Ok(())
    }

    /// Ends a file without its writer: what is sealed stays.
    fn end(&mut self, id: FileId, cut: bool) -> Result<(), Odd> {
        let file = self.file_mut(id).filter(|file| file.open);
        let file = file.ok_or_else(|| Odd(format!("{id:?} is not open")))?;
        (file.open, file.before) = (false, None);
        file.cut |= cut;
        Ok(())
    }

    fn remove_file(&mut self, id: FileId) -> Result<(), Odd> {
        let path = self.path_of(id).map(str::to_owned);
        let path = path.ok_or_else(|| Odd(format!("{id:?} is nowhere")))?;
        match self.entries.remove(&path) {
            Some(Entry::File(file)) if file.open => Ok(()),
            other => Err(Odd(format!("{path} was no open file: {other:?}"))),
        }
    }

    /// Removes what a change replaces.
    fn replace(&mut self, path: &str, how: Replace, replaced: Option<FileId>) -> Result<(), Odd> {
        let Some(id) = replaced else { return Ok(()) };
        let may = |file: &ModelFile| match how {
            Replace::Never => false,
            Replace::Always => true,
            Replace::Only(expected) => expected == id,
            Replace::OnlyOf { file: expected, length } => expected == id && length == file.length(),
        };
        match self.entries.remove(path) {
            Some(Entry::File(file)) if may(&file) && file.id == id && !file.open => Ok(()),
            other => Err(Odd(format!("{other:?} at {path} was replaced: {how:?} {id:?}"))),
        }
    }

    fn copied(&self, source: FileId, from: &str, id: FileId) -> Result<ModelFile, Odd> {
        match self.entries.get(from) {
            Some(Entry::File(file)) if file.id == source && !file.open => {
                Ok(ModelFile { id, ..file.clone() })
            }
            other => Err(Odd(format!("{from} was copied and is {other:?}"))),
        }
    }

    /// Makes one file of the parts, which are gone after that.
    fn take_parts(
        &mut self,
        parts: &[FileId],
        asked: &Concat,
        id: FileId,
    ) -> Result<ModelFile, Odd> {
        let paths: Vec<&str> = asked.parts.iter().map(StorePath::as_str).collect();
        if paths.len() != parts.len() {
            return Err(Odd(format!("{paths:?} became one, of {parts:?}")));
        }
        let mut whole = ModelFile::new(id, false, 0);
        for (path, part) in paths.into_iter().zip(parts) {
            match self.entries.remove(path) {
                Some(Entry::File(file)) if file.id == *part && !file.open => {
                    whole.chunks.extend(file.chunks);
                    whole.cut |= file.cut;
                    whole.replication = whole.replication.max(file.replication);
                }
                other => return Err(Odd(format!("{path} became a part and is {other:?}"))),
            }
        }
        Ok(whole)
    }

    fn rename(&mut self, from: &str, to: &str) -> Result<(), Odd> {
        let moved = self.take(from);
        if moved.is_empty() {
            return Err(Odd(format!("{from} is not there")));
        }
        for (path, entry) in moved {
            self.add(&format!("{to}{}", &path[from.len()..]), false, entry)?;
        }
        Ok(())
    }

    fn delete(&mut self, path: &str, recursive: bool) -> Result<(), Odd> {
        match self.take(path).len() {
            0 => Err(Odd(format!("{path} is not there"))),
            1 => Ok(()),
            _ if recursive => Ok(()),
            _ => Err(Odd(format!("{path} had entries"))),
        }
    }

    /// Moves it to its own folder in the trash, under the path that it had.
    fn throw_away(&mut self, asked: &Delete, made: &[NewFolder], name: &str) -> Result<(), Odd> {
        let is_system = |it: &&NewFolder| [".howdah", "trash"].contains(&it.name.as_str());
        let own: Vec<&NewFolder> = made.iter().skip_while(is_system).collect();
        let Some(first) = own.first() else {
            return Err(Odd(format!("{} has no folder of its own in the trash", asked.path)));
        };
        let names: Vec<&str> = own.iter().map(|it| it.name.as_str()).chain([name]).collect();
        let (from, to) = (asked.path.as_str(), format!("{TRASH_FOLDER}/{}", names.join("/")));
        if to != format!("{TRASH_FOLDER}/{}{from}", first.name) {
            return Err(Odd(format!("{from} went to {to}")));
        }
        let below = self.take(from);
        if below.is_empty() || (below.len() > 1 && !asked.recursive) {
            return Err(Odd(format!("{from} was removed: {below:?}")));
        }
        self.trash.insert(first.id, format!("{TRASH_FOLDER}/{}", first.name));
        for (path, entry) in below {
            self.add(&format!("{to}{}", &path[from.len()..]), true, entry)?;
        }
        Ok(())
    }

    fn publish(
        &mut self,
        asked: &chunkstore_protocol::Publish,
        marker: ModelFile,
    ) -> Result<(), Odd> {
        let target = asked.target.as_str();
        self.add(target, true, Entry::Folder)?;
        for winner in &asked.winners {
            let staged = format!("{}/{}", asked.staging, winner.staged);
            match self.entries.remove(&staged) {
                Some(Entry::File(file)) if !file.open => {
                    self.add(&format!("{target}/{}", winner.published), false, Entry::File(file))?;
                }
                other => return Err(Odd(format!("winner {staged} is {other:?}"))),
            }
        }
        self.add(&format!("{target}/{}", asked.marker), false, Entry::File(marker))?;
        self.delete(asked.staging.as_str(), true)
    }

    fn take(&mut self, path: &str) -> Vec<(String, Entry)> {
        let below = format!("{path}/");
        let is_it = |at: &str| at == path || at.starts_with(&below);
        let paths: Vec<String> = self.entries.keys().filter(|at| is_it(at)).cloned().collect();
        paths.into_iter().filter_map(|path| self.entries.remove_entry(&path)).collect()
    }

    fn file_mut(&mut self, id: FileId) -> Option<&mut ModelFile> {
        self.entries.values_mut().find_map(|entry| match entry {
            Entry::File(file) if file.id == id => Some(file),
            Entry::File(_) | Entry::Folder => None,
        })
    }

    fn path_of(&self, id: FileId) -> Option<&str> {
        self.files().find(|(_, file)| file.id == id).map(|(path, _)| path)
    }

    pub(crate) fn file(&self, id: FileId) -> Option<&ModelFile> {
        self.files().find(|(_, file)| file.id == id).map(|(_, file)| file)
    }

    pub(crate) fn at(&self, path: &str) -> Option<&Entry> {
        match path {
            "/" => Some(&Entry::Folder),
            _ => self.entries.get(path),
        }
    }

    /// The entries of a folder, by name.
    pub(crate) fn within(&self, folder: &str) -> Vec<(&str, &Entry)> {
        let start = if folder == "/" { "/".to_owned() } else { format!("{folder}/") };
        let name = |path: &'_ String| -> Option<usize> {
            let rest = path.strip_prefix(&start)?;
            (!rest.contains('/')).then_some(start.len())
        };
        let all = self.entries.iter();
        all.filter_map(|(path, entry)| name(path).map(|at| (&path[at..], entry))).collect()
    }

    /// Whether the server is being drained: what it holds does not count.
    pub(crate) fn is_draining(&self, host: &HostName) -> bool {
        self.draining.contains(host)
    }

    /// Everything below a folder, by path.
    pub(crate) fn below(&self, folder: &str) -> impl Iterator<Item = &str> {
        let start = if folder == "/" { "/".to_owned() } else { format!("{folder}/") };
        self.entries.keys().filter(move |path| path.starts_with(&start)).map(String::as_str)
    }

    pub(crate) fn files(&self) -> impl Iterator<Item = (&str, &ModelFile)> {
        self.entries.iter().filter_map(|(path, entry)| match entry {
            Entry::File(file) => Some((path.as_str(), file)),
            Entry::Folder => None,
        })
    }

    pub(crate) fn folders(&self) -> impl Iterator<Item = &str> {
        let folders = self.entries.iter().filter(|(_, entry)| **entry == Entry::Folder);
        std::iter::once("/").chain(folders.map(|(path, _)| path.as_str()))
    }

    /// How many replicas are wanted of a chunk, by the file that asks for most; `None` if no file
    /// has it.
    pub(crate) fn wanted(&self, chunk: ChunkId) -> Option<u8> {
        let with_it = self.files().filter(|(_, file)| file.has(chunk));
        with_it.map(|(_, file)| file.replication).max()
    }

    /// A closed file that has this chunk.
    pub(crate) fn closed_with(&self, chunk: ChunkId) -> Option<&str> {
        self.files().find(|(_, file)| !file.open && file.has(chunk)).map(|(path, _)| path)
    }

    /// How a chunk was sealed, if a file has it.
    pub(crate) fn sealed(&self, chunk: ChunkId) -> Option<&Sealed> {
        self.chunks().map(|(_, sealed)| sealed).find(|sealed| sealed.chunk == chunk)
    }

    /// The chunks of all files.
    pub(crate) fn chunks(&self) -> impl Iterator<Item = (&ModelFile, &Sealed)> {
        self.files().flat_map(|(_, file)| file.chunks.iter().map(move |chunk| (file, chunk)))
    }
}

/// The folders above a path except the root, the highest first.
fn above(path: &str) -> impl Iterator<Item = &str> {
    path.match_indices('/').skip(1).map(|(at, _)| &path[..at])
}
