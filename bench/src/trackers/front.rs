//! What stands between the JobTracker and a real chunk master: it makes up one input of as many chunks as there are to be maps,
//! and passes everything else on. So the split list, staging folders and whatever else the JobTracker keeps are really
//! stored, and nobody writes a million chunks. A publication is taken as done: the pretended reduces have written nothing.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::Method;
use axum::response::{IntoResponse, Response};
use chunkstore_protocol::{
    CHUNK_BYTES_MAX, ChunkId, ChunkLocation, Done, FileId, FileKind, FileStatus, LOCATE_CHUNKS_MAX,
    Listing, Locate, Located, ServerAddress, Version,
};
use ids::UnixMillis;
use net::{CallError, Client, Problem};
use serde_json::Value;

use super::cluster::{host, rack};

/// The folder that is made up.
pub(crate) const INPUT: &str = "/pretended";
/// Chunks of each of its files but the last.
const CHUNKS_PER_FILE: u64 = 1000;
/// Length limit of a request, bytes: that of the daemons.
const BODY_BYTES_MAX: usize = 16 << 20;
/// Replicas of a chunk: one somewhere, two on another rack, as a chunk master places them.
const REPLICAS: u64 = 3;
/// As long as the capabilities that a chunk master gives for a chunk.
const TOKEN_BYTES: usize = 160;

/// How large the made-up input is, and over which hosts it is spread.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    pub(crate) chunks: u64,
    pub(crate) hosts: u64,
    pub(crate) racks: u64,
}

struct Front {
    size: Size,
    /// The real chunk master, and a client that may do anything there.
    master: String,
    client: Client,
}

/// Serves until the process ends; `host:port`.
///
/// # Errors
/// When it can't listen.
pub(crate) async fn start(
    size: Size,
    master: String,
    client: Client,
) -> anyhow::Result<SocketAddr> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let front = Arc::new(Front { size, master, client });
    let router = Router::new().fallback(answer).with_state(front);
    tokio::spawn(async move { axum::serve(listener, router).await });
    Ok(address)
}

async fn answer(State(front): State<Arc<Front>>, request: Request) -> Response {
    let (method, route) = (request.method().clone(), request.uri().path().to_owned());
    let body = match axum::body::to_bytes(request.into_body(), BODY_BYTES_MAX).await {
        Ok(body) => body,
        Err(error) => {
            return Problem::new(400, "invalid-request", error.to_string()).into_response();
        }
    };
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let path = body["path"].as_str().unwrap_or_default();
    match route.as_str() {
        "/v1/files/stat" if path == INPUT => json_reply(front.size.folder()),
        "/v1/files/list" if path == INPUT => json_reply(front.size.listing()),
        "/v1/files/locate" if path.starts_with(INPUT) => match front.size.locate(body) {
            Some(located) => json_reply(located),
            None => Problem::new(404, "not-found", "no such made-up file").into_response(),
        },
        "/v1/files/publish" => json_reply(Done {}),
        _ => front.pass_on(&method, &route, &body).await,
    }
}

fn json_reply<T>(reply: T) -> Response
where
    net::Json<T>: IntoResponse,
{
    net::Json(reply).into_response()
}

impl Front {
    async fn pass_on(&self, method: &Method, route: &str, body: &Value) -> Response {
        let answer: Result<Value, CallError> = match *method {
            Method::GET => self.client.get(&self.master, route).await,
            _ => self.client.post(&self.master, route, body).await,
        };
        match answer {
            Ok(answer) => json_reply(answer),
            Err(CallError::Problem { problem, .. }) => problem.into_response(),
            Err(error) => Problem::new(503, "unavailable", error.to_string()).into_response(),
        }
    }
}

impl Size {
    fn n_files(self) -> u64 {
        self.chunks.div_ceil(CHUNKS_PER_FILE)
    }

    fn chunks_of(self, file: u64) -> u64 {
        CHUNKS_PER_FILE.min(self.chunks - file * CHUNKS_PER_FILE)
    }

    fn folder(self) -> FileStatus {
        status(INPUT, FileKind::Folder)
    }

    fn listing(self) -> Listing {
        let file = |n: u64| {
            let n_chunks = self.chunks_of(n);
            let kind = FileKind::File {
                file: FileId(n),
                length: n_chunks * CHUNK_BYTES_MAX,
                replication: 3,
                chunk_bytes: CHUNK_BYTES_MAX,
                n_chunks,
                open: false,
                cut: false,
                log: false,
            };
            status(&format!("{INPUT}/part-{n:05}"), kind)
        };
        Listing { entries: (0..self.n_files()).map(file).collect(), next: None }
    }

    fn locate(self, body: Value) -> Option<Located> {
        let request: Locate = serde_json::from_value(body).ok()?;
        let file: u64 = request.path.as_str().rsplit_once("part-")?.1.parse().ok()?;
        if file >= self.n_files() {
            return None;
        }
        let n_chunks = self.chunks_of(file);
        let first = request.offset / CHUNK_BYTES_MAX;
        let chunk = |index: u64| ChunkLocation {
            chunk: ChunkId(file * CHUNKS_PER_FILE + index),
            version: Version(1),
            offset: index * CHUNK_BYTES_MAX,
            length: CHUNK_BYTES_MAX,
            checksum: 0,
            servers: self.homes(file * CHUNKS_PER_FILE + index),
            token: "t".repeat(TOKEN_BYTES),
        };
        let chunks = (first..n_chunks).take(LOCATE_CHUNKS_MAX).map(chunk).collect();
        let length = n_chunks * CHUNK_BYTES_MAX;
        Some(Located { file: FileId(file), length, chunks, open_log: None })
    }

    /// One host anywhere, and two of another rack.
    fn homes(self, chunk: u64) -> Vec<Arc<ServerAddress>> {
        let first = mixed(chunk) % self.hosts;
        let second = mixed(chunk ^ (1 << 40)) % self.hosts;
        let all = [first, second, (second + self.racks) % self.hosts];
        let server = |n: &u64| {
            let address = format!("10.{}.{}.{}:7871", n >> 16, (n >> 8) & 255, n & 255);
            Arc::new(ServerAddress { host: host(*n), rack: rack(*n % self.racks), address })
        };
        all.iter().take(usize::try_from(REPLICAS).unwrap_or(0)).map(server).collect()
    }
}

fn status(path: &str, kind: FileKind) -> FileStatus {
    FileStatus {
        path: path.parse().expect("a path of the chunk store"),
        owner: "bench".to_owned(),
        created: UnixMillis(1),
        modified: UnixMillis(1),
        kind,
    }
}

/// splitmix64.
fn mixed(n: u64) -> u64 {
    let mut z = n.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
