//! A daemon's connections: how many there may be, how long one may be silent, and how they end. What is asked on
//! them is `server`'s.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::http::Request;
use axum::response::Response;
use axum::routing::future::RouteFuture;
use hyper::body::Incoming;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tower_service::Service;

/// Bounds of a daemon's connections.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionLimits {
    /// At once; further ones wait in the listener's queue.
    pub connections_max: usize,
    /// For a request's head, and for a kept connection's next request: longer than clients keep an idle
    /// connection, so that it is they who close it, and no request meets a server that is closing.
    pub head: Duration,
    /// For requests in flight, once the server is to stop.
    pub grace: Duration,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        let head = crate::client::IDLE_CONNECTION_LIMIT + Duration::from_secs(15);
        Self { connections_max: 8192, head, grace: Duration::from_secs(5) }
    }
}

impl ConnectionLimits {
    /// Of a daemon to which every host of a large cluster keeps connections. The descriptors that the process may have are
    /// a bound too: while there is none left, nobody new is let in.
    #[must_use]
    pub fn of_all_hosts() -> Self {
        Self { connections_max: 65_536, ..Self::default() }
    }
}

/// Serves until `shutdown` resolves, then lets requests in flight go on for a while.
///
/// # Errors
/// When the listener can't be used.
pub async fn serve(
    listener: std::net::TcpListener,
    router: Router,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    serve_within(ConnectionLimits::default(), listener, router, shutdown).await
}

/// As [`serve`], within these bounds.
///
/// # Errors
/// As [`serve`].
pub async fn serve_within(
    limits: ConnectionLimits,
    listener: std::net::TcpListener,
    router: Router,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    listener.set_nonblocking(true)?;
    let mut listener = tokio::net::TcpListener::from_std(listener)?;
    // The routes are made once, not for each connection.
    let router: Router = router.with_state(());
    let places = Arc::new(Semaphore::new(limits.connections_max));
    let (stop, stopping) = watch::channel(());
    let mut connections = JoinSet::new();
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        let next = async {
            let place = Arc::clone(&places).acquire_owned().await.expect("it is never closed");
            // Pauses while the process has no descriptor left.
            let (stream, peer) = axum::serve::Listener::accept(&mut listener).await;
            (stream, Peer(peer), place)
        };
        tokio::select! {
            () = &mut shutdown => break,
            Some(_ended) = connections.join_next() => {}
            (stream, peer, place) = next => {
                let (router, stopping) = (router.clone(), stopping.clone());
                let service = OfPeer { router, peer };
                connections.spawn(converse(stream, limits.head, service, stopping, place));
            }
        }
    }
    drop((listener, stop));
    let all = async { while connections.join_next().await.is_some() {} };
    // What is left when the time is over ends with the set.
    let _cut_off = tokio::time::timeout(limits.grace, all).await;
    Ok(())
}

/// Who is at the other end of a request's connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer(pub(crate) SocketAddr);

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

async fn converse(
    stream: TcpStream,
    head: Duration,
    service: OfPeer,
    mut stopping: watch::Receiver<()>,
    _place: OwnedSemaphorePermit,
) {
    // Small replies must not wait for Nagle's algorithm.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a connection without TCP_NODELAY");
    }
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(head)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
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
