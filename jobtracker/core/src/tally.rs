//! Counts of a job's attempts of one kind by outcome. `durable` counts those that ended and `job`
//! those that run: the sums are the same whether or not the JobTracker was restarted.

use serde::{Deserialize, Serialize};

use crate::locality::Locality;

/// Numbers of attempts, and how close to their input they ran.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Tally {
    pub(crate) attempts: u32,
    pub(crate) failed: u32,
    pub(crate) killed: u32,
    pub(crate) node_local: u32,
    pub(crate) rack_local: u32,
    pub(crate) off_rack: u32,
}

impl Tally {
    /// Counts one more attempt, which ran at `place` (`None` for reduces).
    pub(crate) fn count(&mut self, place: Option<Locality>) {
        self.attempts += 1;
        self.at(place).into_iter().for_each(|n| *n += 1);
    }

    /// Reverses [`Self::count`].
    pub(crate) fn uncount(&mut self, place: Option<Locality>) {
        self.attempts -= 1;
        self.at(place).into_iter().for_each(|n| *n -= 1);
    }

    fn at(&mut self, place: Option<Locality>) -> Option<&mut u32> {
        Some(match place? {
            Locality::NodeLocal => &mut self.node_local,
            Locality::RackLocal => &mut self.rack_local,
            Locality::OffRack => &mut self.off_rack,
        })
    }
}
