//! The client side: one pool of kept connections, a token, typed failures.

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

/// Time limits of a client, and whom it trusts.
#[derive(Clone, Debug)]
pub struct ClientSettings {
    /// To connect.
    pub connect_timeout: Duration,
    /// For the whole answer to a small request ([`Client::post`], [`Client::get`]).
    pub request_timeout: Duration,
    /// For the other host to acknowledge that it is there, while it is told something or waited for: a daemon that is
    /// slow has all the time that the others give it, as long as its host says that it got the question.
    pub silence_timeout: Duration,
    /// How the daemons are spoken to: by TLS, or in plain text where it is absent.
    pub tls: Option<Tls>,
}

/// An HTTP client of this cluster's daemons. Clones share connections.
#[derive(Clone, Debug)]
pub struct Client {
    http: reqwest::Client,
    /// For [`Client::upload`]; made when first needed.
    uploads: Arc<OnceLock<reqwest::Client>>,
    settings: ClientSettings,
    connections: usize,
    token: Option<HeaderValue>,
    /// Of all requests; absent: each has its own.
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
        /// What the operating system said.
        cause: String,
        /// The same, for code, where it was the operating system who said so.
        kind: Option<ErrorKind>,
    },
    /// Somebody listens there, and is not trusted, or does not trust this host; nothing was asked.
    #[error("{address} is not trusted: {cause}")]
    Untrusted {
        /// `host:port`.
        address: String,
        /// Which certificate is wrong, how, and what to do.
        cause: String,
    },
    /// No answer in time; it may have been carried out.
    #[error("no answer from {address} in time")]
    TimedOut {
        /// `host:port`.
        address: String,
    },
    /// The connection or the body broke off; it may have been carried out.
    #[error("the connection to {address} broke off: {cause}")]
    Broken {
        /// `host:port`.
        address: String,
        /// How.
        cause: String,
    },
    /// The daemon said no.
    #[error("{problem}")]
    Problem {
        /// `host:port`.
        address: String,
        /// What it said.
        problem: Problem,
    },
    /// Somebody answers there, but not the daemon that was asked.
    #[error("{address} is not {expected} ({said}): correct {key}")]
    Stranger {
        /// `host:port`.
        address: String,
        /// Who was expected there.
        expected: &'static str,
        /// Which key holds the address.
        key: &'static str,
        /// What gives it away.
        said: String,
    },
    /// The answer is not what this version understands.
    #[error("{address} answered something else than expected: {cause}")]
    Decode {
        /// `host:port`.
        address: String,
        /// What is odd.
        cause: String,
    },
}

impl CallError {
    /// Whether nobody listened, or nobody who is trusted: nothing happened.
    #[must_use]
    pub fn is_connect(&self) -> bool {
        matches!(self, Self::Connect { .. } | Self::Untrusted { .. })
    }

    /// What the daemon said, if it did.
    #[must_use]
    pub fn problem(&self) -> Option<&Problem> {
        match self {
            Self::Problem { problem, .. } => Some(problem),
            _ => None,
        }
    }

    /// Whether nobody listens at an address of a host that is there, or is about to end: it resets those who have just knocked.
    #[must_use]
    pub fn nobody_listens(&self) -> bool {
        let is_of_this = |kind: &ErrorKind| {
            matches!(kind, ErrorKind::ConnectionRefused | ErrorKind::ConnectionReset)
        };
        matches!(self, Self::Connect { kind: Some(kind), .. } if is_of_this(kind))
    }

    /// The stable `type` of what the daemon said.
    #[must_use]
    pub fn problem_kind(&self) -> Option<&str> {
        self.problem().map(|problem| problem.kind.as_str())
    }

    /// Whether the same call may succeed in a moment: no connection, no answer, or 503. A certificate may be replaced
    /// while both run.
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

    /// The same, of a call to the daemon `expected`, whose address stands in the configuration's `key`.
    #[must_use]
    pub fn expecting(self, expected: &'static str, key: &'static str) -> Self {
        match self {
            Self::Stranger { address, said, .. } => Self::Stranger { address, expected, key, said },
            other => other,
        }
    }

    /// Sorts a failure of the HTTP library.
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

/// What the innermost cause says, and what the operating system's error is, if there is one among the causes.
fn innermost(error: &dyn std::error::Error) -> (String, Option<ErrorKind>) {
    let (mut innermost, mut kind) = (error, None);
    while let Some(source) = innermost.source() {
        innermost = source;
        kind = source.downcast_ref().map(std::io::Error::kind).or(kind);
    }
    (innermost.to_string(), kind)
}

/// A process that answers nothing for so many silences is gone: fewer would be those of one on a host that is overloaded.
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

    /// A client that connects anew for each request: who serves a kept connection is the runtime that made it, and
    /// that of a slow one must not slow down the next request.
    ///
    /// # Panics
    /// As [`Self::new`].
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

    /// The same client and connections with this token.
    #[must_use]
    pub fn with_token(&self, token: impl Into<String>) -> Self {
        let value = HeaderValue::from_str(&format!("Bearer {}", token.into())).ok();
        let token = value.map(|mut value| {
            value.set_sensitive(true);
            value
        });
        Self { token, ..self.clone() }
    }

    /// The same client and connections, all of whose requests have this id, as in the logs of those who are asked: what is
    /// asked in the course of a request that has it. An id that is none is left out.
    #[must_use]
    pub fn with_request_id(&self, id: &str) -> Self {
        Self { request_id: HeaderValue::from_str(id).ok(), ..self.clone() }
    }

    /// Time for the answer to a small request.
    #[must_use]
    pub fn request_timeout(&self) -> Duration {
        self.settings.request_timeout
    }

    /// A request with token and request id, and no time limit: for bulk bodies.
    pub fn request(&self, method: Method, address: &str, path: &str) -> RequestBuilder {
        self.request_of(&self.http, method, address, path)
    }

    /// The same for one whose body is long: a host that is there but takes no bytes for now is not taken for silent, and
    /// one that has vanished only while it is waited for. Whoever sends minds how long nothing is taken.
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

    /// Ends once there is nobody at `address`: no connection to it can be made, or its host has been silent for so long, or
    /// its process has, as one that stands still, whose host acknowledges all that is sent to it. Who is slow, or answers
    /// with an error, is there. To be dropped when that is no question any more.
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

    /// `POST` of JSON, answered by JSON, once.
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

    /// `GET`, answered by JSON, once.
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

    /// [`Client::post`], repeated while the failure is transient, until `retry_for` is over. Only for
    /// calls that may be carried out twice: reads, and mutations with a stamp.
    ///
    /// # Errors
    /// The last one; see [`CallError`].
    pub async fn post_retrying<Q: Serialize + Sync, A: DeserializeOwned>(
        &self,
        address: &str,
        path: &str,
        body: &Q,
        retry_for: Duration,
    ) -> Result<A, CallError> {
        retrying(retry_for, || self.post(address, path, body)).await
    }

    /// Sends a request (with whatever time limit it has) and reads the JSON answer.
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

/// Between probes of a connection on which nothing comes; the system counts in seconds.
const PROBE_INTERVAL: Duration = Duration::from_secs(1);

/// Connections that notice when the other host is gone: on one that is waited for, nothing else would ever tell.
fn pool(settings: &ClientSettings, connections: usize) -> reqwest::ClientBuilder {
    let silence = settings.silence_timeout;
    let first = Duration::from_secs(silence.as_secs() / 2).max(PROBE_INTERVAL);
    let probes = silence.saturating_sub(first).as_secs().max(1);
    // Given in either case: else the library would look for the system's authorities, which takes time and is not asked.
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

/// Whether a daemon of ours answers: it gives each request's id back.
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
        // What it says is meant for others, like browsers.
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
