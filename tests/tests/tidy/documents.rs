//! The pages against the house: folders, paths and commands they name exist, and the map is whole.

use std::collections::BTreeSet;

use crate::sources::{all, none, read, root};

const PAGES: [&str; 3] = ["README.md", "ARCHITECTURE.md", "CHANGELOG.md"];

#[test]
fn the_code_map_names_every_room() {
    let page = read("ARCHITECTURE.md");
    let (_, map) = page.split_once("## Code map").expect("ARCHITECTURE.md has a code map");
    let map = map.split("\n## ").next().unwrap_or_default();
    let mut rooms: BTreeSet<String> = BTreeSet::new();
    for source in all() {
        if let Some(crate_folder) = source.path.strip_suffix("/Cargo.toml") {
            rooms.insert(format!("{crate_folder}/"));
        }
        if let Some((top, _)) = source.path.split_once('/') {
            rooms.insert(format!("{top}/"));
        }
    }
    let missing = rooms.iter().filter(|room| !map.contains(&format!("`{room}`")));
    let findings: Vec<String> = missing.cloned().collect();
    none("folders that the code map does not name", &findings);
}

/// `lib/net`, `jobtracker/src/commit.rs`: what stands between backquotes and looks like a path.
fn paths_in(page: &str) -> impl Iterator<Item = &str> {
    let quoted = page.split('`').skip(1).step_by(2);
    quoted.filter(|text| {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_./".contains(&b);
        let known = ["rs", "md", "yaml", "toml"];
        let is_file = known.iter().any(|ending| text.ends_with(&format!(".{ending}")));
        let relative = text.as_bytes().first().is_some_and(u8::is_ascii_alphanumeric);
        relative
            && text.bytes().all(plain)
            && text.contains('/')
            && (is_file || text.ends_with('/'))
    })
}

#[test]
fn every_path_that_a_page_names_exists() {
    let mut findings = Vec::new();
    for page in PAGES {
        let text = read(page);
        let gone = paths_in(&text).filter(|path| !root().join(path).exists());
        findings.extend(gone.map(|path| format!("{page}: `{path}`")));
    }
    none("paths that are no more", &findings);
}

#[test]
fn the_pages_keep_their_shape() {
    let architecture = read("ARCHITECTURE.md");
    assert!(architecture.lines().count() < 300, "ARCHITECTURE.md has under 300 lines");
    let readme = read("README.md");
    for command in ["cargo run --release -- demo", "./check"] {
        assert!(readme.contains(command), "README.md shows {command}");
    }
    let changes = read("CHANGELOG.md");
    let kinds: Vec<&str> = changes.lines().filter_map(|line| line.strip_prefix("### ")).collect();
    assert_eq!(kinds, ["Safety", "Features", "Internals"]);
    assert!(read("LICENSE").contains("Version 2.0, January 2004"));
}

#[test]
fn the_readmes_program_is_the_example_that_compiles() {
    let example = read("mapreduce/examples/word_count.rs");
    let code = example.split_once("\n\n").expect("its head is a paragraph").1;
    let readme = read("README.md");
    let shown = readme.split("```rust\n").nth(1).and_then(|rest| rest.split("```").next());
    assert_eq!(shown, Some(code), "README.md and mapreduce/examples/word_count.rs");
}
