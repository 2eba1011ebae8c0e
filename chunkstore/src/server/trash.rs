//! The trash of one data folder: files that count as gone and are kept for a while. Orphans, which the chunk
//! master found no file for, and replicas that were found broken, in case that what gave them up was wrong;
//! and for half a minute what was removed, so that whoever opened a file just before it was removed or replaced
//! still reads it. When the disk has no other room, what was removed goes first, and then the oldest; but a broken
//! replica, which may be all that is left of its chunk, only goes when the chunk master has said that it may.
//!
//! ```text
//! trash/000000000000002a_1.1764355811000.chunk   an orphan: chunk, version, when it came (ms since 1970)
//! trash/000000000000002a_1.1764355811000.bad     found broken
//! trash/000000000000002a_1.1764355811000.gone    removed
//! ```
//! To put one back by hand: move it to the name that it had, here `chunks/2a/000000000000002a_1.chunk`, and
//! start the chunkserver again, which then reports it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, DirBuilder, File};
use std::io;
use std::ops::Bound;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chunkstore_core::replica::ReplicaKey;
use chunkstore_protocol::{BROKEN_CHUNKS_MAX, BrokenChunks, ChunkId, Purgeable, Version};
use ids::UnixMillis;
use net::{Capability, Role};

use super::data_dir::DataDir;
use super::opening::Steps;
use super::{Server, metrics};

/// Between two looks for files whose time is over.
const PURGE_PAUSE: Duration = Duration::from_secs(1);
/// Between two questions to the chunk master about broken replicas, at most.
const RELEASE_PAUSE: Duration = Duration::from_mins(1);
/// How long the token of such a question counts.
const TOKEN_LIFE: Duration = Duration::from_mins(5);
/// Files of each disk that a look removes at most: so many a second, so that removals crowd nobody out.
const PURGED_PER_LOOK: usize = 32;
/// Of those that were removed, which nobody will miss, more.
const REMOVED_PER_LOOK: usize = 1024;
/// How long a replica that was removed can still be read by those who were told of it before.
const READABLE_FOR: Duration = Duration::from_secs(30);

/// Why a file is here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Why {
    /// The file it was of is gone, or it was one replica too many.
    Removed,
    /// No file of the store refers to it.
    Orphan,
    /// It is corrupt or unreadable.
    Broken,
}

impl Why {
    fn suffix(self) -> &'static str {
        match self {
            Self::Removed => "gone",
            Self::Orphan => "chunk",
            Self::Broken => "bad",
        }
    }
}

/// A file of the trash; in the order in which they go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Item {
    came: UnixMillis,
    replica: ReplicaKey,
    why: Why,
}

impl Item {
    fn name(&self) -> String {
        let Self { came, replica: ReplicaKey { chunk, version }, why } = self;
        format!("{chunk}_{}.{}.{}", version.0, came.0, why.suffix())
    }

    fn parse(name: &str) -> Option<Self> {
        let mut parts = name.split('.');
        let (replica, came, suffix) = (parts.next()?, parts.next()?, parts.next()?);
        let (chunk, version) = replica.split_once('_')?;
        let (chunk, version) = (chunk.parse().ok()?, Version(version.parse().ok()?));
        let why = [Why::Removed, Why::Orphan, Why::Broken]
            .into_iter()
            .find(|why| why.suffix() == suffix)?;
        let replica = ReplicaKey { chunk, version };
        let item = Self { came: UnixMillis(came.parse().ok()?), replica, why };
        (item.name() == name).then_some(item)
    }
}

/// How much there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Content {
    pub(super) files: u64,
    /// Of these, the broken ones.
    pub(super) broken: u64,
    pub(super) bytes: u64,
    /// Of these, what may go when chunks need the room.
    pub(super) yielding_bytes: u64,
}

#[derive(Debug, Default)]
struct Items {
    removed: BTreeMap<Item, u64>,
    /// Orphans, and the broken ones that may go.
    kept: BTreeMap<Item, u64>,
    /// The other broken ones.
    held: BTreeMap<Item, u64>,
    /// Those that are whole.
    readable: BTreeMap<ReplicaKey, Item>,
    /// The broken ones; of a replica that was found broken twice, the last.
    broken: BTreeMap<ReplicaKey, Item>,
    content: Content,
}

impl Items {
    /// Items of this kind that came just now, with their bytes.
    fn of(&mut self, why: Why) -> &mut BTreeMap<Item, u64> {
        match why {
            Why::Removed => &mut self.removed,
            Why::Orphan => &mut self.kept,
            Why::Broken => &mut self.held,
        }
    }

    fn by_replica(&mut self, why: Why) -> &mut BTreeMap<ReplicaKey, Item> {
        match why {
            Why::Removed | Why::Orphan => &mut self.readable,
            Why::Broken => &mut self.broken,
        }
    }

    /// Adds one that came now, or a little later if there is one of that name.
    fn add_new(&mut self, now: UnixMillis, replica: ReplicaKey, why: Why, bytes: u64) -> Item {
        let mut item = Item { came: now, replica, why };
        while self.of(why).contains_key(&item) {
            item.came.0 += 1;
        }
        self.add(item, bytes);
        item
    }

    /// Adds one that is not here.
    fn add(&mut self, item: Item, bytes: u64) {
        self.of(item.why).insert(item, bytes);
        self.by_replica(item.why).insert(item.replica, item);
        self.content.files += 1;
        self.content.broken += u64::from(item.why == Why::Broken);
        self.content.bytes += bytes;
        self.content.yielding_bytes += if item.why == Why::Broken { 0 } else { bytes };
    }

    fn remove(&mut self, item: Item) {
        self.release(item);
        let removed = self.removed.remove(&item).or_else(|| self.kept.remove(&item));
        if let Some(bytes) = removed {
            self.content.files -= 1;
            self.content.broken -= u64::from(item.why == Why::Broken);
            self.content.bytes -= bytes;
            self.content.yielding_bytes -= bytes;
        }
        let known = self.by_replica(item.why);
        if known.get(&item.replica) == Some(&item) {
            known.remove(&item.replica);
        }
    }

    /// A broken one may go as others do.
    fn release(&mut self, item: Item) {
        if let Some(bytes) = self.held.remove(&item) {
            self.kept.insert(item, bytes);
            self.content.yielding_bytes += bytes;
        }
    }

    /// Takes the next one to go, of those that came before then.
    fn pop(&mut self, came_before: CameBefore) -> Option<Item> {
        let first = |items: &BTreeMap<Item, u64>, before: UnixMillis| {
            items.first_key_value().map(|(item, _)| *item).filter(|item| item.came < before)
        };
        let item = first(&self.removed, came_before.removed)
            .or_else(|| first(&self.kept, came_before.kept))?;
        self.remove(item);
        Some(item)
    }
}

/// What may go.
#[derive(Clone, Copy, Debug)]
pub(super) struct CameBefore {
    pub(super) removed: UnixMillis,
    /// Orphans, and the broken ones that may go.
    pub(super) kept: UnixMillis,
}

impl CameBefore {
    /// None of them.
    const NEVER: UnixMillis = UnixMillis(0);
    /// Everything.
    const ALL: Self = Self { removed: UnixMillis(u64::MAX), kept: UnixMillis(u64::MAX) };

    fn ago(interval: Duration) -> UnixMillis {
        let age = u64::try_from(interval.as_millis()).unwrap_or(u64::MAX);
        UnixMillis(clock::wall().0.saturating_sub(age))
    }
}

/// The trash of a data folder. All of it blocks but [`Self::content`].
#[derive(Debug)]
pub(super) struct Trash {
    folder: PathBuf,
    /// Never held across a system call.
    items: Mutex<Items>,
}

impl Trash {
    /// Makes the folder if need be, and lists what is in it; what is not ours is left alone.
    pub(super) fn open(root: &Path, steps: &Steps) -> io::Result<Self> {
        let folder = root.join("trash");
        DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
        let mut items = Items::default();
        for entry in fs::read_dir(&folder)? {
            steps.done_one();
            let entry = entry?;
            match entry.file_name().to_str().and_then(Item::parse) {
                Some(item) => items.add(item, entry.metadata()?.len()),
                None => tracing::warn!(path = %entry.path().display(),
                    "not a file of the chunkserver's trash: left alone"),
            }
        }
        Ok(Self { folder, items: Mutex::new(items) })
    }

    fn items(&self) -> MutexGuard<'_, Items> {
        self.items.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Moves the file of a replica here; returns where it is now. Whoever does not find it where it was finds
    /// it here.
    pub(super) fn take(&self, from: &Path, replica: ReplicaKey, why: Why) -> io::Result<PathBuf> {
        let bytes = fs::metadata(from)?.len();
        let item = self.items().add_new(clock::wall(), replica, why, bytes);
        let to = self.folder.join(item.name());
        match fs::rename(from, &to) {
            Ok(()) => Ok(to),
            Err(error) => {
                self.items().remove(item);
                Err(error)
            }
        }
    }

    /// Keeps what the file of a replica was, before the file is cut: as one that was found broken.
    pub(super) fn keep(&self, replica: ReplicaKey, bytes: &[u8]) -> io::Result<PathBuf> {
        let item = self.items().add_new(clock::wall(), replica, Why::Broken, bytes.len() as u64);
        let to = self.folder.join(item.name());
        // Whoever cuts the file next has synced that: what is kept of it must be on disk before.
        let written = fs::write(&to, bytes)
            .and_then(|()| File::open(&to)?.sync_all())
            .and_then(|()| File::open(&self.folder)?.sync_all());
        match written {
            Ok(()) => Ok(to),
            Err(error) => {
                // Half of it is of no use.
                let _ = fs::remove_file(&to);
                self.items().remove(item);
                Err(error)
            }
        }
    }

    /// Opens the file of a replica that is here and whole.
    pub(super) fn open_file(&self, replica: ReplicaKey) -> Option<File> {
        let item = self.items().readable.get(&replica).copied()?;
        // It may go just now.
        File::open(self.folder.join(item.name())).ok()
    }

    /// Opens the file of a replica that is here and broken: some of its blocks may be sound.
    pub(super) fn open_broken(&self, replica: ReplicaKey) -> Option<File> {
        let item = self.items().broken.get(&replica).copied()?;
        // It may go just now.
        File::open(self.folder.join(item.name())).ok()
    }

    /// Whether the file of a replica is here, whole or broken.
    pub(super) fn has(&self, replica: ReplicaKey, is_whole: bool) -> bool {
        let items = self.items();
        let known = if is_whole { &items.readable } else { &items.broken };
        known.contains_key(&replica)
    }

    /// The replicas of which a broken one is here.
    pub(super) fn broken(&self) -> Vec<ReplicaKey> {
        self.items().broken.keys().copied().collect()
    }

    /// Removes files that came before then, the oldest first, `max` at most; returns how many.
    pub(super) fn purge(&self, came_before: CameBefore, max: usize) -> usize {
        let mut n_removed = 0;
        while n_removed < max {
            let Some(item) = self.items().pop(came_before) else { break };
            n_removed += 1;
            let path = self.folder.join(item.name());
            match fs::remove_file(&path) {
                // It was put back by hand, or removed.
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    tracing::error!(path = %path.display(), %error,
                        "a file of the trash can't be removed: the next start will try again");
                }
                _ => {}
            }
        }
        n_removed
    }

    /// Removes the oldest file, whatever its time, and again until there `is_room`; whether there is.
    pub(super) fn give_way(
        &self,
        mut is_room: impl FnMut() -> io::Result<bool>,
    ) -> io::Result<bool> {
        while !is_room()? {
            if self.purge(CameBefore::ALL, 1) == 0 {
                return Ok(false);
            }
            metrics::observe_purged("room", 1);
        }
        Ok(true)
    }

    /// Broken ones that came before then and have not been let go, the oldest behind `after` first, `max` at most.
    fn held(&self, before: UnixMillis, after: Option<Item>, max: usize) -> Vec<Item> {
        let items = self.items();
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let behind = items.held.range((from, Bound::Unbounded)).map(|(item, _)| *item);
        behind.take_while(|item| item.came < before).take(max).collect()
    }

    /// Lets broken ones go as others do.
    fn release(&self, broken: impl IntoIterator<Item = Item>) {
        let mut items = self.items();
        broken.into_iter().for_each(|item| items.release(item));
    }

    /// How much is here.
    pub(super) fn content(&self) -> Content {
        self.items().content
    }
}

/// Removes what has been in the trash of a disk for longer than `interval`, slowly, until the disk fails.
pub(super) async fn purge_expired(dir: Arc<DataDir>, interval: Duration) {
    while dir.failed().is_none() {
        tokio::time::sleep(PURGE_PAUSE).await;
        let removed =
            CameBefore { removed: CameBefore::ago(READABLE_FOR), kept: CameBefore::NEVER };
        let kept = CameBefore { removed: CameBefore::NEVER, kept: CameBefore::ago(interval) };
        let mut purging = dir.begin(move |dir| {
            dir.trash().purge(removed, REMOVED_PER_LOOK) + dir.trash().purge(kept, PURGED_PER_LOOK)
        });
        // Only a disk that hangs stands in its way, or the end of the daemon.
        metrics::observe_purged("expired", purging.end().await.unwrap_or(0));
    }
}

/// Asks the chunk master which of the broken replicas in a disk's trash, of those that are older than `interval`, may
/// go, for ever. While it does not say so, they stay.
pub(super) async fn release_broken(server: Arc<Server>, interval: Duration) {
    let mut after = BTreeMap::new();
    loop {
        tokio::time::sleep(interval.clamp(PURGE_PAUSE, RELEASE_PAUSE)).await;
        for (at, dir) in server.disks.working().enumerate() {
            let place = after.remove(&at);
            let asked = dir.trash().held(CameBefore::ago(interval), place, BROKEN_CHUNKS_MAX);
            let Some(last) = asked.last() else { continue };
            after.insert(at, *last);
            let purgeable = purgeable(&server, &asked).await;
            dir.trash()
                .release(asked.into_iter().filter(|item| purgeable.contains(&item.replica.chunk)));
        }
    }
}

async fn purgeable(server: &Server, asked: &[Item]) -> BTreeSet<ChunkId> {
    let request = BrokenChunks { chunks: asked.iter().map(|item| item.replica.chunk).collect() };
    let expires = clock::wall() + TOKEN_LIFE;
    let capability = Capability::unlimited(server.host.as_str(), Role::Server, expires);
    let client = server.client.with_token(server.keyring.mint(&capability));
    match client.post::<_, Purgeable>(&server.master, "/v1/servers/broken", &request).await {
        Ok(purgeable) => purgeable.chunks.into_iter().collect(),
        Err(error) => {
            tracing::debug!(%error, "the chunk master does not say whether broken replicas may go");
            BTreeSet::new()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_tells_all_and_other_names_are_left_alone() {
        let replica = ReplicaKey { chunk: ChunkId(0x2a), version: Version(3) };
        let item = Item { came: UnixMillis(1_764_355_811_000), replica, why: Why::Broken };
        assert_eq!(item.name(), "000000000000002a_3.1764355811000.bad");
        assert_eq!(Item::parse(&item.name()), Some(item));
        for other in ["notes.txt", "000000000000002a_3.chunk", "000000000000002a_3.07.bad", ""] {
            assert_eq!(Item::parse(other), None, "{other:?}");
        }
    }

    #[test]
    fn the_oldest_go_first_and_no_more_than_asked_for_and_a_restart_knows_the_rest() {
        let root = tempfile::tempdir().unwrap();
        let trash = Trash::open(root.path(), &Steps::default()).unwrap();
        let file = root.path().join("file");
        let before = clock::wall();
        for chunk in 1..=4 {
            fs::write(&file, vec![0; chunk]).unwrap();
            let replica = ReplicaKey { chunk: ChunkId(chunk as u64), version: Version(1) };
            let why = if chunk == 3 { Why::Broken } else { Why::Orphan };
            trash.take(&file, replica, why).unwrap();
        }
        let all = Content { files: 4, broken: 1, bytes: 10, yielding_bytes: 7 };
        assert_eq!(trash.content(), all);
        fs::write(root.path().join("trash/notes.txt"), "somebody's").unwrap();
        let trash = Trash::open(root.path(), &Steps::default()).unwrap();
        assert_eq!(trash.content(), all);
        assert_eq!(
            trash.purge(CameBefore { removed: before, kept: before }, 10),
            0,
            "their time is not over"
        );
        assert_eq!(trash.purge(CameBefore::ALL, 2), 2);
        let two = Content { files: 2, broken: 1, bytes: 7, yielding_bytes: 4 };
        assert_eq!(trash.content(), two);
        let left: Vec<_> = fs::read_dir(root.path().join("trash")).unwrap().collect();
        assert_eq!(left.len(), 3, "{left:?}");
        assert_eq!(trash.purge(CameBefore::ALL, 10), 1, "the broken one may be needed");
        let broken = trash.held(UnixMillis(u64::MAX), None, 10);
        assert_eq!((broken.len(), trash.held(before, None, 10)), (1, vec![]));
        assert_eq!(trash.held(UnixMillis(u64::MAX), broken.first().copied(), 10), []);
        trash.release(broken);
        assert_eq!(trash.content(), Content { files: 1, broken: 1, bytes: 3, yielding_bytes: 3 });
        assert_eq!(trash.purge(CameBefore::ALL, 10), 1);
        assert_eq!(trash.content(), Content::default());
        assert!(root.path().join("trash/notes.txt").exists());
    }

    #[test]
    fn what_is_whole_can_be_read_until_it_goes_and_what_was_removed_goes_first() {
        let root = tempfile::tempdir().unwrap();
        let trash = Trash::open(root.path(), &Steps::default()).unwrap();
        let file = root.path().join("file");
        let [orphan, broken, removed] =
            [1, 2, 3].map(|n| ReplicaKey { chunk: ChunkId(n), version: Version(1) });
        let whys = [(orphan, Why::Orphan), (broken, Why::Broken), (removed, Why::Removed)];
        for (replica, why) in whys {
            fs::write(&file, why.suffix()).unwrap();
            trash.take(&file, replica, why).unwrap();
        }
        for trash in [&trash, &Trash::open(root.path(), &Steps::default()).unwrap()] {
            let read = |replica| trash.open_file(replica).map(io::read_to_string);
            assert_eq!(read(orphan).unwrap().unwrap(), "chunk");
            assert_eq!(read(removed).unwrap().unwrap(), "gone");
            assert!(read(broken).is_none());
            assert_eq!(io::read_to_string(trash.open_broken(broken).unwrap()).unwrap(), "bad");
            assert!(trash.open_broken(orphan).is_none());
        }
        let only_removed = CameBefore { removed: UnixMillis(u64::MAX), kept: CameBefore::NEVER };
        assert_eq!(trash.purge(CameBefore::ALL, 1), 1);
        assert!(trash.open_file(removed).is_none() && trash.open_file(orphan).is_some());
        assert_eq!(trash.purge(only_removed, 10), 0);
        let two = Content { files: 2, broken: 1, bytes: 8, yielding_bytes: 5 };
        assert_eq!(trash.content(), two);
    }

    #[test]
    fn the_trash_gives_way_until_there_is_room_and_no_further() {
        let root = tempfile::tempdir().unwrap();
        let trash = Trash::open(root.path(), &Steps::default()).unwrap();
        let file = root.path().join("file");
        for chunk in 1..=4 {
            fs::write(&file, "x").unwrap();
            let replica = ReplicaKey { chunk: ChunkId(chunk), version: Version(1) };
            trash.take(&file, replica, Why::Orphan).unwrap();
        }
        assert!(trash.give_way(|| Ok(true)).unwrap());
        assert_eq!(trash.content().files, 4);
        assert!(trash.give_way(|| Ok(trash.content().files <= 3)).unwrap());
        let left = fs::read_dir(root.path().join("trash")).unwrap();
        let names = left.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        assert_eq!(names.filter(|name| name.starts_with("0000000000000001")).count(), 0);
        assert_eq!(trash.content().files, 3);
        assert!(!trash.give_way(|| Ok(false)).unwrap());
        assert_eq!(trash.content(), Content::default());
        assert!(trash.give_way(|| Err(io::ErrorKind::NotFound.into())).is_err());
    }
}
