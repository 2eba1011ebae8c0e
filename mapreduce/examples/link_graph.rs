//! A link graph from HTML: of each file, `page<TAB>link link …`, its links to other files, sorted and each once: what
//! `pagerank.yaml` reads. A file is one record (`input_format: whole-file`), since a tag may go over lines; map-only.

use std::collections::BTreeSet;
use std::process::ExitCode;

use mapreduce::{Job, Text, UserError};

/// What stands in `href="…"` or `href='…'` of the tags.
fn links(html: &str) -> impl Iterator<Item = &str> {
    html.split('<').skip(1).filter_map(|tag| {
        let tag = tag.split('>').next()?.trim_start();
        let (_, rest) = tag.strip_prefix(['a', 'A'])?.split_once("href=")?;
        let quote = rest.chars().next().filter(|it| ['"', '\''].contains(it))?;
        rest[1..].split(quote).next()
    })
}

/// The file of the same folder that a link leads to.
fn page(link: &str) -> Option<&str> {
    let link = link.split(['#', '?']).next().unwrap_or_default();
    let link = link.strip_prefix("./").unwrap_or(link);
    let is_elsewhere = link.is_empty() || link.contains([':', '/', ' ']);
    (!is_elsewhere).then_some(link)
}

pub(crate) fn job(_: &[String]) -> Result<Job, UserError> {
    let job = Job::map::<Text, Text>(|file, out| {
        let name = file.path.rsplit('/').next().unwrap_or(file.path);
        let html = String::from_utf8_lossy(file.value);
        let found: BTreeSet<&str> =
            links(&html).filter_map(page).filter(|it| *it != name).collect();
        out.count("links", "FOUND", found.len() as u64);
        out.emit(name, &found.into_iter().collect::<Vec<_>>().join(" "));
        Ok(())
    });
    Ok(job.into())
}

fn main() -> ExitCode {
    mapreduce::main(job)
}
