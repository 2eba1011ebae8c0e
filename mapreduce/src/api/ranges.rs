//! Ranges of keys as partitions, and how they are found: a sample of the keys, taken once, before the job.

use std::fmt::{self, Write as _};
use std::str::FromStr;

use super::{Key, Partitioner};

/// Partitions by ranges of keys, in their order: the parts of the output, one after the other, are sorted (Hadoop:
/// `TotalOrderPartitioner`). All tasks must be given the same one, so it travels with the job, as text: in the
/// program's `args`, or in a file that it brings along.
///
/// ```
/// use mapreduce::{Bytes, Datum, Job, RangePartitioner};
///
/// // Of a sample, which is sorted here, the keys at which parts begin.
/// let ranges = RangePartitioner::of_sample(vec![b"pear".to_vec(), b"apple".into(), b"fig".into()], 3);
/// let argument = ranges.to_string();
///
/// let job = Job::map::<Bytes, ()>(|line, out| Ok(out.emit(line.value, ())))
///     .partitioner(argument.parse::<RangePartitioner>().unwrap());
/// let _: Job = job.into();
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RangePartitioner {
    /// Encoded keys, or starts of some, each larger than the one before: partition `n` ends before the `n`th.
    points: Vec<Vec<u8>>,
}

impl RangePartitioner {
    /// For `n_partitions` with about as many keys each as a sample says, of encoded keys ([`crate::Datum::encode`]) or
    /// their first bytes. Where there are fewer different ones, the last partitions stay empty.
    #[must_use]
    pub fn of_sample(mut sample: Vec<Vec<u8>>, n_partitions: u32) -> Self {
        sample.sort_unstable();
        let mut points: Vec<Vec<u8>> = Vec::new();
        for n in 1..u64::from(n_partitions) {
            let at = n * sample.len() as u64 / u64::from(n_partitions);
            let Some(key) = sample.get(usize::try_from(at).unwrap_or(usize::MAX)) else { break };
            // Of equal keys, all go the same way.
            let first = sample.partition_point(|other| other < key);
            let Some(before) = first.checked_sub(1) else { continue };
            let point = shortest_above(&sample[before], key);
            if points.last().is_none_or(|last| last.as_slice() < point) {
                points.push(point.to_vec());
            }
        }
        Self { points }
    }
}

/// The fewest bytes of `key` that are above `other`, which is below it.
fn shortest_above<'k>(other: &[u8], key: &'k [u8]) -> &'k [u8] {
    let same = other.iter().zip(key).take_while(|(a, b)| a == b).count();
    &key[..(same + 1).min(key.len())]
}

impl<K: Key> Partitioner<K> for RangePartitioner {
    fn partition(&self, _: K::Ref<'_>, encoded: &[u8], n_partitions: u32) -> u32 {
        let range = self.points.partition_point(|point| point.as_slice() <= encoded);
        u32::try_from(range).unwrap_or(u32::MAX).min(n_partitions.saturating_sub(1))
    }
}

/// Each point in hexadecimal, separated by commas.
impl fmt::Display for RangePartitioner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, point) in self.points.iter().enumerate() {
            if n > 0 {
                f.write_char(',')?;
            }
            point.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
        }
        Ok(())
    }
}

/// Text that is no list of points.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RangesError {
    /// One of them is not hexadecimal.
    #[error("the split point {point:?} is not an even number of hexadecimal digits")]
    NoHex {
        /// As given, cut to 80 characters.
        point: String,
    },
    /// They don't ascend.
    #[error("the split point {point} is not above the one before it")]
    OutOfOrder {
        /// In hexadecimal.
        point: String,
    },
}

impl FromStr for RangePartitioner {
    type Err = RangesError;

    fn from_str(text: &str) -> Result<Self, RangesError> {
        let mut points: Vec<Vec<u8>> = Vec::new();
        for written in text.split(',').filter(|_| !text.is_empty()) {
            let shown = || written.chars().take(80).collect();
            let point = bytes_of(written).ok_or_else(|| RangesError::NoHex { point: shown() })?;
            if points.last().is_some_and(|last| *last >= point) {
                return Err(RangesError::OutOfOrder { point: shown() });
            }
            points.push(point);
        }
        Ok(Self { points })
    }
}

fn bytes_of(hex: &str) -> Option<Vec<u8>> {
    let digit = |digit: u8| char::from(digit).to_digit(16);
    let (pairs, rest) = hex.as_bytes().as_chunks::<2>();
    let byte = |[high, low]: &[u8; 2]| u8::try_from(digit(*high)? << 4 | digit(*low)?).ok();
    let bytes = pairs.iter().map(byte).collect::<Option<Vec<u8>>>()?;
    (rest.is_empty() && !bytes.is_empty()).then_some(bytes)
}

/// Windows that a sample of lines is read from.
const WINDOWS: (u64, u64) = (64, 1024);

/// Bytes of a window.
const WINDOW_BYTES: u64 = 16 << 10;

/// Bytes of a line that the sample keeps.
const SAMPLED_BYTES: usize = 256;

/// A byte range of an input file that belongs to a sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// The file, by its place in the list.
    pub file: usize,
    /// First byte.
    pub offset: u64,
    /// Bytes.
    pub length: u64,
}

impl Window {
    /// What to read of files with these lengths for `n_partitions`: evenly spread over all bytes, at most 1024 windows and
    /// 16 MiB; of a small input in few files, all. The same files give the same windows.
    #[must_use]
    pub fn over(lengths: &[u64], n_partitions: u32) -> Vec<Self> {
        let total: u64 = lengths.iter().sum();
        let wanted = (8 * u64::from(n_partitions)).clamp(WINDOWS.0, WINDOWS.1);
        if total <= wanted * WINDOW_BYTES && lengths.len() as u64 <= wanted {
            let whole = |(file, length): (usize, &u64)| Self { file, offset: 0, length: *length };
            return lengths.iter().enumerate().map(whole).filter(|it| it.length > 0).collect();
        }
        let distance = (total / wanted).max(1);
        let window_bytes = WINDOW_BYTES.min(distance);
        let mut windows = Vec::new();
        let (mut next, mut before) = (0, 0);
        for (file, length) in lengths.iter().enumerate() {
            while next < before + length {
                let offset = next - before;
                windows.push(Self { file, offset, length: window_bytes.min(length - offset) });
                next += distance;
            }
            before += length;
        }
        windows
    }

    /// The first bytes of the lines that begin in this window, of which `bytes` were read. Whether its first byte
    /// begins one is not known but at the start of a file; a line that goes on behind it counts if enough of it is here.
    pub fn lines<'b>(&self, bytes: &'b [u8], file_length: u64) -> impl Iterator<Item = &'b [u8]> {
        let skipped = if self.offset == 0 {
            0
        } else {
            memchr::memchr(b'\n', bytes).map_or(bytes.len(), |end| end + 1)
        };
        let is_last = self.offset + self.length >= file_length;
        bytes[skipped..].split_inclusive(|byte| *byte == b'\n').filter_map(move |line| {
            let whole = line.strip_suffix(b"\n");
            let line = whole.unwrap_or(line);
            let is_known = whole.is_some() || is_last || line.len() >= SAMPLED_BYTES;
            is_known.then(|| &line[..line.len().min(SAMPLED_BYTES)])
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::Bytes;

    fn partition(ranges: &RangePartitioner, key: &[u8], n: u32) -> u32 {
        Partitioner::<Bytes>::partition(ranges, key, key, n)
    }

    proptest! {
        #[test]
        fn larger_keys_go_further_and_all_is_written_and_read(
            sample in vec(vec(0..4_u8, 0..5), 0..60), keys in vec(vec(0..4_u8, 0..6), 1..40), n in 1..9_u32
        ) {
            let ranges = RangePartitioner::of_sample(sample, n);
            prop_assert!(ranges.points.len() < n as usize);
            prop_assert_eq!(ranges.to_string().parse(), Ok(ranges.clone()));
            let mut keys = keys;
            keys.sort_unstable();
            let chosen: Vec<u32> = keys.iter().map(|key| partition(&ranges, key, n)).collect();
            prop_assert!(chosen.is_sorted() && chosen.iter().all(|it| *it < n));
        }
    }

    #[test]
    fn partitions_of_different_keys_are_alike() {
        let sample: Vec<Vec<u8>> = (0..1000_u32).map(|n| n.to_be_bytes().to_vec()).collect();
        let ranges = RangePartitioner::of_sample(sample.clone(), 7);
        let mut counts = [0; 7];
        sample.iter().for_each(|key| counts[partition(&ranges, key, 7) as usize] += 1);
        assert!(counts.iter().all(|count| (142..=143).contains(count)), "{counts:?}");
        assert!(ranges.points.iter().all(|point| point.len() == 4));
    }

    #[test]
    fn points_are_no_longer_than_they_must_be() {
        let sample = ["alpha", "alphabet", "beta", "gamma"].map(|key| key.as_bytes().to_vec());
        let ranges = RangePartitioner::of_sample(sample.to_vec(), 4);
        let points: Vec<&[u8]> = ranges.points.iter().map(Vec::as_slice).collect();
        assert_eq!(points, [&b"alphab"[..], b"b", b"g"]);
    }

    #[test]
    fn text_that_is_no_list_of_points_is_refused() {
        assert_eq!("".parse(), Ok(RangePartitioner::default()));
        for text in ["6", "xy", "61,", "é1", ",61"] {
            let refused = text.parse::<RangePartitioner>().unwrap_err().to_string();
            assert!(refused.contains("hexadecimal"), "{text}: {refused}");
        }
        for text in ["62,61", "61,61", "61,62,6162"] {
            let refused = text.parse::<RangePartitioner>().unwrap_err().to_string();
            assert!(refused.contains("not above"), "{text}: {refused}");
        }
    }

    #[test]
    fn windows_are_spread_over_all_files() {
        let small = Window::over(&[10, 0, 20_000], 3);
        let found: Vec<_> = small.iter().map(|it| (it.file, it.offset, it.length)).collect();
        assert_eq!(found, [(0, 0, 10), (2, 0, 20_000)]);
        let tiny = Window::over(&[3; 5000], 3);
        assert!((64..=65).contains(&tiny.len()) && tiny.iter().all(|it| it.length <= 3));
        assert!(tiny.windows(2).all(|two| (70..90).contains(&(two[1].file - two[0].file))));
        let lengths = [1 << 30, 5, 3 << 30];
        for (n, expected) in [(2, 64), (50, 400), (40_000, 1024)] {
            let windows = Window::over(&lengths, n);
            assert!((expected..=expected + 1).contains(&windows.len()), "{n}: {}", windows.len());
            let in_last = windows.iter().filter(|it| it.file == 2).count();
            assert!(in_last.abs_diff(expected * 3 / 4) <= 1, "{n}: {in_last}");
            assert!(windows.iter().all(|it| it.offset + it.length <= lengths[it.file]));
        }
    }

    #[test]
    fn a_windows_lines_are_those_that_begin_there() {
        let lines = |offset, length, bytes: &'static [u8], file_length| -> Vec<&[u8]> {
            Window { file: 0, offset, length }.lines(bytes, file_length).collect()
        };
        assert_eq!(lines(0, 5, b"ab\n\nc", 9), [&b"ab"[..], b""]);
        assert_eq!(lines(0, 5, b"ab\n\nc", 5), [&b"ab"[..], b"", b"c"]);
        assert_eq!(lines(4, 5, b"ab\n\nc", 9), [&b""[..], b"c"]);
        assert!(lines(4, 5, b"abcde", 20).is_empty());
        let long = vec![b'x'; 1000];
        let window = Window { file: 0, offset: 0, length: 1000 };
        let found: Vec<&[u8]> = window.lines(&long, 5000).collect();
        assert_eq!(found, [&long[..SAMPLED_BYTES]]);
    }
}
