//! Where the parts of a `sort` or `terasort` with several reduces begin: a sample of its input, taken once, says it, before
//! the job is submitted or run. The points are an argument of the program from then on.

use chunkstore_client::stores::StoreUrl;
use chunkstore_client::{ChunkStore, StoreError};
use chunkstore_protocol::{FileKind, FileStatus, StorePath};
use mapreduce::{RangePartitioner, Window};
use mapreduce_protocol::builtins::SPLIT_POINTS;
use mapreduce_protocol::{Failure, Formats, JobSpec, Program, is_hidden};

/// Entries of one folder that are listed, at most: of more, the first are sampled.
const ENTRIES_MAX: usize = 100_000;

/// Entries that are asked for at once.
const PAGE_ENTRIES: u32 = 1000;

/// Bytes of split points that a job can hold beside what else it says.
const POINTS_BYTES_MAX: usize = 192 << 10;

/// Why it can't be said where the parts begin.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SamplingError {
    /// A local input can't be read.
    #[error("{}", .0.message)]
    Local(Failure),
    /// There are too many for one job.
    #[error(
        "to say where {n_parts} parts begin takes {given} bytes, and a job can hold {POINTS_BYTES_MAX}: give the sort \
         fewer reduces"
    )]
    TooManyParts {
        /// Parts.
        n_parts: u32,
        /// Bytes.
        given: usize,
    },
}

/// For how many parts the job has yet to be told where they begin.
fn parts(spec: &JobSpec) -> Option<u32> {
    let Program::Builtin(builtin) = &spec.program else { return None };
    let is_sort = ["sort", "terasort"].contains(&builtin.name.as_str());
    let is_open = is_sort && !builtin.args.contains_key(SPLIT_POINTS);
    spec.reduces.filter(|reduces| is_open && *reduces > 1)
}

/// How the job's files will be read.
fn formats(spec: &JobSpec) -> Formats {
    let mut spec = spec.clone();
    spec.write_compression_down();
    spec.formats()
}

fn say_unsampled(spec: &JobSpec) {
    crate::say::say!(
        "warning: {}: where input is compressed, or its records are not lines, no sample of it is read: each part of the \
         output will be sorted for itself, but not one after the other. 'args: {{split_points: …}}' says where parts begin",
        crate::say::plain(&spec.name)
    );
}

fn fill_in(spec: &mut JobSpec, sample: Vec<Vec<u8>>, n_parts: u32) -> Result<(), SamplingError> {
    let points = RangePartitioner::of_sample(sample, n_parts).to_string();
    if points.len() > POINTS_BYTES_MAX {
        return Err(SamplingError::TooManyParts { n_parts, given: points.len() });
    }
    if let Program::Builtin(builtin) = &mut spec.program {
        builtin.args.insert(SPLIT_POINTS.to_owned(), points);
    }
    Ok(())
}

/// Fills in the split points of a job on local files.
pub(crate) fn sample_local(spec: &mut JobSpec) -> Result<(), SamplingError> {
    let Some(n_parts) = parts(spec) else { return Ok(()) };
    let sample = mapreduce::runtime::sample_local(&spec.input, &formats(spec), n_parts);
    match sample.map_err(SamplingError::Local)? {
        Some(sample) => fill_in(spec, sample, n_parts),
        None => {
            say_unsampled(spec);
            Ok(())
        }
    }
}

/// Whether the job's input is to be sampled: not that of other stores, whose keys the client need not have.
pub(crate) fn is_wanted(spec: &JobSpec) -> bool {
    parts(spec).is_some() && !spec.input.iter().any(|input| ids::names_another_store(input))
}

/// Fills in the split points of a job whose input is in the chunk store. Of an input that is not there nothing is said:
/// the JobTracker refuses the job with its own words.
pub(crate) async fn sample_store(store: &ChunkStore, spec: &mut JobSpec) -> anyhow::Result<()> {
    let Some(n_parts) = parts(spec) else { return Ok(()) };
    let mut files = Vec::new();
    for input in &spec.input {
        let Ok(path) = StoreUrl::without_own_scheme(input).parse::<StorePath>() else {
            return Ok(());
        };
        match files_at(store, &path).await {
            Ok(found) => files.extend(found),
            Err(StoreError::NotFound { .. }) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
    let formats = formats(spec);
    if !files.iter().all(|(path, _)| formats.has_plain_lines(path.as_str())) {
        say_unsampled(spec);
        return Ok(());
    }
    let lengths: Vec<u64> = files.iter().map(|(_, length)| *length).collect();
    let mut sample = Vec::new();
    for window in Window::over(&lengths, n_parts) {
        let (path, length) = &files[window.file];
        let mut reader = store.open_range(path, window.offset, window.length).await?;
        let mut bytes = Vec::new();
        while let Some(block) = reader.next().await? {
            bytes.extend_from_slice(&block);
        }
        sample.extend(window.lines(&bytes, *length).map(<[u8]>::to_vec));
    }
    Ok(fill_in(spec, sample, n_parts)?)
}

/// The file at `path`, or the folder's files that a job reads, with their lengths.
async fn files_at(
    store: &ChunkStore,
    path: &StorePath,
) -> Result<Vec<(StorePath, u64)>, StoreError> {
    let found = store.stat(path).await?;
    let entries = match found.kind {
        FileKind::File { .. } => return Ok(of_file(found).into_iter().collect()),
        FileKind::Folder => {
            let page = async |after| {
                let listing = store.list(path, after, PAGE_ENTRIES).await?;
                Ok((listing.entries, listing.next))
            };
            first_entries(ENTRIES_MAX, page).await?
        }
    };
    let is_read = |entry: &FileStatus| entry.path.name().is_some_and(|name| !is_hidden(name));
    Ok(entries.into_iter().filter(is_read).filter_map(of_file).collect())
}

/// The first entries of a folder, whose pages `page` gives.
async fn first_entries<T, E>(
    n_max: usize,
    mut page: impl AsyncFnMut(Option<String>) -> Result<(Vec<T>, Option<String>), E>,
) -> Result<Vec<T>, E> {
    let (mut entries, mut after) = (Vec::new(), None);
    loop {
        let (more, next) = page(after).await?;
        entries.extend(more);
        if entries.len() >= n_max || next.is_none() {
            entries.truncate(n_max);
            return Ok(entries);
        }
        after = next;
    }
}

fn of_file(status: FileStatus) -> Option<(StorePath, u64)> {
    match status.kind {
        // A log is no input; the JobTracker says so.
        FileKind::File { log: false, length, .. } => Some((status.path, length)),
        FileKind::File { log: true, .. } | FileKind::Folder => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(program: &str, reduces: u32, input: &str) -> JobSpec {
        let text = format!(
            r#"{{"name":"n","input":["{input}"],"output":"/out","program":{program},"reduces":{reduces}}}"#
        );
        serde_json::from_str(&text).unwrap()
    }

    fn points(spec: &JobSpec) -> Option<&str> {
        match &spec.program {
            Program::Builtin(builtin) => builtin.args.get(SPLIT_POINTS).map(String::as_str),
            _ => None,
        }
    }

    #[test]
    fn only_a_sort_of_several_parts_that_was_not_told_is_sampled() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a"), "d\nb\na\n").unwrap();
        std::fs::write(folder.path().join("b"), "c\nf\ne\n").unwrap();
        std::fs::write(folder.path().join("_c"), "x\ny\nz\n").unwrap();
        let input = folder.path().to_str().unwrap();
        let sort = r#"{"builtin":{"name":"sort"}}"#;
        let told = r#"{"builtin":{"name":"sort","args":{"split_points":"7a"}}}"#;
        let count = r#"{"builtin":{"name":"wordcount"}}"#;
        let tera = r#"{"builtin":{"name":"terasort"}}"#;
        for (program, reduces, expected) in [
            (sort, 3, Some("63,65")),
            (tera, 3, Some("63,65")),
            (sort, 1, None),
            (told, 3, Some("7a")),
            (count, 3, None),
        ] {
            let mut spec = spec(program, reduces, input);
            sample_local(&mut spec).unwrap();
            assert_eq!(points(&spec), expected, "{program} with {reduces}");
        }
        assert!(is_wanted(&spec(sort, 2, "/in")));
        assert!(!is_wanted(&spec(sort, 2, "s3://bucket/in")));
        let missing = sample_local(&mut spec(sort, 2, "/nowhere/at/all")).unwrap_err();
        assert!(missing.to_string().contains("/nowhere/at/all"), "{missing}");
    }

    #[test]
    fn what_are_no_lines_is_not_sampled() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a"), "d\nb\na\n").unwrap();
        std::fs::write(folder.path().join("b.gz"), "c\nf\ne\n").unwrap();
        let input = folder.path().to_str().unwrap();
        let open = spec(r#"{"builtin":{"name":"sort"}}"#, 3, input);
        let with = |key: &str, value| {
            let mut json = serde_json::to_value(&open).unwrap();
            json[key] = value;
            let mut spec: JobSpec = serde_json::from_value(json).unwrap();
            sample_local(&mut spec).unwrap();
            points(&spec).is_some()
        };
        assert!(!with("input_compression", "auto".into()));
        assert!(!with("input_compression", serde_json::Value::Null));
        assert!(with("input_compression", "none".into()));
        std::fs::remove_file(folder.path().join("b.gz")).unwrap();
        for (format, expected) in
            [("text", true), ("json-lines", true), ("csv", false), ("whole-file", false)]
        {
            assert_eq!(with("input_format", format.into()), expected, "{format}");
        }
    }

    #[tokio::test]
    async fn of_a_long_folder_the_first_entries_are_taken() {
        let pages = async |after: Option<String>| {
            let first: u32 = after.map_or(0, |after| after.parse().unwrap());
            let next = (first < 90).then(|| (first + 10).to_string());
            Ok::<_, StoreError>(((first..first + 10).collect(), next))
        };
        let all: Vec<u32> = (0..100).collect();
        assert_eq!(first_entries(25, pages).await.unwrap(), all[..25]);
        assert_eq!(first_entries(1000, pages).await.unwrap(), all);
    }

    #[test]
    fn more_parts_than_a_job_can_name_are_refused() {
        let keys = || (0..60_000_u32).map(|n| format!("{:05x}", n * 7919 % 1_048_573).into_bytes());
        let mut spec = spec(r#"{"builtin":{"name":"sort"}}"#, 2, "/in");
        fill_in(&mut spec, keys().collect(), 5000).unwrap();
        let refused = fill_in(&mut spec, keys().collect(), 50_000).unwrap_err().to_string();
        assert!(refused.contains("fewer reduces"), "{refused}");
    }
}
