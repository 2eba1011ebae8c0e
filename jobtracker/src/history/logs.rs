//! Logs of failed attempts, fetched from their TaskTrackers while these have them. Of a long one the head and the tail are
//! kept.

use std::collections::{BTreeSet, VecDeque};

use mapreduce_protocol::AttemptId;
use net::reqwest::Method;
use net::{Backoff, CallError, Client};

/// Bytes kept of the beginning of a log, and as many of its end.
const HALF_BYTES: usize = 512 << 10;
/// Tries to reach one TaskTracker, which may be starting.
const TRIES: u32 = 3;
/// Logs of one job that are kept.
pub(super) const LOGS_MAX: u32 = 200;

/// Fetches the logs of one job's attempts.
#[derive(Debug)]
pub(super) struct LogFetcher {
    client: Client,
    /// TaskTrackers that did not answer: nobody waits for them again.
    silent: BTreeSet<String>,
    n_fetched: u32,
}

impl LogFetcher {
    /// With a client whose token TaskTrackers take.
    pub(super) fn new(client: Client) -> Self {
        Self { client, silent: BTreeSet::new(), n_fetched: 0 }
    }

    /// The log, or for people why there is none.
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
        if self.silent.contains(address) {
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
        let mut response = self.client.send(address, request).await?;
        let mut kept = HeadAndTail::default();
        let broken = |error| CallError::from_http(address, &error);
        while let Some(piece) = response.chunk().await.map_err(broken)? {
            kept.push(&piece);
        }
        Ok(kept.into_bytes())
    }
}

/// The first bytes of something long, and the last ones.
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
    use super::*;

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
