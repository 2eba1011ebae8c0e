//! How a closed file is reopened, and how an open one ends without its writer. Each function plans
//! one record; the life in between belongs to `files.rs`.
//!
//! A reopened file has two parts: the chunks that it had, which everybody reads, and those behind
//! them, which belong to its writer until the close. A copy made before shares none of the latter.

use chunkstore_protocol::{Append, FileId, IfWriterDies, ServerCommand};
use ids::{ClientId, Monotonic, UnixMillis};

use super::durable::Writer;
use super::error::FsError;
use super::files::Order;
use super::record::{Record, Stamp};
use super::servers::ServerId;
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
        if file.log {
            return Err(FsError::IsALog { path: path.clone() });
        }
        if self.durable.writer(id).is_some() {
            return Err(FsError::StillOpen { path: path.clone() });
        }
        let writer_host = writer_host.as_ref();
        let order = Order { path, replication, chunk_bytes, exclude: &[], writer_host };
        let allotted = self.allot(&order)?;
        Ok(Record::FileReopened { stamp: stamp.clone(), at, file: id, allotted })
    }

    /// The open chunk that a record gives up, and the servers that may have begun to write it
    /// without having told the master yet. The chunks that a close gives up were never written to.
    pub(super) fn given_up(&self, record: &Record) -> Option<(ServerCommand, Vec<ServerId>)> {
        let (Record::ChunkAllocated { file, sealed: None, .. }
        | Record::FileAbandoned { file, .. }
        | Record::AppendAbandoned { file, .. }
        | Record::LeaseExpired { file, .. }
        | Record::AppendLapsed { file, .. }
        | Record::WriterDied { file, .. }) = record
        else {
            return None;
        };
        let writer = self.durable.writer(*file)?;
        let (chunk, version) = writer.open?;
        let pipeline = writer.pipeline.iter().filter_map(|host| self.servers.by_host(host));
        let unheard = pipeline.filter(|by| !self.replicas.is_claimed(chunk, by.server));
        Some((
            ServerCommand::Delete { chunk, version, orphan: false },
            unheard.map(|by| by.server).collect(),
        ))
    }

    /// Tells the servers to delete a chunk that was given up.
    pub(super) fn discard(&mut self, unfinished: Option<(ServerCommand, Vec<ServerId>)>) {
        let Some((command, servers)) = unfinished else { return };
        for server in servers {
            self.servers.command(server, command.clone());
        }
    }

    /// The writer's connection has ended: its leases end soon unless it renews them.
    pub(super) fn writer_gone(&mut self, now: Monotonic, client: &ClientId, files: &[FileId]) {
        let until = now + self.settings.lease_grace;
        for &file in files {
            if self.holds(file, client) && self.leases.get(file).is_some_and(|at| at > until) {
                self.leases.set(file, until);
            }
        }
    }

    /// The record for an open file whose lease has ended; `None` if the file is closed or gone.
    pub(super) fn plan_writer_death(
        &self,
        at: UnixMillis,
        file: FileId,
    ) -> Option<(Record, Notice)> {
        let writer = self.durable.writer(file)?;
        let path = self.durable.namespace().path_of(file)?;
        let length = self.durable.namespace().file(file)?.length();
        Some(match writer {
            // A part of the appended bytes must not pass for all of them.
            Writer { reopened_at: Some(length), .. } => {
                let notice = Notice::AppendLapsed { path, length: *length };
                (Record::AppendLapsed { at, file }, notice)
            }
            Writer { if_writer_dies: IfWriterDies::Close, .. } => {
                let record = Record::WriterDied { at, file, cut: true };
                (record, Notice::WriterDied { path, length })
            }
            Writer { if_writer_dies: IfWriterDies::Remove, .. } => {
                (Record::LeaseExpired { at, file }, Notice::LeaseExpired { path })
            }
        })
    }
}
