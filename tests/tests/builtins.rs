//! Every builtin program against a script that shares nothing with it: on local files, by the sequential loop, and on a
//! cluster. What `howdah builtins` lists is what is tried here.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use tests::binary::root;
use tests::books;
use tests::command::{Finished, finish, run};
use tests::contents::Numbers;
use tests::{Dev, DevOptions};

/// One use of a builtin.
struct Trial {
    name: &'static str,
    /// As in a job file.
    args: &'static str,
    /// Folders of the input.
    inputs: &'static [&'static str],
    reduces: u32,
    /// What its output must be, as a shell script; `$HERE` holds the inputs.
    script: &'static str,
    /// Whether the parts, one after the other, are in the script's order.
    ordered: bool,
}

const fn trial(
    name: &'static str,
    args: &'static str,
    inputs: &'static [&'static str],
    reduces: u32,
    script: &'static str,
) -> Trial {
    Trial { name, args, inputs, reduces, script, ordered: false }
}

impl Trial {
    const fn ordered(self) -> Self {
        Self { ordered: true, ..self }
    }
}

/// A tab between fields for sort(1) and join(1), and inputs of a join in its order.
const JOIN: &str = r#"T="$(printf '\t')"
    sort -t "$T" -k1,1 users/* > users.sorted; sort -t "$T" -k2,2 orders/* > orders.sorted
    join -t "$T" -1 1 -2 2 "#;

const TRIALS: &[Trial] = &[
    trial("distinct", "{}", &["text"], 3, "sort -u text/*"),
    trial(
        "distinct",
        "{fields: '3,1'}",
        &["numbers"],
        2,
        r#"awk -F'\t' '{print $3 "\t" $1}' numbers/* | sort -u"#,
    ),
    trial("grep", "{pattern: 'st$'}", &["text"], 0, "cat text/* | grep 'st$'").ordered(),
    trial("identity", "{}", &["text"], 0, "cat text/*").ordered(),
    trial(
        "index",
        "{case: lower}",
        &["text"],
        3,
        r#"cd text; awk '{for (i = 1; i <= NF; i++) print tolower($i) "\t" FILENAME}' * | sort -u |
           awk -F'\t' '$1 != w {if (NR > 1) print l; l = w = $1} {l = l "\t" $2} END {print l}'"#,
    ),
    trial(
        "join",
        "{left: users, right: orders, right_field: 2}",
        &["users", "orders"],
        3,
        "users.sorted orders.sorted",
    ),
    trial(
        "join",
        "{left: users, right: orders, right_field: 2, kind: left}",
        &["users", "orders"],
        2,
        "-a 1 users.sorted orders.sorted",
    ),
    trial(
        "join",
        "{left: users, right: orders, right_field: 2, kind: right}",
        &["users", "orders"],
        1,
        "-a 2 users.sorted orders.sorted",
    ),
    trial(
        "join",
        "{left: users, right: orders, right_field: 2, kind: full}",
        &["users", "orders"],
        3,
        "-a 1 -a 2 users.sorted orders.sorted",
    ),
    trial(
        "join",
        "{left: users, right: orders, right_field: 2, kind: anti}",
        &["users", "orders"],
        3,
        "-v 1 users.sorted orders.sorted",
    ),
    trial("max", "{}", &["numbers"], 3, "python3 $PROGRAM max numbers/*"),
    trial("mean", "{}", &["numbers"], 2, "python3 $PROGRAM mean numbers/*"),
    trial("min", "{}", &["numbers"], 1, "python3 $PROGRAM min numbers/*"),
    trial("pi", "{}", &["ranges"], 1, "python3 $PROGRAM pi ranges/*").ordered(),
    trial("sort", "{}", &["text"], 3, "sort text/*").ordered(),
    trial("sum", "{}", &["numbers"], 3, "python3 $PROGRAM sum numbers/*"),
    trial("teragen", "{}", &["ranges"], 0, "python3 $PROGRAM teragen ranges/*").ordered(),
    trial("terasort", "{}", &["tera"], 3, r#"sort -s -t "$(printf '\001')" -k1.1,1.10 tera/*"#)
        .ordered(),
    trial("teravalidate", "{}", &["tera"], 1, "python3 $PROGRAM teravalidate tera/*").ordered(),
    trial("teravalidate", "{}", &["sorted"], 1, "python3 $PROGRAM teravalidate sorted/*").ordered(),
    trial(
        "topn",
        "{n: 12}",
        &["numbers"],
        1,
        r#"sort -t "$(printf '\t')" -k2,2nr numbers/* | head -n 12"#,
    )
    .ordered(),
    trial(
        "topn",
        "{n: 5, order: smallest}",
        &["numbers"],
        1,
        r#"sort -t "$(printf '\t')" -k2,2n numbers/* | head -n 5"#,
    )
    .ordered(),
    trial(
        "wordcount",
        "{}",
        &["text"],
        4,
        r#"cat text/* | tr -s ' ' '\n' | grep . | sort | uniq -c | awk '{print $2 "\t" $1}'"#,
    ),
];

/// The inputs, in a folder each.
fn make_inputs(here: &Path) {
    let write = |folder: &str, name: &str, text: &str| {
        fs::create_dir_all(here.join(folder)).expect("a folder can be made");
        fs::write(here.join(folder).join(name), text).expect("a file can be written");
    };
    let mut numbers = Numbers::new(5);
    for file in ["a", "b"] {
        let mut text = String::new();
        for _ in 0..400 {
            let (key, cents) = (numbers.below(40), numbers.below(2_000_000) as i64 - 1_000_000);
            let (whole, fraction) = (cents / 100, (cents % 100).abs());
            let sign = if cents < 0 && whole == 0 { "-" } else { "" };
            text += &format!("k{key}\t{sign}{whole}.{fraction:02}\tc{}\n", numbers.below(3));
        }
        write("numbers", file, &text);
        books::generate(&here.join(file), "60KiB", 3);
        fs::create_dir_all(here.join("text")).expect("a folder can be made");
        fs::rename(here.join(file), here.join("text").join(file)).expect("a file can be moved");
    }
    let users: String = (0..60).map(|n| format!("u{n}\tname {n}\tcity {}\n", n % 7)).collect();
    write("users", "all", &(users + "u3\tsecond\t\nalone\n"));
    let order = |n: u64| format!("o{n}\tu{}\t{} EUR\n", n * 7919 % 80, n % 90);
    write("orders", "all", &(0..300).map(order).collect::<String>());
    write("ranges", "first", "0 700\n700 300\n");
    write("ranges", "second", "1000 500\n");
    fs::create_dir_all(here.join("tera")).expect("a folder can be made");
    for (name, seed) in [("a", "1"), ("b", "2")] {
        let path = here.join("tera").join(name);
        let path = path.to_str().expect("a path of text");
        let _ = run(["gen", "tera", "--size", "60000", "--seed", seed, path]).success();
    }
    let _ = shell(here, "mkdir sorted; sort tera/* > all; split -l 500 -a 1 all sorted/; rm all")
        .success();
}

fn shell(here: &Path, script: &str) -> Finished {
    let mut command = Command::new("sh");
    command.args(["-euc", script]).current_dir(here).env("LC_ALL", "C");
    command.env("PROGRAM", root().join("tests/programs/builtins.py"));
    finish(&mut command)
}

/// The bytes of the parts, one after the other.
fn parts(folder: &Path) -> Vec<u8> {
    let entries = fs::read_dir(folder).expect("the output can be listed");
    let mut files: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
    files.retain(|file| file.file_name().is_some_and(|name| name != "_SUCCESS"));
    files.sort();
    files.iter().flat_map(|file| fs::read(file).expect("a part can be read")).collect()
}

/// Its lines, sorted where their order says nothing.
fn lines(bytes: &[u8], ordered: bool) -> Vec<String> {
    let text = String::from_utf8(bytes.to_vec()).expect("the outputs of these tests are text");
    let mut lines: Vec<String> = text.split_inclusive('\n').map(str::to_owned).collect();
    if !ordered {
        lines.sort_unstable();
    }
    lines
}

/// Whether lines agree but for the last digit of a mean.
fn assert_same(found: &[String], expected: &[String], what: &str) {
    assert!(!expected.is_empty(), "{what}: the script wrote nothing");
    assert_eq!(found.len(), expected.len(), "{what}: {found:?} and {expected:?}");
    for (found, expected) in found.iter().zip(expected) {
        let numbers = |line: &str| {
            let (key, number) = line.trim_end().rsplit_once('\t')?;
            Some((key.to_owned(), number.parse::<f64>().ok()?))
        };
        let is_near = match (numbers(found), numbers(expected)) {
            (Some((key, a)), Some((other, b))) => {
                key == other && (a - b).abs() <= 1e-12 * a.abs().max(b.abs())
            }
            _ => false,
        };
        let is_mean = what.starts_with("mean") || what.starts_with("pi");
        assert!(found == expected || is_mean && is_near, "{what}: {found:?}, not {expected:?}");
    }
}

#[test]
fn every_builtin_equals_an_independent_script_locally_sequentially_and_on_a_cluster() {
    let dev = Dev::start(&DevOptions::trackers(3).set("jobtracker.split_bytes=20KiB"));
    let here = dev.scratch().join("in");
    fs::create_dir(&here).expect("a folder can be made");
    make_inputs(&here);
    for folder in ["text", "numbers", "users", "orders", "ranges", "tera", "sorted"] {
        dev.put(&here.join(folder), &format!("/in/{folder}"));
    }
    let listed = run(["builtins", "--format", "json"]).success().text();
    let listed: Value = serde_json::from_str(&listed).expect("a list in JSON");
    let names = listed["builtins"].as_array().expect("builtins").iter();
    let names: BTreeSet<_> = names.filter_map(|it| it["name"].as_str()).collect();
    assert_eq!(names, TRIALS.iter().map(|it| it.name).collect(), "all builtins are tried");

    for (n, it) in TRIALS.iter().enumerate() {
        let script =
            if it.name == "join" { format!("{JOIN}{}", it.script) } else { it.script.to_owned() };
        let expected = lines(&shell(&here, &script).success().stdout, it.ordered);
        let job = |root: &str, output: &Path| {
            let inputs: Vec<_> = it.inputs.iter().map(|input| format!("{root}/{input}")).collect();
            format!(
                "name: {}\ninput: [{}]\noutput: {}\nprogram: {{builtin: {{name: {}, args: {}}}}}\nreduces: {}\n",
                it.name,
                inputs.join(", "),
                output.display(),
                it.name,
                it.args,
                it.reduces
            )
        };
        let what = |how: &str| format!("{} {} {how}", it.name, it.args);
        for (how, flags) in [("locally", &[][..]), ("sequentially", &["--sequential"])] {
            let output = dev.scratch().join(format!("{how}-{n}"));
            let file = dev.job_file("local.yaml", &job(here.to_str().expect("text"), &output));
            let _ = run([&["local", &file][..], flags].concat()).success();
            assert_same(&lines(&parts(&output), it.ordered), &expected, &what(how));
        }
        let output = format!("/out/{n}");
        let file = dev.job_file("cluster.yaml", &job("/in", Path::new(&output)));
        let _ = dev.run(&["job", "submit", &file, "--wait"]).success();
        let got = dev.scratch().join(format!("got-{n}"));
        dev.get(&output, &got);
        assert_same(&lines(&parts(&got), it.ordered), &expected, &what("on a cluster"));
    }
}

#[test]
fn arguments_are_set_on_the_command_line_and_wrong_ones_are_refused_with_what_would_do() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name).to_str().expect("text").to_owned();
    fs::write(at("in.csv"), "7,b\n9,a\n8,c\nnone\n").expect("a file");
    let job = format!(
        "name: largest\ninput: [{}]\noutput: {}\nprogram: {{builtin: {{name: topn, args: {{n: 2}}}}}}\n",
        at("in.csv"),
        at("out")
    );
    fs::write(at("job.yaml"), job).expect("a file");
    let set = |arguments: &[&str]| {
        let set = arguments
            .iter()
            .flat_map(|it| ["--set".to_owned(), format!("program.builtin.args.{it}")]);
        run(["local".to_owned(), at("job.yaml")].into_iter().chain(set))
    };
    let _ = set(&["n=many"]).refused(2, &["job.yaml", "'n' of topn", "a whole number from 1"]);
    let _ = set(&["m=1"]).refused(2, &["topn has no argument \"m\"", "howdah builtins topn"]);
    let _ = set(&["separator=','", "field=1"])
        .refused(1, &["offset 12 of", "\"none\" is no decimal number", "bad_lines: skip"]);
    let _ = set(&["separator=','", "field=1", "bad_lines=skip"]).success();
    assert_eq!(parts(Path::new(&at("out"))), b"9,a\n8,c\n");
    let _ = run(["local", &at("job.yaml"), "--set", "reduces=2", "--output", &at("more")])
        .refused(2, &["topn needs exactly one reduce", "'reduces' is 2"]);
}
