//! The guard as clients meet it: with real sockets and every kind of token.

use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::http::{Method, StatusCode};
use axum::routing::{get, post};
use ids::UnixMillis;
use net::{
    Access, CallError, Caller, Capability, Client, ClientSettings, Grant, Guard, Json, Keyring,
    Problem, Query, Right, Role, Routes, Secret,
};

const FAR: UnixMillis = UnixMillis(u64::MAX);

fn capability(role: Role, expires: UnixMillis) -> Capability {
    Capability { subject: "someone".into(), role, grants: vec![Grant::read("/allowed")], expires }
}

async fn read(caller: Caller) -> Result<Json<u32>, Problem> {
    caller.require(Right::Read, "/allowed/x")?;
    Ok(Json(7))
}

async fn write(caller: Caller, Json(n): Json<u32>) -> Result<Json<u32>, Problem> {
    caller.require(Right::Write, "/allowed/x")?;
    Ok(Json(n))
}

/// A body that daemons and people may send.
#[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
struct Order {
    wanted: Option<u32>,
    inner: Option<Box<Self>>,
}

async fn order(Json(order): Json<Order>) -> Json<Order> {
    Json(order)
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    n: u32,
}

async fn query(Query(asked): Query<Asked>) -> Json<u32> {
    Json(asked.n)
}

async fn echo(Json(n): Json<u32>) -> Json<u32> {
    Json(n)
}

struct Server {
    address: String,
    keyring: Keyring,
    client: Client,
}

#[test]
fn without_a_token_nobody_passes_but_on_a_socket_that_is_bound_on_loopback() {
    let at = |address, allowed| {
        let listener = net::Listener::from(TcpListener::bind(address).expect("a free port"));
        assert_eq!(listener.anonymous(), None, "not before it is allowed");
        listener.anonymous_on_loopback(allowed).expect("it is bound").anonymous()
    };
    for address in ["127.0.0.1:0", "127.0.0.2:0", "localhost:0"] {
        assert_eq!(at(address, true), Some(Capability::anonymous()), "{address}");
        assert_eq!(at(address, false), None, "{address}");
    }
    assert_eq!(at("0.0.0.0:0", true), None, "others reach it");
}

fn start(anonymous: Option<Capability>) -> Server {
    let keyring = Keyring::new(&Secret::random());
    let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback socket");
    let address = listener.local_addr().expect("a loopback socket").to_string();
    let users = Access::Roles(&[Role::User]);
    let routes = Routes::<()>::new()
        .route("/public", Access::Public, get(|| async { Json(1) }))
        .route("/read", users, get(read))
        .route("/write", users, post(write))
        .route("/echo", users, post(echo))
        .route("/query", users, get(query))
        .route("/order", Access::Roles(&[Role::User, Role::Server]), post(order))
        .route("/end", users, post(|| async { Json(3) }))
        .route("/server", Access::Roles(&[Role::Server]), get(|| async { Json(2) }));
    let router = routes.into_router((), Guard { keyring: keyring.clone(), anonymous });
    tokio::spawn(net::serve(listener, router, std::future::pending()));
    let second = Duration::from_secs(10);
    let client = Client::new(ClientSettings {
        connect_timeout: second,
        request_timeout: second,
        silence_timeout: second,
        tls: None,
    });
    Server { address, keyring, client }
}

impl Server {
    fn client(&self, role: Role) -> Client {
        self.client.with_token(self.keyring.mint(&capability(role, FAR)))
    }

    async fn status(&self, client: &Client, path: &str) -> u16 {
        match client.get::<u32>(&self.address, path).await {
            Ok(_) => 200,
            Err(error) => error.problem().map_or(0, |problem| problem.status),
        }
    }
}

#[tokio::test]
async fn every_route_refuses_whoever_it_is_not_meant_for() {
    let server = start(None);
    let expired = server.keyring.mint(&capability(Role::User, UnixMillis(1)));
    let foreign = Keyring::new(&Secret::random()).mint(&capability(Role::User, FAR));
    let cases = [
        (server.client.clone(), [200, 401, 401]),
        (server.client.with_token("garbage"), [200, 401, 401]),
        (server.client.with_token(expired), [200, 401, 401]),
        (server.client.with_token(foreign), [200, 401, 401]),
        (server.client(Role::User), [200, 200, 403]),
        (server.client(Role::Server), [200, 403, 200]),
    ];
    for (at, (client, expected)) in cases.iter().enumerate() {
        for (path, expected) in ["/public", "/read", "/server"].iter().zip(expected) {
            assert_eq!(server.status(client, path).await, *expected, "case {at} {path}");
        }
    }
    let unknown = server.client(Role::User).get::<u32>(&server.address, "/forgotten").await;
    let named = unknown.unwrap_err().expecting("a JobTracker", "jobtracker.address").to_string();
    for part in [&server.address, "is not a JobTracker", "GET /forgotten", "jobtracker.address"] {
        assert!(named.contains(part), "{named}");
    }
}

#[tokio::test]
async fn a_right_that_the_token_lacks_is_refused_by_name() {
    let server = start(None);
    let answer = server.client(Role::User).post::<_, u32>(&server.address, "/write", &3).await;
    let error = answer.unwrap_err();
    assert_eq!(error.problem_kind(), Some("forbidden"));
    assert!(error.to_string().contains("may not write /allowed/x"), "{error}");
}

#[tokio::test]
async fn a_bad_body_is_told_where_it_is_bad() {
    let server = start(None);
    let client = server.client(Role::User);
    let error = client.post::<_, u32>(&server.address, "/echo", &"text").await.unwrap_err();
    assert!(error.to_string().contains("line 1"), "{error}");
    let bare = client.request(net::reqwest::Method::POST, &server.address, "/echo").body("3");
    let error = client.send(&server.address, bare).await.unwrap_err();
    assert_eq!(error.problem().unwrap().status, 415);
}

#[tokio::test]
async fn a_query_that_the_route_does_not_take_is_a_problem_that_says_why() {
    let server = start(None);
    let client = server.client(Role::User);
    assert_eq!(client.get::<u32>(&server.address, "/query?n=7").await.ok(), Some(7));
    for (path, named) in
        [("/query", "`n`"), ("/query?n=x", "invalid digit"), ("/query?n=1&m=2", "`m`")]
    {
        let error = client.get::<u32>(&server.address, path).await.unwrap_err();
        assert_eq!(error.problem_kind(), Some("invalid-request"), "{path}");
        assert!(error.to_string().contains(named), "{path}: {error}");
    }
}

#[tokio::test]
async fn requests_without_a_token_pass_only_from_loopback_names_and_with_json() {
    let server = start(Some(capability(Role::User, FAR)));
    assert_eq!(server.status(&server.client, "/read").await, 200);
    assert_eq!(server.status(&server.client, "/server").await, 403);
    let address = server.address.as_str();
    let port = address.rsplit_once(':').unwrap().1;
    for (host, expected) in [
        (format!("localhost:{port}"), 200),
        (format!("[::1]:{port}"), 200),
        (format!("evil.example:{port}"), 401),
        (format!("127.0.0.1.evil.example:{port}"), 401),
    ] {
        let request = server.client.request(net::reqwest::Method::GET, address, "/read");
        let answer = server.client.send(address, request.header("host", &host)).await;
        let status = answer.map_or_else(|e| e.problem().unwrap().status, |_| 200);
        assert_eq!(status, expected, "{host}");
    }
    let form = server
        .client
        .request(net::reqwest::Method::POST, address, "/echo")
        .header("content-type", "text/plain")
        .body("3");
    // A token would not help here; the answer says what would.
    assert_eq!(server.client.send(address, form).await.unwrap_err().problem().unwrap().status, 415);
    assert_eq!(server.client.post::<_, u32>(address, "/echo", &3).await.unwrap(), 3);
}

#[tokio::test]
async fn what_needs_no_body_is_taken_without_one_but_not_from_a_page() {
    let server = start(Some(capability(Role::User, FAR)));
    let address = server.address.as_str();
    let own = format!("http://{address}");
    let of_a_page = Some(("origin", "http://evil.example"));
    let cases = [
        ("/end", "", None, 200),
        ("/end", "", of_a_page, 403),
        ("/end", "", Some(("sec-fetch-site", "cross-site")), 403),
        ("/end", "", Some(("origin", own.as_str())), 200),
        ("/end", "x", None, 415),
        ("/echo", "", None, 415),
    ];
    for (path, body, header, expected) in cases {
        let mut request = server.client.request(net::reqwest::Method::POST, address, path);
        if let Some((name, value)) = header {
            request = request.header(name, value);
        }
        let answer = server.client.send(address, request.body(body)).await;
        let status = answer.map_or_else(|e| e.problem().unwrap().status, |_| 200);
        assert_eq!(status, expected, "{path} {body:?} {header:?}");
    }
}

#[tokio::test]
async fn nobody_listening_is_told_from_a_no() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    drop(listener);
    let server = start(None);
    let error = server.client.get::<u32>(&address, "/x").await.unwrap_err();
    assert!(matches!(error, CallError::Connect { .. }), "{error:?}");
    assert!(error.is_transient() && error.to_string().contains(&address));
}

#[tokio::test]
async fn an_observer_is_told_of_every_request_by_its_route() {
    let told = Arc::new(Mutex::new(Vec::new()));
    let tells = Arc::clone(&told);
    let observer = move |method: &Method, route, status: StatusCode, _| {
        tells.lock().unwrap().push((method.as_str().to_owned(), route, status.as_u16()));
    };
    let routes = Routes::<()>::new()
        .route("/public/{name}", Access::Public, get(async || Json(1)))
        .route("/server", Access::Roles(&[Role::Server]), get(async || Json(2)));
    let guard = Guard { keyring: Keyring::new(&Secret::random()), anonymous: None };
    let router = routes.into_observed_router((), guard, Arc::new(observer));
    let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback socket");
    let address = listener.local_addr().expect("a loopback socket").to_string();
    tokio::spawn(net::serve(listener, router, std::future::pending()));
    let second = Duration::from_secs(10);
    let client = Client::new(ClientSettings {
        connect_timeout: second,
        request_timeout: second,
        silence_timeout: second,
        tls: None,
    });
    for path in ["/public/a", "/public/b", "/server", "/a-path-of-somebody"] {
        let _answer = client.get::<u32>(&address, path).await;
    }
    let _wrong_method = client.post::<_, u32>(&address, "/server", &1).await;
    let route = "/public/{name}";
    let expected = [
        ("GET", route, 200),
        ("GET", route, 200),
        ("GET", "/server", 401),
        ("GET", "none", 404),
        ("POST", "none", 405),
    ];
    let expected = expected.map(|(method, route, status)| (method.to_owned(), route, status));
    assert_eq!(*told.lock().unwrap(), expected);
}

#[tokio::test]
async fn a_key_that_is_not_known_is_refused_by_its_name_unless_a_daemon_sends_it() {
    let server = start(None);
    let bodies = [
        (r#"{"wanted":1,"wnated":2}"#, "wnated"),
        (r#"{"wanted":1,"inner":{"wanted":2,"inner":{"more":[]}}}"#, "inner.inner.more"),
    ];
    for (body, key) in bodies {
        for (role, status) in [(Role::User, 400), (Role::Server, 200)] {
            let request = server
                .client(role)
                .request(Method::POST, &server.address, "/order")
                .header("content-type", "application/json")
                .body(body);
            let answer = request.send().await.unwrap();
            assert_eq!(answer.status(), status, "{body}");
            let text = answer.text().await.unwrap();
            assert_eq!(text.contains(key), role == Role::User, "{text}");
        }
    }
}
