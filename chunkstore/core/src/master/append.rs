//! How a closed file begins again, and how an open one ends without its writer. Each plans one record; the
//! life in between is `files.rs`'.
//!
//! A reopened file is two things at once: what it was, which everybody reads, and the chunks behind that,
//! which are its writer's until the close. A copy made before shares none of the latter.

use chunkstore_protocol::{Append, FileId, IfWriterDies};
use ids::UnixMillis;

use super::durable::Writer;
use super::error::FsError;
use super::files::Order;
use super::record::{Record, Stamp};
use super::{Master, Notice};

impl Master {
    pub(super) fn plan_append(
        &mut self,
        at: UnixMillis,
        stamp: &Stamp,
        request: &Append,
    ) -> Result<Record, FsError> {
        let Append { stamp: _, path, writer_host } = request;
        let id = self.find(path)?;
        let file = self.durable.namespace().file(id);
        let file = file.ok_or_else(|| FsError::IsAFolder { path: path.clone() })?;
        let (replication, chunk_bytes) = (file.replication, file.chunk_bytes());
        if self.durable.writer(id).is_some() {
            return Err(FsError::StillOpen { path: path.clone() });
        }
        let writer_host = writer_host.as_ref();
        let order = Order { path, replication, chunk_bytes, exclude: &[], writer_host };
        let allotted = self.allot(&order)?;
        Ok(Record::FileReopened { stamp: stamp.clone(), at, file: id, allotted })
    }

    /// What becomes of an open file whose lease has ended; nothing if it is closed or gone.
    pub(super) fn plan_writer_death(
        &self,
        at: UnixMillis,
        file: FileId,
    ) -> Option<(Record, Notice)> {
        let writer = self.durable.writer(file)?;
        let path = self.durable.namespace().path_of(file)?;
        let length = self.durable.namespace().file(file)?.length();
        let closed =
            |cut| (Record::WriterDied { at, file, cut }, Notice::WriterDied { path, length });
        Some(match writer {
            // What was appended is whole chunks, and nobody was told that more would come.
            Writer { reopened_at: Some(_), .. } => closed(false),
            Writer { if_writer_dies: IfWriterDies::Close, .. } => closed(true),
            Writer { if_writer_dies: IfWriterDies::Remove, .. } => {
                let path = self.durable.namespace().path_of(file)?;
                (Record::LeaseExpired { at, file }, Notice::LeaseExpired { path })
            }
        })
    }
}
