//! An acknowledged close means that the right bytes are on disk, on at least two disks if two or
//! more replicas were asked for; no replica is sealed shorter than what was acknowledged; a read
//! returns the right bytes or an error.

use std::collections::BTreeSet;

use chunkstore_core::master::{Record, Sealed as Recorded};
use chunkstore_core::replica::{ReplicaKey, Sealed};
use chunkstore_protocol::{ChunkId, FileId, SealedChunk};
use ids::ClientId;

use super::Watch;
use crate::store::content::{Unit, checksum, length, units};
use crate::store::disk::Disk;
use crate::store::model::ModelFile;

impl Watch {
    /// A server tells a writer that it holds its chunk.
    pub(crate) fn see_sealed(&mut self, server: usize, told: &SealedChunk, disk: &Disk) {
        let key = ReplicaKey { chunk: told.chunk, version: told.version };
        // What the disk has lost since then is the world's doing.
        let Some(file) = disk.read(key) else { return };
        let Sealed { length, checksum } = file.sealed();
        if (length, checksum) != (told.length, told.checksum) {
            let what = format!("host-{server} holds {length} bytes, and {told:?} was acknowledged");
            self.broken("content", what);
        } else if file.is_whole() {
            self.sealed_on.entry((told.chunk, told.length)).or_default().insert(server);
        }
    }

    /// A client may write a file: after what the file has, it will add `more`.
    pub(crate) fn see_intent(&mut self, id: FileId, client: &ClientId, more: &[Unit]) {
        let chunks = self.model.file(id).map_or(&[][..], |file| file.chunks.as_slice());
        let before = chunks.iter().filter_map(|sealed| self.truth.get(&sealed.chunk)).flatten();
        let whole = before.chain(more).copied().collect();
        self.intents.insert((id, client.clone()), whole);
    }

    pub(super) fn learn_content(&mut self, record: &Record) {
        match record {
            Record::ChunkAllocated { stamp, file, sealed: Some(sealed), .. } => {
                self.learn_chunk(&(*file, stamp.client.clone()), sealed);
            }
            Record::FileClosed { stamp, file, sealed, .. } => {
                let writer = (*file, stamp.client.clone());
                if let Some(sealed) = sealed {
                    self.learn_chunk(&writer, sealed);
                }
                let has = self.model.file(*file).map_or(0, ModelFile::length)
                    + sealed.map_or(0, |sealed| sealed.length);
                let meant = self.intents.get(&writer).map(|content| length(content));
                if meant != Some(has) {
                    let what = format!("{file:?} was closed with {has} bytes of {meant:?}");
                    self.broken("content", what);
                }
            }
            _ => {}
        }
    }

    fn learn_chunk(&mut self, writer: &(FileId, ClientId), sealed: &Recorded) {
        let id = writer.0;
        let Some(file) = self.model.file(id) else { return };
        let (start, n, replication) =
            (units(file.length()), units(sealed.length), usize::from(file.replication));
        let intent = self.intents.get(writer).map_or(&[][..], Vec::as_slice);
        let Some(content) = intent.get(start..start + n).filter(|it| right(it, sealed)) else {
            let what = format!("{id:?} has {sealed:?} at unit {start}: not what was written there");
            return self.broken("content", what);
        };
        let content = content.to_vec();
        let on = self.sealed_on.get(&(sealed.chunk, sealed.length)).map_or(0, BTreeSet::len);
        if on < replication.min(2) {
            let what = format!("chunk {} of {id:?} was sealed on {on} disks", sealed.chunk);
            self.broken("content", what);
        }
        self.truth.insert(sealed.chunk, content);
    }

    /// A reader got these bytes of a chunk.
    pub(crate) fn see_read(&mut self, chunk: ChunkId, bytes: &[Unit]) {
        self.n_reads += 1;
        let truth = self.truth.get(&chunk).map_or(&[][..], Vec::as_slice);
        if truth != bytes {
            let n_right = truth.iter().zip(bytes).take_while(|(a, b)| a == b).count();
            let (n_true, n_read) = (truth.len(), bytes.len());
            let what =
                format!("{n_read} units of {n_true}, of which the first {n_right} are right");
            self.broken("content", format!("a reader got of chunk {chunk} {what}"));
        }
    }
}

fn right(content: &[Unit], sealed: &Recorded) -> bool {
    checksum(content) == sealed.checksum
}
