//! Reduce-side join of two inputs that are both large: `users` (`id<TAB>name`) and `orders` (`user id<TAB>what`), with a
//! mapper each. Both emit the user's id, and which input it is; that is sorted by and not grouped by. So the
//! reducer gets the user first, then the orders one by one, however many there are.

use std::process::ExitCode;

use mapreduce::{Job, Key, Text, UserError};

#[derive(Clone, Copy, PartialEq, Key)]
enum From {
    Users,
    Orders,
}

pub(crate) fn job(_: &[String]) -> Result<Job, UserError> {
    let job = Job::map_input::<(Text, From), Text>("users", |line, out| {
        let (id, name) = str::from_utf8(line.value)?.split_once('\t').ok_or("no tab")?;
        out.emit((id, From::Users), name);
        Ok(())
    })
    .map_input("orders", |line, out| {
        let (user, order) = str::from_utf8(line.value)?.split_once('\t').ok_or("no tab")?;
        out.emit((user, From::Orders), order);
        Ok(())
    })
    .group_by::<1>()
    .reduce::<Text, Text>(|(_, first), values, out| {
        if first != From::Users {
            out.count("join", "UNKNOWN_USERS", 1);
            return Ok(());
        }
        let name = values.next().unwrap_or_default().to_owned();
        while let Some(order) = values.next() {
            out.emit(&name, order);
        }
        Ok(())
    });
    Ok(job.into())
}

fn main() -> ExitCode {
    mapreduce::main(job)
}
