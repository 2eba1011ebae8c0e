//! Logs in the model: files whose chunks are added by their servers.

use chunkstore_core::master::Sealed;
use chunkstore_protocol::{CreateLog, FileId};

use super::{Entry, Model, ModelFile, Odd};

impl Model {
    pub(super) fn create_log(
        &mut self,
        id: FileId,
        replication: u8,
        asked: &CreateLog,
    ) -> Result<(), Odd> {
        let log = ModelFile { is_log: true, ..ModelFile::new(id, false, replication) };
        self.add(asked.path.as_str(), asked.parents, Entry::File(log))
    }

    /// A log gets another sealed chunk.
    pub(super) fn end_log_chunk(&mut self, id: FileId, sealed: Sealed) -> Result<(), Odd> {
        let log = self.file_mut(id).filter(|file| file.is_log);
        let log = log.ok_or_else(|| Odd(format!("{id:?} is no log")))?;
        log.chunks.push(sealed);
        Ok(())
    }
}
