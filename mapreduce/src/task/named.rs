//! The named outputs of one attempt, made when they are first written to.

use mapreduce_protocol::{Failure, NAMED_OUTPUTS_MAX, SKIPPED_OUTPUT, is_output_name};

use super::failure::bad_job;
use super::part_output::PartOutput;
use crate::api::{Counters, NamedOutputs, Pair};

/// Makes one by its name.
type Create<'a> = dyn Fn(&str) -> Result<PartOutput, Failure> + 'a;

/// See the module.
pub(crate) struct Named<'a> {
    /// A job has a handful of them: a scan is faster than hashing.
    parts: Vec<(String, PartOutput)>,
    /// What counts records that were left out.
    skipped_counter: &'static str,
    create: Box<Create<'a>>,
    failure: Option<Failure>,
}

impl<'a> Named<'a> {
    /// None yet; `create` makes one by its name.
    pub(crate) fn new(create: impl Fn(&str) -> Result<PartOutput, Failure> + 'a) -> Self {
        let (parts, skipped_counter) = (Vec::new(), "");
        Self { parts, skipped_counter, create: Box::new(create), failure: None }
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
            let is_skipped = name == SKIPPED_OUTPUT;
            let counter = if is_skipped { self.skipped_counter } else { "NAMED_OUTPUT_RECORDS" };
            part.finish(counter, counters)?;
            names.push(name);
        }
        Ok(names)
    }

    /// The output of records that are left out, which no author's output is called; `counter` counts them.
    pub(crate) fn skipped(&mut self, counter: &'static str) -> Result<&mut PartOutput, Failure> {
        self.skipped_counter = counter;
        let at = self.parts.iter().position(|(known, _)| known == SKIPPED_OUTPUT);
        let at = match at {
            Some(at) => at,
            None => self.add(SKIPPED_OUTPUT)?,
        };
        Ok(&mut self.parts[at].1)
    }

    /// Outputs that the author has named.
    fn n_named(&self) -> usize {
        self.parts.iter().filter(|(name, _)| name != SKIPPED_OUTPUT).count()
    }

    fn add(&mut self, name: &str) -> Result<usize, Failure> {
        self.parts.push((name.to_owned(), (self.create)(name)?));
        Ok(self.parts.len() - 1)
    }

    /// The author's output of that name.
    pub(crate) fn part(&mut self, name: &str) -> Result<&mut PartOutput, Failure> {
        let known = self.parts.iter().position(|(known, _)| known == name);
        let at = match known {
            Some(at) => at,
            None if !is_output_name(name) => {
                return Err(bad_job(format!(
                    "{name:?} can't be the name of an output: it has 1 to 64 ASCII letters and digits, and is not \"part\""
                )));
            }
            None if self.n_named() == NAMED_OUTPUTS_MAX => {
                return Err(bad_job(format!(
                    "the named output {name:?} is one more than the {NAMED_OUTPUTS_MAX} that a task may write to"
                )));
            }
            None => self.add(name)?,
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
