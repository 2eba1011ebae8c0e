//! The tree of folders and files, by id. It knows no chunk contents, no leases and no access rules:
//! those are its callers' business. Only `Durable::apply` changes it; the request handlers read it.
//!
//! Removing a subtree only cuts it off, in one step however large it is; [`Namespace::reclaim`]
//! takes it apart afterwards in bounded steps.

use chunkstore_protocol::path::PATH_BYTES_MAX;
use chunkstore_protocol::{ChunkId, FileId, StorePath};
use ids::UnixMillis;
use serde::{Deserialize, Deserializer, Serialize};

use super::children::{Children, Place};
use super::layout::File;
use super::owners::{OwnerId, Owners};
use super::paged::Paged;

/// The folder `/`. Folders and files take their ids from one sequence.
pub(crate) const ROOT: FileId = FileId(0);
/// The parent of a subtree that is cut off; never the id of an entry.
const NOWHERE: FileId = FileId(u64::MAX);

/// The whole tree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Namespace {
    #[serde(deserialize_with = "read_entries")]
    entries: Paged<FileId, Entry>,
    /// Subtrees that are cut off and not yet reclaimed; the last one goes first.
    detached: Vec<FileId>,
    n_files: u64,
    #[serde(default)]
    owners: Owners,
}

/// A folder or file, wherever it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry {
    parent: FileId,
    name: Box<str>,
    /// When it was made; 0 if the snapshot it comes from did not say.
    #[serde(default)]
    pub(crate) created: UnixMillis,
    /// When it was created or closed, or a folder's entries changed.
    pub(crate) modified: UnixMillis,
    #[serde(default)]
    owner: OwnerId,
    /// What it is.
    pub(crate) kind: EntryKind,
}

/// What an [`Entry`] is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum EntryKind {
    /// Holds other entries by name.
    Folder(Box<Folder>),
    /// Holds chunks.
    File(File),
}

/// How an entry comes into being.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Birth<'a> {
    /// When.
    pub(crate) at: UnixMillis,
    /// The owner; empty if the record does not say.
    pub(crate) owner: &'a str,
}

/// A folder's entries.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Folder {
    children: Children,
    /// No path below this folder was ever longer than this many bytes, counted from here. So a
    /// rename that would make paths too long to be written can be refused beforehand.
    below_bytes_max: usize,
}

impl Folder {
    /// Whether it has no entries.
    pub(crate) fn is_empty(&self) -> bool {
        self.children.is_empty()
    }
}

/// Where a path leads.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Walk<'p> {
    /// To this entry.
    Found(FileId),
    /// Nowhere: `folder` is the deepest one that exists, and the `missing` parts would follow below
    /// it.
    Missing {
        /// The deepest folder that exists.
        folder: FileId,
        /// What is not there; at least one part.
        missing: Vec<&'p str>,
    },
    /// A file is where a folder is needed.
    Blocked {
        /// That file.
        file: FileId,
    },
}

/// Reads the entries and indexes the folders' children.
fn read_entries<'de, D: Deserializer<'de>>(from: D) -> Result<Paged<FileId, Entry>, D::Error> {
    let mut entries = Paged::<FileId, Entry>::deserialize(from)?;
    let is_folder = |entry: &Entry| matches!(entry.kind, EntryKind::Folder(_));
    let folders = entries.iter().filter(|(_, entry)| is_folder(entry)).map(|(id, _)| id);
    for id in folders.collect::<Vec<_>>() {
        let Some(mut children) = children_mut(&mut entries, id).map(std::mem::take) else {
            continue;
        };
        // A folder that is cut off may have lost children that were adopted elsewhere: nobody looks
        // names up there.
        children.index(|child| entries.get(child).map_or("", |entry| &*entry.name));
        if let Some(place) = children_mut(&mut entries, id) {
            *place = children;
        }
    }
    Ok(entries)
}

fn children_mut(entries: &mut Paged<FileId, Entry>, folder: FileId) -> Option<&mut Children> {
    match &mut entries.get_mut(folder)?.kind {
        EntryKind::Folder(folder) => Some(&mut folder.children),
        EntryKind::File(_) => None,
    }
}

impl Default for Namespace {
    fn default() -> Self {
        let root = Entry {
            parent: NOWHERE,
            name: "".into(),
            created: UnixMillis(0),
            modified: UnixMillis(0),
            owner: OwnerId::default(),
            kind: EntryKind::Folder(Box::default()),
        };
        let mut entries = Paged::default();
        entries.insert(ROOT, root);
        Self { entries, detached: Vec::new(), n_files: 0, owners: Owners::default() }
    }
}

impl Namespace {
    /// Follows `path` from the root.
    pub(crate) fn walk<'p>(&self, path: &'p StorePath) -> Walk<'p> {
        let mut at = ROOT;
        let mut parts = path.parts();
        while let Some(part) = parts.next() {
            let EntryKind::Folder(folder) = &self.entry(at).kind else {
                return Walk::Blocked { file: at };
            };
            match self.child(folder, part) {
                Some(child) => at = child,
                None => {
                    let missing = std::iter::once(part).chain(parts).collect();
                    return Walk::Missing { folder: at, missing };
                }
            }
        }
        Walk::Found(at)
    }

    /// The entry of `folder` called `name`.
    pub(crate) fn child(&self, folder: &Folder, name: &str) -> Option<FileId> {
        let place = self.place(folder, name).ok()?;
        Some(folder.children.get(place))
    }

    /// The entries of `folder` after the name `after`, sorted by the names' bytes.
    pub(crate) fn children_after<'a>(
        &'a self,
        folder: &'a Folder,
        after: Option<&str>,
    ) -> impl Iterator<Item = (&'a str, FileId)> + use<'a> {
        let from = match after.map(|name| self.place(folder, name)) {
            None => Place::FIRST,
            Some(Ok(place)) => place.next(),
            Some(Err(place)) => place,
        };
        folder.children.iter_from(from).map(|id| (&*self.entry(id).name, id))
    }

    fn place(&self, folder: &Folder, name: &str) -> Result<Place, Place> {
        folder.children.find(name, |id| &self.entry(id).name)
    }

    /// The entry of an id that is known to exist (from a walk, a folder, a journal record).
    pub(crate) fn entry(&self, id: FileId) -> &Entry {
        self.entries.get(id).expect("ids come from walks, folders and records of what exists")
    }

    /// The file of that id, wherever it is.
    pub(crate) fn file(&self, id: FileId) -> Option<&File> {
        match &self.entries.get(id)?.kind {
            EntryKind::File(file) => Some(file),
            EntryKind::Folder(_) => None,
        }
    }

    /// The folder that an entry is in.
    pub(crate) fn parent(&self, id: FileId) -> FileId {
        self.entry(id).parent
    }

    /// The owner of an entry; empty if it has none.
    pub(crate) fn owner(&self, entry: &Entry) -> &str {
        self.owners.text(entry.owner)
    }

    /// The name of an entry in its folder; the root's is empty.
    pub(crate) fn name(&self, id: FileId) -> &str {
        &self.entry(id).name
    }

    /// Whether there is room for entries of this owner.
    pub(crate) fn admits_owner(&self, owner: &str) -> bool {
        self.owners.admit(owner)
    }

    /// The path of an entry; `None` if it is cut off or gone.
    pub(crate) fn path_of(&self, id: FileId) -> Option<StorePath> {
        let mut names = Vec::new();
        let mut at = id;
        while at != ROOT {
            let entry = self.entries.get(at)?;
            names.push(&*entry.name);
            at = entry.parent;
        }
        if names.is_empty() {
            return Some(StorePath::root());
        }
        names.reverse();
        StorePath::root().join(&names.join("/")).ok()
    }

    /// Whether `entry`, moved to `path`, would keep all paths within the limit.
    pub(crate) fn fits_at(&self, id: FileId, path: &StorePath) -> bool {
        let below = match &self.entry(id).kind {
            EntryKind::Folder(folder) => folder.below_bytes_max,
            EntryKind::File(_) => 0,
        };
        path.as_str().len() + below <= PATH_BYTES_MAX
    }

    /// Number of files, including those cut off and not yet reclaimed.
    pub(crate) fn n_files(&self) -> u64 {
        self.n_files
    }

    /// Number of folders, including the root and those cut off.
    pub(crate) fn n_folders(&self) -> u64 {
        self.entries.len() as u64 - self.n_files
    }

    /// Whether [`Self::reclaim`] has something to do.
    pub(crate) fn has_detached(&self) -> bool {
        !self.detached.is_empty()
    }

    /// All entries, in the order of their ids.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (FileId, &Entry)> {
        self.entries.iter()
    }

    fn entry_mut(&mut self, id: FileId) -> &mut Entry {
        self.entries.get_mut(id).expect("records name entries that exist")
    }

    fn folder(&self, id: FileId) -> &Folder {
        match &self.entry(id).kind {
            EntryKind::Folder(folder) => folder,
            EntryKind::File(_) => unreachable!("records name folders where they need folders"),
        }
    }

    fn folder_mut(&mut self, id: FileId) -> &mut Folder {
        match &mut self.entry_mut(id).kind {
            EntryKind::Folder(folder) => folder,
            EntryKind::File(_) => unreachable!("records name folders where they need folders"),
        }
    }

    /// Sets the time of the entry's last change.
    pub(crate) fn touch(&mut self, id: FileId, at: UnixMillis) {
        self.entry_mut(id).modified = at;
    }

    /// The file that a record names.
    pub(crate) fn file_mut(&mut self, id: FileId) -> &mut File {
        match &mut self.entry_mut(id).kind {
            EntryKind::File(file) => file,
            EntryKind::Folder(_) => unreachable!("records name files where they need files"),
        }
    }

    /// Adds a new folder or file to `parent`.
    pub(crate) fn insert(
        &mut self,
        id: FileId,
        parent: FileId,
        name: &str,
        kind: EntryKind,
        Birth { at, owner }: Birth<'_>,
    ) {
        self.n_files += u64::from(matches!(kind, EntryKind::File(_)));
        let owner = self.owners.acquire(owner);
        let (created, modified, name_later) = (at, at, "".into());
        let entry = Entry { parent: NOWHERE, name: name_later, created, modified, owner, kind };
        self.entries.insert(id, entry);
        self.hang(id, parent, name, at);
    }

    /// Moves an entry to another folder or name.
    pub(crate) fn rename(&mut self, id: FileId, parent: FileId, name: &str, at: UnixMillis) {
        self.unhang(id, at);
        self.hang(id, parent, name, at);
    }

    /// Moves files into `parent`, which is new and empty, and makes them `owner`'s. The folder that
    /// they come from is about to be cut off and keeps its list of them. There may be very many, so
    /// each costs a single step.
    pub(crate) fn adopt<'a>(
        &mut self,
        parent: FileId,
        owner: &str,
        files: impl Iterator<Item = (FileId, &'a str)>,
    ) {
        let mut children: Vec<(&str, FileId)> = Vec::new();
        let mut longest = 0;
        for (id, name) in files {
            let owner = self.owners.acquire(owner);
            let entry = self.entry_mut(id);
            entry.parent = parent;
            entry.name = name.into();
            let before = std::mem::replace(&mut entry.owner, owner);
            self.owners.release(before);
            longest = longest.max(1 + name.len());
            children.push((name, id));
        }
        children.sort_unstable();
        let ids: Vec<FileId> = children.into_iter().map(|(_, id)| id).collect();
        let children = Children::from_sorted(&ids, |id| &self.entry(id).name);
        self.folder_mut(parent).children = children;
        self.note_below(parent, longest);
    }

    /// Gives an entry, but nothing below it, to another owner.
    pub(crate) fn set_owner(&mut self, id: FileId, owner: &str) {
        let owner = self.owners.acquire(owner);
        let before = std::mem::replace(&mut self.entry_mut(id).owner, owner);
        self.owners.release(before);
    }

    /// Cuts off an entry with everything below it.
    pub(crate) fn detach(&mut self, id: FileId, at: UnixMillis) {
        self.unhang(id, at);
        self.entry_mut(id).parent = NOWHERE;
        self.detached.push(id);
    }

    /// Reclaims up to `limit` entries and chunks of what is cut off. Returns the files among them
    /// with the chunks that they lost; a long file loses only as many chunks as the limit allows.
    pub(crate) fn reclaim(&mut self, limit: u32) -> Vec<(FileId, Vec<ChunkId>)> {
        let mut files = Vec::new();
        let mut left = limit as usize;
        while left > 0
            && let Some(&last) = self.detached.last()
        {
            match &mut self.entry_mut(last).kind {
                EntryKind::Folder(folder) => {
                    if let Some(child) = folder.children.pop() {
                        // A winner that was adopted elsewhere stays.
                        if self.entries.get(child).is_some_and(|entry| entry.parent == last) {
                            self.detached.push(child);
                        }
                        continue;
                    }
                    left -= 1;
                }
                EntryKind::File(file) => {
                    let chunks = file.take_last(left);
                    left -= chunks.len().clamp(1, left);
                    let goes_on = file.n_chunks() > 0;
                    files.push((last, chunks));
                    if goes_on {
                        continue;
                    }
                    self.n_files -= 1;
                }
            }
            self.detached.pop();
            if let Some(Entry { owner, .. }) = self.entries.remove(last) {
                self.owners.release(owner);
            }
        }
        files
    }

    fn hang(&mut self, id: FileId, parent: FileId, name: &str, at: UnixMillis) {
        let entry = self.entry_mut(id);
        entry.parent = parent;
        entry.name = name.into();
        let below = match &entry.kind {
            EntryKind::Folder(folder) => folder.below_bytes_max,
            EntryKind::File(_) => 0,
        };
        let bytes = 1 + name.len() + below;
        let place = self.place(self.folder(parent), name).unwrap_or_else(|free| free);
        self.change_children(parent, |children, tree| {
            children.insert(place, (id, name), |id| &tree.entry(id).name);
        });
        self.entry_mut(parent).modified = at;
        self.note_below(parent, bytes);
    }

    /// Changes a folder's children while all names can be read.
    fn change_children(&mut self, folder: FileId, change: impl FnOnce(&mut Children, &Self)) {
        let mut children = std::mem::take(&mut self.folder_mut(folder).children);
        change(&mut children, self);
        self.folder_mut(folder).children = children;
    }

    /// Records that there is a path of `bytes` bytes below `folder`, in it and in the folders
    /// above.
    fn note_below(&mut self, folder: FileId, mut bytes: usize) {
        let mut above = folder;
        while above != NOWHERE {
            let folder = self.folder_mut(above);
            if folder.below_bytes_max >= bytes {
                break;
            }
            folder.below_bytes_max = bytes;
            let entry = self.entry(above);
            bytes += 1 + entry.name.len();
            above = entry.parent;
        }
    }

    fn unhang(&mut self, id: FileId, at: UnixMillis) {
        let Entry { parent, name, .. } = self.entry(id);
        let parent = *parent;
        let place = self.place(self.folder(parent), name);
        let place = place.expect("what hangs in a folder is found there by its name");
        self.change_children(parent, |children, tree| {
            children.remove(place, |id| &tree.entry(id).name);
        });
        self.entry_mut(parent).modified = at;
    }

    /// Asserts that every entry is in the folder that it names, and that each is attached or cut
    /// off.
    ///
    /// # Panics
    /// When one does not.
    pub(crate) fn check_invariants(&self) {
        let mut n_hung = 0;
        for (id, entry) in self.entries.iter() {
            assert_ne!(id, NOWHERE, "the id that stands for no place is used");
            let EntryKind::Folder(folder) = &entry.kind else { continue };
            let mut before: Option<&str> = None;
            for child in folder.children.iter() {
                let Some(below) = self.entries.get(child).filter(|below| below.parent == id) else {
                    assert!(self.path_of(id).is_none(), "{child:?} hangs in {id:?} no more");
                    continue;
                };
                n_hung += 1;
                let name = &*below.name;
                assert!(before.is_none_or(|before| before < name), "{name:?} is out of order");
                before = Some(name);
                let tail = match &below.kind {
                    EntryKind::Folder(inner) => inner.below_bytes_max,
                    EntryKind::File(_) => 0,
                };
                assert!(folder.below_bytes_max > name.len() + tail, "{id:?} forgot a long path");
            }
        }
        // Each entry that is cut off is in no folder any more; neither is the root.
        let n_loose = self.detached.len() + 1;
        assert_eq!(n_hung + n_loose, self.entries.len(), "an entry hangs nowhere");
        let files = self.entries.iter().filter(|(_, e)| matches!(e.kind, EntryKind::File(_)));
        assert_eq!(files.count() as u64, self.n_files, "files are miscounted");
        self.owners.check_invariants(self.entries.iter().map(|(_, entry)| entry.owner));
    }
}
