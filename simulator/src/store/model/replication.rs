//! How many replicas files ask for, in the model.

use chunkstore_protocol::{FileId, SetReplication};

use super::{Entry, Model, Odd};

impl Model {
    pub(super) fn set_replication(
        &mut self,
        id: FileId,
        asked: &SetReplication,
    ) -> Result<(), Odd> {
        self.spreading.insert(id);
        match self.entries.get_mut(asked.path.as_str()) {
            Some(Entry::File(it)) if it.id == id && !it.open => {
                it.replication = asked.replication;
                Ok(())
            }
            other => Err(Odd(format!("{} is {other:?}", asked.path))),
        }
    }

    /// A chunk of one file is asked for as that file says; one of several as often as any said since.
    pub(super) fn spread(&mut self) {
        for id in std::mem::take(&mut self.spreading) {
            let Some(file) = self.file(id).cloned() else { continue };
            for chunk in file.chunks.iter().map(|sealed| sealed.chunk) {
                let n_files = self.files().filter(|(_, file)| file.has(chunk)).count();
                let before = self.wanted.get(&chunk).copied().filter(|_| n_files > 1);
                self.wanted.insert(chunk, before.unwrap_or(0).max(file.replication));
            }
        }
    }
}
