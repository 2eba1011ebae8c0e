//! A power loss at each operation in a journal's life. Unlike in `crash`, what was written but not
//! synced is lost, completely or from a sector on, and so are names whose folder was not synced. So
//! these tests fail if a sync is missing or too late.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

use super::crash::{Life, check_after, live};
use super::mirror::{accepted, check_alone, sides};
use super::*;

/// A disk that knows what would survive a power loss.
#[derive(Clone, Default)]
struct PoweredDisk(Arc<Mutex<Power>>);

#[derive(Default)]
struct Power {
    operations: u64,
    fails_at: u64,
    /// A folder whose disk is dead from the operation with this number on.
    dies: Option<(PathBuf, u64)>,
    files: u64,
    is_lost: Arc<AtomicBool>,
    /// Which file has a name now, and which had it at the last sync of the folder.
    names: BTreeMap<PathBuf, u64>,
    synced_names: BTreeMap<PathBuf, u64>,
    /// The contents of a file at its last sync.
    synced: BTreeMap<u64, Vec<u8>>,
}

/// What survives of whatever was not synced.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
enum Luck {
    Nothing,
    /// The removal of names, but no new names.
    Removals,
    /// All names.
    Names,
    /// All names, and the sectors of the first half of each file's unsynced part.
    HalfOfTheBytes,
    /// All names, and some of the unsynced sectors, chosen by this number: a disk writes them in
    /// any order.
    SomeSectors(u64),
}

impl PoweredDisk {
    fn operate(&self, path: &Path) -> io::Result<std::sync::MutexGuard<'_, Power>> {
        let mut power = self.0.lock().unwrap();
        power.operations += 1;
        if power.operations < power.fails_at {
            let now = power.operations;
            let dies = power.dies.as_ref();
            if dies.is_some_and(|(dir, from)| now >= *from && path.starts_with(dir)) {
                return Err(io::ErrorKind::NotConnected.into());
            }
            return Ok(power);
        }
        power.is_lost.store(true, Ordering::SeqCst);
        Err(io::ErrorKind::Other.into())
    }

    /// Copies what the next start would find of `from` into another folder.
    fn survivors(&self, luck: Luck, from: &Path, into: &Path) {
        let power = self.0.lock().unwrap();
        let names = if luck <= Luck::Removals { &power.synced_names } else { &power.names };
        for (path, file) in names.iter().filter(|(path, _)| path.starts_with(from)) {
            if luck == Luck::Removals && power.names.get(path) != Some(file) {
                continue;
            }
            let mut bytes = power.synced.get(file).cloned().unwrap_or_default();
            let now = power.names.iter().find(|(_, named)| *named == file);
            let written = now.map(|(path, _)| std::fs::read(path).unwrap());
            match (luck, written) {
                (Luck::HalfOfTheBytes, Some(written)) => keep_half(&mut bytes, &written),
                (Luck::SomeSectors(seed), Some(written)) => keep_some(&mut bytes, &written, seed),
                _ => {}
            }
            std::fs::write(into.join(path.file_name().unwrap()), bytes).unwrap();
        }
    }
}

fn keep_half(synced: &mut Vec<u8>, written: &[u8]) {
    synced.resize(written.len(), 0);
    let differs = |at: &usize| synced[*at] != written[*at];
    let Some(first) = (0..written.len()).find(differs) else { return };
    let last = (0..written.len()).rfind(differs).unwrap_or(first);
    let middle = (first + (last - first) / 2).next_multiple_of(512).min(written.len());
    synced[..middle].copy_from_slice(&written[..middle]);
}

fn keep_some(synced: &mut Vec<u8>, written: &[u8], seed: u64) {
    synced.resize(written.len(), 0);
    let mut luck = seed;
    for (old, new) in synced.chunks_mut(512).zip(written.chunks(512)) {
        luck = luck.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        if luck >> 62 & 1 == 1 {
            old.copy_from_slice(new);
        }
    }
}

impl Disk for PoweredDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let mut power = self.operate(path)?;
        power.files += 1;
        let file = power.files;
        power.names.insert(path.to_owned(), file);
        Ok(Box::new(PoweredFile(self.clone(), file, path.to_owned(), RealDisk.create(path)?)))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let file = self.operate(path)?.names[path];
        Ok(Box::new(PoweredFile(self.clone(), file, path.to_owned(), RealDisk.open(path)?)))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut power = self.operate(from)?;
        let file = power.names.remove(from).expect("only what is there is renamed");
        power.names.insert(to.to_owned(), file);
        RealDisk.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.operate(path)?.names.remove(path);
        RealDisk.remove(path)
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        let mut power = self.operate(folder)?;
        let Power { names, synced_names, .. } = &mut *power;
        let is_in = |path: &Path| path.parent() == Some(folder);
        synced_names.retain(|path, _| !is_in(path));
        let now = names.iter().filter(|(path, _)| is_in(path));
        synced_names.extend(now.map(|(path, file)| (path.clone(), *file)));
        Ok(())
    }
}

struct PoweredFile(PoweredDisk, u64, PathBuf, Box<dyn DiskFile>);

impl DiskFile for PoweredFile {
    fn reserve(&self, bytes: u64) -> io::Result<()> {
        let _power = self.0.operate(&self.2)?;
        self.3.reserve(bytes)
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let _power = self.0.operate(&self.2)?;
        self.3.write_all_at(bytes, offset)
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        let _power = self.0.operate(&self.2)?;
        self.3.set_len(bytes)
    }

    fn sync(&self) -> io::Result<()> {
        let mut power = self.0.operate(&self.2)?;
        let path = power.names.iter().find(|(_, file)| **file == self.1).map(|(path, _)| path);
        if let Some(path) = path {
            let bytes = std::fs::read(path)?;
            power.synced.insert(self.1, bytes);
        }
        Ok(())
    }
}

#[test]
fn a_power_loss_at_any_operation_loses_nothing_acknowledged() {
    let mut fails_at = 1;
    loop {
        let powered = PoweredDisk::default();
        powered.0.lock().unwrap().fails_at = fails_at;
        let dir = tempfile::tempdir().unwrap();
        let mut life = Life::default();
        let disk: Arc<dyn Disk> = Arc::new(powered.clone());
        let _lost = live(&disk, dir.path(), &mut life);
        let lucks = [Luck::Nothing, Luck::Removals, Luck::Names, Luck::HalfOfTheBytes];
        for luck in lucks.into_iter().chain((0..8).map(Luck::SomeSectors)) {
            let after = tempfile::tempdir().unwrap();
            powered.survivors(luck, dir.path(), after.path());
            check_after(after.path(), &life, &format!("lost at {fails_at}, survives: {luck:?}"));
        }
        if life.finished {
            break;
        }
        fails_at += 1;
    }
    assert!(fails_at > 60, "the whole life takes more than {fails_at} operations");
}

#[test]
fn a_power_loss_at_any_operation_on_two_folders_leaves_what_was_acknowledged_in_each() {
    for fails_at in (1..).step_by(stride(3)) {
        let powered = PoweredDisk::default();
        powered.0.lock().unwrap().fails_at = fails_at;
        let dir = tempfile::tempdir().unwrap();
        let folders = pair(dir.path());
        // Otherwise a sync that one folder did after the power loss would count, and the other
        // folder's failure would look like that of a bad disk.
        let is_over = powered.0.lock().unwrap().is_lost.clone();
        let mut life = Life { is_over, ..Life::default() };
        let disk: Arc<dyn Disk> = Arc::new(powered.clone());
        let _lost = live(&disk, &folders, &mut life);
        let lucks = [
            [Luck::Nothing, Luck::Names],
            [Luck::HalfOfTheBytes, Luck::Removals],
            [Luck::SomeSectors(1), Luck::SomeSectors(2)],
            [Luck::SomeSectors(3), Luck::Nothing],
            [Luck::Names, Luck::SomeSectors(4)],
        ];
        for lucks in lucks {
            let at = format!("lost at {fails_at}, survives: {lucks:?}");
            let after = tempfile::tempdir().unwrap();
            let survivors = pair(after.path());
            for ((from, into), luck) in sides(&folders).iter().zip(sides(&survivors)).zip(lucks) {
                std::fs::create_dir(&into).unwrap();
                powered.survivors(luck, from, &into);
                let alone = tempfile::tempdir().unwrap();
                powered.survivors(luck, from, alone.path());
                check_alone(alone.path(), &life, &format!("{at}, {} alone", from.display()));
            }
            check_after(&survivors, &life, &at);
        }
        if life.finished {
            assert!(fails_at > 120, "{fails_at} operations");
            break;
        }
    }
}

/// One folder's disk dies at some operation, for good and without a mark; the power fails at a
/// later one. The folder that is then found alone is refused, or has everything that was
/// acknowledged.
#[test]
fn a_power_loss_after_a_folder_was_lost_leaves_no_older_folder_that_passes_for_the_journal() {
    let (mut taken, mut refused) = (0, 0);
    for side in [0, 1] {
        // By then there is a journal.
        for dies_at in (20..).step_by(stride(9)) {
            let mut finished = false;
            for fails_at in (dies_at + 1..).step_by(stride(11)) {
                let powered = PoweredDisk::default();
                let dir = tempfile::tempdir().unwrap();
                let folders = pair(dir.path());
                let (dead, survivor) = (&sides(&folders)[side], &sides(&folders)[1 - side]);
                let is_over = {
                    let mut power = powered.0.lock().unwrap();
                    (power.fails_at, power.dies) = (fails_at, Some((dead.clone(), dies_at)));
                    power.is_lost.clone()
                };
                let mut life = Life { is_over, ..Life::default() };
                let disk: Arc<dyn Disk> = Arc::new(powered.clone());
                let _lost = live(&disk, &folders, &mut life);
                finished = life.finished;
                for luck in [Luck::Nothing, Luck::Names, Luck::SomeSectors(dies_at)] {
                    let at = format!("{side} gone at {dies_at}, power at {fails_at}, {luck:?}");
                    let [old, newest] = [dead, survivor].map(|from| {
                        let alone = tempfile::tempdir().unwrap();
                        powered.survivors(luck, from, alone.path());
                        alone
                    });
                    match Open::quickly(old.path()).map(drop) {
                        Ok(()) => check_after(old.path(), &life, &at),
                        Err(
                            OpenError::OneOfTwo { .. }
                            | OpenError::Behind { .. }
                            | OpenError::Missing { .. },
                        ) => refused += 1,
                        Err(error) => panic!("{at}: {error}"),
                    }
                    if life.acknowledged > 0 {
                        taken += u32::from(Open::quickly(newest.path()).is_ok());
                        check_after(accepted(newest.path()), &life, &at);
                    }
                }
                // If the first folder dies before the second one is filled, the start fails.
                let stopped = life.submitted == 0 && fails_at > dies_at + 100;
                assert!(!stopped || dies_at < 60, "{} gone at {dies_at} stops it", dead.display());
                if finished || stopped {
                    break;
                }
            }
            if finished && dies_at > 150 {
                break;
            }
        }
    }
    assert!(taken > 100 && refused > 100, "{taken} taken, {refused} refused");
}
