//! Inputs that are not plain text: whatever holds the same records gives the same results, by the runtime and by the
//! sequential oracle.

use std::collections::BTreeMap;
use std::io::Write as _;

use mapreduce::{Job, Text};
use mapreduce_protocol::{
    Csv, FailureKind, InputCompression, InputFormat, JobSpec, Program, Streaming,
};

use crate::local::{Folder, Ran, Shape, local_job, run_and_take, wordcount};

/// Files with these names.
fn folder(files: &[(&str, Vec<u8>)]) -> Folder {
    let folder = Folder::with(&[]);
    for (name, data) in files {
        std::fs::write(folder.input().join(name), data).unwrap();
    }
    folder
}

/// Runs the job with a changed spec, both ways, which must agree.
fn both(job: &Job, name: &str, folder: &Folder, shape: &Shape, spec: impl Fn(&mut JobSpec)) -> Ran {
    let run = |sequential| {
        let mut local = local_job(name, BTreeMap::new(), folder, shape, sequential);
        spec(&mut local.spec);
        run_and_take(job, &local, folder).unwrap()
    };
    let (ran, expected) = (run(false), run(true));
    assert!(ran.parts == expected.parts, "runtime and oracle differ");
    let records = |ran: &Ran| ran.counters.get("task.MAP_INPUT_RECORDS").copied();
    assert_eq!(records(&ran), records(&expected));
    ran
}

fn text(seed: usize, lines: usize) -> Vec<u8> {
    let line = |n: usize| format!("{} word{} {}\n", n * seed % 977, n % 31, "x".repeat(n % 7));
    (0..lines).map(line).collect::<String>().into_bytes()
}

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    out.write_all(text).unwrap();
    out.finish().unwrap()
}

fn bzip2(text: &[u8]) -> Vec<u8> {
    let mut out = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
    out.write_all(text).unwrap();
    out.finish().unwrap()
}

fn zstd(text: &[u8]) -> Vec<u8> {
    zstd::encode_all(text, 1).unwrap()
}

fn lz4(text: &[u8]) -> Vec<u8> {
    let mut out = lz4_flex::frame::FrameEncoder::new(Vec::new());
    out.write_all(text).unwrap();
    out.finish().unwrap()
}

fn snappy(text: &[u8]) -> Vec<u8> {
    let mut out = snap::write::FrameEncoder::new(Vec::new());
    out.write_all(text).unwrap();
    out.into_inner().unwrap()
}

/// As Hadoop writes it.
fn hadoop_snappy(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for block in text.chunks(1000) {
        let run = snap::raw::Encoder::new().compress_vec(block).unwrap();
        out.extend_from_slice(&u32::try_from(block.len()).unwrap().to_be_bytes());
        out.extend_from_slice(&u32::try_from(run.len()).unwrap().to_be_bytes());
        out.extend_from_slice(&run);
    }
    out
}

/// Writes `offset<TAB>line`: shows where records begin in what the files hold.
fn places() -> Job {
    Job::map::<u64, mapreduce::Bytes>(|line, out| {
        out.emit(line.offset, line.value);
        Ok(())
    })
    .reduce::<u64, Text>(|offset, lines, out| {
        while let Some(line) = lines.next() {
            out.emit(offset, std::str::from_utf8(line)?);
        }
        Ok(())
    })
    .into()
}

#[test]
fn a_byte_order_mark_is_no_part_of_the_first_line() {
    let with_mark = |text: &str| [b"\xef\xbb\xbf", text.as_bytes()].concat();
    let files = [
        ("plain", with_mark("7\ta\r\n8\tb\r\n")),
        ("packed.gz", gzip(&with_mark("7\ta\n9\tc\n"))),
        ("blocks.bz2", bzip2(&with_mark("7\ta\n"))),
    ];
    let folder = folder(&files);
    let shape = Shape { reduces: 1, split_bytes: 6, ..Shape::default() };
    let distinct =
        mapreduce::runtime::builtin("distinct", &[("fields".to_owned(), "1,2".to_owned())].into())
            .unwrap();
    let same = |_: &mut JobSpec| {};
    let ran = both(&distinct, "native", &folder, &shape, same);
    assert_eq!(ran.parts["part-r-00000"], b"7\ta\n8\tb\n9\tc\n");
    for (input, line_ends, marks) in [
        (InputFormat::Text, "crlf", 0),
        (InputFormat::KeyValue { separator: "\t".into() }, "any", 0),
        (InputFormat::Text, "lf", 3),
        (InputFormat::KeyValue { separator: "\t".into() }, "lf", 3),
    ] {
        let json = format!(r#"{{"mapper": "cat", "line_ends": "{line_ends}"}}"#);
        let streaming: Streaming = serde_json::from_str(&json).unwrap();
        let job = mapreduce::runtime::streaming(&streaming, &[]).unwrap();
        let ran = both(&job, "native", &folder, &shape, |spec| {
            spec.program = Program::Streaming(Box::new(streaming.clone()));
            spec.input_format = Some(input.clone());
        });
        let found = String::from_utf8(ran.parts["part-r-00000"].clone()).unwrap();
        assert_eq!(found.matches('\u{feff}').count(), marks, "{input:?} {line_ends}: {found:?}");
        if marks == 0 {
            assert_eq!(found, "7\ta\n7\ta\n7\ta\n8\tb\n9\tc\n", "{input:?} {line_ends}");
        }
    }
}

#[test]
fn compressed_files_are_read_as_what_they_hold() {
    let half = |n: usize| (text(n, 300), text(n + 1, 200));
    let whole = |n: usize| [half(n).0, half(n).1].concat();
    let plain: Vec<_> = (0..7).map(whole).collect();
    let names = ["0", "1", "2", "3", "4", "5", "6"];
    let plain: Vec<_> = names.into_iter().zip(plain).collect();
    // Of two members each, which end anywhere in a line.
    let of = |n: usize, compress: &dyn Fn(&[u8]) -> Vec<u8>| {
        let whole = whole(n);
        let (first, second) = whole.split_at(1003);
        [compress(first), compress(second)].concat()
    };
    let compressed = [
        ("0.gz", of(0, &gzip)),
        ("1.bz2", of(1, &bzip2)),
        ("2.zst", of(2, &zstd)),
        ("3.lz4", of(3, &lz4)),
        ("4.snappy", of(4, &snappy)),
        ("5.SZ", of(5, &snappy)),
        ("6.snappy", of(6, &hadoop_snappy)),
    ];
    let (plain, compressed) = (folder(&plain), folder(&compressed));
    for split_bytes in [700, 90] {
        let shape = Shape { split_bytes, ..Shape::default() };
        let same = |_: &mut JobSpec| {};
        let expected = both(&wordcount(), "native", &plain, &shape, same);
        let found = both(&wordcount(), "native", &compressed, &shape, same);
        assert_eq!(found.parts, expected.parts);
        let records = |ran: &Ran| ran.counters["task.MAP_INPUT_RECORDS"];
        assert_eq!(records(&found), records(&expected));
    }
    // In what these hold, whatever their members; others have places by blocks and frames.
    for name in ["1.bz2", "2.zst"] {
        std::fs::remove_file(compressed.input().join(name)).unwrap();
        std::fs::remove_file(plain.input().join(&name[..1])).unwrap();
    }
    let shape = Shape { split_bytes: 700, ..Shape::default() };
    let expected = both(&places(), "native", &plain, &shape, |_| {});
    assert_eq!(both(&places(), "native", &compressed, &shape, |_| {}).parts, expected.parts);
}

#[test]
fn places_in_blocks_and_frames_are_the_same_wherever_files_are_cut() {
    let whole = text(5, 30_000);
    let (first, second) = whole.split_at(whole.len() / 3 + 5);
    let frames = || whole.chunks(50_001).map(zstd);
    // As pzstd writes it: each behind something that is skipped.
    let skipped = |frame: Vec<u8>| {
        [&0x184D_2A50_u32.to_le_bytes()[..], &4_u32.to_le_bytes(), b"0000", &frame].concat()
    };
    for (name, file) in [
        ("0.bz2", [bzip2(first), bzip2(b""), bzip2(second)].concat()),
        ("0.zst", frames().collect::<Vec<_>>().concat()),
        ("1.zst", frames().map(skipped).collect::<Vec<_>>().concat()),
    ] {
        let folder = folder(&[(name, file)]);
        let run = |split_bytes| {
            let shape = Shape { split_bytes, ..Shape::default() };
            both(&places(), "native", &folder, &shape, |_| {}).parts
        };
        let expected = run(1 << 30);
        let lines = expected.values().flat_map(|part| part.split(|byte| *byte == b'\n'));
        let places: Vec<u64> = lines
            .filter(|line| !line.is_empty())
            .map(|line| std::str::from_utf8(line).unwrap().split_once('\t').unwrap().0)
            .map(|place| place.parse().unwrap())
            .collect();
        let different: std::collections::BTreeSet<_> = places.iter().copied().collect();
        assert_eq!((places.len(), different.len()), (30_000, 30_000), "{name}");
        assert_eq!(different.first(), Some(&0), "{name}");
        let units: std::collections::BTreeSet<_> = places.iter().map(|it| it >> 22).collect();
        assert!(units.len() >= 5, "{name} has {} blocks or frames", units.len());
        for split_bytes in [7000, 20_000] {
            assert!(run(split_bytes) == expected, "{name} in splits of {split_bytes}");
        }
    }
}

/// Writes what the mapper sees of each record.
fn seen() -> Job {
    Job::map::<Text, Text>(|record, out| {
        let key = record.key.map_or("none".to_owned(), |key| format!("{:?}", Bytes(key)));
        out.emit(&format!("{:04} {key}", record.offset), &format!("{:?}", Bytes(record.value)));
        Ok(())
    })
    .into()
}

#[derive(Debug)]
#[allow(dead_code)] // Its Debug form is what is looked at.
struct Bytes<'a>(&'a [u8]);

/// A file in each format, and lines of any of them.
fn in_formats() -> Vec<(&'static str, InputFormat, String)> {
    let lines = |line: &dyn Fn(usize) -> String| (0..40).map(line).collect::<String>();
    let csv = |json: &str| serde_json::from_str::<InputFormat>(json).unwrap();
    vec![
        ("text", InputFormat::Text, lines(&|n| format!("{n}\t{}\r\n", n * n))),
        ("key-value", csv(r#""key-value""#), lines(&|n| format!("{}\t{n}\tx\r\n", n * n))),
        (
            "bare keys",
            csv(r#"{"key-value":{"separator":", "}}"#),
            lines(&|n| match n % 3 {
                0 => format!("{n}\r\n"),
                _ => format!("{n}, {}\n", n * n),
            }),
        ),
        ("lines", csv(r#"{"lines":7}"#), lines(&|n| format!("line {n}\n"))),
        ("whole-file", InputFormat::WholeFile, lines(&|n| format!("line {n}\n"))),
        ("fixed-length", csv(r#"{"fixed-length":9}"#), "abcdefghi".repeat(30)),
        (
            "csv",
            csv(r#"{"csv":{"header":true}}"#),
            lines(&|n| match n % 3 {
                0 => format!("{n},\"a \"\"word\"\"\nand, more\"\r\n"),
                _ => format!("\r\n{n},x\n"),
            }),
        ),
        (
            "flat csv",
            csv(r#"{"csv":{"multiline":false,"delimiter":";"}}"#),
            lines(&|n| format!("{n};\"x\"\r\n")),
        ),
        ("json-lines", InputFormat::JsonLines, lines(&|n| format!("{{\"n\": {n}}}\n \n"))),
    ]
}

#[test]
fn records_of_each_format_are_the_same_whatever_the_splits_and_compressed() {
    for (name, format, data) in in_formats() {
        let plain = folder(&[("0", data.clone().into_bytes()), ("1", data.clone().into_bytes())]);
        for split_bytes in [1, 50, 1 << 20] {
            let shape = Shape { split_bytes, ..Shape::default() };
            let set = |spec: &mut JobSpec| spec.input_format = Some(format.clone());
            let ran = both(&seen(), "native", &plain, &shape, set);
            if matches!(format, InputFormat::Lines { .. }) {
                continue;
            }
            let packed =
                folder(&[("0.gz", gzip(data.as_bytes())), ("1.bz2", bzip2(data.as_bytes()))]);
            // Of one block each, so that places are those in what they hold.
            assert_eq!(both(&seen(), "native", &packed, &shape, set).parts, ran.parts, "{name}");
        }
    }
}

#[test]
fn csv_that_ends_inside_of_quotes_fails_the_job_with_the_place() {
    for (text, header, place) in [
        ("a,b\n1,\"x\ny\n", false, "at byte 4"),
        ("a,\"b\n1,x\n", true, "at byte 0"),
        ("a\n\"b\n\n\n", false, "at byte 2"),
    ] {
        let folder = folder(&[("0", text.as_bytes().to_vec())]);
        for (sequential, multiline) in [(false, true), (true, true), (false, false)] {
            let mut local =
                local_job("native", BTreeMap::new(), &folder, &Shape::default(), sequential);
            let csv = Csv { multiline, header, ..Csv::default() };
            local.spec.input_format = Some(InputFormat::Csv(csv));
            let ran = run_and_take(&seen(), &local, &folder);
            let Err(failure) = ran else {
                assert!(!multiline, "{text:?}");
                continue;
            };
            assert!(multiline && failure.message.contains("inside of quotes"), "{text:?}");
            assert!(failure.message.contains("/in/0"), "{}", failure.message);
            assert!(sequential || failure.message.contains(place), "{}", failure.message);
        }
    }
}

#[test]
fn commands_read_each_format_as_the_oracle_says() {
    for json in [
        r#"{"mapper": "od -An -c -v", "reducer": "NONE"}"#,
        r#"{"mapper": "cat", "reducer": "sort"}"#,
        r#"{"mapper": "cat", "reducer": "sort", "line_ends": "lf"}"#,
    ] {
        for (name, format, data) in in_formats() {
            // Each mapper of the oracle reads a whole file.
            let files = folder(&[("0", data.into_bytes())]);
            let streaming: Streaming = serde_json::from_str(json).unwrap();
            let job = mapreduce::runtime::streaming(&streaming, &[]).unwrap();
            let reduces = u32::from(!json.contains("NONE"));
            let split_bytes =
                if reduces == 0 || format.name() == "fixed-length" { 1 << 20 } else { 30 };
            let shape = Shape { reduces, split_bytes, ..Shape::default() };
            println!("{name} {json}");
            both(&job, "native", &files, &shape, |spec| {
                spec.program = Program::Streaming(Box::new(streaming.clone()));
                // Its splits can't be told from the oracle's one.
                let is_lines = matches!(format, InputFormat::Lines { .. });
                spec.input_format = Some(if is_lines { InputFormat::Text } else { format.clone() });
            });
        }
    }
}

#[test]
fn each_map_reads_as_many_lines_as_the_job_says() {
    let data: String = (0..23).map(|n| format!("{n}\n")).collect();
    let folder = folder(&[("0", data.into_bytes()), ("1.gz", gzip(b"x\n"))]);
    let shape = Shape { reduces: 0, ..Shape::default() };
    let run = |file: &str| {
        let mut local = local_job("native", BTreeMap::new(), &folder, &shape, false);
        local.spec.input = vec![folder.input().join(file).to_str().unwrap().to_owned()];
        local.spec.input_format = Some(InputFormat::Lines { per_split: 5 });
        run_and_take(&seen(), &local, &folder)
    };
    let lines = |part: &Vec<u8>| part.iter().filter(|byte| **byte == b'\n').count();
    let ran = run("0").unwrap();
    assert_eq!(ran.parts.values().map(lines).collect::<Vec<_>>(), [5, 5, 5, 5, 3]);
    let refused = run("1.gz").unwrap_err();
    assert!(refused.message.contains("is compressed"), "{}", refused.message);
}

#[test]
fn commands_read_what_compressed_files_hold() {
    let streaming: Streaming =
        serde_json::from_str(r#"{"mapper": "tr a-z A-Z", "reducer": "uniq -c"}"#).unwrap();
    let job = mapreduce::runtime::streaming(&streaming, &[]).unwrap();
    let run = |folder: &Folder| {
        both(&job, "native", folder, &Shape::default(), |spec| {
            spec.program = Program::Streaming(Box::new(streaming.clone()));
        })
    };
    let plain = folder(&[("0", text(3, 500)), ("1", text(5, 500))]);
    let compressed = folder(&[("0.gz", gzip(&text(3, 500))), ("1.zst", zstd(&text(5, 500)))]);
    assert_eq!(run(&plain).parts, run(&compressed).parts);
}

#[test]
fn an_empty_file_that_is_compressed_is_a_record() {
    let streaming: Streaming =
        serde_json::from_str(r#"{"mapper": "cat", "reducer": "NONE"}"#).unwrap();
    let job = mapreduce::runtime::streaming(&streaming, &[]).unwrap();
    let folder = folder(&[("0.gz", gzip(b""))]);
    let shape = Shape { reduces: 0, ..Shape::default() };
    let ran = both(&job, "native", &folder, &shape, |spec| {
        spec.program = Program::Streaming(Box::new(streaming.clone()));
        spec.input_format = Some(InputFormat::WholeFile);
    });
    assert_eq!(ran.counters["task.MAP_INPUT_RECORDS"], 1);
}

#[test]
fn without_it_bytes_are_read_as_they_are() {
    let data = gzip(&text(1, 100));
    let folder = folder(&[("0.gz", data.clone())]);
    let shape = Shape { split_bytes: 50, reduces: 1, ..Shape::default() };
    let sort = mapreduce::runtime::builtin("sort", &BTreeMap::new()).unwrap();
    let ran = both(&sort, "sort", &folder, &shape, |spec| {
        spec.input_compression = Some(InputCompression::None);
    });
    let mut expected: Vec<&[u8]> = data.split(|byte| *byte == b'\n').collect();
    if expected.last().is_some_and(|last| last.is_empty()) {
        expected.pop();
    }
    expected.sort_unstable();
    let expected: Vec<u8> = expected.into_iter().flat_map(|it| [it, b"\n"].concat()).collect();
    assert_eq!(ran.parts["part-r-00000"], expected);
}

#[test]
fn a_torn_file_fails_the_job_with_its_name_and_the_place() {
    let whole = gzip(&text(7, 3000));
    let torn = whole[..whole.len() - 9].to_vec();
    let length = torn.len();
    let folder = folder(&[("0.gz", torn)]);
    for sequential in [false, true] {
        let local = local_job("wordcount", BTreeMap::new(), &folder, &Shape::default(), sequential);
        let failure = run_and_take(&wordcount(), &local, &folder).unwrap_err();
        assert_eq!(failure.kind, FailureKind::InputUnavailable);
        assert!(failure.message.contains("/in/0.gz"), "{}", failure.message);
        let place = format!("at byte {length} of {length}");
        assert!(sequential || failure.message.contains(&place), "{}", failure.message);
    }
}

#[test]
fn many_small_files_are_read_by_few_maps_in_the_same_order() {
    let file = |n: usize| (format!("{n:04}"), text(n, 3));
    let files: Vec<_> = (0..640).map(file).collect();
    let files: Vec<_> = files.iter().map(|(name, data)| (name.as_str(), data.clone())).collect();
    let folder = folder(&files);
    let shape = Shape { reduces: 1, ..Shape::default() };
    let in_order = Job::map::<u64, mapreduce::Bytes>(|line, out| {
        out.emit(0, line.value);
        Ok(())
    });
    let job: Job = in_order
        .reduce::<u64, Text>(|_, lines, out| {
            while let Some(line) = lines.next() {
                out.emit(0, std::str::from_utf8(line)?);
            }
            Ok(())
        })
        .into();
    let packed = both(&job, "native", &folder, &shape, |_| {});
    let alone = both(&job, "native", &folder, &shape, |spec| spec.combine_files = Some(false));
    assert_eq!(packed.parts, alone.parts);
    let maps = |combine_files| {
        let mut local = local_job(
            "identity",
            BTreeMap::new(),
            &folder,
            &Shape { reduces: 0, ..shape.clone() },
            false,
        );
        local.spec.combine_files = combine_files;
        let identity = mapreduce::runtime::builtin("identity", &BTreeMap::new()).unwrap();
        run_and_take(&identity, &local, &folder).unwrap().parts.len()
    };
    assert!((64..=80).contains(&maps(None)), "{}", maps(None));
    assert_eq!(maps(Some(false)), 640);
}
