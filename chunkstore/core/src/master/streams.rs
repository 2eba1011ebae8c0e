//! How much each chunkserver copies at once. Sending and receiving are counted apart: a server whose disk
//! and network are busy with the one can do the other, and no source idles because its partner does.

use std::collections::BTreeMap;

use super::servers::ServerId;

/// Bytes that each stream a server may send, or receive, makes room for: below that, small chunks go in
/// larger numbers, since each takes a message and a sync, whatever its length.
const STREAM_BYTES: u64 = 16 << 20;
/// Small chunks that go in place of one large one at most.
const SMALL_PER_STREAM: u32 = 16;

/// Copies under way.
#[derive(Clone, Debug, Default)]
pub(crate) struct Streams {
    sent: BTreeMap<ServerId, Traffic>,
    received: BTreeMap<ServerId, Traffic>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Traffic {
    copies: u32,
    bytes: u64,
}

impl Traffic {
    fn has_room(self, streams: u32) -> bool {
        self.copies < streams
            || (self.copies < streams.saturating_mul(SMALL_PER_STREAM)
                && self.bytes < STREAM_BYTES * u64::from(streams))
    }
}

impl Streams {
    /// A copy of so many bytes begins.
    pub(crate) fn begin(&mut self, source: ServerId, target: ServerId, bytes: u64) {
        for traffic in [self.sent.entry(source), self.received.entry(target)] {
            let traffic = traffic.or_default();
            traffic.copies += 1;
            traffic.bytes += bytes;
        }
    }

    /// One that began with the same arguments ends.
    pub(crate) fn end(&mut self, source: ServerId, target: ServerId, bytes: u64) {
        for (side, server) in [(&mut self.sent, source), (&mut self.received, target)] {
            if let Some(traffic) = side.get_mut(&server) {
                traffic.copies -= 1;
                traffic.bytes -= bytes;
                if traffic.copies == 0 {
                    side.remove(&server);
                }
            }
        }
    }

    /// Whether the server, which may have so many streams, can send one more.
    pub(crate) fn can_send(&self, server: ServerId, streams: u32) -> bool {
        self.sent.get(&server).copied().unwrap_or_default().has_room(streams)
    }

    /// Whether it can receive one more.
    pub(crate) fn can_receive(&self, server: ServerId, streams: u32) -> bool {
        self.received.get(&server).copied().unwrap_or_default().has_room(streams)
    }
}
