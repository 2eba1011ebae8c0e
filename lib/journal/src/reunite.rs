//! The two folders of a journal before a start: which of them counts, and how the other one is made
//! to hold the same. Called by `open`; `repair` and `verify` also compare folders with it. Later
//! writes are in `mirror`.
//!
//! | one folder | the other | then |
//! | --- | --- | --- |
//! | whole | whole, and the records of one are a prefix of the other's | the shorter is completed |
//! | whole | marked as behind, of the same journal | it is filled |
//! | whole, and it went on alone or was never one of two | absent or empty | it is filled |
//! | the same | its disk gives errors, or hangs | the start goes on without it, and marks it as behind if it can |
//! | whole, but it needs the other one | absent, empty, or its disk gives errors or hangs | refused, unless accepted |
//! | any | damaged | refused: `howdah journal repair` |
//! | whole | of another journal, or with other records under the same sequence | refused |
//! | absent, empty, behind or lost | not whole either | refused |
//!
//! Whatever was acknowledged was in both folders, or in the only live one, which had been marked as
//! going on alone before: its file `ID` is then called `ALONE`. A folder without that mark may have
//! been left behind by the other one, and may be unmarked because its disk was dead, so it is never
//! started from alone unless the operator vouches for it. A start with both removes the mark: from
//! the shorter folder before it is completed, and from the longer one afterwards, when both hold the
//! same. Wrong permissions of a folder refuse the start: going on without it would not mend them.

use std::fs::File;
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::disk::Disk;
use crate::disk_threads::{Hangs, ask_both};
use crate::error::{Context, FileError, OpenError, OtherFolder};
use crate::folder::{self, LOCK_PATIENCE, Lock};
use crate::marks::{
    behind_id, go_alone, go_together, id_text, is_behind, mark_behind, mint_id, needs_other,
    read_id,
};
use crate::mirror::{FolderNotice, Mirror};
use crate::recover::{self, Segment};
use crate::snapshot;

/// A whole journal in one folder, read and checked.
pub(crate) struct Contents {
    pub(crate) dir: PathBuf,
    pub(crate) snapshot: Option<u64>,
    /// Each with its first sequence.
    pub(crate) segments: Vec<(u64, Segment)>,
    pub(crate) last: u64,
    pub(crate) id: Option<String>,
    /// Whether it is one of two, and did not go on alone.
    pub(crate) needs_other: bool,
}

impl Contents {
    /// Reads the folder; `None` if there is no journal in it.
    ///
    /// # Errors
    /// When a start from this folder alone would be refused.
    pub(crate) fn read(dir: &Path) -> Result<Option<Self>, OpenError> {
        let files = match recover::choose(dir, &folder::list(dir)?) {
            Err(OpenError::Missing { .. }) => return Ok(None),
            files => files?,
        };
        if let Some(last) = files.snapshot {
            snapshot::read(dir, last)?;
        }
        let (segments, last) = recover::read_segments(dir, &files)?;
        let (id, needs_other) = (read_id(dir)?, needs_other(dir)?);
        let (dir, snapshot) = (dir.to_owned(), files.snapshot);
        Ok(Some(Self { dir, snapshot, segments, last, id, needs_other }))
    }

    /// The record's segment, offset and stored bytes; `None` if only a snapshot covers it.
    fn record(&self, sequence: u64) -> Option<(u64, u64, &[u8])> {
        let after = self.segments.partition_point(|(first, _)| *first <= sequence);
        let (first, segment) = &self.segments[after.checked_sub(1)?];
        let body = segment.bodies.get(usize::try_from(sequence - first).ok()?)?;
        let offset = body.start - crate::frame::HEADER_BYTES;
        Some((*first, offset as u64, &segment.image[body.clone()]))
    }

    /// Checks that this journal has the record as another folder has it, in the file and at the
    /// offset `place`. If only a snapshot covers it here, or nothing does, there is nothing to
    /// compare.
    pub(crate) fn compare_record(
        &self,
        sequence: u64,
        place: (&Path, u64),
        stored: &[u8],
    ) -> Result<(), OpenError> {
        match self.record(sequence) {
            Some((first, other_offset, ours)) if ours != stored => Err(OpenError::Diverged {
                file: place.0.to_owned(),
                offset: place.1,
                other: folder::segment_path(&self.dir, first),
                other_offset,
                sequence,
            }),
            _ => Ok(()),
        }
    }

    fn names(&self) -> Vec<u64> {
        self.segments.iter().map(|(first, _)| *first).collect()
    }
}

/// Checks that the records of one are a prefix of the other's.
///
/// # Errors
/// They differ, or nothing shows that they belong to one journal.
pub(crate) fn compare(one: &Contents, other: &Contents) -> Result<(), OpenError> {
    let strangers = || strangers(&other.dir, one);
    if one.id.is_some() && other.id.is_some() && one.id != other.id {
        return Err(strangers());
    }
    if let Some(last) = one.snapshot.filter(|_| one.snapshot == other.snapshot) {
        compare_snapshots(&one.dir, &other.dir, last)?;
    }
    let common = one.snapshot.max(other.snapshot).unwrap_or(0) + 1..=one.last.min(other.last);
    let known = one.id.is_some() && one.id == other.id;
    let nothing_to_lose = one.last == 0 || other.last == 0;
    if common.is_empty() && one.snapshot != other.snapshot && !known && !nothing_to_lose {
        return Err(strangers());
    }
    for sequence in common {
        if let Some((first, offset, stored)) = one.record(sequence) {
            let file = folder::segment_path(&one.dir, first);
            other.compare_record(sequence, (&file, offset), stored)?;
        }
    }
    Ok(())
}

fn strangers(dir: &Path, whole: &Contents) -> OpenError {
    OpenError::OtherJournal { dir: dir.to_owned(), other: whole.dir.clone() }
}

/// Checks that `dir`, which may be damaged, does not name another journal.
pub(crate) fn compare_ids(dir: &Path, whole: &Contents) -> Result<(), OpenError> {
    let id = match read_id(dir) {
        Err(OpenError::Corrupt { .. }) => None,
        id => id?,
    };
    if id.is_some() && whole.id.is_some() && id != whole.id {
        return Err(strangers(dir, whole));
    }
    Ok(())
}

/// Checks that `dir`, which is behind, belongs to this journal. If the mark names none, which a
/// crash may cause, the folder's own name decides.
pub(crate) fn compare_behind(dir: &Path, whole: &Contents) -> Result<(), OpenError> {
    match behind_id(dir)? {
        Some(id) if whole.id.as_ref() != Some(&id) => Err(strangers(dir, whole)),
        Some(_) => Ok(()),
        None => compare_ids(dir, whole),
    }
}

fn compare_snapshots(one: &Path, other: &Path, last: u64) -> Result<(), OpenError> {
    let [file, other] = [one, other].map(|dir| folder::snapshot_path(dir, last));
    let open = |path: &Path| File::open(path).map(BufReader::new).context("read", path);
    let (mut here, mut there) = (open(&file)?, open(&other)?);
    let (mut block, mut other_block) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    let mut offset = 0;
    loop {
        let len = read_block(&mut here, &mut block).context("read", &file)?;
        let other_len = read_block(&mut there, &mut other_block).context("read", &other)?;
        if block[..len] != other_block[..other_len] {
            let same = block[..len].iter().zip(&other_block[..other_len]);
            let at = offset + same.take_while(|(a, b)| a == b).count() as u64;
            return Err(OpenError::Diverged {
                file,
                offset: at,
                other,
                other_offset: at,
                sequence: last,
            });
        }
        if len == 0 {
            return Ok(());
        }
        offset += len as u64;
    }
}

fn read_block(from: &mut impl io::Read, block: &mut [u8]) -> io::Result<usize> {
    let mut len = 0;
    while len < block.len() {
        match from.read(&mut block[len..])? {
            0 => break,
            more => len += more,
        }
    }
    Ok(len)
}

/// The state of one of the two folders.
enum Found {
    /// No journal, or one that doesn't count.
    Nothing {
        behind: bool,
    },
    Whole(Contents),
    /// Its disk fails.
    Lost(FileError),
}

/// Takes both locks and makes both folders hold the same whole journal, as far as their disks
/// allow. With `accepts_one`, a folder that needs the other one counts without it. Afterwards, one
/// that takes `timeout` longer than the other one is abandoned.
///
/// # Errors
/// See the table above. Then nothing that counts was changed.
pub(crate) fn reunite(
    disk: &Arc<dyn Disk>,
    folders: &[PathBuf; 2],
    accepts_one: bool,
    timeout: Duration,
) -> Result<(Mirror, Vec<Lock>), OpenError> {
    // If there is nothing to fill an empty folder from, it is left as it is.
    let listed = ask_both(folders, timeout, folder::list);
    if listed.iter().all(|found| matches!(found, Some(Ok(found)) if found.is_empty())) {
        return Err(OpenError::Missing { dir: folders[0].clone() });
    }
    let taken = match &listed {
        [Some(_), Some(_)] => ask_both(folders, timeout + LOCK_PATIENCE, take),
        answered => [0, 1].map(|side| answered[side].is_some().then(|| take(&folders[side]))),
    };
    let mut locks = [None, None];
    let hangs = |dir: &PathBuf| {
        let (file, source) = (dir.clone(), Hangs(timeout).into());
        Err(FileError { action: "lock", file, source }.into())
    };
    let [main, mirror] = taken;
    let main = main.unwrap_or_else(|| hangs(&folders[0]));
    let mirror = mirror.unwrap_or_else(|| hangs(&folders[1]));
    let found = [
        look(&folders[0], &folders[1], main, &mut locks[0])?,
        look(&folders[1], &folders[0], mirror, &mut locks[1])?,
    ];
    let mirror = Mirror::new(disk.clone(), folders.clone(), locks.clone(), timeout);
    let (whole, id) = match found {
        [Found::Whole(one), Found::Whole(other)] => {
            compare(&one, &other)?;
            let shorter = usize::from(one.last >= other.last);
            let (longer, short) = if shorter == 1 { (one, other) } else { (other, one) };
            let id = longer.id.clone().or(short.id.clone()).map_or_else(mint_id, Ok)?;
            // Whatever happens next, from now on it is never taken for the journal without the
            // longer one.
            bind(&**disk, &short.dir, &id)?;
            let done = complete(&**disk, &longer, &short, &id);
            tell(&mirror, shorter, done.map(|filled| notice_of(filled, &longer, &short)))?;
            (longer, id)
        }
        [Found::Whole(whole), other] | [other, Found::Whole(whole)] => {
            if let Found::Nothing { behind: true } = other {
                compare_behind(&folders[usize::from(whole.dir == folders[0])], &whole)?;
            }
            if !accepts_one {
                refuse_one(&whole, &other, folders)?;
            }
            let id = whole.id.clone().map_or_else(mint_id, Ok)?;
            (fill_or_lose(&mirror, &**disk, whole, other, folders, &id)?, id)
        }
        [Found::Nothing { behind: true }, _] => return Err(behind(&folders[0])),
        [_, Found::Nothing { behind: true }] => return Err(behind(&folders[1])),
        [Found::Lost(error), _] | [_, Found::Lost(error)] => return Err(error.into()),
        [Found::Nothing { .. }, Found::Nothing { .. }] => {
            return Err(OpenError::Missing { dir: folders[0].clone() });
        }
    };
    mark(&mirror, &**disk, (&whole.dir, &id), folders)?;
    Ok((mirror, locks.into_iter().flatten().collect()))
}

/// Refuses a folder that needs the other one, if that one may have gone on.
fn refuse_one(whole: &Contents, other: &Found, folders: &[PathBuf; 2]) -> Result<(), OpenError> {
    let other_dir = || folders.iter().find(|&dir| *dir != whole.dir).unwrap_or(&folders[1]).clone();
    let other = match other {
        // The mark says that the whole one went on.
        Found::Nothing { behind: true } | Found::Whole(_) => return Ok(()),
        Found::Nothing { behind: false } => OtherFolder::Empty(other_dir()),
        Found::Lost(error) => OtherFolder::Lost(error.to_string()),
    };
    if whole.needs_other {
        Err(OpenError::OneOfTwo { dir: whole.dir.clone(), other })
    } else {
        Ok(())
    }
}

/// Marks the folder that counted at the start as what it is from now on: one of two, or alone. If
/// the mark of one of two fails, it must go on alone, as its disk may still have the old mark,
/// which allows that.
fn mark(
    mirror: &Mirror,
    disk: &dyn Disk,
    (whole, id): (&Path, &str),
    folders: &[PathBuf; 2],
) -> Result<(), OpenError> {
    if mirror.folders_live() == 2 {
        let other = usize::from(whole == folders[0]);
        match bind(disk, whole, id) {
            Err(OpenError::File(error)) => tell(mirror, other, Err(error))?,
            bound => bound?,
        }
    }
    if mirror.folders_live() == 1 {
        go_alone(disk, whole)?;
    }
    Ok(())
}

/// Marks the folder as one of the two with this id: it needs the other one.
fn bind(disk: &dyn Disk, dir: &Path, id: &str) -> Result<(), OpenError> {
    go_together(disk, dir)?;
    if read_id(dir)?.is_none_or(|found| found != id) {
        write_whole(disk, dir, &folder::id_path(dir), &id_text(id))?;
        disk.sync_folder(dir).context("sync", dir)?;
    }
    Ok(())
}

fn behind(dir: &Path) -> OpenError {
    OpenError::Behind { dir: dir.to_owned() }
}

/// The first operation in a folder, which therefore reveals a disk that hangs.
fn take(dir: &Path) -> Result<Lock, OpenError> {
    folder::make(dir)?;
    Lock::take(dir)
}

fn look(
    dir: &Path,
    other: &Path,
    taken: Result<Lock, OpenError>,
    lock: &mut Option<Lock>,
) -> Result<Found, OpenError> {
    let looked = taken.and_then(|taken| {
        *lock = Some(taken);
        if is_behind(dir)? {
            return Ok(Found::Nothing { behind: true });
        }
        Ok(Contents::read(dir)?.map_or(Found::Nothing { behind: false }, Found::Whole))
    });
    match looked {
        Err(OpenError::File(error)) if !is_mistake(&error.source) => Ok(Found::Lost(error)),
        Err(source @ OpenError::Corrupt { .. }) => Err(OpenError::Damaged {
            dir: dir.to_owned(),
            other: other.to_owned(),
            source: Box::new(source),
        }),
        looked => looked,
    }
}

/// Errors that no disk causes by itself: whoever configured the folder can mend them.
fn is_mistake(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidInput, NotADirectory, PermissionDenied};
    matches!(error.kind(), PermissionDenied | NotADirectory | InvalidInput)
}

fn fill_or_lose(
    mirror: &Mirror,
    disk: &dyn Disk,
    whole: Contents,
    other: Found,
    folders: &[PathBuf; 2],
    id: &str,
) -> Result<Contents, OpenError> {
    let side = usize::from(whole.dir == folders[0]);
    let dir = &folders[side];
    let done = match other {
        Found::Lost(error) => Err(error),
        _ => fill(disk, &whole, dir, Some(id)).map(|()| {
            let (dir, from) = (dir.clone(), whole.dir.clone());
            Some(FolderNotice::Filled { dir, from, last: whole.last })
        }),
    };
    tell(mirror, side, done)?;
    Ok(whole)
}

/// Abandons a folder that can't be made to hold the same because its disk fails or is full.
fn tell(
    mirror: &Mirror,
    side: usize,
    done: Result<Option<FolderNotice>, FileError>,
) -> Result<(), OpenError> {
    match done {
        Ok(notice) => notice.into_iter().for_each(|notice| mirror.notice(notice)),
        Err(error) if is_mistake(&error.source) => return Err(error.into()),
        Err(error) => mirror.lose(side, error)?,
    }
    Ok(())
}

/// How a folder was made to hold the same as the other one.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Completed {
    Already,
    Appended,
    Filled,
}

fn notice_of(done: Completed, longer: &Contents, short: &Contents) -> Option<FolderNotice> {
    let (dir, from) = (short.dir.clone(), longer.dir.clone());
    let records = longer.last - short.last;
    match done {
        Completed::Filled => Some(FolderNotice::Filled { dir, from, last: longer.last }),
        Completed::Appended if records > 0 => Some(FolderNotice::Completed { dir, from, records }),
        Completed::Appended | Completed::Already => None,
    }
}

/// Makes `short` hold what `longer` does. If only the last segments differ, each is replaced in one
/// step, the oldest first, so that the folder is a whole journal at every moment.
fn complete(
    disk: &dyn Disk,
    longer: &Contents,
    short: &Contents,
    id: &str,
) -> Result<Completed, FileError> {
    let (names, short_names) = (longer.names(), short.names());
    if longer.snapshot != short.snapshot || !names.starts_with(&short_names) {
        fill(disk, longer, &short.dir, Some(id))?;
        return Ok(Completed::Filled);
    }
    let mut done = Completed::Already;
    for (position, (first, segment)) in longer.segments.iter().enumerate() {
        let there = short.segments.get(position);
        if there.is_none_or(|(_, there)| there.image != segment.image) {
            let name = folder::segment_path(Path::new(""), *first);
            copy(disk, &longer.dir, &short.dir, &name)?;
            disk.sync_folder(&short.dir).context("sync", &short.dir)?;
            done = Completed::Appended;
        }
    }
    Ok(done)
}

/// Makes `dir` hold what `whole` does, whatever was in it. Until then it is marked as behind;
/// afterwards it needs the other one, by its id.
pub(crate) fn fill(
    disk: &dyn Disk,
    whole: &Contents,
    dir: &Path,
    id: Option<&str>,
) -> Result<(), FileError> {
    // Not by the new id: the folder that it is filled from may not have it yet.
    mark_behind(disk, dir, whole.id.as_deref()).context("mark as behind", dir)?;
    let old = folder::list(dir)?;
    let segments = old.segments.iter().map(|&first| folder::segment_path(dir, first));
    let snapshots = old.snapshots.iter().map(|&last| folder::snapshot_path(dir, last));
    let alone = Some(folder::alone_path(dir)).filter(|mark| mark.exists());
    for path in segments.chain(snapshots).chain(alone) {
        disk.remove(&path).context("remove", &path)?;
    }
    let none = Path::new("");
    let snapshot = whole.snapshot.iter().map(|&last| folder::snapshot_path(none, last));
    let segments = whole.segments.iter().map(|(first, _)| folder::segment_path(none, *first));
    for name in snapshot.chain(segments) {
        copy(disk, &whole.dir, dir, &name)?;
    }
    if let Some(id) = id {
        write_whole(disk, dir, &folder::id_path(dir), &id_text(id))?;
    }
    disk.sync_folder(dir).context("sync", dir)?;
    folder::sync_above(disk, dir)?;
    let mark = folder::behind_path(dir);
    disk.remove(&mark).context("remove", &mark)?;
    disk.sync_folder(dir).context("sync", dir)
}

/// Copies a file atomically: afterwards it is there complete under its name, or unchanged.
fn copy(disk: &dyn Disk, from: &Path, to: &Path, name: &Path) -> Result<(), FileError> {
    let (source, target) = (from.join(name), to.join(name));
    let bytes = std::fs::read(&source).context("read", &source)?;
    write_whole(disk, to, &target, &bytes)
}

fn write_whole(disk: &dyn Disk, dir: &Path, target: &Path, bytes: &[u8]) -> Result<(), FileError> {
    let tmp = folder::copying_path(dir);
    let written = disk.create(&tmp).context("create", &tmp).and_then(|file| {
        file.write_all_at(bytes, 0).context("write", &tmp)?;
        file.sync().context("sync", &tmp)
    });
    if written.is_err() {
        let _next_time = disk.remove(&tmp);
    }
    written?;
    disk.rename(&tmp, target).context("rename", &tmp)
}
