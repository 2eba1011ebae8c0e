//! One kept HTTP/1.1 connection with at most one request in flight. It speaks bytes and nothing more, so that ten thousand of
//! them leave the processor to the JobTracker. Waiting for an answer may be given up and begun again.

use std::ops::Range;

use anyhow::Context as _;
use clock::Stopwatch;
use memchr::memmem;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Bytes of an answer's head at most.
const HEAD_BYTES_MAX: usize = 8 << 10;

/// A connection, opened when it is first needed.
pub(crate) struct Wire {
    stream: Option<TcpStream>,
    received: Vec<u8>,
    /// Since when a request waits for its answer.
    sent: Option<Stopwatch>,
}

/// What came back.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
    /// Since the request was sent.
    pub(crate) sent: Stopwatch,
}

impl Wire {
    pub(crate) fn new() -> Self {
        Self { stream: None, received: Vec::new(), sent: None }
    }

    /// Whether a request waits for its answer.
    pub(crate) fn is_out(&self) -> bool {
        self.sent.is_some()
    }

    /// Sends a `POST` of a JSON body.
    ///
    /// # Errors
    /// When there is no connection.
    pub(crate) async fn send(
        &mut self,
        address: &str,
        route: &str,
        token: &str,
        body: &[u8],
    ) -> anyhow::Result<()> {
        anyhow::ensure!(!self.is_out(), "a request is out already");
        let mut request = format!(
            "POST {route} HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {token}\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        )
        .into_bytes();
        request.extend_from_slice(body);
        let stream = match &mut self.stream {
            Some(stream) => stream,
            place => {
                let stream = TcpStream::connect(address).await.context("no connection")?;
                stream.set_nodelay(true)?;
                place.insert(stream)
            }
        };
        stream.write_all(&request).await?;
        self.received.clear();
        self.sent = Some(Stopwatch::start());
        Ok(())
    }

    /// The answer to the request that is out; for ever if there is none.
    ///
    /// # Errors
    /// When the connection breaks.
    pub(crate) async fn answer(&mut self) -> anyhow::Result<Answer> {
        let (Some(stream), Some(sent)) = (&mut self.stream, self.sent) else {
            return std::future::pending().await;
        };
        let body = loop {
            if let Some(body) = body_of(&self.received)? {
                break body;
            }
            let read = stream.read_buf(&mut self.received).await?;
            anyhow::ensure!(read > 0, "the JobTracker closed a connection");
        };
        self.sent = None;
        let status = std::str::from_utf8(&self.received[9..12])?.parse()?;
        Ok(Answer { status, body: self.received[body].to_vec(), sent })
    }
}

/// Where the body is, once all of it is there.
fn body_of(received: &[u8]) -> anyhow::Result<Option<Range<usize>>> {
    let Some(end) = memmem::find(received, b"\r\n\r\n") else {
        anyhow::ensure!(received.len() < HEAD_BYTES_MAX, "an answer's head has no end");
        return Ok(None);
    };
    let head = std::str::from_utf8(&received[..end])?;
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim())
    });
    let length: usize = length.context("an answer without content-length")?.parse()?;
    let body = end + 4..end + 4 + length;
    Ok((received.len() >= body.end).then_some(body))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_found_once_all_of_it_is_there() {
        let whole = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc";
        for end in 0..whole.len() {
            assert_eq!(body_of(&whole[..end]).unwrap(), None);
        }
        assert_eq!(body_of(whole).unwrap(), Some(whole.len() - 3..whole.len()));
        assert!(body_of(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
    }
}
