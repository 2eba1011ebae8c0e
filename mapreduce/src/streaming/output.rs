//! What becomes of the bytes that commands write: records for the sort buffer, or lines of the job's output.

use mapreduce_protocol::streaming::CommandRole;
use mapreduce_protocol::{Failure, FailureKind, Streaming};

use super::input::count_lines;
use super::keys::Keys;
use super::line_ends::Normaliser;
use super::records::{Form, LinePair, output_separator, stored_value, write_line};
use crate::api::{Bytes, Sink};
use crate::task::failure::failure;
use crate::task::part_output::PartOutput;

/// Bytes of a line that is taken apart, at most: it is held in memory as a whole, and no such line is meant.
const LINE_BYTES_MAX: usize = 64 << 20;

/// Where a command's output goes.
pub(super) trait Drain {
    /// Takes what comes next, cut anywhere.
    fn take(&mut self, bytes: &[u8]) -> Result<(), Failure>;

    /// There is no more: a last line without an end is one, too.
    fn end(&mut self) -> Result<(), Failure>;
}

/// Finds lines in blocks that are cut anywhere; only one that straddles blocks is copied.
struct LineFinder {
    carried: Vec<u8>,
    /// Whose lines they are, for people.
    writer: String,
}

impl LineFinder {
    /// For what the command of `role` writes.
    fn new(role: CommandRole, about: &Streaming) -> Self {
        let writer = match about.command(role) {
            Some(command) => format!("the {role} `{command}`"),
            None => "the input".to_owned(),
        };
        Self { carried: Vec::new(), writer }
    }

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

    /// A line that is too long is not gathered to its end.
    fn carry(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        if self.carried.len() + bytes.len() > LINE_BYTES_MAX {
            let message = format!(
                "{} has a line of more than {} MiB: see that it writes line feeds, or cut the line into several",
                self.writer,
                LINE_BYTES_MAX >> 20
            );
            return Err(failure(FailureKind::UserCode, message));
        }
        self.carried.extend_from_slice(bytes);
        Ok(())
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
    /// How keys are stored.
    keys: &'a Keys,
    stored_key: Vec<u8>,
    stored_value: Vec<u8>,
}

impl<'a, S, F> PairDrain<'a, S, F>
where
    S: Sink<Bytes, Bytes>,
    F: Fn(&mut S) -> Option<Failure>,
{
    /// Of what the command of `role` writes, into `sink`, which stores keys as `keys` says; `take_failure` asks it how
    /// it went.
    pub(super) fn new(
        sink: &'a mut S,
        take_failure: F,
        role: CommandRole,
        about: &Streaming,
        keys: &'a Keys,
    ) -> Self {
        Self {
            sink,
            take_failure,
            form: Form::of(role, about),
            normaliser: Normaliser::new(about.line_ends),
            lines: LineFinder::new(role, about),
            keys,
            stored_key: Vec::new(),
            stored_value: Vec::new(),
        }
    }
}

impl<S, F> Drain for PairDrain<'_, S, F>
where
    S: Sink<Bytes, Bytes>,
    F: Fn(&mut S) -> Option<Failure>,
{
    fn take(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let Self { sink, form, keys, stored_key, stored_value: stored, .. } = self;
        self.lines.take(self.normaliser.normalise(bytes), |line| {
            let (key, value) = form.split(line);
            sink.emit(keys.stored(key, stored_key), stored_value(value, stored));
        })?;
        (self.take_failure)(self.sink).map_or(Ok(()), Err)
    }

    fn end(&mut self) -> Result<(), Failure> {
        let Self { sink, form, keys, stored_key, stored_value: stored, .. } = self;
        let mut emit = |line: &[u8]| {
            let (key, value) = form.split(line);
            sink.emit(keys.stored(key, stored_key), stored_value(value, stored));
        };
        self.lines.take(self.normaliser.end(), &mut emit)?;
        self.lines.end(emit);
        (self.take_failure)(self.sink).map_or(Ok(()), Err)
    }
}

/// Lines → the job's output. Where key and value would be put together again as they were, lines pass as they are,
/// without being looked at one by one.
pub(super) struct PartDrain<'a> {
    output: &'a mut PartOutput,
    normaliser: Normaliser,
    manner: Manner<'a>,
    /// The last line has no end yet.
    is_open: bool,
}

/// What becomes of lines.
enum Manner<'a> {
    /// They pass as they are.
    Pass,
    /// They are taken apart and put together anew.
    Rewrite(Rewriter<'a>),
    /// They are taken apart, for an output of another format than lines.
    Split(Splitter<'a>),
}

struct Rewriter<'a> {
    form: Form,
    about: &'a Streaming,
    separator: Vec<u8>,
    lines: LineFinder,
    scratch: Vec<u8>,
}

struct Splitter<'a> {
    form: Form,
    about: &'a Streaming,
    lines: LineFinder,
}

impl<'a> PartDrain<'a> {
    /// Of what the command of `role` writes, into `output`.
    pub(super) fn new(output: &'a mut PartOutput, role: CommandRole, about: &'a Streaming) -> Self {
        let (form, lines) = (Form::of(role, about), LineFinder::new(role, about));
        let separator = output.lines_form().map(|job| job.unwrap_or(output_separator(about)));
        let manner = match separator {
            None if output.is_nothing() => Manner::Pass,
            None => Manner::Split(Splitter { form, about, lines }),
            Some(it) if it == form.separator() && !about.trailing_separator => Manner::Pass,
            Some(separator) => {
                let separator = separator.to_vec();
                Manner::Rewrite(Rewriter { form, about, separator, lines, scratch: Vec::new() })
            }
        };
        Self { output, normaliser: Normaliser::new(about.line_ends), manner, is_open: false }
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

impl Drain for PartDrain<'_> {
    fn take(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let mut bytes = self.normaliser.normalise(bytes);
        match &mut self.manner {
            Manner::Pass => {}
            Manner::Rewrite(rewriter) => bytes = rewriter.rewrite(bytes)?,
            Manner::Split(splitter) => {
                let Splitter { form, about, lines } = splitter;
                lines.take(bytes, |line| {
                    let (key, value) = form.split(line);
                    self.output.pair(&LinePair { key, value, about });
                })?;
                return self.output.take_failure().map_or(Ok(()), Err);
            }
        }
        if let Some(last) = bytes.last() {
            self.is_open = *last != b'\n';
        }
        self.output.lines(bytes, count_lines(bytes))
    }

    fn end(&mut self) -> Result<(), Failure> {
        let held = self.normaliser.end();
        if !held.is_empty() {
            self.take(held)?;
        }
        let last: &[u8] = match &mut self.manner {
            Manner::Pass if self.is_open => b"\n",
            Manner::Pass => b"",
            Manner::Rewrite(rewriter) => rewriter.end(),
            Manner::Split(splitter) => {
                let Splitter { form, about, lines } = splitter;
                lines.end(|line| {
                    let (key, value) = form.split(line);
                    self.output.pair(&LinePair { key, value, about });
                });
                return self.output.take_failure().map_or(Ok(()), Err);
            }
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
            let about = Streaming::default();
            let mut finder = LineFinder::new(CommandRole::Mapper, &about);
            let mut found = Vec::new();
            for bytes in text.chunks(block) {
                finder.take(bytes, |line| found.push(line.to_vec())).unwrap();
            }
            finder.end(|line| found.push(line.to_vec()));
            finder.end(|_| panic!("it has ended"));
            assert_eq!(found, expected, "blocks of {block}");
        }
    }
    #[test]
    fn a_line_without_end_is_not_gathered_for_ever_and_its_command_is_named() {
        let about = Streaming { mapper: Some("yes -n".to_owned()), ..Streaming::default() };
        let mut finder = LineFinder::new(CommandRole::Mapper, &about);
        let block = vec![b'x'; LINE_BYTES_MAX / 4];
        for _ in 0..4 {
            finder.take(&block, |_| panic!("no line has ended")).unwrap();
        }
        let mut lengths = Vec::new();
        finder.take(b"\n", |line| lengths.push(line.len())).unwrap();
        assert_eq!(lengths, [LINE_BYTES_MAX]);
        for _ in 0..4 {
            finder.take(&block, |_| panic!("no line has ended")).unwrap();
        }
        let failure = finder.take(b"x", |_| panic!("no line has ended")).unwrap_err();
        assert_eq!(failure.kind, FailureKind::UserCode);
        let expected = "the mapper `yes -n` has a line of more than 64 MiB";
        assert!(failure.message.contains(expected), "{}", failure.message);
    }
}
