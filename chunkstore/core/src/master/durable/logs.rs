//! Logs: their open chunks.

use std::collections::BTreeMap;

use chunkstore_protocol::{ChunkId, FileId, ServerAddress, Version};
use ids::HostName;
use serde::{Deserialize, Serialize};

use super::{Dropped, Durable, SealedState};
use crate::master::layout::File;
use crate::master::namespace::{Birth, EntryKind};
use crate::master::record::{Allotted, Record, Sealed};

/// The open chunk of a log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct OpenChunk {
    pub(crate) chunk: ChunkId,
    pub(crate) version: Version,
    /// The servers that it was allotted on, the primary first.
    pub(crate) servers: Vec<ServerAddress>,
    /// The number with which its primary began; `None` until it may take records.
    pub(crate) begun: Option<u64>,
}

impl OpenChunk {
    /// Whether it was allotted on this server.
    pub(crate) fn is_on(&self, host: &HostName) -> bool {
        self.servers.iter().any(|server| server.host == *host)
    }
}

/// All logs that have an open chunk.
pub(crate) type Logs = BTreeMap<FileId, OpenChunk>;

impl Durable {
    pub(super) fn apply_to_log(&mut self, record: &Record) -> Vec<Dropped> {
        match record {
            Record::LogCreated { .. } => {
                self.apply_log_created(record);
                Vec::new()
            }
            Record::LogChunkAllotted { file, allotted } => {
                let Allotted { chunk, version, pipeline } = allotted.clone();
                self.next_chunk = self.next_chunk.max(chunk.0 + 1);
                self.open_chunks.insert(chunk, *file);
                self.logs
                    .insert(*file, OpenChunk { chunk, version, servers: pipeline, begun: None });
                Vec::new()
            }
            Record::LogChunkBegun { file, beginning, at } => {
                if let Some(open) = self.logs.get_mut(file) {
                    open.begun = Some(*beginning);
                    // Of the records that follow the master hears at the chunk's end.
                    if at.0 > 0 {
                        self.namespace.touch(*file, *at);
                    }
                }
                Vec::new()
            }
            Record::LogChunkEnded { at, file, sealed } => {
                let Some(open) = self.end_log(*file) else { return Vec::new() };
                let Some(sealed) = sealed else { return vec![open] };
                self.namespace.touch(*file, *at);
                self.append_sealed(*file, *sealed);
                Vec::new()
            }
            _ => unreachable!("the others are told apart before"),
        }
    }

    fn apply_log_created(&mut self, record: &Record) {
        if let Record::LogCreated {
            stamp,
            at,
            parent,
            folders,
            name,
            file,
            replication,
            chunk_bytes,
            owner,
        } = record
        {
            let birth = Birth { at: *at, owner };
            let parent = self.make_folders(*parent, folders, birth);
            let mut log = File::new(*replication, *chunk_bytes);
            log.log = true;
            self.insert(*file, parent, name, EntryKind::File(log), birth);
            self.reply_closed(stamp, *file, *at);
        }
    }

    /// Removes and returns the open chunk of a log.
    pub(super) fn end_log(&mut self, log: FileId) -> Option<Dropped> {
        let OpenChunk { chunk, version, .. } = self.logs.remove(&log)?;
        self.open_chunks.remove(&chunk);
        Some(Dropped { chunk, version })
    }

    /// Makes a sealed chunk the last one of a file.
    pub(super) fn append_sealed(&mut self, file: FileId, sealed: Sealed) {
        let Sealed { chunk, version, length, checksum } = sealed;
        let owner = self.namespace.file_mut(file);
        owner.append(chunk, length);
        let wanted = owner.replication;
        let length = u32::try_from(length).expect("chunks are bounded far below 4 GiB");
        self.sealed.insert(chunk, SealedState { version, length, checksum, wanted, referents: 1 });
    }

    /// A log's open chunk, if it has one.
    pub(crate) fn open_log(&self, log: FileId) -> Option<&OpenChunk> {
        self.logs.get(&log)
    }

    /// The log whose open chunk this is.
    pub(crate) fn log_of(&self, chunk: ChunkId) -> Option<(FileId, &OpenChunk)> {
        let log = *self.open_chunks.get(&chunk)?;
        Some((log, self.logs.get(&log).filter(|open| open.chunk == chunk)?))
    }

    /// All logs that have an open chunk.
    pub(crate) fn open_logs(&self) -> impl Iterator<Item = (FileId, &OpenChunk)> {
        self.logs.iter().map(|(log, open)| (*log, open))
    }
}
