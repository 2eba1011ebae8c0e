//! PageRank to convergence, with the rank of pages that have no links: three jobs, which `pagerank.yaml` puts together.
//!
//! - `args: [pages]`: of lines `page<TAB>link link …` one for each page, also of those that are only linked to.
//! - `args: [spread, PAGES]`: each page sends its rank along its links, and its links to itself, as pages before the first
//!   round have the same rank each. What has no link to go along is counted: only when all maps are done is it known.
//! - `args: [add, PAGES, LOST]`: that, which comes from a counter of the job before, is shared by all pages; counted are
//!   the pages whose rank still moves. Map-only: nothing needs to be sorted.

use std::process::ExitCode;

use mapreduce::{Datum, Job, Text, UserError};

/// The chance that somebody follows a link.
const DAMPING: f64 = 0.85;
/// A rank that changes by less stands still.
const STILL: f64 = 1e-10;
/// Counters are whole numbers: units of rank.
const UNITS: f64 = 1e15;

/// What a page gets: a share of another one's rank, or its own old rank and links.
#[derive(Clone, Copy, Datum)]
struct Message<'a> {
    rank: f64,
    own: Option<Own<'a>>,
}

#[derive(Clone, Copy, Datum)]
struct Own<'a> {
    rank: f64,
    links: &'a str,
}

fn pages() -> Job {
    Job::map::<Text, Text>(|line, out| {
        let text = str::from_utf8(line.value)?;
        let (page, links) = text.split_once('\t').unwrap_or((text, ""));
        out.emit(page, links);
        links.split_whitespace().for_each(|link| out.emit(link, ""));
        Ok(())
    })
    .reduce::<Text, Text>(|page, links, out| {
        let mut all = String::new();
        while let Some(links) = links.next() {
            all.push_str(links);
        }
        out.count("pagerank", "PAGES", 1);
        out.emit(page, &all);
        Ok(())
    })
    .into()
}

fn spread(pages: f64) -> Job {
    Job::map::<Text, Message<'_>>(move |line, out| {
        let mut fields = str::from_utf8(line.value)?.split('\t');
        let (page, links) = (fields.next().unwrap_or_default(), fields.next().unwrap_or_default());
        let rank = fields.next().map_or(Ok(1.0 / pages), str::parse)?;
        out.emit(page, Message { rank: 0.0, own: Some(Own { rank, links }) });
        let n_links = links.split_whitespace().count();
        if n_links == 0 {
            out.count("pagerank", "LOST", (rank * UNITS) as u64);
        }
        for link in links.split_whitespace() {
            out.emit(link, Message { rank: rank / n_links as f64, own: None });
        }
        Ok(())
    })
    .combine(|earlier, later, one| {
        one.set(Message { rank: earlier.rank + later.rank, own: earlier.own.or(later.own) });
    })
    .reduce::<Text, (Text, f64, f64)>(|page, messages, out| {
        let (mut rank, mut old, mut links) = (0.0, 0.0, String::new());
        while let Some(message) = messages.next() {
            rank += message.rank;
            if let Some(own) = message.own {
                old = own.rank;
                links.push_str(own.links);
            }
        }
        out.emit(page, (&links, rank, old));
        Ok(())
    })
    .into()
}

fn add(pages: f64, lost: f64) -> Job {
    let everywhere = (1.0 - DAMPING) / pages + DAMPING * (lost / UNITS) / pages;
    Job::map::<Text, (Text, f64)>(move |line, out| {
        let fields: Vec<&str> = str::from_utf8(line.value)?.split('\t').collect();
        let [page, links, got, old] = fields[..] else {
            return Err("a line is not page, links, what it got and its old rank".into());
        };
        let rank = everywhere + DAMPING * got.parse::<f64>()?;
        let has_moved = (rank - old.parse::<f64>()?).abs() > STILL;
        out.count("pagerank", "MOVED", u64::from(has_moved));
        out.emit(page, (links, rank));
        Ok(())
    })
    .into()
}

pub(crate) fn job(arguments: &[String]) -> Result<Job, UserError> {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["pages"] => Ok(pages()),
        ["spread", n] => Ok(spread(n.parse()?)),
        ["add", n, lost] => Ok(add(n.parse()?, lost.parse()?)),
        _ => Err("give [pages], [spread, PAGES] or [add, PAGES, LOST] as args".into()),
    }
}

fn main() -> ExitCode {
    mapreduce::main(job)
}
