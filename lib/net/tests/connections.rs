//! Connections on which no request comes, and more connections than there is room for.

use std::convert::Infallible;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use net::{ConnectionLimits, serve_within};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

/// Longer than any wait here may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
const REQUEST: &[u8] = b"GET /slow HTTP/1.1\r\nhost: x\r\n\r\n";

/// A running server.
struct Server {
    address: SocketAddr,
    /// Receives a message for each request whose handler has begun.
    begun: mpsc::UnboundedReceiver<()>,
    /// Receives a message for each endless answer that is given up.
    left: mpsc::UnboundedReceiver<()>,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<std::io::Result<()>>,
}

fn start(limits: ConnectionLimits) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback socket");
    let address = listener.local_addr().expect("a loopback socket");
    let (begins, begun) = mpsc::unbounded_channel();
    // Slower than a head may be, but only heads are timed.
    let slow = move || async move {
        let _ = begins.send(());
        tokio::time::sleep(limits.head * 2).await;
        "whole"
    };
    let (leaves, left) = mpsc::unbounded_channel();
    let endless = move || {
        let told = Told(leaves.clone());
        let piece = move |told| async move { Some((Ok::<_, Infallible>(vec![0; 1 << 16]), told)) };
        async move { Body::from_stream(futures_util::stream::unfold(told, piece)) }
    };
    let (stop, stopped) = oneshot::channel::<()>();
    let shutdown = async move {
        let _ = stopped.await;
    };
    let router = Router::new().route("/slow", get(slow)).route("/endless", get(endless));
    let serving = tokio::spawn(serve_within(limits, listener, router, shutdown));
    Server { address, begun, left, stop, serving }
}

/// Sends a message when it is dropped.
struct Told(mpsc::UnboundedSender<()>);

impl Drop for Told {
    fn drop(&mut self) {
        let _ = self.0.send(());
    }
}

async fn connect(address: SocketAddr) -> TcpStream {
    TcpStream::connect(address).await.expect("the server listens")
}

/// Everything that comes until the server closes the connection.
async fn until_closed(stream: &mut TcpStream) -> String {
    let mut said = Vec::new();
    let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut said)).await;
    // A connection that is reset is closed, too.
    let _ = read.expect("the server closes the connection");
    String::from_utf8_lossy(&said).into_owned()
}

#[tokio::test]
async fn a_connection_without_a_whole_head_is_closed_and_a_slow_answer_is_not() {
    let limits = ConnectionLimits { head: Duration::from_millis(300), ..Default::default() };
    let server = start(limits);
    let address = server.address;
    let (mut silent, mut half) = (connect(address).await, connect(address).await);
    half.write_all(&REQUEST[..10]).await.expect("the server reads");
    let mut whole = connect(address).await;
    whole.write_all(REQUEST).await.expect("the server reads");
    let answer = until_closed(&mut whole).await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("whole"), "{answer}");
    assert!(!until_closed(&mut silent).await.contains("200"));
    assert!(!until_closed(&mut half).await.contains("200"));
}

#[tokio::test]
async fn one_connection_too_many_waits_until_another_ends() {
    let head = Duration::from_millis(300);
    let server = start(ConnectionLimits { connections_max: 1, head, ..Default::default() });
    let address = server.address;
    let first = connect(address).await;
    let mut second = connect(address).await;
    second.write_all(REQUEST).await.expect("the kernel takes it");
    // The first connection is silent until its time is up; then it is the second one's turn.
    let answer = until_closed(&mut second).await;
    assert!(answer.contains("whole"), "{answer}");
    drop(first);
}

#[tokio::test]
async fn a_peer_that_takes_nothing_of_an_answer_is_left() {
    let limits = ConnectionLimits { stall: Duration::from_millis(300), ..Default::default() };
    let mut server = start(limits);
    let mut stream = connect(server.address).await;
    stream.write_all(b"GET /endless HTTP/1.1\r\nhost: x\r\n\r\n").await.expect("it reads");
    let left = tokio::time::timeout(PATIENCE, server.left.recv()).await;
    left.expect("the answer is given up").expect("the route tells");
    let answer = until_closed(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "it was under way");
}

#[tokio::test]
async fn a_server_that_stops_answers_what_is_in_flight_and_closes_the_rest() {
    let limits = ConnectionLimits { head: Duration::from_millis(400), ..Default::default() };
    let mut server = start(limits);
    let mut asking = connect(server.address).await;
    asking.write_all(REQUEST).await.expect("the server reads");
    let mut idle = connect(server.address).await;
    server.begun.recv().await.expect("the request arrives");
    server.stop.send(()).expect("the server waits for it");
    let answer = until_closed(&mut asking).await;
    assert!(answer.ends_with("whole"), "{answer}");
    until_closed(&mut idle).await;
    let ended = tokio::time::timeout(PATIENCE, server.serving).await.expect("the server ends");
    ended.expect("no panic").expect("no error");
    assert!(TcpStream::connect(server.address).await.is_err(), "nobody listens any more");
}
