//! Named outputs: of lines `user<TAB>amount`, the sum of each user; what is no such line goes to `malformed`, with its place,
//! and users who owe something to `debtors`, all in one pass.

use std::process::ExitCode;

use mapreduce::{Job, Text, UserError};

pub(crate) fn job(_: &[String]) -> Result<Job, UserError> {
    let job = Job::map::<Text, i64>(|line, out| {
        let amount = str::from_utf8(line.value).ok().and_then(|text| {
            let (user, amount) = text.split_once('\t')?;
            Some((user, amount.parse::<i64>().ok()?))
        });
        match amount {
            Some((user, amount)) => out.emit(user, amount),
            None => {
                let text = String::from_utf8_lossy(line.value);
                out.named::<(Text, u64), Text>("malformed").emit((line.path, line.offset), &text);
            }
        }
        Ok(())
    })
    .combine(|earlier, later, one| one.set(earlier + later))
    .reduce::<Text, i64>(|user, amounts, out| {
        let sum: i64 = amounts.sum();
        if sum < 0 {
            out.named::<Text, i64>("debtors").emit(user, -sum);
        }
        out.emit(user, sum);
        Ok(())
    });
    Ok(job.into())
}

fn main() -> ExitCode {
    mapreduce::main(job)
}
