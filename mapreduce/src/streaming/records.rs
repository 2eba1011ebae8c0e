//! Lines → keys and values, and back.
//!
//! A line that ends with its separator has an empty value, one without a separator has none. Map outputs hold both, so
//! that lines that no command reads in between come out as they were:
//!
//! ```text
//! none                      nothing
//! empty, or begins with 00  00, the value
//! any other                 the value
//! ```

use memchr::memmem::Finder;

use mapreduce_protocol::streaming::CommandRole;
use mapreduce_protocol::{Failure, Streaming};

use super::keys::Keys;
use crate::api::{Pair, Visitor};
use crate::task::merge::Merge;
use crate::task::part_output::PartOutput;
use crate::task::reduce::ReduceTask;

const TAB: &str = "\t";

/// Where in a line the key ends.
pub(super) struct Form {
    separator: Finder<'static>,
    key_fields: u32,
}

impl Form {
    /// Of what the command of `role` writes.
    pub(super) fn of(role: CommandRole, about: &Streaming) -> Self {
        match role {
            CommandRole::Mapper => Self::of_map_output(about),
            CommandRole::Combiner => Self::of_combiner_output(about),
            CommandRole::Reducer => Self::of_reduce_output(about),
        }
    }

    /// Of what a mapper writes.
    fn of_map_output(about: &Streaming) -> Self {
        Self::new(about.map_output_separator.as_deref(), about.map_output_key_fields)
    }

    /// Of what a combiner writes: a reducer's, since mostly it is the reducer's command (Hadoop: `PipeCombiner` is a
    /// `PipeReducer`). Where the job does not say at which separator a reducer's key ends, and the separator is the
    /// mapper's, the key ends where a mapper's does: after the first field, as in Hadoop, it would be another key than
    /// the command was given.
    fn of_combiner_output(about: &Streaming) -> Self {
        let separator = about.reduce_output_separator.as_deref().unwrap_or(TAB);
        let is_the_mappers = separator == about.map_output_separator.as_deref().unwrap_or(TAB);
        let mappers = about.map_output_key_fields.filter(|_| is_the_mappers);
        Self::new(Some(separator), about.reduce_output_key_fields.or(mappers))
    }

    /// Of what a reducer writes.
    fn of_reduce_output(about: &Streaming) -> Self {
        Self::new(about.reduce_output_separator.as_deref(), about.reduce_output_key_fields)
    }

    fn new(separator: Option<&str>, key_fields: Option<u32>) -> Self {
        let separator = Finder::new(separator.unwrap_or(TAB)).into_owned();
        Self { separator, key_fields: key_fields.unwrap_or(1) }
    }

    /// What separates.
    pub(super) fn separator(&self) -> &[u8] {
        self.separator.needle()
    }

    /// Key and value; a line with too few separators is all key, and has no value.
    #[inline]
    pub(super) fn split<'l>(&self, line: &'l [u8]) -> (&'l [u8], Option<&'l [u8]>) {
        let separator = self.separator.needle();
        let mut from = 0;
        for field in 1..=self.key_fields {
            let rest = &line[from..];
            let found = match separator {
                [byte] => memchr::memchr(*byte, rest),
                _ => self.separator.find(rest),
            };
            let Some(at) = found else { break };
            if field == self.key_fields {
                return (&line[..from + at], Some(&line[from + at + separator.len()..]));
            }
            from += at + separator.len();
        }
        (line, None)
    }
}

/// The form in which a map output holds a value; `scratch` is where it is made.
#[inline]
pub(super) fn stored_value<'a>(value: Option<&'a [u8]>, scratch: &'a mut Vec<u8>) -> &'a [u8] {
    match value {
        None => &[],
        Some(value @ [first, ..]) if *first != 0 => value,
        Some(value) => {
            scratch.clear();
            scratch.push(0);
            scratch.extend_from_slice(value);
            scratch
        }
    }
}

/// The value of a stored one.
#[inline]
pub(super) fn value_of(stored: &[u8]) -> Option<&[u8]> {
    match stored {
        [] => None,
        [0, value @ ..] => Some(value),
        value => Some(value),
    }
}

/// What stands between a key and its value for a combiner or reducer.
pub(super) fn input_separator(about: &Streaming) -> &[u8] {
    about.reduce_input_separator.as_deref().unwrap_or(TAB).as_bytes()
}

/// What stands between a key and its value in the job's output.
pub(super) fn output_separator(about: &Streaming) -> &[u8] {
    about.output_separator.as_deref().unwrap_or(TAB).as_bytes()
}

/// Writes a line of the job's output.
#[inline]
pub(super) fn write_line(
    key: &[u8],
    value: Option<&[u8]>,
    about: &Streaming,
    separator: &[u8],
    out: &mut Vec<u8>,
) {
    out.extend_from_slice(key);
    if value.is_some() || about.trailing_separator {
        out.extend_from_slice(separator);
    }
    out.extend_from_slice(value.unwrap_or_default());
    out.push(b'\n');
}

/// A line's key and value on their way into an output of another format than lines.
pub(super) struct LinePair<'a> {
    pub(super) key: &'a [u8],
    pub(super) value: Option<&'a [u8]>,
    pub(super) about: &'a Streaming,
}

impl Pair for LinePair<'_> {
    fn key_text(&self, out: &mut Vec<u8>) -> bool {
        out.extend_from_slice(self.key);
        true
    }

    fn value_text(&self, out: &mut Vec<u8>) -> bool {
        out.extend_from_slice(self.value.unwrap_or_default());
        self.value.is_some()
    }

    /// The line as it would stand in an output of lines.
    fn record(&self, out: &mut Vec<u8>) {
        write_line(self.key, self.value, self.about, output_separator(self.about), out);
        out.pop();
    }

    fn visit_key(&self, to: &mut dyn Visitor) {
        to.bytes(self.key);
    }

    fn visit_value(&self, to: &mut dyn Visitor) {
        match self.value {
            Some(value) => to.bytes(value),
            None => to.nothing(),
        }
    }
}

/// Bytes of lines that are gathered before they are written.
const BLOCK_BYTES: usize = 64 << 10;

/// Records between two reckonings of how far the merge is, at most.
const RECORDS_PER_RECKONING: u64 = 4096;

/// Writes all records of a partition as they are, for jobs without a reducer.
pub(super) fn write_all(
    mut merge: Merge,
    output: &mut PartOutput,
    (about, keys): (&Streaming, &Keys),
    task: &mut ReduceTask<'_>,
) -> Result<(), Failure> {
    let separator = output.lines_form().map(|job| job.unwrap_or(output_separator(about)).to_vec());
    let total = merge.remaining();
    let (mut block, mut last_key) = (Vec::with_capacity(2 * BLOCK_BYTES), None::<Vec<u8>>);
    let (mut lines, mut records, mut groups) = (0, 0, 0);
    while let Some(head) = merge.head() {
        let (key, value) = (keys.key(head.key()), value_of(head.value()));
        match &separator {
            Some(separator) => {
                write_line(key, value, about, separator, &mut block);
                lines += 1;
            }
            None => output.pair(&LinePair { key, value, about }),
        }
        records += 1;
        groups += u64::from(is_new(&mut last_key, key));
        merge.advance()?;
        if block.len() >= BLOCK_BYTES || records % RECORDS_PER_RECKONING == 0 {
            output.lines(&block, std::mem::take(&mut lines))?;
            output.take_failure().map_or(Ok(()), Err)?;
            block.clear();
            task.merging(merge.remaining(), total);
        }
    }
    output.take_failure().map_or(Ok(()), Err)?;
    output.lines(&block, lines)?;
    task.counters.add_own("REDUCE_INPUT_GROUPS", groups);
    task.counters.add_own("REDUCE_INPUT_RECORDS", records);
    Ok(())
}

/// Whether `key` differs from the last one, which it then becomes.
#[inline]
pub(super) fn is_new(last: &mut Option<Vec<u8>>, key: &[u8]) -> bool {
    match last {
        Some(last) if last == key => false,
        Some(last) => {
            last.clear();
            last.extend_from_slice(key);
            true
        }
        None => {
            *last = Some(key.to_vec());
            true
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_value_and_an_empty_one_are_stored_apart() {
        for (value, expected) in [
            (None, &b""[..]),
            (Some(&b""[..]), b"\0"),
            (Some(b"\0"), b"\0\0"),
            (Some(b"\0a"), b"\0\0a"),
            (Some(b"a\0"), b"a\0"),
            (Some(b"\x01"), b"\x01"),
        ] {
            let mut scratch = b"left over".to_vec();
            let stored = stored_value(value, &mut scratch);
            assert_eq!((stored, value_of(stored)), (expected, value));
        }
    }

    #[test]
    fn the_key_ends_at_the_separator_asked_for() {
        type Case = (&'static str, u32, &'static [u8], &'static [u8], Option<&'static [u8]>);
        let table: [Case; 14] = [
            ("\t", 1, b"a\tb\tc", b"a", Some(b"b\tc")),
            ("\t", 2, b"a\tb\tc", b"a\tb", Some(b"c")),
            ("\t", 3, b"a\tb\tc", b"a\tb\tc", None),
            ("\t", 1, b"a", b"a", None),
            ("\t", 1, b"a\t", b"a", Some(b"")),
            ("\t", 1, b"\tb", b"", Some(b"b")),
            ("\t", 1, b"", b"", None),
            ("\t", 2, b"\t\t\t", b"\t", Some(b"\t")),
            (".", 4, b"11.12.1.2.x", b"11.12.1.2", Some(b"x")),
            ("::", 1, b"a:::b", b"a", Some(b":b")),
            ("::", 2, b"a::b::c", b"a::b", Some(b"c")),
            ("::", 2, b"a::b:c", b"a::b:c", None),
            ("\u{1}", 1, b"\xff\xfe\x01\x00", b"\xff\xfe", Some(b"\x00")),
            ("aa", 2, b"aaaa", b"aa", Some(b"")),
        ];
        for (separator, key_fields, line, key, value) in table {
            let form = Form::new(Some(separator), Some(key_fields));
            assert_eq!(form.split(line), (key, value), "{separator:?} {key_fields} {line:?}");
        }
    }
}
