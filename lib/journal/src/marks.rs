//! The small files that say what a folder of a journal is to its other one: `ID`, `ALONE` and
//! `BEHIND`. Called by `mirror`, `reunite`, `repair` and `open`, which decide what follows from
//! them.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use crate::disk::Disk;
use crate::error::{Context, FileError, Flaw, OpenError};
use crate::folder;

/// Random bytes that identify a journal in two folders.
const ID_BYTES: usize = 16;
const ID_PREFIX: &str = "howdah journal ";

/// Marks the folder as lacking records of the other folder of the journal `id`: it is never started
/// from alone.
pub(crate) fn mark_behind(disk: &dyn Disk, dir: &Path, id: Option<&str>) -> io::Result<()> {
    let mut text = b"This folder of a journal lacks records that its other folder has.\n".to_vec();
    text.extend(id.map(id_text).unwrap_or_default());
    let file = disk.create(&folder::behind_path(dir))?;
    file.write_all_at(&text, 0)?;
    file.sync()?;
    disk.sync_folder(dir)
}

pub(crate) fn is_behind(dir: &Path) -> Result<bool, FileError> {
    let mark = folder::behind_path(dir);
    mark.try_exists().context("look for", &mark)
}

/// The journal on whose other folder a folder that is behind depends. A crash may have left the
/// mark empty, and a journal that was never in two folders has no name.
pub(crate) fn behind_id(dir: &Path) -> Result<Option<String>, FileError> {
    let mark = folder::behind_path(dir);
    let bytes = std::fs::read(&mark).context("read", &mark)?;
    Ok(String::from_utf8_lossy(&bytes).lines().find_map(id_in))
}

/// Allows starts from the folder without the other one, from now on. A rename takes no space on a
/// full disk. If the mark is there already, it may come from an earlier try whose sync failed, so
/// it is synced as well.
pub(crate) fn go_alone(disk: &dyn Disk, dir: &Path) -> Result<(), FileError> {
    let alone = folder::alone_path(dir);
    let is_new = rename_mark(disk, dir, &folder::id_path(dir), &alone)?;
    if !is_new && alone.try_exists().context("look for", &alone)? {
        disk.sync_folder(dir).context("sync", dir)?;
    }
    Ok(())
}

/// Revokes that, as its other folder is there again. (Each start syncs both folders before anything
/// is acknowledged.)
pub(crate) fn go_together(disk: &dyn Disk, dir: &Path) -> Result<(), FileError> {
    rename_mark(disk, dir, &folder::alone_path(dir), &folder::id_path(dir)).map(drop)
}

/// Returns whether there was a mark to rename: a folder that was never one of two has none.
fn rename_mark(disk: &dyn Disk, dir: &Path, from: &Path, to: &Path) -> Result<bool, FileError> {
    let is_there = from.try_exists().context("look for", from)?;
    if is_there {
        disk.rename(from, to).context("rename", from)?;
        disk.sync_folder(dir).context("sync", dir)?;
    }
    Ok(is_there)
}

/// Any mark that is in the folder.
pub(crate) fn any(dir: &Path) -> Result<Option<PathBuf>, FileError> {
    for mark in [folder::behind_path(dir), folder::id_path(dir), folder::alone_path(dir)] {
        if mark.try_exists().context("look for", &mark)? {
            return Ok(Some(mark));
        }
    }
    Ok(None)
}

/// Whether the folder is one of two, and did not go on alone: then the other one may have.
pub(crate) fn needs_other(dir: &Path) -> Result<bool, FileError> {
    let id = folder::id_path(dir);
    id.try_exists().context("look for", &id)
}

/// The name of the folder's journal, if it was ever one of two.
pub(crate) fn read_id(dir: &Path) -> Result<Option<String>, OpenError> {
    let mut path = folder::id_path(dir);
    if !needs_other(dir)? {
        path = folder::alone_path(dir);
    }
    let bytes = match std::fs::read(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        bytes => bytes.context("read", &path)?,
    };
    let id = std::str::from_utf8(&bytes).ok().and_then(|text| id_in(text.strip_suffix('\n')?));
    match id {
        Some(id) => Ok(Some(id)),
        None => Err(OpenError::Corrupt { file: path, offset: 0, flaw: Flaw::Id }),
    }
}

fn id_in(line: &str) -> Option<String> {
    let id = line.strip_prefix(ID_PREFIX)?;
    let is_id = id.len() == 2 * ID_BYTES && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_id.then(|| id.to_owned())
}

pub(crate) fn id_text(id: &str) -> Vec<u8> {
    format!("{ID_PREFIX}{id}\n").into_bytes()
}

pub(crate) fn mint_id() -> Result<String, FileError> {
    let path = Path::new("/dev/urandom");
    let mut bytes = [0; ID_BYTES];
    let read = File::open(path).and_then(|mut random| random.read_exact(&mut bytes));
    read.context("read", path)?;
    Ok(format!("{:032x}", u128::from_le_bytes(bytes)))
}
