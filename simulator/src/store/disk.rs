//! A chunkserver's disk: what a crash leaves on it, and how it fills up, fails and rots. It
//! survives its server's process. Its files are those of the real folder: open ones, and sealed
//! ones with a checksum in their footer.

use std::collections::BTreeMap;

use chunkstore_core::replica::{KeptTerm, ReplicaKey, Sealed, Space};
use ids::ClusterId;

use crate::random::Random;
use crate::store::content::{BLOCK_UNITS, Content, Unit, checksum, length, spoilt};

/// The most removed files whose removal a crash may undo.
const UNSYNCED_REMOVALS_MAX: usize = 8;

/// The disk's condition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Health {
    #[default]
    Good,
    /// It takes no more bytes.
    Full,
    /// Every access fails.
    Failing,
}

/// The disk did not carry out an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DiskFault;

/// A sealed file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct File {
    pub(crate) content: Content,
    /// The checksums in its footer: of the whole, and of each block.
    checksum: u32,
    sums: Vec<u32>,
}

#[derive(Clone, Debug, Default)]
struct OpenFile {
    content: Content,
    /// It is being sealed under its final name: after a crash it may be there or not.
    sealing: bool,
}

/// A log's replica that is not sealed.
#[derive(Clone, Debug, Default)]
pub(crate) struct LogFile {
    pub(crate) content: Content,
    /// This many units survive a crash.
    n_synced: usize,
    /// It is being sealed under its final name with this many units, which had this checksum when
    /// they were read for it.
    sealing: Option<(usize, u32)>,
}

/// One disk.
#[derive(Clone, Debug, Default)]
pub(crate) struct Disk {
    pub(crate) health: Health,
    pub(crate) cluster: Option<ClusterId>,
    /// The last term of the chunk master.
    pub(crate) term: Option<KeptTerm>,
    capacity: u64,
    open: BTreeMap<ReplicaKey, OpenFile>,
    logs: BTreeMap<ReplicaKey, LogFile>,
    sealed: BTreeMap<ReplicaKey, File>,
    /// Files that were found broken, and are kept.
    broken: BTreeMap<ReplicaKey, File>,
    /// Files that were removed; a crash may bring them back.
    removed: BTreeMap<ReplicaKey, File>,
    /// The content of logs' replicas as it was read for sealing: on the disk it may rot before they
    /// are sealed.
    looked_at: BTreeMap<ReplicaKey, Content>,
}

impl File {
    pub(crate) fn new(content: Content) -> Self {
        let checksum = checksum(&content);
        Self::found(content, checksum)
    }

    /// A file with a checksum that was computed earlier.
    fn found(content: Content, checksum: u32) -> Self {
        let sums = content.chunks(BLOCK_UNITS).map(self::checksum).collect();
        Self { content, checksum, sums }
    }

    /// The blocks that still are as they were written; `None` for the others.
    fn sound_blocks(&self) -> Vec<Option<Content>> {
        let blocks = self.content.chunks(BLOCK_UNITS).zip(&self.sums);
        blocks.map(|(block, sum)| (checksum(block) == *sum).then(|| block.to_vec())).collect()
    }

    /// Whether its bytes still are those that were sealed.
    pub(crate) fn is_whole(&self) -> bool {
        checksum(&self.content) == self.checksum
    }

    pub(crate) fn sealed(&self) -> Sealed {
        Sealed { length: length(&self.content), checksum: self.checksum }
    }
}

impl Disk {
    pub(crate) fn new(capacity: u64) -> Self {
        Self { capacity, ..Self::default() }
    }

    pub(crate) fn space(&self) -> Space {
        let free = match self.health {
            Health::Good => self.capacity.saturating_sub(self.used()),
            Health::Full | Health::Failing => 0,
        };
        Space { capacity: self.capacity, free }
    }

    fn used(&self) -> u64 {
        let open = self.open.values().map(|file| length(&file.content));
        let logs = self.logs.values().map(|file| length(&file.content));
        open.chain(logs).chain(self.sealed.values().map(|file| length(&file.content))).sum()
    }

    pub(crate) fn create(&mut self, replica: ReplicaKey) -> Result<(), DiskFault> {
        self.take(0)?;
        self.open.insert(replica, OpenFile::default());
        Ok(())
    }

    pub(crate) fn append(&mut self, replica: ReplicaKey, units: &[Unit]) -> Result<(), DiskFault> {
        self.take(length(units))?;
        let file = self.open.get_mut(&replica).ok_or(DiskFault)?;
        file.content.extend_from_slice(units);
        Ok(())
    }

    fn take(&self, bytes: u64) -> Result<(), DiskFault> {
        match self.space().free {
            0 => Err(DiskFault),
            free if free < bytes => Err(DiskFault),
            _ => Ok(()),
        }
    }

    /// Cuts an open file to this many units.
    pub(crate) fn truncate(&mut self, replica: ReplicaKey, n_units: usize) {
        if let Some(file) = self.open.get_mut(&replica) {
            file.content.truncate(n_units);
        }
    }

    /// From here on a crash may leave the file sealed.
    pub(crate) fn begin_seal(&mut self, replica: ReplicaKey) -> Result<(), DiskFault> {
        self.take(0)?;
        self.open.get_mut(&replica).ok_or(DiskFault)?.sealing = true;
        Ok(())
    }

    /// The file's data and name are synced.
    pub(crate) fn end_seal(&mut self, replica: ReplicaKey) -> Result<Sealed, DiskFault> {
        if self.health == Health::Failing {
            return Err(DiskFault);
        }
        let file = File::new(self.open.remove(&replica).ok_or(DiskFault)?.content);
        let sealed = file.sealed();
        // The same sync of the folder makes earlier removals durable.
        self.removed.clear();
        self.put_instead(replica, file);
        Ok(sealed)
    }

    /// Creates the file of a log's replica, empty and durable.
    pub(crate) fn create_log(&mut self, replica: ReplicaKey) -> Result<(), DiskFault> {
        self.take(0)?;
        self.logs.insert(replica, LogFile::default());
        Ok(())
    }

    /// Writes to a log's replica behind the first `at` units; not durable yet.
    pub(crate) fn write_log(
        &mut self,
        replica: ReplicaKey,
        at: usize,
        units: &[Unit],
    ) -> Result<(), DiskFault> {
        self.take(length(units))?;
        let file = self.logs.get_mut(&replica).ok_or(DiskFault)?;
        file.content.truncate(at);
        file.content.extend_from_slice(units);
        Ok(())
    }

    /// Makes durable what was written to a log's replica.
    pub(crate) fn sync_log(&mut self, replica: ReplicaKey) -> Result<(), DiskFault> {
        if self.health == Health::Failing {
            return Err(DiskFault);
        }
        let file = self.logs.get_mut(&replica).ok_or(DiskFault)?;
        file.n_synced = file.content.len();
        Ok(())
    }

    pub(crate) fn log(&self, replica: ReplicaKey) -> Option<&Content> {
        self.logs.get(&replica).map(|file| &file.content)
    }

    pub(crate) fn logs(&self) -> impl Iterator<Item = (ReplicaKey, &Content)> {
        self.logs.iter().map(|(replica, file)| (*replica, &file.content))
    }

    /// The number of units at which a log's replica is being sealed; 0 if it is not.
    pub(crate) fn n_sealing(&self, replica: ReplicaKey) -> usize {
        self.logs.get(&replica).and_then(|file| file.sealing).map_or(0, |(n, _)| n)
    }

    /// Begins to seal the first `n` units of a log's replica; from here on a crash may leave the
    /// file sealed, or cut to them.
    pub(crate) fn begin_seal_log(
        &mut self,
        replica: ReplicaKey,
        n: usize,
    ) -> Result<(), DiskFault> {
        self.take(0)?;
        let file = self.logs.get_mut(&replica).ok_or(DiskFault)?;
        let content = file.content.get(..n).ok_or(DiskFault)?;
        file.sealing = Some((n, checksum(content)));
        self.looked_at.insert(replica, content.to_vec());
        Ok(())
    }

    /// Data and name are synced; what is behind the sealed units is gone.
    pub(crate) fn end_seal_log(&mut self, replica: ReplicaKey) -> Result<Sealed, DiskFault> {
        if self.health == Health::Failing {
            return Err(DiskFault);
        }
        let LogFile { mut content, sealing, .. } = self.logs.remove(&replica).ok_or(DiskFault)?;
        let (n, checksum) = sealing.ok_or(DiskFault)?;
        content.truncate(n);
        let file = File::found(content, checksum);
        let sealed = file.sealed();
        self.removed.clear();
        self.put_instead(replica, file);
        Ok(sealed)
    }

    /// A planted bug: loses the last unit.
    pub(crate) fn cut_open(&mut self, replica: ReplicaKey) {
        if let Some(file) = self.open.get_mut(&replica) {
            file.content.pop();
        }
    }

    pub(crate) fn discard(&mut self, replica: ReplicaKey) {
        self.open.remove(&replica);
    }

    pub(crate) fn read(&self, replica: ReplicaKey) -> Option<&File> {
        self.sealed.get(&replica)
    }

    /// What the server sealed under that name, even if it has rotted since.
    pub(crate) fn sealed_content(&self, replica: ReplicaKey) -> Option<&Content> {
        let file = self.read(replica)?;
        let looked_at = || self.looked_at.get(&replica).filter(|it| checksum(it) == file.checksum);
        if file.is_whole() { Some(&file.content) } else { looked_at() }
    }

    pub(crate) fn remove(&mut self, replica: ReplicaKey) {
        self.open.remove(&replica);
        self.logs.remove(&replica);
        if let Some(file) = self.sealed.remove(&replica) {
            self.removed.insert(replica, file);
            if self.removed.len() > UNSYNCED_REMOVALS_MAX {
                self.removed.clear();
            }
        }
    }

    /// Sets a bad file aside: no crash brings it back under its name.
    pub(crate) fn set_aside(&mut self, replica: ReplicaKey) {
        if let Some(file) = self.sealed.remove(&replica) {
            self.broken.insert(replica, file);
        }
    }

    /// A sealed file is lost.
    pub(crate) fn lose(&mut self, replica: ReplicaKey) {
        self.sealed.remove(&replica);
    }

    pub(crate) fn put_instead(&mut self, replica: ReplicaKey, file: File) {
        self.broken.remove(&replica);
        self.sealed.insert(replica, file);
    }

    /// The replicas of which a broken file is kept.
    pub(crate) fn broken(&self) -> impl Iterator<Item = ReplicaKey> {
        self.broken.keys().copied()
    }

    /// The sound blocks of a replica, which may be broken or not.
    pub(crate) fn sound_blocks(&self, replica: ReplicaKey) -> Vec<Option<Content>> {
        let file = self.sealed.get(&replica).or_else(|| self.broken.get(&replica));
        file.map(File::sound_blocks).unwrap_or_default()
    }

    /// Changes the bytes of a file without the server's doing.
    pub(crate) fn rot(&mut self, replica: ReplicaKey, content: Content) {
        if let Some(file) = self.sealed.get_mut(&replica) {
            file.content = content;
        }
    }

    /// Spoils one unit of a log's replica that is not sealed.
    pub(crate) fn rot_log(&mut self, replica: ReplicaKey, at: usize) {
        if let Some(file) = self.logs.get_mut(&replica) {
            file.content = spoilt(&file.content, at);
        }
    }

    /// Empties a log's file at once.
    pub(crate) fn empty_log(&mut self, replica: ReplicaKey) {
        if let Some(file) = self.logs.get_mut(&replica) {
            file.content.clear();
            file.n_synced = 0;
        }
    }

    /// Whether exactly these bytes are sealed under that name, safe from a crash.
    pub(crate) fn holds(&self, replica: ReplicaKey, content: &[Unit]) -> bool {
        self.read(replica).is_some_and(|file| file.is_whole() && file.content == content)
    }

    /// Whether these bytes are sealed here, or are here and can be sealed.
    pub(crate) fn has(&self, replica: ReplicaKey, content: &[Unit]) -> bool {
        let is_open = |log: &Content| log.starts_with(content);
        self.holds(replica, content) || self.log(replica).is_some_and(is_open)
    }

    pub(crate) fn files(&self) -> impl Iterator<Item = (ReplicaKey, &File)> {
        self.sealed.iter().map(|(replica, file)| (*replica, file))
    }

    /// The replica after `last`; after the last of all, the first.
    pub(crate) fn next_after(&self, last: Option<ReplicaKey>) -> Option<ReplicaKey> {
        let mut keys = self.sealed.keys();
        let after = keys.find(|key| last.is_none_or(|last| **key > last));
        after.or_else(|| self.sealed.keys().next()).copied()
    }

    /// The process is gone: what was synced stays, and a random part of the rest. Open files are
    /// lost, except those of logs and, by chance, those that were being sealed.
    pub(crate) fn crash(&mut self, random: &mut Random) {
        for (replica, mut file) in std::mem::take(&mut self.logs) {
            let n = random.within(file.n_synced..file.content.len() + 1);
            file.content.truncate(n);
            if n > file.n_synced && random.chance(500) {
                file.content = spoilt(&file.content, n - 1);
            }
            file.n_synced = n;
            match file.sealing.take().filter(|_| random.chance(700)) {
                Some((n, checksum)) if random.chance(500) => {
                    file.content.truncate(n);
                    self.sealed.insert(replica, File::found(file.content, checksum));
                }
                Some((n, _)) => {
                    file.content.truncate(n);
                    file.n_synced = n;
                    self.logs.insert(replica, file);
                }
                None => drop(self.logs.insert(replica, file)),
            }
        }
        for (replica, file) in std::mem::take(&mut self.open) {
            if file.sealing && random.chance(500) {
                self.sealed.insert(replica, File::new(file.content));
            }
        }
        for (replica, file) in std::mem::take(&mut self.removed) {
            if random.chance(500) {
                self.sealed.entry(replica).or_insert(file);
            }
        }
    }

    /// Replaces the disk by an empty one.
    pub(crate) fn replace(&mut self) {
        *self = Self::new(self.capacity);
    }
}
