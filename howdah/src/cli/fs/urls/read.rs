//! `cat`, `head` and `tail`: bytes of objects on standard output.

use std::io::Write as _;

use anyhow::Context as _;
use futures_util::TryStreamExt as _;
use object_store::{GetOptions, GetRange, ObjectMeta};

use super::super::place::UrlPattern;
use super::super::read::{Enough, PartArgs, Titles, write_lines};
use super::{Meant, expand};
use crate::failures::Failures;
use crate::say::quiet_if_closed;
use crate::session::Session;

/// Bytes of one step back in search of the beginning of the last lines.
const STEP_BACK: u64 = 1 << 18;

pub(in super::super) async fn cat(
    session: &Session,
    patterns: &[UrlPattern],
) -> anyhow::Result<()> {
    let mut failures = Failures::default();
    for meant in expand(session, patterns, &mut failures).await? {
        if let Some(Err(Enough)) = failures.take(write_object(&meant).await)? {
            return Ok(());
        }
    }
    flush()?;
    failures.end()
}

async fn write_object(meant: &Meant) -> anyhow::Result<Result<(), Enough>> {
    let meta = meant.object().await?;
    write_range(meant, &meta, 0, meta.size, u64::MAX).await
}

fn flush() -> anyhow::Result<()> {
    quiet_if_closed(std::io::stdout().lock().flush())
}

/// Writes a range of the object that `meta` tells, up to the end of so many lines.
async fn write_range(
    meant: &Meant,
    meta: &ObjectMeta,
    offset: u64,
    end: u64,
    lines: u64,
) -> anyhow::Result<Result<(), Enough>> {
    if offset >= end {
        return Ok(Ok(()));
    }
    let reading = || format!("cannot read {}", meant.url);
    let options = GetOptions {
        range: Some(GetRange::Bounded(offset..end)),
        if_match: meta.e_tag.clone(),
        ..GetOptions::default()
    };
    let got = meant.store.objects().get_opts(&meta.location, options).await;
    let mut pieces = got.with_context(reading)?.into_stream();
    let mut left = lines;
    while left > 0 {
        let Some(piece) = pieces.try_next().await.with_context(reading)? else { break };
        if write_lines(&piece, &mut left)?.is_err() {
            return Ok(Err(Enough));
        }
    }
    Ok(Ok(()))
}

pub(in super::super) async fn head(
    session: &Session,
    patterns: &[UrlPattern],
    part: &PartArgs,
) -> anyhow::Result<()> {
    let mut failures = Failures::default();
    let all = expand(session, patterns, &mut failures).await?;
    let mut titles = Titles::new(all.len().max(patterns.len()));
    for meant in &all {
        let written = write_head(meant, part, &mut titles).await;
        if let Some(Err(Enough)) = failures.take(written)? {
            return Ok(());
        }
    }
    flush()?;
    failures.end()
}

async fn write_head(
    meant: &Meant,
    part: &PartArgs,
    titles: &mut Titles,
) -> anyhow::Result<Result<(), Enough>> {
    let meta = meant.object().await?;
    let (end, lines) = match part.bytes {
        Some(bytes) => (bytes.min(meta.size), u64::MAX),
        None => (meta.size, part.lines()),
    };
    match titles.write(&meant.url.to_string())? {
        Ok(()) => write_range(meant, &meta, 0, end, lines).await,
        enough => Ok(enough),
    }
}

pub(in super::super) async fn tail(
    session: &Session,
    patterns: &[UrlPattern],
    part: &PartArgs,
) -> anyhow::Result<()> {
    let mut failures = Failures::default();
    let all = expand(session, patterns, &mut failures).await?;
    let mut titles = Titles::new(all.len().max(patterns.len()));
    for meant in &all {
        let written = write_tail(meant, part, &mut titles).await;
        if let Some(Err(Enough)) = failures.take(written)? {
            return Ok(());
        }
    }
    flush()?;
    failures.end()
}

async fn write_tail(
    meant: &Meant,
    part: &PartArgs,
    titles: &mut Titles,
) -> anyhow::Result<Result<(), Enough>> {
    let meta = meant.object().await?;
    let begin = match part.bytes {
        Some(bytes) => meta.size.saturating_sub(bytes),
        None => start_of_last_lines(meant, &meta, part.lines()).await?,
    };
    match titles.write(&meant.url.to_string())? {
        Ok(()) => write_range(meant, &meta, begin, meta.size, u64::MAX).await,
        enough => Ok(enough),
    }
}

/// Where the last lines begin. An object that does not end with a newline ends with a line all the same.
async fn start_of_last_lines(meant: &Meant, meta: &ObjectMeta, lines: u64) -> anyhow::Result<u64> {
    let (mut end, mut left) = (meta.size, lines);
    while end > 0 && left > 0 {
        let begin = end.saturating_sub(STEP_BACK);
        let options = GetOptions {
            range: Some(GetRange::Bounded(begin..end)),
            if_match: meta.e_tag.clone(),
            ..GetOptions::default()
        };
        let got = meant.store.objects().get_opts(&meta.location, options).await;
        let bytes = async { got?.bytes().await }.await;
        let bytes = bytes.with_context(|| format!("cannot read {}", meant.url))?;
        for (at, _) in bytes.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n') {
            let behind = begin + at as u64 + 1;
            // The newline at the end ends no line before the last.
            if behind < meta.size {
                left -= 1;
            }
            if left == 0 {
                return Ok(behind);
            }
        }
        end = begin;
    }
    Ok(if lines == 0 { meta.size } else { 0 })
}
