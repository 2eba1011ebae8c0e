//! How much each chunkserver copies at once. Sending and receiving are counted separately: a server
//! that is busy with one can do the other, and no source idles because its partner is busy.

use std::collections::BTreeMap;

use super::servers::ServerId;

/// Bytes that each stream of a server stands for, when sending or receiving. Smaller chunks are
/// copied in larger numbers, since each takes a message and a sync, whatever its length.
const STREAM_BYTES: u64 = 16 << 20;
/// Small chunks in place of a large one, at most.
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
    /// A copy of this many bytes begins.
    pub(crate) fn begin(&mut self, source: ServerId, target: ServerId, bytes: u64) {
        for traffic in [self.sent.entry(source), self.received.entry(target)] {
            let traffic = traffic.or_default();
            traffic.copies += 1;
            traffic.bytes += bytes;
        }
    }

    /// A copy that began with the same arguments ends.
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

    /// Whether the server can send one more copy, if it may have this many streams.
    pub(crate) fn can_send(&self, server: ServerId, streams: u32) -> bool {
        self.sent.get(&server).copied().unwrap_or_default().has_room(streams)
    }

    /// Whether it can receive one more.
    pub(crate) fn can_receive(&self, server: ServerId, streams: u32) -> bool {
        self.received.get(&server).copied().unwrap_or_default().has_room(streams)
    }
}
