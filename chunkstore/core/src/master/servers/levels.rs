//! How full the servers are, of all that is on their disks but for the trash: what the balancer evens. The share
//! counts, not the bytes: servers differ in size.

use super::{Server, ServerId, Servers};

/// A whole, in the unit of shares.
pub(crate) const WHOLE: u64 = 1_000_000;

/// Space of one server, or of several together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Level {
    /// Bytes.
    pub(crate) used: u64,
    /// Bytes.
    pub(crate) capacity: u64,
}

impl Level {
    /// Which share is used, of [`WHOLE`]; what has no disk is full.
    pub(crate) fn share(self) -> u64 {
        let share = u128::from(self.used) * u128::from(WHOLE);
        match share.checked_div(u128::from(self.capacity)) {
            Some(share) => u64::try_from(share).unwrap_or(WHOLE).min(WHOLE),
            None => WHOLE,
        }
    }

    /// The bytes of that share.
    pub(crate) fn bytes_of(self, share: u64) -> u64 {
        let bytes = u128::from(self.capacity) * u128::from(share) / u128::from(WHOLE);
        u64::try_from(bytes).unwrap_or(u64::MAX)
    }

    /// Bytes.
    pub(crate) fn free(self) -> u64 {
        self.capacity.saturating_sub(self.used)
    }

    /// With so many bytes more, and then so many fewer.
    pub(crate) fn after(self, more: u64, fewer: u64) -> Self {
        Self { used: self.used.saturating_add(more).saturating_sub(fewer), ..self }
    }
}

/// That too little is free on the servers that take new chunks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shortage {
    pub(crate) free_bytes: u64,
    pub(crate) capacity_bytes: u64,
    /// So much more would have to be free on those that have less than they should.
    pub(crate) missing_bytes: u64,
}

impl Servers {
    /// Whether less than that share of the space is free, of all servers together, or of all but one: most chunks have
    /// replicas on two. What lies in the servers' own trash gives way, and counts as free.
    pub(crate) fn shortage(&self, free_min_percent: u8) -> Option<Shortage> {
        let needed = |level: Level| level.bytes_of(u64::from(free_min_percent) * WHOLE / 100);
        let (mut sum, mut missing_bytes) = (Level::default(), 0);
        let (mut n_servers, mut n_short) = (0_usize, 0);
        for (_, server) in self.serving() {
            let level = server.level();
            let missing = needed(level).saturating_sub(level.free());
            n_servers += 1;
            n_short += usize::from(missing > 0);
            missing_bytes += missing;
            sum.used += level.used;
            sum.capacity += level.capacity;
        }
        let all = sum.free() < needed(sum);
        let all_but_one = n_servers - n_short < n_servers.min(2);
        let (free_bytes, capacity_bytes) = (sum.free(), sum.capacity);
        (all || all_but_one).then_some(Shortage { free_bytes, capacity_bytes, missing_bytes })
    }

    /// The servers that get chunks, and have told all that they hold, as they told it last.
    pub(crate) fn levels(&self) -> impl Iterator<Item = (ServerId, Level)> {
        self.serving()
            .filter(|(_, server)| server.report_complete)
            .map(|(id, server)| (id, server.level()))
    }

    /// As it was told last.
    pub(crate) fn level(&self, id: ServerId) -> Level {
        self.server(id).level()
    }

    /// Free for chunks there, less what was given away since it told so.
    pub(crate) fn room(&self, id: ServerId) -> u64 {
        self.server(id).room()
    }
}

impl Server {
    pub(super) fn level(&self) -> Level {
        // The trash gives way to chunks; and what has just moved away lies there for a while.
        let trash: u64 = self.told.disks.iter().map(|disk| disk.trash_bytes).sum();
        let free = self.free_bytes.saturating_add(trash);
        Level { used: self.capacity_bytes.saturating_sub(free), capacity: self.capacity_bytes }
    }
}
