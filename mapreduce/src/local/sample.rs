//! A sample of local input, for a job that is to write ranges of keys.

use std::fs::File;
use std::os::unix::fs::FileExt;

use mapreduce_protocol::{Failure, Formats};

use super::files::unreadable;
use super::plan;
use crate::api::Window;

/// The first bytes of some lines of `input`, files and folders: always the same ones. `None` where records are not lines as
/// they stand there.
///
/// # Errors
/// When an input can't be read.
pub fn sample_local(
    input: &[String],
    formats: &Formats,
    n_partitions: u32,
) -> Result<Option<Vec<Vec<u8>>>, Failure> {
    let files = plan::inputs(input)?;
    if !files.iter().all(|(path, _)| formats.has_plain_lines(path)) {
        return Ok(None);
    }
    let lengths: Vec<u64> = files.iter().map(|(_, length)| *length).collect();
    let mut sample = Vec::new();
    for window in Window::over(&lengths, n_partitions) {
        let (path, length) = &files[window.file];
        let mut bytes = vec![0; usize::try_from(window.length).unwrap_or(0)];
        File::open(path)
            .and_then(|file| file.read_exact_at(&mut bytes, window.offset))
            .map_err(|error| unreadable(path, &error))?;
        sample.extend(window.lines(&bytes, *length).map(<[u8]>::to_vec));
    }
    Ok(Some(sample))
}
