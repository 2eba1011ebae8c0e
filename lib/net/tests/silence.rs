//! Hosts that vanish silently: what is sent to them is neither answered nor acknowledged, as with
//! an unplugged cable. Here, a filter on the peer's socket that admits no packets has this effect.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd as _;
use std::time::Duration;

use net::reqwest::{Body, Method};
use net::{CallError, Client, ClientSettings};
use tokio::sync::{mpsc, oneshot};

/// A timeout that is never the first one to strike here.
const LONG: Duration = Duration::from_secs(600);
const SILENCE: Duration = Duration::from_secs(2);
/// Allows for the system's timers and a busy machine.
const NOTICED: Duration = Duration::from_secs(20);
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}";

fn client() -> Client {
    Client::new(ClientSettings {
        connect_timeout: LONG,
        request_timeout: LONG,
        silence_timeout: SILENCE,
        tls: None,
    })
}

/// From here on nothing reaches the socket, and the other end is not told.
fn vanish(stream: &TcpStream) {
    let mut nothing = [libc::sock_filter { code: 0x06, jt: 0, jf: 0, k: 0 }];
    let filter = libc::sock_fprog { len: 1, filter: nothing.as_mut_ptr() };
    let length = u32::try_from(size_of_val(&filter)).expect("it is small");
    // SAFETY: the kernel copies the one instruction, "take 0 bytes", while this is called.
    let done = unsafe {
        let filter = std::ptr::from_ref(&filter).cast();
        libc::setsockopt(
            stream.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_FILTER,
            filter,
            length,
        )
    };
    assert_eq!(done, 0, "{}", std::io::Error::last_os_error());
}

fn read_head(stream: &mut TcpStream) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("a request comes");
        head.push(byte[0]);
    }
}

/// A server that `serve`s its first connection, and keeps it open until the returned sender is
/// dropped.
fn start(serve: impl FnOnce(&mut TcpStream) + Send + 'static) -> (String, oneshot::Sender<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback socket");
    let address = listener.local_addr().expect("a loopback socket").to_string();
    let (keep, end) = oneshot::channel::<()>();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a client comes");
        serve(&mut stream);
        let _dropped = end.blocking_recv();
    });
    (address, keep)
}

async fn noticed(call: impl Future<Output = Result<(), CallError>>) -> CallError {
    let ended = tokio::time::timeout(NOTICED, call).await;
    ended.expect("the silence is noticed").expect_err("nobody answers")
}

/// Any answer will do.
async fn ask(client: &Client, address: &str) -> Result<(), CallError> {
    let request = client.request(Method::GET, address, "/");
    client.send(address, request).await.map(drop)
}

#[tokio::test]
async fn a_host_that_vanishes_while_it_is_waited_for_is_noticed() {
    let (address, _keep) = start(|stream| {
        read_head(stream);
        vanish(stream);
    });
    let error = noticed(ask(&client(), &address)).await;
    assert!(error.is_transient() && !error.is_connect(), "{error}");
}

/// Like a process that was stopped while its host goes on.
#[tokio::test]
async fn a_process_that_answers_nothing_is_gone_though_its_host_is_there() {
    let (address, _keep) = start(read_head);
    let gone = tokio::time::timeout(NOTICED, client().gone(&address)).await;
    let error = gone.expect("the silence is noticed");
    assert!(matches!(error, CallError::TimedOut { .. }), "{error}");
}

#[tokio::test]
async fn a_request_to_a_host_that_has_vanished_is_given_up() {
    let (vanished, mut gone) = mpsc::channel(1);
    let (address, _keep) = start(move |stream| {
        read_head(stream);
        stream.write_all(ANSWER).expect("the client listens");
        vanish(stream);
        vanished.blocking_send(()).expect("the test waits for it");
    });
    let client = client();
    ask(&client, &address).await.expect("an answer");
    gone.recv().await.expect("it vanishes");
    // On the kept connection: nobody would accept another.
    let error = noticed(ask(&client, &address)).await;
    assert!(error.is_transient(), "{error}");
}

#[tokio::test]
async fn an_upload_to_a_host_that_vanished_is_noticed_once_all_was_taken() {
    let (address, _keep) = start(|stream| {
        read_head(stream);
        let mut body = [0; 4];
        stream.read_exact(&mut body).expect("the body comes");
        vanish(stream);
    });
    let client = client();
    let upload = client.upload(Method::PUT, &address, "/").body("body");
    noticed(async { client.send(&address, upload).await.map(drop) }).await;
}

#[tokio::test]
async fn who_has_vanished_or_ended_is_gone() {
    let (address, _keep) = start(|stream| {
        read_head(stream);
        stream.write_all(ANSWER).expect("the client listens");
        vanish(stream);
    });
    let gone = async { Err(client().gone(&address).await) };
    let error = noticed(gone).await;
    assert!(matches!(error, CallError::TimedOut { .. }), "{error}");
    let ended = TcpListener::bind("127.0.0.1:0").expect("a loopback socket");
    let address = ended.local_addr().expect("a loopback socket").to_string();
    drop(ended);
    let gone = async { Err(client().gone(&address).await) };
    assert!(noticed(gone).await.is_connect());
}

#[tokio::test]
async fn who_does_not_answer_at_once_is_there() {
    let (address, _keep) = start(read_head);
    let client = client();
    let gone = tokio::time::timeout(SILENCE / 2, client.gone(&address));
    assert!(gone.await.is_err(), "its time is not over");
}

#[tokio::test]
async fn a_daemon_that_is_slow_is_not_silent() {
    let (slow, waited) = std::sync::mpsc::channel::<()>();
    let (address, _keep) = start(move |stream| {
        read_head(stream);
        let _time_is_over = waited.recv_timeout(SILENCE * 2);
        stream.write_all(ANSWER).expect("the client listens");
    });
    ask(&client(), &address).await.expect("the late answer");
    drop(slow);
}

#[tokio::test]
async fn an_upload_that_nobody_takes_for_a_while_goes_on() {
    let (slow, waited) = std::sync::mpsc::channel::<()>();
    // More than the system buffers on both sides.
    let body = vec![7; 32 << 20];
    let length = body.len();
    let (address, _keep) = start(move |stream| {
        read_head(stream);
        let _time_is_over = waited.recv_timeout(SILENCE * 2);
        std::io::copy(&mut stream.take(length as u64), &mut std::io::sink()).expect("all of it");
        stream.write_all(ANSWER).expect("the client listens");
    });
    let client = client();
    let upload = client.upload(Method::PUT, &address, "/").body(Body::from(body));
    client.send(&address, upload).await.expect("an answer");
    drop(slow);
}
