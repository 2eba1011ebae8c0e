//! How full the servers are, counting everything on their disks except the trash: what the balancer
//! evens out. The share counts, not the bytes: servers differ in size.

use super::{Server, ServerId, Servers};

/// The full share, in the unit of shares.
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
    /// The used share, out of [`WHOLE`]; without any disk it is full.
    pub(crate) fn share(self) -> u64 {
        let share = u128::from(self.used) * u128::from(WHOLE);
        match share.checked_div(u128::from(self.capacity)) {
            Some(share) => u64::try_from(share).unwrap_or(WHOLE).min(WHOLE),
            None => WHOLE,
        }
    }

    /// That share of the capacity, in bytes.
    pub(crate) fn bytes_of(self, share: u64) -> u64 {
        let bytes = u128::from(self.capacity) * u128::from(share) / u128::from(WHOLE);
        u64::try_from(bytes).unwrap_or(u64::MAX)
    }

    /// Free bytes.
    pub(crate) fn free(self) -> u64 {
        self.capacity.saturating_sub(self.used)
    }

    /// The level with `more` bytes added and `fewer` removed.
    pub(crate) fn after(self, more: u64, fewer: u64) -> Self {
        Self { used: self.used.saturating_add(more).saturating_sub(fewer), ..self }
    }
}

/// The servers that take new chunks have too little free space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shortage {
    pub(crate) free_bytes: u64,
    pub(crate) capacity_bytes: u64,
    /// Free bytes missing on those servers that have less than they should.
    pub(crate) missing_bytes: u64,
}

impl Servers {
    /// The shortage, if less than that share is free on all servers together, or on all of them but
    /// one: most chunks have replicas on two. The servers' own trash makes way for chunks, and
    /// counts as free.
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

    /// The levels of the servers that get chunks and have completed their reports, as last
    /// reported.
    pub(crate) fn levels(&self) -> impl Iterator<Item = (ServerId, Level)> {
        self.serving()
            .filter(|(_, server)| server.report_complete)
            .map(|(id, server)| (id, server.level()))
    }

    /// The level as last reported.
    pub(crate) fn level(&self, id: ServerId) -> Level {
        self.server(id).level()
    }

    /// Space free for chunks there, less what was allotted since it was reported.
    pub(crate) fn room(&self, id: ServerId) -> u64 {
        self.server(id).room()
    }
}

impl Server {
    pub(super) fn level(&self) -> Level {
        // The trash makes way for chunks, and what was just moved away stays there for a while.
        let trash: u64 = self.told.disks.iter().map(|disk| disk.trash_bytes).sum();
        let free = self.free_bytes.saturating_add(trash);
        Level { used: self.capacity_bytes.saturating_sub(free), capacity: self.capacity_bytes }
    }
}
