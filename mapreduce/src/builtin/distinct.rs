//! Each line, or combination of fields, once.

use super::BuiltinError;
use super::arguments::Arguments;
use crate::{Bytes, Job};

/// In the order of their bytes within a part.
pub(super) fn job(arguments: Arguments<'_>) -> Result<Job, BuiltinError> {
    let lines = arguments.lines()?;
    let fields = match arguments.text("fields") {
        None => Vec::new(),
        Some(text) => {
            let number = |n: &str| n.trim().parse::<usize>().ok()?.checked_sub(1);
            let numbers = text.split(',').map(number).collect::<Option<Vec<_>>>();
            let wanted = "numbers of fields from 1 with commas between them, as in 3,1";
            numbers.ok_or_else(|| arguments.wrong("fields", wanted))?
        }
    };
    let job = Job::map::<Bytes, ()>(move |record, out| {
        if fields.is_empty() {
            out.emit(record.value, ());
            return Ok(());
        }
        let chosen = fields.iter().map(|n| lines.field(record, *n));
        let chosen = chosen.collect::<Result<Vec<_>, _>>();
        if let Some(chosen) = lines.unless_bad(chosen, record, out)? {
            out.emit(&chosen.join(&lines.separator[..]), ());
        }
        Ok(())
    })
    .combine(|(), (), one| one.set(()))
    .reduce::<Bytes, ()>(|line, _, out| {
        out.emit(line, ());
        Ok(())
    });
    Ok(job.into())
}
