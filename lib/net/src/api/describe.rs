//! Describes an operation by its handler's type: what its arguments take, and what its result
//! gives.

use std::collections::{BTreeMap, BTreeSet};

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::{Map, Value, json};

use crate::server::{Caller, Json};
use crate::{Path, Problem, Query};

/// The `type` of problems with the request itself.
const INVALID: &str = "invalid-request";

/// An operation while it is being described.
pub struct Draft<'a> {
    /// Schemas of what is sent to the daemon.
    pub(super) taken: &'a mut SchemaGenerator,
    /// Schemas of what it answers. They may differ for one type: optional fields are not the same
    /// in both directions.
    pub(super) given: &'a mut SchemaGenerator,
    pub(super) parameters: Vec<Value>,
    pub(super) body: Option<Value>,
    /// The answers, by status and media type.
    pub(super) answers: BTreeMap<u16, (String, Map<String, Value>)>,
    pub(super) problems: BTreeMap<u16, BTreeSet<&'static str>>,
}

impl Draft<'_> {
    /// The schema of a type in an answer.
    pub(super) fn given<T: JsonSchema>(&mut self) -> Schema {
        self.given.subschema_for::<T>()
    }

    pub(super) fn answer(&mut self, status: u16, media_type: &str, schema: &Schema, words: &str) {
        let (known, content) = self.answers.entry(status).or_default();
        if known.is_empty() {
            words.clone_into(known);
        }
        if !media_type.is_empty() {
            content.insert(media_type.to_owned(), json!({"schema": schema}));
        }
    }

    /// Adds a problem that the operation may answer.
    pub fn problem(&mut self, status: u16, kind: &'static str) {
        self.problems.entry(status).or_default().insert(kind);
    }

    /// The operation takes a body of one of these media types.
    pub fn takes_body<T: JsonSchema>(&mut self, media_types: &[&str]) {
        let schema = self.taken.subschema_for::<T>();
        self.takes(media_types, &schema);
        for status in [400, 408, 413, 415] {
            self.problem(status, INVALID);
        }
    }

    fn takes(&mut self, media_types: &[&str], schema: &Schema) {
        let content = media_types.iter().map(|it| ((*it).to_owned(), json!({"schema": schema})));
        let content: Map<String, Value> = content.collect();
        self.body = Some(json!({"required": true, "content": content}));
    }

    /// The operation takes this header.
    pub fn takes_header(&mut self, name: &str, words: &str) {
        self.parameters.push(json!({
            "name": name, "in": "header", "required": false, "description": words,
            "schema": {"type": "string"},
        }));
    }

    /// The operation takes the fields of a query's type.
    fn takes_query<P: JsonSchema>(&mut self) {
        let schema = P::json_schema(self.taken);
        let properties = schema.get("properties").and_then(Value::as_object);
        let required = schema.get("required").and_then(Value::as_array);
        for (name, property) in properties.into_iter().flatten() {
            let required = required.is_some_and(|all| all.iter().any(|it| it == name));
            let mut schema = without_null(property.clone());
            let words = schema.as_object_mut().and_then(|it| it.remove("description"));
            let mut parameter =
                json!({"name": name, "in": "query", "required": required, "schema": schema});
            if let Some(words) = words {
                parameter["description"] = words;
            }
            self.parameters.push(parameter);
        }
        self.problem(400, INVALID);
    }
}

/// An optional parameter is never written as `null`.
fn without_null(mut schema: Value) -> Value {
    if let Some(Value::Array(types)) = schema.get_mut("type") {
        types.retain(|it| it != "null");
        if let [only] = &types[..] {
            schema["type"] = only.clone();
        }
    }
    if let Some(Value::Array(any)) = schema.get_mut("anyOf") {
        any.retain(|it| it.get("type").is_none_or(|it| it != "null"));
        if let [only] = &any[..] {
            let only = only.clone();
            let words = schema.get("description").cloned();
            schema = only;
            if let Some(words) = words {
                schema["description"] = words;
            }
        }
    }
    if schema.get("default").is_some_and(Value::is_null) {
        schema.as_object_mut().map(|it| it.remove("default"));
    }
    schema
}

/// Describes what an argument of a handler takes from a request.
pub trait Takes {
    /// Adds it to the draft.
    fn take(draft: &mut Draft<'_>);
}

/// Describes what a result of a handler gives.
pub trait Gives {
    /// Adds it to the draft.
    fn give(draft: &mut Draft<'_>);
}

/// Describes a handler with arguments `A`.
pub trait Described<A> {
    /// Adds what its types say to the draft.
    fn describe(draft: &mut Draft<'_>);
}

impl<S> Takes for State<S> {
    fn take(_: &mut Draft<'_>) {}
}

/// The guard's problems are added for each route.
impl Takes for Caller {
    fn take(_: &mut Draft<'_>) {}
}

impl Takes for HeaderMap {
    fn take(_: &mut Draft<'_>) {}
}

impl<T: JsonSchema> Takes for Json<T> {
    fn take(draft: &mut Draft<'_>) {
        draft.takes_body::<T>(&["application/json"]);
    }
}

/// The route itself names the parameters.
impl<T> Takes for Path<T> {
    fn take(draft: &mut Draft<'_>) {
        draft.problem(400, INVALID);
    }
}

impl<P: JsonSchema> Takes for Query<P> {
    fn take(draft: &mut Draft<'_>) {
        draft.takes_query::<P>();
    }
}

impl Takes for Body {
    fn take(draft: &mut Draft<'_>) {
        draft.takes(&["application/octet-stream"], &schemars::json_schema!({}));
        draft.problem(400, INVALID);
    }
}

impl<T: JsonSchema> Gives for Json<T> {
    fn give(draft: &mut Draft<'_>) {
        let schema = draft.given::<T>();
        draft.answer(200, "application/json", &schema, "");
    }
}

/// The route states the status.
impl<T> Gives for (StatusCode, Json<T>) {
    fn give(_: &mut Draft<'_>) {}
}

/// Likewise.
impl Gives for StatusCode {
    fn give(_: &mut Draft<'_>) {}
}

/// The route states everything.
impl Gives for Response {
    fn give(_: &mut Draft<'_>) {}
}

impl<G: Gives> Gives for Result<G, Problem> {
    fn give(draft: &mut Draft<'_>) {
        G::give(draft);
    }
}

macro_rules! described {
    ($($argument:ident),*) => {
        impl<F, Pending, R, $($argument,)*> Described<($($argument,)*)> for F
        where
            F: FnOnce($($argument,)*) -> Pending,
            Pending: Future<Output = R>,
            R: Gives,
            $($argument: Takes,)*
        {
            #[allow(unused_variables, reason = "a handler may take nothing")]
            fn describe(draft: &mut Draft<'_>) {
                $($argument::take(draft);)*
                R::give(draft);
            }
        }
    };
}

described!();
described!(A);
described!(A, B);
described!(A, B, C);
described!(A, B, C, D);
described!(A, B, C, D, E);
