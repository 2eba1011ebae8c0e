//! Logs of failed attempts, fetched from their TaskTrackers while those have them. Of a long log
//! only the head and the tail are kept. A TaskTracker that hangs delays others only up to the
//! limits here.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use mapreduce_protocol::AttemptId;
use net::reqwest::{Method, Response};
use net::{Backoff, CallError, Client};

/// Bytes kept of the beginning of a log, and of its end.
const HALF_BYTES: usize = 512 << 10;
/// Number of tries to reach a TaskTracker, which may be starting.
const TRIES: u32 = 3;
/// Time limit for a log to arrive completely once its TaskTracker has begun to answer.
const WHOLE_LIMIT: Duration = Duration::from_mins(2);
/// Limit on the logs kept of one job.
pub(super) const LOGS_MAX: u32 = 200;

/// Fetches logs of one job's attempts.
#[derive(Debug)]
pub(super) struct LogFetcher {
    client: Client,
    /// TaskTrackers that did not answer, and will not be asked again.
    silent: BTreeSet<String>,
    n_fetched: u32,
    whole_limit: Duration,
}

impl LogFetcher {
    /// `client` must have a token that TaskTrackers accept.
    pub(super) fn new(client: Client) -> Self {
        Self { client, silent: BTreeSet::new(), n_fetched: 0, whole_limit: WHOLE_LIMIT }
    }

    /// Whether this TaskTracker will not be asked again.
    pub(super) fn is_silent(&self, address: &str) -> bool {
        self.silent.contains(address)
    }

    /// Like `new`, for a job of which `n_fetched` logs have been fetched before.
    pub(super) fn going_on(client: Client, n_fetched: usize) -> Self {
        let n_fetched = u32::try_from(n_fetched).unwrap_or(LOGS_MAX).min(LOGS_MAX);
        Self { n_fetched, ..Self::new(client) }
    }

    /// The log, or why there is none, for people.
    pub(super) async fn fetch(
        &mut self,
        address: Option<&str>,
        attempt: AttemptId,
    ) -> Result<Vec<u8>, String> {
        let Some(address) = address else {
            return Err("its TaskTracker was lost when the job ended".to_owned());
        };
        if self.n_fetched == LOGS_MAX {
            return Err(format!("{LOGS_MAX} logs of its job are kept already"));
        }
        if self.is_silent(address) {
            return Err("its TaskTracker did not answer when the job ended".to_owned());
        }
        match self.fetch_retrying(address, attempt).await {
            Ok(log) => {
                self.n_fetched += 1;
                Ok(log)
            }
            Err(error) => {
                if error.problem().is_none() {
                    self.silent.insert(address.to_owned());
                }
                Err(error.to_string())
            }
        }
    }

    async fn fetch_retrying(
        &self,
        address: &str,
        attempt: AttemptId,
    ) -> Result<Vec<u8>, CallError> {
        let mut backoff = Backoff::default();
        let mut tries = 1;
        loop {
            match self.fetch_once(address, attempt).await {
                // A TaskTracker that exceeded a time limit hangs, and would exceed the next one.
                Err(error @ CallError::TimedOut { .. }) => return Err(error),
                Err(error) if error.is_transient() && tries < TRIES => {
                    tries += 1;
                    backoff.pause().await;
                }
                answer => return answer,
            }
        }
    }

    async fn fetch_once(&self, address: &str, attempt: AttemptId) -> Result<Vec<u8>, CallError> {
        let path = format!("/v1/attempts/{attempt}/log");
        let request = self.client.request(Method::GET, address, &path);
        let head = self.client.send(address, request);
        let response = within(self.client.request_timeout(), address, head).await?;
        within(self.whole_limit, address, read_whole(address, response)).await
    }
}

async fn read_whole(address: &str, mut response: Response) -> Result<Vec<u8>, CallError> {
    let mut kept = HeadAndTail::default();
    let broken = |error| CallError::from_http(address, &error);
    while let Some(piece) = response.chunk().await.map_err(broken)? {
        kept.push(&piece);
    }
    Ok(kept.into_bytes())
}

/// The result, if it comes in time.
async fn within<T>(
    limit: Duration,
    address: &str,
    answer: impl Future<Output = Result<T, CallError>>,
) -> Result<T, CallError> {
    let late = |_| CallError::TimedOut { address: address.to_owned() };
    tokio::time::timeout(limit, answer).await.map_err(late)?
}

/// The first and the last bytes of a long text.
#[derive(Debug, Default)]
struct HeadAndTail {
    head: Vec<u8>,
    tail: VecDeque<u8>,
    dropped: usize,
}

impl HeadAndTail {
    fn push(&mut self, piece: &[u8]) {
        let (head, rest) = piece.split_at(piece.len().min(HALF_BYTES - self.head.len()));
        self.head.extend_from_slice(head);
        self.tail.extend(rest);
        let excess = self.tail.len().saturating_sub(HALF_BYTES);
        self.tail.drain(..excess);
        self.dropped += excess;
    }

    fn into_bytes(self) -> Vec<u8> {
        let mut bytes = self.head;
        if self.dropped > 0 {
            bytes
                .extend_from_slice(format!("\n[… {} bytes left out …]\n", self.dropped).as_bytes());
        }
        bytes.extend(self.tail);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use mapreduce_protocol::{JobId, TaskKind};
    use net::ClientSettings;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    /// Accepts connections, sends `head` and then nothing more. Returns the address, and a count of
    /// connections.
    async fn hanging(head: &'static str) -> (String, Arc<AtomicUsize>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let n_came = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&n_came);
        tokio::spawn(async move {
            let mut open = Vec::new();
            while let Ok((mut connection, _)) = listener.accept().await {
                counted.fetch_add(1, Ordering::SeqCst);
                let _ = connection.read(&mut [0; 4096]).await;
                let _ = connection.write_all(head.as_bytes()).await;
                open.push(connection);
            }
        });
        (address, n_came)
    }

    #[tokio::test]
    async fn who_hangs_is_not_waited_for_longer_than_the_limit_and_not_again() {
        for head in ["", "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf"] {
            let (address, n_came) = hanging(head).await;
            let limit = Duration::from_millis(if head.is_empty() { 100 } else { 20_000 });
            let client = Client::new(ClientSettings {
                connect_timeout: Duration::from_secs(20),
                request_timeout: limit,
                silence_timeout: Duration::from_secs(20),
                tls: None,
            });
            let mut fetcher = LogFetcher::new(client);
            fetcher.whole_limit = Duration::from_millis(100);
            let job = JobId { date: 20_261_122, ordinal: 1 };
            for (attempt, says) in [(0, "no answer from"), (1, "did not answer")] {
                let attempt = job.task(TaskKind::Map, attempt).attempt(0);
                let fetch = fetcher.fetch(Some(&address), attempt);
                let end = tokio::time::timeout(Duration::from_secs(30), fetch).await;
                let error = end.expect("it does not wait for ever").unwrap_err();
                assert!(error.contains(says), "{error}");
            }
            assert!(fetcher.is_silent(&address));
            assert_eq!(n_came.load(Ordering::SeqCst), 1, "{head}");
        }
    }

    #[test]
    fn of_a_long_log_head_and_tail_are_kept_in_whatever_pieces_it_comes() {
        for piece in [1 << 10, 100_003, 5 << 20] {
            let whole: Vec<u8> = (0..3 << 20).map(|n: u32| (n / 7) as u8).collect();
            let mut kept = HeadAndTail::default();
            whole.chunks(piece).for_each(|piece| kept.push(piece));
            let bytes = kept.into_bytes();
            assert!(bytes.starts_with(&whole[..HALF_BYTES]), "pieces of {piece}");
            assert!(bytes.ends_with(&whole[whole.len() - HALF_BYTES..]), "pieces of {piece}");
            let note = &bytes[HALF_BYTES..bytes.len() - HALF_BYTES];
            let dropped = whole.len() - 2 * HALF_BYTES;
            assert_eq!(note, format!("\n[… {dropped} bytes left out …]\n").as_bytes());
        }
        let mut kept = HeadAndTail::default();
        kept.push(b"short\n");
        assert_eq!(kept.into_bytes(), b"short\n");
    }
}
