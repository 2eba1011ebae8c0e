//! What a pair becomes in the job's output, but for lines of text: records of one length, CSV and JSON.

use csv_core::{Terminator, Writer, WriterBuilder};
use mapreduce_protocol::Failure;

use super::failure::bad_job;
use crate::api::{Pair, Visitor};

/// Characters of a record that are shown of one that can't be written.
const SHOWN: usize = 80;

/// Appends a record of `length` bytes.
pub(super) fn fixed_length(
    pair: &dyn Pair,
    length: usize,
    out: &mut Vec<u8>,
) -> Result<(), Failure> {
    let at = out.len();
    pair.record(out);
    match out.len() - at {
        found if found == length => Ok(()),
        found => Err(bad_job(format!(
            "'output_format: fixed-length' wants {length} bytes of key and value together, and got {found}: {:?}",
            shown(&out[at..])
        ))),
    }
}

/// The beginning of bytes that can't be written, for people.
fn shown(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).chars().take(SHOWN).collect()
}

/// Writes CSV.
pub(super) struct CsvForm(Writer);

impl CsvForm {
    /// With this delimiter.
    pub(super) fn new(delimiter: u8) -> Self {
        let terminator = Terminator::Any(b'\n');
        Self(WriterBuilder::new().delimiter(delimiter).terminator(terminator).build())
    }

    /// Appends a record.
    pub(super) fn record(&mut self, pair: &dyn Pair, out: &mut Vec<u8>) {
        let mut fields = CsvFields { writer: &mut self.0, out, is_first: true };
        pair.visit_key(&mut fields);
        pair.visit_value(&mut fields);
        fields.room(2, |writer, room| writer.terminator(room).1);
    }
}

struct CsvFields<'a> {
    writer: &'a mut Writer,
    out: &'a mut Vec<u8>,
    is_first: bool,
}

impl CsvFields<'_> {
    /// Has the writer append at most `n` bytes and a few.
    fn room(&mut self, n: usize, write: impl FnOnce(&mut Writer, &mut [u8]) -> usize) {
        let at = self.out.len();
        // The quotes of the last field, and what stands behind it.
        self.out.resize(at + n + 4, 0);
        let written = write(self.writer, &mut self.out[at..]);
        self.out.truncate(at + written);
    }

    fn field(&mut self, bytes: &[u8]) {
        if !std::mem::take(&mut self.is_first) {
            self.room(1, |writer, room| writer.delimiter(room).1);
        }
        // At most, each byte is a quote, which is written twice.
        self.room(2 * bytes.len(), |writer, room| writer.field(bytes, room).2);
    }
}

impl Visitor for CsvFields<'_> {
    fn nothing(&mut self) {}

    fn none(&mut self) {
        self.field(b"");
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.field(bytes);
    }

    fn literal(&mut self, text: &str) {
        self.field(text.as_bytes());
    }

    fn begin(&mut self, _: &'static [&'static str]) {}

    fn end(&mut self) {}
}

/// Writes lines of JSON.
#[derive(Default)]
pub(super) struct JsonForm {
    key: JsonValue,
    value: JsonValue,
}

impl JsonForm {
    /// Appends a line.
    pub(super) fn record(&mut self, pair: &dyn Pair, out: &mut Vec<u8>) -> Result<(), Failure> {
        pair.visit_key(self.key.begin_value());
        pair.visit_value(self.value.begin_value());
        let Self { key, value } = self;
        if let Some(refused) = key.refused.take().or_else(|| value.refused.take()) {
            return Err(bad_job(format!(
                "'output_format: json-lines' wants text in UTF-8, and this is none: {refused:?}"
            )));
        }
        match (key.is_nothing, value.is_nothing) {
            (false, false) => {
                out.extend_from_slice(b"{\"key\":");
                out.extend_from_slice(&key.text);
                out.extend_from_slice(b",\"value\":");
                out.extend_from_slice(&value.text);
                out.push(b'}');
            }
            (false, true) => out.extend_from_slice(&key.text),
            (true, false) => out.extend_from_slice(&value.text),
            (true, true) => out.extend_from_slice(b"null"),
        }
        out.push(b'\n');
        Ok(())
    }
}

/// A value of JSON under way.
#[derive(Default)]
struct JsonValue {
    text: Vec<u8>,
    /// Names of the fields of each value that is open, and how many of them were written.
    open: Vec<(&'static [&'static str], usize)>,
    is_nothing: bool,
    /// The beginning of bytes that are no text.
    refused: Option<String>,
}

impl JsonValue {
    fn begin_value(&mut self) -> &mut Self {
        self.text.clear();
        self.open.clear();
        self.is_nothing = false;
        self
    }

    /// What stands before a value within another one.
    fn separate(&mut self) {
        let Self { text, open, .. } = self;
        let Some((names, n)) = open.last_mut() else { return };
        if *n > 0 {
            text.push(b',');
        }
        if let Some(name) = names.get(*n) {
            text.push(b'"');
            // A name of Rust's has nothing to escape.
            text.extend_from_slice(name.as_bytes());
            text.extend_from_slice(b"\":");
        }
        *n += 1;
    }
}

impl Visitor for JsonValue {
    fn nothing(&mut self) {
        match self.open.is_empty() {
            true => self.is_nothing = true,
            false => self.none(),
        }
    }

    fn none(&mut self) {
        self.literal("null");
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.separate();
        match str::from_utf8(bytes) {
            Ok(text) => serde_json::to_writer(&mut self.text, text).expect("a Vec takes all bytes"),
            Err(_) => self.refused = Some(shown(bytes)),
        }
    }

    fn literal(&mut self, text: &str) {
        self.separate();
        self.text.extend_from_slice(text.as_bytes());
    }

    fn begin(&mut self, names: &'static [&'static str]) {
        self.separate();
        self.text.push(if names.is_empty() { b'[' } else { b'{' });
        self.open.push((names, 0));
    }

    fn end(&mut self) {
        let names = self.open.pop().map_or(&[][..], |(names, _)| names);
        self.text.push(if names.is_empty() { b']' } else { b'}' });
    }
}
