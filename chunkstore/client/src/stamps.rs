//! Request stamps, by which the chunk master tells a retry from a new request. Each
//! [`crate::ChunkStore`] has one client id, and a slot for each mutation in flight.

use std::sync::{Mutex, PoisonError};

use ids::{ClientId, RequestStamp};
use tokio::sync::{Semaphore, SemaphorePermit};

/// Mutations of one client in flight at once: the master keeps the last replies of this many slots.
const SLOTS_MAX: usize = 64;

/// The slots of one client.
#[derive(Debug)]
pub(crate) struct Stamps {
    client: ClientId,
    slots: Mutex<Slots>,
    permits: Semaphore,
}

#[derive(Debug, Default)]
struct Slots {
    /// The last sequence used in each slot.
    sequences: Vec<u64>,
    free: Vec<u32>,
}

/// A slot with nothing in flight; returned when dropped.
#[derive(Debug)]
pub(crate) struct Slot<'a> {
    stamps: &'a Stamps,
    slot: u32,
    _permit: SemaphorePermit<'a>,
}

impl Stamps {
    pub(crate) fn new() -> Self {
        let client = format!("client-{}", net::random_hex(16));
        let client = client.parse().expect("hexadecimal digits are allowed in client ids");
        Self { client, slots: Mutex::default(), permits: Semaphore::new(SLOTS_MAX) }
    }

    pub(crate) fn client(&self) -> &ClientId {
        &self.client
    }

    /// A slot that no other request uses; waits while all are taken.
    pub(crate) async fn take(&self) -> Slot<'_> {
        let permit = self.permits.acquire().await.expect("nobody closes it");
        let mut slots = self.lock();
        let slot = slots.free.pop().unwrap_or_else(|| {
            slots.sequences.push(0);
            u32::try_from(slots.sequences.len() - 1).expect("requests in flight fit")
        });
        Slot { stamps: self, slot, _permit: permit }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Slots> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slot<'_> {
    /// The stamp of a new request; its retries carry the same one.
    pub(crate) fn stamp(&self) -> RequestStamp {
        let mut slots = self.stamps.lock();
        let sequence = &mut slots.sequences[self.slot as usize];
        *sequence += 1;
        RequestStamp { client: self.stamps.client.clone(), slot: self.slot, sequence: *sequence }
    }
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        self.stamps.lock().free.push(self.slot);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn requests_in_flight_have_slots_of_their_own_and_a_slot_counts_on() {
        let stamps = Stamps::new();
        let (a, b) = (stamps.take().await, stamps.take().await);
        let (first, other) = (a.stamp(), b.stamp());
        assert_ne!(first.slot, other.slot);
        drop(a);
        let again = stamps.take().await.stamp();
        assert_eq!((again.slot, again.sequence), (first.slot, 2));
        assert_eq!(again.client, other.client);
        assert_ne!(Stamps::new().client(), &again.client);
    }
}
