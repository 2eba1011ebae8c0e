//! The same stamp gets the same answer, also after restarts, and is carried out once. After a
//! refusal nothing has happened.

use chunkstore_core::master::{FsError, Record, Refusal, Reply};

use super::Watch;
use crate::store::model::{StampKey, key};

impl Watch {
    pub(super) fn check_once(&mut self, record: &Record) {
        if let Some(stamp) = record.stamp().map(key).filter(|it| self.journaled.contains(it)) {
            self.broken("same_answer", format!("{stamp:?} was carried out again: {record:?}"));
        }
    }

    /// The master's core has decided a mutation. A copy of a refused request may still be carried
    /// out later, as long as nobody listens to both answers: a refusal is not remembered.
    pub(crate) fn see_decided(&mut self, stamp: &StampKey, answer: &Result<Reply, Refusal>) {
        let done = self.journaled.contains(stamp);
        match (answer, self.answers.get(stamp)) {
            (Ok(reply), Some(first)) if first != reply => {
                self.broken("same_answer", format!("{stamp:?} got {first:?} and then {reply:?}"));
            }
            (Ok(reply), None) if done => drop(self.answers.insert(stamp.clone(), reply.clone())),
            (Ok(_), _) | (Err(Refusal::Files(FsError::StaleRequest { .. })), _) => {}
            (Err(refusal), _) if done => {
                let what = format!("{stamp:?} is carried out and was refused: {refusal}");
                self.broken("same_answer", what);
            }
            (Err(_), _) => {}
        }
    }
}
