//! `fs cat`, `fs head` and `fs tail`: bytes of files on standard output.

use std::io::{self, Write};
use std::time::Duration;

use anyhow::{Context, anyhow};
use chunkstore_client::{ChunkStore, FileReader, StoreError};
use chunkstore_protocol::{FileId, FileKind, StorePath};
use clap::Args;

use super::expand::{expand_files, expand_one};
use super::place::{Place, Places};
use super::{doing, log, shown, urls};
use crate::cli::size::parse_size;
use crate::exit::early;
use crate::failures::Failures;
use crate::say::{Unwritable, quiet_if_closed, say};
use crate::session::Session;

/// Lines that `head` and `tail` show where nothing else is wanted.
const LINES: u64 = 10;
/// Bytes of one step back in search of the beginning of a file's last lines.
const STEP_BACK: u64 = 1 << 18;

/// Time between two looks at a file that is followed.
const PAUSE: Duration = Duration::from_millis(500);

/// Arguments of `fs cat`.
#[derive(Debug, Args)]
pub(super) struct CatArgs {
    /// The files; patterns are expanded
    #[arg(required = true)]
    paths: Vec<Place>,
}

/// Arguments of `fs head`.
#[derive(Debug, Args)]
pub(super) struct HeadArgs {
    #[command(flatten)]
    part: PartArgs,
}

/// Arguments of `fs tail`.
#[derive(Debug, Args)]
pub(super) struct TailArgs {
    #[command(flatten)]
    part: PartArgs,
    /// Go on with what is put behind the end, until Ctrl-C; also of a file that is still being written, as far
    /// as its chunks are sealed
    #[arg(short, long)]
    follow: bool,
}

#[derive(Debug, Args)]
pub(super) struct PartArgs {
    /// So many bytes, like 1000 or 1KiB
    #[arg(short = 'c', long, value_name = "SIZE", value_parser = unsigned(parse_size))]
    pub(super) bytes: Option<u64>,
    /// So many lines; 10 if nothing is said
    #[arg(short = 'n', long, value_name = "N", conflicts_with = "bytes", value_parser = unsigned(str::parse::<u64>))]
    lines: Option<u64>,
    /// The files; patterns are expanded
    #[arg(required = true)]
    paths: Vec<Place>,
}

impl PartArgs {
    pub(super) fn lines(&self) -> u64 {
        self.lines.unwrap_or(LINES)
    }
}

/// Of a shell's `tail`, `+5` is another thing than `5`, and would pass for it as a number.
fn unsigned<E: std::fmt::Display>(
    parse: impl Fn(&str) -> Result<u64, E> + Clone,
) -> impl Fn(&str) -> Result<u64, String> + Clone {
    move |text| match text.starts_with('+') {
        true => Err("write how many there are to be, without a sign".to_owned()),
        false => parse(text).map_err(|error| error.to_string()),
    }
}

/// Several files are told apart as `head` and `tail` of a shell do: each that can be read has its name above.
pub(super) struct Titles {
    are_shown: bool,
    n_shown: usize,
}

impl Titles {
    /// For so many files.
    pub(super) fn new(n_files: usize) -> Self {
        Self { are_shown: n_files > 1, n_shown: 0 }
    }

    /// Writes the next one.
    pub(super) fn write(&mut self, name: &str) -> anyhow::Result<Result<(), Enough>> {
        if !self.are_shown {
            return Ok(Ok(()));
        }
        let gap = if self.n_shown == 0 { "" } else { "\n" };
        self.n_shown += 1;
        write(format!("{gap}==> {} <==\n", crate::say::plain(name)).as_bytes())
    }
}

/// Whoever reads the output has seen enough.
pub(super) struct Enough;

/// Writes to standard output. Nobody reading there is an end, not a failure.
pub(super) fn write(bytes: &[u8]) -> anyhow::Result<Result<(), Enough>> {
    match io::stdout().lock().write_all(bytes) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Err(Enough)),
        written => written.map(Ok).map_err(|error| Unwritable(error).into()),
    }
}

/// Writes as much of `piece` as belongs to the next `left` lines, which become fewer.
pub(super) fn write_lines(piece: &[u8], left: &mut u64) -> anyhow::Result<Result<(), Enough>> {
    let mut end = piece.len();
    for (at, _) in piece.iter().enumerate().filter(|(_, byte)| **byte == b'\n') {
        *left -= 1;
        if *left == 0 {
            end = at + 1;
            break;
        }
    }
    write(&piece[..end])
}

/// Writes the rest of what the reader is to read.
async fn write_all(reader: &mut FileReader) -> anyhow::Result<Result<(), Enough>> {
    while let Some(piece) = reader.next().await? {
        if write(&piece)?.is_err() {
            return Ok(Err(Enough));
        }
    }
    Ok(Ok(()))
}

pub(super) fn flush() -> anyhow::Result<()> {
    quiet_if_closed(io::stdout().lock().flush())
}

pub(super) async fn cat(session: &Session, args: &CatArgs) -> anyhow::Result<()> {
    let patterns = match Place::of_one_kind(&args.paths)? {
        Places::Own(patterns) => patterns,
        Places::Urls(urls) => return urls::cat(session, &urls).await,
    };
    let store = session.store().await?;
    let mut failures = Failures::default();
    let paths = expand_files(&store, &patterns, &mut failures).await?;
    write_files(&store, &paths, &mut failures).await?;
    failures.end()
}

/// Writes whole files to standard output, one after the other.
pub(super) async fn write_files(
    store: &ChunkStore,
    paths: &[StorePath],
    failures: &mut Failures,
) -> anyhow::Result<()> {
    for path in paths {
        let written = write_file(store, path).await.with_context(|| doing("read", path));
        if let Some(Err(Enough)) = failures.take(written)? {
            return Ok(());
        }
    }
    flush()
}

pub(super) async fn write_file(
    store: &ChunkStore,
    path: &StorePath,
) -> anyhow::Result<Result<(), Enough>> {
    match store.open(path).await {
        Ok(mut reader) => write_all(&mut reader).await,
        Err(StoreError::LogOrNot { .. }) => {
            log::write_records(store, path, u64::MAX, &mut Titles::new(1)).await
        }
        Err(error) => Err(error.into()),
    }
}

pub(super) async fn head(session: &Session, HeadArgs { part }: &HeadArgs) -> anyhow::Result<()> {
    let patterns = match Place::of_one_kind(&part.paths)? {
        Places::Own(patterns) => patterns,
        Places::Urls(urls) => return urls::head(session, &urls, part).await,
    };
    let store = session.store().await?;
    let mut failures = Failures::default();
    let paths = expand_files(&store, &patterns, &mut failures).await?;
    let mut titles = Titles::new(paths.len().max(patterns.len()));
    for path in &paths {
        let shown = match part.bytes {
            Some(bytes) => first_bytes(&store, path, bytes, &mut titles).await,
            None => first_lines(&store, path, part.lines(), &mut titles).await,
        };
        let shown = match shown {
            Err(error) if log::is_of_a_log(&error) && part.bytes.is_none() => {
                log::write_records(&store, path, part.lines(), &mut titles).await
            }
            shown => shown,
        };
        if let Some(Err(Enough)) = failures.take(shown.with_context(|| doing("read", path)))? {
            return Ok(());
        }
    }
    flush()?;
    failures.end()
}

async fn first_bytes(
    store: &ChunkStore,
    path: &StorePath,
    bytes: u64,
    titles: &mut Titles,
) -> anyhow::Result<Result<(), Enough>> {
    let mut reader = store.open_range(path, 0, bytes).await?;
    match titles.write(path.as_str())? {
        Ok(()) => write_all(&mut reader).await,
        enough => Ok(enough),
    }
}

async fn first_lines(
    store: &ChunkStore,
    path: &StorePath,
    lines: u64,
    titles: &mut Titles,
) -> anyhow::Result<Result<(), Enough>> {
    let mut reader = store.open(path).await?;
    if titles.write(path.as_str())?.is_err() {
        return Ok(Err(Enough));
    }
    let mut left = lines;
    while left > 0 {
        let Some(piece) = reader.next().await? else { break };
        if write_lines(&piece, &mut left)?.is_err() {
            return Ok(Err(Enough));
        }
    }
    Ok(Ok(()))
}

pub(super) async fn tail(session: &Session, args: &TailArgs) -> anyhow::Result<()> {
    let part = &args.part;
    let patterns = match Place::of_one_kind(&part.paths)? {
        Places::Own(patterns) => patterns,
        Places::Urls(_) if args.follow => {
            return Err(early(anyhow!(
                "-f follows files of the chunk store: an object of another store never gets longer"
            )));
        }
        Places::Urls(urls) => return urls::tail(session, &urls, part).await,
    };
    let store = session.store().await?;
    if args.follow {
        let [pattern] = patterns.as_slice() else {
            return Err(early(anyhow!("-f follows one file: name one")));
        };
        let path = expand_one(&store, pattern).await?;
        let followed = match follow(&store, &path, part).await {
            Err(error) if log::is_of_a_log(&error) && part.bytes.is_none() => {
                log::follow(&store, &path, part.lines(), PAUSE).await
            }
            followed => followed,
        };
        return followed.with_context(|| doing("follow", &path));
    }
    let mut failures = Failures::default();
    let paths = expand_files(&store, &patterns, &mut failures).await?;
    let mut titles = Titles::new(paths.len().max(patterns.len()));
    for path in &paths {
        let open = async |offset, length| store.open_range(path, offset, length).await;
        let title = || titles.write(path.as_str());
        let shown = match last_part(open, part, title).await {
            Err(error) if log::is_of_a_log(&error) && part.bytes.is_none() => {
                let title = || titles.write(path.as_str());
                log::last_records(&store, path, part.lines(), title)
                    .await
                    .map(|shown| shown.map(drop))
            }
            shown => shown.map(|shown| shown.map(drop)),
        };
        if let Some(Err(Enough)) = failures.take(shown.with_context(|| doing("read", path)))? {
            return Ok(());
        }
    }
    flush()?;
    failures.end()
}

/// Writes the last part of the file that `open` opens at an offset, for a length; returns where it ends. Above it stands
/// what `title` writes.
async fn last_part(
    open: impl AsyncFn(u64, u64) -> Result<FileReader, StoreError>,
    part: &PartArgs,
    title: impl FnOnce() -> anyhow::Result<Result<(), Enough>>,
) -> anyhow::Result<Result<u64, Enough>> {
    let length = open(0, 0).await?.len();
    if title()?.is_err() {
        return Ok(Err(Enough));
    }
    let mut position = match part.bytes {
        Some(bytes) => length.saturating_sub(bytes),
        None => start_of_last_lines(&open, length, part.lines()).await?,
    };
    while position < length {
        let mut reader = open(position, length - position).await?;
        if write_all(&mut reader).await?.is_err() {
            return Ok(Err(Enough));
        }
        if reader.position() <= position {
            // It is shorter than it was: what is read now is not what was looked at.
            break;
        }
        position = reader.position();
    }
    Ok(Ok(position))
}

/// Where the last lines begin. A file that does not end with a newline ends with a line all the same.
async fn start_of_last_lines(
    open: &impl AsyncFn(u64, u64) -> Result<FileReader, StoreError>,
    length: u64,
    lines: u64,
) -> Result<u64, StoreError> {
    let (mut end, mut left) = (length, lines);
    while end > 0 && left > 0 {
        let begin = end.saturating_sub(STEP_BACK);
        let mut reader = open(begin, end - begin).await?;
        let mut bytes = Vec::new();
        while let Some(piece) = reader.next().await? {
            bytes.extend_from_slice(&piece);
        }
        for (at, _) in bytes.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n') {
            let behind = begin + at as u64 + 1;
            // The newline that ends the file ends no line before its last.
            if behind < length {
                left -= 1;
            }
            if left == 0 {
                return Ok(behind);
            }
        }
        end = begin;
    }
    Ok(if lines == 0 { length } else { 0 })
}

/// Writes the last part, and then what comes behind it, for ever.
async fn follow(store: &ChunkStore, path: &StorePath, part: &PartArgs) -> anyhow::Result<()> {
    let open = async |offset, length| store.open_unfinished(path, offset, length).await;
    let mut file = file_at(store, path).await?;
    let untitled = || Ok(Ok(()));
    let Ok(mut position) = last_part(&open, part, untitled).await? else { return Ok(()) };
    loop {
        flush()?;
        tokio::time::sleep(PAUSE).await;
        let now = file_at(store, path).await?;
        let mut reader = open(position, u64::MAX).await?;
        if now != file || reader.len() < position {
            say!("howdah: another file stands at {}: going on with that one", shown::path(path));
            file = now;
            reader = open(0, u64::MAX).await?;
        }
        if write_all(&mut reader).await?.is_err() {
            return Ok(());
        }
        position = reader.position();
    }
}

/// Which file stands there.
async fn file_at(store: &ChunkStore, path: &StorePath) -> anyhow::Result<FileId> {
    match store.stat(path).await?.kind {
        FileKind::File { file, .. } => Ok(file),
        FileKind::Folder => Err(anyhow!("{path} is a folder: name a file")),
    }
}
