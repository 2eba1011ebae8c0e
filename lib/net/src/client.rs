//! The client side: a pool of persistent connections, a token, typed failures.

use std::io::ErrorKind;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use reqwest::header::HeaderValue;
use reqwest::{Method, RequestBuilder, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::problem::MEDIA_TYPE;
use crate::server::{JSON_BYTES_MAX, NO_ROUTE, REQUEST_ID_HEADER, WRONG_METHOD};
use crate::{Problem, Tls, retrying, tls};

const PROBLEM_BYTES_MAX: usize = 64 << 10;

/// A client's time limits, and whom it trusts.
#[derive(Clone, Debug)]
pub struct ClientSettings {
    /// To establish a connection.
    pub connect_timeout: Duration,
    /// For the whole answer to a small request ([`Client::post`], [`Client::get`]).
    pub request_timeout: Duration,
    /// For the other host to acknowledge data while it is being sent something or waited for. A slow
    /// daemon has all the time that the other limits allow, as long as its host acknowledges the
    /// request.
    pub silence_timeout: Duration,
    /// TLS to the daemons; plain text if `None`.
    pub tls: Option<Tls>,
}

/// An HTTP client of this cluster's daemons. Clones share connections.
#[derive(Clone, Debug)]
pub struct Client {
    http: reqwest::Client,
    /// Connections for [`Client::upload`]; made when first needed.
    uploads: Arc<OnceLock<reqwest::Client>>,
    settings: ClientSettings,
    connections: usize,
    token: Option<HeaderValue>,
    /// The id of all requests; if `None`, each has its own.
    request_id: Option<HeaderValue>,
}

/// Why a call has no answer.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// Nobody listens there.
    #[error("no connection to {address}: is the daemon running? ({cause})")]
    Connect {
        /// `host:port`.
        address: String,
        /// The operating system's error.
        cause: String,
        /// The same, as a kind, if it came from the operating system.
        kind: Option<ErrorKind>,
    },
    /// A server listens there but is not trusted, or does not trust this host; nothing was asked.
    #[error("{address} is not trusted: {cause}")]
    Untrusted {
        /// `host:port`.
        address: String,
        /// Which certificate is wrong, how, and what to do.
        cause: String,
    },
    /// There was no answer in time; the request may have been carried out.
    #[error("no answer from {address} in time")]
    TimedOut {
        /// `host:port`.
        address: String,
    },
    /// The connection or the body broke off; the request may have been carried out.
    #[error("the connection to {address} broke off: {cause}")]
    Broken {
        /// `host:port`.
        address: String,
        /// How it broke off.
        cause: String,
    },
    /// The daemon answered with a problem.
    #[error("{problem}")]
    Problem {
        /// `host:port`.
        address: String,
        /// The problem.
        problem: Problem,
    },
    /// Another server answers there than the daemon that was asked.
    #[error("{address} is not {expected} ({said}): correct {key}")]
    Stranger {
        /// `host:port`.
        address: String,
        /// The expected daemon.
        expected: &'static str,
        /// The configuration key that holds the address.
        key: &'static str,
        /// How it was recognised.
        said: String,
    },
    /// This version does not understand the answer.
    #[error("{address} answered something else than expected: {cause}")]
    Decode {
        /// `host:port`.
        address: String,
        /// What is wrong with it.
        cause: String,
    },
}

impl CallError {
    /// Whether no trusted server was reached: then nothing happened.
    #[must_use]
    pub fn is_connect(&self) -> bool {
        matches!(self, Self::Connect { .. } | Self::Untrusted { .. })
    }

    /// The daemon's problem, if it answered with one.
    #[must_use]
    pub fn problem(&self) -> Option<&Problem> {
        match self {
            Self::Problem { problem, .. } => Some(problem),
            _ => None,
        }
    }

    /// Whether the host is there but nobody listens at the address, or its listener is about to
    /// end: that resets new connections.
    #[must_use]
    pub fn nobody_listens(&self) -> bool {
        let is_of_this = |kind: &ErrorKind| {
            matches!(kind, ErrorKind::ConnectionRefused | ErrorKind::ConnectionReset)
        };
        matches!(self, Self::Connect { kind: Some(kind), .. } if is_of_this(kind))
    }

    /// The stable `type` of the daemon's problem.
    #[must_use]
    pub fn problem_kind(&self) -> Option<&str> {
        self.problem().map(|problem| problem.kind.as_str())
    }

    /// Whether the same call may succeed in a moment: no connection, no answer, or 503. An
    /// untrusted certificate counts too, as it may be replaced while both run.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Connect { .. }
            | Self::Untrusted { .. }
            | Self::TimedOut { .. }
            | Self::Broken { .. } => true,
            Self::Problem { problem, .. } => problem.status == 503,
            Self::Stranger { .. } | Self::Decode { .. } => false,
        }
    }

    fn stranger(address: &str, said: String) -> Self {
        let (expected, key) = ("the daemon that was asked for", "its address in the configuration");
        Self::Stranger { address: address.to_owned(), expected, key, said }
    }

    /// The same error, for a call to the daemon `expected`, whose address is in the configuration's
    /// `key`.
    #[must_use]
    pub fn expecting(self, expected: &'static str, key: &'static str) -> Self {
        match self {
            Self::Stranger { address, said, .. } => Self::Stranger { address, expected, key, said },
            other => other,
        }
    }

    /// Classifies a failure of the HTTP library.
    #[must_use]
    pub fn from_http(address: &str, error: &reqwest::Error) -> Self {
        let address = address.to_owned();
        if let Some(cause) = tls::fault_of(error) {
            return Self::Untrusted { address, cause };
        }
        let (cause, kind) = innermost(error);
        if error.is_connect() {
            Self::Connect { address, cause, kind }
        } else if error.is_timeout() {
            Self::TimedOut { address }
        } else {
            Self::Broken { address, cause }
        }
    }
}

/// The text of the innermost cause, and the kind of the operating system's error if one is among
/// the causes.
fn innermost(error: &dyn std::error::Error) -> (String, Option<ErrorKind>) {
    let (mut innermost, mut kind) = (error, None);
    while let Some(source) = innermost.source() {
        innermost = source;
        kind = source.downcast_ref().map(std::io::Error::kind).or(kind);
    }
    (innermost.to_string(), kind)
}

/// How many silence timeouts a process may leave a question unanswered before it counts as gone; with
/// fewer, a process on an overloaded host would seem to be gone.
const GONE_SILENCES: u32 = 3;

/// How long an idle connection is kept.
pub(crate) const IDLE_CONNECTION_LIMIT: Duration = Duration::from_secs(60);

impl Client {
    /// A client without a token.
    ///
    /// # Panics
    /// When the operating system has no resources for it.
    #[must_use]
    pub fn new(settings: ClientSettings) -> Self {
        Self::with_kept(settings, usize::MAX)
    }

    /// A client that opens a connection for each request. A kept connection is served by the
    /// runtime that made it, and a slow runtime must not slow down the next request.
    ///
    /// # Panics
    /// Like [`Self::new`].
    #[must_use]
    pub fn without_kept_connections(settings: ClientSettings) -> Self {
        Self::with_kept(settings, 0)
    }

    fn with_kept(settings: ClientSettings, connections: usize) -> Self {
        let builder = pool(&settings, connections).tcp_user_timeout(settings.silence_timeout);
        Self {
            http: built(builder),
            uploads: Arc::default(),
            settings,
            connections,
            token: None,
            request_id: None,
        }
    }

    /// The same client and connections, with this token.
    #[must_use]
    pub fn with_token(&self, token: impl Into<String>) -> Self {
        let value = HeaderValue::from_str(&format!("Bearer {}", token.into())).ok();
        let token = value.map(|mut value| {
            value.set_sensitive(true);
            value
        });
        Self { token, ..self.clone() }
    }

    /// The same client and connections, with this id for all requests that are made in the course
    /// of a request with that id, so that it is in the logs of all daemons involved. An invalid id
    /// is ignored.
    #[must_use]
    pub fn with_request_id(&self, id: &str) -> Self {
        Self { request_id: HeaderValue::from_str(id).ok(), ..self.clone() }
    }

    /// Time limit for the answer to a small request.
    #[must_use]
    pub fn request_timeout(&self) -> Duration {
        self.settings.request_timeout
    }

    /// A request with token and request id but without time limit, for bulk bodies.
    pub fn request(&self, method: Method, address: &str, path: &str) -> RequestBuilder {
        self.request_of(&self.http, method, address, path)
    }

    /// Like [`Self::request`], for a long body. A host that is up but takes no bytes for now does
    /// not count as silent; one that has vanished is only noticed while the answer is awaited. The
    /// sender must limit how long nothing is taken.
    pub fn upload(&self, method: Method, address: &str, path: &str) -> RequestBuilder {
        let make = || built(pool(&self.settings, self.connections).tcp_user_timeout(None));
        self.request_of(self.uploads.get_or_init(make), method, address, path)
    }

    fn request_of(
        &self,
        http: &reqwest::Client,
        method: Method,
        address: &str,
        path: &str,
    ) -> RequestBuilder {
        let scheme = if self.settings.tls.is_some() { "https" } else { "http" };
        let request = http.request(method, format!("{scheme}://{address}{path}"));
        let request = match &self.request_id {
            Some(id) => request.header(REQUEST_ID_HEADER, id),
            None => request.header(REQUEST_ID_HEADER, crate::random_hex(8)),
        };
        match &self.token {
            Some(token) => request.header(reqwest::header::AUTHORIZATION, token),
            None => request,
        }
    }

    /// Sends a request; any status but 2xx is a [`CallError::Problem`].
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn send(
        &self,
        address: &str,
        request: RequestBuilder,
    ) -> Result<Response, CallError> {
        let response = request.send().await.map_err(|e| CallError::from_http(address, &e))?;
        if response.status().is_success() {
            return Ok(response);
        }
        Err(read_problem(address, response).await)
    }

    /// Completes once nobody is at `address`: no connection can be made, or the host has been
    /// silent for too long, or its process has, as one that is stopped while its host still
    /// acknowledges everything. A server that is slow or answers with an error is there. To be
    /// dropped when it is no longer of interest.
    pub async fn gone(&self, address: &str) -> CallError {
        loop {
            let question = self.request(Method::GET, address, "/healthz");
            let question = question.timeout(self.settings.silence_timeout * GONE_SILENCES);
            match self.send(address, question).await {
                Err(
                    error @ (CallError::Connect { .. }
                    | CallError::Untrusted { .. }
                    | CallError::TimedOut { .. }),
                ) => {
                    return error;
                }
                Ok(_) | Err(_) => tokio::time::sleep(PROBE_INTERVAL).await,
            }
        }
    }

    /// Sends a `POST` of JSON once, and reads the JSON answer.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn post<Q: Serialize + Sync, A: DeserializeOwned>(
        &self,
        address: &str,
        path: &str,
        body: &Q,
    ) -> Result<A, CallError> {
        let request = self.request(Method::POST, address, path).json(body);
        self.exchange(address, request.timeout(self.settings.request_timeout)).await
    }

    /// Sends a `GET` once, and reads the JSON answer.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn get<A: DeserializeOwned>(
        &self,
        address: &str,
        path: &str,
    ) -> Result<A, CallError> {
        let request = self.request(Method::GET, address, path);
        self.exchange(address, request.timeout(self.settings.request_timeout)).await
    }

    /// [`Client::post`], repeated until `retry_for` has passed, while the failure is transient.
    /// Only for calls that may be carried out twice: reads, and mutations with a stamp.
    ///
    /// # Errors
    /// The last failure; see [`CallError`].
    pub async fn post_retrying<Q: Serialize + Sync, A: DeserializeOwned>(
        &self,
        address: &str,
        path: &str,
        body: &Q,
        retry_for: Duration,
    ) -> Result<A, CallError> {
        retrying(retry_for, || self.post(address, path, body)).await
    }

    /// Sends a request, with whatever time limit it has, and reads the JSON answer.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn exchange<A: DeserializeOwned>(
        &self,
        address: &str,
        request: RequestBuilder,
    ) -> Result<A, CallError> {
        let response = self.send(address, request).await?;
        let is_ours = is_ours(&response);
        let body = read_body(address, response, JSON_BYTES_MAX).await?;
        serde_json::from_slice(&body).map_err(|error| match is_ours {
            true => CallError::Decode { address: address.to_owned(), cause: error.to_string() },
            false => CallError::stranger(address, "its answer is no JSON document".to_owned()),
        })
    }
}

/// Interval between probes of an idle connection; the system counts in seconds.
const PROBE_INTERVAL: Duration = Duration::from_secs(1);

/// A pool whose connections notice when the other host is gone: while an answer is awaited, nothing
/// else would reveal it.
fn pool(settings: &ClientSettings, connections: usize) -> reqwest::ClientBuilder {
    let silence = settings.silence_timeout;
    let first = Duration::from_secs(silence.as_secs() / 2).max(PROBE_INTERVAL);
    let probes = silence.saturating_sub(first).as_secs().max(1);
    // Always set: otherwise the library would load the system's authorities, which takes time and
    // is not wanted.
    let tls = settings.tls.as_ref().map_or_else(tls::none, Tls::client);
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .tcp_nodelay(true)
        .tcp_keepalive(first)
        .tcp_keepalive_interval(PROBE_INTERVAL)
        .tcp_keepalive_retries(u32::try_from(probes).unwrap_or(u32::MAX))
        .connect_timeout(settings.connect_timeout)
        .pool_idle_timeout(IDLE_CONNECTION_LIMIT)
        .pool_max_idle_per_host(connections)
}

fn built(builder: reqwest::ClientBuilder) -> reqwest::Client {
    builder.build().expect("an HTTP client with its own TLS needs nothing from outside")
}

/// Whether the answer is from one of our daemons: these return each request's id.
fn is_ours(response: &Response) -> bool {
    response.headers().contains_key(REQUEST_ID_HEADER)
}

async fn read_problem(address: &str, response: Response) -> CallError {
    let status = response.status();
    let is_problem = response
        .headers()
        .get(reqwest::header::CONTENT_TYPE)
        .is_some_and(|media| media.as_bytes().starts_with(MEDIA_TYPE.as_bytes()));
    if !is_problem && !is_ours(&response) {
        // Its text is meant for others, such as browsers.
        return CallError::stranger(address, format!("it answers {status}"));
    }
    let body = match read_body(address, response, PROBLEM_BYTES_MAX).await {
        Ok(body) => body,
        Err(error) => return error,
    };
    let parsed = serde_json::from_slice::<Problem>(&body).ok().filter(|_| is_problem);
    if let Some(problem) = &parsed
        && [NO_ROUTE, WRONG_METHOD].contains(&problem.kind.as_str())
    {
        return CallError::stranger(address, format!("it says: {}", problem.detail));
    }
    let problem = parsed.unwrap_or_else(|| {
        let shown: String = String::from_utf8_lossy(&body).chars().take(200).collect();
        Problem::new(status.as_u16(), "unknown", format!("{address} answered {status}: {shown}"))
    });
    CallError::Problem { address: address.to_owned(), problem }
}

async fn read_body(
    address: &str,
    mut response: Response,
    limit: usize,
) -> Result<Vec<u8>, CallError> {
    let mut body = Vec::new();
    while let Some(piece) = response.chunk().await.map_err(|e| CallError::from_http(address, &e))? {
        if body.len() + piece.len() > limit {
            let cause = format!("more than {limit} bytes");
            return Err(CallError::Decode { address: address.to_owned(), cause });
        }
        body.extend_from_slice(&piece);
    }
    Ok(body)
}
