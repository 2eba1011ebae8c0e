//! The pages against the house: folders, paths and commands they name exist, and the map is whole.

use std::collections::BTreeSet;

use crate::sources::{all, none, read, root};

/// Every page of the house's own.
fn pages() -> impl Iterator<Item = String> {
    all().into_iter().map(|source| source.path).filter(|path| path.ends_with(".md"))
}

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
    for page in pages() {
        let text = read(&page);
        let beside = root().join(&page).parent().expect("it lies in a folder").to_owned();
        let exists = |path: &&str| root().join(path).exists() || beside.join(path).exists();
        let gone = paths_in(&text).filter(|path| !exists(path));
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

/// What GitHub and mdBook make of a heading.
fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || "-_ ".contains(*c));
    kept.collect::<String>().to_lowercase().replace(' ', "-")
}

fn anchors_of(page: &str) -> BTreeSet<String> {
    let mut is_code = false;
    let headings = page.lines().filter_map(|line| {
        is_code ^= line.starts_with("```");
        line.trim_start_matches('#').strip_prefix(' ').filter(|_| line.starts_with('#') && !is_code)
    });
    headings.map(anchor).collect()
}

/// Where a page's links lead, but for those to other hosts.
fn links_in(page: &str) -> impl Iterator<Item = &str> {
    let targets = page.split("](").skip(1).filter_map(|rest| Some(rest.split_once(')')?.0));
    targets.filter(|target| !target.contains("://") && !target.contains(char::is_whitespace))
}

#[test]
fn every_link_of_a_page_leads_to_a_page_and_a_heading_that_exist() {
    let mut findings = Vec::new();
    for page in pages() {
        let text = read(&page);
        let folder = root().join(&page).parent().expect("it lies in a folder").to_owned();
        for link in links_in(&text) {
            let (file, heading) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() { root().join(&page) } else { folder.join(file) };
            let is_there = match (target.exists(), heading) {
                (is_there, "") => is_there,
                (false, _) => false,
                (true, heading) => {
                    let target = std::fs::read_to_string(&target).expect("a page");
                    anchors_of(&target).contains(heading)
                }
            };
            if !is_there {
                findings.push(format!("{page}: {link}"));
            }
        }
    }
    none("links that lead nowhere", &findings);
}

#[test]
fn the_book_and_the_readme_have_every_page_of_it() {
    let (summary, readme) = (read("docs/SUMMARY.md"), read("README.md"));
    let chapters = pages().filter_map(|page| Some(page.strip_prefix("docs/")?.to_owned()));
    let chapters = chapters.filter(|page| page != "SUMMARY.md");
    let is_missing = |page: &String| {
        !summary.contains(&format!("]({page})")) || !readme.contains(&format!("](docs/{page})"))
    };
    let watching = pages().filter(|page| page.starts_with("dashboards/"));
    let is_out = |page: &String| !summary.contains(&format!("](../{page})"));
    let findings: Vec<String> =
        chapters.filter(is_missing).chain(watching.filter(is_out)).collect();
    none("pages that docs/SUMMARY.md or README.md does not name", &findings);
}

#[test]
fn the_program_that_the_pages_show_is_the_example_that_compiles() {
    let example = read("mapreduce/examples/word_count.rs");
    let code = example.split_once("\n\n").expect("its head is a paragraph").1;
    for page in ["README.md", "docs/programs.md"] {
        let text = read(page);
        let shown = text.split("```rust\n").nth(1).and_then(|rest| rest.split("```").next());
        assert_eq!(shown, Some(code), "{page} and mapreduce/examples/word_count.rs");
    }
}

/// `[test](file)` of the last column: rows with their tests, and where those are to be.
fn shown_by(page: &str) -> impl Iterator<Item = (&str, Option<(&str, &str)>)> {
    let rows = page.lines().filter(|line| line.starts_with("| ")).skip(2);
    rows.map(|row| {
        let cell = row.trim_end_matches([' ', '|']).rsplit("| ").next().unwrap_or_default();
        let link = cell.strip_prefix('[').and_then(|it| it.strip_suffix(')'));
        (row, link.and_then(|it| it.split_once("](../")))
    })
}

#[test]
fn each_feature_beside_others_is_shown_by_a_test_that_exists() {
    let page = read("docs/beside.md");
    let mut findings = Vec::new();
    for (row, link) in shown_by(&page) {
        let is_there = link.is_some_and(|(test, file)| {
            let source = std::fs::read_to_string(root().join(file)).unwrap_or_default();
            let at = source.find(&format!("fn {test}("));
            // A function is a test where the line before says so, also in what makes many inputs of one.
            at.is_some_and(|at| source[..at].trim_end().ends_with("test]"))
        });
        if !is_there {
            findings.push(row.to_owned());
        }
    }
    assert!(shown_by(&page).count() > 20, "docs/beside.md has a table");
    none("rows of docs/beside.md whose test is none", &findings);
}

/// What stands between backquotes in the first column of a table's rows, below `heading`.
fn first_column<'a>(page: &'a str, heading: &str, head: &str) -> Vec<&'a str> {
    let section = page.split(heading).nth(1).unwrap_or_default();
    let table = section.split(head).nth(1).unwrap_or_default();
    let rows = table.lines().skip(1).take_while(|line| line.starts_with('|'));
    rows.filter_map(|row| row.strip_prefix("| `")?.split_once('`')).map(|(cell, _)| cell).collect()
}

#[test]
fn the_page_of_jobs_has_every_key_of_a_job() {
    let page = read("docs/jobs.md");
    let model = read("mapreduce/protocol/src/job.rs");
    let spec = model.split("pub struct JobSpec {").nth(1).and_then(|rest| rest.split("\n}").next());
    let fields = spec.expect("the job").lines().filter_map(|line| line.trim().strip_prefix("pub "));
    let fields: Vec<_> =
        fields.filter_map(|field| field.trim_end_matches(',').split_once(": ")).collect();
    let keys: Vec<&str> = fields.iter().map(|(name, _)| *name).collect();
    assert_eq!(first_column(&page, "# Jobs\n", "| key |"), keys);
    for (name, kind) in fields {
        let row = page.lines().find(|line| line.starts_with(&format!("| `{name}` |")));
        let needed = row.is_some_and(|row| row.contains("| needed |"));
        assert_eq!(needed, !kind.starts_with("Option<"), "{name}: {kind}");
    }
}

#[test]
fn the_page_of_streaming_has_every_key_of_a_streaming_program() {
    let page = read("docs/streaming.md");
    let model = read("mapreduce/protocol/src/streaming/mod.rs");
    let model =
        model.split("pub struct Streaming {").nth(1).and_then(|rest| rest.split("\n}").next());
    let fields =
        model.expect("the keys").lines().filter_map(|line| line.trim().strip_prefix("pub "));
    let keys: Vec<&str> = fields.filter_map(|field| Some(field.split_once(": ")?.0)).collect();
    assert!(keys.len() > 10);
    assert_eq!(first_column(&page, "# Streaming", "| key |"), keys);
}

/// `/v1/…` between double quotes.
fn routes_in(source: &str) -> BTreeSet<String> {
    let code = read(source);
    let code = code.split("#[cfg(test)]").next().unwrap_or_default();
    let quoted = code.split('"').filter(|text| text.starts_with("/v1/") && !text.contains("{}"));
    quoted.map(str::to_owned).collect()
}

#[test]
fn the_page_of_rest_has_every_route_for_users() {
    let page = read("docs/rest.md");
    let told = |head| -> BTreeSet<String> {
        let rows = first_column(&page, "# REST\n", head).into_iter();
        rows.map(|cell| cell.split_once(' ').map_or(cell, |(_, path)| path).to_owned()).collect()
    };
    let mut jobs = routes_in("jobtracker/src/http/jobs.rs");
    jobs.insert("/v1/cluster".to_owned());
    let files = [
        "hosts",
        "pools",
        "explain",
        "timeline",
        "logs",
        "history",
        "events",
        "files",
        "prometheus",
        "openapi",
    ];
    for file in files {
        jobs.extend(routes_in(&format!("jobtracker/src/http/{file}.rs")));
    }
    assert_eq!(told("| the JobTracker's |"), jobs);
    // The life of an open file is the client library's.
    let not_for_users =
        ["create", "append", "allocate", "close", "abandon", "renew", "locate", "publish"];
    let mut files = routes_in("chunkstore/src/master/http/files.rs");
    for name in not_for_users {
        assert!(files.remove(&format!("/v1/files/{name}")), "{name} is a route");
    }
    files.append(&mut routes_in("chunkstore/src/master/http/health.rs"));
    files.append(&mut routes_in("chunkstore/src/master/http/prometheus.rs"));
    files.append(&mut routes_in("chunkstore/src/master/http/openapi.rs"));
    // Clients append through the client library; how chunks begin and end is the servers' to say.
    let mut logs = routes_in("chunkstore/src/master/http/logs.rs");
    for name in ["open", "begin", "end"] {
        assert!(logs.remove(&format!("/v1/logs/{name}")), "{name} is a route");
    }
    files.append(&mut logs);
    assert_eq!(told("| the chunk master's |"), files);
}

/// The types of problems: those of both protocols, and those that `lib/` decides by itself.
fn problem_types() -> BTreeSet<String> {
    let mut types = BTreeSet::new();
    for protocol in ["mapreduce/protocol/src/problem.rs", "chunkstore/protocol/src/problem.rs"] {
        let text = read(protocol);
        let names = text.split("=> \"").skip(1).filter_map(|rest| rest.split('"').next());
        types.extend(names.map(str::to_owned));
    }
    let library = all().into_iter().filter(|it| it.is_rust() && it.path.starts_with("lib/"));
    for source in library.filter(|it| !it.path.contains("tests")) {
        for made in source.text.split("Problem::new(").skip(1) {
            let mut parts = made.splitn(3, '"');
            let is_status =
                |text: &str| text.bytes().all(|b| b.is_ascii_digit() || b", \n".contains(&b));
            if parts.next().is_some_and(is_status) {
                types.extend(parts.next().map(str::to_owned));
            }
        }
        let named = source.text.lines().filter_map(|line| {
            let is_kind =
                line.contains("const NO_ROUTE: ") || line.contains("const WRONG_METHOD: ");
            line.split('"').nth(1).filter(|_| is_kind)
        });
        types.extend(named.map(str::to_owned));
    }
    assert!(types.len() > 40 && types.contains("wrong-method"), "they were found: {types:?}");
    types
}

#[test]
fn the_page_of_problem_types_has_each_once() {
    let page = read("docs/problems.md");
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    let rows: Vec<String> = rows.map(str::to_owned).collect();
    let told: BTreeSet<String> = rows.iter().cloned().collect();
    assert_eq!(told.len(), rows.len(), "none stands there twice");
    assert_eq!(told, problem_types());
}
