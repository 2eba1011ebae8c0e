//! The locations of recently opened files' chunks, so that a file can be opened again without
//! asking the master. Kept for a few seconds only ([`crate::ReadSettings::locations_for`]), and
//! only if the client wants that: a file that others replace or remove meanwhile is opened as it
//! was. No I/O.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chunkstore_protocol::{ChunkLocation, FileId, Located, StorePath};
use ids::Monotonic;

use crate::read::LOCATE_BYTES;
use crate::{ChunkStore, StoreError};

/// Files whose locations are kept; the least recently opened one is dropped first.
const FILES_MAX: usize = 1024;
/// Chunks of all these files together; each takes about half a KiB.
const CHUNKS_MAX: usize = 8192;

/// The locations that one client has seen.
#[derive(Debug)]
pub(crate) struct Locations {
    life: Duration,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    files: BTreeMap<StorePath, Entry>,
    by_use: BTreeMap<u64, StorePath>,
    n_chunks: usize,
    uses: u64,
    generation: Generation,
}

#[derive(Debug)]
struct Entry {
    located_at: Monotonic,
    file: FileId,
    length: u64,
    chunks: BTreeMap<u64, ChunkLocation>,
    used: u64,
}

/// Changes whenever this client has changed names: an answer to an earlier request is not kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Generation(u64);

impl Locations {
    /// Locations that are valid for `life`; if it is zero, none are kept.
    pub(crate) fn new(life: Duration) -> Self {
        Self { life, kept: Mutex::default() }
    }

    pub(crate) fn is_on(&self) -> bool {
        !self.life.is_zero()
    }

    /// The current generation, to be read before the master is asked.
    pub(crate) fn generation(&self) -> Generation {
        self.lock().generation
    }

    /// The chunks of `path` in this range, if all of them are known and fresh at `now`.
    pub(crate) fn find(
        &self,
        now: Monotonic,
        path: &StorePath,
        range: Range<u64>,
    ) -> Option<Located> {
        let mut kept = self.lock();
        let Kept { files, by_use, uses, .. } = &mut *kept;
        let entry = files.get_mut(path)?;
        if now.since(entry.located_at) >= self.life {
            kept.remove(path);
            return None;
        }
        let located = entry.covering(range.start, range.end)?;
        *uses += 1;
        by_use.remove(&entry.used);
        by_use.insert(*uses, path.clone());
        entry.used = *uses;
        Some(located)
    }

    /// Keeps an answer of the master to a request made at `asked` in this generation.
    pub(crate) fn keep(
        &self,
        asked: Monotonic,
        generation: Generation,
        path: &StorePath,
        located: &Located,
    ) {
        let mut kept = self.lock();
        if !self.is_on() || kept.generation != generation || located.chunks.len() > CHUNKS_MAX {
            return;
        }
        let mut chunks: BTreeMap<_, _> =
            located.chunks.iter().map(|chunk| (chunk.offset, chunk.clone())).collect();
        let mut located_at = asked;
        if let Some(before) = kept.remove(path)
            && (before.file, before.length) == (located.file, located.length)
            && asked.since(before.located_at) < self.life
        {
            // The whole is as old as its oldest part.
            located_at = before.located_at;
            for (offset, chunk) in before.chunks {
                chunks.entry(offset).or_insert(chunk);
            }
        }
        kept.uses += 1;
        kept.n_chunks += chunks.len();
        let used = kept.uses;
        kept.by_use.insert(used, path.clone());
        let Located { file, length, .. } = *located;
        let entry = Entry { located_at, file, length, chunks, used };
        kept.files.insert(path.clone(), entry);
        kept.shrink();
    }

    /// Reading the file at this path has failed.
    pub(crate) fn forget(&self, path: &StorePath) {
        self.lock().remove(path);
    }

    /// This client is changing names: when the guard is dropped, whether or not an answer has come,
    /// everything is forgotten.
    pub(crate) fn forget_all_at_last(&self) -> ForgetAll<'_> {
        ForgetAll(self)
    }

    fn forget_all(&self) {
        let mut kept = self.lock();
        let generation = Generation(kept.generation.0 + 1);
        *kept = Kept { generation, ..Kept::default() };
    }

    /// The lock is never held across an await.
    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// See [`Locations::forget_all_at_last`].
#[derive(Debug)]
pub(crate) struct ForgetAll<'a>(&'a Locations);

impl Drop for ForgetAll<'_> {
    fn drop(&mut self) {
        self.0.forget_all();
    }
}

impl ChunkStore {
    /// Locates `length` bytes of a file from `offset` on, by the master's answer, or by a recent
    /// one if this client is content with that.
    pub(crate) async fn locate_to_open(
        &self,
        path: &StorePath,
        offset: u64,
        length: u64,
    ) -> Result<Located, StoreError> {
        let locations = self.locations();
        if !locations.is_on() {
            return self.locate(path, offset, Some(length)).await;
        }
        let now = clock::monotonic();
        let range = offset..offset.saturating_add(length);
        if let Some(located) = locations.find(now, path, range) {
            return Ok(located);
        }
        let generation = locations.generation();
        let located = self.locate(path, offset, Some(length.max(LOCATE_BYTES))).await?;
        locations.keep(now, generation, path, &located);
        Ok(located)
    }
}

impl Kept {
    fn remove(&mut self, path: &StorePath) -> Option<Entry> {
        let entry = self.files.remove(path)?;
        self.by_use.remove(&entry.used);
        self.n_chunks -= entry.chunks.len();
        Some(entry)
    }

    fn shrink(&mut self) {
        while self.files.len() > FILES_MAX || self.n_chunks > CHUNKS_MAX {
            let Some((_, path)) = self.by_use.pop_first() else { return };
            self.remove(&path);
        }
    }
}

impl Entry {
    fn covering(&self, offset: u64, end: u64) -> Option<Located> {
        let end = end.min(self.length);
        let from = self.chunks.range(..=offset).next_back().map_or(offset, |(start, _)| *start);
        let (mut at, mut chunks) = (offset, Vec::new());
        for (start, chunk) in self.chunks.range(from..) {
            if at >= end || *start > at {
                break;
            }
            at = at.max(start + chunk.length);
            chunks.push(chunk.clone());
        }
        (at >= end).then_some(Located {
            file: self.file,
            length: self.length,
            chunks,
            open_log: None,
        })
    }
}

#[cfg(test)]
mod tests {
    use chunkstore_protocol::{ChunkId, Version};

    use super::*;

    const LIFE: Duration = Duration::from_secs(5);

    fn at(secs: u64) -> Monotonic {
        Monotonic(Duration::from_secs(secs))
    }

    fn path(n: usize) -> StorePath {
        format!("/f{n}").parse().unwrap()
    }

    /// A file of 100 bytes in chunks of 10, of which only some are located.
    fn located(chunks: impl IntoIterator<Item = u64>) -> Located {
        let chunk = |nth| ChunkLocation {
            chunk: ChunkId(nth),
            version: Version(1),
            offset: nth * 10,
            length: 10,
            checksum: 0,
            servers: Vec::new(),
            token: String::new(),
        };
        Located {
            file: FileId(1),
            length: 100,
            chunks: chunks.into_iter().map(chunk).collect(),
            open_log: None,
        }
    }

    fn found(locations: &Locations, now: Monotonic, range: Range<u64>) -> Option<Vec<u64>> {
        let located = locations.find(now, &path(1), range)?;
        assert_eq!(located.length, 100);
        Some(located.chunks.iter().map(|chunk| chunk.chunk.0).collect())
    }

    #[test]
    fn a_range_is_found_while_all_of_it_is_known_and_fresh() {
        let locations = Locations::new(LIFE);
        let generation = locations.generation();
        locations.keep(at(0), generation, &path(1), &located(2..4));
        assert_eq!(found(&locations, at(1), 25..40), Some(vec![2, 3]));
        assert_eq!(found(&locations, at(1), 30..31), Some(vec![3]));
        assert_eq!(found(&locations, at(1), 25..41), None);
        assert_eq!(found(&locations, at(1), 19..21), None);
        locations.keep(at(2), generation, &path(1), &located(4..10));
        assert_eq!(found(&locations, at(3), 35..u64::MAX).unwrap().len(), 7);
        assert_eq!(found(&locations, at(5), 35..36), None, "as old as its oldest part");
        assert_eq!(found(&locations, at(3), 95..96), None, "and gone then");
    }

    #[test]
    fn chunks_of_two_files_of_one_name_and_length_are_not_mixed() {
        let locations = Locations::new(LIFE);
        let generation = locations.generation();
        locations.keep(at(0), generation, &path(1), &located(0..5));
        let other = Located { file: FileId(2), ..located(5..10) };
        locations.keep(at(1), generation, &path(1), &other);
        assert_eq!(found(&locations, at(1), 0..10), None);
        assert_eq!(locations.find(at(1), &path(1), 50..100), Some(other));
    }

    #[test]
    fn what_was_asked_before_a_change_of_names_is_not_kept() {
        let locations = Locations::new(LIFE);
        let before = locations.generation();
        locations.keep(at(0), before, &path(1), &located(0..10));
        locations.forget_all();
        assert_eq!(found(&locations, at(0), 0..1), None);
        locations.keep(at(0), before, &path(1), &located(0..10));
        assert_eq!(found(&locations, at(0), 0..1), None);
        locations.keep(at(0), locations.generation(), &path(1), &located(0..10));
        assert_eq!(found(&locations, at(0), 0..1), Some(vec![0]));
        locations.forget(&path(1));
        assert_eq!(found(&locations, at(0), 0..1), None);
        let off = Locations::new(Duration::ZERO);
        off.keep(at(0), off.generation(), &path(1), &located(0..10));
        assert_eq!(found(&off, at(0), 0..1), None);
    }

    #[test]
    fn it_is_bounded_and_what_was_used_last_stays() {
        let locations = Locations::new(LIFE);
        let generation = locations.generation();
        for n in 1..=FILES_MAX + 10 {
            locations.keep(at(0), generation, &path(n), &located(0..1));
            assert!(locations.find(at(0), &path(1), 0..1).is_some(), "used all the time");
        }
        assert!(locations.find(at(0), &path(2), 0..1).is_none());
        for n in 0..FILES_MAX {
            locations.keep(at(0), generation, &path(n), &located(0..10));
        }
        let kept = locations.lock();
        assert!(kept.n_chunks <= CHUNKS_MAX && kept.files.len() == kept.by_use.len());
        assert_eq!(kept.n_chunks, kept.files.values().map(|file| file.chunks.len()).sum::<usize>());
    }
}
