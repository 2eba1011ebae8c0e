//! What comes from outside: its licences, and one version of each crate.

use std::collections::{BTreeMap, BTreeSet};

use crate::sources::{metadata, none};

/// Licences that may be linked into the binary.
const LICENCES: [&str; 14] = [
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "ISC",
    "MIT",
    "MIT-0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
    "bzip2-1.0.6",
];

/// Crates that stand in more than one version, and who holds the second one. Only ever shorter: an
/// entry that is no longer needed fails the test.
const DUPLICATES: &[(&str, &str)] = &[
    ("base64", "reqwest and hyper-util 0.23; metrics-exporter-prometheus 0.22"),
    ("crypto-common", "as digest"),
    ("digest", "crc-fast 0.10; object_store's md-5 0.11"),
    ("getrandom", "ring 0.2; metrics-util's rand 0.3; tempfile 0.4"),
    ("hashbrown", "metrics-util 0.16; indexmap 0.17"),
    ("rand", "metrics-util 0.9; proptest 0.10"),
    ("rand_core", "as rand"),
    ("synstructure", "x509-parser 0.13; the derive macros of ICU 0.14"),
    ("syn", "the derive macros moved to 3 one by one"),
];

/// Whether `expression` (SPDX; a `/` is an old OR) can be met with `allowed` licences.
fn is_allowed(expression: &str, allowed: &[&str]) -> bool {
    let text = expression.trim();
    if let Some((a, b)) = split_outside(text, " OR ").or_else(|| split_outside(text, "/")) {
        return is_allowed(a, allowed) || is_allowed(b, allowed);
    }
    if let Some((a, b)) = split_outside(text, " AND ") {
        return is_allowed(a, allowed) && is_allowed(b, allowed);
    }
    match text.strip_prefix('(').and_then(|rest| rest.strip_suffix(')')) {
        Some(inner) => is_allowed(inner, allowed),
        None => allowed.contains(&text),
    }
}

/// Splits at the first `separator` that stands outside of parentheses.
fn split_outside<'t>(text: &'t str, separator: &str) -> Option<(&'t str, &'t str)> {
    text.match_indices(separator).map(|(at, _)| at).find_map(|at| {
        let before = &text[..at];
        let is_outside = before.matches('(').count() == before.matches(')').count();
        is_outside.then(|| (before, &text[at + separator.len()..]))
    })
}

#[test]
fn a_licence_expression_is_met_by_one_side_of_or_and_both_sides_of_and() {
    let allowed = ["MIT", "ISC", "Apache-2.0 WITH LLVM-exception"];
    for yes in [
        "MIT",
        "MIT OR GPL-3.0",
        "GPL-3.0/MIT",
        "MIT AND ISC",
        "(GPL-3.0 OR MIT) AND ISC",
        "GPL-3.0 OR (MIT AND ISC)",
        "Apache-2.0 WITH LLVM-exception OR GPL-3.0",
    ] {
        assert!(is_allowed(yes, &allowed), "{yes}");
    }
    for no in ["", "GPL-3.0", "MIT AND GPL-3.0", "(MIT OR ISC) AND GPL-3.0", "Apache-2.0"] {
        assert!(!is_allowed(no, &allowed), "{no}");
    }
}

#[test]
fn every_dependency_has_an_allowed_licence() {
    let metadata = metadata();
    let refused = metadata.packages.iter().filter(|package| {
        !package.license.as_ref().is_some_and(|licence| is_allowed(licence, &LICENCES))
    });
    let findings: Vec<String> =
        refused.map(|it| format!("{} {}: {:?}", it.name, it.version, it.license)).collect();
    none("licences that are not in the list", &findings);
}

#[test]
fn every_crate_stands_in_one_version_but_where_listed() {
    let metadata = metadata();
    let resolved = metadata.resolve.as_ref().expect("metadata was asked for with dependencies");
    let used: BTreeSet<_> = resolved.nodes.iter().map(|crate_| &crate_.id).collect();
    let mut versions: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for package in metadata.packages.iter().filter(|package| used.contains(&package.id)) {
        versions.entry(package.name.as_str()).or_default().insert(package.version.to_string());
    }
    versions.retain(|_, versions| versions.len() > 1);
    let listed: BTreeSet<&str> = DUPLICATES.iter().map(|(name, _)| *name).collect();
    let new = versions.iter().filter(|(name, _)| !listed.contains(*name));
    let mut findings: Vec<String> = new.map(|(name, all)| format!("{name}: {all:?}")).collect();
    let healed = listed.iter().filter(|name| !versions.contains_key(*name));
    findings.extend(healed.map(|name| format!("{name} stands once now: take it off the list")));
    none("crates in several versions", &findings);
}
