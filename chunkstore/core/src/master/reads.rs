//! What clients read: stat, list, locate; and the renewal of leases. None of it makes a record, and
//! each is bounded, so that none blocks the loop for long.

use std::sync::Arc;

use chunkstore_protocol::{
    ChunkId, ChunkLocation, Counted, FileId, FileKind, FileStatus, LIST_ENTRIES_MAX,
    LOCATE_MANY_CHUNKS_MAX, List, Listing, Locate, Located, Renew, ServerAddress, Stat, StorePath,
};
use ids::{Monotonic, Now};

use super::durable::{ChunkState, Writer};
use super::error::{FsError, Refusal};
use super::layout::FileChunk;
use super::namespace::EntryKind;
use super::subtree::Subtree;
use super::{Master, Query, Reply};

/// Entries and chunks that one input looks at. A longer answer takes several inputs, so that others
/// are handled in between.
pub const READ_STEP: usize = 1000;

/// Finding one path among many costs about as much as this many chunks.
const CHUNKS_PER_PATH: usize = 4;

/// Entries that one input counts: counting one is far cheaper than listing it.
const COUNT_STEP: usize = 5000;

/// What a reader accepts besides closed files.
#[derive(Clone, Copy, Debug, Default)]
struct Allows {
    /// A file that is being written, as far as it is sealed.
    open: bool,
    /// A log.
    log: bool,
}

/// What a step of a count found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CountedPart {
    /// The counts.
    pub counted: Counted,
    /// Where the next step begins; `None` at the end.
    pub next: Option<String>,
}

impl Master {
    pub(super) fn query(&mut self, now: Now, request: &Query) -> Result<Reply, FsError> {
        match request {
            Query::Renew(request) => self.renew(now, request),
            Query::DeleteOrphans(request) => {
                self.delete_orphans(request).map(Reply::OrphansDeleted)
            }
            request => self.seen(now.monotonic, request).expect("all others only look"),
        }
    }

    /// The answer to a query that only reads, as [`Self::handle`] would give it now. `None` for a
    /// query that changes something, even if only soft state.
    #[must_use]
    pub fn look(&self, now: Monotonic, request: &Query) -> Option<Result<Reply, Refusal>> {
        self.seen(now, request).map(|answer| answer.map_err(Refusal::Files))
    }

    fn seen(&self, now: Monotonic, request: &Query) -> Option<Result<Reply, FsError>> {
        Some(match request {
            Query::Stat(Stat { path }) => {
                self.find(path).map(|id| Reply::Status(self.status(id, path.clone())))
            }
            Query::List(request) => self.list(request).map(Reply::Listing),
            Query::Count { path, after } => self.count(path, after.as_deref()).map(Reply::Counted),
            Query::Locate(Locate { path, offset, length, open, log }) => {
                let range = (*offset, *length);
                self.locate(path, range, Allows { open: *open, log: *log }).map(Reply::Located)
            }
            Query::LocateMany { paths, from } => {
                let paths = paths.get(*from..).unwrap_or(&[]);
                Ok(Reply::LocatedMany(self.locate_many(paths)))
            }
            Query::Fsck(request) => self.fsck(now, request).map(Reply::Fsck),
            Query::May(asker, intent, path) => self.may(asker, *intent, path),
            Query::Broken(request) => Ok(Reply::Purgeable(self.purgeable(request))),
            Query::Report(request) => Ok(Reply::Report(self.report(now, request))),
            Query::Renew(_) | Query::DeleteOrphans(_) => return None,
        })
    }

    /// Renews the leases that the client still holds. It fails only if there are none: a renewal
    /// may cross a close on its way.
    fn renew(&mut self, now: Now, request: &Renew) -> Result<Reply, FsError> {
        let Renew { client, files, wait_ms: _ } = request;
        let until = now.monotonic + self.settings.lease;
        let mut n_held = 0;
        for &file in files {
            if self.holds(file, client) {
                self.leases.set(file, until);
                n_held += 1;
            }
        }
        match files.first() {
            Some(&file) if n_held == 0 => Err(FsError::LeaseLost { file }),
            Some(_) | None => Ok(Reply::Done),
        }
    }

    fn status(&self, id: FileId, path: StorePath) -> FileStatus {
        let entry = self.durable.namespace().entry(id);
        let kind = match &entry.kind {
            EntryKind::Folder(_) => FileKind::Folder,
            EntryKind::File(file) => {
                let writer = self.durable.writer(id);
                let reopened_at = writer.and_then(|writer| writer.reopened_at);
                let chunks = reopened_at.map(|length| file.chunk_at(length));
                FileKind::File {
                    file: id,
                    length: reopened_at.unwrap_or(file.length()),
                    replication: file.replication,
                    chunk_bytes: file.chunk_bytes(),
                    n_chunks: chunks.unwrap_or(file.n_chunks()) as u64,
                    open: writer.is_some(),
                    cut: file.cut,
                    log: file.log,
                }
            }
        };
        let owner = self.durable.namespace().owner(entry).to_owned();
        FileStatus { path, owner, created: entry.created, modified: entry.modified, kind }
    }

    fn list(&self, request: &List) -> Result<Listing, FsError> {
        let List { path, after, limit, recursive } = request;
        if !(1..=LIST_ENTRIES_MAX).contains(limit) {
            return Err(FsError::BadLimit { given: *limit, max: LIST_ENTRIES_MAX });
        }
        let id = self.find(path)?;
        let EntryKind::Folder(folder) = &self.durable.namespace().entry(id).kind else {
            let entries = vec![self.status(id, path.clone())];
            return Ok(Listing { entries, next: None });
        };
        if *recursive {
            return Ok(self.list_below(id, request));
        }
        let mut listing = Listing { entries: Vec::new(), next: None };
        let mut last = None;
        for (name, child) in self.durable.namespace().children_after(folder, after.as_deref()) {
            if listing.entries.len() == READ_STEP.min(*limit as usize) {
                listing.next = last.map(str::to_owned);
                break;
            }
            let path = path.join(name).expect("creating and moving keep paths within their limits");
            listing.entries.push(self.status(child, path));
            last = Some(name);
        }
        Ok(listing)
    }

    fn list_below(&self, top: FileId, request: &List) -> Listing {
        let List { path, after, limit, recursive: _ } = request;
        let mut listing = Listing { entries: Vec::new(), next: None };
        let mut below = Subtree::after(self.durable.namespace(), top, after.as_deref());
        let mut last = None;
        while let Some(id) = below.advance() {
            if listing.entries.len() == READ_STEP.min(*limit as usize) {
                listing.next = last;
                break;
            }
            let path = path.join(below.relative());
            let path = path.expect("creating and moving keep paths within their limits");
            listing.entries.push(self.status(id, path));
            last = Some(below.relative().to_owned());
        }
        listing
    }

    /// Counts what comes after a place; says where to continue, unless that is the end.
    fn count(&self, path: &StorePath, after: Option<&str>) -> Result<CountedPart, FsError> {
        let top = self.find(path)?;
        let mut part = CountedPart::default();
        if after.is_none() {
            part.counted += self.counted(top);
        }
        let mut below = Subtree::after(self.durable.namespace(), top, after);
        for _ in 0..COUNT_STEP {
            match below.advance() {
                Some(id) => part.counted += self.counted(id),
                None => return Ok(part),
            }
        }
        part.next = Some(below.relative().to_owned());
        Ok(part)
    }

    /// What is in a folder, as far as a single step counts.
    pub(super) fn counted_below(&self, top: FileId) -> Counted {
        let mut counted = Counted::default();
        let mut below = Subtree::after(self.durable.namespace(), top, None);
        for id in std::iter::from_fn(|| below.advance()).take(COUNT_STEP) {
            counted += self.counted(id);
        }
        counted
    }

    fn counted(&self, id: FileId) -> Counted {
        match &self.durable.namespace().entry(id).kind {
            EntryKind::Folder(_) => Counted { folders: 1, ..Counted::default() },
            EntryKind::File(file) => {
                let bytes = file.length();
                let replica_bytes = bytes * u64::from(file.replication);
                Counted { folders: 0, files: 1, bytes, replica_bytes }
            }
        }
    }

    /// Locates the first of these files, as many as one step allows; at least one.
    fn locate_many(&self, paths: &[StorePath]) -> Vec<Result<Located, FsError>> {
        let mut found = Vec::with_capacity(paths.len().min(READ_STEP));
        let mut left = READ_STEP;
        for path in paths {
            let mut located = self.locate(path, (0, None), Allows::default());
            if let Ok(located) = &mut located {
                located.chunks.truncate(LOCATE_MANY_CHUNKS_MAX);
            }
            let n_chunks = located.as_ref().map_or(0, |located| located.chunks.len());
            let cost = n_chunks + CHUNKS_PER_PATH;
            // A single file with very many chunks still takes one step.
            if cost > left && !found.is_empty() {
                break;
            }
            left = left.saturating_sub(cost);
            found.push(located);
        }
        found
    }

    /// The chunks of a file from an offset on; `length` bytes of them, or all.
    fn locate(
        &self,
        path: &StorePath,
        (offset, length): (u64, Option<u64>),
        allows: Allows,
    ) -> Result<Located, FsError> {
        let id = self.find(path)?;
        let file = self.durable.namespace().file(id);
        let file = file.ok_or_else(|| FsError::IsAFolder { path: path.clone() })?;
        if file.log && !allows.log {
            return Err(FsError::IsALog { path: path.clone() });
        }
        let whole = match self.durable.writer(id) {
            None => file.length(),
            Some(_) if allows.open => file.length(),
            Some(Writer { reopened_at: Some(length), .. }) => *length,
            Some(_) => return Err(FsError::StillOpen { path: path.clone() }),
        };
        let end = length.map_or(whole, |length| offset.saturating_add(length).min(whole));
        let first = file.chunk_at(offset);
        let before = first.checked_sub(1).and_then(|before| file.places_from(before).next());
        let starts = before.map_or(0, |before| before.end);
        let chunks = file
            .places_from(first)
            .scan(starts, |start, place| Some((std::mem::replace(start, place.end), place)))
            .take_while(|(start, _)| *start < end)
            .take(READ_STEP)
            .filter_map(|(start, place)| self.location(start, place))
            .collect();
        Ok(Located { file: id, length: whole, chunks, open_log: self.open_log_chunk(id) })
    }

    fn location(&self, offset: u64, place: FileChunk) -> Option<ChunkLocation> {
        let chunk = place.chunk;
        let ChunkState::Sealed(sealed) = self.durable.chunk(chunk) else { return None };
        let holders = self.replicas.holders(chunk, &self.servers);
        let mut servers = Vec::with_capacity(usize::from(sealed.wanted));
        servers.extend(holders.map(|server| Arc::clone(self.servers.shared_address(server))));
        if servers.is_empty() {
            servers = self.last_resort(chunk);
        }
        Some(ChunkLocation {
            chunk,
            version: sealed.version,
            offset,
            length: sealed.length(),
            checksum: sealed.checksum,
            servers,
            token: String::new(),
        })
    }

    /// Live servers that found their replica of a chunk broken: it may still have good blocks.
    fn last_resort(&self, chunk: ChunkId) -> Vec<Arc<ServerAddress>> {
        let holders = self.broken_on(chunk);
        holders.map(|holder| Arc::clone(self.servers.shared_address(holder.server))).collect()
    }
}
