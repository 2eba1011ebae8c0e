//! Records that a job leaves out, as the local runner does it: of native programs and of commands, in maps and reduces.

use std::collections::{BTreeMap, BTreeSet};

use mapreduce::{Bytes, Job, Mapper, Output, Record, UserError};
use mapreduce_protocol::{
    Failure, FailureKind, JobSpec, LocalJob, OutputCompression, Program, Streaming,
};

use crate::local::{Folder, Ran, Shape, local_job, run_and_take};

/// Counts lines; panics at some, refuses others, and panics at one in the reduce.
fn fragile() -> Job {
    Job::map::<Bytes, u64>(|line, out| {
        assert!(!line.value.starts_with(b"panic"), "nobody has thought of this line");
        if line.value.starts_with(b"error") {
            out.emit(b"half of it was written before", 1);
            out.named::<Bytes, Bytes>("seen").emit(line.value, b"");
            return Err("the line is refused".into());
        }
        out.emit(line.value, 1);
        Ok(())
    })
    .reduce::<Bytes, u64>(|line, counts, out| {
        assert!(!line.starts_with(b"poison"), "nobody can reduce this line");
        out.emit(line, counts.sum());
        Ok(())
    })
    .into()
}

fn folder(lines: &[&str]) -> Folder {
    let line = |n: usize| match lines.get(n % 40).filter(|_| n / 40 == 1) {
        Some(line) => format!("{line}\n"),
        None => format!("line {}\n", n % 7),
    };
    Folder::with(&[(0..120).map(line).collect::<String>().into_bytes()])
}

/// What is counted of lines that begin with none of `bad`.
fn expected(folder: &Folder, bad: &[&str]) -> BTreeSet<String> {
    let text = std::fs::read_to_string(folder.input().join("000")).unwrap();
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    for line in text.lines().filter(|line| !bad.iter().any(|bad| line.starts_with(bad))) {
        *counts.entry(line).or_default() += 1;
    }
    counts.into_iter().map(|(line, n)| format!("{line}\t{n}")).collect()
}

fn lines_of(ran: &Ran, start: &str) -> BTreeSet<String> {
    let parts = ran.parts.iter().filter(|(name, _)| name.starts_with(start));
    let text = parts.map(|(_, part)| String::from_utf8(part.clone()).unwrap());
    text.flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>()).collect()
}

fn local(folder: &Folder, shape: &Shape, allowed: u32) -> LocalJob {
    let local = local_job("native", BTreeMap::new(), folder, shape, false);
    LocalJob { spec: JobSpec { skip_records: Some(allowed), ..local.spec }, ..local }
}

fn count(ran: &Ran, name: &str) -> u64 {
    ran.counters.get(&format!("task.{name}")).copied().unwrap_or(0)
}

const LINES: [&str; 8] =
    ["panic 1", "fine", "error 2", "error 2", "poison", "panic 3", "poison", "panic 4"];

#[test]
fn what_a_program_fails_at_is_left_out_counted_and_kept() {
    let folder = folder(&LINES);
    let shapes = [
        Shape::default(),
        Shape { split_bytes: 200, reduces: 3, sort_buffer_bytes: 4096, ..Shape::default() },
    ];
    for shape in shapes {
        // Five lines, and one key.
        let ran = run_and_take(&fragile(), &local(&folder, &shape, 6), &folder).unwrap();
        assert_eq!(lines_of(&ran, "part-"), expected(&folder, &["panic", "error", "poison"]));
        let aside = ["error 2", "panic 1", "panic 3", "panic 4"].map(str::to_owned);
        assert_eq!(lines_of(&ran, "_skipped-m"), BTreeSet::from(aside), "{shape:?}");
        assert_eq!(lines_of(&ran, "_skipped-r"), BTreeSet::from(["poison\t1".to_owned()]));
        assert_eq!(lines_of(&ran, "seen"), BTreeSet::new(), "what a failed attempt wrote is gone");
        assert_eq!(count(&ran, "MAP_SKIPPED_RECORDS"), 5);
        assert_eq!(count(&ran, "REDUCE_SKIPPED_GROUPS"), 1);
        assert_eq!(count(&ran, "REDUCE_SKIPPED_RECORDS"), 2);
        assert_eq!(count(&ran, "MAP_INPUT_RECORDS"), 115);
        assert_eq!(count(&ran, "NAMED_OUTPUT_RECORDS"), 0);
    }
}

fn refused(job: &Job, local: &LocalJob, folder: &Folder) -> Failure {
    run_and_take(job, local, folder).unwrap_err()
}

#[test]
fn one_too_many_fails_the_job_and_says_which() {
    let folder = folder(&LINES);
    let shape = Shape { parallelism: 1, ..Shape::default() };
    let failure = refused(&fragile(), &local(&folder, &shape, 4), &folder);
    let at = std::fs::read_to_string(folder.input().join("000")).unwrap().find("panic 4").unwrap();
    for part in [
        "more records than the 4 that 'skip_records'".to_owned(),
        format!("at record 47 (offset {at} of {}", folder.input().join("000").display()),
        "which begins \"panic 4\"): the job's code panicked".to_owned(),
    ] {
        assert!(failure.message.contains(&part), "{part}: {}", failure.message);
    }
    let reduce = refused(&fragile(), &local(&folder, &shape, 5), &folder);
    assert!(reduce.message.contains("which begins \"poison\""), "{}", reduce.message);
    assert!(reduce.message.contains("more records than the 5"), "{}", reduce.message);
}

#[test]
fn a_record_that_failed_once_is_not_left_out() {
    let tries = std::sync::Arc::new(std::sync::atomic::AtomicU32::new(0));
    let job: Job = Job::map::<Bytes, u64>(move |line, out| {
        if line.value == b"fine" && tries.fetch_add(1, std::sync::atomic::Ordering::Relaxed) == 0 {
            return Err("this once".into());
        }
        out.emit(line.value, 1);
        Ok(())
    })
    .into();
    let folder = folder(&["fine"]);
    let ran = run_and_take(&job, &local(&folder, &Shape::default(), 1), &folder).unwrap();
    assert_eq!(count(&ran, "MAP_SKIPPED_RECORDS"), 0);
    assert_eq!(count(&ran, "MAP_INPUT_RECORDS"), 120);
    assert_eq!(lines_of(&ran, "_skipped"), BTreeSet::new());
}

/// Refuses to end.
struct NoEnd;

impl Mapper for NoEnd {
    type Key = Bytes;
    type Value = u64;

    fn map(&mut self, _: Record<'_>, _: &mut Output<'_, Bytes, u64>) -> Result<(), UserError> {
        Ok(())
    }

    fn finish(&mut self, _: &mut Output<'_, Bytes, u64>) -> Result<(), UserError> {
        Err("there is no end".into())
    }
}

#[test]
fn what_fails_between_records_is_no_records_fault() {
    let job: Job = Job::new(|| NoEnd).into();
    let folder = folder(&[]);
    let failure = refused(&job, &local(&folder, &Shape::default(), 100), &folder);
    assert!(failure.message.contains("there is no end"), "{}", failure.message);
    assert!(!failure.message.contains("at record"), "{}", failure.message);
}

/// A job of commands.
fn streaming(json: &str, folder: &Folder, shape: &Shape, allowed: u32) -> Result<Ran, Failure> {
    let streaming: Streaming = serde_json::from_str(json).unwrap();
    let job = mapreduce::runtime::streaming(&streaming, &[]).unwrap();
    let local = local(folder, shape, allowed);
    let program = Program::Streaming(Box::new(streaming));
    let local = LocalJob { spec: JobSpec { program, ..local.spec }, ..local };
    run_and_take(&job, &local, folder)
}

/// An awk program that dies at lines that begin with `bad`, with its last words.
fn dies_at(bad: &str) -> String {
    format!(
        "awk '/^{bad}/ {{ print \\\"the last words\\\" > \\\"/dev/stderr\\\"; exit 3 }} {{ print }}'"
    )
}

#[test]
fn what_commands_die_at_is_found_left_out_and_kept() {
    let folder = folder(&["bad 1", "fine", "bad 2", "bad 3", "poison"]);
    let json = format!(r#"{{"mapper": "{}", "reducer": "{}"}}"#, dies_at("bad"), dies_at("poison"));
    for shape in [Shape::default(), Shape { split_bytes: 500, reduces: 1, ..Shape::default() }] {
        let ran = streaming(&json, &folder, &shape, 4).unwrap();
        let good = expected(&folder, &["bad", "poison"]);
        let good: BTreeSet<_> =
            good.iter().map(|it| it.split('\t').next().unwrap().to_owned()).collect();
        let trimmed: BTreeSet<_> =
            lines_of(&ran, "part-").iter().map(|line| line.trim_end().to_owned()).collect();
        assert_eq!(trimmed, good);
        let aside = ["bad 1", "bad 2", "bad 3"].map(str::to_owned);
        assert_eq!(lines_of(&ran, "_skipped-m"), BTreeSet::from(aside));
        assert_eq!(lines_of(&ran, "_skipped-r"), BTreeSet::from(["poison\t".to_owned()]));
        assert_eq!(count(&ran, "MAP_SKIPPED_RECORDS"), 3);
        assert_eq!(count(&ran, "REDUCE_SKIPPED_GROUPS"), 1);
        assert_eq!(count(&ran, "MAP_INPUT_RECORDS"), 117);
    }
    let failure = streaming(&json, &folder, &Shape::default(), 2).unwrap_err();
    for part in ["more records than the 2", "which begins \"bad 3\"", "the last words"] {
        assert!(failure.message.contains(part), "{part}: {}", failure.message);
    }
}

#[test]
fn a_command_that_fails_whatever_it_reads_has_nothing_left_out() {
    let folder = folder(&["bad 1"]);
    for mapper in ["sh -c 'cat; exit 3'", "sh -c 'exit 3'"] {
        let json = format!(r#"{{"mapper": "{mapper}"}}"#);
        let shape = Shape { reduces: 0, ..Shape::default() };
        let failure = streaming(&json, &folder, &shape, 100).unwrap_err();
        assert_eq!(failure.kind, FailureKind::UserCode);
        assert!(failure.message.contains("ended with status 3"), "{}", failure.message);
        assert!(!failure.message.contains("at record"), "{}", failure.message);
    }
}

#[test]
fn what_is_left_out_is_compressed_as_the_parts_are() {
    let folder = folder(&["panic 1"]);
    let mut local = local(&folder, &Shape::default(), 1);
    local.spec.output_compression = Some(OutputCompression::Gzip);
    let ran = run_and_take(&fragile(), &local, &folder).unwrap();
    let mut text = String::new();
    let gz = &ran.parts["_skipped-m-00000.gz"];
    std::io::Read::read_to_string(
        &mut mapreduce::runtime::decoder(
            mapreduce_protocol::Codec::Gzip,
            std::io::Cursor::new(gz.clone()),
        )
        .unwrap(),
        &mut text,
    )
    .unwrap();
    assert_eq!(text, "panic 1\n");
}
