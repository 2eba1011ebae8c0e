//! Every acknowledged record of a log is read exactly once, whole, and in one order that all
//! readers see; and nothing is read that was never sent there.

use std::collections::{BTreeMap, BTreeSet};

use chunkstore_core::master::Record;
use chunkstore_core::replica::ReplicaKey;
use chunkstore_protocol::{ChunkId, FileId, WriterId};

use super::Watch;
use crate::store::content::{Content, length};
use crate::store::disk::Disk;
use crate::store::records::{RecordId, Records};

/// A record's identity, as its writer knows it.
type Name = (WriterId, u64);

/// What was sent to logs, and what was read from them.
#[derive(Default)]
pub(crate) struct LogBook {
    pub(crate) records: Records,
    /// Which records were sent to which logs: each to one, unless the log's path meanwhile became
    /// that of another log.
    sent: BTreeSet<(FileId, RecordId)>,
    /// The acknowledged records, in the order in which their writers learned of it.
    acknowledged: BTreeMap<FileId, Vec<Name>>,
    /// The longest sequence of records that any reader has read.
    read: BTreeMap<FileId, Vec<RecordId>>,
    /// How many bytes of a chunk all its servers have synced, as its primary knows.
    chunks: BTreeMap<ReplicaKey, u64>,
    /// What servers have sealed of chunks, by the length.
    sealed: BTreeMap<(ChunkId, u64), Content>,
    pub(crate) n_read: u64,
}

impl LogBook {
    /// How many records of each log are acknowledged so far.
    pub(crate) fn n_acknowledged(&self) -> BTreeMap<FileId, usize> {
        self.acknowledged.iter().map(|(log, names)| (*log, names.len())).collect()
    }

    /// How many bytes of an open chunk all its servers have.
    pub(crate) fn acknowledged_bytes(&self, replica: ReplicaKey) -> u64 {
        self.chunks.get(&replica).copied().unwrap_or(0)
    }
}

impl Watch {
    /// A client sends records to a log.
    pub(crate) fn see_records_sent(&mut self, log: FileId, ids: &[RecordId]) {
        self.logs.sent.extend(ids.iter().map(|id| (log, *id)));
    }

    /// A client learns that these records are in the log.
    pub(crate) fn see_records_acknowledged(&mut self, log: FileId, names: &[Name]) {
        self.logs.acknowledged.entry(log).or_default().extend(names);
    }

    /// A primary knows that all servers have this many bytes of a chunk.
    pub(crate) fn see_log_acknowledged(&mut self, replica: ReplicaKey, bytes: u64) {
        self.logs.chunks.insert(replica, bytes);
    }

    /// A server reports that it has sealed its replica of a chunk, which may be a log's.
    pub(crate) fn see_log_sealed(&mut self, replica: ReplicaKey, disk: &Disk) {
        if let Some(content) = disk.sealed_content(replica) {
            self.logs.sealed.insert((replica.chunk, length(content)), content.clone());
        }
    }

    /// The end of a log's chunk is on record: from now on these are its bytes.
    pub(super) fn learn_log_chunk(&mut self, record: &Record) {
        let Record::LogChunkEnded { file, sealed: Some(sealed), .. } = record else { return };
        let content = self.logs.sealed.get(&(sealed.chunk, sealed.length)).cloned();
        let Some(content) = content else {
            let what = format!("{file:?} has {sealed:?}, which nobody sealed");
            return self.broken("logs", what);
        };
        let sound = self.logs.records.sound(&content).1;
        if sound != content.len() {
            let what = format!("{file:?} has {sealed:?}, of which {sound} units are records");
            self.broken("logs", what);
        }
        self.truth.insert(sealed.chunk, content);
    }

    /// A reader has read a log to its end, and got these records, each once. When it began, the
    /// first `n_acknowledged` of the acknowledged records were acknowledged.
    pub(crate) fn see_log_read(&mut self, log: FileId, ids: &[RecordId], n_acknowledged: usize) {
        self.logs.n_read += 1;
        if let Some(id) = ids.iter().find(|id| !self.logs.sent.contains(&(log, **id))) {
            let header = self.logs.records.header(*id);
            return self.broken("logs", format!("{log:?} has {header:?}, which nobody sent there"));
        }
        let name = |id: &RecordId| {
            let header = self.logs.records.header(*id);
            (header.writer, header.content)
        };
        let mut contents = BTreeSet::new();
        if let Some(id) = ids.iter().find(|id| !contents.insert(name(id))) {
            let header = self.logs.records.header(*id);
            return self.broken("logs", format!("{header:?} was read twice of {log:?}"));
        }
        let names: BTreeSet<Name> = ids
            .iter()
            .map(|id| self.logs.records.header(*id))
            .map(|it| (it.writer, it.sequence))
            .collect();
        let acknowledged = self.logs.acknowledged.get(&log).map_or(&[][..], Vec::as_slice);
        let lost = acknowledged[..n_acknowledged].iter().find(|name| !names.contains(name));
        if let Some(lost) = lost {
            return self
                .broken("logs", format!("{lost:?} of {log:?} is acknowledged and not there"));
        }
        let before = self.logs.read.entry(log).or_default();
        let n_common = before.len().min(ids.len());
        if before[..n_common] != ids[..n_common] {
            let what = format!("{log:?} was read as {before:?}, and then as {ids:?}");
            return self.broken("logs", what);
        }
        if ids.len() > before.len() {
            *before = ids.to_vec();
        }
    }
}
