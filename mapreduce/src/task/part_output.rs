//! One part of the job's output: pairs in the job's output format, compressed where the job says so.

use std::marker::PhantomData;

use bytes::Bytes;
use mapreduce_protocol::{Failure, FailureKind, OutputFormat, OutputForms};
use xxhash_rust::xxh3::Xxh3;

use super::compress::Compressor;
use super::failure::failure;
use super::part_forms::{CsvForm, JsonForm, fixed_length};
use super::run_writer::hex;
use super::storage::OutputFile;
use crate::api::{Counters, Datum, Pair, Sink, TypedPair};

/// Bytes gathered before they go to the file.
const WRITE_BYTES: usize = 128 << 10;

const TAB: &[u8] = b"\t";

/// See the module.
pub(crate) struct PartOutput {
    /// None where nothing is written.
    file: Option<Box<dyn OutputFile>>,
    compressor: Option<Compressor>,
    form: Form,
    buffer: Vec<u8>,
    digest: Xxh3,
    bytes: u64,
    compressed_bytes: u64,
    records: u64,
    failure: Option<Failure>,
}

/// What a pair becomes.
enum Form {
    Lines {
        /// What the job says stands between key and value, if it does.
        separator: Option<Vec<u8>>,
    },
    FixedLength {
        bytes: usize,
    },
    Csv(Box<CsvForm>),
    Json(Box<JsonForm>),
    Nothing,
}

impl PartOutput {
    /// Writes as `forms` says, to `file` unless that is nothing at all.
    pub(crate) fn new(
        forms: &OutputForms,
        file: impl FnOnce() -> Result<Box<dyn OutputFile>, Failure>,
    ) -> Result<Self, Failure> {
        let form = match &forms.format {
            OutputFormat::Text => Form::Lines { separator: None },
            OutputFormat::KeyValue { separator } => {
                Form::Lines { separator: Some(separator.as_bytes().to_vec()) }
            }
            OutputFormat::FixedLength { bytes } => Form::FixedLength { bytes: *bytes as usize },
            OutputFormat::Csv { delimiter } => Form::Csv(Box::new(CsvForm::new(*delimiter))),
            OutputFormat::JsonLines => Form::Json(Box::default()),
            OutputFormat::Null => Form::Nothing,
        };
        let file = if forms.has_parts() { Some(file()?) } else { None };
        let compressor = forms.compression.codec().map(Compressor::new).transpose();
        Ok(Self {
            file,
            compressor: compressor.map_err(|error| uncompressed(&error))?,
            form,
            buffer: Vec::with_capacity(WRITE_BYTES + 4096),
            digest: Xxh3::new(),
            bytes: 0,
            compressed_bytes: 0,
            records: 0,
            failure: None,
        })
    }

    /// The typed end of this output.
    pub(crate) fn sink<K: Datum, V: Datum>(&mut self) -> PartSink<'_, K, V> {
        PartSink { output: self, pair: PhantomData }
    }

    /// Why the last write failed, once.
    #[inline]
    pub(crate) fn take_failure(&mut self) -> Option<Failure> {
        self.failure.take()
    }

    /// Closes the file; returns the digest of its bytes before compression. `counter` names what its records are.
    pub(crate) fn finish(
        mut self,
        counter: &str,
        counters: &mut Counters,
    ) -> Result<String, Failure> {
        self.flush()?;
        if let Some(compressor) = self.compressor.take() {
            let rest = compressor.finish().map_err(|error| uncompressed(&error))?;
            self.write(rest)?;
            counters.add_own("OUTPUT_COMPRESSED_BYTES", self.compressed_bytes);
        }
        if let Some(file) = self.file {
            file.close()?;
        }
        counters.add_own(counter, self.records);
        counters.add_own("OUTPUT_BYTES", self.bytes);
        Ok(hex(&self.digest))
    }

    /// How lines are to be written: with which separator, if the job says; `None` where records are no lines.
    pub(crate) fn lines_form(&self) -> Option<Option<&[u8]>> {
        match &self.form {
            Form::Lines { separator } => Some(separator.as_deref()),
            Form::FixedLength { .. } | Form::Csv(_) | Form::Json(_) | Form::Nothing => None,
        }
    }

    /// Whether pairs are only counted.
    pub(crate) fn is_nothing(&self) -> bool {
        matches!(self.form, Form::Nothing)
    }

    /// Appends `n` lines as they are. They may be cut: then the next ones go on where these end.
    pub(crate) fn lines(&mut self, bytes: &[u8], n: u64) -> Result<(), Failure> {
        self.records += n;
        if self.is_nothing() {
            return Ok(());
        }
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= WRITE_BYTES { self.flush() } else { Ok(()) }
    }

    /// Appends a pair. What fails is kept, and nothing more is taken.
    pub(crate) fn pair(&mut self, pair: &dyn Pair) {
        if self.failure.is_some() {
            return;
        }
        let out = &mut self.buffer;
        let written = match &mut self.form {
            Form::Nothing => Ok(()),
            Form::Csv(form) => {
                form.record(pair, out);
                Ok(())
            }
            Form::Json(form) => form.record(pair, out),
            Form::FixedLength { bytes } => fixed_length(pair, *bytes, out),
            Form::Lines { separator } => {
                let wrote_key = pair.key_text(out);
                let between = out.len();
                if wrote_key {
                    out.extend_from_slice(separator.as_deref().unwrap_or(TAB));
                }
                if !pair.value_text(out) {
                    out.truncate(between);
                }
                out.push(b'\n');
                Ok(())
            }
        };
        self.records += 1;
        let full = self.buffer.len() >= WRITE_BYTES;
        let written = written.and_then(|()| if full { self.flush() } else { Ok(()) });
        self.failure = written.err();
    }

    /// A line of the commonest kind, without asking a [`Pair`] for its parts.
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
        match &mut self.compressor {
            Some(compressor) => {
                let ready = compressor.take(&self.buffer).map_err(|error| uncompressed(&error))?;
                self.buffer.clear();
                self.write(ready)
            }
            None => {
                let empty = Vec::with_capacity(WRITE_BYTES + 4096);
                let full = std::mem::replace(&mut self.buffer, empty);
                self.write(full)
            }
        }
    }

    fn write(&mut self, bytes: Vec<u8>) -> Result<(), Failure> {
        self.compressed_bytes += bytes.len() as u64;
        match &mut self.file {
            Some(file) if !bytes.is_empty() => file.write(Bytes::from(bytes)),
            _ => Ok(()),
        }
    }
}

fn uncompressed(error: &std::io::Error) -> Failure {
    failure(FailureKind::HostUnfit, format!("the output can't be compressed: {error}"))
}

/// Pairs of one type.
pub(crate) struct PartSink<'a, K, V> {
    output: &'a mut PartOutput,
    pair: PhantomData<fn() -> (K, V)>,
}

impl<K, V> PartSink<'_, K, V> {
    /// As [`PartOutput::take_failure`].
    #[inline]
    pub(crate) fn take_failure(&mut self) -> Option<Failure> {
        self.output.take_failure()
    }
}

impl<K: Datum, V: Datum> Sink<K, V> for PartSink<'_, K, V> {
    fn emit(&mut self, key: K::Ref<'_>, value: V::Ref<'_>) {
        match self.output.form {
            Form::Lines { separator: None } => self.output.line::<K, V>(key, value),
            _ => self.output.pair(&TypedPair::<K, V> { key, value }),
        }
    }
}
