//! The examples, each against a plain function that says what its output must be.

use std::collections::{BTreeMap, BTreeSet};

use mapreduce::{Job, UserError};
use mapreduce_protocol::{Native, Program};

use crate::local::{FILES, Folder, Shape, local_job, run_and_take};

macro_rules! examples {
    ($($name:ident $path:literal),*) => {$(
        #[path = $path]
        #[allow(dead_code)] // Its main.
        mod $name;
    )*};
}
examples!(
    cooccurrence_pairs "../../examples/cooccurrence_pairs.rs",
    cooccurrence_stripes "../../examples/cooccurrence_stripes.rs",
    map_join "../../examples/map_join.rs",
    max_temperature "../../examples/max_temperature.rs",
    projection "../../examples/projection.rs",
    reduce_join "../../examples/reduce_join.rs",
    relative_frequency "../../examples/relative_frequency.rs",
    selection "../../examples/selection.rs",
    sort_out "../../examples/sort_out.rs",
    sum_by_key "../../examples/sum_by_key.rs",
    top_n "../../examples/top_n.rs"
);

/// What the program of a test brings along, if it lies there.
const TABLE: &str = "users.tsv";

type Make = fn(&[String]) -> Result<Job, UserError>;

/// The lines that a job writes of `inputs`, files by name, whatever the sizes; those of one part in their order.
fn lines(make: Make, arguments: &[&str], inputs: &[(&str, String)], reduces: u32) -> Vec<String> {
    let folder = Folder::with(&[]);
    std::fs::create_dir(folder.path().join(FILES)).unwrap();
    let arguments: Vec<String> = arguments.iter().map(|it| (*it).to_owned()).collect();
    let mut paths = Vec::new();
    for (name, text) in inputs {
        let path = folder.path().join(FILES).join(name);
        std::fs::write(&path, text).unwrap();
        paths.push(path.to_str().unwrap().to_owned());
    }
    let mut first = None;
    for (split_bytes, sequential) in [(1 << 20, true), (1 << 20, false), (97, false)] {
        let shape = Shape { split_bytes, reduces, sort_buffer_bytes: 700, ..Shape::default() };
        let mut local = local_job("native", BTreeMap::new(), &folder, &shape, sequential);
        let args = arguments.clone();
        let (tables, inputs) = paths.iter().cloned().partition(|path| path.ends_with(TABLE));
        let tables: Vec<String> = tables;
        local.spec.program = Program::Native(Native {
            executable: "/nowhere".to_owned(),
            args,
            sha256: None,
            files: tables.iter().map(|path| path.parse().unwrap()).collect(),
        });
        local.spec.input = inputs;
        let ran = run_and_take(&make(&arguments).unwrap(), &local, &folder).unwrap();
        let text: Vec<u8> = ran.parts.into_values().flatten().collect();
        let text = String::from_utf8(text).unwrap();
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        let expected = first.get_or_insert_with(|| lines.clone());
        assert!(same(expected, &lines), "splits of {split_bytes}: {expected:?} and {lines:?}");
    }
    first.unwrap()
}

/// Whether lines agree but for the last digits of fractions: sums of those depend on the order.
fn same(some: &[String], others: &[String]) -> bool {
    let fields = |lines: &[String]| -> Vec<String> {
        lines.iter().flat_map(|line| line.split('\t').map(str::to_owned)).collect()
    };
    let (some, others) = (fields(some), fields(others));
    let equal = |(a, b): (&String, &String)| match (a.parse::<f64>(), b.parse::<f64>()) {
        (Ok(a), Ok(b)) => (a - b).abs() <= 1e-9 * a.abs().max(b.abs()),
        _ => a == b,
    };
    some.len() == others.len() && some.iter().zip(&others).all(equal)
}

fn sorted(mut lines: Vec<String>) -> Vec<String> {
    lines.sort_unstable();
    lines
}

/// The same numbers at each run.
fn numbers(n: u64) -> impl Iterator<Item = u64> {
    (1..=n).map(|i| i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40)
}

/// Lines of few words.
fn prose() -> String {
    let line = |n: u64| (0..n % 7).map(|i| format!("w{} ", (n >> (3 * i)) % 6)).collect::<String>();
    numbers(60).map(|n| line(n) + "\n").collect()
}

fn neighbours(text: &str) -> Vec<(&str, &str)> {
    let of_line = |line| {
        let words: Vec<&str> = str::split_whitespace(line).collect();
        words.windows(2).map(|pair| (pair[0], pair[1])).collect::<Vec<_>>()
    };
    text.lines().flat_map(of_line).collect()
}

#[test]
fn sums_by_key() {
    let text: String =
        numbers(200).map(|n| format!("k{}\t{}\n", n % 9, n as i64 % 50 - 25)).collect();
    let mut sums: BTreeMap<&str, i64> = BTreeMap::new();
    for (key, number) in text.lines().map(|line| line.split_once('\t').unwrap()) {
        *sums.entry(key).or_default() += number.parse::<i64>().unwrap();
    }
    let expected: Vec<_> = sums.iter().map(|(key, sum)| format!("{key}\t{sum}")).collect();
    assert_eq!(sorted(lines(sum_by_key::job, &[], &[("in", text)], 3)), expected);
}

#[test]
fn sorts_out_what_is_malformed_and_who_owes() {
    let text = "ann\t5\nno tab\nbob\t-7\nann\tx\nbob\t3\n".to_owned();
    let all = sorted(lines(sort_out::job, &[], &[("in", text)], 2));
    let (places, rest): (Vec<_>, Vec<_>) =
        all.iter().map(String::as_str).partition(|line| line.starts_with('/'));
    assert_eq!(rest, ["ann\t5", "bob\t-4", "bob\t4"]);
    let places: Vec<_> = places.iter().map(|it| it.split_once("/in\t").unwrap().1).collect();
    assert_eq!(places, ["20\tann\tx", "6\tno tab"]);
}

#[test]
fn selects_lines() {
    let text: String =
        numbers(100).map(|n| format!("a\t{}\tb\n", n % 90)).collect::<String>() + "none\n";
    let at_least =
        |line: &&str| line.split('\t').nth(1).is_some_and(|it| it.parse::<u64>().unwrap() >= 45);
    let expected: Vec<_> = text.lines().filter(at_least).map(str::to_owned).collect();
    assert!(expected.len() > 10 && expected.len() < 90);
    assert_eq!(lines(selection::job, &["2", "45"], &[("in", text.clone())], 0), expected);
}

#[test]
fn projects_without_duplicates() {
    let text: String = numbers(200).map(|n| format!("{}\t{}\t{}\n", n % 3, n, n % 5)).collect();
    let mut expected = BTreeSet::new();
    for line in text.lines() {
        let fields: Vec<_> = line.split('\t').collect();
        expected.insert(format!("{}\t{}", fields[2], fields[0]));
    }
    let found = sorted(lines(projection::job, &["3", "1"], &[("in", text)], 2));
    assert_eq!(found, expected.into_iter().collect::<Vec<_>>());
}

#[test]
fn co_occurrences_by_pairs_and_by_stripes() {
    let text = prose();
    let mut counts: BTreeMap<(&str, &str), u64> = BTreeMap::new();
    for (left, right) in neighbours(&text) {
        *counts.entry((left, right)).or_default() += 1;
        *counts.entry((right, left)).or_default() += 1;
    }
    let line = |((left, right), count): (&(&str, &str), &u64)| format!("{left}\t{right}\t{count}");
    let expected: Vec<String> = counts.iter().map(line).collect();
    for job in [cooccurrence_pairs::job, cooccurrence_stripes::job] {
        assert_eq!(sorted(lines(job, &[], &[("in", text.clone())], 3)), expected);
    }
}

#[test]
fn relative_frequencies() {
    let text = prose();
    let all = neighbours(&text);
    let mut expected = BTreeSet::new();
    for (left, right) in &all {
        let total = all.iter().filter(|pair| pair.0 == *left).count() as f64;
        let count = all.iter().filter(|pair| *pair == &(*left, *right)).count() as f64;
        expected.insert(format!("{left}\t{right}\t{:?}", count / total));
    }
    let found = sorted(lines(relative_frequency::job, &[], &[("in", text.clone())], 2));
    assert_eq!(found, expected.into_iter().collect::<Vec<_>>());
}

#[test]
fn hottest_days() {
    let text: String = numbers(300)
        .map(|n| format!("s{}\td{:03}\t{}\n", n % 7, n % 300, n as i64 % 60 - 40))
        .collect();
    let mut hottest: BTreeMap<&str, (i64, &str)> = BTreeMap::new();
    for line in text.lines() {
        let fields: Vec<&str> = line.split('\t').collect();
        let (day, degrees) = (fields[1], fields[2].parse().unwrap());
        let best = hottest.entry(fields[0]).or_insert((degrees, day));
        if degrees > best.0 || degrees == best.0 && day < best.1 {
            *best = (degrees, day);
        }
    }
    let line =
        |(station, (degrees, day)): (&&str, &(i64, &str))| format!("{station}\t{day}\t{degrees}");
    let expected: Vec<String> = hottest.iter().map(line).collect();
    assert_eq!(sorted(lines(max_temperature::job, &[], &[("in", text.clone())], 3)), expected);
}

#[test]
fn joins_two_inputs() {
    let users: String = (0..20).map(|n| format!("u{n}\tname {n}\n")).collect();
    let orders: String = numbers(150).map(|n| format!("u{}\torder {n}\n", n % 25)).collect();
    let by_id: BTreeMap<&str, &str> =
        users.lines().map(|it| it.split_once('\t').unwrap()).collect();
    let join = |line: &str| {
        let (user, order) = line.split_once('\t').unwrap();
        by_id.get(user).map(|name| format!("{name}\t{order}"))
    };
    let expected = sorted(orders.lines().filter_map(join).collect());
    assert!(expected.len() < 150);
    let inputs = [("orders", orders.clone()), ("users", users.clone())];
    assert_eq!(sorted(lines(reduce_join::job, &[], &inputs, 3)), expected);
    let inputs = [("orders", orders.clone()), (TABLE, users.clone())];
    assert_eq!(sorted(lines(map_join::job, &[], &inputs, 0)), expected);
}

#[test]
fn the_largest_in_their_order() {
    let text: String =
        numbers(300).map(|n| format!("n{}\t{}\n", n % 97, n as i64 % 1000 - 500)).collect();
    let read = |line: &str| {
        let (name, number) = line.split_once('\t').unwrap();
        (-number.parse::<i64>().unwrap(), name.to_owned())
    };
    let all: BTreeSet<_> = text.lines().map(read).collect();
    let expected: Vec<_> = all.iter().take(10).map(|(n, name)| format!("{name}\t{}", -n)).collect();
    assert_eq!(lines(top_n::job, &["10"], &[("in", text.clone())], 1), expected);
}
