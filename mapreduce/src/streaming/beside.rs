//! What commands write beside their standard output: files in a folder that their environment names, which become the job's
//! named outputs (Hadoop: files in `${mapreduce.task.output.dir}` go with the output of the attempt that wins).

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::Path;

use mapreduce_protocol::streaming::CommandRole;
use mapreduce_protocol::{Failure, Streaming};

use super::output::{Drain as _, PartDrain};
use crate::task::failure::{bad_job, disk};
use crate::task::named::Named;
use crate::task::progress::Progress;

const BLOCK_BYTES: usize = 256 << 10;

/// The names of the files in the folder, in order.
///
/// # Errors
/// When something else lies there.
pub(super) fn names(folder: &Path) -> Result<Vec<String>, Failure> {
    let unread = |error: io::Error| disk(&error, "read", folder);
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(unread)? {
        let entry = entry.map_err(unread)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if !entry.file_type().map_err(unread)?.is_file() {
            return Err(bad_job(format!(
                "the command has made {name:?} in mapreduce_task_output_dir, which is no file: each file there is an output \
                 beside the main one; for all else there is TMPDIR"
            )));
        }
        names.push(name);
    }
    names.sort();
    Ok(names)
}

/// Moves the lines of all files in the folder to the named outputs of the files' names, in the job's output format.
pub(super) fn take(
    folder: &Path,
    (role, about): (CommandRole, &Streaming),
    named: &mut Named<'_>,
    progress: &Progress,
) -> Result<(), Failure> {
    for name in names(folder)? {
        let path = folder.join(&name);
        let unread = |error: io::Error| disk(&error, "read", &path);
        let mut file = File::open(&path).map_err(unread)?;
        let mut drain = PartDrain::new(named.part(&name)?, role, about);
        let mut block = vec![0; BLOCK_BYTES];
        loop {
            let n = match file.read(&mut block) {
                Ok(0) => break,
                Ok(n) => n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(unread(error)),
            };
            drain.take(&block[..n])?;
            progress.alive();
        }
        drain.end()?;
    }
    Ok(())
}
