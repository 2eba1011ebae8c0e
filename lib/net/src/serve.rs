//! A daemon's connections: how many there may be, how long one may be silent, and how they end. The
//! requests on them are handled in `server`.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderValue, Request, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::future::RouteFuture;
use clock::Stopwatch;
use hyper::body::Incoming;
use hyper::service::{HttpService, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_io_timeout::TimeoutStream;
use tokio_rustls::TlsAcceptor;
use tower_service::Service;

use crate::{Capability, Problem, Tls};

/// Bounds of a daemon's connections.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionLimits {
    /// At once; further ones wait in the listener's queue. Never so many that the process would
    /// have no descriptors left for its files.
    pub connections_max: usize,
    /// For a request's head, and for the next request on a kept connection. Longer than clients
    /// keep an idle connection, so that they close it, and no request meets a server that is
    /// closing.
    pub head: Duration,
    /// For a peer that takes none of an answer: then its connection is closed. Longer than the
    /// limits of routes that give up because of such a peer, so that they can still tell it why.
    pub stall: Duration,
    /// For requests in flight, once the server is to stop.
    pub grace: Duration,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        let head = crate::client::IDLE_CONNECTION_LIMIT + Duration::from_secs(15);
        let (stall, grace) = (Duration::from_secs(90), Duration::from_secs(5));
        Self { connections_max: 8192, head, stall, grace }
    }
}

impl ConnectionLimits {
    /// For a daemon to which every host of a large cluster keeps connections.
    #[must_use]
    pub fn of_all_hosts() -> Self {
        Self { connections_max: 65_536, ..Self::default() }
    }
}

/// How many of a process's descriptors connections never take: anybody can open connections, and a
/// journal that can't open its folder to sync it has failed.
fn kept_for_files(descriptors: usize) -> usize {
    (descriptors / 8).clamp(64, 512).min(descriptors / 2)
}

/// Connections that a process with this many descriptors (`None`: unlimited) may have.
fn bound(connections_max: usize, descriptors: Option<u64>) -> usize {
    let descriptors = descriptors.and_then(|n| usize::try_from(n).ok());
    descriptors.map_or(connections_max, |n| connections_max.min(n - kept_for_files(n)))
}

/// A daemon's listening socket, with or without TLS.
#[derive(Debug)]
pub struct Listener {
    tcp: std::net::TcpListener,
    tls: Option<Tls>,
    anonymous: Option<Capability>,
}

impl From<std::net::TcpListener> for Listener {
    /// A listener in plain text.
    fn from(tcp: std::net::TcpListener) -> Self {
        Self::new(tcp, None)
    }
}

impl Listener {
    /// A listener that speaks TLS with the certificate of `tls`, if given; then requests in plain
    /// text get 400, `tls-required`.
    #[must_use]
    pub fn new(tcp: std::net::TcpListener, tls: Option<Tls>) -> Self {
        Self { tcp, tls, anonymous: None }
    }

    /// Admits requests without a token, if `allowed` and if the socket, as bound, can only be
    /// reached from this host, whatever its address is called.
    ///
    /// # Errors
    /// The system's error.
    pub fn anonymous_on_loopback(self, allowed: bool) -> std::io::Result<Self> {
        let passes = allowed && self.local_addr()?.ip().is_loopback();
        Ok(Self { anonymous: passes.then(Capability::anonymous), ..self })
    }

    /// What requests without a token may do here, for a [`crate::Guard`]; `None`: nothing.
    #[must_use]
    pub fn anonymous(&self) -> Option<Capability> {
        self.anonymous.clone()
    }

    /// Its address.
    ///
    /// # Errors
    /// The system's error.
    pub fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.tcp.local_addr()
    }

    /// Whether it speaks TLS.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        self.tls.is_some()
    }
}

/// Serves until `shutdown` resolves, then gives the requests in flight some time to finish.
///
/// # Errors
/// When the listener can't be used.
pub async fn serve(
    listener: impl Into<Listener>,
    router: Router,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    serve_within(ConnectionLimits::default(), listener, router, shutdown).await
}

/// Like [`serve`], within these limits.
///
/// # Errors
/// Like [`serve`].
pub async fn serve_within(
    limits: ConnectionLimits,
    listener: impl Into<Listener>,
    router: Router,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    let Listener { tcp, tls, anonymous: _ } = listener.into();
    tcp.set_nonblocking(true)?;
    let mut listener = tokio::net::TcpListener::from_std(tcp)?;
    // The routes are built once, not for each connection.
    let router: Router = router.with_state(());
    let descriptors = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    let places = Arc::new(Semaphore::new(bound(limits.connections_max, descriptors)));
    let (stop, stopping) = watch::channel(());
    let mut connections = JoinSet::new();
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        let next = async {
            let place = Arc::clone(&places).acquire_owned().await.expect("it is never closed");
            // Pauses while the process has no descriptors left.
            let (stream, peer) = axum::serve::Listener::accept(&mut listener).await;
            (stream, peer, place)
        };
        tokio::select! {
            () = &mut shutdown => break,
            Some(_ended) = connections.join_next() => {}
            (stream, peer, place) = next => {
                let to_come = Connection { stream, peer, limits, stopping: stopping.clone() };
                let (router, tls) = (router.clone(), tls.clone());
                connections.spawn(async move {
                    match tls {
                        None => to_come.converse(router).await,
                        Some(tls) => to_come.converse_by_tls(&tls, router).await,
                    }
                    drop(place);
                });
            }
        }
    }
    drop((listener, stop));
    let all = async { while connections.join_next().await.is_some() {} };
    // What is left when the time is up ends with the set.
    let _cut_off = tokio::time::timeout(limits.grace, all).await;
    Ok(())
}

/// The other end of a request's connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer {
    /// Its address.
    pub(crate) address: SocketAddr,
    /// What TLS says of it, on a connection with TLS.
    pub(crate) tls: Option<TlsPeer>,
}

/// What a TLS handshake says of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TlsPeer {
    /// It showed a certificate of the cluster's authority.
    Known,
    /// It showed no certificate.
    Unknown,
}

/// The routes, for the requests of one connection.
#[derive(Clone)]
struct OfPeer {
    router: Router,
    peer: Peer,
}

impl Service<Request<Incoming>> for OfPeer {
    type Response = Response;
    type Error = Infallible;
    type Future = RouteFuture<Infallible>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Service::<Request<Incoming>>::poll_ready(&mut self.router, context)
    }

    fn call(&mut self, mut request: Request<Incoming>) -> Self::Future {
        request.extensions_mut().insert(self.peer);
        self.router.call(request)
    }
}

/// Time for a client to send its first byte and to complete the TLS handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// The first byte of a TLS handshake record (RFC 8446, 5.1); no HTTP request begins with it.
const TLS_HANDSHAKE: u8 = 22;

/// An accepted connection on which nothing was said yet.
struct Connection {
    stream: TcpStream,
    peer: SocketAddr,
    limits: ConnectionLimits,
    stopping: watch::Receiver<()>,
}

impl Connection {
    async fn converse(self, router: Router) {
        self.set_nodelay();
        let Self { stream, peer, limits, stopping } = self;
        let service = OfPeer { router, peer: Peer { address: peer, tls: None } };
        exchange(stream, limits, TowerToHyperService::new(service), stopping).await;
    }

    async fn converse_by_tls(mut self, tls: &Tls, router: Router) {
        self.set_nodelay();
        let greeting = timeout(HANDSHAKE_TIMEOUT, greet(&self.stream, tls));
        let greeted = tokio::select! {
            greeted = greeting => greeted.unwrap_or(Ok(Greeting::Silence)),
            _ = self.stopping.changed() => return,
        };
        let acceptor = match greeted {
            Ok(Greeting::Tls(acceptor)) => acceptor,
            Ok(Greeting::Plain) => {
                let Self { stream, limits, stopping, .. } = self;
                return exchange(stream, limits, service_fn(refuse_plain), stopping).await;
            }
            Ok(Greeting::Silence) => return,
            Err(error) => return tracing::debug!(%error, "a connection broke off"),
        };
        let Self { stream, peer, limits, mut stopping } = self;
        let handshake = timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream));
        let stream = tokio::select! {
            done = handshake => match done {
                Ok(Ok(stream)) => stream,
                Ok(Err(error)) => return tell_refused(peer, &error),
                Err(_) => return tracing::debug!(%peer, "a TLS handshake was not ended in time"),
            },
            _ = stopping.changed() => return,
        };
        let is_known = stream.get_ref().1.peer_certificates().is_some();
        let known = if is_known { TlsPeer::Known } else { TlsPeer::Unknown };
        let service = OfPeer { router, peer: Peer { address: peer, tls: Some(known) } };
        exchange(stream, limits, TowerToHyperService::new(service), stopping).await;
    }

    /// Small replies must not wait for Nagle's algorithm.
    fn set_nodelay(&self) {
        if let Err(error) = self.stream.set_nodelay(true) {
            tracing::debug!(%error, "a connection without TCP_NODELAY");
        }
    }
}

/// A client's first byte.
enum Greeting {
    Tls(TlsAcceptor),
    Plain,
    Silence,
}

async fn greet(stream: &TcpStream, tls: &Tls) -> std::io::Result<Greeting> {
    let mut first = [0];
    if stream.peek(&mut first).await? == 0 {
        return Ok(Greeting::Silence);
    }
    if first != [TLS_HANDSHAKE] {
        return Ok(Greeting::Plain);
    }
    // The current configuration: files may have been replaced since the last connection.
    Ok(tls.server().map_or(Greeting::Silence, |config| Greeting::Tls(config.into())))
}

/// Answers a plain HTTP request in plain HTTP: otherwise the client would only report
/// unintelligible bytes.
async fn refuse_plain(_: Request<Incoming>) -> Result<Response, Infallible> {
    let detail = "this port speaks TLS, and this request came in plain text: ask with https:// and the cluster's \
                  authority (`curl --cacert ca.pem https://…`); a client or daemon of Howdah needs the same section tls \
                  in its configuration";
    let mut response = Problem::new(400, "tls-required", detail).into_response();
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    Ok(response)
}

/// Minimum time between two log lines about failed handshakes: anybody can make one fail.
const TOLD_EVERY: Duration = Duration::from_secs(10);

fn tell_refused(peer: SocketAddr, error: &std::io::Error) {
    static LAST: Mutex<Option<Stopwatch>> = Mutex::new(None);
    let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
    if last.is_some_and(|last| last.elapsed() < TOLD_EVERY) {
        return tracing::debug!(%peer, %error, "a TLS handshake failed");
    }
    *last = Some(Stopwatch::start());
    tracing::warn!(%peer, %error, "a TLS handshake failed: if that host is of this cluster, look at `howdah certs show` there");
}

async fn exchange<S>(
    stream: impl AsyncRead + AsyncWrite,
    limits: ConnectionLimits,
    service: S,
    mut stopping: watch::Receiver<()>,
) where
    S: HttpService<Incoming, ResBody = Body, Error = Infallible>,
{
    let mut stream = Box::pin(TimeoutStream::new(stream));
    // Applies to an answer that is under way; one that has not begun may take its time.
    stream.as_mut().set_write_timeout_pinned(Some(limits.stall));
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        _ = stopping.changed() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection broke off");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_descriptors_for_files_however_few_there_are() {
        let left = |n: u64| n as usize - bound(65_536, Some(n));
        assert_eq!([0, 1, 20, 120, 1024, 20_000].map(left), [0, 0, 10, 60, 128, 512]);
        assert_eq!(bound(8192, Some(1 << 20)), 8192);
        assert_eq!((bound(8192, None), bound(8192, Some(u64::MAX))), (8192, 8192));
    }
}
