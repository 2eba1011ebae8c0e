//! Asking the author's partitioner, and not trusting its answer.

use mapreduce_protocol::Failure;

use super::failure;
use crate::api::{GroupFields, Key, Partitioner, UserError};

/// A partitioner and the number that it divides by.
pub(crate) struct Partitions<'p, P> {
    partitioner: &'p P,
    n: u32,
    fields: Option<GroupFields>,
}

impl<'p, P> Partitions<'p, P> {
    /// `n` partitions.
    pub(crate) fn new(partitioner: &'p P, n: u32) -> Self {
        Self { partitioner, n, fields: None }
    }

    /// By these fields of the key alone; `None`: by all of it.
    pub(crate) fn by(self, fields: Option<GroupFields>) -> Self {
        Self { fields, ..self }
    }

    /// The partition of a key.
    #[inline]
    pub(crate) fn of<K: Key>(&self, key: K::Ref<'_>, encoded: &[u8]) -> Result<u32, Failure>
    where
        P: Partitioner<K>,
    {
        // With one reduce there is nothing to ask.
        if self.n == 1 {
            return Ok(0);
        }
        let encoded = match self.fields {
            Some(fields) => fields.part_of(encoded).map_err(|e| failure::undecodable(e, "key"))?,
            None => encoded,
        };
        let partition = self.partitioner.partition(key, encoded, self.n);
        if partition < self.n { Ok(partition) } else { Err(refuse(partition, self.n)) }
    }
}

#[cold]
fn refuse(partition: u32, n: u32) -> Failure {
    let error = UserError::from(format!("it chose partition {partition} of {n} (from 0)"));
    failure::user_code(&error, "partitioner")
}
