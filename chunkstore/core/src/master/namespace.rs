//! The tree of folders and files, by id. No chunks' contents, no leases, no rules of who may do what:
//! those are its callers'. Only `Durable::apply` changes it; the handlers walk it.
//!
//! Removing a subtree only cuts it off (one step, however large); it is taken apart afterwards in
//! bounded steps by [`Namespace::reclaim`].

use chunkstore_protocol::path::PATH_BYTES_MAX;
use chunkstore_protocol::{ChunkId, FileId, StorePath};
use ids::UnixMillis;
use serde::{Deserialize, Serialize};

use super::children::{Children, Place};
use super::paged::Paged;

/// The folder `/`. Folders and files take their ids from one sequence.
pub(crate) const ROOT: FileId = FileId(0);
/// Stands as the parent of a subtree that is cut off; never the id of an entry.
const NOWHERE: FileId = FileId(u64::MAX);

/// The whole tree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Namespace {
    entries: Paged<FileId, Entry>,
    /// What is cut off and not yet taken apart; the last one is taken first.
    detached: Vec<FileId>,
    n_files: u64,
}

/// A folder or file, wherever it hangs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry {
    parent: FileId,
    name: Box<str>,
    /// When it was created or closed, or a folder's entries changed.
    pub(crate) modified: UnixMillis,
    /// What it is.
    pub(crate) kind: EntryKind,
}

/// What an [`Entry`] is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum EntryKind {
    /// Holds others by name.
    Folder(Box<Folder>),
    /// Holds chunks.
    File(File),
}

/// A folder's entries.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Folder {
    children: Children,
    /// No path below this folder was ever longer than this many bytes, counted from here: what lets a
    /// rename be refused before it makes paths that nobody could write.
    below_bytes_max: usize,
}

/// A file's sealed chunks. Whether it is open is the writers' table's to say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct File {
    chunks: Chunks,
    /// Length limit of its chunks; [`chunkstore_protocol::CHUNK_BYTES_MAX`] fits.
    chunk_bytes: u32,
    /// Replicas asked for.
    pub(crate) replication: u8,
    /// Whether its writer died before it was closed.
    #[serde(default)]
    pub(crate) cut: bool,
}

/// Most files have one chunk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Chunks {
    None,
    One { chunk: ChunkId, length: u32 },
    Several(Vec<FileChunk>),
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
    /// Without chunks.
    pub(crate) fn new(replication: u8, chunk_bytes: u64) -> Self {
        let chunk_bytes = u32::try_from(chunk_bytes).expect("chunks are bounded far below 4 GiB");
        Self { chunks: Chunks::None, chunk_bytes, replication, cut: false }
    }

    /// Length limit of its chunks.
    pub(crate) fn chunk_bytes(&self) -> u64 {
        u64::from(self.chunk_bytes)
    }

    /// Bytes in its sealed chunks.
    pub(crate) fn length(&self) -> u64 {
        match &self.chunks {
            Chunks::None => 0,
            Chunks::One { length, .. } => u64::from(*length),
            Chunks::Several(places) => places.last().map_or(0, |last| last.end),
        }
    }

    /// Number of its chunks.
    pub(crate) fn n_chunks(&self) -> usize {
        match &self.chunks {
            Chunks::None => 0,
            Chunks::One { .. } => 1,
            Chunks::Several(places) => places.len(),
        }
    }

    /// Its chunks in order, from the `first`.
    pub(crate) fn places_from(&self, first: usize) -> impl Iterator<Item = FileChunk> {
        let (one, several) = match &self.chunks {
            Chunks::None => (None, &[][..]),
            Chunks::One { chunk, length } => {
                (Some(FileChunk { chunk: *chunk, end: u64::from(*length) }), &[][..])
            }
            Chunks::Several(places) => (None, places.as_slice()),
        };
        one.into_iter().chain(several.iter().copied()).skip(first)
    }

    /// The number of the chunk that holds the byte at `offset`; of chunks, if that lies behind the end.
    pub(crate) fn chunk_at(&self, offset: u64) -> usize {
        match &self.chunks {
            Chunks::Several(places) => places.partition_point(|place| place.end <= offset),
            Chunks::None | Chunks::One { .. } => {
                usize::from(offset >= self.length()) * self.n_chunks()
            }
        }
    }

    /// Puts a sealed chunk behind the others.
    pub(crate) fn append(&mut self, chunk: ChunkId, length: u64) {
        let end = self.length() + length;
        if let Chunks::Several(places) = &mut self.chunks {
            places.push(FileChunk { chunk, end });
        } else if matches!(self.chunks, Chunks::None) {
            let length = u32::try_from(length).expect("chunks are bounded far below 4 GiB");
            self.chunks = Chunks::One { chunk, length };
        } else {
            let places = self.places_from(0).chain([FileChunk { chunk, end }]).collect();
            self.chunks = Chunks::Several(places);
        }
    }
}

impl File {
    /// Takes the chunks away that lie behind its first `length` bytes; a chunk ends there.
    pub(crate) fn truncate(&mut self, length: u64) -> Vec<FileChunk> {
        let (kept, gone): (Vec<_>, _) =
            self.places_from(0).partition(|place: &FileChunk| place.end <= length);
        self.chunks = match kept[..] {
            [] => Chunks::None,
            [FileChunk { chunk, end }] => {
                let length = u32::try_from(end).expect("chunks are bounded far below 4 GiB");
                Chunks::One { chunk, length }
            }
            _ => Chunks::Several(kept),
        };
        gone
    }
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
            kind: EntryKind::Folder(Box::default()),
        };
        let mut entries = Paged::default();
        entries.insert(ROOT, root);
        Self { entries, detached: Vec::new(), n_files: 0 }
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
    pub(crate) fn children_after(
        &self,
        folder: &Folder,
        after: Option<&str>,
    ) -> impl Iterator<Item = (&str, FileId)> {
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

    /// The file of that id, wherever it hangs.
    pub(crate) fn file(&self, id: FileId) -> Option<&File> {
        match &self.entries.get(id)?.kind {
            EntryKind::File(file) => Some(file),
            EntryKind::Folder(_) => None,
        }
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

    /// Hangs files into `parent`, which is new and empty; the folder that they come from is about to be cut off, and no
    /// longer counts as their parent. There may be very many: each costs one step and no more.
    pub(crate) fn adopt<'a>(
        &mut self,
        parent: FileId,
        files: impl Iterator<Item = (FileId, &'a str)>,
    ) {
        let mut children = Vec::new();
        let mut longest = 0;
        for (id, name) in files {
            let entry = self.entry_mut(id);
            entry.parent = parent;
            entry.name = name.into();
            longest = longest.max(1 + name.len());
            children.push((name, id));
        }
        children.sort_unstable();
        let ids: Vec<FileId> = children.into_iter().map(|(_, id)| id).collect();
        self.folder_mut(parent).children = Children::from_sorted(&ids);
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
                && let Some(child) = folder.children.pop()
            {
                // A winner that was adopted elsewhere stays.
                if self.entries.get(child).is_some_and(|entry| entry.parent == last) {
                    self.detached.push(child);
                }
                continue;
            }
            left -= 1;
            self.detached.pop();
            if let Some(Entry { kind: EntryKind::File(file), .. }) = self.entries.remove(last) {
                self.n_files -= 1;
                files.push((last, file));
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
        self.folder_mut(parent).children.insert(place, id);
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
        let Entry { parent, name, .. } = self.entry(id);
        let parent = *parent;
        let place = self.place(self.folder(parent), name);
        let place = place.expect("what hangs in a folder is found there by its name");
        self.folder_mut(parent).children.remove(place);
        self.entry_mut(parent).modified = at;
    }

    /// Asserts that every entry hangs where its folder says, and that each is attached or cut off.
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
        // Each cut-off entry on the stack has lost its folder's hold; the root never had one.
        let n_loose = self.detached.len() + 1;
        assert_eq!(n_hung + n_loose, self.entries.len(), "an entry hangs nowhere");
        let files = self.entries.iter().filter(|(_, e)| matches!(e.kind, EntryKind::File(_)));
        assert_eq!(files.count() as u64, self.n_files, "files are miscounted");
    }
}
