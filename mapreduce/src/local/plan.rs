//! Splits of local files, by the rules of the cluster: files in order, a folder's by name; empty files
//! give none, and a folder must hold a file.

use std::path::{Path, PathBuf};

use mapreduce_protocol::{Failure, FailureKind, Split, SplitPiece};

use crate::task::failure::failure;

/// The splits of `input`, none longer than `split_bytes`.
pub(super) fn splits(input: &[String], split_bytes: u64) -> Result<Vec<Split>, Failure> {
    let mut splits = Vec::new();
    for path in input {
        for (path, file_length) in files(Path::new(path))? {
            let mut offset = 0;
            while offset < file_length {
                let length = split_bytes.max(1).min(file_length - offset);
                let path = path.clone();
                splits.push(Split {
                    pieces: vec![SplitPiece {
                        path: path.into(),
                        offset,
                        length,
                        file_length,
                        e_tag: None,
                    }],
                });
                offset += length;
            }
        }
    }
    Ok(splits)
}

/// All files of `input` with their lengths, in their order.
pub(super) fn inputs(input: &[String]) -> Result<Vec<(String, u64)>, Failure> {
    let all = input.iter().map(|path| files(Path::new(path))).collect::<Result<Vec<_>, _>>()?;
    Ok(all.into_iter().flatten().collect())
}

/// A file, or a folder's files but `_*` and `.*`, with their lengths.
fn files(path: &Path) -> Result<Vec<(String, u64)>, Failure> {
    let problem = |error: std::io::Error| unavailable(path, &error.to_string());
    let about = std::fs::metadata(path).map_err(problem)?;
    if !about.is_dir() {
        return Ok(vec![(text(path)?, about.len())]);
    }
    let mut found: Vec<PathBuf> = Vec::new();
    for entry in std::fs::read_dir(path).map_err(problem)? {
        let entry = entry.map_err(problem)?;
        let is_hidden = matches!(entry.file_name().as_encoded_bytes(), [b'_' | b'.', ..]);
        if !is_hidden && std::fs::metadata(entry.path()).map_err(problem)?.is_file() {
            found.push(entry.path());
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
    let with_length = |path: PathBuf| {
        let about = std::fs::metadata(&path).map_err(problem)?;
        Ok((text(&path)?, about.len()))
    };
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
