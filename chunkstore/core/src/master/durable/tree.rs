//! The effect of the records of folders and of whole files: move, copy, publish, remove.

use chunkstore_protocol::FileId;

use super::{Dropped, Durable, RECLAIM_STEP};
use crate::master::layout::File;
use crate::master::moved::Moved;
use crate::master::namespace::{Birth, EntryKind};
use crate::master::record::{Adopted, NewFolder, Record};
use crate::master::replies::CachedReply;

impl Durable {
    pub(super) fn apply_closed(&mut self, record: &Record) -> Vec<Dropped> {
        let Record::FileClosed { stamp, at, file, sealed, moved } = record else {
            return Vec::new();
        };
        let mut dropped = self.settle(*file, sealed.as_ref(), *at);
        self.writers.remove(file);
        self.namespace.touch(*file, *at);
        self.namespace.file_mut(*file).cut = false;
        if let Some(moved) = moved {
            let Moved { parent, name, replaced } = moved.as_ref();
            dropped.extend(self.replace(*replaced, *at));
            self.namespace.rename(*file, *parent, name, *at);
        }
        self.reply_closed(stamp, *file, *at);
        dropped
    }

    pub(super) fn apply_to_tree(&mut self, record: &Record) -> Vec<Dropped> {
        match record {
            Record::FoldersMade { stamp, at, parent, folders, owner } => {
                self.make_folders(*parent, folders, Birth { at: *at, owner });
                self.reply(stamp, CachedReply::Done);
                Vec::new()
            }
            Record::Renamed { stamp, at, entry, parent, name, replaced } => {
                let dropped = self.replace(*replaced, *at);
                self.namespace.rename(*entry, *parent, name, *at);
                self.reply(stamp, CachedReply::Done);
                dropped
            }
            Record::Copied { .. } => self.apply_copied(record),
            Record::Concatenated { .. } => self.apply_concatenated(record),
            Record::ReplicationSet { stamp, file, replication } => {
                self.namespace.file_mut(*file).replication = *replication;
                self.spreading.insert(*file, 0);
                self.reply(stamp, CachedReply::Done);
                Vec::new()
            }
            Record::OwnerSet { stamp, at: _, entry, owner } => {
                self.namespace.set_owner(*entry, owner);
                self.reply(stamp, CachedReply::Done);
                Vec::new()
            }
            Record::ReplicationSpread { chunks } => {
                self.spread(*chunks);
                Vec::new()
            }
            Record::Deleted { stamp, at, entry } => {
                self.reply(stamp, CachedReply::Done);
                self.namespace.detach(*entry, *at);
                self.reclaim(RECLAIM_STEP)
            }
            Record::Trashed { stamp, at, entry, parent, folders, name, owner } => {
                let parent = self.make_folders(*parent, folders, Birth { at: *at, owner });
                self.namespace.rename(*entry, parent, name, *at);
                self.reply(stamp, CachedReply::Done);
                Vec::new()
            }
            Record::TrashEmptied { at, folder } => {
                self.namespace.detach(*folder, *at);
                self.reclaim(RECLAIM_STEP)
            }
            Record::WinnersGathered { winners } => {
                self.gathered.extend_from_slice(winners);
                Vec::new()
            }
            Record::Published { .. } => self.apply_published(record),
            Record::Reclaimed { entries } => self.reclaim(*entries),
            _ => unreachable!("the others are told apart before"),
        }
    }

    fn apply_published(&mut self, record: &Record) -> Vec<Dropped> {
        let Record::Published {
            stamp,
            at,
            staging,
            parent,
            folders,
            winners,
            marker,
            marker_file,
            replication,
            chunk_bytes,
            owner,
        } = record
        else {
            return Vec::new();
        };
        let birth = Birth { at: *at, owner };
        let target = self.make_folders(*parent, folders, birth);
        let gathered = std::mem::take(&mut self.gathered);
        let all = gathered.iter().chain(winners).map(|Adopted(file, name)| (*file, name.as_str()));
        self.namespace.adopt(target, owner, all);
        let kind = EntryKind::File(File::new(*replication, *chunk_bytes));
        self.insert(*marker_file, target, marker, kind, birth);
        self.namespace.detach(*staging, *at);
        self.reply(stamp, CachedReply::Done);
        self.reclaim(RECLAIM_STEP)
    }

    pub(super) fn make_folders(
        &mut self,
        parent: FileId,
        folders: &[NewFolder],
        birth: Birth<'_>,
    ) -> FileId {
        let mut above = parent;
        for NewFolder { id, name } in folders {
            self.insert(*id, above, name, EntryKind::Folder(Box::default()), birth);
            above = *id;
        }
        above
    }

    pub(super) fn insert(
        &mut self,
        id: FileId,
        parent: FileId,
        name: &str,
        kind: EntryKind,
        birth: Birth<'_>,
    ) {
        self.namespace.insert(id, parent, name, kind, birth);
        self.next_file = self.next_file.max(id.0 + 1);
    }
}
