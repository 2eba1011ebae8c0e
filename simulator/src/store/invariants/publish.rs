//! A publish appears whole or not at all, and never replaces what has come to its target in the
//! meantime.

use chunkstore_core::master::{Mutation, Record};
use chunkstore_protocol::{Publish, Winner};

use super::Watch;
use crate::store::model::{Entry, key};

impl Watch {
    pub(super) fn check_publish(&mut self, record: &Record) {
        let Record::Published { stamp, .. } = record else { return };
        let Some(Mutation::Publish(asked)) = self.requests.get(&key(stamp)) else { return };
        let target = asked.target.as_str();
        if self.journaled.contains(&key(stamp)) {
            let what = format!("{:?} was published to {target} again", asked.staging);
            return self.broken("publish", what);
        }
        if !self.can_publish(asked) {
            let (staging, there) = (&asked.staging, self.model.at(target));
            let what = format!("{staging} was published torn, or over {there:?} at {target}");
            self.broken("publish", what);
        }
    }

    /// Whether there is nothing at the target, and every winner is closed.
    pub(crate) fn can_publish(&self, asked: &Publish) -> bool {
        let is_whole = |winner: &Winner| {
            let staged = format!("{}/{}", asked.staging, winner.staged);
            matches!(self.model.at(&staged), Some(Entry::File(file)) if !file.open)
        };
        self.model.at(asked.target.as_str()).is_none() && asked.winners.iter().all(is_whole)
    }

    /// Whether the request has been carried out.
    pub(crate) fn was_published(&self, asked: &Publish) -> bool {
        let stamp = &asked.stamp;
        self.journaled.contains(&(stamp.client.clone(), stamp.slot, stamp.sequence))
    }
}
