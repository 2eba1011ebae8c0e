//! The tree of folders and files, by id. No chunks' contents, no leases, no rules of who may do what:
//! those are its callers'. Only `Durable::apply` changes it; the handlers walk it.
//!
//! Removing a subtree only cuts it off (one step, however large); it is taken apart afterwards in
//! bounded steps by [`Namespace::reclaim`].

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use chunkstore_protocol::path::PATH_BYTES_MAX;
use chunkstore_protocol::{ChunkId, FileId, StorePath};
use ids::UnixMillis;
use serde::{Deserialize, Serialize};

/// The folder `/`. Folders and files take their ids from one sequence.
pub(crate) const ROOT: FileId = FileId(0);
/// Stands as the parent of a subtree that is cut off; never the id of an entry.
const NOWHERE: FileId = FileId(u64::MAX);

/// The whole tree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Namespace {
    entries: BTreeMap<FileId, Entry>,
    /// What is cut off and not yet taken apart; the last one is taken first.
    detached: Vec<FileId>,
    n_files: u64,
}

/// A folder or file, wherever it hangs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry {
    parent: FileId,
    name: Arc<str>,
    /// When it was created or closed, or a folder's entries changed.
    pub(crate) modified: UnixMillis,
    /// What it is.
    pub(crate) kind: EntryKind,
}

/// What an [`Entry`] is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum EntryKind {
    /// Holds others by name.
    Folder(Folder),
    /// Holds chunks.
    File(File),
}

/// A folder's entries.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Folder {
    children: BTreeMap<Arc<str>, FileId>,
    /// No path below this folder was ever longer than this many bytes, counted from here: what lets a
    /// rename be refused before it makes paths that nobody could write.
    below_bytes_max: usize,
}

/// A file's sealed chunks. Whether it is open is the writers' table's to say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct File {
    /// Replicas asked for.
    pub(crate) replication: u8,
    /// Length limit of its chunks.
    pub(crate) chunk_bytes: u64,
    /// Its chunks in order.
    pub(crate) chunks: Vec<FileChunk>,
}

/// A chunk in its place in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FileChunk {
    /// The chunk.
    pub(crate) chunk: ChunkId,
    /// Offset in the file of the byte after its last.
    pub(crate) end: u64,
}

impl File {
    /// Bytes in its sealed chunks.
    pub(crate) fn length(&self) -> u64 {
        self.chunks.last().map_or(0, |last| last.end)
    }

    /// Puts a sealed chunk behind the others.
    pub(crate) fn append(&mut self, chunk: ChunkId, length: u64) {
        let end = self.length() + length;
        self.chunks.push(FileChunk { chunk, end });
    }
}

impl Folder {
    /// Whether it has no entries.
    pub(crate) fn is_empty(&self) -> bool {
        self.children.is_empty()
    }

    /// The entry called `name`.
    pub(crate) fn child(&self, name: &str) -> Option<FileId> {
        self.children.get(name).copied()
    }

    /// The entries after `after`, sorted by the names' bytes.
    pub(crate) fn children_after(
        &self,
        after: Option<&str>,
    ) -> impl Iterator<Item = (&str, FileId)> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let rest = self.children.range::<str, _>((from, Bound::Unbounded));
        rest.map(|(name, id)| (&**name, *id))
    }
}

/// Where a path leads.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Walk<'p> {
    /// To this entry.
    Found(FileId),
    /// Nowhere: `folder` is the deepest that exists, the `missing` parts would follow below it.
    Missing {
        /// The deepest folder that exists.
        folder: FileId,
        /// What is not there; at least one part.
        missing: Vec<&'p str>,
    },
    /// A file stands where a folder is needed.
    Blocked {
        /// That file.
        file: FileId,
    },
}

impl Default for Namespace {
    fn default() -> Self {
        let root = Entry {
            parent: NOWHERE,
            name: "".into(),
            modified: UnixMillis(0),
            kind: EntryKind::Folder(Folder::default()),
        };
        Self { entries: BTreeMap::from([(ROOT, root)]), detached: Vec::new(), n_files: 0 }
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
            match folder.child(part) {
                Some(child) => at = child,
                None => {
                    let missing = std::iter::once(part).chain(parts).collect();
                    return Walk::Missing { folder: at, missing };
                }
            }
        }
        Walk::Found(at)
    }

    /// The entry of an id that is known to exist (from a walk, a folder, a journal record).
    pub(crate) fn entry(&self, id: FileId) -> &Entry {
        self.entries.get(&id).expect("ids come from walks, folders and records of what exists")
    }

    /// The file of that id, wherever it hangs.
    pub(crate) fn file(&self, id: FileId) -> Option<&File> {
        match &self.entries.get(&id)?.kind {
            EntryKind::File(file) => Some(file),
            EntryKind::Folder(_) => None,
        }
    }

    /// The path of an entry; `None` if it is cut off or gone.
    pub(crate) fn path_of(&self, id: FileId) -> Option<StorePath> {
        let mut names = Vec::new();
        let mut at = id;
        while at != ROOT {
            let entry = self.entries.get(&at)?;
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

    /// Number of files, those cut off included until they are taken apart.
    pub(crate) fn n_files(&self) -> u64 {
        self.n_files
    }

    /// Number of folders, the root and those cut off included.
    pub(crate) fn n_folders(&self) -> u64 {
        self.entries.len() as u64 - self.n_files
    }

    /// Whether [`Self::reclaim`] has something to do.
    pub(crate) fn has_detached(&self) -> bool {
        !self.detached.is_empty()
    }

    /// All entries, in the order of their ids.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (FileId, &Entry)> {
        self.entries.iter().map(|(id, entry)| (*id, entry))
    }

    fn entry_mut(&mut self, id: FileId) -> &mut Entry {
        self.entries.get_mut(&id).expect("records name entries that exist")
    }

    fn folder_mut(&mut self, id: FileId) -> &mut Folder {
        match &mut self.entry_mut(id).kind {
            EntryKind::Folder(folder) => folder,
            EntryKind::File(_) => unreachable!("records name folders where they need folders"),
        }
    }

    /// The file of a record.
    pub(crate) fn file_mut(&mut self, id: FileId, at: UnixMillis) -> &mut File {
        let entry = self.entry_mut(id);
        entry.modified = at;
        match &mut entry.kind {
            EntryKind::File(file) => file,
            EntryKind::Folder(_) => unreachable!("records name files where they need files"),
        }
    }

    /// Hangs a new folder or file into `parent`.
    pub(crate) fn insert(
        &mut self,
        id: FileId,
        parent: FileId,
        name: &str,
        kind: EntryKind,
        at: UnixMillis,
    ) {
        self.n_files += u64::from(matches!(kind, EntryKind::File(_)));
        let entry = Entry { parent: NOWHERE, name: "".into(), modified: at, kind };
        self.entries.insert(id, entry);
        self.hang(id, parent, name, at);
    }

    /// Takes an entry out of its folder and hangs it elsewhere.
    pub(crate) fn rename(&mut self, id: FileId, parent: FileId, name: &str, at: UnixMillis) {
        self.unhang(id, at);
        self.hang(id, parent, name, at);
    }

    /// Hangs files into `parent` as well; the folder that they come from is about to be cut off, and no
    /// longer counts as their parent. There may be very many: each costs one step and no more.
    pub(crate) fn adopt<'a>(
        &mut self,
        parent: FileId,
        files: impl Iterator<Item = (FileId, &'a str)>,
    ) {
        let mut children = BTreeMap::new();
        for (id, name) in files {
            let entry = self.entry_mut(id);
            entry.parent = parent;
            entry.name = name.into();
            children.insert(Arc::clone(&entry.name), id);
        }
        let longest = children.keys().map(|name| 1 + name.len()).max().unwrap_or(0);
        self.folder_mut(parent).children.append(&mut children);
        self.note_below(parent, longest);
    }

    /// Cuts off an entry with all below it.
    pub(crate) fn detach(&mut self, id: FileId, at: UnixMillis) {
        self.unhang(id, at);
        self.entry_mut(id).parent = NOWHERE;
        self.detached.push(id);
    }

    /// Takes apart what is cut off: at most `limit` entries. Returns the files among them.
    pub(crate) fn reclaim(&mut self, limit: u32) -> Vec<(FileId, File)> {
        let mut files = Vec::new();
        let mut left = limit;
        while left > 0
            && let Some(&last) = self.detached.last()
        {
            if let EntryKind::Folder(folder) = &mut self.entry_mut(last).kind
                && let Some((_, child)) = folder.children.pop_first()
            {
                // A winner that was adopted elsewhere stays.
                if self.entries.get(&child).is_some_and(|entry| entry.parent == last) {
                    self.detached.push(child);
                }
                continue;
            }
            left -= 1;
            self.detached.pop();
            if let Some(Entry { kind: EntryKind::File(file), .. }) = self.entries.remove(&last) {
                self.n_files -= 1;
                files.push((last, file));
            }
        }
        files
    }

    fn hang(&mut self, id: FileId, parent: FileId, name: &str, at: UnixMillis) {
        let name: Arc<str> = name.into();
        let entry = self.entry_mut(id);
        entry.parent = parent;
        entry.name = Arc::clone(&name);
        let below = match &entry.kind {
            EntryKind::Folder(folder) => folder.below_bytes_max,
            EntryKind::File(_) => 0,
        };
        let bytes = 1 + name.len() + below;
        self.folder_mut(parent).children.insert(name, id);
        self.entry_mut(parent).modified = at;
        self.note_below(parent, bytes);
    }

    /// There is a path of so many bytes below `folder`: it and those above remember the longest.
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
        let entry = self.entry(id);
        let (parent, name) = (entry.parent, Arc::clone(&entry.name));
        self.folder_mut(parent).children.remove(&name);
        self.entry_mut(parent).modified = at;
    }

    /// Asserts that every entry hangs where its folder says, and that each is attached or cut off.
    ///
    /// # Panics
    /// When one does not.
    pub(crate) fn check_invariants(&self) {
        let mut n_hung = 0;
        for (id, entry) in &self.entries {
            assert_ne!(*id, NOWHERE, "the id that stands for no place is used");
            let EntryKind::Folder(folder) = &entry.kind else { continue };
            for (name, child) in &folder.children {
                let Some(below) = self.entries.get(child).filter(|below| below.parent == *id)
                else {
                    assert!(self.path_of(*id).is_none(), "{name:?} hangs in {id:?} no more");
                    continue;
                };
                n_hung += 1;
                assert_eq!(below.name, *name, "entry {child:?} has two names");
                let tail = match &below.kind {
                    EntryKind::Folder(inner) => inner.below_bytes_max,
                    EntryKind::File(_) => 0,
                };
                assert!(folder.below_bytes_max > name.len() + tail, "{id:?} forgot a long path");
            }
        }
        // Each cut-off entry on the stack has lost its folder's hold; the root never had one.
        let n_loose = self.detached.len() + 1;
        assert_eq!(n_hung + n_loose, self.entries.len(), "an entry hangs nowhere");
        let files = self.entries.values().filter(|e| matches!(e.kind, EntryKind::File(_)));
        assert_eq!(files.count() as u64, self.n_files, "files are miscounted");
    }
}
