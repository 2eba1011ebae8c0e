//! What becomes of the bytes that commands write: records for the sort buffer, or lines of the job's output.

use mapreduce_protocol::map_output::BLOCK_BYTES_MAX;
use mapreduce_protocol::streaming::LineEnds;
use mapreduce_protocol::{Failure, Streaming};

use super::input::count_lines;
use super::keys::Keys;
use super::line_ends::Normaliser;
use super::records::{Form, output_separator, write_line};
use crate::api::{Bytes, Sink};
use crate::task::run_writer::too_long;
use crate::task::text_output::TextOutput;

/// Where a command's output goes.
pub(super) trait Drain {
    /// Takes what comes next, cut anywhere.
    fn take(&mut self, bytes: &[u8]) -> Result<(), Failure>;

    /// There is no more: a last line without an end is one, too.
    fn end(&mut self) -> Result<(), Failure>;
}

/// Finds lines in blocks that are cut anywhere; only one that straddles blocks is copied.
#[derive(Default)]
struct LineFinder {
    carried: Vec<u8>,
}

impl LineFinder {
    /// Calls `each` with every line that ends in `block`, without its end.
    fn take(&mut self, block: &[u8], mut each: impl FnMut(&[u8])) -> Result<(), Failure> {
        let mut rest = block;
        if !self.carried.is_empty() {
            let Some(at) = memchr::memchr(b'\n', rest) else { return self.carry(rest) };
            self.carry(&rest[..at])?;
            each(&self.carried);
            self.carried.clear();
            rest = &rest[at + 1..];
        }
        while let Some(at) = memchr::memchr(b'\n', rest) {
            each(&rest[..at]);
            rest = &rest[at + 1..];
        }
        self.carry(rest)
    }

    /// A line that no record could hold is not gathered to its end.
    fn carry(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.carried.extend_from_slice(bytes);
        let length = self.carried.len();
        if length > BLOCK_BYTES_MAX as usize / 2 { Err(too_long(length)) } else { Ok(()) }
    }

    /// Calls `each` with a last line that has no end.
    fn end(&mut self, each: impl FnOnce(&[u8])) {
        if !self.carried.is_empty() {
            each(&std::mem::take(&mut self.carried));
        }
    }
}

/// Lines → key and value → a sink.
pub(super) struct PairDrain<'a, S, F> {
    sink: &'a mut S,
    take_failure: F,
    form: Form,
    normaliser: Normaliser,
    lines: LineFinder,
    /// How keys are stored, if not as they are.
    keys: Option<&'a Keys>,
    scratch: Vec<u8>,
}

impl<'a, S, F> PairDrain<'a, S, F>
where
    S: Sink<Bytes, Bytes>,
    F: Fn(&mut S) -> Option<Failure>,
{
    /// Into `sink`, which stores keys as `keys` says; `take_failure` asks it how it went.
    pub(super) fn new(
        sink: &'a mut S,
        take_failure: F,
        form: Form,
        ends: LineEnds,
        keys: Option<&'a Keys>,
    ) -> Self {
        let (normaliser, lines) = (Normaliser::new(ends), LineFinder::default());
        Self { sink, take_failure, form, normaliser, lines, keys, scratch: Vec::new() }
    }
}

impl<S, F> Drain for PairDrain<'_, S, F>
where
    S: Sink<Bytes, Bytes>,
    F: Fn(&mut S) -> Option<Failure>,
{
    fn take(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let Self { sink, form, keys, scratch, .. } = self;
        self.lines.take(self.normaliser.normalise(bytes), |line| {
            let (key, value) = form.split(line);
            let key = keys.map_or(key, |keys| keys.stored(key, scratch));
            sink.emit(key, value.unwrap_or_default());
        })?;
        (self.take_failure)(self.sink).map_or(Ok(()), Err)
    }

    fn end(&mut self) -> Result<(), Failure> {
        let Self { sink, form, keys, scratch, .. } = self;
        self.lines.end(|line| {
            let (key, value) = form.split(line);
            let key = keys.map_or(key, |keys| keys.stored(key, scratch));
            sink.emit(key, value.unwrap_or_default());
        });
        (self.take_failure)(self.sink).map_or(Ok(()), Err)
    }
}

/// Lines → the job's output. Where key and value would be put together again as they were, lines pass as they are,
/// without being looked at one by one.
pub(super) struct TextDrain<'a> {
    output: &'a mut TextOutput,
    normaliser: Normaliser,
    /// How lines are taken apart, if they must be.
    rewriter: Option<Rewriter<'a>>,
    /// The last line has no end yet.
    is_open: bool,
}

struct Rewriter<'a> {
    form: &'a Form,
    about: &'a Streaming,
    separator: &'a [u8],
    lines: LineFinder,
    scratch: Vec<u8>,
}

impl<'a> TextDrain<'a> {
    /// Into `output`, of lines with this form.
    pub(super) fn new(output: &'a mut TextOutput, form: &'a Form, about: &'a Streaming) -> Self {
        let separator = output_separator(about);
        let passes = separator == form.separator() && !about.trailing_separator;
        let rewriter = (!passes).then(|| Rewriter {
            form,
            about,
            separator,
            lines: LineFinder::default(),
            scratch: Vec::new(),
        });
        Self { output, normaliser: Normaliser::new(about.line_ends), rewriter, is_open: false }
    }
}

impl Rewriter<'_> {
    fn rewrite(&mut self, bytes: &[u8]) -> Result<&[u8], Failure> {
        let Self { form, about, separator, lines, scratch } = self;
        scratch.clear();
        lines.take(bytes, |line| {
            let (key, value) = form.split(line);
            write_line(key, value, about, separator, scratch);
        })?;
        Ok(scratch)
    }

    fn end(&mut self) -> &[u8] {
        let Self { form, about, separator, lines, scratch } = self;
        scratch.clear();
        lines.end(|line| {
            let (key, value) = form.split(line);
            write_line(key, value, about, separator, scratch);
        });
        scratch
    }
}

impl Drain for TextDrain<'_> {
    fn take(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let mut bytes = self.normaliser.normalise(bytes);
        if let Some(rewriter) = &mut self.rewriter {
            bytes = rewriter.rewrite(bytes)?;
        }
        if let Some(last) = bytes.last() {
            self.is_open = *last != b'\n';
        }
        self.output.lines(bytes, count_lines(bytes))
    }

    fn end(&mut self) -> Result<(), Failure> {
        let last: &[u8] = match &mut self.rewriter {
            Some(rewriter) => rewriter.end(),
            None if self.is_open => b"\n",
            None => b"",
        };
        self.output.lines(last, count_lines(last))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_found_wherever_blocks_are_cut() {
        let text = b"one\n\ntwo\nthree\n\nfour";
        let expected: Vec<&[u8]> = text.split(|byte| *byte == b'\n').collect();
        for block in 1..=text.len() {
            let (mut finder, mut found) = (LineFinder::default(), Vec::new());
            for bytes in text.chunks(block) {
                finder.take(bytes, |line| found.push(line.to_vec())).unwrap();
            }
            finder.end(|line| found.push(line.to_vec()));
            finder.end(|_| panic!("it has ended"));
            assert_eq!(found, expected, "blocks of {block}");
        }
    }
}
