//! Copies give way to clients. While bytes of clients come or go, copies to and from this server only go at a
//! floor rate, which repair gets whatever clients want; as soon as clients pause, so long that a busy one would
//! not, copies have it all. So many slow readers cost a copy little, and one fast reader is hardly disturbed.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ids::Monotonic;
use tokio::sync::Mutex;

/// Bytes per second that copies may send, and receive, however busy clients are: a quarter of a network of
/// 1 Gbit/s.
const FLOOR: u64 = 32 << 20;
/// Clients are busy for so long after each batch of theirs: a reader of 50 MB/s takes one in that time.
const BUSY_FOR: Duration = Duration::from_millis(20);
/// What may be made up for when timers wake late.
const CATCH_UP: Duration = Duration::from_millis(50);

/// What this server's clients do, and what its copies may do beside them.
#[derive(Debug, Default)]
pub(super) struct Clients {
    /// When a batch came or went, in nanoseconds of the monotonic clock.
    last_batch: AtomicU64,
    sending: Mutex<Floor>,
    receiving: Mutex<Floor>,
}

/// Which way a copy goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// To another server.
    Out,
    /// From another server.
    In,
}

impl Clients {
    /// A batch of a client's came or went.
    pub(super) fn observe(&self) {
        self.last_batch.store(nanos(clock::monotonic()), Ordering::Relaxed);
    }

    /// Waits until a copy may go on with so many bytes. Copies that go the same way take turns.
    pub(super) async fn give_way(&self, way: Way, bytes: u64) {
        let floor = match way {
            Way::Out => &self.sending,
            Way::In => &self.receiving,
        };
        let mut floor = floor.lock().await;
        loop {
            let pause = floor.pause(clock::monotonic(), self.last_batch());
            if pause.is_zero() {
                break;
            }
            tokio::time::sleep(pause).await;
        }
        floor.pass(clock::monotonic(), bytes);
    }

    fn last_batch(&self) -> Monotonic {
        Monotonic(Duration::from_nanos(self.last_batch.load(Ordering::Relaxed)))
    }
}

fn nanos(at: Monotonic) -> u64 {
    u64::try_from(at.0.as_nanos()).unwrap_or(u64::MAX)
}

/// When what has passed would have had its time at [`FLOOR`].
#[derive(Debug, Default)]
struct Floor {
    free_at: Monotonic,
}

impl Floor {
    /// How long to wait before it is worth to look again; zero: go on.
    fn pause(&self, now: Monotonic, last_batch: Monotonic) -> Duration {
        let busy = (last_batch + BUSY_FOR).since(now);
        if last_batch == Monotonic::default() {
            Duration::ZERO
        } else {
            busy.min(self.free_at.since(now))
        }
    }

    /// So many bytes go at `now`. What went fast while no client was busy is not held against those that follow.
    fn pass(&mut self, now: Monotonic, bytes: u64) {
        let time = Duration::from_nanos(bytes.saturating_mul(1_000_000_000) / FLOOR);
        let earliest = Monotonic(now.0.saturating_sub(CATCH_UP));
        self.free_at = self.free_at.max(earliest).min(now) + time;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BATCH: u64 = 1 << 20;

    fn at(millis: u64) -> Monotonic {
        Monotonic(Duration::from_millis(millis))
    }

    /// Batches that pass from 1 s to 11 s while a client has one each `every` ms, by timers that wake 1 ms late.
    fn passed(every: u64) -> u64 {
        let (mut floor, mut now, mut n) = (Floor::default(), at(1000), 0);
        while now < at(11_000) {
            let millis = u64::try_from(now.0.as_millis()).unwrap();
            let pause = floor.pause(now, at(millis - millis % every));
            if pause.is_zero() {
                floor.pass(now, BATCH);
                n += 1;
                // As fast as anything goes here.
                now = now + Duration::from_millis(2);
            } else {
                now = now + pause.max(Duration::from_micros(1)) + Duration::from_millis(1);
            }
        }
        n
    }

    #[test]
    fn beside_busy_clients_copies_go_at_the_floor_and_beside_slow_ones_nearly_at_full_speed() {
        let floor = 10 * FLOOR / BATCH;
        for busy in [1, 5, 19] {
            let n = passed(busy);
            assert!((floor * 95 / 100..=floor * 105 / 100).contains(&n), "{busy} ms: {n}");
        }
        let full = 5000;
        assert_eq!(passed(100_000), full, "clients that have gone");
        let n = passed(1000);
        assert!(n > full * 95 / 100, "one batch in a second: {n}");
        let n = passed(100);
        assert!(n > full * 70 / 100, "ten batches in a second: {n}");
    }
}
