//! What every request passes before its route: it gets an id and a span, its token is checked, and
//! its result is reported to the observer. It is a single layer, as each layer around the routes
//! costs every request several allocations and a clone of everything inside.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::extract::Request;
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::Route;
use clock::Stopwatch;
use ids::RequestId;
use tower_layer::Layer;
use tower_service::Service;
use tracing::Instrument as _;

use crate::audit::Audited;
use crate::serve::{Peer, TlsPeer};
use crate::server::{Access, Guard, REQUEST_ID_HEADER, identify};
use crate::strangers::Strangers;
use crate::{Capability, Problem, Role, random_u64};

/// Called for each answered request with its method, the route's pattern, the status, and the time.
pub type Observer = Arc<dyn Fn(&Method, &'static str, StatusCode, Duration) + Send + Sync>;

/// Puts an entrance in front of a route.
#[derive(Clone)]
pub(crate) struct EntranceLayer(pub(crate) Arc<Rules>);

/// The rules of one route.
pub(crate) struct Rules {
    pub(crate) path: &'static str,
    pub(crate) guard: Arc<Guard>,
    pub(crate) access: Access,
    pub(crate) strangers: Arc<Strangers>,
    pub(crate) observer: Option<Observer>,
}

impl Layer<Route> for EntranceLayer {
    type Service = Entrance;

    fn layer(&self, route: Route) -> Entrance {
        Entrance { rules: Arc::clone(&self.0), route }
    }
}

/// A route with its entrance.
#[derive(Clone)]
pub(crate) struct Entrance {
    rules: Arc<Rules>,
    route: Route,
}

impl Service<Request> for Entrance {
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Service::<Request>::poll_ready(&mut self.route, context)
    }

    fn call(&mut self, mut request: Request) -> Self::Future {
        let stopwatch = Stopwatch::start();
        let rules = Arc::clone(&self.rules);
        let id = id_of(&request);
        let method = request.method().clone();
        let span = tracing::debug_span!("request", id, %method, path = request.uri().path());
        let admitted = span.in_scope(|| rules.admit(&mut request, &id));
        let routed = admitted.map(|audited| (audited, self.route.call(request)));
        let answer = async move {
            let (audited, mut response) = match routed {
                Ok((audited, routed)) => (audited, routed.await?),
                Err(problem) => (None, problem.into_response()),
            };
            if let Some(audited) = audited {
                let made = response.headers().get(header::LOCATION);
                let made = made.and_then(|made| made.to_str().ok());
                audited.answered(response.status().as_u16(), made);
            }
            sign(&mut response, id);
            if let Some(observer) = &rules.observer {
                observer(&method, rules.path, response.status(), stopwatch.elapsed());
            }
            Ok(response)
        };
        Box::pin(answer.instrument(span))
    }
}

impl Rules {
    /// Attaches the caller to the request, if it may call this route.
    fn admit(&self, request: &mut Request, id: &str) -> Result<Option<Audited>, Problem> {
        let roles = match self.access {
            Access::Public => return Ok(None),
            Access::Roles(roles) => roles,
        };
        let mut caller = identify(&self.guard, request).map_err(|unknown| {
            if unknown.is_stranger() {
                let peer = request.extensions().get::<Peer>();
                self.strangers.note(peer.map(|peer| peer.address.ip()), self.path);
            }
            Problem::from(unknown)
        })?;
        check_certificate(&caller.capability, request)?;
        if roles.contains(&caller.capability.role) {
            if matches!(caller.capability.role, Role::User | Role::Master) {
                caller.request_id = Some(id.into());
            }
            let audited = Audited::of(&mut caller, request);
            request.extensions_mut().insert(caller);
            return Ok(audited);
        }
        let Capability { subject, role, .. } = &*caller.capability;
        let detail = format!(
            "{subject} has a token for the role {role:?}, which may not call {} {}",
            request.method(),
            request.uri().path()
        );
        Err(Problem::new(403, "forbidden", detail))
    }
}

/// On a connection with TLS, a daemon's token also takes a certificate of the cluster's authority:
/// so a token or secret that has leaked from one host is worthless on another machine. People and
/// tasks have no certificates.
fn check_certificate(capability: &Capability, request: &Request) -> Result<(), Problem> {
    let Capability { subject, role, .. } = capability;
    let is_daemon = match role {
        Role::Tracker | Role::Server | Role::Master => true,
        Role::User | Role::Task => false,
    };
    let shown = request.extensions().get::<Peer>().and_then(|peer| peer.tls);
    if !is_daemon || shown != Some(TlsPeer::Unknown) {
        return Ok(());
    }
    let detail = format!(
        "{subject} has a token of a daemon (role {role:?}), which counts only with a client certificate of this cluster's \
         authority, and this connection showed none: name tls.cert and tls.key in that daemon's configuration"
    );
    Err(Problem::new(403, "certificate-required", detail))
}

/// The caller's own id if it is well-formed, otherwise a new one.
pub(crate) fn id_of(request: &Request) -> String {
    let given = request.headers().get(REQUEST_ID_HEADER).and_then(|id| id.to_str().ok());
    given.filter(|id| id.parse::<RequestId>().is_ok()).map_or_else(new_id, ToOwned::to_owned)
}

/// Gives the reply the request's id, and forbids browsers to guess another media type.
pub(crate) fn sign(response: &mut Response, id: String) {
    let as_it_says = HeaderValue::from_static("nosniff");
    response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, as_it_says);
    if let Ok(value) = HeaderValue::try_from(id) {
        response.headers_mut().insert(REQUEST_ID_HEADER, value);
    }
}

/// Ids distinguish requests and prove nothing, so only the first id of a process is random.
fn new_id() -> String {
    static LAST: std::sync::LazyLock<AtomicU64> =
        std::sync::LazyLock::new(|| AtomicU64::new(random_u64()));
    ids::hex_digits(LAST.fetch_add(1, Ordering::Relaxed)).as_str().to_owned()
}
