//! The task runtime against the sequential oracle: whatever the sizes of buffers, splits and merges, both
//! give the same bytes.

use crate::local::{Folder, Shape, run, wordcount};
use mapreduce::{
    Bytes, Combined, Combiner, Desc, Job, Mapper, Output, Partitioner, Record, Text, UserError,
    Values, words,
};
use proptest::collection::vec;
use proptest::prelude::*;

/// Writes `key<TAB>values joined by blanks`: shows the order of values.
fn listing() -> Job {
    Job::map::<Bytes, Text>(|line, out| {
        for (n, word) in words(line.value).enumerate() {
            out.emit(word, &format!("{}.{n}", line.offset));
        }
        Ok(())
    })
    .reduce::<Bytes, Text>(|word, places, out| {
        let mut list = String::new();
        while let Some(place) = places.next() {
            list.push_str(place);
            list.push(' ');
        }
        out.emit(word, list.trim_end());
        Ok(())
    })
    .into()
}

/// Joins two values: associative, but not commutative, and its values grow.
struct Join;

impl Combiner for Join {
    type Key = Bytes;
    type Value = Text;

    fn combine(
        &mut self,
        _: &[u8],
        left: &str,
        right: &str,
        out: &mut Combined<'_, Text>,
    ) -> Result<(), UserError> {
        out.set(&format!("{left} {right}"));
        Ok(())
    }
}

/// [`listing`] with a combiner.
fn joined_listing() -> Job {
    Job::map::<Bytes, Text>(|line, out| {
        for (n, word) in words(line.value).enumerate() {
            out.emit(word, &format!("{}.{n}", line.offset));
        }
        Ok(())
    })
    .combiner(|| Join)
    .reduce::<Bytes, Text>(|word, places, out| {
        let mut list = String::new();
        while let Some(place) = places.next() {
            list.push_str(place);
            list.push(' ');
        }
        out.emit(word, list.trim_end());
        Ok(())
    })
    .into()
}

/// Keys of two parts, of which the first may hold any byte; sums signed numbers.
struct Pairs;

impl Mapper for Pairs {
    type Key = (Bytes, i64);
    type Value = (i64, ());

    fn map(
        &mut self,
        line: Record<'_>,
        out: &mut Output<'_, (Bytes, i64), (i64, ())>,
    ) -> Result<(), UserError> {
        let middle = line.value.len() / 2;
        let number = line.value.len() as i64 - 7;
        out.emit((&line.value[..middle], number), (-number, ()));
        out.count("pairs", "LINES", 1);
        Ok(())
    }
}

/// Everything below partition 2, whatever the key.
struct Crowded;

impl Partitioner<(Bytes, i64)> for Crowded {
    fn partition(&self, (_, number): (&[u8], i64), _: &[u8], n_partitions: u32) -> u32 {
        u32::from(number % 2 != 0).min(n_partitions - 1)
    }
}

fn pairs() -> Job {
    Job::new(|| Pairs)
        .combine(|(left, ()), (right, ()), one| one.set((left + right, ())))
        .reduce::<(Bytes, i64), i64>(|key, numbers, out| {
            let mut sum = 0;
            while let Some((number, ())) = numbers.next() {
                sum += number;
            }
            out.emit(key, sum);
            Ok(())
        })
        .partitioner(Crowded)
        .into()
}

/// Of each word, its places from the last one to the first, and what each was emitted with: sorted by more than
/// it is grouped by.
fn places() -> Job {
    Job::map::<(Bytes, Desc<u64>, Bytes), u64>(|line, out| {
        for (n, word) in words(line.value).enumerate() {
            out.emit((word, line.offset % 3, &line.value[..n.min(2)]), n as u64);
        }
        Ok(())
    })
    .group_by::<1>()
    .reduce::<Bytes, Text>(|(word, last, _), places, out| {
        let mut list = format!("{last}:");
        while let Some(((same, place, before), n)) = places.next_pair() {
            assert_eq!(same, word);
            list.push_str(&format!(" {place}/{}/{n}", before.len()));
            if n % 7 == 6 {
                break;
            }
        }
        out.emit(word, &list);
        Ok(())
    })
    .into()
}

/// Of each word, how often it begins at which place of its line, combined: equal whole keys are, and no others.
fn counted_places() -> Job {
    Job::map::<(Bytes, u64), u64>(|line, out| {
        for (n, word) in words(line.value).enumerate() {
            out.emit((word, n as u64 % 3), 1);
        }
        Ok(())
    })
    .combine(|left, right, one| one.set(left + right))
    .group_by::<1>()
    .reduce::<Bytes, Text>(|(word, _), counts, out| {
        let mut sums = [0; 3];
        while let Some(((_, place), count)) = counts.next_pair() {
            sums[place as usize] += count;
        }
        out.emit(word, &format!("{sums:?}"));
        Ok(())
    })
    .into()
}

/// Grouped by two of three fields, without a reducer: every pair comes with its own key.
fn grouped_identity() -> Job {
    Job::map::<(u8, Bytes, Bytes), u64>(|line, out| {
        let (start, end) = line.value.split_at(line.value.len() / 2);
        out.emit((line.value.len() as u8 % 2, start, end), line.offset);
        Ok(())
    })
    .group_by::<2>()
    .into()
}

/// The same without a reducer: one pair for each whole key, and its values in the order of the input.
fn combined_alone() -> Job {
    Job::map::<(Bytes, u64), Text>(|line, out| {
        for (n, word) in words(line.value).enumerate() {
            out.emit((word, n as u64 % 3), &line.offset.to_string());
        }
        Ok(())
    })
    .combine(|left, right, one| one.set(&format!("{left} {right}")))
    .group_by::<1>()
    .into()
}

/// Lines of few distinct bytes: repeated words, blanks, CR, LF, NUL and high bytes.
fn data() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![
        6 => Just(b'a'), 3 => Just(b'b'), 4 => Just(b' '), 3 => Just(b'\n'), 1 => Just(b'\r'),
        1 => Just(b'\t'), 1 => Just(0_u8), 1 => Just(0xff_u8), 1 => any::<u8>(),
    ];
    vec(byte, 0..400)
}

fn shape() -> impl Strategy<Value = Shape> {
    (1..700_u64, 60..3000_u64, 1..2000_u64, 2..5_u32, 1..6_u32, 1..4_u32).prop_map(
        |(split, sort_buffer, fetch_buffer, merge_factor, reduces, parallelism)| Shape {
            split_bytes: split,
            sort_buffer_bytes: sort_buffer,
            fetch_buffer_bytes: fetch_buffer,
            merge_factor,
            reduces,
            parallelism,
        },
    )
}

fn check(job: &Job, builtin: Option<&str>, files: &[Vec<u8>], shape: &Shape) {
    let folder = Folder::with(files);
    let name = builtin.unwrap_or("native");
    let sequential = run(job, name, &folder, shape, true).unwrap();
    let parallel = run(job, name, &folder, shape, false).unwrap();
    assert_eq!(sequential.parts, parallel.parts);
    for counter in ["task.MAP_INPUT_RECORDS", "task.REDUCE_INPUT_GROUPS", "pairs.LINES"] {
        assert_eq!(
            sequential.counters.get(counter).or(Some(&0)).copied().unwrap_or(0),
            parallel.counters.get(counter).copied().unwrap_or(0),
            "{counter}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 24,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn counting_words(files in vec(data(), 1..4), shape in shape()) {
        check(&wordcount(), Some("wordcount"), &files, &shape);
    }

    #[test]
    fn values_come_in_the_order_of_the_input(files in vec(data(), 1..3), shape in shape()) {
        check(&listing(), None, &files, &shape);
    }

    #[test]
    fn combined_values_stay_in_that_order(files in vec(data(), 1..3), shape in shape()) {
        check(&joined_listing(), None, &files, &shape);
    }

    #[test]
    fn pairs_as_keys_in_few_partitions(files in vec(data(), 1..3), shape in shape()) {
        check(&pairs(), None, &files, &shape);
    }

    #[test]
    fn groups_of_keys_that_are_sorted_by_more(files in vec(data(), 1..3), shape in shape()) {
        check(&places(), None, &files, &shape);
        check(&counted_places(), None, &files, &shape);
        check(&combined_alone(), None, &files, &shape);
        check(&grouped_identity(), None, &files, &shape);
    }

    #[test]
    fn sorting_keeps_equal_lines(files in vec(data(), 1..3), shape in shape()) {
        let job = mapreduce::runtime::builtin("sort", &Default::default()).unwrap();
        check(&job, Some("sort"), &files, &shape);
    }
}

#[test]
fn parts_with_ranges_are_sorted_one_after_the_other() {
    let text: String = (0..900_u32).map(|n| format!("{}\n", n * 7919 % 1009)).collect();
    let mut expected: Vec<&str> = text.split_inclusive('\n').collect();
    expected.sort_unstable();
    let folder = Folder::with(&[text.clone().into_bytes()]);
    let input = folder.input().to_str().unwrap().to_owned();
    let sample =
        mapreduce::runtime::sample_local(&[input], &mapreduce_protocol::Formats::default(), 4)
            .unwrap()
            .unwrap();
    let points = mapreduce::RangePartitioner::of_sample(sample, 4).to_string();
    let args: std::collections::BTreeMap<_, _> = [("split_points".to_owned(), points)].into();
    let sort = mapreduce::runtime::builtin("sort", &args).unwrap();
    let shape = Shape { split_bytes: 700, reduces: 4, ..Shape::default() };
    for sequential in [false, true] {
        let args = args.clone();
        let ran =
            crate::local::run_with_args(&sort, "sort", args, &folder, &shape, sequential).unwrap();
        assert!(ran.parts.values().all(|part| part.len() > text.len() / 5), "{:?}", ran.parts);
        let whole: Vec<u8> = ran.parts.into_values().flatten().collect();
        assert_eq!(whole, expected.concat().into_bytes());
    }
    let bad = [("split_points".to_owned(), "b,a".to_owned())].into();
    let refused = mapreduce::runtime::builtin("sort", &bad).err().map(|error| error.to_string());
    assert!(refused.is_some_and(|error| error.contains("split_points of sort: the split point")));
}

#[test]
fn lines_longer_than_splits_blocks_and_buffers() {
    let mut long = vec![b'x'; 900_000];
    long.extend_from_slice(b" x\nshort x\r\n");
    long.extend(vec![b'y'; 300_000]);
    let shape = Shape { split_bytes: 100_000, sort_buffer_bytes: 1000, ..Shape::default() };
    check(&listing(), None, &[long.clone(), b"x".to_vec()], &shape);
    check(&wordcount(), Some("wordcount"), &[long], &shape);
}

#[test]
fn a_record_of_100_mib_passes_buffers_that_are_smaller() {
    const LONG: usize = 100 << 20;
    let job = |combines: bool| -> Job {
        let job = Job::map::<u8, Bytes>(|line, out| {
            if line.value.len() == 1 {
                out.emit(1, &vec![line.value[0]; LONG]);
            }
            out.emit(0, line.value);
            Ok(())
        });
        let reduce =
            |key: u8, values: &mut Values<'_, u8, Bytes>, out: &mut Output<'_, u8, u64>| {
                let mut bytes = 0;
                while let Some(value) = values.next() {
                    bytes += value.len() as u64;
                }
                out.emit(key, bytes);
                Ok(())
            };
        match combines {
            true => job.combine(|a, b, one| one.set(&[a, b].concat())).reduce(reduce).into(),
            false => job.reduce(reduce).into(),
        }
    };
    let folder = Folder::with(&[b"a\nbc\n".to_vec(), b"d\n".to_vec()]);
    let shape = Shape { reduces: 1, parallelism: 1, ..Shape::default() };
    for combines in [false, true] {
        let ran = run(&job(combines), "native", &folder, &shape, false).unwrap();
        let expected = format!("0\t4\n1\t{}\n", 2 * LONG);
        assert_eq!(ran.parts["part-r-00000"], expected.as_bytes(), "combines: {combines}");
    }
}

#[test]
fn one_key_for_all_and_a_key_for_each() {
    let shape = Shape { sort_buffer_bytes: 2000, merge_factor: 2, ..Shape::default() };
    check(&listing(), None, &["same\n".repeat(3000).into_bytes()], &shape);
    let distinct: String = (0..3000).map(|n| format!("word-with-a-long-name-{n}\n")).collect();
    check(&wordcount(), Some("wordcount"), &[distinct.clone().into_bytes()], &shape);
    check(&listing(), None, &[distinct.into_bytes()], &shape);
}

/// Counts how often it is set up and finished, and how many lines come between.
#[derive(Default)]
struct Lifecycle {
    set_up: bool,
    lines: u64,
}

impl Mapper for Lifecycle {
    type Key = Text;
    type Value = u64;

    fn setup(&mut self, out: &mut Output<'_, Text, u64>) -> Result<(), UserError> {
        self.set_up = true;
        out.emit("set up", 1);
        Ok(())
    }

    fn map(&mut self, _: Record<'_>, _: &mut Output<'_, Text, u64>) -> Result<(), UserError> {
        assert!(self.set_up);
        self.lines += 1;
        Ok(())
    }

    fn finish(&mut self, out: &mut Output<'_, Text, u64>) -> Result<(), UserError> {
        out.emit("lines", self.lines);
        Ok(())
    }
}

#[test]
fn a_mapper_is_set_up_and_finished_once_for_each_split() {
    let job: Job = Job::new(Lifecycle::default)
        .reduce::<Text, u64>(|what, counts, out| {
            out.emit(what, counts.sum());
            Ok(())
        })
        .into();
    let folder = Folder::with(&[b"a\nb\nc\nd\n".to_vec(), b"e\n".to_vec()]);
    let shape = Shape { split_bytes: 4, reduces: 1, ..Shape::default() };
    let parallel = run(&job, "native", &folder, &shape, false).unwrap();
    assert_eq!(parallel.parts["part-r-00000"], b"lines\t5\nset up\t3\n");
    let sequential = run(&job, "native", &folder, &shape, true).unwrap();
    assert_eq!(sequential.parts["part-r-00000"], b"lines\t5\nset up\t1\n");
}

#[test]
fn map_only_programs_keep_the_order_of_lines() {
    let text = b"one\ntwo\r\n\nno end".to_vec();
    let folder = Folder::with(&[text]);
    let shape = Shape { reduces: 0, ..Shape::default() };
    let identity = mapreduce::runtime::builtin("identity", &Default::default()).unwrap();
    let result = run(&identity, "identity", &folder, &shape, false).unwrap();
    assert_eq!(result.parts["part-m-00000"], b"one\ntwo\r\n\nno end\n");
    let args = [("pattern".to_owned(), "^(?-u:.)*o".to_owned())].into();
    let grep = mapreduce::runtime::builtin("grep", &args).unwrap();
    let result = crate::local::run_with_args(&grep, "grep", args, &folder, &shape, false).unwrap();
    assert_eq!(result.parts["part-m-00000"], b"one\ntwo\r\nno end\n");
}

#[test]
fn sorting_gives_every_record_back_byte_for_byte() {
    let records: Vec<u8> = (0..500_u64)
        .flat_map(|n| format!("{:010}{:>88}\r\n", n * 7919 % 500, n).into_bytes())
        .collect();
    assert!(records.chunks(100).all(|record| record.ends_with(b"\r\n")));
    let mut expected: Vec<&[u8]> = records.chunks(100).collect();
    expected.sort_unstable();
    let folder = Folder::with(std::slice::from_ref(&records));
    let shape = Shape { split_bytes: 990, reduces: 1, ..Shape::default() };
    let sort = mapreduce::runtime::builtin("sort", &Default::default()).unwrap();
    for sequential in [false, true] {
        let sorted = run(&sort, "sort", &folder, &shape, sequential).unwrap();
        assert_eq!(sorted.parts["part-r-00000"], expected.concat());
    }
}

#[test]
fn spills_depend_on_bytes_alone() {
    let text: String = (0..20_000).map(|n| format!("w{} ", n * 7919 % 4001)).collect();
    let folder = Folder::with(&[text.into_bytes()]);
    for job in [listing(), wordcount()] {
        let name = if job.has_reducer() { "native" } else { "identity" };
        let spilled = |parallelism, sort_buffer_bytes| {
            let shape =
                Shape { split_bytes: 30_000, parallelism, sort_buffer_bytes, ..Shape::default() };
            run(&job, name, &folder, &shape, false).unwrap().counters
        };
        let small = spilled(1, 20_000);
        assert_eq!(small, spilled(3, 20_000), "whatever the threads");
        assert_eq!(small, spilled(1, 20_000), "and again");
        let output =
            |counters: &std::collections::BTreeMap<String, u64>| counters["task.SPILLED_RECORDS"];
        assert!(output(&small) > output(&spilled(1, 10_000_000)), "less memory, more spills");
    }
}

#[test]
fn a_group_is_reduced_once_wherever_its_keys_come_from() {
    let job: Job = Job::map::<(Text, Desc<u32>), ()>(|line, out| {
        let text = str::from_utf8(line.value)?;
        let (station, degrees) = text.split_once(' ').ok_or("no blank")?;
        out.emit((station, degrees.parse()?), ());
        Ok(())
    })
    .group_by::<1>()
    .reduce::<Text, u32>(|(station, highest), _, out| {
        out.emit(station, highest);
        Ok(())
    })
    .into();
    let text: String = (0..100).map(|n| format!("s{} {}\n", n % 3, n * 37 % 101)).collect();
    let folder = Folder::with(&[text.into_bytes()]);
    for (reduces, sequential) in [(1, false), (1, true), (5, false), (5, true)] {
        let shape = Shape { split_bytes: 50, reduces, ..Shape::default() };
        let ran = run(&job, "native", &folder, &shape, sequential).unwrap();
        let mut lines: Vec<_> =
            ran.parts.values().flat_map(|part| part.split_inclusive(|b| *b == b'\n')).collect();
        lines.sort_unstable();
        assert_eq!(lines.concat(), b"s0\t100\ns1\t97\ns2\t94\n", "{reduces} reduces");
        assert_eq!(ran.counters["task.REDUCE_INPUT_GROUPS"], 3);
    }
}
