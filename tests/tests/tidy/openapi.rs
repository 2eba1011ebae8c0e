//! The descriptions of the masters' interfaces: what is committed is what the code says, and they are whole.

use std::collections::BTreeSet;

use net::Access;
use serde_json::{Map, Value};

use crate::sources::{none, read};

type Route = (&'static str, Access);

/// The masters, their documents as the code makes them, and their routes.
fn masters() -> [(&'static str, Value, Vec<Route>); 2] {
    let parsed = |text| serde_json::from_str(text).expect("it is JSON");
    [
        ("jobtracker", parsed(jobtracker::openapi()), jobtracker::access()),
        ("chunkmaster", parsed(chunkstore::master::openapi()), chunkstore::master::access()),
    ]
}

fn object(value: &Value) -> &Map<String, Value> {
    value.as_object().unwrap_or_else(|| panic!("{value} is no object"))
}

/// Each operation: its method and path, and what is said of it.
fn operations(document: &Value) -> impl Iterator<Item = (String, &Value)> {
    let paths = object(&document["paths"]).iter();
    paths.flat_map(|(path, item)| {
        object(item).iter().map(move |(method, operation)| (format!("{method} {path}"), operation))
    })
}

#[test]
fn the_committed_descriptions_are_those_of_the_code() {
    for (master, text) in
        [("jobtracker", jobtracker::openapi()), ("chunkmaster", chunkstore::master::openapi())]
    {
        let file = format!("docs/openapi/{master}.json");
        assert!(
            read(&file) == text,
            "{file} is not what the code says; renew it: cargo run -q -p howdah -- openapi {master} > {file}"
        );
    }
}

#[test]
fn each_route_is_described_and_nothing_else() {
    for (master, document, routes) in masters() {
        let described: BTreeSet<&str> =
            object(&document["paths"]).keys().map(String::as_str).collect();
        let routes: BTreeSet<&str> = routes.into_iter().map(|(route, _)| route).collect();
        assert_eq!(described, routes, "{master}");
    }
}

#[test]
fn each_operation_says_what_it_does_and_what_it_answers() {
    let mut findings = Vec::new();
    for (master, document, routes) in masters() {
        let mut ids = BTreeSet::new();
        for (name, operation) in operations(&document) {
            let mut find = |what: &str| findings.push(format!("{master}: {name}: {what}"));
            if !operation["summary"].as_str().is_some_and(|it| it.len() > 10 && it.ends_with('.')) {
                find("no summary");
            }
            if !ids.insert(operation["operationId"].as_str().expect("an id")) {
                find("an id that another has");
            }
            let answers = object(&operation["responses"]);
            if !answers.keys().any(|status| status.starts_with('2')) {
                find("no answer but problems");
            }
            let path = name.split(' ').nth(1).expect("a method and a path");
            let (_, access) = routes.iter().find(|(route, _)| *route == path).expect("a route");
            let is_open = matches!(access, Access::Public);
            if is_open == answers.contains_key("401") {
                find("who may call it");
            }
            for (status, answer) in answers.iter().filter(|(status, _)| status.as_str() >= "400") {
                let named = answer["$ref"].as_str().and_then(|it| it.strip_prefix('#'));
                let answer = named.and_then(|it| document.pointer(it)).expect("an answer by name");
                let schema = &answer["content"]["application/problem+json"]["schema"];
                if schema["allOf"][0]["$ref"] != "#/components/schemas/Problem" {
                    find(&format!("{status} is no problem document"));
                }
            }
        }
    }
    none("operations that are not described", &findings);
}

/// All references below a value.
fn references<'a>(value: &'a Value, into: &mut Vec<&'a str>) {
    match value {
        Value::Object(map) => {
            into.extend(map.get("$ref").and_then(Value::as_str));
            map.values().for_each(|value| references(value, into));
        }
        Value::Array(all) => all.iter().for_each(|value| references(value, into)),
        _ => {}
    }
}

#[test]
fn each_reference_leads_somewhere_and_nothing_is_there_that_none_leads_to() {
    for (master, document, _) in masters() {
        let mut found = Vec::new();
        references(&document, &mut found);
        let found: BTreeSet<&str> = found.into_iter().collect();
        let schemas = object(&document["components"]["schemas"]);
        let mut known: BTreeSet<String> =
            schemas.keys().map(|name| format!("#/components/schemas/{name}")).collect();
        let answers = object(&document["components"]["responses"]);
        known.extend(answers.keys().map(|name| format!("#/components/responses/{name}")));
        let unknown: Vec<&&str> = found.iter().filter(|it| !known.contains(**it)).collect();
        assert!(unknown.is_empty(), "{master}: {unknown:?}");
        // What events hold is told in words.
        let told = ["ClusterPulse", "JobStatus"].map(|it| format!("#/components/schemas/{it}"));
        let idle = known.iter().filter(|it| !found.contains(it.as_str()) && !told.contains(it));
        let idle: Vec<&String> = idle.collect();
        assert!(idle.is_empty(), "{master}: {idle:?}");
    }
}

/// Descriptions are made of doc comments: no word of Rust may be left in them.
#[test]
fn descriptions_speak_to_who_reads_no_rust() {
    let mut findings = Vec::new();
    for (master, document, _) in masters() {
        let text = document.to_string();
        for word in ["::", "[`", "`]", "#[", "Option<", "Vec<"] {
            for (at, _) in text.match_indices(word) {
                let from = text.floor_char_boundary(at.saturating_sub(60));
                let to = text.ceil_char_boundary(at + 40);
                findings.push(format!("{master}: {}", &text[from..to]));
            }
        }
    }
    none("descriptions with words of Rust", &findings);
}
