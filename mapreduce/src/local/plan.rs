//! Splits of local files, by the rules of the cluster: files in order, a folder's by name; empty files
//! give none, and a folder must hold a file.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use mapreduce_protocol::packing::{Small, packs};
use mapreduce_protocol::{
    Failure, FailureKind, Formats, InputFormat, JobSpec, LineCuts, Split, SplitPiece, is_hidden,
    no_lines_of_compressed,
};

use crate::task::failure::{bad_job, failure};

/// The splits of the job's input, none longer than `split_bytes` but those of files that can't be split.
pub(super) fn splits(
    spec: &JobSpec,
    formats: &Formats,
    split_bytes: u64,
) -> Result<Vec<Split>, Failure> {
    let mut splits = Vec::new();
    for path in &spec.input {
        for (path, file_length) in files(Path::new(path))? {
            let path: Arc<str> = path.into();
            let mut offset = 0;
            for end in ends(&path, file_length, formats, split_bytes.max(1))? {
                let (path, length) = (Arc::clone(&path), end - offset);
                let piece = SplitPiece { path, offset, length, file_length, e_tag: None };
                splits.push(Split { pieces: vec![piece] });
                offset = end;
            }
        }
    }
    Ok(if spec.combines_files() { packed(splits, split_bytes) } else { splits })
}

/// The same splits, but for small files that one map reads together.
fn packed(splits: Vec<Split>, split_bytes: u64) -> Vec<Split> {
    let small: Vec<_> = splits.iter().map(|split| Small::of(split, split_bytes)).collect();
    let mut pieces = splits.into_iter().map(|split| split.pieces);
    let pack = |pack: Range<usize>| pieces.by_ref().take(pack.len()).flatten().collect::<Vec<_>>();
    packs(&small, split_bytes).into_iter().map(pack).map(|pieces| Split { pieces }).collect()
}

/// All files of `input` with their lengths, in their order.
pub(super) fn inputs(input: &[String]) -> Result<Vec<(String, u64)>, Failure> {
    let all = input.iter().map(|path| files(Path::new(path))).collect::<Result<Vec<_>, _>>()?;
    Ok(all.into_iter().flatten().collect())
}

/// Where the splits of a file end.
fn ends(
    path: &str,
    file_length: u64,
    formats: &Formats,
    split_bytes: u64,
) -> Result<Vec<u64>, Failure> {
    let mut ends = Vec::new();
    if let InputFormat::Lines { per_split } = formats.input {
        if formats.codec_of(path).is_some() {
            return Err(bad_job(no_lines_of_compressed(path)));
        }
        let unreadable = |error: std::io::Error| unavailable(Path::new(path), &error.to_string());
        let mut cuts = LineCuts::new(per_split);
        let mut reader = BufReader::with_capacity(1 << 20, File::open(path).map_err(unreadable)?);
        loop {
            let block = reader.fill_buf().map_err(unreadable)?;
            if block.is_empty() {
                break;
            }
            cuts.pass(block, |end| ends.push(end));
            let n = block.len();
            reader.consume(n);
        }
    } else if formats.splits(path) {
        ends.extend((1..file_length.div_ceil(split_bytes)).map(|n| n * split_bytes));
    }
    if file_length > ends.last().copied().unwrap_or(0) {
        ends.push(file_length);
    }
    Ok(ends)
}

/// A file, or a folder's files but `_*` and `.*`, with their lengths.
fn files(path: &Path) -> Result<Vec<(String, u64)>, Failure> {
    let problem = |error: std::io::Error| unavailable(path, &error.to_string());
    // Of a link that leads nowhere, it is the link that can't be read.
    let about = |path: &Path| {
        std::fs::metadata(path).map_err(|error| unavailable(path, &error.to_string()))
    };
    let itself = about(path)?;
    if !itself.is_dir() {
        return Ok(vec![(text(path)?, itself.len())]);
    }
    let mut found: Vec<PathBuf> = Vec::new();
    for entry in std::fs::read_dir(path).map_err(problem)? {
        let path = entry.map_err(problem)?.path();
        let is_read = path.file_name().is_some_and(|name| !is_hidden(&name.to_string_lossy()));
        if is_read && about(&path)?.is_file() {
            found.push(path);
        }
    }
    if found.is_empty() {
        let message = format!(
            "input folder {} holds no files (subfolders, and names that begin with '_' or '.', are not read): name the folders that hold the files",
            path.display()
        );
        return Err(failure(FailureKind::InputUnavailable, message));
    }
    found.sort();
    let with_length = |path: PathBuf| Ok((text(&path)?, about(&path)?.len()));
    found.into_iter().map(with_length).collect()
}

fn text(path: &Path) -> Result<String, Failure> {
    match path.to_str() {
        Some(text) => Ok(text.to_owned()),
        None => Err(unavailable(path, "its name is not UTF-8")),
    }
}

fn unavailable(path: &Path, why: &str) -> Failure {
    failure(FailureKind::InputUnavailable, format!("can't read input {}: {why}", path.display()))
}
