//! Jobs of commands: each output equals that of a pipeline of the shell, and of the sequential oracle.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::process::Command;

use mapreduce_protocol::{Failure, FailureKind, JobSpec, LocalJob, Program, Streaming};

use crate::local::{FILES, Folder, Ran, Shape, local_job, run_and_take};

const SEQUENTIAL: bool = true;

/// Runs the program that `json` describes; its files lie in the folder's `files`.
fn run(json: &str, folder: &Folder, shape: &Shape, sequential: bool) -> Result<Ran, Failure> {
    let mut streaming: Streaming = serde_json::from_str(json).unwrap();
    for file in streaming.shipped_mut() {
        file.path = folder.path().join(FILES).join(&file.path).to_str().unwrap().to_owned();
    }
    let files: Vec<String> = streaming.shipped().map(|file| file.path.clone()).collect();
    let job = mapreduce::runtime::streaming(&streaming, &files).unwrap();
    let local = local_job("native", BTreeMap::new(), folder, shape, sequential);
    let program = Program::Streaming(Box::new(streaming));
    let local = LocalJob { spec: JobSpec { program, ..local.spec }, ..local };
    run_and_take(&job, &local, folder)
}

/// Runs it both ways, which must agree.
fn both(json: &str, folder: &Folder, shape: &Shape) -> Ran {
    let ran = run(json, folder, shape, !SEQUENTIAL).unwrap();
    let expected = run(json, folder, shape, SEQUENTIAL).unwrap();
    if shape.reduces > 0 {
        assert!(ran.parts == expected.parts, "{json}: runtime and oracle differ");
    } else {
        assert!(joined(&ran) == joined(&expected), "{json}: runtime and oracle differ");
    }
    ran
}

fn joined(ran: &Ran) -> Vec<u8> {
    ran.parts.values().flatten().copied().collect()
}

fn lines(text: &[u8]) -> Vec<&[u8]> {
    let mut lines: Vec<&[u8]> = text.split(|byte| *byte == b'\n').collect();
    assert_eq!(lines.pop(), Some(&b""[..]), "the last line has an end");
    lines
}

fn sorted(ran: &Ran) -> Vec<u8> {
    let text = joined(ran);
    let mut lines = lines(&text);
    lines.sort_unstable();
    lines.into_iter().flat_map(|line| [line, b"\n"].concat()).collect()
}

/// What a pipeline of the shell makes of the input.
fn shell(folder: &Folder, pipeline: &str) -> Vec<u8> {
    let script = format!("export LC_ALL=C; {pipeline}");
    let output =
        Command::new("sh").arg("-c").arg(script).current_dir(folder.input()).output().unwrap();
    assert!(output.status.success(), "{pipeline}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

fn file(folder: &Folder, name: &str, text: &str) {
    let files = folder.path().join(FILES);
    std::fs::create_dir_all(&files).unwrap();
    std::fs::write(files.join(name), text).unwrap();
}

fn prose(n_lines: usize) -> Vec<u8> {
    let mut text = String::new();
    let mut random = 7_u64;
    for _ in 0..n_lines {
        for _ in 0..random >> 60 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            write!(text, "w{} ", (random >> 40) % 97).unwrap();
        }
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        text.push('\n');
    }
    text.into_bytes()
}

/// Buffers and splits so small that all is cut, spilled and merged.
fn tiny() -> Shape {
    Shape {
        split_bytes: 1000,
        sort_buffer_bytes: 600,
        fetch_buffer_bytes: 2000,
        merge_factor: 2,
        reduces: 3,
        parallelism: 2,
    }
}

#[test]
fn a_word_count_in_python_equals_the_shells() {
    let folder = Folder::with(&[prose(60), prose(40)]);
    file(
        &folder,
        "map.py",
        "#!/usr/bin/env python3\nimport sys\nfor line in sys.stdin:\n    for word in line.split():\n        \
         print(word, 1, sep='\\t')\n",
    );
    file(
        &folder,
        "reduce.py",
        "import sys\nfrom itertools import groupby\nlines = (line.rstrip('\\n').split('\\t') for line in sys.stdin)\n\
         for word, group in groupby(lines, key=lambda it: it[0]):\n    print(word, sum(int(it[1]) for it in group), sep='\\t')\n",
    );
    let json =
        r#"{"mapper": "map.py", "reducer": "python3 reduce.py", "files": ["map.py", "reduce.py"]}"#;
    let ran = both(json, &folder, &Shape { reduces: 2, split_bytes: 3000, ..Shape::default() });
    let words = "cat * | tr -s ' ' '\\n' | grep . | sort | uniq -c | awk '{print $2 \"\\t\" $1}'";
    assert_eq!(sorted(&ran), shell(&folder, &format!("{words} | sort")));
    assert!(ran.parts.values().all(|part| !part.is_empty()));
    assert_eq!(ran.counters["task.MAP_INPUT_RECORDS"], 100);
}

const WORDS: &str = "awk '{for (i = 1; i <= NF; i++) print $i}'";

#[test]
fn tiny_buffers_cut_nothing_wrong() {
    let folder = Folder::with(&[prose(300), vec![], prose(10)]);
    let json = format!(r#"{{"mapper": "{WORDS}", "reducer": "uniq -c"}}"#);
    let ran = both(&json, &folder, &tiny());
    // Keys without a value: a tab stands behind each.
    let expected = format!("cat * | {WORDS} | sed 's/$/\\t/' | sort | uniq -c | sort");
    assert_eq!(sorted(&ran), shell(&folder, &expected));
    assert!(ran.counters["task.SPILLED_RECORDS"] > ran.counters["task.MAP_OUTPUT_RECORDS"]);
    assert_eq!(ran.counters["task.REDUCE_INPUT_RECORDS"], ran.counters["task.MAP_OUTPUT_RECORDS"]);
    let groups = shell(&folder, &format!("cat * | {WORDS} | sort -u | wc -l"));
    let groups: u64 = String::from_utf8(groups).unwrap().trim().parse().unwrap();
    assert_eq!(ran.counters["task.REDUCE_INPUT_GROUPS"], groups);
}

const SUM: &str = r"awk -F'\\t' '$1 != key {if (NR > 1) print key FS sum; key = $1; sum = 0} {sum += $2} END {if (NR) print key FS sum}'";

#[test]
fn a_combiner_sees_sorted_records_and_may_write_what_it_likes() {
    let folder = Folder::with(&[prose(300), prose(10)]);
    let map = format!(r"{WORDS} | sed 's/$/\\t1/'");
    let plain = both(&format!(r#"{{"mapper": "{map}", "reducer": "{SUM}"}}"#), &folder, &tiny());
    let count = |ran: &Ran, name: &str| ran.counters[&format!("task.{name}")];
    for combiner in [SUM, "cat", "tac", &format!("tac | sort | {SUM}")] {
        let json =
            format!(r#"{{"mapper": "{map}", "combiner": "{combiner}", "reducer": "{SUM}"}}"#);
        for shape in [tiny(), Shape { sort_buffer_bytes: 20_000, ..tiny() }] {
            let ran = run(&json, &folder, &shape, !SEQUENTIAL).unwrap();
            assert!(ran.parts == plain.parts, "{combiner}");
            let records = count(&ran, "MAP_OUTPUT_RECORDS");
            assert_eq!(records, count(&plain, "MAP_OUTPUT_RECORDS"));
            assert_eq!(records, count(&ran, "COMBINE_INPUT_RECORDS"));
            let combined = count(&ran, "COMBINE_OUTPUT_RECORDS");
            assert_eq!(combined, count(&ran, "REDUCE_INPUT_RECORDS"));
            assert_eq!(combined < records, combiner.ends_with(SUM), "{combiner}");
        }
    }
    combiners_write_as_reducers_do(&folder);
    let failing =
        r#"{"mapper": "cat", "combiner": "sh -c 'echo why >&2; cat; exit 7'", "reducer": "cat"}"#;
    let failure = run(failing, &folder, &tiny(), !SEQUENTIAL).unwrap_err();
    assert!(failure.message.contains("the combiner") && failure.message.contains("status 7"));
    assert!(failure.message.contains("ends: why"), "{}", failure.message);
}

/// Separators that differ: what a combiner writes must be the records that its reducer would have had, summed up.
fn combiners_write_as_reducers_do(folder: &Folder) {
    let sum = |input: &str, output: &str| {
        format!(
            r"awk -F{input} -vOFS={output} '$1 != key {{if (NR > 1) print key, sum; key = $1; sum = 0}} {{sum += $2}} END {{if (NR) print key, sum}}'"
        )
    };
    let two = r"awk -F'\\t' -vOFS='\\t' '{key = $1 FS $2; if (key != last && NR > 1) {print last, sum; sum = 0} last = key; sum += $3} END {if (NR) print last, sum}'";
    let map = |ending: &str| format!("{WORDS} | sed 's/$/{ending}/'");
    for (map, reducer, keys) in [
        (map(",1"), SUM.to_owned(), r#""map_output_separator": ",""#),
        (
            map(",1"),
            sum(":", r"'\\t'"),
            r#""map_output_separator": ",", "reduce_input_separator": ":""#,
        ),
        (
            map(",1"),
            sum("=", "="),
            r#""map_output_separator": ",", "reduce_input_separator": "=", "reduce_output_separator": "=""#,
        ),
        // A key of two fields, which nothing but the mapper's form tells.
        (map(r"\\tx\\t1"), two.to_owned(), r#""map_output_key_fields": 2"#),
    ] {
        let json = |combiner: &str| {
            format!(r#"{{"mapper": "{map}", "reducer": "{reducer}", {keys}{combiner}}}"#)
        };
        let plain = both(&json(""), folder, &tiny());
        let combiner = format!(r#", "combiner": "{reducer}""#);
        let ran = run(&json(&combiner), folder, &tiny(), !SEQUENTIAL).unwrap();
        assert!(ran.parts == plain.parts, "{keys}");
        let count = |name: &str| ran.counters[&format!("task.{name}")];
        assert!(count("COMBINE_OUTPUT_RECORDS") < count("COMBINE_INPUT_RECORDS"), "{keys}");
    }
}

#[test]
fn keys_are_sorted_and_partitioned_as_the_options_of_sort_say() {
    let mut text = String::new();
    let mut random = 1_u64;
    for _ in 0..3000 {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let (a, b, c) = ((random >> 60) % 7, (random >> 40) % 300, (random >> 20) % 50);
        let (x, b) = ("x".repeat((c % 4) as usize), b as i64 - 150);
        writeln!(text, "k{a} {x} {b}.{c} v{}", c % 9).unwrap();
    }
    let folder = Folder::with(&[text.into_bytes()]);
    for (options, sort) in [
        ("-k3,3n", "sort -s -t' ' -k3,3n -k1,3"),
        ("-k3,3nr", "sort -s -t' ' -k3,3nr -k1,3"),
        ("-k1,1r -k3,3n", "sort -s -t' ' -k1,1r -k3,3n -k1,3"),
        ("-k2,2 -k1.2,1.2r", "sort -s -t' ' -k2,2 -k1.2,1.2r -k1,3"),
    ] {
        let json = format!(
            r#"{{"mapper": "cat", "map_output_separator": " ", "map_output_key_fields": 3, "key_separator": " ",
                 "sort": "{options}", "output_separator": " "}}"#
        );
        for shape in [Shape { reduces: 1, ..Shape::default() }, Shape { reduces: 1, ..tiny() }] {
            let got = joined(&both(&json, &folder, &shape));
            assert!(got == shell(&folder, &format!("cat * | {sort}")), "{options}");
        }
    }
    // A secondary sort: each reduce has whole groups, the largest number first.
    let largest = "awk '$1 != k {print $1, $NF; k = $1}'";
    let json = format!(
        r#"{{"mapper": "cut -d' ' -f1,3", "map_output_separator": " ", "map_output_key_fields": 2,
             "key_separator": " ", "partition": "-k1,1", "sort": "-k1,1 -k2,2nr", "combiner": "cat",
             "reducer": "{largest}"}}"#
    );
    let sort = "cat * | cut -d' ' -f1,3 | sort -s -t' ' -k1,1 -k2,2nr";
    let expected = shell(&folder, &format!("{sort} | {largest} | sort"));
    let ran = both(&json, &folder, &tiny());
    assert_eq!(sorted(&ran), expected);
    assert!(ran.parts.values().filter(|part| !part.is_empty()).count() > 1);
}

#[test]
fn a_map_only_job_keeps_bytes_and_order() {
    let garbage: Vec<u8> =
        (0..20_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let garbage: Vec<u8> = garbage.into_iter().filter(|byte| *byte != b'\r').collect();
    let folder = Folder::with(&[prose(100), garbage, b"the last line has no end".to_vec()]);
    let shape = Shape { reduces: 0, ..tiny() };
    let ran = both(r#"{"mapper": "cat"}"#, &folder, &shape);
    let mut expected = Vec::new();
    for n in 0..3 {
        expected.extend(shell(&folder, &format!("cat 00{n}")));
        if expected.last() != Some(&b'\n') {
            expected.push(b'\n');
        }
    }
    assert!(joined(&ran) == expected);
    assert_eq!(ran.counters["task.MAP_OUTPUT_RECORDS"], lines(&expected).len() as u64);
    assert_eq!(ran.counters["task.MAP_INPUT_RECORDS"], lines(&expected).len() as u64);
}

#[test]
fn lines_end_as_the_job_says() {
    let folder = Folder::with(&[b"a\tx\r\nb\ry\r\n\r\nc\r".to_vec()]);
    for (ends, expected) in [
        ("", &b"a\tx\nb\ry\n\nc\n"[..]),
        (r#", "line_ends": "lf""#, b"a\tx\r\nb\ry\r\n\r\nc\r\n"),
        (r#", "line_ends": "any""#, b"a\tx\nb\ny\n\nc\n"),
    ] {
        let json = format!(r#"{{"mapper": "cat"{ends}}}"#);
        for split_bytes in [1000, 3, 1] {
            let shape = Shape { reduces: 0, split_bytes, ..Shape::default() };
            let got = joined(&both(&json, &folder, &shape));
            let (got, expected) = (String::from_utf8(got), String::from_utf8(expected.to_vec()));
            assert_eq!(got, expected, "{json}, splits of {split_bytes}");
        }
    }
    // A last line that is only a CR is one.
    for (text, ends, expected) in [
        (r"a\\n\\r", "crlf", &b"a\n\n"[..]),
        (r"a\\r\\r", "any", b"a\n\n"),
        (r"a\\r\\r", "crlf", b"a\r\n"),
    ] {
        for form in ["", r#", "output_separator": "=""#] {
            let json = format!(
                r#"{{"mapper": "sh -c \"cat >&2; printf '{text}'\"", "line_ends": "{ends}"{form}}}"#
            );
            let shape = Shape { reduces: 0, ..Shape::default() };
            assert_eq!(joined(&both(&json, &folder, &shape)), expected, "{json}");
        }
    }
    // What a command writes ends in the same ways.
    let json = r#"{"mapper": "printf 'a\\r\\nb\\rc'"}"#;
    let shape = Shape { reduces: 0, ..Shape::default() };
    assert_eq!(joined(&both(json, &Folder::with(&[b"".to_vec()]), &shape)), b"");
    let json = r#"{"mapper": "sh -c \"cat >&2; printf 'a\\r\\nb\\rc'\""}"#;
    assert_eq!(joined(&both(json, &folder, &shape)), b"a\nb\rc\n");
}

#[test]
fn keys_end_and_lines_are_joined_where_the_job_says() {
    let folder = Folder::with(&[b"b.2.x\na.1.y\na.1.x\nno separator\nb.1.\n".to_vec()]);
    let shape = Shape { reduces: 1, ..Shape::default() };
    for (json, expected) in [
        // The whole line is the key: sorted by it.
        (r#"{"mapper": "cat"}"#, "a.1.x\na.1.y\nb.1.\nb.2.x\nno separator\n"),
        (
            r#"{"mapper": "cat", "map_output_separator": ".", "map_output_key_fields": 2}"#,
            "a.1\ty\na.1\tx\nb.1\t\nb.2\tx\nno separator\n",
        ),
        (
            r#"{"mapper": "cat", "map_output_separator": ".", "output_separator": "=", "trailing_separator": true}"#,
            "a=1.y\na=1.x\nb=2.x\nb=1.\nno separator=\n",
        ),
        (
            r#"{"mapper": "cat", "map_output_separator": ".", "reducer": "cat", "reduce_input_separator": "->"}"#,
            "a->1.y\na->1.x\nb->2.x\nb->1.\nno separator->\n",
        ),
        (
            r#"{"mapper": "cat", "reducer": "cat", "reduce_output_separator": ".", "reduce_output_key_fields": 2,
                "output_separator": "|", "reduce_input_separator": ""}"#,
            "a.1|x\na.1|y\nb.1|\nb.2|x\nno separator\n",
        ),
        (
            r#"{"mapper": "cat", "reducer": "cat", "reduce_input_separator": "", "trailing_separator": true}"#,
            "a.1.x\t\na.1.y\t\nb.1.\t\nb.2.x\t\nno separator\t\n",
        ),
    ] {
        let got = String::from_utf8(joined(&both(json, &folder, &shape))).unwrap();
        assert_eq!(got, expected, "{json}");
    }
}

#[test]
fn a_line_that_no_command_reads_between_map_and_output_keeps_its_separators() {
    let text = b"k\tv\nx\t\ny\n\tz\n\t\n\na\t\0\nb\t\0\0c\nd\t\t\n";
    let folder = Folder::with(&[text.to_vec()]);
    let once = || Shape { reduces: 1, ..Shape::default() };
    for (json, shape) in [
        (r#"{"mapper": "cat"}"#, Shape { reduces: 0, ..Shape::default() }),
        (r#"{"mapper": "cat"}"#, Shape { reduces: 1, ..tiny() }),
        (r#"{"mapper": "cat"}"#, once()),
        (r#"{"mapper": "cat", "sort": "-r"}"#, once()),
    ] {
        assert_eq!(sorted(&both(json, &folder, &shape)), shell(&folder, "sort 000"), "{json}");
    }
    // A reducer and a combiner get a separator behind every key, as in Hadoop.
    for json in
        [r#"{"mapper": "cat", "reducer": "cat"}"#, r#"{"mapper": "cat", "combiner": "cat"}"#]
    {
        let ran = run(json, &folder, &once(), !SEQUENTIAL).unwrap();
        let expected = shell(&folder, "sed '/\t/!s/$/\t/' 000 | sort");
        assert_eq!(sorted(&ran), expected, "{json}");
    }
}

#[test]
fn commands_find_their_task_their_files_and_their_variables() {
    let folder = Folder::with(&[b"a\nb\n".to_vec()]);
    // Without a first line that names an interpreter, it is the shell's, as in a shell.
    file(&folder, "tool", "echo \"tool: $1\"\n");
    let env = "for it in mapred_job_id mapreduce_task_attempt_id mapreduce_task_ismap \
               mapreduce_map_input_start map_input_length mapreduce_job_reduces GREETING; \
               do eval echo $it=\\\\$$it; done";
    let json = format!(
        r#"{{"mapper": "cat > $TMPDIR/x; {env}; ls; renamed.sh plain; cat renamed.sh > renamed.sh2 && rm renamed.sh",
             "files": ["tool#renamed.sh", "tool"], "env": {{"GREETING": "good day"}}}}"#
    );
    let ran = both(&json, &folder, &Shape { reduces: 0, ..Shape::default() });
    let got = String::from_utf8(joined(&ran)).unwrap();
    let expected = "mapred_job_id=job_00000000_0001\n\
                    mapreduce_task_attempt_id=attempt_00000000_0001_m_000000_0\n\
                    mapreduce_task_ismap=true\nmapreduce_map_input_start=0\nmap_input_length=4\n\
                    mapreduce_job_reduces=0\nGREETING=good day\nrenamed.sh\ntool\ntool: plain\n";
    assert_eq!(got, expected);
    let reduce = r#"{"reducer": "sh -c 'cat >&2; echo $mapred_task_is_map $mapred_task_partition ${map_input_file-none}'"}"#;
    let ran = both(reduce, &folder, &Shape { reduces: 2, ..Shape::default() });
    assert_eq!(sorted(&ran), b"false 0 none\nfalse 1 none\n");
}

#[test]
fn files_beside_the_standard_output_are_named_outputs() {
    let folder = Folder::with(&[b"a 1\nbad\nb 2\n".to_vec(), b"worse\nc 3\n".to_vec()]);
    let json = r#"{
        "mapper": "awk '{if (NF == 2) print $1 \"\\t\" $2; else print > (ENVIRON[\"mapreduce_task_output_dir\"] \"/malformed\")}'",
        "reducer": "sh -c 'tee $mapred_work_output_dir/copy; printf \"x\\ty\" > $mapred_work_output_dir/last'"
    }"#;
    let shape = Shape { reduces: 2, split_bytes: 1 << 20, ..Shape::default() };
    let ran = both(json, &folder, &shape);
    let parts = |name: &str| -> Vec<&[u8]> {
        ran.parts.iter().filter(|(part, _)| part.starts_with(name)).map(|(_, it)| &it[..]).collect()
    };
    assert_eq!(parts("malformed-m-"), [&b"bad\n"[..], b"worse\n"]);
    assert_eq!(parts("copy-r-"), parts("part-r-"));
    assert_eq!(parts("last-r-"), [b"x\ty\n"; 2], "a last line without an end is one, too");
    assert_eq!(ran.counters["task.NAMED_OUTPUT_RECORDS"], 2 + 3 + 2);
    for (name, needle) in [("no-name", "can't be the name of an output"), ("x/y", "is no file")] {
        let made = format!("$mapreduce_task_output_dir/{name}");
        let json = format!(
            r#"{{"mapper": "sh -c 'cat; mkdir $(dirname {made}) 2>&-; touch {made}'", "reducer": "NONE"}}"#
        );
        let failure = run(&json, &folder, &Shape { reduces: 0, ..Shape::default() }, false);
        let message = failure.unwrap_err().message;
        assert!(message.contains(needle), "{message}");
    }
}

#[test]
fn files_beside_a_combiners_output_are_kept_of_each_of_its_runs() {
    let folder = Folder::with(&[prose(300)]);
    let json = format!(
        r#"{{
        "mapper": "{WORDS} | tee $mapreduce_task_output_dir/words",
        "combiner": "tee $mapreduce_task_output_dir/combined | tail -n 1 > $mapred_work_output_dir/words; cat $mapreduce_task_output_dir/combined",
        "reducer": "cat"
    }}"#
    );
    let shape = Shape { split_bytes: 1 << 20, reduces: 1, ..tiny() };
    let ran = run(&json, &folder, &shape, !SEQUENTIAL).unwrap();
    let part = |name: &str| lines(&ran.parts[name]).into_iter().map(<[u8]>::to_vec);
    let (mut combined, mut words): (Vec<_>, Vec<_>) =
        (part("combined-m-00000").collect(), part("words-m-00000").collect());
    // What the combiner has read, run for run, is all that the mapper has written; each run has left its last line, too.
    let runs = 1 + combined.windows(2).filter(|pair| pair[0] > pair[1]).count();
    assert!(runs > 3, "{runs} runs");
    let last = words.split_off(combined.len());
    assert!(last.len() >= runs, "{} of {runs}", last.len());
    assert!(last.iter().all(|line| line.ends_with(b"\t")), "those of the combiner come last");
    combined.iter_mut().for_each(|line| assert_eq!(line.pop(), Some(b'\t')));
    combined.sort_unstable();
    words.sort_unstable();
    assert_eq!(combined, words);
}

#[test]
fn archives_are_folders() {
    let folder = Folder::with(&[b"a\nb\n".to_vec()]);
    file(&folder, "reduce", "old\n");
    let pack = "mkdir -p ../files/x/sub && echo 's/^/got /' > ../files/x/sub/script && cd ../files && tar czf x.tgz -C x .";
    shell(&folder, pack);
    let json = r#"{"mapper": "sed -f lib/sub/script", "archives": ["x.tgz#lib"]}"#;
    let ran = both(json, &folder, &Shape { reduces: 0, ..Shape::default() });
    assert_eq!(joined(&ran), b"got a\ngot b\n");
    let json = r#"{"mapper": "cat", "archives": ["reduce"]}"#;
    let failure = failure(json, &folder);
    assert_eq!(failure.kind, FailureKind::BadJob);
    assert!(failure.message.contains("is no tar, tar.gz"), "{}", failure.message);
}

#[test]
fn counters_are_added_up_over_all_tasks() {
    let folder = Folder::with(&[b"a\nbb\nccc\n".repeat(20)]);
    let json = r#"{"mapper": "awk '{print \"reporter:counter:my group,lines,1\" > \"/dev/stderr\"; print}'",
        "reducer": "sh -c 'cat; echo reporter:counter:my group,reduces,1 >&2; echo reporter:status:done >&2'"}"#;
    let ran = both(json, &folder, &Shape { split_bytes: 30, ..Shape::default() });
    assert_eq!(ran.counters["my group.lines"], 60);
    assert_eq!(ran.counters["my group.reduces"], 2);
    let json =
        r#"{"mapper": "sh -c 'cat; echo reporter:counter:g,n,-1 >&2; echo reporter:x >&2'"}"#;
    let ran = both(json, &folder, &Shape { reduces: 0, split_bytes: 1000, ..Shape::default() });
    assert_eq!(ran.counters["task.REPORTER_LINES_REFUSED"], 2);
}

#[test]
fn a_reducer_runs_on_an_empty_partition_too_and_its_output_counts() {
    let folder = Folder::with(&[b"one key\n".to_vec()]);
    let ran = both(r#"{"reducer": "wc -l"}"#, &folder, &Shape { reduces: 4, ..Shape::default() });
    assert_eq!(sorted(&ran), b"0\n0\n0\n1\n");
}

/// The failure of a command, which both ways agree about.
fn failure(json: &str, folder: &Folder) -> Failure {
    let shape = Shape { reduces: 0, ..Shape::default() };
    run(json, folder, &shape, SEQUENTIAL).unwrap_err();
    run(json, folder, &shape, !SEQUENTIAL).unwrap_err()
}

#[test]
fn each_way_to_fail_has_a_cause_that_says_so() {
    let folder = Folder::with(&[prose(20_000)]);
    file(&folder, "dos", "#!/bin/sh\r\ncat\r\n");
    file(&folder, "bare.py", "import sys\nfor line in sys.stdin:\n    print(line)\n");
    let table = [
        (
            "cat; echo the cause >&2; exit 3",
            FailureKind::UserCode,
            "ended with status 3; its standard error ends: the cause",
        ),
        ("sh -c 'exit 1'", FailureKind::UserCode, "it wrote nothing to standard error"),
        ("grep xyzzy", FailureKind::UserCode, "'nonzero_exit: true'"),
        ("grep -c '('", FailureKind::UserCode, "`grep -c '('` ended with status 1"),
        ("exit 3", FailureKind::ProgramUnavailable, "write sh -c 'exit 3'"),
        (
            "kill -9 $$",
            FailureKind::Crashed { exit_code: None, signal: Some(9) },
            "was ended by signal 9",
        ),
        ("head -1", FailureKind::UserCode, "before it had read all of its input (broken pipe)"),
        ("true", FailureKind::UserCode, "'partial_input: true'"),
        ("cat < /dev/null", FailureKind::UserCode, "before it had read all of its input"),
        (
            "no-such-program -v",
            FailureKind::ProgramUnavailable,
            "neither among the job's files nor in PATH",
        ),
        ("dos", FailureKind::ProgramUnavailable, "names an interpreter that is not on this host"),
        ("no-such-program | cat; false", FailureKind::UserCode, "not found"),
        ("./bare.py", FailureKind::UserCode, "write 'python3 ./bare.py' as the command"),
    ];
    for (command, kind, expected) in table {
        let json = format!(r#"{{"mapper": {command:?}, "files": ["dos", "bare.py"]}}"#);
        let failure = failure(&json, &folder);
        assert!(failure.message.contains(expected), "{command}: {}", failure.message);
        assert_eq!(failure.kind, kind, "{command}: {}", failure.message);
        assert!(
            failure.message.contains(command.split(' ').next().unwrap()),
            "{}",
            failure.message
        );
    }
}

#[test]
fn a_job_may_allow_what_would_fail_it() {
    let folder = Folder::with(&[b"x\n".repeat(1_000_000)]);
    let shape = Shape { reduces: 0, ..Shape::default() };
    let head = both(r#"{"mapper": "head -1", "partial_input": true}"#, &folder, &shape);
    assert_eq!(joined(&head), b"x\n");
    let grep = r#"{"mapper": "grep y", "nonzero_exit": true}"#;
    assert_eq!(joined(&both(grep, &folder, &shape)), b"");
    let error =
        run(r#"{"mapper": "kill -9 $$", "nonzero_exit": true}"#, &folder, &shape, !SEQUENTIAL);
    assert!(error.unwrap_err().message.contains("signal 9"), "a signal is no exit status");
}

#[test]
fn a_reducer_may_leave_input_where_its_job_says_so() {
    let shape = Shape { reduces: 1, ..Shape::default() };
    // Within a pipe, and far beyond.
    for lines in [3, 400_000] {
        let text: String = (0..lines).map(|n| format!("{n:07}\n")).collect();
        let folder = Folder::with(&[text.into_bytes()]);
        for reducer in ["head -n 1", "sh -c 'IFS= read -r line; echo \\\"$line\\\"'", "sed 1q"] {
            let json = |may: bool| {
                format!(r#"{{"mapper": "cat", "reducer": "{reducer}", "partial_input": {may}}}"#)
            };
            let ran = both(&json(true), &folder, &shape);
            assert_eq!(joined(&ran), b"0000000\t\n", "{reducer} of {lines}");
            if lines > 3 {
                let failure = run(&json(false), &folder, &shape, !SEQUENTIAL).unwrap_err();
                assert!(failure.message.contains("'partial_input: true'"), "{}", failure.message);
            }
        }
    }
}

#[test]
fn a_small_input_that_nobody_reads_is_seen_in_the_pipe() {
    let folder = Folder::with(&[b"x\n".to_vec()]);
    let failure = failure(r#"{"mapper": "true"}"#, &folder);
    assert!(failure.message.contains("before it had read all"), "{}", failure.message);
}

#[test]
fn much_of_anything_passes() {
    // A record of 8 MiB, through map, sort and reduce.
    let long = [b"k\t".to_vec(), vec![b'x'; 8 << 20], b"\n".to_vec()].concat();
    let folder = Folder::with(&[[long.clone(), b"a\tb\n".to_vec()].concat()]);
    let shape = Shape { reduces: 1, split_bytes: 1 << 20, ..Shape::default() };
    let ran = both(r#"{"mapper": "cat", "reducer": "cat"}"#, &folder, &shape);
    assert!(joined(&ran) == [b"a\tb\n".to_vec(), long].concat());
    // Far more on standard error than any pipe holds, without an end of line; and output without end of line.
    let noisy = r#"{"mapper": "head -c 9000000 /dev/zero >&2; head -c 5000000 /dev/zero; cat > /dev/null"}"#;
    let folder = Folder::with(&[prose(50_000)]);
    let ran = run(noisy, &folder, &Shape { reduces: 0, ..Shape::default() }, !SEQUENTIAL).unwrap();
    assert_eq!(joined(&ran).len(), 5_000_001);
    // A command that writes all before it reads anything, and one that reads all first.
    for command in ["seq 300000; cat", "sort", "cat; seq 300000"] {
        let json = format!(r#"{{"mapper": "{command}"}}"#);
        both(&json, &folder, &Shape { reduces: 0, ..Shape::default() });
    }
}

#[test]
fn what_a_command_leaves_running_does_not_hold_it_up() {
    let folder = Folder::with(&[b"x\n".to_vec()]);
    let shape = Shape { reduces: 0, ..Shape::default() };
    // It holds standard error open, and nothing else.
    let json = r#"{"mapper": "sleep 60 > /dev/null & cat; echo $! >&2"}"#;
    let watch = clock::Stopwatch::start();
    let ran = run(json, &folder, &shape, !SEQUENTIAL).unwrap();
    assert_eq!(joined(&ran), b"x\n");
    assert!(watch.elapsed().as_secs() < 30);
    // One that closes standard output and goes on reading is waited for.
    let json = r#"{"mapper": "exec >&-; cat >&2; echo reporter:counter:g,read,1 >&2"}"#;
    assert_eq!(run(json, &folder, &shape, !SEQUENTIAL).unwrap().counters["g.read"], 1);
}
