//! The JobTracker's durable state is the fold of its records, which the next process will start
//! from.

use jobtracker_core::{Core, Durable};

use super::Watch;

impl Watch {
    pub(crate) fn check_fold(&mut self, core: &Core, fold: &Durable) {
        if core.durable() != fold {
            self.broken("fold", "the state is not what its records make".to_owned());
        }
    }
}
