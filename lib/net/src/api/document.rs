//! The complete document: OpenAPI 3.1, whose schemas are JSON Schema 2020-12.

use std::collections::{BTreeMap, BTreeSet};

use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse as _;
use schemars::generate::SchemaSettings;
use schemars::{Schema, SchemaGenerator};
use serde_json::{Map, Value, json};

use super::{Draft, Methods, Operation, get};
use crate::server::{Access, Routes};
use crate::{Problem, Role};

const SCHEMAS: &str = "/components/schemas";
const ANSWERS: &str = "/components/responses";
/// Suffix of a type's name where requests differ from answers.
const AS_TAKEN: &str = "Request";

/// A name in braces in a route, and its type.
pub type PathParameter = (&'static str, fn(&mut SchemaGenerator) -> Schema);

/// What a document says about the interface as a whole.
#[derive(Clone, Copy)]
pub struct About {
    /// The interface's name.
    pub title: &'static str,
    /// What applies to all of it, in Markdown.
    pub description: &'static str,
    /// The release.
    pub version: &'static str,
    /// The parameters of route paths: name and type.
    pub path_parameters: &'static [PathParameter],
}

/// The document of these routes, as JSON with line breaks: all described methods.
pub fn document<S: Clone + Send + Sync + 'static>(routes: &Routes<S>, about: &About) -> String {
    serde_json::to_string_pretty(&describe_all(routes, about)).expect("it is plain data") + "\n"
}

/// The method by which a daemon serves its document.
pub fn give_document<S: Clone + Send + Sync + 'static>(
    document: fn() -> &'static str,
) -> Methods<S> {
    let give =
        move || async move { ([(CONTENT_TYPE, "application/json")], document()).into_response() };
    get(give).summary("Gives this document.").gives_text(
        200,
        "application/json",
        "An OpenAPI document.",
    )
}

fn describe_all<S: Clone + Send + Sync + 'static>(routes: &Routes<S>, about: &About) -> Value {
    let settings = |settings: SchemaSettings| {
        settings.with(|it| {
            it.definitions_path = SCHEMAS.into();
            it.meta_schema = None;
        })
    };
    let mut taken = settings(SchemaSettings::draft2020_12().for_deserialize()).into_generator();
    let mut given = settings(SchemaSettings::draft2020_12().for_serialize()).into_generator();
    let problem = given.subschema_for::<Problem>();
    let (mut requests, mut paths, mut problems) = (Vec::new(), BTreeMap::new(), Map::new());
    for (path, access, operations) in routes.described() {
        let mut item = Map::new();
        for operation in operations {
            let parameters = path_parameters(path, about, &mut taken);
            let draft = Draft {
                taken: &mut taken,
                given: &mut given,
                parameters,
                body: None,
                answers: BTreeMap::new(),
                problems: BTreeMap::new(),
            };
            let (request, mut answers, known) = describe(draft, operation, access);
            for (status, kinds) in known {
                let kinds: Vec<&str> = kinds.into_iter().collect();
                let name = format!("{status}.{}", kinds.join("."));
                answers.insert(status.to_string(), json!({"$ref": format!("#{ANSWERS}/{name}")}));
                problems.entry(name).or_insert_with(|| answer_of(status, &kinds, &problem));
            }
            requests.push((path, operation.method, request));
            item.insert(operation.method.to_owned(), head(path, operation, access, &answers));
        }
        if !item.is_empty() {
            paths.insert(path, item);
        }
    }
    let (taken, given) = (taken.take_definitions(true), given.take_definitions(true));
    let (schemas, renamed) = merge(taken, given);
    for (path, method, mut request) in requests {
        rename(&mut request, &renamed);
        let operation = paths.get_mut(path).and_then(|item| item.get_mut(method));
        if let (Some(Value::Object(operation)), Value::Object(request)) = (operation, request) {
            operation.extend(request);
        }
    }
    let mut document = json!({
        "openapi": "3.1.0",
        "info": {
            "title": about.title,
            "description": about.description,
            "version": about.version,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {
            "schemas": schemas,
            "responses": problems,
            "securitySchemes": {"token": {
                "type": "http",
                "scheme": "bearer",
                "description": "A token as `howdah token` makes it. On loopback a `dev` cluster takes requests without one.",
            }},
        },
    });
    clean(&mut document);
    document
}

/// The parameters in braces in a route.
fn path_parameters(path: &str, about: &About, taken: &mut SchemaGenerator) -> Vec<Value> {
    let names = path.split('{').skip(1).filter_map(|rest| Some(rest.split_once('}')?.0));
    let parameter = |name: &str| {
        let known = about.path_parameters.iter().find(|(known, _)| *known == name);
        let schema = match known {
            Some((_, schema)) => schema(taken),
            None => schemars::json_schema!({"type": "string"}),
        };
        json!({"name": name, "in": "path", "required": true, "schema": schema})
    };
    names.map(parameter).collect()
}

/// What the operation takes, and what it answers.
fn describe(
    mut draft: Draft<'_>,
    operation: &Operation,
    access: Access,
) -> (Value, Map<String, Value>, BTreeMap<u16, BTreeSet<&'static str>>) {
    for describe in &operation.describe {
        describe(&mut draft);
    }
    for answer in &operation.answers {
        let schema = (answer.schema)(&mut draft);
        draft.answer(answer.status, answer.media_type, &schema, answer.words);
    }
    if let Access::Roles(_) = access {
        draft.problem(401, "forbidden");
        draft.problem(403, "forbidden");
        if operation.method == "post" {
            draft.problem(415, "invalid-request");
        }
    }
    for (status, kind) in operation.problems.iter().copied().flatten() {
        draft.problem(*status, kind);
    }
    let mut request = Map::new();
    if !draft.parameters.is_empty() {
        request.insert("parameters".to_owned(), Value::Array(draft.parameters));
    }
    request.extend(draft.body.map(|body| ("requestBody".to_owned(), body)));
    let mut answers = Map::new();
    for (status, (words, content)) in draft.answers {
        let words = if words.is_empty() { phrase(status) } else { &words };
        let mut answer = json!({"description": words});
        if !content.is_empty() {
            answer["content"] = Value::Object(content);
        }
        answers.insert(status.to_string(), answer);
    }
    (Value::Object(request), answers, draft.problems)
}

/// An answer with a problem document of one of these types.
fn answer_of(status: u16, kinds: &[&str], problem: &Schema) -> Value {
    let schema = json!({"allOf": [problem, {"properties": {"type": {"enum": kinds}}}]});
    let mut answer = json!({
        "description": phrase(status),
        "content": {"application/problem+json": {"schema": schema}},
    });
    if matches!(status, 429 | 503) {
        answer["headers"] = json!({"Retry-After": {
            "description": "Seconds after which another try may succeed.",
            "schema": {"type": "integer"},
        }});
    }
    answer
}

/// The part that does not depend on the arguments.
fn head(path: &str, operation: &Operation, access: Access, answers: &Map<String, Value>) -> Value {
    let words = path.split('/').filter(|it| !matches!(*it, "" | "v1"));
    let words: Vec<&str> = words.map(|it| it.trim_matches(['{', '}'])).collect();
    let capital = |word: &str| {
        let parts = word.split(['_', '.']);
        let upper = |it: &str| it[..1].to_ascii_uppercase() + &it[1..];
        parts.filter(|it| !it.is_empty()).map(upper).collect::<String>()
    };
    let id: String = words.iter().map(|word| capital(word)).collect();
    let mut operation = json!({
        "operationId": format!("{}{id}", operation.method),
        "summary": operation.summary,
        "tags": [words.first().unwrap_or(&"page")],
        "responses": answers,
    });
    match access {
        Access::Public => operation["security"] = json!([]),
        Access::Roles(roles) => {
            operation["security"] = json!([{"token": []}]);
            operation["x-roles"] = json!(roles);
            if !roles.contains(&Role::User) {
                operation["x-internal"] = json!(true);
            }
        }
    }
    operation
}

fn phrase(status: u16) -> &'static str {
    StatusCode::from_u16(status).ok().and_then(|it| it.canonical_reason()).unwrap_or("An answer")
}

/// Merges all schemas. A schema that differs between requests and answers under one name is renamed
/// for requests, and so is each one that refers to it.
fn merge(
    taken: Map<String, Value>,
    mut given: Map<String, Value>,
) -> (Map<String, Value>, BTreeSet<String>) {
    let differs = |name: &String, schema: &Value| given.get(name).is_some_and(|it| it != schema);
    let differing = taken.iter().filter(|(name, schema)| differs(name, schema));
    let mut renamed: BTreeSet<String> = differing.map(|(name, _)| name.clone()).collect();
    loop {
        let refers = |(name, schema): &(&String, &Value)| {
            given.contains_key(*name) && !renamed.contains(*name) && refers_to(schema, &renamed)
        };
        let more: Vec<String> = taken.iter().filter(refers).map(|(name, _)| name.clone()).collect();
        if more.is_empty() {
            break;
        }
        renamed.extend(more);
    }
    for (mut name, mut schema) in taken {
        if renamed.contains(&name) {
            name += AS_TAKEN;
        }
        rename(&mut schema, &renamed);
        given.insert(name, schema);
    }
    (given, renamed)
}

fn referred(name: &str) -> String {
    format!("#{SCHEMAS}/{name}")
}

fn refers_to(schema: &Value, names: &BTreeSet<String>) -> bool {
    match schema {
        Value::Object(map) => map.iter().any(|(key, value)| match value {
            Value::String(text) if key == "$ref" => names.iter().any(|it| referred(it) == *text),
            value => refers_to(value, names),
        }),
        Value::Array(all) => all.iter().any(|it| refers_to(it, names)),
        _ => false,
    }
}

fn rename(schema: &mut Value, names: &BTreeSet<String>) {
    match schema {
        Value::Object(map) => {
            for (key, value) in map {
                match value {
                    Value::String(text) if key == "$ref" => {
                        if names.iter().any(|it| referred(it) == *text) {
                            text.push_str(AS_TAKEN);
                        }
                    }
                    value => rename(value, names),
                }
            }
        }
        Value::Array(all) => all.iter_mut().for_each(|it| rename(it, names)),
        _ => {}
    }
}

/// Descriptions come from doc comments, whose line breaks and links to code mean nothing to a
/// reader of the document.
fn clean(value: &mut Value) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                match value {
                    Value::String(text) if key == "description" => {
                        *text = plain(text);
                    }
                    value => clean(value),
                }
            }
        }
        Value::Array(all) => all.iter_mut().for_each(clean),
        _ => {}
    }
}

fn plain(text: &str) -> String {
    let paragraphs = text.split("\n\n").map(|it| it.replace('\n', " "));
    let text = paragraphs.collect::<Vec<_>>().join("\n\n").replace("[`", "`").replace("`]", "`");
    let words = text.split('`').enumerate().map(|(nth, part)| match nth % 2 {
        // Between backquotes: keeps the last name of a path in the code.
        1 => part.rsplit_once("::").map_or(part, |(_, name)| name),
        // Removes a link's target.
        _ => {
            part.strip_prefix("(crate::").and_then(|it| it.split_once(')')).map_or(part, |it| it.1)
        }
    });
    words.collect::<Vec<_>>().join("`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_between_requests_and_answers_has_two_names_and_so_has_what_refers_to_it() {
        let map = |value: Value| value.as_object().unwrap().clone();
        let refer = |name: &str| json!({"$ref": referred(name)});
        let taken = json!({"A": {"x": 1}, "B": refer("A"), "C": refer("B"), "D": {"y": 1}, "E": refer("D")});
        let given = json!({"A": {"x": 2}, "B": refer("A"), "C": refer("B"), "D": {"y": 1}});
        let (merged, renamed) = merge(map(taken), map(given));
        let renamed: Vec<&str> = renamed.iter().map(String::as_str).collect();
        assert_eq!(renamed, ["A", "B", "C"]);
        assert_eq!(merged["A"], json!({"x": 2}));
        assert_eq!(merged["ARequest"], json!({"x": 1}));
        assert_eq!(merged["C"], refer("B"));
        assert_eq!(merged["CRequest"], refer("BRequest"));
        assert_eq!(merged["E"], refer("D"));
        assert_eq!(merged.len(), 8);
    }

    #[test]
    fn links_to_code_and_line_breaks_are_no_part_of_a_description() {
        let mut value = json!({"description": "One of\n[`Some::thing`], or [`Done`](crate::Done).\n\nMore (`a`)."});
        clean(&mut value);
        assert_eq!(value["description"], "One of `thing`, or `Done`.\n\nMore (`a`).");
    }
}
