//! What clients see of the tree is what the requests before have made of it: whatever is looked at, the
//! answer is the model's.

use chunkstore_core::master::{FsError, Query, Refusal, Reply};
use chunkstore_protocol::{FileKind, Listing, Located, ProblemKind};

use super::Watch;
use crate::model::{Entry, ModelFile};

impl Watch {
    /// The master's core has answered a query; all records before are in the model.
    pub(crate) fn see_query(&mut self, query: &Query, answer: &Result<Reply, Refusal>) {
        let odd = match (query, answer) {
            (Query::Stat(asked), Ok(Reply::Status(told))) => {
                self.odd_entry(asked.path.as_str(), &told.kind)
            }
            (Query::Locate(asked), Ok(Reply::Located(told))) => {
                self.odd_places(asked.path.as_str(), told)
            }
            (Query::List(asked), Ok(Reply::Listing(told))) if asked.after.is_none() => {
                self.odd_listing(asked.path.as_str(), told)
            }
            (Query::Stat(asked), Err(refusal)) => self.odd_refusal(asked.path.as_str(), refusal),
            (Query::Locate(asked), Err(refusal)) => self.odd_refusal(asked.path.as_str(), refusal),
            (Query::List(asked), Err(refusal)) => self.odd_refusal(asked.path.as_str(), refusal),
            _ => None,
        };
        if let Some(odd) = odd {
            self.broken("tree", format!("{query:?} was answered with {answer:?}: {odd}"));
        }
    }

    fn odd_entry(&self, path: &str, told: &FileKind) -> Option<String> {
        let same = match (self.model.at(path), told) {
            (Some(Entry::Folder), FileKind::Folder) => true,
            (Some(Entry::File(file)), FileKind::File { length, replication, open, .. }) => {
                (file.length(), file.replication, file.open) == (*length, *replication, *open)
            }
            _ => false,
        };
        (!same).then(|| format!("there is {:?}", self.model.at(path)))
    }

    fn odd_places(&self, path: &str, told: &Located) -> Option<String> {
        let Some(Entry::File(file)) = self.model.at(path) else {
            return Some("there is no file".to_owned());
        };
        let chunks: Vec<_> = told.chunks.iter().map(|it| (it.chunk, it.length)).collect();
        let same = !file.open && told.length == file.length() && chunks == places(file);
        (!same).then(|| format!("there is {file:?}"))
    }

    fn odd_listing(&self, path: &str, told: &Listing) -> Option<String> {
        let here = self.model.within(path);
        if let Some(Entry::File(_)) = self.model.at(path) {
            return (told.entries.len() != 1).then(|| "it is a file".to_owned());
        }
        let names: Vec<&str> = told.entries.iter().filter_map(|entry| entry.path.name()).collect();
        if !names.iter().copied().eq(here.iter().map(|(name, _)| *name)) {
            return Some(format!("there is {here:?}"));
        }
        told.entries.iter().find_map(|entry| self.odd_entry(entry.path.as_str(), &entry.kind))
    }

    fn odd_refusal(&self, path: &str, refusal: &Refusal) -> Option<String> {
        let there = self.model.at(path);
        let right = match (refusal, there) {
            (Refusal::Files(FsError::StillOpen { .. }), Some(Entry::File(file))) => file.open,
            (Refusal::Files(FsError::IsAFolder { .. }), Some(Entry::Folder)) => true,
            (refusal, None) => {
                matches!(refusal.kind(), ProblemKind::NotFound | ProblemKind::NotAFolder)
            }
            _ => false,
        };
        (!right).then(|| format!("there is {there:?}"))
    }
}

fn places(file: &ModelFile) -> Vec<(chunkstore_protocol::ChunkId, u64)> {
    file.chunks.iter().map(|chunk| (chunk.chunk, chunk.length)).collect()
}
