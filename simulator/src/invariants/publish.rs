//! A publish appears whole or not at all, and never over what came to stand at its target later.

use chunkstore_core::master::{Mutation, Record};

use super::Watch;
use crate::model::{Entry, key};

impl Watch {
    pub(super) fn check_publish(&mut self, record: &Record) {
        let Record::Published { stamp, .. } = record else { return };
        let Some(Mutation::Publish(asked)) = self.requests.get(&key(stamp)) else { return };
        let target = asked.target.as_str();
        if self.journaled.contains(&key(stamp)) {
            let what = format!("{:?} was published to {target} again", asked.staging);
            return self.broken("publish", what);
        }
        if self.model.at(target).is_some() {
            let what = format!("{target} was there when {:?} was published to it", asked.staging);
            return self.broken("publish", what);
        }
        let staged =
            asked.winners.iter().map(|winner| format!("{}/{}", asked.staging, winner.staged));
        let is_whole =
            |path: &String| matches!(self.model.at(path), Some(Entry::File(file)) if !file.open);
        let torn: Vec<String> = staged.filter(|path| !is_whole(path)).collect();
        if !torn.is_empty() {
            self.broken("publish", format!("{target} was published without {torn:?}"));
        }
    }
}
