//! A job author's own executable, shipped through the chunk store.

use std::time::Duration;

use tests::books;
use tests::command::run;
use tests::job_author::inverted_index;
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
