//! A job author's own executable, shipped through the chunk store.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tests::binary::{root, target};
use tests::books;
use tests::command::{finish, run};
use tests::oracle::lines_of_parts;
use tests::{Dev, DevOptions, long};

/// Time in which a job author's program must compile from clean.
const COMPILE_MAX: Duration = Duration::from_secs(120);

/// Builds the inverted index as its author would: in a project of its own that depends on `mapreduce`
/// alone. At full size for release, from clean, and within the time it may take.
fn inverted_index(scratch: &Path) -> PathBuf {
    let project = scratch.join("inverted-index");
    fs::create_dir_all(project.join("src")).expect("a project can be made");
    let example = root().join("mapreduce/examples/inverted_index.rs");
    fs::copy(example, project.join("src/main.rs")).expect("the example can be copied");
    fs::copy(root().join("Cargo.lock"), project.join("Cargo.lock")).expect("so can the versions");
    let manifest = format!(
        "[package]\nname = \"inverted-index\"\nedition = \"2024\"\n\n[workspace]\n\n\
         [dependencies]\nmapreduce = {{ path = {:?} }}\n",
        root().join("mapreduce")
    );
    fs::write(project.join("Cargo.toml"), manifest).expect("a manifest can be written");

    let mut cargo = Command::new(env!("CARGO"));
    let (folder, profile) = match long() {
        true => (project.join("target"), "release"),
        false => (target().join("job-authors"), "dev"),
    };
    cargo.args(["build", "--profile", profile, "--target-dir"]).arg(&folder);
    let watch = clock::Stopwatch::start();
    let _ = finish(cargo.current_dir(project)).success();
    let took = watch.elapsed();
    println!("the program compiled in {} s, profile {profile}", took.as_secs());
    assert!(!long() || took <= COMPILE_MAX, "from clean in {} s", took.as_secs());
    folder.join(if long() { "release" } else { "debug" }).join("inverted-index")
}

#[test]
fn an_inverted_index_of_the_books_equals_the_oracle() {
    let dev = Dev::start(&DevOptions::default());
    let executable = inverted_index(dev.scratch());
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
