//! What clients look at: stat, list, locate; and the renewal of leases. None of it leaves a record, and
//! each is bounded, so that none holds the loop for long.

use chunkstore_protocol::{
    ChunkLocation, FileId, FileKind, FileStatus, LIST_ENTRIES_MAX, List, Listing, Locate, Located,
    Renew, Stat, StorePath,
};
use ids::Now;

use super::durable::{ChunkState, Writer};
use super::error::FsError;
use super::layout::FileChunk;
use super::namespace::EntryKind;
use super::{Master, Query, Reply};

/// Entries and chunks that one input looks at: whoever wants more gets them in several inputs, so that
/// others come between.
pub const READ_STEP: usize = 1000;

impl Master {
    pub(super) fn query(&mut self, now: Now, request: &Query) -> Result<Reply, FsError> {
        match request {
            Query::Stat(Stat { path }) => {
                let id = self.find(path)?;
                Ok(Reply::Status(self.status(id, path.clone())))
            }
            Query::List(request) => self.list(request).map(Reply::Listing),
            Query::Locate(request) => self.locate(request).map(Reply::Located),
            Query::Renew(request) => self.renew(now, request),
            Query::Fsck(request) => self.fsck(now.monotonic, request).map(Reply::Fsck),
            Query::Report(request) => Ok(Reply::Report(self.report(now.monotonic, request))),
        }
    }

    /// Renews what the client still holds. Only when that is nothing is the answer no: a renewal may
    /// cross a close on its way.
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
                }
            }
        };
        let owner = self.durable.namespace().owner(entry).to_owned();
        FileStatus { path, owner, created: entry.created, modified: entry.modified, kind }
    }

    fn list(&self, request: &List) -> Result<Listing, FsError> {
        let List { path, after, limit } = request;
        if !(1..=LIST_ENTRIES_MAX).contains(limit) {
            return Err(FsError::BadLimit { given: *limit, max: LIST_ENTRIES_MAX });
        }
        let id = self.find(path)?;
        let EntryKind::Folder(folder) = &self.durable.namespace().entry(id).kind else {
            let entries = vec![self.status(id, path.clone())];
            return Ok(Listing { entries, next: None });
        };
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

    fn locate(&self, request: &Locate) -> Result<Located, FsError> {
        let Locate { path, offset, length, open } = request;
        let id = self.find(path)?;
        let file = self.durable.namespace().file(id);
        let file = file.ok_or_else(|| FsError::IsAFolder { path: path.clone() })?;
        let whole = match self.durable.writer(id) {
            None => file.length(),
            Some(_) if *open => file.length(),
            Some(Writer { reopened_at: Some(length), .. }) => *length,
            Some(_) => return Err(FsError::StillOpen { path: path.clone() }),
        };
        let end = length.map_or(whole, |length| offset.saturating_add(length).min(whole));
        let first = file.chunk_at(*offset);
        let before = first.checked_sub(1).and_then(|before| file.places_from(before).next());
        let starts = before.map_or(0, |before| before.end);
        let chunks = file
            .places_from(first)
            .scan(starts, |start, place| Some((std::mem::replace(start, place.end), place)))
            .take_while(|(start, _)| *start < end)
            .take(READ_STEP)
            .filter_map(|(start, place)| self.location(start, place))
            .collect();
        Ok(Located { length: whole, chunks })
    }

    fn location(&self, offset: u64, place: FileChunk) -> Option<ChunkLocation> {
        let chunk = place.chunk;
        let ChunkState::Sealed(sealed) = self.durable.chunk(chunk) else { return None };
        let holders = self.replicas.holders(chunk, &self.servers);
        Some(ChunkLocation {
            chunk,
            version: sealed.version,
            offset,
            length: sealed.length(),
            servers: holders.map(|server| self.servers.address(server)).collect(),
            token: String::new(),
        })
    }
}
