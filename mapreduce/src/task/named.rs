//! The named outputs of one attempt, made when they are first written to.

use mapreduce_protocol::{Failure, NAMED_OUTPUTS_MAX, is_output_name};

use super::failure::bad_job;
use super::part_output::PartOutput;
use crate::api::{Counters, NamedOutputs, Pair};

/// Makes one by its name.
type Create<'a> = dyn Fn(&str) -> Result<PartOutput, Failure> + 'a;

/// See the module.
pub(crate) struct Named<'a> {
    /// A job has a handful of them: a scan is faster than hashing.
    parts: Vec<(String, PartOutput)>,
    create: Box<Create<'a>>,
    failure: Option<Failure>,
}

impl<'a> Named<'a> {
    /// None yet; `create` makes one by its name.
    pub(crate) fn new(create: impl Fn(&str) -> Result<PartOutput, Failure> + 'a) -> Self {
        Self { parts: Vec::new(), create: Box::new(create), failure: None }
    }

    /// Why the last pair could not be taken, once.
    #[inline]
    pub(crate) fn take_failure(&mut self) -> Option<Failure> {
        self.failure.take()
    }

    /// Closes all; their names.
    pub(crate) fn finish(self, counters: &mut Counters) -> Result<Vec<String>, Failure> {
        let mut names = Vec::with_capacity(self.parts.len());
        for (name, part) in self.parts {
            part.finish("NAMED_OUTPUT_RECORDS", counters)?;
            names.push(name);
        }
        Ok(names)
    }

    fn part(&mut self, name: &str) -> Result<&mut PartOutput, Failure> {
        let known = self.parts.iter().position(|(known, _)| known == name);
        let at = match known {
            Some(at) => at,
            None if !is_output_name(name) => {
                return Err(bad_job(format!(
                    "{name:?} can't be the name of an output: it has 1 to 64 ASCII letters and digits, and is not \"part\""
                )));
            }
            None if self.parts.len() == NAMED_OUTPUTS_MAX => {
                return Err(bad_job(format!(
                    "the named output {name:?} is one more than the {NAMED_OUTPUTS_MAX} that a task may write to"
                )));
            }
            None => {
                self.parts.push((name.to_owned(), (self.create)(name)?));
                self.parts.len() - 1
            }
        };
        Ok(&mut self.parts[at].1)
    }
}

impl NamedOutputs for Named<'_> {
    fn pair(&mut self, name: &str, pair: &dyn Pair) {
        if self.failure.is_some() {
            return;
        }
        let written = self.part(name).map(|part| {
            part.pair(pair);
            part.take_failure()
        });
        self.failure = written.unwrap_or_else(Some);
    }
}
