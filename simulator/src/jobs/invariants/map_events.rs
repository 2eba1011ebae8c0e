//! What reduces are told of map outputs is true and in order: once a tracker has received a reply,
//! no reduce there wants an output that was withdrawn before the reply was made.

use ids::Epoch;

use super::Watch;
use crate::jobs::process::Process;

impl Watch {
    /// This term, and how many outputs were withdrawn in it.
    pub(crate) fn withdrawn(&self) -> (Epoch, usize) {
        (self.book.epoch, self.withdrawn.len())
    }

    /// A tracker has received a reply that was made after `n` withdrawals in `epoch`.
    pub(crate) fn check_beliefs<'a>(
        &mut self,
        tracker: usize,
        (epoch, n): (Epoch, usize),
        reduces: impl Iterator<Item = &'a Process>,
    ) {
        // Another term has another list, which does not contain the losses of this one.
        if epoch != self.book.epoch || self.withdrawn.is_empty() {
            return;
        }
        let gone = &self.withdrawn[..n.min(self.withdrawn.len())];
        for reduce in reduces {
            let wanted = reduce.wanted.values().find(|source| gone.contains(&source.map));
            if let Some(source) = wanted {
                let what = format!(
                    "{} on host-{tracker} wants {}, which was withdrawn",
                    reduce.attempt(),
                    source.map
                );
                return self.broken("map_events", what);
            }
        }
    }
}
