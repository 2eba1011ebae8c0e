//! Outputs that are not plain text: by the runtime and by the sequential oracle alike, and what is written in a format is
//! what the input format of the same name reads.

use std::collections::BTreeMap;
use std::io::Read as _;

use mapreduce::{Bytes, CsvFields, Datum, Job, Key, Text, words};
use mapreduce_protocol::{
    Codec, Failure, FailureKind, InputFormat, JobSpec, MapOutputCompression, OutputCompression,
    OutputFormat, Program, Streaming,
};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::local::{Folder, Ran, Shape, local_job, run_and_take};

const COMPRESSIONS: [OutputCompression; 6] = [
    OutputCompression::None,
    OutputCompression::Gzip,
    OutputCompression::Bzip2,
    OutputCompression::Zstd,
    OutputCompression::Lz4,
    OutputCompression::Snappy,
];

/// What a compressed file holds, by the codec's own library.
fn decompressed(name: &str, data: &[u8]) -> Vec<u8> {
    let mut all = Vec::new();
    let read = match Codec::of_path(name) {
        None => return data.to_vec(),
        Some(Codec::Gzip) => flate2::read::GzDecoder::new(data).read_to_end(&mut all),
        Some(Codec::Bzip2) => bzip2::read::BzDecoder::new(data).read_to_end(&mut all),
        Some(Codec::Zstd) => return zstd::decode_all(data).unwrap(),
        Some(Codec::Lz4) => lz4_flex::frame::FrameDecoder::new(data).read_to_end(&mut all),
        Some(Codec::Snappy) => snap::read::FrameDecoder::new(data).read_to_end(&mut all),
    };
    read.unwrap();
    all
}

type Parts = BTreeMap<String, Vec<u8>>;

/// Runs the job with a changed spec.
fn run(
    job: &Job,
    folder: &Folder,
    shape: &Shape,
    sequential: bool,
    spec: &dyn Fn(&mut JobSpec),
) -> Result<Ran, Failure> {
    let mut local = local_job("native", BTreeMap::new(), folder, shape, sequential);
    spec(&mut local.spec);
    run_and_take(job, &local, folder)
}

/// Runs it both ways, which must agree once decompressed; what is in the parts, and the counters.
fn both(job: &Job, folder: &Folder, shape: &Shape, spec: &dyn Fn(&mut JobSpec)) -> Ran {
    let run = |sequential| {
        let ran = run(job, folder, shape, sequential, spec).unwrap();
        let open = |(name, data): (String, Vec<u8>)| {
            let data = decompressed(&name, &data);
            (name, data)
        };
        Ran { parts: ran.parts.into_iter().map(open).collect(), ..ran }
    };
    let (ran, expected) = (run(false), run(true));
    assert!(ran.parts == expected.parts, "{:?}\n{:?}", text(&ran.parts), text(&expected.parts));
    ran
}

fn text(parts: &Parts) -> Vec<(&str, String)> {
    let lossy = |data: &Vec<u8>| String::from_utf8_lossy(data).into_owned();
    parts.iter().map(|(name, data)| (name.as_str(), lossy(data))).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    let digits = text.as_bytes().chunks(2);
    digits.map(|it| u8::from_str_radix(std::str::from_utf8(it).unwrap(), 16).unwrap()).collect()
}

/// Lines `hex key, blank, hex value` → these pairs.
fn writes_pairs() -> Job {
    Job::map::<Bytes, Bytes>(|line, out| {
        let (key, value) = std::str::from_utf8(line.value)?.split_once(' ').ok_or("no blank")?;
        out.emit(&unhex(key), &unhex(value));
        Ok(())
    })
    .into()
}

/// Records of a format → the same lines again.
fn reads_pairs(format: &OutputFormat) -> Job {
    let format = format.clone();
    Job::map::<Text, ()>(move |record, out| {
        let (key, value) = match &format {
            OutputFormat::Text | OutputFormat::KeyValue { .. } => {
                (record.key.unwrap().to_vec(), record.value.to_vec())
            }
            OutputFormat::FixedLength { .. } => {
                (record.value[..KEY_BYTES].to_vec(), record.value[KEY_BYTES..].to_vec())
            }
            OutputFormat::Csv { delimiter } => {
                let mut csv = CsvFields::new(*delimiter);
                let fields: Vec<_> = csv.cut(record.value).map(<[u8]>::to_vec).collect();
                let [key, value] = <[_; 2]>::try_from(fields).unwrap();
                (key, value)
            }
            OutputFormat::JsonLines => {
                let json: serde_json::Value = serde_json::from_slice(record.value)?;
                let field = |name| json[name].as_str().unwrap().as_bytes().to_vec();
                (field("key"), field("value"))
            }
            OutputFormat::Null => panic!("nothing is written"),
        };
        out.emit(&format!("{} {}", hex(&key), hex(&value)), ());
        Ok(())
    })
    .into()
}

const KEY_BYTES: usize = 3;
const VALUE_BYTES: usize = 5;

/// An output format with the input format that reads it.
fn formats() -> Vec<(OutputFormat, InputFormat)> {
    let input = |json: &str| serde_json::from_str::<InputFormat>(json).unwrap();
    let output = |json: &str| serde_json::from_str::<OutputFormat>(json).unwrap();
    let same = |json: &str| (output(json), input(json));
    vec![
        (OutputFormat::Text, input(r#""key-value""#)),
        same(r#"{"key-value":{"separator":"::"}}"#),
        same(r#"{"fixed-length":8}"#),
        same(r#""csv""#),
        (output(r#"{"csv":{"delimiter":";"}}"#), input(r#"{"csv":{"delimiter":";"}}"#)),
        same(r#""json-lines""#),
    ]
}

/// The pair as far as the format can hold it: any bytes in CSV, text in JSON, lines in lines, so many bytes in records of
/// one length.
fn fitted(format: &OutputFormat, key: &[u8], value: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let without = |bytes: &[u8], left_out: &[u8]| -> Vec<u8> {
        bytes.iter().copied().filter(|byte| !left_out.contains(byte)).collect()
    };
    let padded = |bytes: &[u8], n: usize| -> Vec<u8> {
        bytes.iter().copied().chain(std::iter::repeat(0)).take(n).collect()
    };
    match format {
        OutputFormat::Text => (without(key, b"\n\t"), without(value, b"\n")),
        OutputFormat::KeyValue { .. } => (without(key, b"\n:"), without(value, b"\n:")),
        OutputFormat::FixedLength { .. } => (padded(key, KEY_BYTES), padded(value, VALUE_BYTES)),
        OutputFormat::Csv { .. } | OutputFormat::Null => (key.to_vec(), value.to_vec()),
        OutputFormat::JsonLines => {
            let text = |bytes| String::from_utf8_lossy(bytes).into_owned().into_bytes();
            (text(key), text(value))
        }
    }
}

/// Bytes of which many mean something in some format.
fn data() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![
        4 => Just(b'a'), 2 => Just(b'"'), 2 => Just(b','), 2 => Just(b';'), 2 => Just(b'\n'),
        1 => Just(b'\r'), 2 => Just(b'\t'), 1 => Just(b':'), 1 => Just(b'\\'), 1 => Just(0_u8),
        1 => Just(b' '), 1 => any::<u8>(),
    ];
    vec(byte, 0..12)
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 12,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn any_records_survive_any_format_and_compression(
        pairs in vec((data(), data()), 1..30),
        reduces in 0..3_u32,
        split_bytes in 1..300_u64,
    ) {
        for (n, (output_format, input_format)) in formats().into_iter().enumerate() {
            let fit = |(key, value): &(Vec<u8>, Vec<u8>)| fitted(&output_format, key, value);
            let lines: Vec<_> = pairs
                .iter()
                .map(fit)
                .map(|(key, value)| format!("{} {}\n", hex(&key), hex(&value)))
                .collect();
            let folder = Folder::with(&[lines.concat().into_bytes()]);
            // Without reduces, the oracle has one part: so has a map of a whole file.
            let split_bytes = if reduces == 0 { 1 << 20 } else { split_bytes };
            let shape = Shape { reduces, split_bytes, sort_buffer_bytes: 500, ..Shape::default() };
            let compression = COMPRESSIONS[(pairs.len() + n) % COMPRESSIONS.len()];
            let set = |spec: &mut JobSpec| {
                spec.output_format = Some(output_format.clone());
                spec.output_compression = Some(compression);
            };
            both(&writes_pairs(), &folder, &shape, &set);
            let written = run(&writes_pairs(), &folder, &shape, false, &set).unwrap();
            let back = Folder::with(&[]);
            for (name, data) in &written.parts {
                std::fs::write(back.input().join(name), data).unwrap();
            }
            let shape = Shape { reduces: 1, ..Shape::default() };
            let set = |spec: &mut JobSpec| spec.input_format = Some(input_format.clone());
            let read = run(&reads_pairs(&output_format), &back, &shape, false, &set).unwrap();
            let mut expected = lines;
            expected.sort();
            let read = String::from_utf8(read.parts["part-r-00000"].clone()).unwrap();
            prop_assert_eq!(read, expected.concat(), "{:?} {:?}", output_format, compression);
        }
    }
}

#[derive(Clone, Copy, Key)]
struct Place<'a> {
    city: &'a str,
    number: i32,
}

#[derive(Clone, Copy, Datum)]
struct Visit {
    kind: Kind,
    share: f64,
    r#type: Option<u8>,
    pair: (bool, ()),
}

#[derive(Clone, Copy, Key)]
enum Kind {
    Long,
}

fn typed() -> Job {
    Job::map::<Place<'_>, Visit>(|line, out| {
        let city = std::str::from_utf8(line.value)?;
        let share = if city.is_empty() { f64::NAN } else { 0.5 };
        let r#type = (line.offset > 0).then_some(7);
        let visit = Visit { kind: Kind::Long, share, r#type, pair: (true, ()) };
        out.emit(Place { city, number: -1 }, visit);
        Ok(())
    })
    .into()
}

#[test]
fn fields_of_types_are_fields_of_csv_and_of_json() {
    let folder = Folder::with(&[b"\nK\xc3\xb6ln, \"x\"\n".to_vec()]);
    let shape = Shape { reduces: 1, ..Shape::default() };
    let written = |json: &str| {
        let set = |spec: &mut JobSpec| {
            spec.output_format = Some(serde_json::from_str(json).unwrap());
        };
        let ran = both(&typed(), &folder, &shape, &set);
        String::from_utf8(ran.parts["part-r-00000"].clone()).unwrap()
    };
    assert_eq!(
        written(r#""csv""#),
        ",-1,Long,NaN,,true\n\"K\u{f6}ln, \"\"x\"\"\",-1,Long,0.5,7,true\n"
    );
    let expected = [
        r#"{"key":{"city":"","number":-1},"value":{"kind":"Long","share":"NaN","type":null,"pair":[true,null]}}"#,
        r#"{"key":{"city":"Köln, \"x\"","number":-1},"value":{"kind":"Long","share":0.5,"type":7,"pair":[true,null]}}"#,
    ];
    let lines = written(r#""json-lines""#);
    assert_eq!(lines.lines().collect::<Vec<_>>(), expected);
    assert!(lines.lines().all(|it| serde_json::from_str::<serde_json::Value>(it).is_ok()));
}

#[test]
fn what_is_nothing_is_left_out_and_a_record_of_one_empty_field_is_one() {
    let folder = Folder::with(&[b"b\n\na\n".to_vec()]);
    let keys: Job = Job::map::<Text, ()>(|line, out| {
        out.emit(std::str::from_utf8(line.value)?, ());
        Ok(())
    })
    .into();
    let values: Job = Job::map::<(), u64>(|line, out| {
        out.emit((), line.value.len() as u64);
        Ok(())
    })
    .into();
    let shape = Shape { reduces: 1, ..Shape::default() };
    for (job, format, expected) in [
        (&keys, "\"csv\"", "\"\"\na\nb\n"),
        (&keys, "\"json-lines\"", "\"\"\n\"a\"\n\"b\"\n"),
        (&keys, r#"{"key-value":{"separator":";"}}"#, "\na\nb\n"),
        (&values, "\"csv\"", "1\n0\n1\n"),
        (&values, "\"json-lines\"", "1\n0\n1\n"),
        (&values, r#"{"fixed-length":1}"#, "101"),
    ] {
        let set = |spec: &mut JobSpec| {
            spec.output_format = Some(serde_json::from_str(format).unwrap());
        };
        let ran = both(job, &folder, &shape, &set);
        assert_eq!(String::from_utf8_lossy(&ran.parts["part-r-00000"]), expected, "{format}");
    }
}

#[test]
fn a_null_output_has_no_parts_and_its_pairs_are_counted() {
    let folder = Folder::with(&[b"a b\nc\n".to_vec()]);
    let job = crate::local::wordcount();
    for (reduces, counter, job) in [
        (2, "task.REDUCE_OUTPUT_RECORDS", &job),
        (
            0,
            "task.MAP_OUTPUT_RECORDS",
            &mapreduce::runtime::builtin("identity", &BTreeMap::new()).unwrap(),
        ),
    ] {
        let shape = Shape { reduces, ..Shape::default() };
        let set = |spec: &mut JobSpec| {
            spec.output_format = Some(OutputFormat::Null);
            spec.output_compression = Some(OutputCompression::Zstd);
        };
        let ran = both(job, &folder, &shape, &set);
        assert!(ran.parts.is_empty(), "{:?}", ran.parts);
        assert_eq!(ran.counters[counter], if reduces == 0 { 2 } else { 3 });
    }
}

#[test]
fn what_a_format_can_not_hold_fails_the_job_with_what_it_is() {
    let folder = Folder::with(&[b"abc\nab\xff\xfe\n".to_vec()]);
    let identity = mapreduce::runtime::builtin("identity", &BTreeMap::new()).unwrap();
    let shape = Shape { reduces: 0, ..Shape::default() };
    for (format, needle) in [
        (r#"{"fixed-length":3}"#, "wants 3 bytes of key and value together, and got 4"),
        (r#""json-lines""#, "wants text in UTF-8, and this is none: \"ab\u{fffd}"),
    ] {
        for sequential in [false, true] {
            let set = |spec: &mut JobSpec| {
                spec.output_format = Some(serde_json::from_str(format).unwrap());
            };
            let failure = run(&identity, &folder, &shape, sequential, &set).unwrap_err();
            assert_eq!(failure.kind, FailureKind::BadJob);
            assert!(sequential || failure.message.contains(needle), "{}", failure.message);
        }
    }
}

/// Runs commands both ways.
fn commands(json: &str, input: &[u8], reduces: u32, format: &str) -> Ran {
    let streaming: Streaming = serde_json::from_str(json).unwrap();
    let job = mapreduce::runtime::streaming(&streaming, &[]).unwrap();
    let folder = Folder::with(&[input.to_vec()]);
    let shape = Shape { reduces, ..Shape::default() };
    both(&job, &folder, &shape, &|spec| {
        spec.program = Program::Streaming(Box::new(streaming.clone()));
        spec.output_format = Some(serde_json::from_str(format).unwrap());
        spec.output_compression = Some(OutputCompression::Gzip);
    })
}

#[test]
fn lines_of_commands_are_written_in_each_format() {
    let input = b"b\t1\nno value\na\t\"2\"\nempty\t\nb\tx\ty\n";
    let map_only = r#"{"mapper": "cat", "reducer": "NONE"}"#;
    for (json, reduces, format, expected) in [
        (map_only, 0, "\"csv\"", "b,1\nno value\na,\"\"\"2\"\"\"\nempty,\nb,x\ty\n"),
        (
            r#"{"mapper": "cat"}"#,
            1,
            "\"json-lines\"",
            "{\"key\":\"a\",\"value\":\"\\\"2\\\"\"}\n{\"key\":\"b\",\"value\":\"1\"}\n\
             {\"key\":\"b\",\"value\":\"x\\ty\"}\n{\"key\":\"empty\",\"value\":\"\"}\n\"no value\"\n",
        ),
        (
            r#"{"mapper": "cat", "reducer": "cat", "reduce_output_separator": "x"}"#,
            1,
            r#"{"key-value":{"separator":"|"}}"#,
            "a\t\"2\"\nb\t1\nb\t|\ty\nempty\t\nno value\t\n",
        ),
        (map_only, 0, r#"{"key-value":{"separator":"\t"}}"#, std::str::from_utf8(input).unwrap()),
    ] {
        let ran = commands(json, input, reduces, format);
        let parts: Vec<_> = ran.parts.keys().collect();
        assert!(parts == ["part-m-00000.gz"] || parts == ["part-r-00000.gz"], "{parts:?}");
        let part = ran.parts.values().next().unwrap();
        assert_eq!(String::from_utf8_lossy(part), expected, "{json} {format}");
    }
    // The line as it is, without its end; and nothing at all.
    let fixed = commands(map_only, b"a\t1\nbcd\n", 0, r#"{"fixed-length":3}"#);
    assert_eq!(fixed.parts["part-m-00000.gz"], b"a\t1bcd");
    let null = commands(map_only, b"a\t1\nbcd", 0, "\"none\"");
    assert!(null.parts.is_empty());
    assert_eq!(null.counters["task.MAP_OUTPUT_RECORDS"], 2);
}

/// Of each word, where it stands: shows the order of values.
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

#[test]
fn values_come_in_the_same_order_whatever_the_reduces_buffers_and_compression() {
    let file = |seed: usize| -> Vec<u8> {
        let line = |n: usize| format!("w{} w{} common\n", n * seed % 37, n * n % 101);
        (0..400).map(line).collect::<String>().into_bytes()
    };
    let folder = Folder::with(&[file(3), file(5), file(11)]);
    let mut of_all: Option<Vec<String>> = None;
    for reduces in [1, 3, 7] {
        let mut of_this: Option<Parts> = None;
        for (sort_buffer_bytes, fetch_buffer_bytes, merge_factor) in
            [(300, 200, 2), (1 << 22, 1 << 22, 10)]
        {
            for compression in
                [MapOutputCompression::None, MapOutputCompression::Lz4, MapOutputCompression::Zstd]
            {
                let shape = Shape {
                    split_bytes: 1500,
                    sort_buffer_bytes,
                    fetch_buffer_bytes,
                    merge_factor,
                    reduces,
                    parallelism: 2,
                };
                let set = |spec: &mut JobSpec| spec.map_output_compression = Some(compression);
                let ran = run(&listing(), &folder, &shape, false, &set).unwrap();
                let stored = ran.counters["task.MAP_OUTPUT_MATERIALIZED_BYTES"];
                let raw = ran.counters.get("task.MAP_OUTPUT_UNCOMPRESSED_BYTES");
                assert_eq!(raw.is_some(), compression != MapOutputCompression::None);
                assert!(raw.is_none_or(|raw| stored < *raw), "{stored} of {raw:?}");
                let expected = of_this.get_or_insert_with(|| {
                    run(&listing(), &folder, &shape, true, &set).unwrap().parts
                });
                assert!(ran.parts == *expected, "{shape:?} {compression:?}");
                let again = run(&listing(), &folder, &shape, false, &set).unwrap();
                assert!(again.parts == ran.parts, "two runs differ: {shape:?} {compression:?}");
            }
        }
        let parts = of_this.unwrap();
        let mut lines: Vec<String> = parts
            .values()
            .flat_map(|part| {
                String::from_utf8_lossy(part).lines().map(str::to_owned).collect::<Vec<_>>()
            })
            .collect();
        lines.sort();
        assert_eq!(of_all.get_or_insert_with(|| lines.clone()), &lines, "{reduces} reduces");
    }
}

/// Words of lines, and what is odd about lines, from maps; words of odd length from reduces.
fn sorting_out() -> Job {
    Job::map::<Text, u64>(|line, out| {
        let text = std::str::from_utf8(line.value)?;
        if text.is_empty() {
            out.named::<u64, ()>("empty").emit(line.offset, ());
        }
        for word in text.split(' ').filter(|word| !word.is_empty()) {
            match word.parse::<i64>() {
                Ok(number) => out.named::<i64, Text>("numbers").emit(number, text),
                Err(_) => out.emit(word, 1),
            }
        }
        Ok(())
    })
    .reduce::<Text, u64>(|word, counts, out| {
        let count = counts.sum();
        if word.len() % 2 == 1 {
            out.named::<Text, u64>("odd").emit(word, count);
        } else {
            out.emit(word, count);
        }
        Ok(())
    })
    .into()
}

#[test]
fn named_outputs_stand_beside_the_parts_in_their_format_and_compression() {
    let folder = Folder::with(&[b"a bb 7\n\nccc 8 a\nbb\n".to_vec()]);
    for (reduces, sort_buffer_bytes) in [(1, 1 << 20), (3, 100)] {
        let shape = Shape { reduces, sort_buffer_bytes, ..Shape::default() };
        let set = |spec: &mut JobSpec| {
            spec.output_format = Some(serde_json::from_str("\"csv\"").unwrap());
            spec.output_compression = Some(OutputCompression::Gzip);
        };
        let ran = both(&sorting_out(), &folder, &shape, &set);
        let of = |name: &str| {
            let begins = |part: &&String| part.starts_with(name) && part.ends_with(".gz");
            let parts = ran.parts.keys().filter(begins).map(|part| &ran.parts[part]);
            let mut lines: Vec<_> = parts
                .flat_map(|part| {
                    String::from_utf8_lossy(part).lines().map(str::to_owned).collect::<Vec<_>>()
                })
                .collect();
            lines.sort();
            lines
        };
        assert_eq!(of("part-r-"), ["bb,2"]);
        assert_eq!(of("odd-r-"), ["a,2", "ccc,1"]);
        assert_eq!(of("numbers-m-00000"), ["7,a bb 7", "8,ccc 8 a"]);
        assert_eq!(of("empty-m-00000"), ["7"]);
        assert_eq!(ran.counters["task.NAMED_OUTPUT_RECORDS"], 5);
        assert_eq!(ran.counters["task.REDUCE_OUTPUT_RECORDS"], 1);
    }
}

#[test]
fn names_that_no_output_has_and_too_many_of_them_fail_the_job() {
    let folder = Folder::with(&[b"a\nb\n".to_vec()]);
    let writing_to = |name: &'static str, n: usize| -> Job {
        Job::map::<Text, ()>(move |_, out| {
            for n in 0..n {
                out.named::<u64, ()>(&format!("{name}{n}")).emit(1, ());
            }
            Ok(())
        })
        .into()
    };
    let shape = Shape { reduces: 0, ..Shape::default() };
    for (name, n, needle) in
        [("a/", 1, "\"a/0\" can't be the name"), ("x", 33, "one more than the 32")]
    {
        let failure = run(&writing_to(name, n), &folder, &shape, false, &|_| ()).unwrap_err();
        assert_eq!(failure.kind, FailureKind::BadJob);
        assert!(failure.message.contains(needle), "{}", failure.message);
    }
    assert!(run(&writing_to("a/", 1), &folder, &shape, true, &|_| ()).is_err());
    let ran = both(&writing_to("x", 32), &folder, &shape, &|_| ());
    assert_eq!(ran.parts.len(), 33);
}
