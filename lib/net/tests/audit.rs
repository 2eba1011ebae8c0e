//! What the audit log is told, by requests over real sockets, including those whose caller does not
//! wait for the answer.

use std::io::Write as _;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Mutex, Once, PoisonError};
use std::time::Duration;

use axum::routing::post;
use ids::UnixMillis;
use net::{Access, Caller, Capability, Guard, Json, Keyring, Problem, Right, Role, Routes, Secret};

const PATIENCE: Duration = Duration::from_secs(60);

/// Each entry's request, changes and status.
type Told = (String, Vec<String>, Option<u16>);

static TOLD: Mutex<Vec<Told>> = Mutex::new(Vec::new());

fn told_of(request: &str) -> Vec<Told> {
    let told = TOLD.lock().unwrap_or_else(PoisonError::into_inner);
    told.iter().filter(|(path, ..)| path == request).cloned().collect()
}

async fn await_told(request: &str) -> Vec<Told> {
    let wait = async {
        while told_of(request).is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.expect("the sink is told");
    told_of(request)
}

/// A server whose `/slow` never answers, and a channel that tells when it is called.
fn start() -> (SocketAddr, Receiver<()>) {
    static INSTALL: Once = Once::new();
    INSTALL.call_once(|| {
        let installed = net::audit::install(Box::new(|entry| {
            let told = (entry.request.to_owned(), entry.changes.clone(), entry.status);
            TOLD.lock().unwrap_or_else(PoisonError::into_inner).push(told);
        }));
        assert!(installed.is_ok(), "the only one of this process");
    });
    let (called, calls) = channel();
    let slow = async move |caller: Caller| -> Result<Json<u32>, Problem> {
        caller.require(Right::Write, "/slow")?;
        let _listener_is_gone = called.send(());
        std::future::pending().await
    };
    let quick = async |caller: Caller| -> Result<Json<u32>, Problem> {
        caller.require(Right::Write, "/quick")?;
        Ok(Json(1))
    };
    let asked = async |caller: Caller| -> Result<Json<u32>, Problem> {
        caller.only_asking().require(Right::Write, "/asked")?;
        Ok(Json(1))
    };
    let users = Access::Roles(&[Role::User]);
    let routes = Routes::<()>::new()
        .route("/slow", users, post(slow))
        .route("/quick", users, post(quick))
        .route("/asked", users, post(asked));
    let anonymous = Capability::unlimited("ann", Role::User, UnixMillis(u64::MAX));
    let guard = Guard { keyring: Keyring::new(&Secret::random()), anonymous: Some(anonymous) };
    let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback socket");
    let address = listener.local_addr().expect("a loopback socket");
    tokio::spawn(net::serve(listener, routes.into_router((), guard), std::future::pending()));
    (address, calls)
}

fn ask(address: SocketAddr, path: &str) -> TcpStream {
    let mut socket = TcpStream::connect(address).expect("the server listens");
    let request = format!("POST {path} HTTP/1.1\r\nhost: {address}\r\ncontent-length: 0\r\n\r\n");
    socket.write_all(request.as_bytes()).expect("the server reads");
    socket
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_hangs_up_early_is_told_of_with_no_status() {
    let (address, calls) = start();
    let socket = ask(address, "/slow?early");
    let called = tokio::task::spawn_blocking(move || calls.recv_timeout(PATIENCE));
    called.await.expect("it waits").expect("the handler is called");
    assert_eq!(told_of("/slow?early"), [], "it is not over");
    drop(socket);
    let told = await_told("/slow?early").await;
    assert_eq!(told, [("/slow?early".to_owned(), vec!["/slow".to_owned()], None)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_is_told_of_once_and_a_question_never() {
    let (address, _calls) = start();
    let _asks = ask(address, "/asked?one");
    let _changes = ask(address, "/quick?one");
    let told = await_told("/quick?one").await;
    assert_eq!(told, [("/quick?one".to_owned(), vec!["/quick".to_owned()], Some(200))]);
    let _changes = ask(address, "/quick?two");
    await_told("/quick?two").await;
    assert_eq!(told_of("/quick?one").len(), 1);
    assert_eq!(told_of("/asked?one"), []);
}
