//! How close to its input a task runs, and how that decides between tasks. With delay scheduling
//! (Zaharia et al., EuroSys 2010), a job declines slots far from its data for a while.

use std::time::Duration;

use ids::Monotonic;
use serde::{Deserialize, Serialize};

/// How close to its input a map runs; closer is less.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Locality {
    /// On a host that holds a replica.
    NodeLocal,
    /// In the rack of such a host.
    RackLocal,
    /// Elsewhere.
    OffRack,
}

/// Rank of a map for a slot: the least score wins, compared field by field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PlacementScore {
    /// Maps that ran before come first: reduces may be waiting for them, and a bad record should
    /// fail its job early.
    pub(crate) first_run: bool,
    /// Then those close to their input.
    pub(crate) locality: Locality,
    /// Then in the order of splits.
    pub(crate) map: u32,
    /// Whether no open host is closer, so that it did not have to wait.
    pub(crate) homeless: bool,
}

impl PlacementScore {
    /// How close to its input it is, if there was a choice.
    pub(crate) fn chosen(&self) -> Option<Locality> {
        (!self.homeless).then_some(self.locality)
    }
}

/// A job's patience: how far from their input its maps may run now.
///
/// It starts at node-local. From the first slot declined since the last launch at that level it
/// waits for one `locality_wait` and then takes rack-local slots; after another wait, any. A launch
/// at a closer level sets it back to that level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Patience {
    limit: Locality,
    /// When the first slot was declined at this level.
    declined_at: Option<Monotonic>,
    /// The farthest level for which idle slots have been offered.
    offered: Locality,
    /// Whether a timer is set to check whether it is over.
    watched: bool,
}

/// The result of checking a patience.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Look {
    /// Whether the job now wants slots that it has declined.
    pub(crate) wants_more: bool,
    /// When to check again.
    pub(crate) again: Option<Monotonic>,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            limit: Locality::NodeLocal,
            declined_at: None,
            offered: Locality::NodeLocal,
            watched: false,
        }
    }
}

impl Patience {
    /// The farthest level allowed at `now`.
    pub(crate) fn limit(&mut self, now: Monotonic, wait: Duration) -> Locality {
        while let Some(over) = self.declined_at.map(|at| at + wait).filter(|over| *over <= now) {
            (self.limit, self.declined_at) = match self.limit {
                Locality::NodeLocal => (Locality::RackLocal, Some(over)),
                Locality::RackLocal | Locality::OffRack => (Locality::OffRack, None),
            };
        }
        self.limit
    }

    /// The farthest level allowed at `now`, and when that ends, if a slot was declined at this
    /// level.
    pub(crate) fn now(&self, now: Monotonic, wait: Duration) -> (Locality, Option<Monotonic>) {
        let mut then = *self;
        let limit = then.limit(now, wait);
        (limit, then.declined_at.map(|at| at + wait))
    }

    /// A slot was declined. Returns when to [`Self::look`], unless a timer is already set.
    pub(crate) fn decline(&mut self, now: Monotonic, wait: Duration) -> Option<Monotonic> {
        match self.limit {
            Locality::OffRack => None,
            Locality::NodeLocal | Locality::RackLocal => {
                let at = *self.declined_at.get_or_insert(now) + wait;
                (!std::mem::replace(&mut self.watched, true)).then_some(at)
            }
        }
    }

    /// To be called when [`Self::decline`] or this said so. A launch in between restarts the wait
    /// without a new timer: one timer serves many launches.
    pub(crate) fn look(&mut self, now: Monotonic, wait: Duration) -> Look {
        let limit = self.limit(now, wait);
        let wants_more = limit > self.offered;
        self.offered = limit;
        let again = self.declined_at.map(|at| at + wait);
        self.watched = again.is_some();
        Look { wants_more, again }
    }

    /// A task was launched at that level. (`None`: there was no closer choice, which says nothing
    /// about the others.)
    pub(crate) fn launched(&mut self, locality: Option<Locality>) {
        if let Some(limit) = locality {
            let offered = self.offered.min(limit);
            *self = Self { limit, declined_at: None, offered, ..*self };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WAIT: Duration = Duration::from_secs(1);

    fn at(millis: u64) -> Monotonic {
        Monotonic(Duration::from_millis(millis))
    }

    #[test]
    fn one_timer_sees_to_many_launches() {
        let mut patience = Patience::default();
        assert_eq!(patience.decline(at(1000), WAIT), Some(at(2000)));
        patience.launched(Some(Locality::NodeLocal));
        assert_eq!(patience.decline(at(1500), WAIT), None, "a timer is set");
        let look = |wants_more, again: Option<u64>| Look { wants_more, again: again.map(at) };
        assert_eq!(patience.look(at(2000), WAIT), look(false, Some(2500)));
        assert_eq!(patience.look(at(2500), WAIT), look(true, Some(3500)), "the rack will do");
        // A job is asked before the next look.
        assert_eq!(patience.limit(at(3500), WAIT), Locality::OffRack);
        assert_eq!(
            patience.look(at(3500), WAIT),
            look(true, None),
            "whoever was declined has not been asked"
        );
        patience.launched(Some(Locality::NodeLocal));
        assert_eq!(patience.decline(at(3600), WAIT), Some(at(4600)));
        patience.launched(Some(Locality::NodeLocal));
        assert_eq!(patience.look(at(4600), WAIT), look(false, None));
    }

    #[test]
    fn patience_ends_level_by_level_and_comes_back_with_a_nearer_launch() {
        let mut patience = Patience::default();
        assert_eq!(patience.limit(at(9000), WAIT), Locality::NodeLocal, "nothing was declined");
        assert_eq!(patience.decline(at(9000), WAIT), Some(at(10_000)));
        assert_eq!(patience.decline(at(9500), WAIT), None, "the first one counts");
        assert_eq!(patience.limit(at(9999), WAIT), Locality::NodeLocal);
        assert_eq!(patience.limit(at(10_000), WAIT), Locality::RackLocal);
        assert_eq!(patience.limit(at(11_000), WAIT), Locality::OffRack);
        assert_eq!(patience.decline(at(11_000), WAIT), None);
        patience.launched(None);
        assert_eq!(patience.limit(at(11_000), WAIT), Locality::OffRack);
        patience.launched(Some(Locality::RackLocal));
        assert_eq!(patience.limit(at(99_000), WAIT), Locality::RackLocal);
    }
}
