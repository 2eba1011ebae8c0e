//! What is found in a data folder at start.

use std::fs;
use std::io;
use std::path::Path;

use chunkstore_core::replica::{ReplicaKey, Sealed};
use chunkstore_protocol::Version;

use super::{DataDir, DataDirError, OpenError, io_error, read_footer};
use crate::server::logs::FoundLog;
use crate::server::lost::not_served;
use crate::server::opening::Steps;
use crate::server::trash::Why;

/// What a data folder held at start.
#[derive(Debug, Default)]
pub(in crate::server) struct Found {
    pub(in crate::server) sealed: Vec<(ReplicaKey, Sealed)>,
    /// Replicas of logs that the last process left.
    pub(in crate::server) logs: Vec<FoundLog>,
    /// Uploads that the last process left unfinished, now removed.
    pub(in crate::server) n_removed: u64,
    /// Replicas set aside now.
    pub(in crate::server) n_bad: u64,
}

impl DataDir {
    /// Lists the sealed replicas, removes unfinished ones, and sets broken ones aside.
    pub(super) fn scan(&self, steps: &Steps) -> Result<Found, DataDirError> {
        let mut found = Found::default();
        for prefix in 0..=u8::MAX {
            steps.done_one();
            let folder = self.folder(prefix);
            if !folder.try_exists().map_err(io_error(&folder))? {
                continue;
            }
            for entry in fs::read_dir(&folder).map_err(io_error(&folder))? {
                steps.done_one();
                let path = entry.map_err(io_error(&folder))?.path();
                // A folder can't be read, and whoever opens a pipe waits for ever.
                match fs::metadata(&path) {
                    Ok(metadata) if !metadata.is_file() => not_served(&path, &"it is no file"),
                    Ok(_) | Err(_) => self.classify(&path, &mut found)?,
                }
            }
        }
        if self.cluster().is_none() && !(found.sealed.is_empty() && found.logs.is_empty()) {
            return Err(DataDirError::NoIdentity { path: self.root().to_owned() });
        }
        found.sealed.sort_by_key(|(replica, _)| *replica);
        *self.held() = found.sealed.iter().map(|(replica, _)| *replica).collect();
        Ok(found)
    }

    fn classify(&self, path: &Path, found: &mut Found) -> Result<(), DataDirError> {
        let named = parse_name(path);
        // What somebody has copied or moved to another place must not stand for what lies in the right one.
        if let Some((replica, suffix @ ("chunk" | "open" | "log"))) = named
            && *path != self.path(replica, suffix)
        {
            warn_of_stray(path, &self.path(replica, suffix));
            return Ok(());
        }
        match named {
            Some((_, "open")) => {
                fs::remove_file(path).map_err(io_error(path))?;
                found.n_removed += 1;
            }
            Some((replica, "log")) => match FoundLog::open(path, replica) {
                Ok(log) => found.logs.push(log),
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                    not_served(path, &error);
                }
                Err(error) => return Err(io_error(path)(error)),
            },
            Some((replica, "chunk")) => {
                match self.open_file(replica).and_then(|file| read_footer(&file, replica)) {
                    Ok(footer) => found.sealed.push((replica, footer.sealed())),
                    Err(error) if error.is_broken() => {
                        tracing::error!(path = %path.display(), %error, "a chunk file is broken");
                        self.set_aside(replica, Why::Broken);
                        found.n_bad += 1;
                    }
                    // Of one file alone; of the disk is what is wrong with all.
                    Err(OpenError::Io(error))
                        if error.kind() != io::ErrorKind::PermissionDenied =>
                    {
                        return Err(io_error(path)(error));
                    }
                    Err(error) => not_served(path, &error),
                }
            }
            Some(_) | None => {
                tracing::warn!(path = %path.display(), "not a file of the chunkserver: left alone");
            }
        }
        Ok(())
    }
}

/// Of a file with a chunk's name that does not lie where that chunk's file belongs. It may be the only one.
fn warn_of_stray(path: &Path, place: &Path) {
    let (path, place) = (path.display(), place.display());
    tracing::warn!(%path, %place,
        "a chunk's file lies in the wrong place: left alone, and not served; stop the chunkserver and move it to \
         its place if nothing is there, or away");
}

fn parse_name(path: &Path) -> Option<(ReplicaKey, &str)> {
    let (name, suffix) = path.file_name()?.to_str()?.split_once('.')?;
    let (chunk, version) = name.split_once('_')?;
    let replica =
        ReplicaKey { chunk: chunk.parse().ok()?, version: Version(version.parse().ok()?) };
    Some((replica, suffix))
}
