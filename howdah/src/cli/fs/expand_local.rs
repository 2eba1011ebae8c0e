//! Patterns → the local paths that they match, by the rules that [`super::expand`] has for the chunk store.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::pattern::{Part, Pattern};

/// A path that a pattern has matched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli) struct Matched {
    /// The path.
    pub(in crate::cli) path: String,
    /// What stands there.
    pub(in crate::cli) is_folder: bool,
}

/// All that `text` matches, sorted; at least one.
pub(in crate::cli) fn expand_local(text: &str) -> anyhow::Result<Vec<Matched>> {
    let pattern: Pattern = text.parse()?;
    let mut all = Vec::new();
    for parts in pattern.alternatives() {
        let mut found = walk(parts)?;
        found.sort();
        all.extend(found);
    }
    let matched = all.into_iter().filter_map(|path| {
        let is_folder = path.is_dir();
        Some(Matched { path: path.into_os_string().into_string().ok()?, is_folder })
    });
    let matched: Vec<_> = matched.collect();
    anyhow::ensure!(!matched.is_empty(), "nothing matches {text}");
    Ok(matched)
}

fn walk(parts: &[Part]) -> io::Result<Vec<PathBuf>> {
    let mut reached = vec![PathBuf::from("/")];
    for (index, part) in parts.iter().enumerate() {
        let is_last = index + 1 == parts.len();
        let mut next = Vec::new();
        for path in reached {
            match part {
                Part::Name(name) => next.push(path.join(name)),
                Part::Glob(regex) => {
                    let name = |path: &PathBuf| {
                        path.file_name().is_some_and(|it| regex.is_match(&it.to_string_lossy()))
                    };
                    next.extend(entries_of(&path)?.into_iter().filter(name));
                }
                Part::Folders => {
                    let below = below(&path)?;
                    if !is_last {
                        next.push(path);
                    }
                    next.extend(below.into_iter().filter(|it| is_last || it.is_dir()));
                }
            }
        }
        reached = next;
    }
    reached.retain(|path| path.symlink_metadata().is_ok());
    Ok(reached)
}

/// What is in a folder, if it is one.
fn entries_of(folder: &Path) -> io::Result<Vec<PathBuf>> {
    match fs::read_dir(folder) {
        Ok(entries) => entries.map(|entry| Ok(entry?.path())).collect(),
        Err(error) => match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Ok(Vec::new()),
            _ => Err(error),
        },
    }
}

/// All that is below a folder; links are not followed.
fn below(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let (mut all, mut folders) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in entries_of(&folder)? {
            if entry.is_dir() && !entry.is_symlink() {
                folders.push(entry.clone());
            }
            all.push(entry);
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_local_paths_as_they_do_paths_of_the_chunk_store() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        let root = root.to_str().unwrap();
        fs::create_dir_all(format!("{root}/a/sub/deep")).unwrap();
        fs::create_dir(format!("{root}/b")).unwrap();
        for file in ["a/1.txt", "a/2.txt", "a/sub/3.txt", "a/sub/deep/4.txt", "b/5.txt"] {
            fs::write(format!("{root}/{file}"), "").unwrap();
        }
        for (pattern, expected) in [
            ("a/*.txt", &["a/1.txt", "a/2.txt"][..]),
            ("a/?.txt", &["a/1.txt", "a/2.txt"]),
            ("*/[15].txt", &["a/1.txt", "b/5.txt"]),
            ("{b,a}/[!2].txt", &["b/5.txt", "a/1.txt"]),
            ("a/**/[1-4].txt", &["a/1.txt", "a/2.txt", "a/sub/3.txt", "a/sub/deep/4.txt"]),
            ("b/**", &["b/5.txt"]),
            ("*", &["a", "b"]),
        ] {
            let found = expand_local(&format!("{root}/{pattern}")).unwrap();
            let names = found.iter().map(|it| &it.path[root.len() + 1..]);
            assert_eq!(names.collect::<Vec<_>>(), expected, "{pattern}");
            assert_eq!(found[0].is_folder, pattern == "*");
        }
        let refused = expand_local(&format!("{root}/*.csv")).unwrap_err().to_string();
        assert!(refused.contains("nothing matches") && refused.contains("*.csv"), "{refused}");
    }
}
