//! The folder beside the output in which a local job works; gone when the job is over, however it ends.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use mapreduce_protocol::{Failure, FailureKind};

use crate::task::failure::{disk, failure};

/// See the module.
pub(super) struct Stage {
    target: PathBuf,
    folder: PathBuf,
    /// Folders above the output that were made for it, outermost first.
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
        let own = format!(".{}.howdah-{}-{number}", name.to_string_lossy(), std::process::id());
        let mut made: Vec<PathBuf> =
            parent.ancestors().take_while(|p| !p.exists()).map(Path::to_owned).collect();
        made.reverse();
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
        let marker = self.output().join("_SUCCESS");
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
            for folder in self.made.iter().rev() {
                let _ = fs::remove_dir(folder);
            }
        }
    }
}
