//! HTTP to other stores: a pool of persistent connections for each store, with TLS by rustls and
//! ring and the system's certificates, which are read when an `https` store is opened. (`lib/net`,
//! the client for our own daemons, only trusts the cluster's own authority.)

use std::error::Error as StdError;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::client::legacy::connect::{Connect, HttpConnector as Tcp};
use hyper_util::client::legacy::{Client, Error as LegacyError};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpRequestBody,
    HttpResponse, HttpResponseBody, HttpService,
};
use object_store::{ClientOptions, Result};
use tokio::time::Sleep;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Until the head of the answer arrives; this includes sending the longest part of an upload.
const ANSWER_TIMEOUT: Duration = Duration::from_mins(5);
/// Maximum silence in the middle of an answer.
const SILENCE_TIMEOUT: Duration = Duration::from_secs(30);
/// How long unused connections are kept; servers close theirs after about a minute.
const IDLE_TIMEOUT: Duration = Duration::from_secs(20);

/// Makes the HTTP client of one store.
#[derive(Clone, Copy, Debug)]
pub(super) struct Connector {
    /// Whether the store's URLs are `https`.
    pub(super) tls: bool,
}

impl Connector {
    /// A client with its own pool.
    pub(super) fn client(self) -> Result<HttpClient> {
        let mut tcp = Tcp::new();
        tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
        tcp.set_nodelay(true);
        if !self.tls {
            return Ok(HttpClient::new(Service(pool(tcp))));
        }
        tcp.enforce_http(false);
        let provider = rustls::crypto::ring::default_provider();
        let https = HttpsConnectorBuilder::new()
            .with_provider_and_native_roots(provider)
            .map_err(|error| object_store::Error::Generic {
                store: "TLS",
                source: format!("the system's certificates can't be read: {error}").into(),
            })?
            .https_only()
            .enable_http1()
            .wrap_connector(tcp);
        Ok(HttpClient::new(Service(pool(https))))
    }
}

impl HttpConnector for Connector {
    fn connect(&self, _: &ClientOptions) -> Result<HttpClient> {
        self.client()
    }
}

fn pool<C: Connect + Clone>(connector: C) -> Client<C, HttpRequestBody> {
    Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE_TIMEOUT)
        .build(connector)
}

/// Sends one request and waits for the head of the answer.
#[derive(Debug)]
struct Service<C>(Client<C, HttpRequestBody>);

#[async_trait::async_trait]
impl<C> HttpService for Service<C>
where
    C: Connect + Clone + std::fmt::Debug + Send + Sync + 'static,
{
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        match tokio::time::timeout(ANSWER_TIMEOUT, self.0.request(request)).await {
            Ok(Ok(response)) => Ok(response.map(|body| HttpResponseBody::new(Patient::new(body)))),
            Ok(Err(error)) => Err(HttpError::new(kind_of_request(&error), error)),
            Err(late) => Err(HttpError::new(HttpErrorKind::Timeout, late)),
        }
    }
}

fn kind_of_request(error: &LegacyError) -> HttpErrorKind {
    match error.is_connect() {
        true => HttpErrorKind::Connect,
        false => kind_of(error),
    }
}

/// The kind of a failure, from the first cause that reveals it.
fn kind_of(error: &(dyn StdError + 'static)) -> HttpErrorKind {
    use std::io::ErrorKind;
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<hyper::Error>() {
            if error.is_closed() || error.is_incomplete_message() || error.is_body_write_aborted() {
                return HttpErrorKind::Request;
            }
            if error.is_timeout() {
                return HttpErrorKind::Timeout;
            }
        }
        match error.downcast_ref::<std::io::Error>().map(std::io::Error::kind) {
            Some(ErrorKind::TimedOut) => return HttpErrorKind::Timeout,
            Some(
                ErrorKind::ConnectionAborted
                | ErrorKind::ConnectionReset
                | ErrorKind::BrokenPipe
                | ErrorKind::UnexpectedEof,
            ) => return HttpErrorKind::Interrupted,
            _ => {}
        }
        cause = error.source();
    }
    HttpErrorKind::Unknown
}

/// A body that fails if it is silent for too long.
struct Patient {
    body: Incoming,
    silence: Pin<Box<Sleep>>,
}

impl Patient {
    fn new(body: Incoming) -> Self {
        Self { body, silence: Box::pin(tokio::time::sleep(SILENCE_TIMEOUT)) }
    }
}

impl Body for Patient {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
        match Pin::new(&mut self.body).poll_frame(context) {
            Poll::Ready(frame) => {
                // Counted from the next poll: a slow reader is not a silent server.
                self.silence.set(tokio::time::sleep(SILENCE_TIMEOUT));
                let failed = |error: hyper::Error| HttpError::new(kind_of(&error), error);
                Poll::Ready(frame.map(|frame| frame.map_err(failed)))
            }
            Poll::Pending => {
                ready!(self.silence.as_mut().poll(context));
                let silent = std::io::Error::from(std::io::ErrorKind::TimedOut);
                Poll::Ready(Some(Err(HttpError::new(HttpErrorKind::Timeout, silent))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
