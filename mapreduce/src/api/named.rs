//! Outputs of a job beside its main one (Hadoop: `MultipleOutputs`).

use std::marker::PhantomData;

use super::visit::{Pair, TypedPair};
use super::{Datum, Output};

/// Where pairs of named outputs go.
pub(crate) trait NamedOutputs {
    /// Takes a pair. One that fails keeps its error and takes nothing more: whoever drives the author's code asks after
    /// each call.
    fn pair(&mut self, name: &str, pair: &dyn Pair);
}

/// One of a job's named outputs; from [`Output::named`].
pub struct NamedOutput<'o, K, V> {
    name: &'o str,
    outputs: &'o mut dyn NamedOutputs,
    pair: PhantomData<fn() -> (K, V)>,
}

impl<K: Datum, V: Datum> NamedOutput<'_, K, V> {
    /// Writes a pair there.
    pub fn emit(&mut self, key: K::Ref<'_>, value: V::Ref<'_>) {
        self.outputs.pair(self.name, &TypedPair::<K, V> { key, value });
    }
}

impl<K: Datum, V: Datum> Output<'_, K, V> {
    /// The output `name`, of pairs of any types, from maps and reduces alike: a file `NAME-m-00003` or `NAME-r-00003` beside the
    /// job's parts, for each task that writes there, in the job's format and compression. It appears with them, from the
    /// attempt that has won, or not at all. A name has 1 to 64 ASCII letters and digits, and is not `part`; a task
    /// writes to 32 of them at most. Anything else ends the attempt after this call of the author's code.
    ///
    /// ```
    /// use mapreduce::{Job, Text};
    ///
    /// let job = Job::map::<Text, u64>(|line, out| {
    ///     let text = str::from_utf8(line.value)?;
    ///     match text.split_once('\t').map(|(name, n)| (name, n.parse())) {
    ///         Some((name, Ok(n))) => out.emit(name, n),
    ///         _ => out.named::<u64, Text>("malformed").emit(line.offset, text),
    ///     }
    ///     Ok(())
    /// });
    /// let _: Job = job.into();
    /// ```
    pub fn named<'o, L: Datum, W: Datum>(&'o mut self, name: &'o str) -> NamedOutput<'o, L, W> {
        NamedOutput { name, outputs: self.named_outputs(), pair: PhantomData }
    }
}
