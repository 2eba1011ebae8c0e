//! The results: times, places, slots in use, backups.

use std::collections::BTreeMap;
use std::time::Duration;

use jobtracker_core::Locality;
use mapreduce_protocol::JobState;

/// The results of a simulation. Times are counted from its beginning, the earliest time at which a
/// job may be submitted.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    /// From the first submission to the last end.
    pub time: Duration,
    /// The jobs, in the order of the scenario.
    pub jobs: Vec<JobReport>,
    /// Slots of all hosts together.
    pub slots: u64,
    /// Slots in use over time, from the first submission on.
    pub timeline: Vec<InUse>,
    /// The outcomes of the backups.
    pub backups: Backups,
    /// Attempts that were killed or lost with their hosts.
    pub killed: u64,
    /// Attempts that were run because an earlier one did not succeed or its output was lost;
    /// backups are not counted.
    pub rerun: u64,
    /// Maps' outputs that were lost.
    pub outputs_lost: u64,
    /// What the pools that had jobs held, by the pool's name.
    pub pools: BTreeMap<String, PoolReport>,
    /// The number of simulated events: what the simulation cost.
    pub events: u64,
}

/// The mean number of slots in use during one piece of the time.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct InUse {
    /// By maps.
    pub maps: f64,
    /// By reduces.
    pub reduces: f64,
}

/// What became of one job.
#[derive(Clone, Debug, PartialEq)]
pub struct JobReport {
    /// Its name for people.
    pub name: String,
    /// How it ended.
    pub state: JobState,
    /// Why it did not succeed, if it did not.
    pub failure: Option<String>,
    /// When it was submitted.
    pub submitted: Duration,
    /// When its first attempt was launched.
    pub launched: Option<Duration>,
    /// When its last map was done; after a lost output, when that was made again.
    pub maps_done: Option<Duration>,
    /// When the last of its reduces had fetched everything.
    pub fetched: Option<Duration>,
    /// When its last task was done.
    pub tasks_done: Option<Duration>,
    /// When it ended; if it succeeded, with its output published.
    pub ended: Duration,
    /// The number of its map tasks.
    pub maps: usize,
    /// The number of its reduce tasks.
    pub reduces: usize,
    /// How many of the winning maps ran on a host of their data, on the rack of one, and elsewhere.
    pub places: Places,
    /// Bytes of maps' outputs that its reduces fetched.
    pub fetched_bytes: f64,
    /// How many of these came from other hosts than the reduce's own.
    pub fetched_from_others: f64,
    /// The total time for which its attempts held slots.
    pub slot_time: Duration,
}

/// How near maps ran to their data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Places {
    /// On a host that has the data.
    pub node_local: u64,
    /// On the rack of such a host.
    pub rack_local: u64,
    /// On any other host.
    pub off_rack: u64,
}

/// The outcomes of backups.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backups {
    /// Backups that succeeded before the late attempt.
    pub won: u64,
    /// Backups whose late attempt succeeded first.
    pub lost: u64,
    /// Backups that ended without any success: they failed, or were killed, for example because
    /// their slots were needed.
    pub useless: u64,
}

/// What one pool held, and what was due to it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct PoolReport {
    /// The slots that it held, times seconds.
    pub held: f64,
    /// The slots that it should have held, times seconds: at each time its fair share of what all
    /// pools wanted.
    pub due: f64,
}

impl Report {
    /// The share of all slots' time that was used, 0 to 1.
    #[must_use]
    pub fn utilisation(&self) -> f64 {
        let used: f64 = self.timeline.iter().map(|it| it.maps + it.reduces).sum();
        let whole = self.timeline.len() as f64 * self.slots as f64;
        if whole > 0.0 { used / whole } else { 0.0 }
    }

    /// How near to their data the maps of all jobs ran.
    #[must_use]
    pub fn places(&self) -> Places {
        let mut sum = Places::default();
        self.jobs.iter().for_each(|job| sum.add(job.places));
        sum
    }

    /// Jain's index of the ratio between what each pool held and what was due to it: 1 if it is the
    /// same for all.
    #[must_use]
    pub fn fairness(&self) -> f64 {
        let parts = self.pools.values().filter(|it| it.due > 0.0).map(|it| it.held / it.due);
        jain(parts)
    }
}

impl Places {
    /// Counts a map that ran at this distance from its data.
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

    /// The three as shares of their sum, 0 to 1.
    #[must_use]
    pub fn shares(&self) -> [f64; 3] {
        let all = [self.node_local, self.rack_local, self.off_rack];
        let sum = all.iter().sum::<u64>().max(1) as f64;
        all.map(|n| n as f64 / sum)
    }
}

/// Jain's index of fairness: 1 if all numbers are equal, 1/n if all but one are 0.
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
