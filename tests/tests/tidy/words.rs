//! Words that have no place here, and the shape of lines.

use proc_macro2::{TokenStream, TokenTree};

use crate::sources::{Source, all, none};

/// Words no file may hold, cut in two here so that this file does not hold them.
const FORBIDDEN: &[(&str, &str)] = &[
    (concat!("to", "do!("), "finish it, or leave it out"),
    (concat!("unimple", "mented!("), "finish it, or leave it out"),
    (concat!("FIX", "ME"), "fix it"),
    (concat!("TO", "DO"), "do it, or leave it out"),
    (concat!("#[ig", "nore"), "a test that does not run is no test"),
    (concat!("thread::sl", "eep("), "wait for an event with a deadline"),
    (concat!("crates", ".io"), "a registry's host is its client's business"),
    (concat!("npm", "js"), "a registry's host is its client's business"),
    (concat!("py", "pi.org"), "a registry's host is its client's business"),
];

/// Names that mean too little, or two things; and the words of other systems for ours.
const REFUSED_NAMES: [&str; 4] = ["manager", "helper", "worker", "node"];

/// Parts of names that hold a refused one: of other people's interfaces, and Hadoop's own word.
const ACCEPTED_PARTS: [&str; 7] =
    ["worker_threads", "node_local", "nodelocal", "nodename", "nodelay", "nodev", "nodes"];

#[test]
fn no_file_holds_a_forbidden_word() {
    let mut findings = Vec::new();
    for Source { path, text } in all() {
        for (number, line) in text.lines().enumerate() {
            // What an idle daemon uses is measured over time, and jobs that are to be disturbed take a while.
            let may_sleep = ["bench/", "tests/programs/"].iter().any(|it| path.starts_with(it));
            let held = FORBIDDEN.iter().filter(|(word, _)| line.contains(word));
            let held = held.filter(|(word, _)| !(may_sleep && word.starts_with("thread::")));
            findings
                .extend(held.map(|(word, why)| format!("{path}:{}: {word}: {why}", number + 1)));
        }
    }
    none("forbidden words", &findings);
}

#[test]
fn lines_end_where_their_text_does() {
    let mut findings = Vec::new();
    for Source { path, text } in all() {
        if !text.is_empty() && !text.ends_with('\n') {
            findings.push(format!("{path} does not end with a newline"));
        }
        if text.ends_with("\n\n") {
            findings.push(format!("{path} ends with an empty line"));
        }
        for (number, line) in text.lines().enumerate() {
            if line.ends_with([' ', '\t', '\r']) {
                findings.push(format!("{path}:{} ends with white space", number + 1));
            }
        }
    }
    none("line ends", &findings);
}

fn identifiers(tokens: TokenStream, into: &mut Vec<(String, usize)>) {
    for token in tokens {
        match token {
            TokenTree::Group(group) => identifiers(group.stream(), into),
            TokenTree::Ident(name) => into.push((name.to_string(), name.span().start().line)),
            TokenTree::Punct(_) | TokenTree::Literal(_) => {}
        }
    }
}

#[test]
fn names_are_hadoops_words_and_say_what_a_thing_is() {
    let mut findings = Vec::new();
    for Source { path, text } in all().iter().filter(|source| source.is_rust()) {
        let mut names = Vec::new();
        let tokens = text.parse().unwrap_or_else(|error| panic!("{path}: {error}"));
        identifiers(tokens, &mut names);
        for (at, (name, line)) in names.iter().enumerate() {
            let parts = ACCEPTED_PARTS.iter();
            let ours = parts.fold(name.to_lowercase(), |name, part| name.replace(part, ""));
            let is_refused = REFUSED_NAMES.iter().any(|word| ours.contains(word));
            let before = |back: usize| at.checked_sub(back).map(|at| names[at].0.as_str());
            let is_public_fn = before(1) == Some("fn") && before(2) == Some("pub");
            let is_getter = is_public_fn && name.starts_with("get_") && name != "get_mut";
            if is_refused || is_getter || (name.ends_with("Impl") && name != "Impl") {
                findings.push(format!("{path}:{line}: {name}"));
            }
        }
    }
    none("names to find a better word for", &findings);
}

/// Unsafe code is said elsewhere: clippy wants a comment at each block.
#[test]
fn what_a_lint_is_silenced_for_is_said() {
    let mut findings = Vec::new();
    for Source { path, text } in all().iter().filter(|source| source.is_rust()) {
        let lines: Vec<&str> = text.lines().collect();
        for (index, line) in lines.iter().enumerate() {
            let start = line.trim_start();
            let kinds = ["#[allow(", "#![allow(", "#[expect(", "#![expect("];
            if !kinds.iter().any(|kind| start.starts_with(kind)) {
                continue;
            }
            let rest = lines[index..].join(" ");
            let attribute = rest.split(")]").next().unwrap_or_default();
            let is_said = attribute.contains("reason = ") || line.contains("] // ");
            if !is_said && !attribute.contains("(unsafe_code") {
                findings.push(format!("{path}:{}: {start}", index + 1));
            }
        }
    }
    none("lints silenced without a reason", &findings);
}
