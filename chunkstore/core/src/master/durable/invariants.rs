//! The invariants of the durable state, for tests.

use std::collections::BTreeMap;

use chunkstore_protocol::{ChunkId, FileId};

use super::Durable;
use crate::master::namespace::EntryKind;
use crate::master::servers::SERVERS_MAX;

impl Durable {
    /// Asserts what must hold after every record: each entry has one place; a file's chunks are
    /// sealed and in order; a chunk is either open, in one file, or sealed, with all files that
    /// have it counted; replies are bounded.
    ///
    /// # Panics
    /// When any of that does not hold.
    pub fn check_invariants(&self) {
        self.namespace.check_invariants();
        self.replies.check_invariants();
        assert!(self.known.len() <= SERVERS_MAX, "more servers than the bound");
        let mut files_of: BTreeMap<ChunkId, Vec<FileId>> = BTreeMap::new();
        for (id, entry) in self.namespace.entries() {
            assert!(id.0 < self.next_file.max(1), "{id:?} was never given out");
            let EntryKind::File(file) = &entry.kind else { continue };
            let mut start = 0;
            for place in file.places_from(0) {
                let sealed = self.sealed.get(place.chunk);
                let length = sealed.expect("a file's chunk is sealed").length();
                assert_eq!(start + length, place.end, "{} lies elsewhere", place.chunk);
                assert!((1..=file.chunk_bytes()).contains(&length), "length of {}", place.chunk);
                start = place.end;
                files_of.entry(place.chunk).or_default().push(id);
            }
        }
        let counted = self.sealed.iter().map(|(chunk, sealed)| (chunk, sealed.referents));
        let referents = files_of.iter().map(|(chunk, files)| (*chunk, files.len() as u32));
        assert!(counted.eq(referents), "a chunk is in no file, or miscounts those that have it");
        files_of.retain(|_, files| files.len() > 1);
        let mut sharers = self.sharers.clone();
        sharers.values_mut().chain(files_of.values_mut()).for_each(|files| files.sort_unstable());
        assert_eq!(sharers, files_of, "a shared chunk names other files than those that have it");
        for (file, writer) in &self.writers {
            assert!(self.namespace.file(*file).is_some(), "{file:?} is open and gone");
            if let Some((chunk, _)) = writer.open {
                assert_eq!(self.open_chunks.get(&chunk), Some(file), "writer of {chunk}");
            }
        }
        let n_open = self.writers.values().filter(|writer| writer.open.is_some()).count();
        for (log, open) in &self.logs {
            assert!(self.namespace.file(*log).is_some_and(|file| file.log), "{log:?} is no log");
            assert_eq!(self.open_chunks.get(&open.chunk), Some(log), "log of {}", open.chunk);
        }
        let n_open = n_open + self.logs.len();
        assert_eq!(n_open, self.open_chunks.len(), "a chunk is open without a writer");
        let given_out = |chunk: &ChunkId| (1..self.next_chunk).contains(&chunk.0);
        assert!(self.sealed.iter().all(|(chunk, _)| given_out(&chunk)));
        assert!(self.open_chunks.keys().all(given_out));
    }
}
