//! The project's files and its `cargo metadata`, for the other tidy tests.

use std::path::{Path, PathBuf};

use cargo_metadata::{Metadata, MetadataCommand};

/// The platform whose dependencies are looked at: those of others are never downloaded.
const PLATFORM: &str = "x86_64-unknown-linux-gnu";

/// A text file of the project.
pub(crate) struct Source {
    /// From the root, with `/`.
    pub(crate) path: String,
    pub(crate) text: String,
}

impl Source {
    pub(crate) fn is_rust(&self) -> bool {
        Path::new(&self.path).extension().is_some_and(|ending| ending == "rs")
    }
}

pub(crate) fn root() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().expect("the tests crate stands in a folder of the root").to_owned()
}

pub(crate) fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Every text file, sorted by path; without what is generated (`target`, `bench/results`, Cargo.lock),
/// hidden files but those of `.ci`, and the licence, whose text is not ours.
pub(crate) fn all() -> Vec<Source> {
    let mut sources = Vec::new();
    walk(&root(), "", &mut sources);
    sources.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(sources.len() > 50, "the walk found the project");
    sources
}

fn walk(folder: &Path, above: &str, into: &mut Vec<Source>) {
    let entries = std::fs::read_dir(folder).expect("the project's folders can be read");
    for entry in entries.map(|entry| entry.expect("their entries too")) {
        let name = entry.file_name().into_string().expect("names are UTF-8");
        let path = format!("{above}{name}");
        let hidden = name.starts_with('.') && name != ".ci" && name != ".gitignore";
        let generated = ["target", "bench/results", "Cargo.lock", "LICENSE"];
        if hidden || generated.contains(&path.as_str()) {
            continue;
        }
        let kind = entry.file_type().expect("an entry has a type");
        if kind.is_dir() {
            walk(&entry.path(), &format!("{path}/"), into);
        } else if let Ok(text) = std::fs::read_to_string(entry.path()) {
            into.push(Source { path, text });
        }
    }
}

pub(crate) fn metadata() -> Metadata {
    let options = ["--locked", "--filter-platform", PLATFORM].map(str::to_owned);
    MetadataCommand::new()
        .manifest_path(root().join("Cargo.toml"))
        .other_options(options)
        .exec()
        .expect("cargo knows its own workspace")
}

/// Fails with all findings at once, one a line.
pub(crate) fn none(rule: &str, findings: &[String]) {
    assert!(findings.is_empty(), "{rule}:\n  {}\n", findings.join("\n  "));
}
