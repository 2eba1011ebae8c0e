//! What a reduce has of the maps' outputs: segments in memory within a budget, and runs on local disk.
//! Who fetches them is `fetch.rs`, or the local runner.
//!
//! Runs that are merged before the end always cover neighbouring map ordinals with no gap, so that the
//! values of a key stay in the order of maps.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use mapreduce_protocol::{Failure, MapOutputCompression};

use super::fold::Fold;
use super::merge::Merge;
use super::progress::Progress;
use super::run_writer::RunWriter;
use super::source::Source;

/// Memory for segments, shared between who fetches (takes) and who merges (gives back).
#[derive(Clone, Debug)]
pub(crate) struct Budget {
    limit: u64,
    used: Arc<AtomicU64>,
}

impl Budget {
    /// `limit` bytes.
    pub(crate) fn new(limit: u64) -> Self {
        Self { limit, used: Arc::default() }
    }

    /// Takes `length` bytes if they are left.
    pub(crate) fn take(&self, length: u64) -> bool {
        let taken = self.used.fetch_update(Ordering::AcqRel, Ordering::Acquire, |used| {
            used.checked_add(length).filter(|sum| *sum <= self.limit)
        });
        taken.is_ok()
    }

    /// Gives `length` bytes back.
    pub(crate) fn give_back(&self, length: u64) {
        self.used.fetch_sub(length, Ordering::AcqRel);
    }

    /// Whether so little is left that most segments will have to go to disk one by one.
    pub(crate) fn is_crowded(&self) -> bool {
        self.used.load(Ordering::Acquire) > self.limit / 3 * 2
    }
}

/// Consecutive maps' records of one partition.
struct Held {
    last_map: u32,
    source: Source,
}

impl Held {
    fn is_in_memory(&self) -> bool {
        matches!(self.source, Source::Memory(_))
    }
}

/// See the module.
pub(crate) struct Segments {
    folder: PathBuf,
    merge_factor: usize,
    budget: Budget,
    /// By the first map.
    held: BTreeMap<u32, Held>,
    created: u32,
    records_written: u64,
    compression: MapOutputCompression,
    /// Whether the last merge can be begun again.
    is_rewindable: bool,
    progress: Progress,
}

impl Segments {
    /// None yet; merges go to files in `folder`, and are signs of life to `progress`.
    pub(crate) fn new(
        folder: PathBuf,
        merge_factor: u32,
        budget: Budget,
        progress: Progress,
    ) -> Self {
        let merge_factor = merge_factor.max(2) as usize;
        let held = BTreeMap::new();
        let compression = MapOutputCompression::None;
        let (created, records_written, is_rewindable) = (0, 0, false);
        Self {
            folder,
            merge_factor,
            budget,
            held,
            created,
            records_written,
            compression,
            is_rewindable,
            progress,
        }
    }

    /// The same, whose merges are compressed so.
    pub(crate) fn compressed(self, compression: MapOutputCompression) -> Self {
        Self { compression, ..self }
    }

    /// The same, whose last merge can be begun again, or not.
    pub(crate) fn rewindable(self, is_rewindable: bool) -> Self {
        Self { is_rewindable, ..self }
    }

    /// A verified segment, whose memory ([`Source::memory`]) was taken from the budget.
    pub(crate) fn add_in_memory(&mut self, map: u32, blocks: Bytes) {
        self.held.insert(map, Held { last_map: map, source: Source::Memory(blocks) });
    }

    /// A segment on local disk.
    pub(crate) fn add_on_disk(&mut self, map: u32, source: Source) {
        // Nothing needs no file.
        let is_empty = source.remaining() == 0;
        let source = if is_empty { Source::Memory(Bytes::new()) } else { source };
        self.held.insert(map, Held { last_map: map, source });
    }

    /// Whether what is in memory is to be merged to disk, now that little room is left, with `missing` segments still to come.
    /// Where they may all lie on disk by themselves and be merged at once in the end, each record is merged but once: what
    /// finds no room in memory goes to disk as it comes. With a combiner a merge may make less of them.
    pub(crate) fn are_to_be_merged(&self, missing: usize, is_combined: bool) -> bool {
        let on_disk = self.held.values().filter(|held| !held.is_in_memory()).count();
        self.budget.is_crowded() && (is_combined || on_disk + missing > self.merge_factor)
    }

    /// Merges what is in memory to disk, each chain of neighbours into one run.
    pub(crate) fn make_room(
        &mut self,
        fold: Option<&mut (dyn Fold + 'static)>,
    ) -> Result<(), Failure> {
        let mut fold = fold;
        let mut chains: Vec<(u32, u32)> = Vec::new();
        for (first, held) in self.held.iter().filter(|(_, held)| held.is_in_memory()) {
            match chains.last_mut() {
                Some((_, last)) if *last + 1 == *first => *last = held.last_map,
                _ => chains.push((*first, held.last_map)),
            }
        }
        for (first, last) in chains {
            self.merge_to_disk(first, last, fold.as_deref_mut())?;
        }
        Ok(())
    }

    /// The merge of all, when every map's segment is here. Merges to disk first if more runs are there
    /// than may be read at once.
    pub(crate) fn into_merge(
        mut self,
        fold: Option<&mut (dyn Fold + 'static)>,
    ) -> Result<(Merge, u64), Failure> {
        let mut fold = fold;
        while let Some((first, last)) = self.cheapest_window() {
            self.merge_to_disk(first, last, fold.as_deref_mut())?;
        }
        let sources = self.held.into_values().map(|held| held.source);
        let merge = match self.is_rewindable {
            true => Merge::rewindable(sources.collect(), self.progress)?,
            false => Merge::new(sources, self.progress)?,
        };
        Ok((merge, self.records_written))
    }

    /// The neighbours to merge next, as first and last map; `None` if few enough runs are on disk.
    fn cheapest_window(&self) -> Option<(u32, u32)> {
        let on_disk: Vec<(u32, u32)> = self
            .held
            .iter()
            .filter(|(_, held)| !held.is_in_memory())
            .map(|(first, held)| (*first, held.last_map))
            .collect();
        let excess = on_disk.len().checked_sub(self.merge_factor).filter(|excess| *excess > 0)?;
        let n = (excess + 1).min(self.merge_factor);
        on_disk.windows(n).map(|window| (window[0].0, window[n - 1].1)).min_by_key(
            |(first, last)| {
                self.held.range(first..=last).map(|(_, held)| held.source.remaining()).sum::<u64>()
            },
        )
    }

    /// Merges all that is held of the maps `first..=last` into one run on disk.
    fn merge_to_disk(
        &mut self,
        first: u32,
        last: u32,
        fold: Option<&mut (dyn Fold + 'static)>,
    ) -> Result<(), Failure> {
        let maps: Vec<u32> = self.held.range(first..=last).map(|(map, _)| *map).collect();
        let held: Vec<Held> = maps.iter().filter_map(|map| self.held.remove(map)).collect();
        let memory: u64 = held.iter().map(|held| held.source.memory()).sum();
        let path = self.folder.join(format!("merge-{:06}", self.created));
        self.created += 1;
        let mut writer = RunWriter::create_temporary(&path, 1, self.compression)?;
        let sources = held.into_iter().map(|held| held.source);
        Merge::new(sources, self.progress.clone())?.write_to(&mut writer, 0, fold)?;
        let run = writer.finish()?;
        self.records_written += run.records;
        let source = Source::of(&run.file, &run.segments[0]);
        self.held.insert(first, Held { last_map: last, source });
        self.budget.give_back(memory);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A segment with one record for each of `keys`, valued with the map's ordinal.
    fn segment(folder: &std::path::Path, map: u32, keys: &[&str]) -> (Source, Bytes) {
        let path = folder.join(format!("segment-{map}"));
        let compression = match map % 3 {
            0 => MapOutputCompression::None,
            1 => MapOutputCompression::Lz4,
            _ => MapOutputCompression::Zstd,
        };
        let mut writer = RunWriter::create_temporary(&path, 1, compression).unwrap();
        for key in keys {
            writer.record(0, key.as_bytes(), map.to_string().as_bytes()).unwrap();
        }
        let run = writer.finish().unwrap();
        let (from, to) = (run.segments[0].offset, run.segments[0].offset + run.segments[0].length);
        let file = std::fs::read(&path).unwrap();
        let blocks = Bytes::copy_from_slice(&file[from as usize..to as usize]);
        (Source::of(&run.file, &run.segments[0]), blocks)
    }

    fn merged(segments: Segments) -> Vec<(String, String)> {
        let (mut merge, _) = segments.into_merge(None).unwrap();
        let mut all = Vec::new();
        while let Some(head) = merge.head() {
            let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
            all.push((text(head.key()), text(head.value())));
            merge.advance().unwrap();
        }
        all
    }

    #[test]
    fn values_come_by_map_whatever_was_merged_before() {
        let n_maps = 12;
        for seed in 0..200_u64 {
            let folder = tempfile::tempdir().unwrap();
            let mut random = seed;
            let mut below = |n: u64| {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(99);
                (random >> 33) % n
            };
            let budget = Budget::new(1 << 20);
            let factor = 2 + below(4) as u32;
            let mut segments =
                Segments::new(folder.path().to_owned(), factor, budget.clone(), Progress::untold());
            let mut order: Vec<u32> = (0..n_maps).collect();
            for i in (1..order.len()).rev() {
                order.swap(i, below(i as u64 + 1) as usize);
            }
            for map in order {
                let (source, blocks) = segment(folder.path(), map, &["a", "b", "b"]);
                if below(2) == 0 {
                    assert!(budget.take(Source::Memory(blocks.clone()).memory()));
                    segments.add_in_memory(map, blocks);
                } else {
                    segments.add_on_disk(map, source);
                }
                if below(4) == 0 {
                    segments.make_room(None).unwrap();
                    assert!(budget.take(1 << 20), "all memory is free again");
                    budget.give_back(1 << 20);
                }
            }
            let twice = (0..n_maps).flat_map(|map| [map, map]).map(|map| ("b", map));
            let expected: Vec<_> = (0..n_maps)
                .map(|map| ("a", map))
                .chain(twice)
                .map(|(key, map)| (key.to_owned(), map.to_string()))
                .collect();
            assert_eq!(merged(segments), expected, "seed {seed}");
        }
    }

    #[test]
    fn what_can_be_merged_at_once_is_not_merged_before_but_where_it_is_combined() {
        let folder = tempfile::tempdir().unwrap();
        let budget = Budget::new(100);
        let (path, factor) = (folder.path().to_owned(), 4);
        let mut segments = Segments::new(path, factor, budget.clone(), Progress::untold());
        assert!(!segments.are_to_be_merged(100, true), "there is room");
        assert!(budget.take(90));
        assert!(!segments.are_to_be_merged(4, false));
        assert!(segments.are_to_be_merged(5, false) && segments.are_to_be_merged(1, true));
        let (source, blocks) = segment(folder.path(), 0, &["a"]);
        segments.add_on_disk(0, source);
        segments.add_in_memory(1, blocks);
        assert!(!segments.are_to_be_merged(3, false) && segments.are_to_be_merged(4, false));
    }

    #[test]
    fn what_compressed_segments_have_taken_is_given_back_whole() {
        let folder = tempfile::tempdir().unwrap();
        let budget = Budget::new(1 << 20);
        let mut segments =
            Segments::new(folder.path().to_owned(), 4, budget.clone(), Progress::untold());
        for map in [1, 2] {
            let (source, blocks) = segment(folder.path(), map, &["key"; 5000]);
            let memory = Source::Memory(blocks.clone()).memory();
            assert!(memory > 2 * source.remaining(), "{memory}: it is compressed");
            assert!(budget.take(memory));
            segments.add_in_memory(map, blocks);
        }
        assert!(!budget.take(1 << 20));
        segments.make_room(None).unwrap();
        assert!(budget.take(1 << 20), "all memory is free again");
        assert_eq!(merged(segments).len(), 10_000);
    }

    #[test]
    fn the_budget_is_never_exceeded() {
        let budget = Budget::new(10);
        assert!(budget.take(6));
        assert!(!budget.take(5));
        assert!(!budget.take(u64::MAX));
        assert!(!budget.is_crowded());
        assert!(budget.take(4));
        assert!(budget.is_crowded());
        budget.give_back(6);
        assert!(budget.take(6));
    }
}
