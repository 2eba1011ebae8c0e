//! Cuts one input into splits, and finds the hosts with their bytes.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use chunkstore_client::stores::{Object, Stores};
use chunkstore_client::{ChunkStore, FileReader};
use chunkstore_protocol::{ChunkLocation, Located, StorePath};
use futures_util::TryStreamExt as _;
use jobtracker_core::{Home, PlannedSplit, SPLITS_MAX};
use mapreduce_protocol::packing::{Small, packs};
use mapreduce_protocol::{
    Formats, InputFormat, LineCuts, Split, SplitPiece, no_lines_of_compressed,
};

use super::SplitError;

/// Limit on the bytes of one job's input that are read to count lines.
pub(super) const COUNTED_BYTES_MAX: u64 = 256 << 20;

/// What is left for one job to count lines: splits, and bytes to read.
pub(super) struct Allowance {
    splits: usize,
    counted_bytes: u64,
}

impl Default for Allowance {
    fn default() -> Self {
        Self { splits: SPLITS_MAX, counted_bytes: COUNTED_BYTES_MAX }
    }
}

impl Allowance {
    /// Deducts the bytes of a file to be counted.
    fn count(&mut self, path: &str, length: u64) -> Result<(), SplitError> {
        let left = self.counted_bytes.checked_sub(length);
        self.counted_bytes =
            left.ok_or_else(|| SplitError::TooLongToCount { path: path.into() })?;
        Ok(())
    }
}

/// Ends of the splits of a file of lines, up to the allowed number.
struct LineEnds<'a> {
    cuts: LineCuts,
    ends: Vec<u64>,
    allowance: &'a mut Allowance,
}

impl LineEnds<'_> {
    fn pass(&mut self, block: &[u8]) -> Result<(), SplitError> {
        let Self { cuts, ends, allowance } = self;
        let mut is_more = false;
        cuts.pass(block, |end| match ends.len() < allowance.splits {
            true => ends.push(end),
            false => is_more = true,
        });
        if is_more { Err(SplitError::TooMany) } else { Ok(()) }
    }
}

/// A file or an object, with all that is needed to cut it.
pub(super) struct Found {
    path: Arc<str>,
    length: u64,
    e_tag: Option<Arc<str>>,
    /// None for an object: it is equally far from all hosts.
    chunks: Vec<ChunkLocation>,
}

impl Found {
    pub(super) fn file(path: &StorePath, located: Located) -> Self {
        let (path, length, chunks) = (path.as_str().into(), located.length, located.chunks);
        Self { path, length, e_tag: Some(located.file.0.to_string().into()), chunks }
    }

    pub(super) fn object(object: Object) -> Self {
        let (path, length) = (object.url.to_string().into(), object.bytes);
        Self { path, length, e_tag: object.e_tag.map(Into::into), chunks: Vec::new() }
    }

    /// Its splits, none longer than `split_bytes` unless the formats require it. Those beyond
    /// [`SPLITS_MAX`] may be missing.
    pub(super) fn cut(&self, formats: &Formats, split_bytes: u64) -> Vec<PlannedSplit> {
        if !formats.splits(&self.path) {
            return vec![self.split(0, self.length, homes_of_most(&self.chunks))];
        }
        let whole = (0, self.length, Vec::new());
        let chunk = |chunk: &ChunkLocation| (chunk.offset, chunk.length, homes(chunk));
        let mut ranges: Vec<_> = self.chunks.iter().map(chunk).collect();
        if ranges.is_empty() {
            ranges.push(whole);
        }
        let (step, mut splits) = (split_bytes.max(1), Vec::new());
        for (offset, length, homes) in ranges {
            let n = length.div_ceil(step).min(SPLITS_MAX as u64 + 1);
            let cuts = (0..n).map(|n| n * step);
            splits.extend(
                cuts.map(|at| self.split(offset + at, step.min(length - at), homes.clone())),
            );
            if splits.len() > SPLITS_MAX {
                break;
            }
        }
        splits
    }

    /// Its splits, each ending at one of `ends` or at the end of the file.
    fn cut_at(&self, ends: Vec<u64>) -> Vec<PlannedSplit> {
        let last = (ends.last() != Some(&self.length)).then_some(self.length);
        let (mut offset, mut splits) = (0, Vec::with_capacity(ends.len() + 1));
        for end in ends.into_iter().chain(last) {
            let chunk = self.chunks.partition_point(|it| it.offset + it.length <= offset);
            let homes = self.chunks.get(chunk).map(homes).unwrap_or_default();
            splits.push(self.split(offset, end - offset, homes));
            offset = end;
        }
        splits
    }

    fn split(&self, offset: u64, length: u64, homes: Vec<Arc<Home>>) -> PlannedSplit {
        let (path, file_length) = (Arc::clone(&self.path), self.length);
        let piece = SplitPiece { path, offset, length, file_length, e_tag: self.e_tag.clone() };
        PlannedSplit { split: Split { pieces: vec![piece] }, homes }
    }

    /// Its splits with as many lines each as the format says, for which it is read.
    pub(super) async fn cut_by_lines(
        &self,
        (store, others): (&ChunkStore, &Stores),
        formats: &Formats,
        per_split: u32,
        allowance: &mut Allowance,
    ) -> Result<Vec<PlannedSplit>, SplitError> {
        if formats.codec_of(&self.path).is_some() {
            return Err(SplitError::Format { reason: no_lines_of_compressed(&self.path) });
        }
        allowance.count(&self.path, self.length)?;
        let mut found = LineEnds { cuts: LineCuts::new(per_split), ends: Vec::new(), allowance };
        if self.chunks.is_empty() {
            let url = self.path.parse()?;
            let other = others.open(&url)?;
            let e_tag = self.e_tag.as_deref();
            let (_, mut blocks) = other.read_range(url.path(), e_tag, 0, self.length).await?;
            while let Some(block) = blocks.try_next().await? {
                found.pass(&block)?;
            }
        } else {
            let path = self.path.parse()?;
            let mut reader: FileReader = store.open_range(&path, 0, self.length).await?;
            while let Some(block) = reader.next().await? {
                found.pass(&block)?;
            }
        }
        let splits = self.cut_at(found.ends);
        allowance.splits = allowance.splits.checked_sub(splits.len()).ok_or(SplitError::TooMany)?;
        Ok(splits)
    }
}

/// Number of lines per map, if the format gives one.
pub(super) fn lines_per_split(formats: &Formats) -> Option<u32> {
    match formats.input {
        InputFormat::Lines { per_split } => Some(per_split),
        _ => None,
    }
}

/// The hosts with most of the chunks' bytes, best first, and no more of them than one chunk has.
fn homes_of_most(chunks: &[ChunkLocation]) -> Vec<Arc<Home>> {
    best_homes(chunks.iter().map(|chunk| (homes(chunk), chunk.length)))
}

/// The same splits, except that small files are packed together for one map.
pub(super) fn packed(splits: Vec<PlannedSplit>, split_bytes: u64) -> Vec<PlannedSplit> {
    let small: Vec<_> =
        splits.iter().map(|planned| Small::of(&planned.split, split_bytes)).collect();
    let mut splits = splits.into_iter();
    let mut packed = Vec::new();
    for pack in packs(&small, split_bytes) {
        let run: Vec<_> = splits.by_ref().take(pack.len()).collect();
        let homes = best_homes(run.iter().map(|it| (it.homes.clone(), it.split.length())));
        let pieces = run.into_iter().flat_map(|it| it.split.pieces).collect();
        packed.push(PlannedSplit { split: Split { pieces }, homes });
    }
    packed
}

/// The hosts with most of the bytes of several ranges, best first, and no more of them than one
/// range has. Hosts with equal amounts keep their order.
fn best_homes(ranges: impl Iterator<Item = (Vec<Arc<Home>>, u64)>) -> Vec<Arc<Home>> {
    let (mut bytes, mut n) = (BTreeMap::<Arc<Home>, (Reverse<u64>, usize)>::new(), 0);
    for (homes, length) in ranges {
        n = n.max(homes.len());
        for home in homes {
            let nth = bytes.len();
            bytes.entry(home).or_insert((Reverse(0), nth)).0.0 += length;
        }
    }
    let mut all: Vec<_> = bytes.into_iter().collect();
    all.sort_by_key(|(_, rank)| *rank);
    all.into_iter().map(|(home, _)| home).take(n).collect()
}

fn homes(chunk: &ChunkLocation) -> Vec<Arc<Home>> {
    let home = |server: &Arc<chunkstore_protocol::ServerAddress>| {
        Arc::new(Home { host: server.host.clone(), rack: server.rack.clone() })
    };
    chunk.servers.iter().map(home).collect()
}

#[cfg(test)]
mod tests {
    use chunkstore_protocol::{ChunkId, ServerAddress, Version};
    use mapreduce_protocol::InputCompression;

    use super::*;

    fn chunk(id: u64, offset: u64, length: u64, hosts: &[&str]) -> ChunkLocation {
        let server = |host: &&str| {
            let (host, rack) = (host.parse().unwrap(), "/rack-1".parse().unwrap());
            Arc::new(ServerAddress { host, rack, address: "127.0.0.1:1".to_owned() })
        };
        ChunkLocation {
            chunk: ChunkId(id),
            version: Version(1),
            offset,
            length,
            checksum: 0,
            servers: hosts.iter().map(server).collect(),
            token: String::new(),
        }
    }

    fn found(path: &str, chunks: Vec<ChunkLocation>) -> Found {
        let length = chunks.iter().map(|chunk| chunk.length).sum();
        Found { path: path.into(), length, e_tag: None, chunks }
    }

    /// Offset, length and hosts of each split.
    fn told(splits: &[PlannedSplit]) -> Vec<(u64, u64, Vec<&str>)> {
        let mut told = Vec::new();
        for PlannedSplit { split, homes } in splits {
            let hosts = homes.iter().map(|home| home.host.as_str()).collect();
            told.push((split.pieces[0].offset, split.pieces[0].length, hosts));
        }
        told
    }

    #[test]
    fn splits_follow_chunks_and_are_cut_further_where_they_are_long() {
        let file = found("/in/a", vec![chunk(1, 0, 20, &["a"]), chunk(2, 20, 5, &["b"])]);
        let splits = file.cut(&Formats::default(), 8);
        let expected =
            [(0, 8, vec!["a"]), (8, 8, vec!["a"]), (16, 4, vec!["a"]), (20, 5, vec!["b"])];
        assert_eq!(told(&splits), expected);
        assert!(splits.iter().all(|planned| planned.split.pieces[0].file_length == 25));
    }

    #[test]
    fn what_can_not_be_split_is_one_split_near_most_of_its_bytes() {
        let chunks = || {
            vec![
                chunk(1, 0, 20, &["a", "b"]),
                chunk(2, 20, 20, &["c", "b"]),
                chunk(3, 40, 5, &["c", "d"]),
            ]
        };
        let file = found("/in/a.gz", chunks());
        let whole = [(0, 45, vec!["b", "c"])];
        let auto = Formats { input_compression: InputCompression::Auto, ..Formats::default() };
        assert_eq!(told(&file.cut(&auto, 8)), whole, "of 40 and 25 bytes");
        assert_eq!(file.cut(&Formats::default(), 8).len(), 7);
        let files = Formats { input: InputFormat::WholeFile, ..Formats::default() };
        assert_eq!(told(&found("/in/a", chunks()).cut(&files, 8)), whole);
    }

    #[test]
    fn small_files_are_packed_near_most_of_their_bytes() {
        let file = |n: usize| {
            let (hosts, length) =
                if n.is_multiple_of(3) { (["a", "b"], 30) } else { (["c", "b"], 10) };
            found(&format!("/in/{n:03}"), vec![chunk(1, 0, length, &hosts)])
        };
        let cut = |n| file(n).cut(&Formats::default(), 1 << 20);
        let alone: Vec<_> = (0..640).flat_map(cut).collect();
        let together = packed(alone.clone(), 1 << 20);
        assert!((64..=80).contains(&together.len()), "{}", together.len());
        let pieces = |splits: &[PlannedSplit]| {
            splits.iter().flat_map(|it| it.split.pieces.clone()).collect::<Vec<_>>()
        };
        assert_eq!(pieces(&together), pieces(&alone), "in the same order");
        let homes: Vec<_> = together[0].homes.iter().map(|home| home.host.as_str()).collect();
        assert_eq!(homes, ["b", "a"], "of all bytes and of more than half");
        assert!(packed(alone[..64].to_vec(), 1 << 20) == alone[..64], "as they were");
    }

    #[test]
    fn more_splits_of_lines_than_a_job_may_have_are_not_kept() {
        let mut allowance = Allowance { splits: 10, counted_bytes: 100 };
        let cuts = LineCuts::new(1);
        let mut found = LineEnds { cuts, ends: Vec::new(), allowance: &mut allowance };
        found.pass(b"a\nb\nc\n").unwrap();
        let refused = found.pass(&[b'\n'; 1000]).unwrap_err();
        assert!(matches!(refused, SplitError::TooMany), "{refused}");
        assert_eq!(found.ends.len(), 10);
    }

    #[test]
    fn the_lines_of_so_many_bytes_of_a_job_are_counted() {
        let mut allowance = Allowance::default();
        for n in 0..4 {
            allowance.count(&format!("/in/{n}"), COUNTED_BYTES_MAX / 4).unwrap();
        }
        let refused = allowance.count("/in/4", 1).unwrap_err().to_string();
        assert!(refused.contains("/in/4") && refused.contains("268435456"), "{refused}");
    }

    #[test]
    fn splits_of_lines_are_where_their_first_bytes_are() {
        let file = found("/in/a", vec![chunk(1, 0, 20, &["a"]), chunk(2, 20, 5, &["b"])]);
        let expected = [(0, 19, vec!["a"]), (19, 1, vec!["a"]), (20, 5, vec!["b"])];
        assert_eq!(told(&file.cut_at(vec![19, 20])), expected);
        assert_eq!(told(&file.cut_at(vec![19, 20, 25])), expected);
    }
}
