//! `ls`, `stat`, `test`, `du` and `count`.

use std::cmp::Reverse;
use std::io::{self, Write as _};
use std::process::ExitCode;

use anyhow::Context as _;
use object_store::ObjectMeta;
use serde_json::{Value, json};

use super::super::list::{LsArgs, Wanted, print_statuses};
use super::super::place::UrlPattern;
use super::super::{Format, shown};
use super::{Meant, Standing, expand};
use crate::failures::Failures;
use crate::say::{quiet_if_closed, tell};
use crate::session::Session;

/// One line of a listing.
struct Entry {
    /// None of a folder, which is there by the objects below it.
    object: Option<ObjectMeta>,
    url: String,
}

pub(in super::super) async fn ls(
    session: &Session,
    patterns: &[UrlPattern],
    args: &LsArgs,
    format: Format,
) -> anyhow::Result<()> {
    let (mut entries, mut failures) = (Vec::new(), Failures::default());
    for meant in expand(session, patterns, &mut failures).await? {
        entries.extend(failures.take(entries_at(&meant, args).await)?.into_iter().flatten());
    }
    if args.by_time {
        entries.sort_by_key(|entry| Reverse(entry.object.as_ref().map(|o| o.last_modified)));
    } else if args.by_size {
        entries.sort_by_key(|entry| Reverse(entry.object.as_ref().map(|o| o.size)));
    }
    if args.reverse {
        entries.reverse();
    }
    if format.is_document() {
        let entries: Vec<_> = entries.iter().map(Entry::json).collect();
        format.print(&json!({"entries": entries}))?;
        return failures.end();
    }
    let rows: Vec<_> = entries.iter().map(|entry| entry.row(args.human_readable)).collect();
    told(&shown::table(&rows, [false, true, false, false]))?;
    failures.end()
}

async fn entries_at(meant: &Meant, args: &LsArgs) -> anyhow::Result<Vec<Entry>> {
    let object = |meta: ObjectMeta| Entry { url: meant.shown(&meta.location), object: Some(meta) };
    let folder = |path| Entry { url: meant.shown(path), object: None };
    if !args.recursive && !args.directory {
        if !meant.url.is_folder()
            && let Some(meta) = meant.head().await?
        {
            return Ok(vec![object(meta)]);
        }
        // One level: the store need not tell of all that is below.
        let listed = meant.store.objects().list_with_delimiter(Some(meant.url.path())).await;
        let listed = listed.with_context(|| format!("cannot list {}", meant.url))?;
        let is_bucket = meant.url.path().as_ref().is_empty();
        if listed.objects.is_empty() && listed.common_prefixes.is_empty() && !is_bucket {
            meant.standing().await?;
        }
        let mut entries: Vec<_> = listed.common_prefixes.iter().map(folder).collect();
        entries.extend(listed.objects.into_iter().map(object));
        entries.sort_by(|a, b| a.url.cmp(&b.url));
        return Ok(entries);
    }
    Ok(match meant.standing().await? {
        Standing::Object(meta) => vec![object(meta)],
        Standing::Folder(_) if args.directory => vec![folder(meant.url.path())],
        Standing::Folder(below) => below.into_iter().map(object).collect(),
    })
}

impl Entry {
    /// Kind, bytes, time of change, URL.
    fn row(&self, human: bool) -> [String; 4] {
        let Some(object) = &self.object else {
            return ["d".to_owned(), "-".to_owned(), "-".to_owned(), self.url.clone()];
        };
        let modified = object.last_modified.format("%Y-%m-%dT%H:%M:%SZ").to_string();
        ["-".to_owned(), shown::size(object.size, human), modified, self.url.clone()]
    }

    fn json(&self) -> Value {
        match &self.object {
            None => json!({"kind": "folder", "url": self.url}),
            Some(object) => json!({
                "kind": "object", "url": self.url, "length": object.size,
                "modified": object.last_modified.timestamp_millis(), "e_tag": object.e_tag,
            }),
        }
    }
}

pub(in super::super) async fn stat(
    session: &Session,
    patterns: &[UrlPattern],
    format: Format,
) -> anyhow::Result<()> {
    let (mut found, mut failures) = (Vec::new(), Failures::default());
    for meant in expand(session, patterns, &mut failures).await? {
        let (object, below) = match failures.take(meant.standing().await)? {
            Some(Standing::Object(meta)) => (Some(meta), None),
            Some(Standing::Folder(below)) => (None, Some(below)),
            None => continue,
        };
        found.push((Entry { object, url: meant.shown(meant.url.path()) }, below));
    }
    if format.is_document() {
        let found: Vec<_> = found.iter().map(|(entry, _)| entry.json()).collect();
        print_statuses(&found, patterns.len(), format)?;
        return failures.end();
    }
    for (index, (entry, below)) in found.into_iter().enumerate() {
        if index > 0 {
            tell!();
        }
        tell!("url          {}", entry.url);
        if let Some(below) = below {
            tell!("kind         folder");
            tell!("objects      {}", below.len());
        }
        if let Some(object) = entry.object {
            tell!("kind         object");
            tell!("modified     {}", object.last_modified.format("%Y-%m-%dT%H:%M:%SZ"));
            tell!("length       {}", object.size);
            tell!("e_tag        {}", object.e_tag.as_deref().unwrap_or("-"));
        }
    }
    failures.end()
}

/// Says nothing: the exit code is the answer, 0 or 1.
pub(in super::super) async fn test(
    session: &Session,
    pattern: &UrlPattern,
    wanted: &Wanted,
) -> anyhow::Result<ExitCode> {
    let stores = super::stores(session, std::slice::from_ref(pattern))?;
    let meant = Meant { store: stores.open(&pattern.url)?, url: pattern.url.clone() };
    let is_so = match meant.look().await? {
        None => false,
        Some(Standing::Folder(_)) => wanted.exists || wanted.directory || wanted.filled,
        Some(Standing::Object(meta)) => {
            let by_length = if meta.size == 0 { wanted.zero } else { wanted.filled };
            wanted.exists || wanted.file || by_length
        }
    };
    Ok(if is_so { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Objects and bytes at each place: of an object itself, of a folder all below.
async fn sums(
    session: &Session,
    patterns: &[UrlPattern],
    failures: &mut Failures,
) -> anyhow::Result<Vec<(usize, u64, String)>> {
    let mut sums = Vec::new();
    for meant in expand(session, patterns, failures).await? {
        let objects = match failures.take(meant.standing().await)? {
            Some(Standing::Object(meta)) => vec![meta],
            Some(Standing::Folder(below)) => below,
            None => continue,
        };
        let bytes = objects.iter().map(|meta| meta.size).sum();
        sums.push((objects.len(), bytes, meant.shown(meant.url.path())));
    }
    Ok(sums)
}

fn print_sums(sums: &[(usize, u64, String)], format: Format) -> anyhow::Result<()> {
    let sums = sums
        .iter()
        .map(|(objects, bytes, url)| json!({"url": url, "objects": objects, "bytes": bytes}));
    format.print(&json!({"usage": sums.collect::<Vec<_>>()}))
}

pub(in super::super) async fn du(
    session: &Session,
    patterns: &[UrlPattern],
    human: bool,
    format: Format,
) -> anyhow::Result<()> {
    let mut failures = Failures::default();
    let sums = sums(session, patterns, &mut failures).await?;
    if format.is_document() {
        print_sums(&sums, format)?;
        return failures.end();
    }
    let rows = sums.into_iter().map(|(_, bytes, url)| [shown::size(bytes, human), url]);
    told(&shown::table(&rows.collect::<Vec<_>>(), [true, false]))?;
    failures.end()
}

pub(in super::super) async fn count(
    session: &Session,
    patterns: &[UrlPattern],
    human: bool,
    format: Format,
) -> anyhow::Result<()> {
    let mut failures = Failures::default();
    let sums = sums(session, patterns, &mut failures).await?;
    if format.is_document() {
        print_sums(&sums, format)?;
        return failures.end();
    }
    let rows = sums
        .into_iter()
        .map(|(objects, bytes, url)| [objects.to_string(), shown::size(bytes, human), url]);
    told(&shown::table(&rows.collect::<Vec<_>>(), [true, true, false]))?;
    failures.end()
}

fn told(text: &str) -> anyhow::Result<()> {
    quiet_if_closed(io::stdout().lock().write_all(text.as_bytes()))
}
