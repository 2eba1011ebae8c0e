//! Changes of the tree: mkdir, rename, delete, publish; and where an entry may go. Each function
//! plans its records and changes nothing; their effect is in `Durable::apply`.

use chunkstore_protocol::path::PATH_BYTES_MAX;
use chunkstore_protocol::{Delete, FileId, Mkdir, Publish, Rename, Replace, StorePath, Winner};
use ids::UnixMillis;

use super::Master;
use super::error::FsError;
use super::namespace::{EntryKind, Folder, ROOT, Walk};
use super::owners::OWNERS_MAX;
use super::record::{Adopted, NewFolder, Record, Stamp, WINNER_BYTES_PER_RECORD};

/// Files of one publish at most. Each costs the loop some microseconds, and a transaction is not
/// split into steps.
pub const WINNERS_MAX: usize = 50_000;
/// Upper bound of what a winner takes in a record besides its name: its id and their framing.
const WINNER_OVERHEAD_BYTES: usize = 16;

/// Where a new entry will be.
pub(super) struct Spot<'p> {
    /// The deepest folder that already exists.
    pub(super) parent: FileId,
    /// Folders to make below it.
    pub(super) folders: Vec<NewFolder>,
    /// The entry's own name.
    pub(super) name: &'p str,
}

/// Where an existing entry, or its copy, will be.
pub(super) struct Target<'p> {
    /// Its place.
    pub(super) spot: Spot<'p>,
    /// The file that is there and will be replaced.
    pub(super) replaced: Option<FileId>,
}

impl Master {
    pub(super) fn plan_mkdir(
        &self,
        at: UnixMillis,
        stamp: &Stamp,
        owner: &str,
        request: &Mkdir,
    ) -> Result<Vec<Record>, FsError> {
        let Mkdir { stamp: _, path, parents } = request;
        if let Walk::Found(id) = self.durable.namespace().walk(path)
            && *parents
            && matches!(self.durable.namespace().entry(id).kind, EntryKind::Folder(_))
        {
            return Ok(Vec::new());
        }
        let Spot { parent, mut folders, name } = self.spot(path, *parents)?;
        let id = self.next_file_after(&folders);
        folders.push(NewFolder { id, name: name.to_owned() });
        let (stamp, owner) = (stamp.clone(), self.admitted(owner)?);
        Ok(vec![Record::FoldersMade { stamp, at, parent, folders, owner }])
    }

    pub(super) fn plan_rename(
        &self,
        at: UnixMillis,
        stamp: &Stamp,
        request: &Rename,
    ) -> Result<Vec<Record>, FsError> {
        let Rename { stamp: _, from, to, replace } = request;
        let entry = self.find(from)?;
        if entry == ROOT || to.is_root() {
            return Err(FsError::RootStays);
        }
        if from == to {
            return self.is_still(to, entry, *replace).map(|()| Vec::new());
        }
        if to.is_within(from) && self.folder(from).is_ok() {
            let (from, to) = (from.clone(), to.clone());
            return Err(FsError::RenameIntoItself { from, to });
        }
        let Target { spot: Spot { parent, folders: _, name }, replaced } =
            self.target((from, entry), to, *replace, false)?;
        if !self.durable.namespace().fits_at(entry, to) {
            return Err(FsError::PathTooLong { to: to.clone() });
        }
        let (stamp, name) = (stamp.clone(), name.to_owned());
        Ok(vec![Record::Renamed { stamp, at, entry, parent, name, replaced }])
    }

    pub(super) fn plan_delete(
        &self,
        at: UnixMillis,
        stamp: &Stamp,
        owner: &str,
        request: &Delete,
    ) -> Result<Record, FsError> {
        let Delete { stamp: _, path, recursive, skip_trash } = request;
        let entry = self.find(path)?;
        if entry == ROOT {
            return Err(FsError::RootStays);
        }
        if let EntryKind::Folder(folder) = &self.durable.namespace().entry(entry).kind
            && !recursive
            && !folder.is_empty()
        {
            return Err(FsError::FolderNotEmpty { path: path.clone() });
        }
        if self.is_kept(path, entry, *skip_trash) {
            return self.plan_trash(at, stamp, owner, (path, entry));
        }
        Ok(Record::Deleted { stamp: stamp.clone(), at, entry })
    }

    pub(super) fn plan_publish(
        &self,
        at: UnixMillis,
        stamp: &Stamp,
        owner: &str,
        request: &Publish,
    ) -> Result<Vec<Record>, FsError> {
        let Publish { stamp: _, staging: staging_path, winners, target, marker, owner: _ } =
            request;
        if winners.len() > WINNERS_MAX {
            return Err(FsError::PublishTooLarge { given: winners.len(), max: WINNERS_MAX });
        }
        let (staging, folder) = self.folder(staging_path)?;
        if target.is_within(staging_path) {
            let (from, to) = (staging_path.clone(), target.clone());
            return Err(FsError::RenameIntoItself { from, to });
        }
        let Spot { parent, mut folders, name } = self.spot(target, true)?;
        folders.push(NewFolder { id: self.next_file_after(&folders), name: name.to_owned() });
        let published = winners.iter().map(|winner| winner.published.as_str());
        check_published(target, published.chain([marker.as_str()]))?;
        check_distinct(winners.iter().map(|winner| winner.staged.as_str()))?;
        let mut adopted = Vec::with_capacity(winners.len());
        for Winner { staged, published } in winners {
            let file = self.winner(staging_path, folder, staged)?;
            adopted.push(Adopted(file, published.clone()));
        }
        let mut batches = cut(adopted);
        let winners = batches.pop().unwrap_or_default();
        let mut records: Vec<Record> =
            batches.into_iter().map(|winners| Record::WinnersGathered { winners }).collect();
        records.push(Record::Published {
            stamp: stamp.clone(),
            at,
            staging,
            parent,
            marker_file: self.next_file_after(&folders),
            folders,
            winners,
            marker: marker.clone(),
            replication: self.replication(None)?,
            chunk_bytes: self.settings.chunk_bytes,
            owner: self.admitted(owner)?,
        });
        Ok(records)
    }

    fn winner(
        &self,
        staging: &StorePath,
        folder: &Folder,
        staged: &str,
    ) -> Result<FileId, FsError> {
        check_name(staged)?;
        // Only an error needs the full path; if that would be too long, the folder's stands in for
        // it.
        let path = || staging.join(staged).unwrap_or_else(|_| staging.clone());
        let Some(id) = self.durable.namespace().child(folder, staged) else {
            let (folder, missing) = (staging.clone(), staged.to_owned());
            return Err(FsError::NotFound { path: path(), folder, missing });
        };
        match self.durable.namespace().file(id) {
            None => Err(FsError::IsAFolder { path: path() }),
            Some(_) if self.durable.writer(id).is_some() => {
                Err(FsError::StillOpen { path: path() })
            }
            Some(_) => Ok(id),
        }
    }

    /// Where `path`, which must not exist, can be made.
    pub(super) fn spot<'p>(&self, path: &'p StorePath, parents: bool) -> Result<Spot<'p>, FsError> {
        let (parent, mut missing) = match self.durable.namespace().walk(path) {
            Walk::Found(_) => return Err(FsError::AlreadyExists { path: path.clone() }),
            Walk::Blocked { file } => return Err(self.blocked(path, file)),
            Walk::Missing { folder, missing } => (folder, missing),
        };
        let name = missing.pop().unwrap_or_default();
        if !missing.is_empty() && !parents {
            let folder = path.parent().unwrap_or_else(StorePath::root);
            return Err(FsError::ParentMissing { path: path.clone(), folder });
        }
        let ids = self.durable.next_files();
        let folders =
            ids.zip(missing).map(|(id, name)| NewFolder { id, name: name.to_owned() }).collect();
        Ok(Spot { parent, folders, name })
    }

    /// Where the entry at `from` can go: to a free name, or in place of a file, as `replace` says.
    /// Then both must be closed files.
    pub(super) fn target<'p>(
        &self,
        (from, entry): (&StorePath, FileId),
        path: &'p StorePath,
        replace: Replace,
        parents: bool,
    ) -> Result<Target<'p>, FsError> {
        let target = self.target_at_close(entry, path, replace, parents)?;
        if target.replaced.is_some() && self.durable.writer(entry).is_some() {
            return Err(FsError::StillOpen { path: from.clone() });
        }
        Ok(target)
    }

    /// The same of a file that is whole in the same step.
    pub(super) fn target_at_close<'p>(
        &self,
        entry: FileId,
        path: &'p StorePath,
        replace: Replace,
        parents: bool,
    ) -> Result<Target<'p>, FsError> {
        let there = match (self.durable.namespace().walk(path), replace.expected()) {
            (Walk::Found(there), _) if !replace.is_never() => there,
            (Walk::Missing { .. } | Walk::Blocked { .. }, Some(expected)) => {
                return Err(FsError::Changed { path: path.clone(), expected });
            }
            _ => return Ok(Target { spot: self.spot(path, parents)?, replaced: None }),
        };
        self.is_still(path, there, replace)?;
        let tree = self.durable.namespace();
        if tree.file(there).is_none() {
            return Err(FsError::IsAFolder { path: path.clone() });
        }
        if tree.file(entry).is_none() {
            return Err(FsError::AlreadyExists { path: path.clone() });
        }
        if self.durable.writer(there).is_some() {
            return Err(FsError::StillOpen { path: path.clone() });
        }
        let name = path.name().unwrap_or_default();
        let spot = Spot { parent: tree.parent(there), folders: Vec::new(), name };
        Ok(Target { spot, replaced: Some(there) })
    }

    fn is_still(&self, path: &StorePath, there: FileId, replace: Replace) -> Result<(), FsError> {
        let is_still = match replace {
            Replace::Always | Replace::Never => true,
            Replace::Only(expected) => there == expected,
            Replace::OnlyOf { file, length } => {
                let found = self.durable.namespace().file(there);
                there == file && found.is_some_and(|found| found.length() == length)
            }
        };
        match replace.expected().filter(|_| !is_still) {
            Some(expected) => Err(FsError::Changed { path: path.clone(), expected }),
            None => Ok(()),
        }
    }

    /// The owner of what is to be made, if there is room for another owner.
    pub(super) fn admitted(&self, owner: &str) -> Result<String, FsError> {
        if self.durable.namespace().admits_owner(owner) {
            return Ok(owner.to_owned());
        }
        Err(FsError::TooManyOwners { owner: owner.to_owned(), max: OWNERS_MAX })
    }

    /// The id of an entry that is made together with `folders`.
    pub(super) fn next_file_after(&self, folders: &[NewFolder]) -> FileId {
        self.durable.next_file(folders.len())
    }

    /// The entry at `path`.
    pub(super) fn find(&self, path: &StorePath) -> Result<FileId, FsError> {
        match self.durable.namespace().walk(path) {
            Walk::Found(id) => Ok(id),
            Walk::Blocked { file } => Err(self.blocked(path, file)),
            Walk::Missing { folder, missing } => {
                let folder = self.path_of(folder);
                let missing = missing.first().copied().unwrap_or_default().to_owned();
                Err(FsError::NotFound { path: path.clone(), folder, missing })
            }
        }
    }

    fn folder(&self, path: &StorePath) -> Result<(FileId, &Folder), FsError> {
        let id = self.find(path)?;
        match &self.durable.namespace().entry(id).kind {
            EntryKind::Folder(folder) => Ok((id, folder)),
            EntryKind::File(_) => Err(self.blocked(path, id)),
        }
    }

    fn blocked(&self, path: &StorePath, file: FileId) -> FsError {
        FsError::NotAFolder { path: path.clone(), file: self.path_of(file) }
    }

    fn path_of(&self, id: FileId) -> StorePath {
        let path = self.durable.namespace().path_of(id);
        path.expect("what a walk passes is attached")
    }
}

fn check_name(name: &str) -> Result<(), FsError> {
    if StorePath::is_part(name) {
        return Ok(());
    }
    Err(FsError::BadName { name: name.chars().take(80).collect() })
}

/// Checks the names that a publish makes in `target`.
fn check_published<'a>(
    target: &StorePath,
    names: impl Iterator<Item = &'a str> + Clone,
) -> Result<(), FsError> {
    for name in names.clone() {
        check_name(name)?;
        if target.as_str().len() + 1 + name.len() > PATH_BYTES_MAX {
            return Err(FsError::PathTooLong { to: target.clone() });
        }
    }
    check_distinct(names)
}

fn check_distinct<'a>(names: impl Iterator<Item = &'a str>) -> Result<(), FsError> {
    let mut sorted: Vec<&str> = names.collect();
    sorted.sort_unstable();
    match sorted.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(FsError::NamedTwice { name: pair[0].to_owned() }),
        None => Ok(()),
    }
}

/// Splits the winners into parts that each fit into a record.
fn cut(winners: Vec<Adopted>) -> Vec<Vec<Adopted>> {
    let mut batches = vec![Vec::new()];
    let mut bytes = 0;
    for winner in winners {
        bytes += winner.1.len() + WINNER_OVERHEAD_BYTES;
        if bytes > WINNER_BYTES_PER_RECORD {
            batches.push(Vec::new());
            bytes = winner.1.len() + WINNER_OVERHEAD_BYTES;
        }
        batches.last_mut().expect("begins with one batch").push(winner);
    }
    batches
}
