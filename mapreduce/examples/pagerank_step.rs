//! One step of PageRank: of lines `page<TAB>rank<TAB>page page …` the same lines with new ranks, to be the next
//! step's input; `args: [PAGES]` is their number. A page sends its rank along its links, and the links to itself.

use std::process::ExitCode;

use mapreduce::{Datum, Job, Text, UserError};

/// The chance that somebody follows a link.
const DAMPING: f64 = 0.85;

/// What a page gets: a share of another one's rank, or its own links.
#[derive(Clone, Copy, Datum)]
struct Message<'a> {
    rank: f64,
    links: Option<&'a str>,
}

pub(crate) fn job(arguments: &[String]) -> Result<Job, UserError> {
    let pages: f64 = arguments.first().ok_or("give the number of pages as args")?.parse()?;
    let job = Job::map::<Text, Message<'_>>(|line, out| {
        let mut fields = str::from_utf8(line.value)?.split('\t');
        let (Some(page), Some(rank)) = (fields.next(), fields.next()) else {
            return Err("a line is not page, rank and links".into());
        };
        let links = fields.next().unwrap_or_default();
        out.emit(page, Message { rank: 0.0, links: Some(links) });
        let share = rank.parse::<f64>()? / links.split_whitespace().count().max(1) as f64;
        for link in links.split_whitespace() {
            out.emit(link, Message { rank: share, links: None });
        }
        Ok(())
    })
    .combine(|earlier, later, one| {
        let links = earlier.links.or(later.links);
        one.set(Message { rank: earlier.rank + later.rank, links });
    })
    .reduce::<Text, (f64, Text)>(move |page, messages, out| {
        let (mut rank, mut links) = (0.0, String::new());
        while let Some(message) = messages.next() {
            rank += message.rank;
            links.push_str(message.links.unwrap_or_default());
        }
        out.emit(page, ((1.0 - DAMPING) / pages + DAMPING * rank, &links));
        Ok(())
    });
    Ok(job.into())
}

fn main() -> ExitCode {
    mapreduce::main(job)
}
