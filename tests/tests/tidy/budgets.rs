//! How large a file may be, what it opens with, and which lints each crate reads. (The length of
//! functions is clippy's `too_many_lines`.)

use std::collections::BTreeSet;

use proc_macro2::Span;
use syn::spanned::Spanned;

use crate::sources::{Source, all, none, read, root};

/// Lines of a file that are not tests.
const PRODUCTION_LINES_MAX: usize = 500;

/// Files over the budget, and why. Only ever shorter.
const LARGE_FILES: &[(&str, &str)] = &[];

/// Lines of each item under `cfg(test)`, and the names of the test modules that stand in files.
struct TestItems {
    lines: usize,
    modules: Vec<String>,
}

fn test_items(file: &syn::File) -> TestItems {
    let mut found = TestItems { lines: 0, modules: Vec::new() };
    for item in &file.items {
        let (attributes, span): (&[syn::Attribute], Span) = match item {
            syn::Item::Mod(module) => (&module.attrs, module.span()),
            syn::Item::Fn(function) => (&function.attrs, function.span()),
            syn::Item::Impl(block) => (&block.attrs, block.span()),
            syn::Item::Use(import) => (&import.attrs, import.span()),
            _ => continue,
        };
        if !attributes.iter().any(is_cfg_test) {
            continue;
        }
        found.lines += span.end().line - span.start().line + 1;
        if let syn::Item::Mod(syn::ItemMod { ident, content: None, .. }) = item {
            found.modules.push(ident.to_string());
        }
    }
    found
}

fn is_cfg_test(attribute: &syn::Attribute) -> bool {
    attribute.path().is_ident("cfg")
        && attribute.parse_args::<syn::Ident>().is_ok_and(|condition| condition == "test")
}

/// Where a module of `file` stands: beside `mod.rs`, `lib.rs` and `main.rs`, else in its folder.
fn module_files(file: &str, module: &str) -> [String; 2] {
    let (folder, name) = file.rsplit_once('/').unwrap_or(("", file));
    let folder = match name {
        "mod.rs" | "lib.rs" | "main.rs" => folder.to_owned(),
        _ => format!("{folder}/{}", name.trim_end_matches(".rs")),
    };
    [format!("{folder}/{module}.rs"), format!("{folder}/{module}/")]
}

fn is_test_file(path: &str) -> bool {
    path.starts_with("tests/") || path.contains("/tests/") || path.contains("/benches/")
}

#[test]
fn no_file_outgrows_its_budget() {
    let sources: Vec<Source> = all().into_iter().filter(Source::is_rust).collect();
    let mut sizes = Vec::new();
    let mut test_modules = BTreeSet::new();
    for source in sources.iter().filter(|source| !is_test_file(&source.path)) {
        let file = syn::parse_file(&source.text);
        let file = file.unwrap_or_else(|error| panic!("{}: {error}", source.path));
        let tests = test_items(&file);
        let files = tests.modules.iter().flat_map(|module| module_files(&source.path, module));
        test_modules.extend(files);
        sizes.push((source.path.as_str(), source.text.lines().count() - tests.lines));
    }
    let in_tests = |path: &str| test_modules.iter().any(|module| path.starts_with(module));
    let large = |size: usize| size > PRODUCTION_LINES_MAX;
    let listed = |path: &str| LARGE_FILES.iter().any(|(name, _)| *name == path);
    let mut findings: Vec<String> = sizes
        .iter()
        .filter(|(path, size)| large(*size) && !listed(path) && !in_tests(path))
        .map(|(path, size)| format!("{path}: {size} lines without its tests"))
        .collect();
    for (name, _) in LARGE_FILES {
        if !sizes.iter().any(|(path, size)| path == name && large(*size)) {
            findings.push(format!("{name} fits the budget now: take it off the list"));
        }
    }
    none(&format!("files over {PRODUCTION_LINES_MAX} production lines"), &findings);
}

/// Columns of a line that is a comment. (Of code `rustfmt.toml` says so.)
const COMMENT_COLUMNS_MAX: usize = 150;

#[test]
fn no_line_of_a_comment_is_too_long_to_be_read() {
    let is_long = |line: &str| {
        line.trim_start().starts_with("//") && line.chars().count() > COMMENT_COLUMNS_MAX
    };
    let mut findings = Vec::new();
    for source in all().iter().filter(|source| source.is_rust()) {
        let long = source.text.lines().enumerate().filter(|(_, line)| is_long(line));
        findings.extend(long.map(|(nth, _)| format!("{}:{}", source.path, nth + 1)));
    }
    none(&format!("comments of more than {COMMENT_COLUMNS_MAX} columns"), &findings);
}

#[test]
fn every_file_opens_with_what_lives_in_it() {
    let sources = all();
    let rust = sources.iter().filter(|source| source.is_rust());
    let without = rust.filter(|source| !source.text.starts_with("//! "));
    let findings: Vec<String> = without.map(|source| source.path.clone()).collect();
    none("files that do not open with //!", &findings);
}

/// The `path = "…"` of every lint in a clippy.toml.
fn banned(text: &str) -> BTreeSet<&str> {
    text.split("path = \"").skip(1).filter_map(|rest| rest.split('"').next()).collect()
}

/// A nested clippy.toml is read instead of the root's, so what it does not repeat is allowed there.
#[test]
fn every_nested_clippy_toml_repeats_the_common_keys_and_bans() {
    let (common, sources) = (read("clippy.toml"), all());
    let keys = common.lines().filter(|line| line.contains(" = ") && !line.starts_with([' ', '#']));
    let keys: Vec<&str> = keys.filter(|line| !line.ends_with('[')).collect();
    let nested = sources.iter().filter(|it| it.path.ends_with("/clippy.toml"));
    let mut findings = Vec::new();
    for Source { path, text } in nested {
        let missing = keys.iter().filter(|key| !text.lines().any(|line| line == **key));
        findings.extend(missing.map(|key| format!("{path} lacks {key}")));
        let bans = banned(text);
        for ban in banned(&common) {
            let kind = ban.rsplit_once("::").map_or(ban, |(kind, _)| kind);
            let is_the_clock = path == "lib/clock/clippy.toml" && ban.starts_with("std::time");
            if !bans.contains(ban) && !bans.contains(kind) && !is_the_clock {
                findings.push(format!("{path} does not ban {ban}"));
            }
        }
    }
    none("nested clippy.toml files that forget", &findings);
}

#[test]
fn every_pure_crate_has_the_same_bans() {
    let pure: Vec<String> = all()
        .into_iter()
        .filter_map(|source| source.path.strip_suffix("/Cargo.toml").map(str::to_owned))
        .filter(|path| {
            let is_pure = path.ends_with("/core") || path.ends_with("/protocol");
            is_pure || ["lib/ids", "simulator"].contains(&path.as_str())
        })
        .collect();
    assert!(pure.len() >= 6, "{pure:?}");
    let model = read("jobtracker/core/clippy.toml");
    for ban in ["HashMap", "HashSet", "Instant", "SystemTime", "fs::File", "TcpStream", "Mutex"] {
        assert!(model.contains(ban), "jobtracker/core/clippy.toml bans {ban}");
    }
    let differs = pure.iter().filter(|folder| {
        let own = std::fs::read_to_string(root().join(folder).join("clippy.toml"));
        own.ok().as_ref() != Some(&model)
    });
    let findings: Vec<String> = differs.cloned().collect();
    none("pure crates whose clippy.toml is not jobtracker/core's", &findings);
}
