//! Who may depend on whom: the table of ARCHITECTURE.md against the manifests, and the walls that no
//! edit of the table may open.

use std::collections::{BTreeMap, BTreeSet};

use cargo_metadata::{DependencyKind, Metadata, Package};

use crate::sources::{all, metadata, none, read};

/// Crates whose tests may look where their code may not: (crate, crate, why). Each must be in use.
const DEV_ARROWS: &[(&str, &str, &str)] = &[
    ("simulator", "config", "which seeds to run is asked of the environment"),
    ("simulator", "jobtracker", "which rules the shipped configuration gives"),
    ("tests", "chunkstore", "which routes its daemons have"),
    ("tests", "jobtracker", "the same"),
    ("tests", "tasktracker", "the same"),
    ("tests", "chunkstore-protocol", "whose types the client's functions take"),
];

/// What a pure crate (core, protocol, ids, simulator) may take from outside: words, errors, small collections.
const PURE_DEPENDENCIES: [&str; 7] =
    ["bytesize", "humantime", "schemars", "serde", "serde_json", "smallvec", "thiserror"];

type Arrows = BTreeMap<String, BTreeSet<String>>;

/// The lines `crate → crate, crate` of the block marked `arrows`; `–` stands for none.
fn table() -> Arrows {
    let page = read("ARCHITECTURE.md");
    let (_, rest) = page.split_once("```arrows\n").expect("ARCHITECTURE.md has the arrow table");
    let (block, _) = rest.split_once("```").expect("the table's block ends");
    block
        .lines()
        .filter_map(|line| line.split_once('→'))
        .map(|(from, to)| {
            let to = to.split(',').map(str::trim).filter(|to| !matches!(*to, "" | "–"));
            (from.trim().to_owned(), to.map(str::to_owned).collect())
        })
        .collect()
}

fn members(metadata: &Metadata) -> BTreeSet<String> {
    metadata.workspace_packages().iter().map(|package| package.name.to_string()).collect()
}

fn own_dependencies(package: &Package, ours: &BTreeSet<String>, dev: bool) -> BTreeSet<String> {
    let of_kind = |kind| (kind == DependencyKind::Development) == dev;
    let all = package.dependencies.iter().filter(|dependency| of_kind(dependency.kind));
    all.map(|dependency| dependency.name.clone()).filter(|name| ours.contains(name)).collect()
}

fn arrows(metadata: &Metadata) -> Arrows {
    let ours = members(metadata);
    let packages = metadata.workspace_packages();
    packages
        .iter()
        .map(|package| (package.name.to_string(), own_dependencies(package, &ours, false)))
        .collect()
}

#[test]
fn the_arrow_table_is_what_the_manifests_say() {
    let (table, real) = (table(), arrows(&metadata()));
    let mut findings = Vec::new();
    for (from, to) in &real {
        match table.get(from) {
            None => findings.push(format!("{from} is not in the table: {to:?}")),
            Some(written) if written != to => findings.push(format!(
                "{from}: only in the manifest {:?}, only in the table {:?}",
                to.difference(written).collect::<Vec<_>>(),
                written.difference(to).collect::<Vec<_>>()
            )),
            Some(_) => {}
        }
    }
    let gone = table.keys().filter(|from| !real.contains_key(*from));
    findings.extend(gone.map(|from| format!("{from} is in the table and is no crate")));
    none("ARCHITECTURE.md's arrows and the manifests differ", &findings);
}

/// The room of a crate, which its name begins with: a daemon, what it decides, its client.
fn room(name: &str) -> &str {
    name.split_once('-').map_or(name, |(room, _)| room)
}

/// Of a daemon, all but what it shares with its callers.
fn is_of_a_daemon(name: &str) -> bool {
    let shared = name.ends_with("-protocol") || name.ends_with("-client");
    ["chunkstore", "jobtracker", "tasktracker"].contains(&room(name)) && !shared
}

/// The protocol that a core speaks.
fn protocol_of(core: &str) -> &'static str {
    match room(core) {
        "chunkstore" => "chunkstore-protocol",
        _ => "mapreduce-protocol",
    }
}

/// Whether a crate does no input or output.
fn is_pure(name: &str) -> bool {
    name.ends_with("-core") || name.ends_with("-protocol") || name == "ids"
}

/// Why `from` may not depend on `to`.
fn walls(from: &str, to: &str) -> Vec<&'static str> {
    let lib = ["ids", "clock", "net", "journal", "daemon", "event_loop"];
    let jobs = ["mapreduce", "jobtracker", "tasktracker"];
    let crosses = is_of_a_daemon(from) && is_of_a_daemon(to) && room(from) != room(to);
    let broken = [
        ("a daemon knows another", crosses),
        ("the chunk store knows jobs", room(from) == "chunkstore" && jobs.contains(&room(to))),
        ("lib knows a room above it", lib.contains(&from) && !lib.contains(&to)),
        ("config is a leaf", from == "config"),
        ("a library of jobs knows a daemon", from.starts_with("mapreduce") && is_of_a_daemon(to)),
        // What a core decides for a client, such as how a writer goes on, is no daemon's.
        (
            "a client knows a daemon",
            from.ends_with("-client") && is_of_a_daemon(to) && !to.ends_with("-core"),
        ),
        (
            "the simulator knows more than cores, protocols and ids",
            from == "simulator" && !is_pure(to),
        ),
        ("a protocol knows more than ids", from.ends_with("-protocol") && to != "ids"),
        (
            "a core knows more than its protocol and ids",
            from.ends_with("-core") && to != protocol_of(from) && to != "ids",
        ),
        (
            "something depends on what drives the binary",
            to == "howdah" || to == "bench" || (to == "tests" && from != "bench"),
        ),
    ];
    broken.into_iter().filter(|(_, is)| *is).map(|(why, _)| why).collect()
}

#[test]
fn the_walls_stand() {
    let real = arrows(&metadata());
    let all = real.iter().flat_map(|(from, all)| all.iter().map(move |to| (from, to)));
    let findings: Vec<_> = all
        .flat_map(|(from, to)| {
            walls(from, to).into_iter().map(move |why| format!("{from} → {to}: {why}"))
        })
        .collect();
    none("arrows that must not be", &findings);
}

#[test]
fn the_walls_keep_daemons_and_cores_apart() {
    let refused = [
        ("jobtracker", "tasktracker", "a daemon knows another"),
        ("jobtracker", "tasktracker-core", "a daemon knows another"),
        ("tasktracker", "chunkstore-core", "a daemon knows another"),
        ("jobtracker-core", "chunkstore-protocol", "a core knows more than its protocol and ids"),
        ("chunkstore-core", "mapreduce-protocol", "a core knows more than its protocol and ids"),
        ("mapreduce", "tasktracker", "a library of jobs knows a daemon"),
        ("chunkstore-client", "chunkstore", "a client knows a daemon"),
        ("simulator", "net", "the simulator knows more than cores, protocols and ids"),
    ];
    for (from, to, why) in refused {
        assert!(walls(from, to).contains(&why), "{from} → {to}");
    }
    let open = [
        ("jobtracker", "jobtracker-core"),
        ("tasktracker", "chunkstore-client"),
        ("tasktracker-core", "mapreduce-protocol"),
    ];
    for (from, to) in open {
        assert_eq!(walls(from, to), [""; 0], "{from} → {to}");
    }
}

#[test]
fn tests_look_no_further_than_their_crate_but_where_listed() {
    let metadata = metadata();
    let (ours, real) = (members(&metadata), arrows(&metadata));
    let mut findings = Vec::new();
    let mut used = BTreeSet::new();
    for package in metadata.workspace_packages() {
        let from = package.name.to_string();
        for to in own_dependencies(package, &ours, true).difference(&real[&from]) {
            match DEV_ARROWS.iter().find(|(a, b, _)| *a == from && *b == *to) {
                Some(listed) => drop(used.insert(listed)),
                None => findings.push(format!("{from} → {to} in dev-dependencies")),
            }
        }
    }
    let unused = DEV_ARROWS.iter().filter(|listed| !used.contains(listed));
    findings.extend(unused.map(|(a, b, _)| format!("{a} → {b} is listed and not in use")));
    none("arrows of tests", &findings);
}

#[test]
fn pure_crates_take_nothing_that_does_input_or_output() {
    let metadata = metadata();
    let ours = members(&metadata);
    let mut findings = Vec::new();
    for package in metadata.workspace_packages() {
        let name = package.name.as_str();
        if !(is_pure(name) || name == "simulator") {
            continue;
        }
        let normal = package.dependencies.iter().filter(|it| it.kind == DependencyKind::Normal);
        let foreign = normal.filter(|it| !ours.contains(&it.name));
        let refused = foreign.filter(|it| !PURE_DEPENDENCIES.contains(&it.name.as_str()));
        findings.extend(refused.map(|it| format!("{name} → {}", it.name)));
    }
    none("a pure crate depends on", &findings);
}

#[test]
fn no_dependency_is_listed_and_never_named() {
    let metadata = metadata();
    let sources = all();
    let root = crate::sources::root();
    let mut findings = Vec::new();
    for package in metadata.workspace_packages() {
        let folder = package.manifest_path.parent().expect("a manifest stands in a folder");
        let folder = folder.strip_prefix(&root).expect("a member stands below the root");
        let within = |part: &str| format!("{folder}/{part}/");
        let parts = ["src", "tests", "examples", "benches"].map(within);
        let own = sources.iter().filter(|it| parts.iter().any(|part| it.path.starts_with(part)));
        let text: String = own.map(|source| source.text.as_str()).collect();
        for dependency in &package.dependencies {
            let name = dependency.rename.as_ref().unwrap_or(&dependency.name).replace('-', "_");
            if !text.contains(&format!("{name}::")) && !text.contains(&format!("use {name}")) {
                findings.push(format!("{} does not name {name}", package.name));
            }
        }
    }
    none("dependencies that no source names; take them out of the manifest", &findings);
}

#[test]
fn every_crate_takes_the_workspace_lints() {
    let metadata = metadata();
    let mut findings = Vec::new();
    for package in metadata.workspace_packages() {
        let manifest = std::fs::read_to_string(&package.manifest_path).expect("it was just parsed");
        if !manifest.contains("[lints]\nworkspace = true\n") {
            findings.push(package.name.to_string());
        }
    }
    none("crates without the workspace's lints", &findings);
}
