//! What failed of all that one command was told. As with the commands of a shell each failure is said as it comes, the rest
//! is done, and the exit code tells of it. What all the rest would meet too ends the command: nobody answers or lets it in,
//! or nothing can be written where its output goes. `fs` and `copy` call this.

use std::io::{self, Write as _};

use chunkstore_client::StoreError;
use net::CallError;

use crate::exit::{SaidAlready, code_of, say_error};
use crate::prompt_words::at_the_prompt;
use crate::say::Unwritable;

/// Whether something has failed.
#[derive(Debug, Default)]
pub(crate) struct Failures {
    any: bool,
}

impl Failures {
    /// What was done; `None`: it failed alone, and that was said.
    ///
    /// # Errors
    /// What all the rest would meet too.
    pub(crate) fn take<T>(&mut self, done: anyhow::Result<T>) -> anyhow::Result<Option<T>> {
        match done {
            Ok(done) => Ok(Some(done)),
            Err(error) if concerns_all(&error) => Err(error),
            Err(error) => {
                // What was written before stands before it on a terminal.
                let _unwritable = io::stdout().flush();
                say_error(&at_the_prompt(error));
                self.any = true;
                Ok(None)
            }
        }
    }

    /// The end of the command.
    ///
    /// # Errors
    /// [`SaidAlready`], if something has failed.
    pub(crate) fn end(self) -> anyhow::Result<()> {
        match self.any {
            true => Err(SaidAlready.into()),
            false => Ok(()),
        }
    }
}

fn concerns_all(error: &anyhow::Error) -> bool {
    /// Whoever is refused, and no matter what for.
    fn is_of_the_cluster(status: u16) -> bool {
        status == 401 || status >= 500
    }
    let of_all = |cause: &(dyn std::error::Error + 'static)| {
        let by_store = cause.downcast_ref().and_then(StoreError::problem);
        let by_call = cause.downcast_ref().and_then(CallError::problem);
        let problem = by_store.or(by_call);
        problem.is_some_and(|problem| is_of_the_cluster(problem.status)) || cause.is::<Unwritable>()
    };
    code_of(error) != 1 || error.chain().any(of_all)
}

#[cfg(test)]
mod tests {
    use anyhow::{Context as _, anyhow};
    use net::Problem;

    use super::*;

    #[test]
    fn one_path_that_is_missing_does_not_end_a_command_and_a_cluster_that_is_away_does() {
        let problem = |status| CallError::Problem {
            address: "127.0.0.1:1".to_owned(),
            problem: Problem::new(status, "some-kind", "some reason"),
        };
        let away = CallError::TimedOut { address: "127.0.0.1:1".to_owned() };
        let full = Unwritable(io::Error::from(io::ErrorKind::StorageFull));
        for (error, ends) in [
            (anyhow!("nothing matches /a*"), false),
            (problem(404).into(), false),
            (problem(403).into(), false),
            (problem(401).into(), true),
            (problem(503).into(), true),
            (away.into(), true),
            (full.into(), true),
            (crate::exit::early(anyhow!("bad")), true),
        ] {
            let said = format!("{error:#}");
            let mut failures = Failures::default();
            let failed: anyhow::Result<()> = Err(error).context("cannot read /a");
            assert_eq!(failures.take(failed).is_err(), ends, "{said}");
            assert_eq!(failures.end().is_err(), !ends, "{said}");
        }
        let mut failures = Failures::default();
        assert_eq!(failures.take(Ok(7)).unwrap(), Some(7));
        assert!(failures.end().is_ok());
    }
}
