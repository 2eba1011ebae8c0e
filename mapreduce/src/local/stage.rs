//! The folder beside the output in which a local job works; gone when the job is over. What a process
//! leaves of it that is ended in the middle is removed by whoever started that process ([`LocalTraces`]).

use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use mapreduce_protocol::{Failure, FailureKind, SUCCESS_MARKER};

use crate::task::failure::{disk, failure};

/// See the module.
pub(super) struct Stage {
    target: PathBuf,
    folder: PathBuf,
    /// Folders above the output that were made for it, innermost first.
    made: Vec<PathBuf>,
    published: bool,
}

impl Stage {
    /// Makes it beside `target`, which must not exist.
    pub(super) fn create(target: &Path) -> Result<Self, Failure> {
        refuse_existing(target)?;
        let (Some(parent), Some(name)) = (target.parent(), target.file_name()) else {
            let message = format!("output {} is not a folder that can be made", target.display());
            return Err(failure(FailureKind::OutputUnavailable, message));
        };
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let mut own = prefix(name, std::process::id());
        own.push(number.to_string());
        let made = missing_above(target);
        let stage =
            Self { target: target.to_owned(), folder: parent.join(own), made, published: false };
        for folder in [stage.work(), stage.output()] {
            fs::create_dir_all(&folder).map_err(|error| disk(&error, "create", &folder))?;
        }
        Ok(stage)
    }

    /// Where tasks work.
    pub(super) fn work(&self) -> PathBuf {
        self.folder.join("work")
    }

    /// Where the parts go.
    pub(super) fn output(&self) -> PathBuf {
        self.folder.join("output")
    }

    /// Makes the output appear.
    pub(super) fn publish(mut self) -> Result<(), Failure> {
        let marker = self.output().join(SUCCESS_MARKER);
        fs::write(&marker, "").map_err(|error| disk(&error, "write", &marker))?;
        refuse_existing(&self.target)?;
        fs::rename(self.output(), &self.target)
            .map_err(|error| disk(&error, "create", &self.target))?;
        self.published = true;
        Ok(())
    }
}

fn refuse_existing(target: &Path) -> Result<(), Failure> {
    // A dangling link exists, too.
    if target.symlink_metadata().is_ok() {
        let message =
            format!("output {} exists: remove it, or name another folder", target.display());
        return Err(failure(FailureKind::OutputUnavailable, message));
    }
    Ok(())
}

impl Drop for Stage {
    fn drop(&mut self) {
        // Nobody is left to tell of a failure here, and nothing depends on it.
        let _ = fs::remove_dir_all(&self.folder);
        if !self.published {
            remove_empty(&self.made);
        }
    }
}

/// What the folder's name begins with that the process `pid` works in; a number follows.
fn prefix(output: &OsStr, pid: u32) -> OsString {
    let mut prefix = OsString::from(".");
    prefix.push(output);
    prefix.push(format!(".howdah-{pid}-"));
    prefix
}

/// Folders above `target` that are not there, innermost first.
fn missing_above(target: &Path) -> Vec<PathBuf> {
    target.ancestors().skip(1).take_while(|folder| !folder.exists()).map(Path::to_owned).collect()
}

fn remove_empty(folders: &[PathBuf]) {
    for folder in folders {
        // One that has got entries since is somebody's.
        let _ = fs::remove_dir(folder);
    }
}

/// What a process that runs a local job leaves on the disk if it is ended in the middle.
pub struct LocalTraces {
    target: PathBuf,
    made: Vec<PathBuf>,
}

impl LocalTraces {
    /// Of a job with this output; asked before the process starts.
    #[must_use]
    pub fn before(output: &Path) -> Self {
        Self { target: output.to_owned(), made: missing_above(output) }
    }

    /// Removes what the process `pid`, which has ended, left unfinished.
    pub fn remove(&self, pid: u32) {
        let (Some(parent), Some(name)) = (self.target.parent(), self.target.file_name()) else {
            return;
        };
        let prefix = prefix(name, pid);
        for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
            if entry.file_name().as_encoded_bytes().starts_with(prefix.as_encoded_bytes()) {
                // As when it drops its stage itself: nobody is left to tell.
                let _ = fs::remove_dir_all(entry.path());
            }
        }
        remove_empty(&self.made);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_dead_process_left_is_removed_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("made/for it/out");
        let traces = LocalTraces::before(&target);
        let stage = Stage::create(&target).unwrap();
        fs::write(stage.work().join("spill"), "half").unwrap();
        // As if the process had died: nothing is dropped.
        std::mem::forget(stage);
        traces.remove(std::process::id() + 1);
        assert!(target.parent().unwrap().exists(), "another process' folder stays");
        traces.remove(std::process::id());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);

        let traces = LocalTraces::before(&target);
        Stage::create(&target).unwrap().publish().unwrap();
        traces.remove(std::process::id());
        assert!(target.join("_SUCCESS").exists(), "what is whole stays");
    }
}
