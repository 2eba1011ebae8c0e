//! A job author's own executable, shipped through the chunk store.

use std::time::Duration;

use tests::books;
use tests::command::run;
use tests::job_author::{inverted_index, map_join, sort_out};
use tests::oracle::lines_of_parts;
use tests::{Dev, DevOptions, long};

/// Time in which a job author's program must compile from clean.
const COMPILE_MAX: Duration = Duration::from_secs(120);

#[test]
fn an_inverted_index_of_the_books_equals_the_oracle() {
    let dev = Dev::start(&DevOptions::default());
    let (executable, took) = inverted_index(dev.scratch());
    assert!(!long() || took <= COMPILE_MAX, "from clean in {} s", took.as_secs());
    let input = books::folder(dev.scratch());
    dev.put(&input, "/in");
    let job = |input: &str, output: &str| {
        let executable = executable.display();
        format!(
            "name: inverted index\ninput: [{input}]\noutput: {output}\nprogram:\n  \
             native: {{executable: {executable}}}\nreduces: 3\n"
        )
    };
    let got = dev.scratch().join("got");
    for output in ["/out", "/again"] {
        let file = dev.job_file("cluster.yaml", &job("/in", output));
        let _ = dev.run(&["job", "submit", &file, "--wait"]).success();
    }
    let programs = dev.run(&["fs", "ls", "/.howdah/programs"]).success().text();
    assert_eq!(programs.lines().count(), 1, "shipped once: {programs}");
    dev.get("/out", &got);

    let expected = dev.scratch().join("expected");
    let file =
        dev.job_file("local.yaml", &job(input.to_str().unwrap(), expected.to_str().unwrap()));
    let _ = run(["local", &file, "--sequential"]).success();
    let (got, expected) = (lines_of_parts(&got), lines_of_parts(&expected));
    assert!(!expected.is_empty());
    assert!(got == expected, "the index differs");
}

#[test]
fn a_program_finds_the_files_that_its_job_brings_along() {
    let dev = Dev::start(&DevOptions::default());
    let executable = map_join(dev.scratch());
    let (table, orders) = (dev.scratch().join("table.tsv"), dev.scratch().join("orders.tsv"));
    std::fs::write(&table, "u1\tAda\nu2\tGrace\n").expect("a file can be written");
    std::fs::write(&orders, "u2\tbook\nu3\tlamp\nu1\tpen\n").expect("a file can be written");
    dev.put(&orders, "/in/orders.tsv");
    let job = |input: &str, output: &str, name: &str| {
        format!(
            "name: map-side join\ninput: [{input}]\noutput: {output}\nprogram:\n  native:\n    \
             executable: {}\n    files: ['table.tsv#{name}']\nreduces: 0\n",
            executable.display()
        )
    };
    let file = dev.job_file("cluster.yaml", &job("/in", "/out", "users.tsv"));
    let _ = dev.run(&["job", "submit", &file, "--wait"]).success();
    let joined = dev.run(&["fs", "cat", "/out/part-m-00000"]).success().text();
    assert_eq!(joined, "Grace\tbook\nAda\tpen");
    let programs = dev.run(&["fs", "ls", "/.howdah/programs"]).success().text();
    assert_eq!(programs.lines().count(), 2, "the program and its file: {programs}");

    let (input, output) = (orders.to_str().unwrap(), dev.scratch().join("local"));
    let file = dev.job_file("local.yaml", &job(input, output.to_str().unwrap(), "users.tsv"));
    let _ = run(["local", &file]).success();
    let local = std::fs::read_to_string(output.join("part-m-00000")).expect("there is a part");
    assert_eq!(local.trim_end(), joined);

    let file = dev.job_file("wrong.yaml", &job("/in", "/wrong", "people.tsv"));
    let wrong = dev.run(&["job", "submit", &file, "--wait"]);
    let _ = wrong.refused(1, &["brings no file \"users.tsv\" (people.tsv)"]);
}

#[test]
fn named_outputs_appear_with_the_parts_once_though_a_tracker_dies() {
    let mut dev = Dev::start(&DevOptions::trackers(3).set("chunkmaster.chunk_bytes=64KiB"));
    let executable = sort_out(dev.scratch());
    let text: String = (0..40_000)
        .map(|n| match n % 100 {
            0 => format!("malformed {n}\n"),
            _ => format!("user{}\t{}\n", n % 997, n % 13 - 6),
        })
        .collect();
    let input = dev.scratch().join("input");
    std::fs::write(&input, &text).expect("a file can be written");
    dev.put(&input, "/in/input");
    let job = |input: &str, output: &str| {
        format!(
            "name: sort out\ninput: [{input}]\noutput: {output}\nreduces: 3\nprogram:\n  \
             native: {{executable: {}}}\n",
            executable.display()
        )
    };
    let file = dev.job_file("cluster.yaml", &job("/in", "/out"));
    let id = dev.run(&["job", "submit", &file]).success().text();
    dev.kill("tasktracker-2");
    let _ = dev.run(&["job", "wait", &id]).success();
    let (got, local) = (dev.scratch().join("got"), dev.scratch().join("local"));
    dev.get("/out", &got);
    let file = dev.job_file("local.yaml", &job(input.to_str().unwrap(), local.to_str().unwrap()));
    let _ = run(["local", &file, "--sequential"]).success();
    // Places in the input are the same, its path is not.
    let of = |folder: &std::path::Path, output: &str| {
        let mut lines = Vec::new();
        for entry in std::fs::read_dir(folder).expect("it is there") {
            let path = entry.expect("it can be read").path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if name.starts_with(output) {
                let text = std::fs::read_to_string(&path).expect("it is text");
                lines.extend(text.lines().map(|line| match output {
                    "malformed" => line.split_once('\t').unwrap().1.to_owned(),
                    _ => line.to_owned(),
                }));
            }
        }
        lines.sort();
        lines
    };
    for output in ["part-r-", "malformed", "debtors-r-"] {
        let expected = of(&local, output);
        assert!(!expected.is_empty(), "{output}");
        assert!(of(&got, output) == expected, "{output} differs");
    }
}
