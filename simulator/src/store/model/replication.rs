//! How many replicas files ask for, in the model.

use chunkstore_protocol::{FileId, SetReplication};

use super::{Entry, Model, Odd};

impl Model {
    pub(super) fn set_replication(
        &mut self,
        id: FileId,
        asked: &SetReplication,
    ) -> Result<(), Odd> {
        match self.entries.get_mut(asked.path.as_str()) {
            Some(Entry::File(it)) if it.id == id && !it.open => {
                it.replication = asked.replication;
                Ok(())
            }
            other => Err(Odd(format!("{} is {other:?}", asked.path))),
        }
    }
}
