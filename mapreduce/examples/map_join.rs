//! Map-side join with a small table that fits into memory: each order (`user id<TAB>what`) with its user's name. The table,
//! `users.tsv` (`id<TAB>name`), is a file that the job brings along; nothing is sorted and nothing sent:
//!
//! ```yaml
//! program:
//!   native: {executable: target/release/examples/map_join, files: [users.tsv]}
//! reduces: 0
//! ```

use std::collections::HashMap;
use std::process::ExitCode;

use mapreduce::{Job, Mapper, Output, Record, Text, UserError};

#[derive(Default)]
struct Join {
    names: HashMap<String, String>,
}

impl Mapper for Join {
    type Key = Text;
    type Value = Text;

    fn setup(&mut self, out: &mut Output<'_, Text, Text>) -> Result<(), UserError> {
        let table = std::fs::read_to_string(out.task().file("users.tsv")?)?;
        let users = table.lines().filter_map(|line| line.split_once('\t'));
        self.names = users.map(|(id, name)| (id.to_owned(), name.to_owned())).collect();
        Ok(())
    }

    fn map(&mut self, line: Record<'_>, out: &mut Output<'_, Text, Text>) -> Result<(), UserError> {
        let (user, order) = str::from_utf8(line.value)?.split_once('\t').ok_or("no tab")?;
        match self.names.get(user) {
            Some(name) => out.emit(name, order),
            None => out.count("join", "UNKNOWN_USERS", 1),
        }
        Ok(())
    }
}

pub(crate) fn job(_: &[String]) -> Result<Job, UserError> {
    Ok(Job::new(Join::default).into())
}

fn main() -> ExitCode {
    mapreduce::main(job)
}
