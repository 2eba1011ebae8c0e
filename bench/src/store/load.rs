//! The load generator: so many kept HTTP/1.1 connections, each with one request in flight, for so long. It
//! speaks bytes and nothing more, so that next to all processor time is the server's; the same one drives
//! Howdah and the handlers that it is compared with.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use clock::Stopwatch;
use memchr::memmem;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Bytes of an answer's head at most.
const HEAD_BYTES_MAX: usize = 8 << 10;

/// A request, with a place that differs from one to the next.
#[derive(Clone)]
pub(crate) struct Template {
    bytes: Vec<u8>,
    /// Where the texts go.
    places: Vec<Range<usize>>,
}

impl Template {
    /// A `POST` of a JSON body that was made with texts of the same length in all places where `mark`
    /// stands.
    pub(crate) fn new(address: &str, route: &str, token: &str, body: &str, mark: &str) -> Self {
        let head = format!(
            "POST {route} HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {token}\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        let bytes = [head.as_bytes(), body.as_bytes()].concat();
        let found = memmem::find_iter(&bytes, mark.as_bytes());
        let places = found.map(|at| at..at + mark.len()).collect();
        Self { bytes, places }
    }

    /// How many places a request has.
    pub(crate) fn n_places(&self) -> usize {
        self.places.len()
    }

    fn fill(&mut self, first: u64, write: impl Fn(u64, &mut [u8])) {
        for (n, place) in (first..).zip(&self.places) {
            write(n, &mut self.bytes[place.clone()]);
        }
    }
}

/// What a load led to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Served {
    /// Requests answered.
    pub(crate) requests: u64,
    /// Bytes of the last answer's body.
    pub(crate) body_bytes: usize,
    time: Duration,
}

impl Served {
    /// Requests per second.
    pub(crate) fn rate(&self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
        let requests = self.requests as f64;
        requests / self.time.as_secs_f64()
    }
}

/// Sends requests over `connections`, each with its own template, for `time`. `write` puts the text of a number into a
/// place; numbers are used once each, from `first` on.
///
/// # Errors
/// An answer that is not a 200, or none.
pub(crate) async fn run(
    address: &str,
    template: impl Fn(usize) -> Template,
    connections: usize,
    time: Duration,
    first: u64,
    write: impl Fn(u64, &mut [u8]) + Clone + Send + 'static,
) -> anyhow::Result<Served> {
    let numbers = Arc::new(AtomicU64::new(first));
    let mut opened = Vec::with_capacity(connections);
    for n in 0..connections {
        let stream = TcpStream::connect(address).await.with_context(|| address.to_owned())?;
        stream.set_nodelay(true)?;
        opened.push((Connection { stream, answer: Vec::with_capacity(64 << 10) }, template(n)));
    }
    let watch = Stopwatch::start();
    let tasks: Vec<_> = opened
        .into_iter()
        .map(|(mut connection, mut template)| {
            let (numbers, write) = (Arc::clone(&numbers), write.clone());
            tokio::spawn(async move {
                let (mut requests, mut body_bytes) = (0, 0);
                while watch.elapsed() < time {
                    let step = template.n_places() as u64;
                    template.fill(numbers.fetch_add(step, Ordering::Relaxed), &write);
                    body_bytes = connection.exchange(&template.bytes).await?;
                    requests += 1;
                }
                anyhow::Ok((requests, body_bytes))
            })
        })
        .collect();
    let mut served = Served { requests: 0, body_bytes: 0, time };
    for task in tasks {
        let (requests, body_bytes) = task.await??;
        served.requests += requests;
        served.body_bytes = body_bytes;
    }
    served.time = watch.elapsed();
    Ok(served)
}

struct Connection {
    stream: TcpStream,
    answer: Vec<u8>,
}

impl Connection {
    /// Returns the length of the answer's body.
    async fn exchange(&mut self, request: &[u8]) -> anyhow::Result<usize> {
        self.stream.write_all(request).await?;
        self.answer.clear();
        let (head, body) = loop {
            let read = self.stream.read_buf(&mut self.answer).await?;
            anyhow::ensure!(read > 0, "the server closed a connection");
            if let Some(end) = memmem::find(&self.answer, b"\r\n\r\n") {
                break (end + 4, content_length(&self.answer[..end])?);
            }
            anyhow::ensure!(self.answer.len() < HEAD_BYTES_MAX, "an answer's head has no end");
        };
        while self.answer.len() < head + body {
            let read = self.stream.read_buf(&mut self.answer).await?;
            anyhow::ensure!(read > 0, "the server closed a connection");
        }
        let is_ok = self.answer.starts_with(b"HTTP/1.1 200");
        anyhow::ensure!(is_ok, "no 200: {}", String::from_utf8_lossy(&self.answer));
        Ok(body)
    }
}

fn content_length(head: &[u8]) -> anyhow::Result<usize> {
    let head = std::str::from_utf8(head)?;
    let value = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim())
    });
    value.map_or(Ok(0), |value| value.parse().context("an odd content-length"))
}
