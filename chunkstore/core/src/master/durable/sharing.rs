//! Chunks that several files have: copies share them, and the highest replication among the files
//! that share a chunk counts.

use std::collections::BTreeMap;

use chunkstore_protocol::{ChunkId, FileId};
use ids::UnixMillis;

use super::{Dropped, Durable, RECLAIM_STEP};
use crate::master::layout::File;
use crate::master::namespace::{Birth, EntryKind};
use crate::master::record::Record;

/// Which files have a chunk. A chunk that was shared before this was recorded may have fewer files
/// listed, or none.
pub(super) type Sharers = BTreeMap<ChunkId, Vec<FileId>>;

impl Durable {
    /// A file no longer has this chunk; with the last file, the chunk goes too.
    pub(super) fn leave(&mut self, file: FileId, chunk: ChunkId) -> Option<Dropped> {
        let sealed = self.sealed.get_mut(chunk)?;
        sealed.referents -= 1;
        let (version, referents, wanted) = (sealed.version, sealed.referents, sealed.wanted);
        if referents > 0 {
            self.leave_to_others(file, (chunk, wanted));
            return None;
        }
        self.sealed.remove(chunk);
        Some(Dropped { chunk, version })
    }

    /// If the files that still have the chunk ask for fewer replicas, that is to be applied to it.
    fn leave_to_others(&mut self, file: FileId, (chunk, wanted): (ChunkId, u8)) {
        let Some(files) = self.sharers.get_mut(&chunk) else { return };
        if let Some(at) = files.iter().position(|other| *other == file) {
            files.remove(at);
        }
        let asks = |id: &FileId| Some((self.namespace.file(*id)?.replication, *id));
        let most = files.iter().filter_map(asks).max();
        if files.len() < 2 {
            self.sharers.remove(&chunk);
        }
        if let Some((_, id)) = most.filter(|(replication, _)| *replication < wanted) {
            self.spreading.insert(id, 0);
        }
    }

    /// Another file gets a chunk of a file.
    fn share(&mut self, (source, file): (FileId, FileId), chunk: ChunkId) {
        let sealed = self.sealed.get_mut(chunk).expect("a file's chunk is sealed");
        sealed.referents += 1;
        if sealed.referents == 2 {
            self.sharers.insert(chunk, vec![source, file]);
        } else if let Some(files) = self.sharers.get_mut(&chunk) {
            files.push(file);
        }
    }

    /// Cuts off the file whose place another one takes.
    pub(super) fn replace(&mut self, replaced: Option<FileId>, at: UnixMillis) -> Vec<Dropped> {
        let Some(replaced) = replaced else { return Vec::new() };
        self.namespace.detach(replaced, at);
        self.reclaim(RECLAIM_STEP)
    }

    pub(super) fn apply_copied(&mut self, record: &Record) -> Vec<Dropped> {
        let Record::Copied { stamp, at, source, parent, folders, name, file, replaced, owner } =
            record
        else {
            return Vec::new();
        };
        let copy = self.namespace.file_mut(*source).clone();
        // What the source has not applied to its chunks yet, the copy has not either.
        if let Some(told) = self.spreading.get(source).copied() {
            self.spreading.insert(*file, told);
        }
        for place in copy.places_from(0) {
            self.share((*source, *file), place.chunk);
        }
        // The source itself may be the file that is replaced: by now the copy holds its chunks.
        let dropped = self.replace(*replaced, *at);
        let birth = Birth { at: *at, owner };
        let parent = self.make_folders(*parent, folders, birth);
        self.insert(*file, parent, name, EntryKind::File(copy), birth);
        self.reply_closed(stamp, *file, *at);
        dropped
    }

    pub(super) fn apply_concatenated(&mut self, record: &Record) -> Vec<Dropped> {
        let Record::Concatenated { stamp, at, parts, parent, folders, name, file, replaced, owner } =
            record
        else {
            return Vec::new();
        };
        let whole = self.take_parts(*file, parts);
        let mut dropped = self.replace(*replaced, *at);
        parts.iter().for_each(|part| self.namespace.detach(*part, *at));
        let birth = Birth { at: *at, owner };
        let parent = self.make_folders(*parent, folders, birth);
        self.insert(*file, parent, name, EntryKind::File(whole), birth);
        self.reply_closed(stamp, *file, *at);
        dropped.extend(self.reclaim(RECLAIM_STEP));
        dropped
    }

    /// The layout of a `file` made of these parts, which lose their chunks. If they differ in their
    /// replication, or that of a part is not yet applied to its chunks, the file's is applied to
    /// all of them.
    fn take_parts(&mut self, file: FileId, parts: &[FileId]) -> File {
        let mut whole: Option<File> = None;
        let mut to_tell = false;
        for part in parts {
            to_tell |= self.spreading.remove(part).is_some();
            let id = *part;
            let part = self.namespace.file_mut(id);
            for place in part.places_from(0) {
                let files = self.sharers.get_mut(&place.chunk);
                let its = files.and_then(|files| files.iter_mut().find(|other| **other == id));
                if let Some(its) = its {
                    *its = file;
                }
            }
            let whole =
                whole.get_or_insert_with(|| File::new(part.replication, part.chunk_bytes()));
            to_tell |= part.replication != whole.replication;
            whole.take_in(part);
        }
        if to_tell {
            self.spreading.insert(file, 0);
        }
        whole.expect("a file is made of at least one part")
    }

    pub(super) fn spread(&mut self, chunks: u32) {
        for (file, chunk) in self.to_spread(chunks) {
            let asked = |id: &FileId| self.namespace.file(*id).map(|file| file.replication);
            let sharers = self.sharers.get(&chunk);
            let most = sharers.and_then(|files| files.iter().filter_map(asked).max());
            let replication = asked(&file).unwrap_or_default();
            let sealed = self.sealed.get_mut(chunk).expect("a file's chunk is sealed");
            sealed.wanted = match (sealed.referents, most) {
                (1, _) => replication,
                (_, Some(most)) => most,
                (_, None) => replication.max(sealed.wanted),
            };
        }
        let mut left = chunks as usize;
        while let Some(mut told) = self.spreading.first_entry() {
            let n_chunks = self.namespace.file(*told.key()).map_or(0, File::n_chunks);
            let untold = n_chunks.saturating_sub(*told.get());
            if untold > left {
                *told.get_mut() += left;
                break;
            }
            left -= untold;
            told.remove();
        }
    }

    /// The next chunks to which a new replication is to be applied, each with its file.
    pub(crate) fn to_spread(&self, chunks: u32) -> Vec<(FileId, ChunkId)> {
        let untold = self.spreading.iter().flat_map(|(id, told)| {
            let places = self.namespace.file(*id).into_iter().flat_map(|f| f.places_from(*told));
            places.map(|place| (*id, place.chunk))
        });
        untold.take(chunks as usize).collect()
    }
}
