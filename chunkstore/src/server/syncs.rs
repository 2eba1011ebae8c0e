//! What makes files and folders durable.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd as _;
use std::path::Path;

/// Makes a folder's entries durable.
pub(super) fn sync_folder(folder: &Path) -> io::Result<()> {
    let folder = File::open(folder)?;
    told(&folder, File::sync_all)
}

/// Makes the bytes of a file, and its length, durable.
pub(super) fn sync_file(file: &File) -> io::Result<()> {
    told(file, File::sync_data)
}

/// Says when a sync begins and ends, to who wants to know what waits for which (`log.filter: info,sync=trace`).
fn told(file: &File, sync: impl FnOnce(&File) -> io::Result<()>) -> io::Result<()> {
    let fd = file.as_raw_fd();
    tracing::trace!(target: "sync", fd, "begins");
    let synced = sync(file);
    tracing::trace!(target: "sync", fd, "ended");
    synced
}
