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
