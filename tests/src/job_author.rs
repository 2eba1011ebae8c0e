//! A job author's own program.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::binary::{root, target};
use crate::command::finish;
use crate::long;

/// Builds the inverted index as its author would: in a project of its own that depends on `mapreduce`
/// alone. At full size for release, and from clean. Returns the executable and how long that took.
///
/// # Panics
/// When it does not compile.
#[must_use]
pub fn inverted_index(scratch: &Path) -> (PathBuf, Duration) {
    example(scratch, "inverted-index", long())
}

/// Builds the word count in the same way, whatever the size.
///
/// # Panics
/// When it does not compile.
#[must_use]
pub fn word_count(scratch: &Path) -> PathBuf {
    let (program, _) = example(scratch, "word-count", false);
    program
}

/// Builds the map-side join in the same way, whatever the size.
///
/// # Panics
/// When it does not compile.
#[must_use]
pub fn map_join(scratch: &Path) -> PathBuf {
    let (program, _) = example(scratch, "map-join", false);
    program
}

/// Builds the program with named outputs in the same way, whatever the size.
///
/// # Panics
/// When it does not compile.
#[must_use]
pub fn sort_out(scratch: &Path) -> PathBuf {
    let (program, _) = example(scratch, "sort-out", false);
    program
}

/// Builds the program of the tests of kills; what it does is an argument of it.
///
/// # Panics
/// When it does not compile.
#[must_use]
pub fn trial(scratch: &Path) -> PathBuf {
    let (program, _) = build(scratch, "trial", &root().join("tests/programs/trial.rs"), false);
    program
}

/// Builds the program of the tests of skipping.
///
/// # Panics
/// When it does not compile.
#[must_use]
pub fn poison(scratch: &Path) -> PathBuf {
    let (program, _) = build(scratch, "poison", &root().join("tests/programs/poison.rs"), false);
    program
}

/// Builds one of the examples in the same way, whatever the size.
///
/// # Panics
/// When it does not compile.
#[must_use]
pub fn pattern(scratch: &Path, name: &str) -> PathBuf {
    let (program, _) = example(scratch, &name.replace('_', "-"), false);
    program
}

/// Builds one program of several examples: its first argument says which one it is.
///
/// # Panics
/// When it does not compile.
#[must_use]
pub fn gallery(scratch: &Path, names: &[&str]) -> PathBuf {
    let folder = root().join("mapreduce/examples");
    let mut text = String::from("//! Several examples as one program.\n\n");
    for name in names {
        text += &format!(
            "#[allow(dead_code)]\n#[path = \"{}/{name}.rs\"]\nmod {name};\n",
            folder.display()
        );
    }
    text += "\nfn main() -> std::process::ExitCode {\n    mapreduce::main(|arguments| match arguments[0].as_str() {\n";
    for name in names {
        text += &format!("        \"{name}\" => {name}::job(&arguments[1..]),\n");
    }
    text += "        other => Err(format!(\"there is no example {other}\").into()),\n    })\n}\n";
    let source = scratch.join("gallery.rs");
    fs::write(&source, text).expect("the program can be written");
    let (program, _) = build(scratch, "gallery", &source, false);
    program
}

fn example(scratch: &Path, name: &str, from_clean: bool) -> (PathBuf, Duration) {
    let source = root().join("mapreduce/examples").join(name.replace('-', "_") + ".rs");
    build(scratch, name, &source, from_clean)
}

fn build(scratch: &Path, name: &str, source: &Path, from_clean: bool) -> (PathBuf, Duration) {
    let project = scratch.join(name);
    fs::create_dir_all(project.join("src")).expect("a project can be made");
    fs::copy(source, project.join("src/main.rs")).expect("the example can be copied");
    fs::copy(root().join("Cargo.lock"), project.join("Cargo.lock")).expect("so can the versions");
    let manifest = format!(
        "[package]\nname = {name:?}\nedition = \"2024\"\n\n[workspace]\n\n\
         [dependencies]\nmapreduce = {{ path = {:?} }}\n\n\
         [profile.dev.package.{name}]\nstrip = true\n",
        root().join("mapreduce")
    );
    fs::write(project.join("Cargo.toml"), manifest).expect("a manifest can be written");

    let mut cargo = Command::new(env!("CARGO"));
    let (folder, profile) = match from_clean {
        true => (project.join("target"), "release"),
        false => (target().join("job-authors"), "dev"),
    };
    cargo.args(["build", "--profile", profile, "--target-dir"]).arg(&folder);
    let watch = clock::Stopwatch::start();
    let _ = finish(cargo.current_dir(project)).success();
    let took = watch.elapsed();
    println!("the program compiled in {} s, profile {profile}", took.as_secs());
    let built = folder.join(if from_clean { "release" } else { "debug" }).join(name);
    (built, took)
}
