//! Logs: lines or whole files are appended to them as records, and each record is a line of what is read from them.

use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, anyhow};
use chunkstore_client::{ChunkStore, LogOptions, LogReader, LogWriter, StoreError};
use chunkstore_protocol::{RECORD_BYTES_MAX, StorePath};
use tokio::sync::mpsc;

use super::read::{Enough, Titles, flush, write};
use super::transfer::is_dash;
use crate::exit::Interrupted;
use crate::signals::Termination;

/// Records that are appended together at most, and wait meanwhile.
const RECORDS_AT_ONCE: usize = 1000;
/// Bytes of these after which no more are added.
const BYTES_AT_ONCE: usize = 1 << 20;

/// Whether the chunk master said that the file is a log.
pub(super) fn is_of_a_log(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(StoreError::LogOrNot { .. }))
}

/// What is to be appended, and where it stands.
struct Entry {
    bytes: Vec<u8>,
    source: PathBuf,
    /// From 1; none of a whole source.
    line: Option<u64>,
}

impl AsRef<[u8]> for Entry {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let source = match is_dash(&self.source) {
            true => "standard input".to_owned(),
            false => self.source.display().to_string(),
        };
        match self.line {
            Some(line) => write!(f, "line {line} of {source}"),
            None => f.write_str(&source),
        }
    }
}

/// Appends each line, or each whole source, as a record; makes the log if it is missing. Returns how many they were.
pub(super) async fn append(
    store: &ChunkStore,
    from: &[PathBuf],
    to: &StorePath,
    lines: bool,
    end: &mut Termination,
) -> anyhow::Result<u64> {
    let options = LogOptions { parents: true, ..LogOptions::default() };
    match store.create_log(to, options).await {
        Ok(_) | Err(StoreError::AlreadyExists { .. }) => {}
        Err(error) => return Err(error).with_context(|| format!("cannot make the log {to}")),
    }
    let mut log = store.log_writer(to);
    let mut n_appended = 0;
    let work = append_all(&mut log, from.to_vec(), lines, &mut n_appended);
    let appended = end.or(work).await;
    match appended {
        Ok(Ok(())) => Ok(n_appended),
        Ok(Err(error)) => Err(error.context(format!(
            "cannot append all to {to}, which has the first {n_appended} of these records"
        ))),
        Err(by) => {
            let remains = format!("{n_appended} records are in {to}, and perhaps some that follow");
            Err(Interrupted { by, remains }.into())
        }
    }
}

async fn append_all(
    log: &mut LogWriter,
    from: Vec<PathBuf>,
    lines: bool,
    n_appended: &mut u64,
) -> anyhow::Result<()> {
    let (records, mut waiting) = mpsc::channel(RECORDS_AT_ONCE);
    // Not a blocking task: a terminal that nobody types at would keep the process.
    let reading = std::thread::spawn(move || read_all(&from, lines, &records));
    let mut batch: Vec<Entry> = Vec::new();
    loop {
        let Some(first) = waiting.recv().await else { break };
        let mut bytes = first.bytes.len();
        batch.push(first);
        while bytes < BYTES_AT_ONCE
            && batch.len() < RECORDS_AT_ONCE
            && let Ok(next) = waiting.try_recv()
        {
            bytes += next.bytes.len();
            batch.push(next);
        }
        append_batch(log, &batch, n_appended).await?;
        batch.clear();
    }
    reading.join().map_err(|_| anyhow!("the thread that reads has panicked"))?
}

/// Appends these; of some that can't be appended as they are those before the first such one.
async fn append_batch(
    log: &mut LogWriter,
    batch: &[Entry],
    n_appended: &mut u64,
) -> anyhow::Result<()> {
    let (fine, refused) = match log.append(batch).await {
        // Nothing of the batch was sent.
        Err(StoreError::RecordTooLong { limit, .. }) => {
            let at = batch.iter().position(|entry| entry.bytes.len() > limit);
            let at = at.unwrap_or(batch.len());
            let why = batch.get(at).map(|entry| {
                anyhow!("{entry} has more than the {limit} bytes that a record may have, and nothing from there on is appended: cut it into several")
            });
            log.append(&batch[..at]).await.with_context(|| from_on(batch))?;
            (at, why)
        }
        appended => {
            appended.with_context(|| from_on(batch))?;
            (batch.len(), None)
        }
    };
    *n_appended += fine as u64;
    refused.map_or(Ok(()), Err)
}

fn from_on(batch: &[Entry]) -> String {
    batch.first().map_or_else(String::new, |first| format!("from {first} on"))
}

fn read_all(from: &[PathBuf], lines: bool, records: &mpsc::Sender<Entry>) -> anyhow::Result<()> {
    for path in from {
        let reading = || format!("cannot read {}", path.display());
        let source: Box<dyn Read> = match is_dash(path) {
            true => Box::new(io::stdin()),
            false => Box::new(File::open(path).with_context(reading)?),
        };
        match lines {
            true => read_lines(source, path, records).with_context(reading)?,
            false => {
                let mut record = Vec::new();
                source
                    .take(RECORD_BYTES_MAX as u64 + 1)
                    .read_to_end(&mut record)
                    .with_context(reading)?;
                // Who waits for records has ended, and says why.
                let entry = Entry { bytes: record, source: path.clone(), line: None };
                let _ = records.blocking_send(entry);
            }
        }
    }
    Ok(())
}

/// A line that is longer than a record is cut where it is too long: the append refuses it.
fn read_lines(source: impl Read, path: &Path, records: &mpsc::Sender<Entry>) -> io::Result<()> {
    let mut source = BufReader::new(source);
    for number in 1.. {
        let mut line = Vec::new();
        let limit = RECORD_BYTES_MAX as u64 + 2;
        if source.by_ref().take(limit).read_until(b'\n', &mut line)? == 0 {
            return Ok(());
        }
        if line.last() == Some(&b'\n') {
            line.pop();
        }
        let entry = Entry { bytes: line, source: path.to_owned(), line: Some(number) };
        if records.blocking_send(entry).is_err() {
            return Ok(());
        }
    }
    Ok(())
}

/// Writes the first records, each as a line.
pub(super) async fn write_records(
    store: &ChunkStore,
    path: &StorePath,
    limit: u64,
    titles: &mut Titles,
) -> anyhow::Result<Result<(), Enough>> {
    let mut reader = store.read_log(path).await?;
    if titles.write(path.as_str())?.is_err() {
        return Ok(Err(Enough));
    }
    write_rest(&mut reader, limit).await
}

/// Writes the last records, each as a line, below what `title` writes; returns who reads on behind them.
pub(super) async fn last_records(
    store: &ChunkStore,
    path: &StorePath,
    n_records: u64,
    title: impl FnOnce() -> anyhow::Result<Result<(), Enough>>,
) -> anyhow::Result<Result<LogReader, Enough>> {
    let n_records = usize::try_from(n_records).unwrap_or(usize::MAX);
    let (last, reader) = store.last_records(path, n_records).await?;
    if title()?.is_err() {
        return Ok(Err(Enough));
    }
    for record in last {
        if write_line(&record.bytes)?.is_err() {
            return Ok(Err(Enough));
        }
    }
    Ok(Ok(reader))
}

/// Writes the last records, and then what is appended, for ever.
pub(super) async fn follow(
    store: &ChunkStore,
    path: &StorePath,
    n_records: u64,
    pause: Duration,
) -> anyhow::Result<()> {
    let untitled = || Ok(Ok(()));
    let Ok(mut reader) = last_records(store, path, n_records, untitled).await? else {
        return Ok(());
    };
    loop {
        flush()?;
        tokio::time::sleep(pause).await;
        if write_rest(&mut reader, u64::MAX).await?.is_err() {
            return Ok(());
        }
    }
}

async fn write_rest(reader: &mut LogReader, limit: u64) -> anyhow::Result<Result<(), Enough>> {
    for _ in 0..limit {
        let Some(record) = reader.next().await? else { break };
        if write_line(&record.bytes)?.is_err() {
            return Ok(Err(Enough));
        }
    }
    Ok(Ok(()))
}

fn write_line(record: &[u8]) -> anyhow::Result<Result<(), Enough>> {
    match write(record)? {
        Ok(()) => write(b"\n"),
        enough => Ok(enough),
    }
}
