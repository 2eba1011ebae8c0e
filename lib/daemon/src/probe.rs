//! What a daemon sees of the others: at an administrator's request it contacts their addresses, and
//! reports which answer, and how fast bytes come from there. `howdah doctor` asks every host.

use std::time::Duration;

use axum::http::{HeaderMap, header};
use axum::routing::get;
use clock::Stopwatch;
use net::reqwest::Method;
use net::{Access, CallError, Caller, Client, Json, Problem, Query, Role, Routes};
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;

use crate::VERSION;

/// Addresses of one request at most.
pub const PROBE_ADDRESSES_MAX: usize = 256;
/// Bytes fetched from one address at most.
pub const PROBE_BYTES_MAX: u64 = 8 << 20;
/// Addresses that are contacted at the same time if no bytes are fetched.
const AT_ONCE: usize = 16;
/// The path of both routes.
const PATH: &str = "/v1/probe";
/// Time limit for one address.
const PATIENCE: Duration = Duration::from_secs(10);
/// Only callers who may change everything: each answer costs other daemons work.
const CALLERS: Access = Access::Roles(&[Role::User, Role::Master]);

/// The addresses to contact.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct ProbeRequest {
    /// `host:port` of daemons, at most [`PROBE_ADDRESSES_MAX`].
    pub addresses: Vec<String>,
    /// Bytes to fetch from each, one after another, at most [`PROBE_BYTES_MAX`]; with 0, only
    /// whether it answers is tested.
    #[serde(default)]
    pub bytes: u64,
}

/// The results.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct ProbeReply {
    /// The release of the daemon that answers.
    pub version: String,
    /// Its clock, milliseconds since 1970.
    pub wall_ms: u64,
    /// In the order of the request.
    pub probes: Vec<Probe>,
}

/// The result for one address.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub struct Probe {
    /// The address in the request.
    pub address: String,
    /// Why there was no answer, if there was none.
    pub error: Option<String>,
    /// Time until the answer or its last byte, microseconds.
    pub micros: u64,
}

/// The number of bytes to send.
#[derive(Debug, Deserialize)]
struct Wanted {
    bytes: u64,
}

/// `GET /v1/probe?bytes=N` (returns that many bytes) and `POST /v1/probe` (see [`ProbeRequest`]).
/// Other daemons are asked through `client`, with the caller's token.
pub fn probe_routes<S: Clone + Send + Sync + 'static>(client: Client) -> Routes<S> {
    let knock = async move |caller: Caller, headers: HeaderMap, Json(request)| {
        caller.require_superuser()?;
        let token = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let token = token.and_then(|value| value.strip_prefix("Bearer "));
        let client = token.map_or_else(|| client.clone(), |token| client.with_token(token));
        knock_at_all(&client, request).await
    };
    Routes::new().route(PATH, CALLERS, get(give).post(knock))
}

/// Who may call these routes; tests compare a table with it.
#[must_use]
pub fn probe_access() -> (&'static str, Access) {
    (PATH, CALLERS)
}

async fn give(caller: Caller, Query(wanted): Query<Wanted>) -> Result<Vec<u8>, Problem> {
    caller.require_superuser()?;
    limited(wanted.bytes)?;
    Ok(vec![0; usize::try_from(wanted.bytes).unwrap_or_default()])
}

fn limited(bytes: u64) -> Result<(), Problem> {
    if bytes <= PROBE_BYTES_MAX {
        return Ok(());
    }
    let detail = format!("bytes: {bytes} is more than {PROBE_BYTES_MAX}");
    Err(Problem::new(400, "invalid-request", detail))
}

async fn knock_at_all(client: &Client, request: ProbeRequest) -> Result<Json<ProbeReply>, Problem> {
    let ProbeRequest { addresses, bytes } = request;
    limited(bytes)?;
    if addresses.len() > PROBE_ADDRESSES_MAX {
        let detail = format!("addresses: more than {PROBE_ADDRESSES_MAX}; ask in parts");
        return Err(Problem::new(400, "invalid-request", detail));
    }
    if let Some(wrong) = addresses.iter().find(|address| !is_address(address)) {
        let detail = format!("addresses: {wrong:?} is not of the form host:port");
        return Err(Problem::new(400, "invalid-request", detail));
    }
    // Bytes from several addresses at once would share this host's bandwidth.
    let at_once = if bytes == 0 { AT_ONCE } else { 1 };
    let mut probes: Vec<(usize, Probe)> = Vec::with_capacity(addresses.len());
    let mut under_way = JoinSet::new();
    for (nth, address) in addresses.into_iter().enumerate() {
        if under_way.len() == at_once {
            probes.extend(under_way.join_next().await.and_then(Result::ok));
        }
        let client = client.clone();
        under_way.spawn(async move { (nth, probe(&client, address, bytes).await) });
    }
    while let Some(done) = under_way.join_next().await {
        probes.extend(done.ok());
    }
    probes.sort_unstable_by_key(|(nth, _)| *nth);
    let probes = probes.into_iter().map(|(_, probe)| probe).collect();
    Ok(Json(ProbeReply { version: VERSION.to_owned(), wall_ms: clock::wall().0, probes }))
}

/// Whether `text` can be between `http://` and a path without changing the URL's meaning.
pub(crate) fn is_address(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_[]:".contains(&byte);
    let Some((host, port)) = text.rsplit_once(':') else { return false };
    !host.is_empty() && host.bytes().all(is_plain) && port.parse::<u16>().is_ok()
}

/// Asks one address whether it answers, and for `bytes` bytes.
async fn probe(client: &Client, address: String, bytes: u64) -> Probe {
    let stopwatch = Stopwatch::start();
    let answer = tokio::time::timeout(PATIENCE, fetch(client, &address, bytes)).await;
    let answer = answer.unwrap_or_else(|_| Err(CallError::TimedOut { address: address.clone() }));
    let micros = u64::try_from(stopwatch.elapsed().as_micros()).unwrap_or(u64::MAX);
    Probe { address, error: answer.err().map(|error| error.to_string()), micros }
}

async fn fetch(client: &Client, address: &str, bytes: u64) -> Result<(), CallError> {
    let path = match bytes {
        0 => "/healthz".to_owned(),
        bytes => format!("/v1/probe?bytes={bytes}"),
    };
    let mut answer = client.send(address, client.request(Method::GET, address, &path)).await?;
    let broken = |error: &net::reqwest::Error| CallError::from_http(address, error);
    while answer.chunk().await.map_err(|error| broken(&error))?.is_some() {}
    Ok(())
}

#[cfg(test)]
mod tests {
    use net::{Guard, Keyring, Secret};

    use super::*;

    fn client() -> Client {
        let limit = Duration::from_secs(5);
        Client::new(net::ClientSettings {
            connect_timeout: limit,
            request_timeout: limit,
            silence_timeout: limit,
            tls: None,
        })
    }

    /// A daemon with only these routes, and a client with a token for it.
    fn served() -> (String, Client) {
        let keyring = Keyring::new(&Secret::random());
        let expires = clock::wall() + Duration::from_mins(1);
        let ada = net::Capability::unlimited("ada", Role::User, expires);
        let client = client().with_token(keyring.mint_for_user(&ada, clock::wall()));
        let guard = Guard { keyring, anonymous: None };
        let health = crate::Health::default();
        let routes = probe_routes(self::client()).route(
            "/healthz",
            Access::Public,
            get(async move || drop(health.reasons())),
        );
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let router = routes.into_router((), guard);
        tokio::spawn(net::serve(listener, router, std::future::pending()));
        (address, client)
    }

    #[tokio::test]
    async fn who_answers_is_told_from_who_does_not_and_bytes_are_fetched() {
        let (address, client) = served();
        let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let nobody = gone.local_addr().unwrap().to_string();
        drop(gone);
        for bytes in [0, 1 << 20] {
            let addresses = vec![address.clone(), nobody.clone(), address.clone()];
            let request = ProbeRequest { addresses, bytes };
            let reply: ProbeReply = client.post(&address, "/v1/probe", &request).await.unwrap();
            let errors: Vec<_> = reply.probes.iter().map(|probe| probe.error.is_some()).collect();
            assert_eq!(errors, [false, true, false], "{reply:?}");
            assert_eq!(reply.probes[1].address, nobody);
            assert_eq!(reply.version, VERSION);
        }
    }

    #[tokio::test]
    async fn too_much_and_what_is_no_address_is_refused() {
        let (address, client) = served();
        let refused = |addresses: Vec<String>, bytes| {
            let (client, address) = (client.clone(), address.clone());
            async move {
                let request = ProbeRequest { addresses, bytes };
                let answer = client.post::<_, ProbeReply>(&address, "/v1/probe", &request).await;
                answer.unwrap_err().problem().expect("it says no").status
            }
        };
        assert_eq!(refused(vec![], PROBE_BYTES_MAX + 1).await, 400);
        assert_eq!(refused(vec![address.clone(); PROBE_ADDRESSES_MAX + 1], 0).await, 400);
        for wrong in ["host", "host:", ":1", "a@b:1", "a/b:1", "host:99999", ""] {
            assert_eq!(refused(vec![wrong.to_owned()], 0).await, 400, "{wrong}");
        }
        let other = Keyring::new(&Secret::random());
        let token = other.mint(&net::Capability::anonymous());
        let request = client.with_token(token).get::<String>(&address, "/v1/probe?bytes=1").await;
        assert_eq!(request.unwrap_err().problem().unwrap().status, 401);
    }
}
