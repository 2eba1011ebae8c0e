//! The arguments of builtin programs, read and judged; and the fields of lines that they name.

use std::collections::BTreeMap;

use super::BuiltinError;
use crate::task::records::unmarked;
use crate::{Datum, Output, Record, UserError};

/// Highest number of a field.
const FIELD_MAX: u64 = 10_000;

/// The arguments of one program.
#[derive(Clone, Copy)]
pub(super) struct Arguments<'a> {
    pub(super) builtin: &'a str,
    pub(super) args: &'a BTreeMap<String, String>,
}

impl<'a> Arguments<'a> {
    /// As given.
    pub(super) fn text(self, argument: &str) -> Option<&'a str> {
        self.args.get(argument).map(String::as_str)
    }

    pub(super) fn wrong(self, argument: &str, wanted: impl Into<String>) -> BuiltinError {
        BuiltinError::Argument {
            builtin: self.builtin.to_owned(),
            argument: argument.to_owned(),
            given: self.text(argument).unwrap_or_default().chars().take(80).collect(),
            wanted: wanted.into(),
        }
    }

    /// A whole number of a range.
    pub(super) fn number(
        self,
        argument: &str,
        default: u64,
        (min, max): (u64, u64),
    ) -> Result<u64, BuiltinError> {
        let Some(text) = self.text(argument) else { return Ok(default) };
        let number = text.trim().parse().ok().filter(|n| (min..=max).contains(n));
        number.ok_or_else(|| self.wrong(argument, format!("a whole number from {min} to {max}")))
    }

    /// One of several words; without it, the first of them.
    pub(super) fn choice<T: Copy>(
        self,
        argument: &str,
        choices: &[(&str, T)],
    ) -> Result<T, BuiltinError> {
        let given = self.text(argument).unwrap_or(choices[0].0);
        let chosen = choices.iter().find(|(word, _)| *word == given).map(|(_, chosen)| *chosen);
        let words = || choices.iter().map(|(word, _)| *word).collect::<Vec<_>>().join(", ");
        chosen.ok_or_else(|| self.wrong(argument, format!("one of {}", words())))
    }

    /// A field by its number.
    pub(super) fn field(self, argument: &str, default: u64) -> Result<usize, BuiltinError> {
        self.number(argument, default, (1, FIELD_MAX)).map(|n| n as usize - 1)
    }

    /// How lines are cut, and what happens to those that can't be.
    pub(super) fn lines(self) -> Result<Lines, BuiltinError> {
        let separator = self.text("separator").unwrap_or("\t");
        if separator.is_empty() || separator.contains('\n') {
            return Err(
                self.wrong("separator", "text of at least one character, none an end of a line")
            );
        }
        let skips_bad = self.choice("bad_lines", &[("fail", false), ("skip", true)])?;
        Ok(Lines { separator: separator.into(), skips_bad })
    }
}

/// How lines are cut into fields.
#[derive(Clone)]
#[cfg_attr(test, derive(Default))]
pub(super) struct Lines {
    pub(super) separator: Vec<u8>,
    skips_bad: bool,
}

/// Counter of lines that were left out.
const BAD_LINES: (&str, &str) = ("builtin", "BAD_LINES");

/// A line as text: without the CR of a CRLF, and without the mark that a file may begin with.
pub(super) fn text_of(record: Record<'_>) -> &[u8] {
    let line = unmarked(record.offset, record.value);
    line.strip_suffix(b"\r").unwrap_or(line)
}

impl Lines {
    /// All fields of a line.
    pub(super) fn fields<'l>(&'l self, record: Record<'l>) -> Fields<'l> {
        Fields { rest: Some(text_of(record)), separator: &self.separator }
    }

    /// One field, by its number from 0.
    pub(super) fn field<'l>(&'l self, record: Record<'l>, n: usize) -> Result<&'l [u8], String> {
        self.fields(record).nth(n).ok_or_else(|| Self::no_field(n))
    }

    /// Cuts a line into one field, by its number from 0, and all others, which are left in `others`, each with a
    /// separator in front.
    pub(super) fn apart<'l>(
        &'l self,
        record: Record<'l>,
        n: usize,
        others: &mut Vec<u8>,
    ) -> Result<&'l [u8], String> {
        others.clear();
        let mut found = None;
        for (nth, field) in self.fields(record).enumerate() {
            if nth == n {
                found = Some(field);
            } else {
                others.extend_from_slice(&self.separator);
                others.extend_from_slice(field);
            }
        }
        found.ok_or_else(|| Self::no_field(n))
    }

    #[cold]
    fn no_field(n: usize) -> String {
        format!("it has no field {}", n + 1)
    }

    /// Passes what could be made of a line on; what could not be is left out or ends the job.
    pub(super) fn unless_bad<K: Datum, V: Datum, T>(
        &self,
        made: Result<T, String>,
        record: Record<'_>,
        out: &mut Output<'_, K, V>,
    ) -> Result<Option<T>, UserError> {
        match made {
            Ok(made) => Ok(Some(made)),
            Err(_) if self.skips_bad => {
                out.count(BAD_LINES.0, BAD_LINES.1, 1);
                Ok(None)
            }
            Err(why) => Err(format!(
                "the line at offset {} of {}: {why} (bad_lines: skip leaves such lines out)",
                record.offset, record.path
            )
            .into()),
        }
    }
}

/// The fields of a line; a line always has one.
pub(super) struct Fields<'l> {
    rest: Option<&'l [u8]>,
    separator: &'l [u8],
}

impl<'l> Iterator for Fields<'l> {
    type Item = &'l [u8];

    fn next(&mut self) -> Option<&'l [u8]> {
        let rest = self.rest?;
        let end = match self.separator {
            [byte] => memchr::memchr(*byte, rest),
            separator => memchr::memmem::find(rest, separator),
        };
        match end {
            Some(end) => {
                self.rest = Some(&rest[end + self.separator.len()..]);
                Some(&rest[..end])
            }
            None => self.rest.take(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_those_of_the_text_whatever_ends_its_lines_and_begins_its_file() {
        let lines = Lines { separator: b",".to_vec(), skips_bad: false };
        for (offset, value, expected) in [
            (0, &b"7,a"[..], &[&b"7"[..], b"a"][..]),
            (0, b"\xef\xbb\xbf7,a\r", &[b"7", b"a"]),
            (9, b"7,a\r", &[b"7", b"a"]),
            (9, b"7\r", &[b"7"]),
            (9, b"7,\r", &[b"7", b""]),
            (9, b"7\r,a\r\r", &[b"7\r", b"a\r"]),
            (9, b"\xef\xbb\xbf7", &[b"\xef\xbb\xbf7"]),
            (9, b"", &[b""]),
        ] {
            let record = Record { offset, key: None, value, path: "/f" };
            assert_eq!(lines.fields(record).collect::<Vec<_>>(), expected, "{value:?}");
            let mut others = Vec::new();
            assert_eq!(lines.apart(record, 0, &mut others), Ok(expected[0]));
            let behind = expected[1..].iter().flat_map(|field| [b",", *field].concat());
            assert_eq!(others, behind.collect::<Vec<u8>>(), "{value:?}");
        }
    }
}
