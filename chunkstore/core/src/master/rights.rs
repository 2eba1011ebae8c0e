//! Who may change what. An entry belongs to whoever made it, and so does everything in a folder of
//! theirs, whoever put it there. Nobody changes what belongs to another, or makes anything in
//! another's folder; in the root, and in the folders that the system keeps for everybody, anyone
//! may make entries. Superusers may do everything, and everybody may read. Which paths a token
//! covers is checked in the HTTP layer.

use chunkstore_protocol::path::SYSTEM_FOLDER;
use chunkstore_protocol::{Close, FileId, Replace, SetOwner, StorePath};
use ids::UnixMillis;

use super::error::FsError;
use super::mutation::{Asker, Mutation};
use super::namespace::{Namespace, ROOT, Walk};
use super::record::{Record, Stamp};
use super::{Master, Reply};

/// What a caller may change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Authority {
    /// Everybody's entries.
    All,
    /// Their own entries.
    Own,
}

/// A request of a caller who is not the owner. It had no effect.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotYours {
    /// The entry belongs to somebody else.
    #[error(
        "{path} belongs to {owner}: {asker} may read it, and only its owner, the owner of a folder that it is in, or an \
         admin may change it or take it away"
    )]
    Entry {
        /// What was to be changed.
        path: StorePath,
        /// Its owner.
        owner: String,
        /// The caller.
        asker: String,
    },
    /// The folder belongs to somebody else.
    #[error(
        "{path} can't be made by {asker}: the folder {folder} belongs to {owner}; choose a folder of your own, or have an \
         admin give you that one (`howdah fs chown {asker} {folder}`)"
    )]
    Folder {
        /// What was to be made.
        path: StorePath,
        /// The deepest folder that exists.
        folder: StorePath,
        /// Its owner.
        owner: String,
        /// The caller.
        asker: String,
    },
}

/// What a caller may ask about beforehand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Intent {
    /// To make an entry there.
    Make,
    /// To change what is there.
    Change,
}

/// The owner that errors name where there is none.
const NOBODY: &str = "nobody";

impl Master {
    /// Checks that the caller may make this request. Entries that do not exist are left to the plan
    /// to report.
    pub(super) fn check_rights(&self, asker: &Asker, request: &Mutation) -> Result<(), FsError> {
        if asker.may == Authority::All {
            return Ok(());
        }
        let by = asker.owner.as_str();
        match request {
            Mutation::Create(request) => self.may_make(by, &request.path),
            Mutation::CreateLog(request) => self.may_make(by, &request.path),
            Mutation::Mkdir(request) => self.may_make(by, &request.path),
            Mutation::Append(request) => self.may_change(by, &request.path),
            Mutation::SetReplication(request) => self.may_change(by, &request.path),
            Mutation::Delete(request) => self.may_change(by, &request.path),
            Mutation::Rename(request) => {
                self.may_change(by, &request.from)?;
                self.may_put(by, &request.to, request.replace)
            }
            Mutation::Copy(request) => self.may_put(by, &request.to, request.replace),
            Mutation::Concat(request) => {
                request.parts.iter().try_for_each(|part| self.may_change(by, part))?;
                self.may_put(by, &request.to, request.replace)
            }
            // The staging folder belongs to no user; what counts is the owner of the output.
            Mutation::Publish(request) => self.may_make(by, &request.target),
            Mutation::SetOwner(SetOwner { path, .. }) => {
                self.find(path).and_then(|id| Err(self.not_yours(by, path, id)))
            }
            // The holder of the lease had the right when the lease began, but only to the file's own name.
            Mutation::Close(Close { into: Some(into), .. }) => {
                self.may_put(by, &into.path, into.replace)
            }
            Mutation::Allocate(_) | Mutation::Close(_) | Mutation::Abandon(_) => Ok(()),
            // The HTTP layer lets only superusers ask for these.
            Mutation::Drain(_) | Mutation::Forget(_) => Ok(()),
        }
    }

    /// The same check, before the change is attempted.
    pub(super) fn may(
        &self,
        asker: &Asker,
        intent: Intent,
        path: &StorePath,
    ) -> Result<Reply, FsError> {
        match (asker.may, intent) {
            (Authority::All, _) => {}
            (Authority::Own, Intent::Make) => self.may_make(&asker.owner, path)?,
            (Authority::Own, Intent::Change) => self.may_change(&asker.owner, path)?,
        }
        Ok(Reply::Done)
    }

    fn may_put(&self, by: &str, to: &StorePath, replace: Replace) -> Result<(), FsError> {
        if !replace.is_never() {
            self.may_change(by, to)?;
        }
        self.may_make(by, to)
    }

    fn may_change(&self, by: &str, path: &StorePath) -> Result<(), FsError> {
        match self.durable.namespace().walk(path) {
            Walk::Found(id) if id != ROOT && !self.durable.namespace().is_owned(id, by) => {
                Err(self.not_yours(by, path, id))
            }
            Walk::Found(_) | Walk::Missing { .. } | Walk::Blocked { .. } => Ok(()),
        }
    }

    fn may_make(&self, by: &str, path: &StorePath) -> Result<(), FsError> {
        let tree = self.durable.namespace();
        let Walk::Missing { folder, .. } = tree.walk(path) else { return Ok(()) };
        if folder == ROOT || tree.is_systems(folder) || tree.is_owned(folder, by) {
            return Ok(());
        }
        Err(FsError::NotYours(NotYours::Folder {
            path: path.clone(),
            folder: tree.path_of(folder).unwrap_or_else(StorePath::root),
            owner: self.owner_shown(folder),
            asker: by.to_owned(),
        }))
    }

    fn not_yours(&self, by: &str, path: &StorePath, id: FileId) -> FsError {
        let owner = self.owner_shown(id);
        FsError::NotYours(NotYours::Entry { path: path.clone(), owner, asker: by.to_owned() })
    }

    fn owner_shown(&self, id: FileId) -> String {
        let tree = self.durable.namespace();
        let owner = tree.owner(tree.entry(id));
        if owner.is_empty() { NOBODY.to_owned() } else { owner.to_owned() }
    }

    pub(super) fn plan_set_owner(
        &self,
        at: UnixMillis,
        stamp: &Stamp,
        request: &SetOwner,
    ) -> Result<Record, FsError> {
        let SetOwner { stamp: _, path, owner } = request;
        let entry = self.find(path)?;
        if entry == ROOT {
            return Err(FsError::RootStays);
        }
        let (stamp, owner) = (stamp.clone(), self.admitted(owner)?);
        Ok(Record::OwnerSet { stamp, at, entry, owner })
    }
}

impl Namespace {
    /// Whether an entry, or a folder that it is in, belongs to this owner. The folders that the
    /// system keeps for everybody have no owner, whoever's request made them.
    fn is_owned(&self, id: FileId, owner: &str) -> bool {
        let mut at = id;
        while at != ROOT {
            let entry = self.entry(at);
            if self.owner(entry) == owner && !self.is_systems(at) {
                return true;
            }
            at = self.parent(at);
        }
        false
    }

    /// Whether it is the system's folder, or directly in it.
    fn is_systems(&self, id: FileId) -> bool {
        let is_it = |at: FileId| {
            at != ROOT
                && self.parent(at) == ROOT
                && SYSTEM_FOLDER.strip_prefix('/') == Some(self.name(at))
        };
        is_it(id) || (id != ROOT && is_it(self.parent(id)))
    }
}
