//! Creating a journal and opening one: lock, recovery, repair of a torn tail, start of the thread.
//! Two folders are first made one disk by `reunite`.

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;

use crate::claim::Claim;
use crate::disk::Disk;
use crate::error::{Context, FileError, FoldError, OpenError, OtherFolder};
use crate::folder::{self, Lock};
use crate::marks::{self, go_alone, is_behind, needs_other};
use crate::mirror::Mirror;
use crate::recover::{self, Segment};
use crate::reunite::{Contents, reunite};
use crate::segment::{Active, Filling};
use crate::shared::Shared;
use crate::snapshot::{self, Fold};
use crate::thread::Writer;
use crate::{Folders, Journal, OnDurable, Options};

/// Batches that may be queued for the thread; beyond these, the handle keeps what is flushed.
const QUEUED_BATCHES_MAX: usize = 256;

/// A journal as it was found.
pub struct Recovered {
    /// Ready for the records that follow.
    pub journal: Journal,
    /// The newest snapshot.
    pub snapshot: Option<Vec<u8>>,
    /// The records after those that the snapshot covers, in order.
    pub records: Vec<Vec<u8>>,
}

impl Recovered {
    /// Folds the snapshot and the records into a state; returns it with the journal.
    ///
    /// # Errors
    /// The fold `F` does not accept a snapshot or record.
    pub fn fold<F: Fold>(self) -> Result<(F, Journal), FoldError> {
        let mut fold = F::restore(self.snapshot.as_deref())?;
        for record in &self.records {
            fold.apply(record)?;
        }
        Ok((fold, self.journal))
    }
}

/// Creates the journal in the first folder only: opening it fills the other one.
pub(crate) fn create(
    disk: &dyn Disk,
    folders: &Folders,
    options: Options,
) -> Result<(), OpenError> {
    let dir = &folders.main;
    if let Some(mirror) = &folders.mirror
        && !folder::list(mirror)?.is_empty()
    {
        return Err(OpenError::Exists { dir: mirror.clone() });
    }
    folder::make(dir)?;
    folder::sync_above(disk, dir)?;
    let _lock = Lock::take(dir)?;
    if !folder::list(dir)?.is_empty() {
        return Err(OpenError::Exists { dir: dir.to_owned() });
    }
    for dir in [Some(dir), folders.mirror.as_ref()].into_iter().flatten() {
        if let Some(file) = marks::any(dir)? {
            return Err(OpenError::Leftover { file });
        }
    }
    let filling = Filling::start(disk, dir, options.effective_bytes())?;
    filling.finish(disk, dir)?.activate(disk, dir, 1)?;
    Ok(())
}

pub(crate) fn open(
    disk: Arc<dyn Disk>,
    folders: &Folders,
    options: Options,
    on_durable: OnDurable,
) -> Result<Recovered, OpenError> {
    let dir = &folders.main;
    let Some(other) = &folders.mirror else {
        refuse_behind(dir)?;
        recover::choose(dir, &folder::list(dir)?)?;
        let lock = Lock::take(dir)?;
        refuse_behind(dir)?;
        if folders.accepts_one {
            // A folder with damaged contents is refused before its mark is changed.
            Contents::read(dir)?;
            go_alone(&*disk, dir)?;
        } else if needs_other(dir)? {
            let (dir, other) = (dir.to_owned(), OtherFolder::NotNamed);
            return Err(OpenError::OneOfTwo { dir, other });
        }
        let locked = Locked { disk, dir, mirror: None, locks: vec![lock] };
        return open_locked(locked, options, on_durable);
    };
    let pair = [dir.clone(), other.clone()];
    let (mirror, locks) = reunite(&disk, &pair, folders.accepts_one, options.timeout)?;
    let disk = Arc::new(mirror.clone());
    open_locked(Locked { disk, dir, mirror: Some(mirror), locks }, options, on_durable)
}

fn refuse_behind(dir: &Path) -> Result<(), OpenError> {
    if is_behind(dir)? { Err(OpenError::Behind { dir: dir.to_owned() }) } else { Ok(()) }
}

/// What is needed to open a journal, once its locks are taken.
struct Locked<'a> {
    disk: Arc<dyn Disk>,
    /// The folder, as its disk knows it.
    dir: &'a Path,
    mirror: Option<Mirror>,
    locks: Vec<Lock>,
}

fn open_locked(
    locked: Locked<'_>,
    options: Options,
    on_durable: OnDurable,
) -> Result<Recovered, OpenError> {
    let Locked { disk, dir, mirror, locks } = locked;
    let place = &disk.places(dir)[0];
    let files = recover::choose(place, &folder::list(place)?)?;
    let snapshot = files.snapshot.map(|last| snapshot::read(place, last)).transpose()?;
    let snapshot_bytes = snapshot.as_ref().map(|body| snapshot::encoded_bytes(body.len()) as u64);
    let (active, closed) = files.segments.split_last().expect("there is always a newest segment");
    let mut records = Vec::new();
    for (position, &first) in closed.iter().enumerate() {
        let end = files.segments[position + 1];
        records.extend(recover::closed_segment(place, first, end)?);
    }
    let newest = recover::read_segment(place, *active, true)?;
    records.extend(newest.records());
    if records.len() < files.covered() {
        return Err(recover::ends_early(place, *active, &newest));
    }
    records.drain(..files.covered());
    // A rename just before a crash may not be on disk yet, and the files that it replaced are
    // removed now.
    disk.sync_folder(dir).context("sync", dir)?;
    recover::remove_covered(&*disk, dir, files.snapshot.unwrap_or(0))?;
    let file = reopen(&*disk, dir, *active, &newest)?;

    let segment_bytes = options.effective_bytes();
    let next = active + newest.bodies.len() as u64;
    let claim = Claim::new(&*disk, dir, segment_bytes, snapshot_bytes);
    let layout = (closed.to_vec(), *active);
    let shared = Arc::new(Shared::new(files.snapshot, layout, next - 1, claim));
    let files = (disk.clone(), dir.to_owned());
    let writer = Writer::new(files, shared.clone(), segment_bytes, file, next - 1);
    let (commands, queue) = sync_channel(QUEUED_BATCHES_MAX);
    let thread = std::thread::Builder::new()
        .name("journal".to_owned())
        .spawn(move || writer.run(&queue, on_durable))
        .context("start a thread for", dir)?;
    let journal = Journal {
        commands: Some(commands),
        thread: Some(thread),
        disk,
        dir: dir.to_owned(),
        mirror,
        shared,
        locks: Arc::new(locks),
        batch: crate::thread::Batch::default(),
        next,
        used: newest.end as u64,
        capacity: newest.image.len() as u64,
        segment_bytes,
        ordinal: 0,
        lags: false,
        timeout: options.timeout,
    };
    Ok(Recovered { journal, snapshot, records })
}

/// Makes the newest segment writable. Its records are written and synced once more before they are
/// reported: they may only be in the page cache, and after a failed sync even another sync would
/// not reveal that. A torn tail becomes zeros.
fn reopen(disk: &dyn Disk, dir: &Path, first: u64, newest: &Segment) -> Result<Active, FileError> {
    let path = folder::segment_path(dir, first);
    let file = disk.open(&path).context("open", &path)?;
    let written = newest.image.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
    let mut bytes = newest.image[..newest.end].to_vec();
    bytes.resize(written.max(newest.end), 0);
    file.write_all_at(&bytes, 0).context("write", &path)?;
    file.sync().context("sync", &path)?;
    Ok(Active::new(file, path, newest.end as u64))
}
