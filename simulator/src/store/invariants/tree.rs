//! What clients see of the tree is what the earlier requests have made of it: every answer to a
//! query agrees with the model.

use chunkstore_core::master::{FsError, Query, Refusal, Reply, Sealed};
use chunkstore_protocol::{FileKind, Listing, Located, ProblemKind};

use super::Watch;
use crate::store::model::Entry;

impl Watch {
    /// The master's core has answered a query; the model contains all earlier records.
    pub(crate) fn see_query(&mut self, query: &Query, answer: &Result<Reply, Refusal>) {
        let odd = match (query, answer) {
            (Query::Stat(asked), Ok(Reply::Status(told))) => {
                self.odd_entry(asked.path.as_str(), &told.kind)
            }
            (Query::Locate(asked), Ok(Reply::Located(told))) => {
                self.odd_places(asked.path.as_str(), asked.open, told)
            }
            (Query::List(asked), Ok(Reply::Listing(told))) if asked.after.is_none() => {
                match asked.recursive {
                    true => self.odd_subtree(asked.path.as_str(), told),
                    false => self.odd_listing(asked.path.as_str(), told),
                }
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
            (Some(Entry::File(file)), FileKind::File { length, replication, open, cut, .. }) => {
                let shown = file.readable().unwrap_or(&file.chunks);
                let shown: u64 = shown.iter().map(|chunk| chunk.length).sum();
                (shown, file.replication, file.open, file.cut)
                    == (*length, *replication, *open, *cut)
            }
            _ => false,
        };
        (!same).then(|| format!("there is {:?}", self.model.at(path)))
    }

    /// `open`: whether the request also asks for the sealed chunks of an open file.
    fn odd_places(&self, path: &str, open: bool, told: &Located) -> Option<String> {
        let Some(Entry::File(file)) = self.model.at(path) else {
            return Some("there is no file".to_owned());
        };
        let there = if open { Some(file.chunks.as_slice()) } else { file.readable() };
        let chunks = |sealed: &[Sealed]| -> Vec<_> {
            sealed.iter().map(|it| (it.chunk, it.length)).collect()
        };
        let told_chunks: Vec<_> = told.chunks.iter().map(|it| (it.chunk, it.length)).collect();
        let length = told_chunks.iter().map(|(_, length)| length).sum::<u64>();
        let same = told.length == length && there.map(chunks) == Some(told_chunks);
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

    fn odd_subtree(&self, path: &str, told: &Listing) -> Option<String> {
        if let Some(Entry::File(_)) = self.model.at(path) {
            return (told.entries.len() != 1).then(|| "it is a file".to_owned());
        }
        let mut paths: Vec<&str> = told.entries.iter().map(|entry| entry.path.as_str()).collect();
        paths.sort_unstable();
        let here: Vec<&str> = self.model.below(path).collect();
        if paths != here {
            return Some(format!("there is {here:?}"));
        }
        told.entries.iter().find_map(|entry| self.odd_entry(entry.path.as_str(), &entry.kind))
    }

    fn odd_refusal(&self, path: &str, refusal: &Refusal) -> Option<String> {
        let there = self.model.at(path);
        let right = match (refusal, there) {
            (Refusal::Files(FsError::StillOpen { .. }), Some(Entry::File(file))) => {
                file.readable().is_none()
            }
            (Refusal::Files(FsError::IsAFolder { .. }), Some(Entry::Folder)) => true,
            (refusal, None) => {
                matches!(refusal.kind(), ProblemKind::NotFound | ProblemKind::NotAFolder)
            }
            _ => false,
        };
        (!right).then(|| format!("there is {there:?}"))
    }
}
