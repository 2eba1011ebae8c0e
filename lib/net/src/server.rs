//! The server side: routes that can't be left unguarded by accident, JSON bodies whose errors are
//! problem documents, and the accept loop with a graceful end.

use std::error::Error as _;
use std::fmt::Display;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{FromRequest, FromRequestParts, Request, State};
use axum::handler::Handler as _;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::MethodRouter;
use clock::Stopwatch;
use ids::UnixMillis;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::error::Elapsed;
use tracing::Instrument as _;

use crate::api::{Methods, Operation};
use crate::audit::Changes;
use crate::entrance::{self, EntranceLayer, Observer, Rules};
use crate::origin::check_change;
use crate::strangers::Strangers;
use crate::{
    Capability, Keyring, NotAdmitted, Problem, Right, Role, SUPERUSER, Standing, TokenError,
    schema_words,
};

/// Follows a request through the logs of all daemons.
pub const REQUEST_ID_HEADER: &str = "x-request-id";
/// Maximum length of a JSON body, bytes.
pub const JSON_BYTES_MAX: usize = 16 << 20;
/// Length that most JSON replies stay within, bytes.
const JSON_BYTES_USUAL: usize = 1024;
/// Characters of an unknown key that are repeated in the error.
const KEY_CHARS_MAX: usize = 200;
/// Time limit for the arrival of a whole JSON body.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// The kind of problem for a path that this daemon does not serve.
pub(crate) const NO_ROUTE: &str = "no-such-route";
/// The kind of problem for a method that the path does not take.
pub(crate) const WRONG_METHOD: &str = "wrong-method";
/// The route that observers are told for a path that no route takes.
const NO_ROUTE_NAME: &str = "none";

/// Who may call a route at all; [`Caller`] checks what they may do with which resource.
#[derive(Clone, Copy, Debug)]
pub enum Access {
    /// Anybody; for health and metrics.
    Public,
    /// Holders of a token with one of these roles.
    Roles(&'static [Role]),
}

impl Access {
    /// Holders of any token of the cluster.
    pub const ANY_ROLE: Self =
        Self::Roles(&[Role::User, Role::Task, Role::Tracker, Role::Server, Role::Master]);
    /// People, and masters on their behalf.
    pub const USERS: Self = Self::Roles(&[Role::User, Role::Master]);
}

/// What a router's guard needs.
#[derive(Clone, Debug)]
pub struct Guard {
    /// Verifies tokens.
    pub keyring: Keyring,
    /// What a request without a token may do, if its `Host` is a loopback name; `None`: nothing.
    pub anonymous: Option<Capability>,
}

/// The routes of a daemon. [`Routes::into_router`] is the only way to a router that is served, and
/// no route gets there without its [`Access`].
pub struct Routes<S> {
    routes: Vec<(&'static str, Access, Methods<S>)>,
}

impl<S: Clone + Send + Sync + 'static> Default for Routes<S> {
    fn default() -> Self {
        Self::new()
    }
}

impl<S: Clone + Send + Sync + 'static> Routes<S> {
    /// An empty set of routes.
    #[must_use]
    pub fn new() -> Self {
        Self { routes: Vec::new() }
    }

    /// Adds a route. The interface's document describes the methods that [`crate::api`] made.
    #[must_use]
    pub fn route(
        mut self,
        path: &'static str,
        access: Access,
        methods: impl Into<Methods<S>>,
    ) -> Self {
        self.routes.push((path, access, methods.into()));
        self
    }

    /// Adds all routes of `other`.
    #[must_use]
    pub fn merge(mut self, other: Self) -> Self {
        self.routes.extend(other.routes);
        self
    }

    /// The paths and who may call them, for tests and documents.
    pub fn list(&self) -> impl Iterator<Item = (&'static str, Access)> {
        self.routes.iter().map(|(path, access, _)| (*path, *access))
    }

    /// The routes with the descriptions of their methods.
    pub(crate) fn described(&self) -> impl Iterator<Item = (&'static str, Access, &[Operation])> {
        self.routes.iter().map(|(path, access, methods)| (*path, *access, &methods.operations[..]))
    }

    /// Changes the methods of one route, for instance by a layer of its own.
    ///
    /// # Panics
    /// If there is no such route.
    #[must_use]
    pub fn map(
        mut self,
        path: &str,
        change: impl FnOnce(MethodRouter<S>) -> MethodRouter<S>,
    ) -> Self {
        let known = self.routes.iter_mut().find(|(known, ..)| *known == path);
        let (_, _, methods) = known.unwrap_or_else(|| panic!("{path} is no route"));
        methods.router = change(std::mem::take(&mut methods.router));
        self
    }

    /// The router: every route is behind the guard, and an unknown route gets a problem document.
    pub fn into_router(self, state: S, guard: Guard) -> Router {
        self.build(state, guard, None)
    }

    /// Like [`Self::into_router`]; `observer` is also told of every request, with the route `none`
    /// for those that no route takes.
    pub fn into_observed_router(self, state: S, guard: Guard, observer: Observer) -> Router {
        self.build(state, guard, Some(observer))
    }

    fn build(self, state: S, guard: Guard, observer: Option<Observer>) -> Router {
        let (guard, strangers) = (Arc::new(guard), Arc::new(Strangers::default()));
        let mut router = Router::new();
        for (path, access, methods) in self.routes {
            let (guard, observer) = (Arc::clone(&guard), observer.clone());
            let strangers = Arc::clone(&strangers);
            let rules = Arc::new(Rules { path, guard, access, strangers, observer });
            router = router.route(path, methods.router.layer(EntranceLayer(rules)));
        }
        let unrouted = async |request: Request| {
            let detail = format!("no such route: {} {}", request.method(), request.uri().path());
            Problem::new(404, NO_ROUTE, detail)
        };
        let wrong_method = async |request: Request| {
            let detail = format!("{} does not take {}", request.uri().path(), request.method());
            Problem::new(405, WRONG_METHOD, detail)
        };
        let followed = from_fn_with_state(observer, follow);
        router
            .fallback(unrouted.layer(followed.clone()))
            .method_not_allowed_fallback(wrong_method.layer(followed))
            .with_state(state)
    }
}

/// Why the caller could not be identified.
#[derive(Debug)]
pub(crate) enum Unknown {
    /// A token that is not accepted.
    Token(NotAdmitted),
    /// A problem with a request that has no token.
    Request(Problem),
}

impl Unknown {
    /// Whether the token is signed with another secret.
    pub(crate) fn is_stranger(&self) -> bool {
        matches!(self, Self::Token(NotAdmitted::Token(TokenError::Forged)))
    }
}

impl From<Unknown> for Problem {
    fn from(unknown: Unknown) -> Self {
        match unknown {
            Unknown::Token(error) => Self::new(401, "forbidden", error.to_string()),
            Unknown::Request(problem) => problem,
        }
    }
}

/// Identifies the caller.
pub(crate) fn identify(guard: &Guard, request: &Request) -> Result<Caller, Unknown> {
    let Some(authorization) = request.headers().get(header::AUTHORIZATION) else {
        let Some(anonymous) = guard.anonymous.as_ref().filter(|_| is_loopback(request)) else {
            let detail =
                "this needs a token, as `howdah token` makes: send `Authorization: Bearer <token>`";
            return Err(Unknown::Request(Problem::new(401, "forbidden", detail)));
        };
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            check_change(request).map_err(Unknown::Request)?;
        }
        return Ok(Caller::of(anonymous.clone()));
    };
    let token = authorization.to_str().ok().and_then(|text| text.strip_prefix("Bearer "));
    token
        .ok_or_else(|| TokenError::Malformed.into())
        .and_then(|token| guard.keyring.admit(token, clock::wall()))
        .map(|(capability, standing, issued)| {
            let issued = Some(issued);
            Caller { capability, standing, issued, request_id: None, changes: None }
        })
        .map_err(Unknown::Token)
}

/// A request without a token needs a loopback `Host`, as protection against DNS rebinding.
fn is_loopback(request: &Request) -> bool {
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    host.is_some_and(|host| {
        let name = host.parse::<SocketAddr>().map_or_else(
            |_| host.rsplit_once(':').map_or(host, |(name, _)| name).to_owned(),
            |address| address.ip().to_string(),
        );
        name == "localhost"
            || name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
    })
}

fn no_json() -> Problem {
    let detail = "send a JSON body with `Content-Type: application/json`";
    Problem::new(415, "invalid-request", detail)
}

fn is_json(headers: &HeaderMap) -> bool {
    let media = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    media.is_some_and(|media| {
        media.split(';').next().is_some_and(|m| m.trim().eq_ignore_ascii_case("application/json"))
    })
}

/// Gives a request that no route takes an id and a span, and its reply the same id. It is observed
/// under [`NO_ROUTE_NAME`]: paths that are no routes must not become labels.
async fn follow(
    State(observer): State<Option<Observer>>,
    request: Request,
    next: Next,
) -> Response {
    let stopwatch = Stopwatch::start();
    let (id, method) = (entrance::id_of(&request), request.method().clone());
    let span = tracing::debug_span!("request", id, %method, path = request.uri().path());
    let mut response = next.run(request).instrument(span).await;
    entrance::sign(&mut response, id);
    if let Some(observer) = observer {
        observer(&method, NO_ROUTE_NAME, response.status(), stopwatch.elapsed());
    }
    response
}

/// The verified caller; an extractor for handlers of guarded routes.
#[derive(Clone, Debug)]
pub struct Caller {
    /// What the caller's token says.
    pub capability: Arc<Capability>,
    /// What the caller may change, within the token's grants.
    pub standing: Standing,
    /// When the token was signed for the caller; `None` without a token.
    pub issued: Option<UnixMillis>,
    /// The id of a person's request, for calls made on its behalf.
    pub request_id: Option<Arc<str>>,
    /// Where the changes that the caller asks for are noted, if there is an audit log.
    pub(crate) changes: Option<Changes>,
}

/// The resource that covers everything.
const EVERYTHING: &str = "/";

impl Caller {
    /// The caller in a cluster without users: a superuser, within the capability's grants.
    pub fn of(capability: impl Into<Arc<Capability>>) -> Self {
        let (capability, standing) = (capability.into(), Standing::Superuser);
        Self { capability, standing, issued: None, request_id: None, changes: None }
    }

    /// The same caller, who only asks whether something could be done: the audit log does not count
    /// that as a change.
    #[must_use]
    pub fn only_asking(self) -> Self {
        Self { changes: None, ..self }
    }

    /// Checks that the caller may do this, at least with what is their own.
    ///
    /// # Errors
    /// A 403 problem that names the subject, the right and the resource.
    pub fn require(&self, right: Right, resource: &str) -> Result<(), Problem> {
        let subject = &self.capability.subject;
        if let (Right::Write, Some(changes)) = (right, &self.changes) {
            changes.note(resource);
        }
        if right == Right::Write && self.standing == Standing::Viewer {
            let detail = format!(
                "{subject} may not change {}: {subject}'s role is viewer, and viewers change nothing; an admin gives \
                 another role, with 'users' in the configuration",
                if resource == EVERYTHING { "what is everybody's" } else { resource }
            );
            return Err(Problem::new(403, "forbidden", detail));
        }
        if self.capability.permits(right, resource) {
            return Ok(());
        }
        let verb = match right {
            Right::Read => "read",
            Right::Write => "write",
        };
        let needed = match resource {
            "/" => {
                ": this is about all of the cluster, and takes a token that is limited to no path"
            }
            _ if right == Right::Write && self.capability.permits(Right::Read, resource) => {
                ": this token is good for reading there, and not for changing; `howdah token` without --read-only makes one \
                 that is good for both"
            }
            _ => "",
        };
        let detail = format!("{subject} may not {verb} {resource}{needed}");
        Err(Problem::new(403, "forbidden", detail))
    }

    /// Checks that the caller may change what belongs to everybody: hosts, pools, chunkservers.
    ///
    /// # Errors
    /// Like [`Self::require`].
    pub fn require_superuser(&self) -> Result<(), Problem> {
        self.require(Right::Write, EVERYTHING)?;
        if self.standing == Standing::Superuser {
            return Ok(());
        }
        let subject = &self.capability.subject;
        let detail = format!(
            "{subject} may not do this: it is about all of the cluster, and takes a user whose role is admin ('users' \
             in the configuration)"
        );
        Err(Problem::new(403, "forbidden", detail))
    }

    /// Checks that `what` belongs to the caller, or that the caller may change it anyway.
    ///
    /// # Errors
    /// A 403 problem that names the owner.
    pub fn require_owner(&self, owner: &str, what: &dyn Display) -> Result<(), Problem> {
        let subject = &self.capability.subject;
        if self.standing == Standing::Superuser || subject == owner {
            return Ok(());
        }
        let owner = if owner.is_empty() { SUPERUSER } else { owner };
        let detail = format!(
            "{what} belongs to {owner}: {subject} may look at it, and only {owner} or an admin may change it"
        );
        Err(Problem::new(403, "forbidden", detail))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let caller = parts.extensions.get::<Self>().cloned();
        caller.ok_or_else(|| Problem::new(403, "forbidden", "this route knows no caller"))
    }
}

/// A JSON body, in and out. A parse error is a 400 that names line, column and key. So is a key
/// that the route does not know, if a person or their program sends it: it is misspelt, or asks for
/// what this release can't do. Daemons and tasks may send unknown keys, as they may be of a newer
/// release.
#[derive(Clone, Copy, Debug)]
pub struct Json<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let sender = request.extensions().get::<Caller>().map(|caller| caller.capability.role);
        if !is_json(request.headers()) {
            return Err(no_json());
        }
        let whole = axum::body::to_bytes(request.into_body(), JSON_BYTES_MAX);
        let body = soon_or_within(BODY_TIMEOUT, whole).await.map_err(|_| {
            let limit = BODY_TIMEOUT.as_secs();
            let detail = format!("the body did not arrive within {limit} s: send it again");
            Problem::new(408, "invalid-request", detail)
        })?;
        let body = body.map_err(|error| not_whole(&error))?;
        let parsed = if sender == Some(Role::User) {
            parse_all(&body)
        } else {
            serde_json::from_slice(&body).map_err(|error| not_taken(&error))
        };
        parsed.map(Self)
    }
}

/// Why a body could not be read to its end.
fn not_whole(error: &axum::Error) -> Problem {
    let mut sources = std::iter::successors(error.source(), |source| (*source).source());
    if sources.any(<dyn std::error::Error>::is::<http_body_util::LengthLimitError>) {
        let detail = format!("the body is longer than {JSON_BYTES_MAX} bytes");
        return Problem::new(413, "invalid-request", detail);
    }
    Problem::new(400, "invalid-request", format!("the body broke off: {error}"))
}

/// Like [`tokio::time::timeout`], but sets a timer only for work that is not done by the task's
/// next turn: nearly all bodies come right behind their heads, and are.
async fn soon_or_within<T>(limit: Duration, work: impl Future<Output = T>) -> Result<T, Elapsed> {
    let mut work = std::pin::pin!(work);
    let mut is_first = true;
    let soon = std::future::poll_fn(|context| match work.as_mut().poll(context) {
        Poll::Ready(done) => Poll::Ready(Some(done)),
        Poll::Pending if std::mem::take(&mut is_first) => {
            context.waker().wake_by_ref();
            Poll::Pending
        }
        Poll::Pending => Poll::Ready(None),
    });
    match soon.await {
        Some(done) => Ok(done),
        None => tokio::time::timeout(limit, work).await,
    }
}

/// Parses the body, and fails if any key in it would be ignored.
fn parse_all<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    let mut unknown = None;
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let parsed = serde_ignored::deserialize(&mut deserializer, |key| {
        // The marks of optional values are no part of the text.
        unknown.get_or_insert_with(|| key.to_string().replace("?.", ""));
    });
    let parsed = parsed.and_then(|parsed| deserializer.end().map(|()| parsed));
    match (parsed, unknown) {
        (Err(error), _) => Err(not_taken(&error)),
        (Ok(_), Some(key)) => {
            let key: String = key.chars().take(KEY_CHARS_MAX).collect();
            let detail = format!(
                "the body has a key that this route does not know: {key:?}; leave it out, or correct it"
            );
            Err(Problem::new(400, "invalid-request", detail))
        }
        (Ok(parsed), None) => Ok(parsed),
    }
}

fn not_taken(error: &serde_json::Error) -> Problem {
    let error = schema_words(&error.to_string());
    let detail = format!("the body is not what this route takes: {error}");
    Problem::new(400, "invalid-request", detail)
}

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        // Most replies fit, so that their buffer need not grow.
        let mut body = Vec::with_capacity(JSON_BYTES_USUAL);
        match serde_json::to_writer(&mut body, &self.0) {
            Ok(()) => {
                let mut response = Response::new(Body::from(body));
                let json = HeaderValue::from_static("application/json");
                response.headers_mut().insert(header::CONTENT_TYPE, json);
                response
            }
            Err(error) => Problem::new(500, "internal", error.to_string()).into_response(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_not_there_at_once_is_waited_for_and_not_for_ever() {
        let (soon, long) = (Duration::from_millis(5), Duration::from_secs(600));
        assert!(matches!(soon_or_within(soon, std::future::ready(7)).await, Ok(7)));
        let later = async { tokio::time::sleep(soon).await };
        assert!(soon_or_within(long, later).await.is_ok());
        assert!(soon_or_within(soon, std::future::pending::<()>()).await.is_err());
    }

    #[tokio::test]
    async fn a_body_that_is_too_long_is_told_from_one_that_breaks_off() {
        let broken = futures_util::stream::iter([Err::<&[u8], _>("the client has gone")]);
        for (body, status, says) in [
            (Body::from("longer"), 413, "longer than"),
            (Body::from_stream(broken), 400, "the client has gone"),
        ] {
            let error = axum::body::to_bytes(body, 3).await.unwrap_err();
            let problem = not_whole(&error);
            assert_eq!(problem.status, status);
            assert!(problem.to_string().contains(says), "{problem}");
        }
    }
}
