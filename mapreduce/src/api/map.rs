//! The map side of a job: [`Mapper`], the [`Record`] it is given and the [`Output`] it writes to.

use super::{Counter, Counters, Datum, Key, NamedOutputs, TaskContext, UserError};

/// One record of the input.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// Where its first byte stands: in the file; in what a compressed file holds; or, of a line of a bzip2 or zstd file, 2^22
    /// times the byte at which the block or frame begins that holds it, and the bytes of that before it. Each record of a file
    /// has another one, they go up, the first is 0, and they are the same wherever the file is split.
    pub offset: u64,
    /// Its key, where the job's `input_format` is `key-value`.
    pub key: Option<&'a [u8]>,
    /// The record without its key: by default a line, without the LF that ends it; of a CRLF, the CR is part of the
    /// line.
    pub value: &'a [u8],
    /// The file.
    pub path: &'a str,
}

/// The author's map function (Hadoop: `Mapper`). One is made for each attempt, and lives on one thread.
pub trait Mapper {
    /// Keys that it emits.
    type Key: Key;
    /// Values that it emits.
    type Value: Datum;

    /// Called before the first record.
    ///
    /// # Errors
    /// Any error ends the attempt.
    fn setup(&mut self, out: &mut Output<'_, Self::Key, Self::Value>) -> Result<(), UserError> {
        let _ = out;
        Ok(())
    }

    /// Called for each record.
    ///
    /// # Errors
    /// Any error ends the attempt.
    fn map(
        &mut self,
        record: Record<'_>,
        out: &mut Output<'_, Self::Key, Self::Value>,
    ) -> Result<(), UserError>;

    /// Whether [`Mapper::look_ahead`] is worth a call.
    fn looks_ahead(&self) -> bool {
        false
    }

    /// Finds the next line of interest among many, for mappers that make nothing of most: a search through a block of text
    /// is far quicker than a call for each of its lines. `lines` are whole ones, each with the LF that ends it, in the order
    /// of the input. Returns the place of any byte of the first line that is to be mapped, or `lines.len()` if none is:
    /// those before it count as records, and [`Mapper::map`] is not called for them.
    ///
    /// Only a hint: some lines, and all records of other inputs than text, are given to [`Mapper::map`] without a question.
    fn look_ahead(&mut self, lines: &[u8]) -> usize {
        let _ = lines;
        0
    }

    /// Called after the last record.
    ///
    /// # Errors
    /// Any error ends the attempt.
    fn finish(&mut self, out: &mut Output<'_, Self::Key, Self::Value>) -> Result<(), UserError> {
        let _ = out;
        Ok(())
    }
}

/// Where pairs go: the sort buffer, the oracle's list or the job's output.
pub(crate) trait Sink<K: Datum, V: Datum> {
    /// Takes a pair. A sink that fails keeps its error and takes nothing more: whoever drives it asks
    /// after each call of the author's code.
    fn emit(&mut self, key: K::Ref<'_>, value: V::Ref<'_>);
}

/// Where mappers and reducers write to (Hadoop: `Context`).
pub struct Output<'a, K: Datum, V: Datum> {
    sink: &'a mut dyn Sink<K, V>,
    counters: &'a mut Counters,
    named: &'a mut dyn NamedOutputs,
    task: &'a TaskContext,
}

impl<'a, K: Datum, V: Datum> Output<'a, K, V> {
    pub(crate) fn new(
        sink: &'a mut dyn Sink<K, V>,
        counters: &'a mut Counters,
        named: &'a mut dyn NamedOutputs,
        task: &'a TaskContext,
    ) -> Self {
        Self { sink, counters, named, task }
    }

    pub(crate) fn named_outputs(&mut self) -> &mut dyn NamedOutputs {
        self.named
    }

    /// Writes a pair. If it can't be kept (a full disk), the attempt ends after this call of the
    /// author's code.
    #[inline]
    pub fn emit(&mut self, key: K::Ref<'_>, value: V::Ref<'_>) {
        self.sink.emit(key, value);
    }

    /// Adds `n` to the job's counter `name` of `group`.
    pub fn count(&mut self, group: &str, name: &str, n: u64) {
        self.counters.add(group, name, n);
    }

    /// Adds `n` to a counter that has a type: `out.add(Lines::Empty, 1)`.
    #[allow(clippy::needless_pass_by_value)] // Variants are written where they are counted.
    pub fn add(&mut self, counter: impl Counter, n: u64) {
        self.counters.add(counter.group(), counter.name(), n);
    }

    /// Which task this is, and what it finds here.
    #[must_use]
    pub fn task(&self) -> &'a TaskContext {
        self.task
    }
}
