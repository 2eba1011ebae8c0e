//! The job's output as text: `key<TAB>value` lines (Hadoop: `TextOutputFormat`).

use std::marker::PhantomData;

use bytes::Bytes;
use mapreduce_protocol::Failure;
use xxhash_rust::xxh3::Xxh3;

use super::run_writer::hex;
use super::storage::OutputFile;
use crate::api::{Counters, Datum, Sink};

/// Bytes gathered before they go to the file.
const WRITE_BYTES: usize = 128 << 10;

/// One part of the job's output under way.
pub(crate) struct TextOutput {
    file: Box<dyn OutputFile>,
    buffer: Vec<u8>,
    digest: Xxh3,
    bytes: u64,
    records: u64,
    failure: Option<Failure>,
}

impl TextOutput {
    /// Writes to `file`.
    pub(crate) fn new(file: Box<dyn OutputFile>) -> Self {
        let buffer = Vec::with_capacity(WRITE_BYTES + 4096);
        Self { file, buffer, digest: Xxh3::new(), bytes: 0, records: 0, failure: None }
    }

    /// The typed end of this output.
    pub(crate) fn sink<K: Datum, V: Datum>(&mut self) -> TextSink<'_, K, V> {
        TextSink { output: self, pair: PhantomData }
    }

    /// Why the last write failed, once.
    #[inline]
    pub(crate) fn take_failure(&mut self) -> Option<Failure> {
        self.failure.take()
    }

    /// Closes the file; returns the digest of its bytes. `counter` names what its lines are.
    pub(crate) fn finish(
        mut self,
        counter: &str,
        counters: &mut Counters,
    ) -> Result<String, Failure> {
        self.flush()?;
        self.file.close()?;
        counters.add_own(counter, self.records);
        counters.add_own("OUTPUT_BYTES", self.bytes);
        Ok(hex(&self.digest))
    }

    /// Appends `n` lines as they are. They may be cut: then the next ones go on where these end.
    pub(crate) fn lines(&mut self, bytes: &[u8], n: u64) -> Result<(), Failure> {
        self.buffer.extend_from_slice(bytes);
        self.records += n;
        if self.buffer.len() >= WRITE_BYTES { self.flush() } else { Ok(()) }
    }

    fn line<K: Datum, V: Datum>(&mut self, key: K::Ref<'_>, value: V::Ref<'_>) {
        if self.failure.is_some() {
            return;
        }
        let wrote_key = K::write_text(key, &mut self.buffer);
        let between = self.buffer.len();
        if wrote_key {
            self.buffer.push(b'\t');
        }
        if !V::write_text(value, &mut self.buffer) {
            self.buffer.truncate(between);
        }
        self.buffer.push(b'\n');
        self.records += 1;
        if self.buffer.len() >= WRITE_BYTES {
            self.failure = self.flush().err();
        }
    }

    fn flush(&mut self) -> Result<(), Failure> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        self.digest.update(&self.buffer);
        self.bytes += self.buffer.len() as u64;
        let full = std::mem::replace(&mut self.buffer, Vec::with_capacity(WRITE_BYTES + 4096));
        self.file.write(Bytes::from(full))
    }
}

/// Lines of one type of pairs.
pub(crate) struct TextSink<'a, K, V> {
    output: &'a mut TextOutput,
    pair: PhantomData<fn() -> (K, V)>,
}

impl<K, V> TextSink<'_, K, V> {
    /// As [`TextOutput::take_failure`].
    #[inline]
    pub(crate) fn take_failure(&mut self) -> Option<Failure> {
        self.output.take_failure()
    }
}

impl<K: Datum, V: Datum> Sink<K, V> for TextSink<'_, K, V> {
    fn emit(&mut self, key: K::Ref<'_>, value: V::Ref<'_>) {
        self.output.line::<K, V>(key, value);
    }
}
