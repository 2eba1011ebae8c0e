//! A mutation that was acknowledged survives every crash.

use chunkstore_core::master::Record;

use super::Watch;
use crate::store::model::{StampKey, key};

impl Watch {
    /// A caller was told that its request is done.
    pub(crate) fn acknowledge(&mut self, stamp: &StampKey) {
        if self.journaled.contains(stamp) {
            self.acknowledged.insert(stamp.clone());
        }
    }

    pub(super) fn check_acknowledged(&mut self, journal: &[Record]) {
        let kept: std::collections::BTreeSet<StampKey> =
            journal.iter().filter_map(Record::stamp).map(key).collect();
        if let Some(lost) = self.acknowledged.difference(&kept).next() {
            let what =
                format!("{lost:?} was acknowledged and is gone: {:?}", self.requests.get(lost));
            self.broken("acknowledged", what);
        }
    }
}
