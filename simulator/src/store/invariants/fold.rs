//! The master's state is the fold of its records: the same that a recovery would give.

use chunkstore_core::master::Master;

use super::Watch;

impl Watch {
    pub(crate) fn check_fold(&mut self, master: &Master) {
        master.durable().check_invariants();
        if master.durable() != &self.fold {
            self.broken("fold", "the state is not what its records make".to_owned());
        }
    }
}
