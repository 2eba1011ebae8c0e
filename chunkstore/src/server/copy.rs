//! Sends a replica to another server, as the chunk master asks for when others are lost, or when servers differ
//! in how full they are: read and verified as for any reader, written there as by any writer, as fast as the
//! configured rate allows. Which replica goes where is the master's word.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::body::BodyDataStream;
use bytes::Bytes;
use chunkstore_client::transfer::put_copy;
use chunkstore_core::replica::{Input, ReplicaKey};
use chunkstore_protocol::{CopyPurpose, SealedChunk, ServerAddress};
use futures_util::{StreamExt as _, stream};
use ids::Monotonic;
use net::{CallError, Capability, Grant, Keyring, Role};
use tokio::sync::Mutex;

use super::Server;
use super::download::{self, DownloadError, Reader};
use super::give_way::Way;
use super::metrics;

/// How long the other server has for a whole chunk, whatever the rate: far more than it needs.
const COPY_LIMIT: Duration = Duration::from_secs(20 * 60);

/// Why a copy did not arrive. The other server keeps nothing of it.
#[derive(Debug, thiserror::Error)]
pub(super) enum CopyError {
    /// It can't be read here.
    #[error(transparent)]
    Read(#[from] DownloadError),
    /// The other server does not take it.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The other server sealed something else.
    #[error("{} sealed other bytes: {sealed:?}", to.host)]
    Differs {
        /// The other server.
        to: ServerAddress,
        /// What it says that it sealed.
        sealed: SealedChunk,
    },
    /// It takes too long.
    #[error("it is not done after {COPY_LIMIT:?}")]
    TooSlow,
}

/// What may be made up for when the time that a pause was to take has passed by: timers are coarser than a
/// block at a high rate takes, and what each oversleeps would be lost.
const CATCH_UP: Duration = Duration::from_millis(50);

/// Shares out a rate: among the copies of this server, or to the scrubber of a disk.
#[derive(Debug)]
pub(super) struct Throttle {
    bytes_per_second: u64,
    pace: Mutex<Pace>,
}

/// When what was let through so far has had its time.
#[derive(Debug, Default)]
struct Pace {
    free_at: Monotonic,
}

impl Pace {
    /// How long to wait before bytes that take so much `time` may go.
    fn pause(&mut self, now: Monotonic, time: Duration) -> Duration {
        let pause = self.free_at.since(now);
        let earliest = Monotonic(now.0.saturating_sub(CATCH_UP));
        self.free_at = self.free_at.max(earliest) + time;
        pause
    }
}

impl Throttle {
    pub(super) fn new(bytes_per_second: u64) -> Self {
        Self { bytes_per_second, pace: Mutex::default() }
    }

    /// Waits until `bytes` more may go. Those who wait take turns.
    pub(super) async fn pass(&self, bytes: u64) {
        let nanos = u128::from(bytes) * 1_000_000_000 / u128::from(self.bytes_per_second.max(1));
        let time = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        let mut pace = self.pace.lock().await;
        let pause = pace.pause(clock::monotonic(), time);
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
    }
}

/// What copies may take, by what they are for: evening out the servers does not slow down repair.
#[derive(Debug)]
pub(super) struct Rates {
    repair: Throttle,
    balance: Throttle,
}

impl Rates {
    /// Of so many bytes per second each.
    pub(super) fn new(repair: u64, balance: u64) -> Self {
        Self { repair: Throttle::new(repair), balance: Throttle::new(balance) }
    }

    pub(super) fn of(&self, purpose: CopyPurpose) -> &Throttle {
        match purpose {
            CopyPurpose::Repair => &self.repair,
            CopyPurpose::Balance => &self.balance,
        }
    }
}

/// Sends a sealed replica to another server.
pub(super) async fn send(
    server: &Arc<Server>,
    keyring: &Keyring,
    replica: ReplicaKey,
    to: &ServerAddress,
    purpose: CopyPurpose,
) -> Result<(), CopyError> {
    let grant = Grant::write(replica.chunk.resource());
    let capability = Capability {
        subject: server.host.to_string(),
        role: Role::Task,
        grants: vec![grant],
        expires: clock::wall() + COPY_LIMIT,
    };
    let client = server.copy_client.with_token(keyring.mint(&capability));
    let download = download::send(server, Reader::Copy, replica, 0, None).await?;
    let body = throttled(Arc::clone(server), purpose, download.body.into_data_stream());
    let put = put_copy(&client, to, replica, body);
    let sealed = tokio::time::timeout(COPY_LIMIT, put).await.map_err(|_| CopyError::TooSlow)??;
    if (sealed.length, sealed.checksum) == (download.length, download.checksum) {
        metrics::observe_copy(purpose, Some(sealed.length));
        return Ok(());
    }
    Err(CopyError::Differs { to: to.clone(), sealed })
}

fn throttled(
    server: Arc<Server>,
    purpose: CopyPurpose,
    body: BodyDataStream,
) -> impl futures_util::Stream<Item = Result<Bytes, io::Error>> + Send + 'static {
    stream::unfold((server, purpose, body), async |(server, purpose, mut body)| {
        let frame = body.next().await?.map_err(io::Error::other);
        if let Ok(bytes) = &frame {
            let n = bytes.len() as u64;
            server.rates.of(purpose).pass(n).await;
            server.clients.give_way(Way::Out, n).await;
        }
        Some((frame, (server, purpose, body)))
    })
}

/// As [`send`], with a word to the log; gives the core its answer.
pub(super) async fn carry_out(
    server: Arc<Server>,
    keyring: Keyring,
    command: chunkstore_core::replica::CommandNumber,
    replica: ReplicaKey,
    (to, purpose): (ServerAddress, CopyPurpose),
) {
    let sent = send(&server, &keyring, replica, &to, purpose).await;
    if let Err(error) = &sent {
        metrics::observe_copy(purpose, None);
        tracing::warn!(chunk = %replica.chunk, to = %to.host, %error, "a replica was not copied");
    }
    let told = Input::CopyEnded { command, replica, done: sent.is_ok() };
    // A loop that is gone needs no answer.
    let _ = server.replicas.tell(told).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Blocks of 64 KiB at 128 MiB/s, by a timer that wakes a millisecond late and at whole milliseconds.
    #[test]
    fn the_rate_is_kept_though_timers_are_coarse_and_not_exceeded() {
        let millis = Duration::from_millis;
        let time = Duration::from_nanos(488_281);
        let (mut pace, mut now) = (Pace::default(), Monotonic(millis(1000)));
        let mut blocks = 0_u32;
        while now.0 < millis(11_000) {
            let pause = pace.pause(now, time);
            if !pause.is_zero() {
                let woken = now.0 + pause + millis(1);
                now = Monotonic(millis(u64::try_from(woken.as_millis()).unwrap()));
            }
            blocks += 1;
        }
        let ideal = 10.0 / time.as_secs_f64();
        let ratio = f64::from(blocks) / ideal;
        assert!((0.99..1.01).contains(&ratio), "{ratio}");
    }
}
