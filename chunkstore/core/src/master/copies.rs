//! Changes of whole closed files that move no bytes: copies, which share chunks, and the number of
//! replicas that a file asks for. These plan records; their effect is in `Durable::apply`.

use chunkstore_protocol::{Copy, FileId, SetReplication, StorePath};
use ids::UnixMillis;

use super::Master;
use super::error::FsError;
use super::layout::File;
use super::record::{Record, Stamp};
use super::tree::{Spot, Target};

/// Chunks of a file that can be copied, at most: a copy is not split into steps, and counting the
/// chunks blocks the loop. At full length they hold 6.4 TB.
pub const COPY_CHUNKS_MAX: usize = 100_000;
/// Chunks to which one record applies a new number of replicas: the repair looks at each.
pub(super) const REPLICATION_STEP: u32 = 1000;

impl Master {
    pub(super) fn plan_copy(
        &self,
        at: UnixMillis,
        stamp: &Stamp,
        owner: &str,
        request: &Copy,
    ) -> Result<Record, FsError> {
        let Copy { stamp: _, from, to, replace, parents } = request;
        let (source, file) = self.closed_file(from)?;
        let (given, max) = (file.n_chunks(), COPY_CHUNKS_MAX);
        if given > max {
            return Err(FsError::CopyTooLong { path: from.clone(), given, max });
        }
        let Target { spot: Spot { parent, folders, name }, replaced } =
            self.target((from, source), to, *replace, *parents)?;
        Ok(Record::Copied {
            stamp: stamp.clone(),
            at,
            source,
            parent,
            name: name.to_owned(),
            file: self.next_file_after(&folders),
            folders,
            replaced,
            owner: self.admitted(owner)?,
        })
    }

    /// A file that is being written keeps the number with which its chunks are allotted.
    pub(super) fn plan_set_replication(
        &self,
        stamp: &Stamp,
        request: &SetReplication,
    ) -> Result<Vec<Record>, FsError> {
        let SetReplication { stamp: _, path, replication } = request;
        let replication = self.replication(Some(*replication))?;
        let file = self.find(path)?;
        // The open chunk of a log gets the new number when it is sealed.
        if !self.durable.namespace().file(file).is_some_and(|it| it.log) {
            self.closed_file(path)?;
        }
        let stamp = stamp.clone();
        let set = Record::ReplicationSet { stamp, file, replication };
        Ok(vec![set, Record::ReplicationSpread { chunks: REPLICATION_STEP }])
    }

    /// The file at `path`, if nobody writes it and it is not a log, which never has all its bytes.
    pub(super) fn closed_file(&self, path: &StorePath) -> Result<(FileId, &File), FsError> {
        let id = self.find(path)?;
        let file = self.durable.namespace().file(id);
        let file = file.ok_or_else(|| FsError::IsAFolder { path: path.clone() })?;
        if file.log {
            return Err(FsError::IsALog { path: path.clone() });
        }
        match self.durable.writer(id) {
            Some(_) => Err(FsError::StillOpen { path: path.clone() }),
            None => Ok((id, file)),
        }
    }
}
