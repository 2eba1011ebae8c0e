//! HTTP as any tool speaks it: one request, one connection, no library of ours in between.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::command::finish;

/// A response.
#[derive(Debug)]
pub struct Response {
    /// Its status.
    pub status: u16,
    /// Its header lines.
    pub headers: Vec<String>,
    /// Its body as JSON; null if it is none.
    pub body: serde_json::Value,
    /// Its body as text.
    pub text: String,
}

impl Response {
    /// The value of a header, by its lower-case name.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

/// Sends a request with `headers` and `body` (JSON), and reads the whole response.
///
/// # Errors
/// When there is no connection, or what comes is no HTTP.
pub fn request(
    address: &str,
    method: &str,
    path: &str,
    headers: &[&str],
    body: &str,
) -> anyhow::Result<Response> {
    exchange(TcpStream::connect(address)?, address, method, path, headers, body)
}

/// The same of a daemon at a number, where nothing may take longer than `patience`: to connect, or to hear more.
///
/// # Errors
/// As [`request`].
pub fn request_within(
    patience: Duration,
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[&str],
    body: &str,
) -> anyhow::Result<Response> {
    let stream = TcpStream::connect_timeout(&address, patience)?;
    stream.set_read_timeout(Some(patience))?;
    exchange(stream, &address.to_string(), method, path, headers, body)
}

fn exchange(
    mut stream: TcpStream,
    address: &str,
    method: &str,
    path: &str,
    headers: &[&str],
    body: &str,
) -> anyhow::Result<Response> {
    let extra: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
    // HTTP/1.0: the answer comes unchunked and ends with the connection.
    write!(
        stream,
        "{method} {path} HTTP/1.0\r\nHost: {address}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n{extra}\r\n{body}",
        body.len()
    )?;
    let mut raw = Vec::new();
    stream.read_to_end(&mut raw)?;
    parse(&String::from_utf8_lossy(&raw)).ok_or_else(|| anyhow::anyhow!("not HTTP: {raw:?}"))
}

/// A `GET`.
///
/// # Errors
/// As [`request`].
pub fn get(address: &str, path: &str) -> anyhow::Result<Response> {
    request(address, "GET", path, &[], "")
}

/// The same by TLS if the cluster speaks it, then with `curl`, which trusts the authority in the file `ca`.
///
/// # Errors
/// As [`request`].
pub fn trusting_get(ca: Option<&Path>, address: &str, path: &str) -> anyhow::Result<Response> {
    let Some(ca) = ca else { return get(address, path) };
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--show-error", "--include", "--http1.1", "--cacert"]).arg(ca);
    let answer = finish(curl.arg(format!("https://{address}{path}")));
    anyhow::ensure!(answer.code == Some(0), "curl: {}", answer.stderr);
    let raw = String::from_utf8_lossy(&answer.stdout);
    parse(&raw).ok_or_else(|| anyhow::anyhow!("not HTTP: {raw:?}"))
}

fn parse(raw: &str) -> Option<Response> {
    let (head, text) = raw.split_once("\r\n\r\n")?;
    let mut lines = head.lines();
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let headers = lines.map(str::to_owned).collect();
    let body = serde_json::from_str(text).unwrap_or_default();
    Some(Response { status, headers, body, text: text.to_owned() })
}
