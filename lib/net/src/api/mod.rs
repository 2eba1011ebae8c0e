//! Describes what routes take and give, for the document of a daemon's interface (OpenAPI 3.1).
//! Most of it is derived from the handlers' own types (`describe`), so that it can't contradict the
//! code; summaries, and the problems that a handler may answer, are given with the route.
//! `document.rs` assembles the document.

mod describe;
mod document;

use axum::handler::Handler;
use axum::routing::{MethodFilter, MethodRouter, on};
use schemars::JsonSchema;

pub use describe::{Described, Draft, Gives, Takes};
pub use document::{About, PathParameter, document, give_document};

/// Problems that an operation may answer: the status and the `type`.
pub type Problems = &'static [(u16, &'static str)];

/// The methods of one route, with a description of each.
pub struct Methods<S> {
    pub(crate) router: MethodRouter<S>,
    pub(crate) operations: Vec<Operation>,
}

/// One method of a route.
pub(crate) struct Operation {
    pub(crate) method: &'static str,
    pub(crate) summary: &'static str,
    pub(crate) describe: Vec<fn(&mut Draft<'_>)>,
    pub(crate) answers: Vec<Answer>,
    pub(crate) problems: Vec<Problems>,
}

/// An answer of an operation that its handler's type does not reveal.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) media_type: &'static str,
    pub(crate) schema: fn(&mut Draft<'_>) -> schemars::Schema,
    pub(crate) words: &'static str,
}

/// The route takes `GET`.
pub fn get<H, T, S, A>(handler: H) -> Methods<S>
where
    H: Handler<T, S> + Described<A>,
    T: 'static,
    S: Clone + Send + Sync + 'static,
{
    Methods::new().with("get", MethodFilter::GET, handler)
}

/// The route takes `POST`.
pub fn post<H, T, S, A>(handler: H) -> Methods<S>
where
    H: Handler<T, S> + Described<A>,
    T: 'static,
    S: Clone + Send + Sync + 'static,
{
    Methods::new().with("post", MethodFilter::POST, handler)
}

impl<S: Clone + Send + Sync + 'static> Methods<S> {
    fn new() -> Self {
        Self { router: MethodRouter::new(), operations: Vec::new() }
    }

    fn with<H, T, A>(mut self, method: &'static str, filter: MethodFilter, handler: H) -> Self
    where
        H: Handler<T, S> + Described<A>,
        T: 'static,
    {
        let (describe, nothing) = (vec![H::describe as fn(&mut Draft<'_>)], Vec::new());
        let operation =
            Operation { method, summary: "", describe, answers: nothing, problems: Vec::new() };
        self.operations.push(operation);
        self.router = self.router.merge(on(filter, handler));
        self
    }

    /// The route also takes `GET`.
    #[must_use]
    pub fn get<H, T, A>(self, handler: H) -> Self
    where
        H: Handler<T, S> + Described<A>,
        T: 'static,
    {
        self.with("get", MethodFilter::GET, handler)
    }

    /// The route also takes `PUT`.
    #[must_use]
    pub fn put<H, T, A>(self, handler: H) -> Self
    where
        H: Handler<T, S> + Described<A>,
        T: 'static,
    {
        self.with("put", MethodFilter::PUT, handler)
    }

    /// The route also takes `DELETE`.
    #[must_use]
    pub fn delete<H, T, A>(self, handler: H) -> Self
    where
        H: Handler<T, S> + Described<A>,
        T: 'static,
    {
        self.with("delete", MethodFilter::DELETE, handler)
    }

    /// Describes the last method in one sentence.
    #[must_use]
    pub fn summary(mut self, summary: &'static str) -> Self {
        self.last().summary = summary;
        self
    }

    /// The last method may answer these problems, besides those of its arguments.
    #[must_use]
    pub fn problems(mut self, problems: Problems) -> Self {
        self.last().problems.push(problems);
        self
    }

    /// The last method answers `T` as JSON with this status.
    #[must_use]
    pub fn gives<T: JsonSchema>(self, status: u16) -> Self {
        let schema = |draft: &mut Draft<'_>| draft.given.subschema_for::<T>();
        self.gives_as(status, "application/json", schema, "")
    }

    /// The last method answers text or bytes of this media type.
    #[must_use]
    pub fn gives_text(self, status: u16, media_type: &'static str, words: &'static str) -> Self {
        let text = |_: &mut Draft<'_>| schemars::json_schema!({"type": "string"});
        self.gives_as(status, media_type, text, words)
    }

    /// The last method answers this status without a body.
    #[must_use]
    pub fn gives_nothing(self, status: u16) -> Self {
        self.gives_as(status, "", |_| schemars::json_schema!({}), "")
    }

    /// The answer contains `T` in some form: adds its schema to the document.
    #[must_use]
    pub fn also_gives<T: JsonSchema>(mut self) -> Self {
        let describe = |draft: &mut Draft<'_>| drop(draft.given::<T>());
        self.last().describe.push(describe);
        self
    }

    fn gives_as(
        mut self,
        status: u16,
        media_type: &'static str,
        schema: fn(&mut Draft<'_>) -> schemars::Schema,
        words: &'static str,
    ) -> Self {
        self.last().answers.push(Answer { status, media_type, schema, words });
        self
    }

    fn last(&mut self) -> &mut Operation {
        self.operations.last_mut().expect("methods are made with one")
    }
}

/// Methods without a description.
impl<S> From<MethodRouter<S>> for Methods<S> {
    fn from(router: MethodRouter<S>) -> Self {
        Self { router, operations: Vec::new() }
    }
}
