//! What the chunk master must never forget: the tree, the sealed chunks, who writes what, the
//! replies, its term. [`Durable::apply`] is the only way to change it, live and in recovery alike;
//! it decides nothing. Which servers are alive and where replicas are is not here: servers report
//! that again.

mod invariants;
mod logs;
mod sharing;
mod tree;

use std::collections::BTreeMap;
use std::ops::Range;

use chunkstore_protocol::{ChunkId, FileId, IfWriterDies, Term, Version};
use ids::{ClientId, ClusterId, Epoch, HostName, UnixMillis};
use serde::{Deserialize, Serialize};

use super::known::KnownServers;
use super::layout::File;
use super::namespace::{Birth, EntryKind, Namespace};
use super::paged::Paged;
use super::record::{Adopted, Allotted, Record, Sealed, Stamp};
use super::replies::{CachedReply, ClosedFile, Replies};
use super::terms::{Starts, Terms};
use logs::Logs;
pub(crate) use logs::OpenChunk;
use sharing::Sharers;

/// Entries of a removed subtree that its own record reclaims; the rest waits for
/// [`Record::Reclaimed`], so that no record blocks the loop for long.
pub(crate) const RECLAIM_STEP: u32 = 500;

/// The journal holds no cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the journal holds no cluster: mint one with `chunkmaster --init`")]
pub struct NotInitialised;

/// The durable state. Serialised whole as the journal's snapshot.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Durable {
    cluster: Option<ClusterId>,
    epoch: Epoch,
    #[serde(default)]
    terms: Terms,
    #[serde(default)]
    starts: Starts,
    next_file: u64,
    next_chunk: u64,
    /// Ids skipped at starts: a server that holds such a chunk has it from another history of this
    /// journal.
    #[serde(default)]
    left_out: Vec<Range<u64>>,
    namespace: Namespace,
    sealed: Paged<ChunkId, SealedState>,
    writers: BTreeMap<FileId, Writer>,
    open_chunks: BTreeMap<ChunkId, FileId>,
    #[serde(default)]
    logs: Logs,
    replies: Replies,
    gathered: Vec<Adopted>,
    /// For each chunk that several files have: those files. A file that has it twice is listed
    /// twice.
    #[serde(default)]
    sharers: Sharers,
    /// Files whose new replication is not yet applied to all chunks, and the chunk to continue
    /// with.
    #[serde(default)]
    spreading: BTreeMap<FileId, usize>,
    #[serde(default)]
    known: KnownServers,
}

/// A chunk that is part of some file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SealedState {
    pub(crate) version: Version,
    length: u32,
    pub(crate) checksum: u32,
    /// Replicas asked for; if several files have the chunk, the highest number.
    pub(crate) wanted: u8,
    /// Number of files that have it.
    #[serde(default = "one")]
    referents: u32,
}

fn one() -> u32 {
    1
}

impl SealedState {
    /// Bytes of the chunk.
    pub(crate) fn length(&self) -> u64 {
        u64::from(self.length)
    }
}

/// The memory that a sealed chunk takes here.
#[cfg(test)]
pub(crate) const BYTES_PER_CHUNK: usize = size_of::<SealedState>();

/// A chunk that no file refers to any more, with the version of its replicas.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dropped {
    /// The chunk.
    pub chunk: ChunkId,
    /// Its version.
    pub version: Version,
}

/// The writer of an open file: a file is open while it has one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Writer {
    /// Who holds the lease.
    pub(crate) holder: ClientId,
    /// The chunk being written.
    pub(crate) open: Option<(ChunkId, Version)>,
    /// The servers that it was allotted on: no others can have sealed it.
    #[serde(default)]
    pub(crate) pipeline: Vec<HostName>,
    /// What becomes of a new file if its lease ends.
    #[serde(default)]
    pub(crate) if_writer_dies: IfWriterDies,
    /// For a reopened file, its length before, which is what others read meanwhile.
    #[serde(default)]
    pub(crate) reopened_at: Option<u64>,
}

impl Writer {
    fn new(holder: ClientId) -> Self {
        Self {
            holder,
            open: None,
            pipeline: Vec::new(),
            if_writer_dies: IfWriterDies::default(),
            reopened_at: None,
        }
    }
}

/// What the master knows of a chunk id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ChunkState {
    /// Part of a file.
    Sealed(SealedState),
    /// Being written.
    Open,
    /// Given out once; no file refers to it any more.
    Garbage,
    /// Never given out by this master.
    Foreign,
}

impl Durable {
    /// Applies one record. Returns the chunks that no file refers to any more.
    ///
    /// # Panics
    /// When the record names something that does not exist: then it is not this journal's next
    /// record.
    pub fn apply(&mut self, record: &Record) -> Vec<Dropped> {
        match record {
            Record::ClusterInitialised { cluster } => {
                self.cluster = Some(cluster.clone());
                (self.next_file, self.next_chunk) = (1, 1);
                Vec::new()
            }
            Record::Started { .. } | Record::OldJournalAccepted { .. } => self.apply_start(record),
            Record::ServerJoined { .. }
            | Record::ServerForgotten { .. }
            | Record::ServerDraining { .. } => self.apply_servers(record),
            Record::FileCreated { .. } => self.apply_created(record),
            Record::ChunkAllocated { stamp, at, file, sealed, allotted } => {
                let dropped = self.settle(*file, sealed.as_ref(), *at);
                self.open_chunk(*file, allotted);
                self.reply(stamp, CachedReply::Allocated { allotted: allotted.clone() });
                dropped
            }
            Record::FileReopened { .. } => self.apply_reopened(record),
            Record::FileClosed { .. } => self.apply_closed(record),
            Record::AppendAbandoned { stamp, at, file } => {
                self.reply(stamp, CachedReply::Done);
                self.undo_append(*file, *at)
            }
            Record::AppendLapsed { at, file } => self.undo_append(*file, *at),
            Record::WriterDied { at, file, cut } => {
                let dropped = self.settle(*file, None, *at);
                self.writers.remove(file);
                self.namespace.touch(*file, *at);
                self.namespace.file_mut(*file).cut |= cut;
                dropped
            }
            Record::FileAbandoned { stamp, at, file } => {
                self.reply(stamp, CachedReply::Done);
                self.namespace.detach(*file, *at);
                self.reclaim(RECLAIM_STEP)
            }
            Record::LeaseExpired { at, file } => {
                self.namespace.detach(*file, *at);
                self.reclaim(RECLAIM_STEP)
            }
            Record::LogCreated { .. }
            | Record::LogChunkAllotted { .. }
            | Record::LogChunkBegun { .. }
            | Record::LogChunkEnded { .. } => self.apply_to_log(record),
            Record::FoldersMade { .. }
            | Record::Renamed { .. }
            | Record::Copied { .. }
            | Record::Concatenated { .. }
            | Record::ReplicationSet { .. }
            | Record::OwnerSet { .. }
            | Record::ReplicationSpread { .. }
            | Record::Deleted { .. }
            | Record::Trashed { .. }
            | Record::TrashEmptied { .. }
            | Record::WinnersGathered { .. }
            | Record::Published { .. }
            | Record::Reclaimed { .. } => self.apply_to_tree(record),
        }
    }

    fn apply_start(&mut self, record: &Record) -> Vec<Dropped> {
        match *record {
            Record::Started { epoch, id, first_chunk, after } => {
                self.epoch = epoch;
                self.leave_out(first_chunk);
                self.terms.begin(Term { epoch, id });
                self.starts.begin(epoch, after);
                self.gathered.clear();
            }
            Record::OldJournalAccepted { epoch, next_file, next_chunk } => {
                self.epoch = epoch;
                (self.next_file, self.next_chunk) = (next_file, next_chunk);
                self.left_out.clear();
                self.terms.forget();
                self.starts.forget();
            }
            _ => {}
        }
        Vec::new()
    }

    fn apply_servers(&mut self, record: &Record) -> Vec<Dropped> {
        let stamp = match record {
            Record::ServerForgotten { stamp, host } => {
                self.known.forget(host);
                stamp
            }
            Record::ServerDraining { stamp, host, on } => {
                self.known.set_draining(host, *on);
                stamp
            }
            Record::ServerJoined { host } => {
                self.known.join(host);
                return Vec::new();
            }
            _ => return Vec::new(),
        };
        self.reply(stamp, CachedReply::Done);
        Vec::new()
    }

    fn apply_created(&mut self, record: &Record) -> Vec<Dropped> {
        if let Record::FileCreated {
            stamp,
            at,
            parent,
            folders,
            name,
            file,
            replication,
            chunk_bytes,
            allotted,
            if_writer_dies,
            owner,
        } = record
        {
            let birth = Birth { at: *at, owner };
            let parent = self.make_folders(*parent, folders, birth);
            let kind = EntryKind::File(File::new(*replication, *chunk_bytes));
            self.insert(*file, parent, name, kind, birth);
            let writer = Writer::new(stamp.client.clone());
            self.writers.insert(*file, Writer { if_writer_dies: *if_writer_dies, ..writer });
            self.open_chunk(*file, allotted);
            let reply = CachedReply::Created {
                file: *file,
                replication: *replication,
                chunk_bytes: *chunk_bytes,
                allotted: allotted.clone(),
            };
            self.reply(stamp, reply);
        }
        Vec::new()
    }

    fn apply_reopened(&mut self, record: &Record) -> Vec<Dropped> {
        if let Record::FileReopened { stamp, at: _, file, allotted } = record
            && let Some(reopened) = self.namespace.file(*file)
        {
            let reply = CachedReply::Created {
                file: *file,
                replication: reopened.replication,
                chunk_bytes: reopened.chunk_bytes(),
                allotted: allotted.clone(),
            };
            let reopened_at = Some(reopened.length());
            let writer = Writer::new(stamp.client.clone());
            self.writers.insert(*file, Writer { reopened_at, ..writer });
            self.open_chunk(*file, allotted);
            self.reply(stamp, reply);
        }
        Vec::new()
    }

    /// Takes back what the writer of a reopened file has appended.
    fn undo_append(&mut self, file: FileId, at: UnixMillis) -> Vec<Dropped> {
        let mut dropped = self.settle(file, None, at);
        let reopened_at = self.writers.remove(&file).and_then(|writer| writer.reopened_at);
        if let Some(length) = reopened_at {
            let gone = self.namespace.file_mut(file).truncate(length);
            dropped.extend(gone.into_iter().filter_map(|place| self.leave(file, place.chunk)));
        }
        dropped
    }

    fn open_chunk(&mut self, file: FileId, allotted: &Allotted) {
        let Allotted { chunk, version, pipeline } = allotted;
        self.next_chunk = self.next_chunk.max(chunk.0 + 1);
        self.open_chunks.insert(*chunk, file);
        let writer = self.writers.get_mut(&file).expect("records allot chunks to open files");
        writer.open = Some((*chunk, *version));
        writer.pipeline = pipeline.iter().map(|server| server.host.clone()).collect();
    }

    /// Ends the open chunk of a file: appends it if it is sealed, else gives it up and returns it.
    fn settle(&mut self, file: FileId, sealed: Option<&Sealed>, at: UnixMillis) -> Vec<Dropped> {
        let open = self.writers.get_mut(&file).and_then(|writer| writer.open.take());
        let Some((chunk, version)) = open else { return Vec::new() };
        self.open_chunks.remove(&chunk);
        let Some(sealed) = sealed.copied() else {
            return vec![Dropped { chunk, version }];
        };
        self.namespace.touch(file, at);
        self.append_sealed(file, sealed);
        Vec::new()
    }

    fn reclaim(&mut self, entries: u32) -> Vec<Dropped> {
        let mut dropped = Vec::new();
        for (id, chunks) in self.namespace.reclaim(entries) {
            if let Some((chunk, version)) = self.writers.remove(&id).and_then(|writer| writer.open)
            {
                self.open_chunks.remove(&chunk);
                dropped.push(Dropped { chunk, version });
            }
            dropped.extend(self.end_log(id));
            dropped.extend(chunks.into_iter().filter_map(|chunk| self.leave(id, chunk)));
        }
        dropped
    }

    /// Whether [`Record::Reclaimed`] has anything to do.
    pub(crate) fn is_reclaiming(&self) -> bool {
        self.namespace.has_detached()
    }

    /// Whether [`Record::ReplicationSpread`] has anything to do.
    pub(crate) fn is_spreading(&self) -> bool {
        !self.spreading.is_empty()
    }

    fn reply(&mut self, stamp: &Stamp, reply: CachedReply) {
        self.replies.store(stamp, reply);
    }

    fn reply_closed(&mut self, stamp: &Stamp, id: FileId, modified: UnixMillis) {
        if let (Some(path), Some(file)) = (self.namespace.path_of(id), self.namespace.file(id)) {
            let entry = self.namespace.entry(id);
            let closed = ClosedFile {
                path,
                file: id,
                owner: self.namespace.owner(entry).to_owned(),
                created: entry.created,
                modified,
                length: file.length(),
                replication: file.replication,
                chunk_bytes: file.chunk_bytes(),
                n_chunks: file.n_chunks() as u64,
                log: file.log,
            };
            self.reply(stamp, CachedReply::Closed(closed));
        }
    }

    /// The cluster; `None` before [`Record::ClusterInitialised`].
    #[must_use]
    pub fn cluster(&self) -> Option<&ClusterId> {
        self.cluster.as_ref()
    }

    /// The last term that began.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    pub(crate) fn terms(&self) -> &Terms {
        &self.terms
    }

    pub(crate) fn starts(&self) -> &Starts {
        &self.starts
    }

    /// The servers of the cluster.
    pub(crate) fn known(&self) -> &KnownServers {
        &self.known
    }

    pub(crate) fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    pub(crate) fn replies(&self) -> &Replies {
        &self.replies
    }

    /// The writer of an open file.
    pub(crate) fn writer(&self, file: FileId) -> Option<&Writer> {
        self.writers.get(&file)
    }

    /// All open files.
    pub(crate) fn open_files(&self) -> impl Iterator<Item = FileId> {
        self.writers.keys().copied()
    }

    pub(crate) fn n_open_files(&self) -> usize {
        self.writers.len()
    }

    pub(crate) fn n_chunks(&self) -> usize {
        self.sealed.len()
    }

    /// The sealed chunks from `first` on, by their ids.
    pub(crate) fn chunks_from(&self, first: ChunkId) -> impl Iterator<Item = ChunkId> {
        self.sealed.iter_from(first).map(|(chunk, _)| chunk)
    }

    pub(crate) fn chunk(&self, chunk: ChunkId) -> ChunkState {
        if let Some(sealed) = self.sealed.get(chunk) {
            ChunkState::Sealed(*sealed)
        } else if self.open_chunks.contains_key(&chunk) {
            ChunkState::Open
        } else if (1..self.next_chunk).contains(&chunk.0) && self.gap_of(chunk).is_none() {
            ChunkState::Garbage
        } else {
            ChunkState::Foreign
        }
    }

    /// The ids for new entries.
    pub(crate) fn next_files(&self) -> impl Iterator<Item = FileId> + use<> {
        (self.next_file..).map(FileId)
    }

    /// The id for a new entry that is made after `n_before` others.
    pub(crate) fn next_file(&self, n_before: usize) -> FileId {
        FileId(self.next_file + n_before as u64)
    }

    /// The range of skipped ids that contains this one, if a start skipped it.
    pub(crate) fn gap_of(&self, chunk: ChunkId) -> Option<&Range<u64>> {
        let after = self.left_out.partition_point(|gap| gap.start <= chunk.0);
        self.left_out[..after].last().filter(|gap| gap.contains(&chunk.0))
    }

    /// Skips all chunk ids below this one.
    fn leave_out(&mut self, first_chunk: u64) {
        let gap = self.next_chunk..first_chunk;
        if gap.is_empty() {
            return;
        }
        self.next_chunk = gap.end;
        match self.left_out.last_mut() {
            Some(last) if last.end == gap.start => last.end = gap.end,
            Some(_) | None => self.left_out.push(gap),
        }
    }

    /// The id for the next chunk.
    pub(crate) fn next_chunk(&self) -> ChunkId {
        ChunkId(self.next_chunk)
    }
}
