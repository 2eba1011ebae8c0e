//! A job's inputs as people write them → those that a job takes: a pattern becomes the paths that it matches, and with
//! `--recursive` a folder becomes those at and below it that hold files. That something is left out is said. What begins
//! with `_` or `.` is what jobs leave beside data, and never meant.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::Context as _;
use chunkstore_client::stores::StoreUrl;
use chunkstore_client::{ChunkStore, StoreError};
use chunkstore_protocol::{FileKind, StorePath};
use mapreduce_protocol::is_hidden;

use super::fs::{Matched, below, could_match, entries_of, expand_local, expand_store};
use crate::exit::OrEarly as _;
use crate::job_file::JobFile;
use crate::say::{plain, say};
use crate::session::Session;

/// What makes a job read subfolders, in the words of the command.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Recursion {
    pub(crate) wanted: bool,
    pub(crate) by: &'static str,
}

/// The inputs of a job for the cluster.
pub(crate) async fn of_store(
    session: &Session,
    job: &mut JobFile,
    recursion: Recursion,
) -> anyhow::Result<()> {
    let must_ask = recursion.wanted || job.spec.input.iter().any(|input| is_pattern(input));
    let store = match session.store().await {
        // A warning is not worth a failure: whether the job can be taken, the JobTracker says.
        Err(_) if !must_ask => return Ok(()),
        store => store?,
    };
    let mut inputs = Vec::new();
    for input in &job.spec.input {
        match is_pattern(input) {
            true => {
                let pattern = StoreUrl::without_own_scheme(input);
                inputs.extend(meant(pattern, expand_store(&store, pattern).await?)?);
            }
            false => inputs.push(input.clone()),
        }
    }
    job.spec.input.clear();
    for input in inputs {
        let found = match ids::names_another_store(&input) {
            true => Vec::new(),
            false => match found_in(&store, &input, recursion.wanted).await {
                Err(_) if !must_ask => Vec::new(),
                found => found.with_context(|| format!("cannot list the input {input}"))?,
            },
        };
        job.spec.input.extend(with_folders(input, &found, recursion));
    }
    // What was found is held to the same rules.
    job.check_for_cluster().or_early()
}

/// The inputs of a job on this host's files.
pub(crate) fn of_this_host(job: &mut JobFile, recursion: Recursion) -> anyhow::Result<()> {
    let mut inputs = Vec::new();
    for input in std::mem::take(&mut job.spec.input) {
        match is_pattern(&input) && !Path::new(&input).exists() {
            true => inputs.extend(meant(&input, expand_local(&input).or_early()?)?),
            false => inputs.push(input),
        }
    }
    for input in inputs {
        let found = local_below(Path::new(&input), recursion.wanted)
            .with_context(|| format!("cannot list the input {input}"));
        job.spec.input.extend(with_folders(input, &found.or_early()?, recursion));
    }
    Ok(())
}

fn is_pattern(input: &str) -> bool {
    !ids::names_another_store(input) && input.contains(['*', '?', '[', '{', '\\'])
}

/// Whether an input is a pattern that could match what will be at `path` or below it.
pub(crate) fn could_mean(input: &str, path: &str) -> bool {
    is_pattern(input) && could_match(input, path)
}

/// What a job is to read of what a pattern has matched: names that begin with `_` or `.` only where it writes such a name
/// out. Where the pattern matches folders at any depth, those are on the way to files, and not meant.
fn meant(pattern: &str, matched: Vec<Matched>) -> anyhow::Result<Vec<String>> {
    let files_only = pattern.trim_end_matches('/').ends_with("/**");
    let begins_a_name = |at: usize| at == 0 || pattern[..at].ends_with(['/', '{', ',']);
    let writes_out = |mark: &str| pattern.match_indices(mark).any(|(at, _)| begins_a_name(at));
    let is_left_out = |name: &str| is_hidden(name) && !name.get(..1).is_some_and(writes_out);
    let is_meant = |it: &Matched| it.path == pattern || !it.path.split('/').any(is_left_out);
    let meant = matched.into_iter().filter(|it| is_meant(it) && !(files_only && it.is_folder));
    let paths: Vec<_> = meant.map(|it| it.path).collect();
    anyhow::ensure!(
        !paths.is_empty(),
        "nothing that a job reads matches {pattern}: names that begin with '_' or '.' are left out"
    );
    Ok(paths)
}

/// What is in a folder of the chunk store, or all that is below it; nothing for a file, or where nothing is.
async fn found_in(
    store: &ChunkStore,
    input: &str,
    recursive: bool,
) -> Result<Vec<Matched>, StoreError> {
    let Ok(path) = StoreUrl::without_own_scheme(input).parse::<StorePath>() else {
        return Ok(Vec::new());
    };
    let found = match recursive {
        true => below(store, &path).await,
        false => entries_of(store, &path).await,
    };
    let found = match found {
        Err(StoreError::NotFound { .. } | StoreError::NotAFolder { .. }) => Vec::new(),
        found => found?,
    };
    let found = found.into_iter().filter(|entry| entry.path != path);
    let matched = |entry: chunkstore_protocol::FileStatus| Matched {
        path: entry.path.to_string(),
        is_folder: matches!(entry.kind, FileKind::Folder),
    };
    Ok(found.map(matched).collect())
}

/// The same of a local folder. Links to folders are not followed: they may lead in circles.
fn local_below(root: &Path, recursive: bool) -> std::io::Result<Vec<Matched>> {
    let (mut all, mut folders) = (Vec::new(), Vec::new());
    if root.is_dir() {
        folders.push(root.to_owned());
    }
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let path = entry?.path();
            let is_folder = path.is_dir();
            // What is not text can't be named in a job; the job itself says so of files.
            let Some(text) = path.to_str() else { continue };
            all.push(Matched { path: text.to_owned(), is_folder });
            if is_folder && recursive && !path.is_symlink() {
                folders.push(path);
            }
        }
    }
    Ok(all)
}

/// An input, or with `recursion` the folders at and below it that hold files.
fn with_folders(input: String, found: &[Matched], recursion: Recursion) -> Vec<String> {
    let root = StoreUrl::without_own_scheme(&input).trim_end_matches('/').to_owned();
    let is_visible = |it: &&Matched| !it.path[root.len()..].split('/').any(is_hidden);
    let visible: Vec<&Matched> = found.iter().filter(is_visible).collect();
    if recursion.wanted {
        let files = visible.iter().filter(|it| !it.is_folder);
        let folders: BTreeSet<&str> =
            files.filter_map(|it| it.path.rsplit_once('/')).map(|(folder, _)| folder).collect();
        return match folders.is_empty() {
            true => vec![input],
            false => folders
                .into_iter()
                .map(|it| if it.is_empty() { "/" } else { it }.to_owned())
                .collect(),
        };
    }
    let mut folders: Vec<&str> =
        visible.iter().filter(|it| it.is_folder).map(|it| it.path.as_str()).collect();
    folders.sort_unstable();
    if let Some(first) = folders.first() {
        let (root, first, by) = (plain(&input), plain(first), recursion.by);
        let what = match folders.len() {
            1 => format!("its subfolder {first} is"),
            n => format!("{n} subfolders, such as {first}, are"),
        };
        say!("warning: of the input {root}, {what} not read: {by} reads what is below, too");
    }
    vec![input]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(paths: &[&str]) -> Vec<Matched> {
        let matched = |path: &&str| Matched {
            path: path.trim_end_matches('/').to_owned(),
            is_folder: path.ends_with('/'),
        };
        paths.iter().map(matched).collect()
    }

    #[test]
    fn a_folder_is_read_with_all_folders_below_that_hold_files() {
        let recursion = Recursion { wanted: true, by: "--recursive" };
        for (root, below, expected) in [
            ("/in", &["/in/a", "/in/sub/", "/in/sub/b", "/in/sub/c"][..], &["/in", "/in/sub"][..]),
            ("/in", &["/in/x/", "/in/x/y/", "/in/x/y/a"], &["/in/x/y"]),
            ("/in", &["/in/a", "/in/_logs/", "/in/_logs/b", "/in/x/", "/in/x/.b"], &["/in"]),
            ("/in", &["/in/x/"], &["/in"]),
            ("/_in", &["/_in/x/", "/_in/x/a"], &["/_in/x"]),
            ("/", &["/a", "/x/", "/x/b"], &["/", "/x"]),
            ("/in/file", &[], &["/in/file"]),
        ] {
            assert_eq!(with_folders(root.to_owned(), &found(below), recursion), expected, "{root}");
        }
    }

    #[test]
    fn a_pattern_means_what_a_job_reads() {
        let all = ["/in/a", "/in/sub/", "/in/sub/b", "/in/_SUCCESS", "/in/.x", "/in/_logs/c"];
        assert_eq!(meant("/in/*", found(&all[..2])).unwrap(), ["/in/a", "/in/sub"]);
        assert_eq!(meant("/in/**", found(&all)).unwrap(), ["/in/a", "/in/sub/b"]);
        assert_eq!(meant("/in/[a]", found(&["/in/[a]"])).unwrap(), ["/in/[a]"]);
        assert_eq!(meant("/in/_l*/*", found(&all[5..])).unwrap(), ["/in/_logs/c"]);
        assert_eq!(meant("/in/{_logs,b}/*", found(&all[5..])).unwrap(), ["/in/_logs/c"]);
        assert!(meant("/in/*.x_y/*", found(&all[4..])).is_err());
        let refused = meant("/in/*", found(&all[3..])).unwrap_err().to_string();
        assert!(refused.contains("/in/*") && refused.contains("'_'"), "{refused}");
    }

    #[test]
    fn local_folders_are_looked_through_and_links_end_the_way() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        fs::create_dir_all(root.join("sub/below")).unwrap();
        fs::write(root.join("sub/below/a"), "a").unwrap();
        std::os::unix::fs::symlink(root, root.join("sub/circle")).unwrap();
        let names = |recursive| {
            let found = local_below(root, recursive).unwrap();
            let name = |it: &Matched| it.path[root.to_str().unwrap().len()..].to_owned();
            found.iter().map(name).collect::<BTreeSet<_>>()
        };
        assert_eq!(names(false), BTreeSet::from(["/sub".to_owned()]));
        let all = ["/sub", "/sub/below", "/sub/below/a", "/sub/circle"];
        assert_eq!(names(true), BTreeSet::from(all.map(str::to_owned)));
    }
}
