//! Chunks that several files have: copies share them, and how many replicas are wanted is settled among
//! those that do.

use chunkstore_protocol::{ChunkId, FileId};
use ids::UnixMillis;

use super::{Dropped, Durable, RECLAIM_STEP};
use crate::master::layout::File;
use crate::master::namespace::{Birth, EntryKind};
use crate::master::record::Record;

impl Durable {
    /// A file has this chunk no more: the last one takes it along.
    pub(super) fn leave(&mut self, chunk: ChunkId) -> Option<Dropped> {
        let sealed = self.sealed.get_mut(chunk)?;
        sealed.referents -= 1;
        let (version, referents) = (sealed.version, sealed.referents);
        if referents > 0 {
            return None;
        }
        self.sealed.remove(chunk);
        Some(Dropped { chunk, version })
    }

    /// Cuts off the file whose place another takes.
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
        // What its source has not told its chunks yet, the copy has not either.
        if let Some(told) = self.spreading.get(source).copied() {
            self.spreading.insert(*file, told);
        }
        for place in copy.places_from(0) {
            self.sealed.get_mut(place.chunk).expect("a file's chunk is sealed").referents += 1;
        }
        // The source itself may be what is replaced: its chunks have the copy by now.
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

    /// The layout of a `file` made of these parts, which have no chunks afterwards. If they differ in their
    /// replication, or some chunks were not yet told theirs, all are told that of the file.
    fn take_parts(&mut self, file: FileId, parts: &[FileId]) -> File {
        let mut whole: Option<File> = None;
        let mut to_tell = false;
        for part in parts {
            to_tell |= self.spreading.remove(part).is_some();
            let part = self.namespace.file_mut(*part);
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
            let replication = self.namespace.file_mut(file).replication;
            let sealed = self.sealed.get_mut(chunk).expect("a file's chunk is sealed");
            sealed.wanted = match sealed.referents {
                1 => replication,
                _ => replication.max(sealed.wanted),
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

    /// The next chunks to be told how many replicas are wanted, each with its file.
    pub(crate) fn to_spread(&self, chunks: u32) -> Vec<(FileId, ChunkId)> {
        let untold = self.spreading.iter().flat_map(|(id, told)| {
            let places = self.namespace.file(*id).into_iter().flat_map(|f| f.places_from(*told));
            places.map(|place| (*id, place.chunk))
        });
        untold.take(chunks as usize).collect()
    }
}
