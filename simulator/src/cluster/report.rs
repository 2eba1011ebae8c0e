//! What came out: times, places, slots in use, backups.

use std::collections::BTreeMap;
use std::time::Duration;

use jobtracker_core::Locality;
use mapreduce_protocol::JobState;

/// See the module. Times are from the beginning, at which the first job may be submitted.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    /// From the first submit to the last end.
    pub time: Duration,
    /// The jobs, in the order of the scenario.
    pub jobs: Vec<JobReport>,
    /// Slots of all hosts.
    pub slots: u64,
    /// Slots in use over time, from the first submit on.
    pub timeline: Vec<InUse>,
    /// What came of the backups.
    pub backups: Backups,
    /// Attempts that were killed or lost with their hosts.
    pub killed: u64,
    /// Attempts that were run because the one before did not succeed; without backups.
    pub rerun: u64,
    /// Maps' outputs that were lost and had to be made again.
    pub outputs_lost: u64,
    /// What the pools held, by name; of pools that had jobs.
    pub pools: BTreeMap<String, PoolReport>,
    /// Things that happened: what the simulation cost.
    pub events: u64,
}

/// Slots in use during one piece of time, in the mean.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct InUse {
    /// By maps.
    pub maps: f64,
    /// By reduces.
    pub reduces: f64,
}

/// One job.
#[derive(Clone, Debug, PartialEq)]
pub struct JobReport {
    /// What people call it.
    pub name: String,
    /// How it ended.
    pub state: JobState,
    /// Why, if it did not succeed.
    pub failure: Option<String>,
    /// When it was submitted.
    pub submitted: Duration,
    /// When its first attempt was launched.
    pub launched: Option<Duration>,
    /// When its last map was done, the last time.
    pub maps_done: Option<Duration>,
    /// When its last reduce had fetched everything.
    pub fetched: Option<Duration>,
    /// When its last task was done.
    pub tasks_done: Option<Duration>,
    /// When its output was there.
    pub ended: Duration,
    /// Tasks.
    pub maps: usize,
    /// The same.
    pub reduces: usize,
    /// Maps that won on a host of their bytes, on the rack of one, elsewhere.
    pub places: Places,
    /// Bytes of maps' outputs that its reduces had.
    pub fetched_bytes: f64,
    /// Those of them that came from other hosts than their own.
    pub fetched_from_others: f64,
    /// Time that its attempts held slots.
    pub slot_time: Duration,
}

/// How near maps ran to their bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Places {
    /// On a host of them.
    pub node_local: u64,
    /// On the rack of one.
    pub rack_local: u64,
    /// Elsewhere.
    pub off_rack: u64,
}

/// What came of backups.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backups {
    /// They succeeded first.
    pub won: u64,
    /// The late attempts did.
    pub lost: u64,
    /// Neither: they died, or their slots were needed.
    pub useless: u64,
}

/// What one pool held.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct PoolReport {
    /// Slots times seconds.
    pub held: f64,
    /// The same, had it at all times held its share of what all wanted.
    pub due: f64,
}

impl Report {
    /// The part of all slots' time that was used, 0 to 1.
    #[must_use]
    pub fn utilisation(&self) -> f64 {
        let used: f64 = self.timeline.iter().map(|it| it.maps + it.reduces).sum();
        let whole = self.timeline.len() as f64 * self.slots as f64;
        if whole > 0.0 { used / whole } else { 0.0 }
    }

    /// Where all maps ran.
    #[must_use]
    pub fn places(&self) -> Places {
        let mut sum = Places::default();
        self.jobs.iter().for_each(|job| sum.add(job.places));
        sum
    }

    /// Jain's index of what the pools held of what was due to them: 1 if all got the same part of it.
    #[must_use]
    pub fn fairness(&self) -> f64 {
        let parts = self.pools.values().filter(|it| it.due > 0.0).map(|it| it.held / it.due);
        jain(parts)
    }
}

impl Places {
    /// A map ran there.
    pub(crate) fn count(&mut self, place: Locality) {
        *match place {
            Locality::NodeLocal => &mut self.node_local,
            Locality::RackLocal => &mut self.rack_local,
            Locality::OffRack => &mut self.off_rack,
        } += 1;
    }

    fn add(&mut self, other: Self) {
        self.node_local += other.node_local;
        self.rack_local += other.rack_local;
        self.off_rack += other.off_rack;
    }

    /// The shares of the three, 0 to 1.
    #[must_use]
    pub fn shares(&self) -> [f64; 3] {
        let all = [self.node_local, self.rack_local, self.off_rack];
        let sum = all.iter().sum::<u64>().max(1) as f64;
        all.map(|n| n as f64 / sum)
    }
}

/// Jain's index of fairness: 1 if all parts are equal, 1/n if one has all.
fn jain(parts: impl Iterator<Item = f64>) -> f64 {
    let (mut n, mut sum, mut squares) = (0.0, 0.0, 0.0);
    for part in parts {
        n += 1.0;
        sum += part;
        squares += part * part;
    }
    if squares > 0.0 { sum * sum / (n * squares) } else { 1.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jains_index_is_one_where_all_get_alike() {
        for (parts, expected) in [
            (&[0.5, 0.5, 0.5][..], 1.0),
            (&[1.0, 0.0], 0.5),
            (&[1.0, 0.0, 0.0, 0.0], 0.25),
            (&[], 1.0),
        ] {
            assert!((jain(parts.iter().copied()) - expected).abs() < 1e-9, "{parts:?}");
        }
    }
}
