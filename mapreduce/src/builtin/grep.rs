//! The lines that match a regular expression.

use regex::bytes::{Regex, RegexBuilder};

use super::BuiltinError;
use crate::{Bytes, Job, Mapper, Output, Record, UserError};

/// Escapes of patterns that match no end of a line, or none by themselves.
const WITHIN_LINES: &str = r"dwSbB.+*?()|[]{}^$\/-";

/// Matching lines whole, in the order of the input; map-only.
pub(super) fn job(pattern: &str) -> Result<Job, BuiltinError> {
    let by_line = Regex::new(pattern)?;
    let ahead = match is_within_lines(pattern) {
        true => Some(RegexBuilder::new(pattern).multi_line(true).build()?),
        false => None,
    };
    Ok(Job::new(move || Grep { by_line: by_line.clone(), ahead: ahead.clone() }).into())
}

struct Grep {
    by_line: Regex,
    /// What finds the first line that matches among many, where that is sure to be the same.
    ahead: Option<Regex>,
}

impl Mapper for Grep {
    type Key = Bytes;
    type Value = ();

    fn map(
        &mut self,
        record: Record<'_>,
        out: &mut Output<'_, Bytes, ()>,
    ) -> Result<(), UserError> {
        if self.by_line.is_match(record.value) {
            out.emit(record.value, ());
        }
        Ok(())
    }

    fn looks_ahead(&self) -> bool {
        self.ahead.is_some()
    }

    fn look_ahead(&mut self, lines: &[u8]) -> usize {
        let found = self.ahead.as_ref().and_then(|ahead| ahead.find(lines));
        found.map_or(lines.len(), |found| found.start())
    }
}

/// Whether a valid pattern surely matches no LF, so that a match among many lines lies in one of them, and whatever else
/// it asks for (`^`, `$`, `\b`) is the same for a line alone and for one among others. Few ways to write a pattern
/// are known to be: a search through lines that reached from one into others would take long, too.
fn is_within_lines(pattern: &str) -> bool {
    let mut rest = pattern.chars().peekable();
    let mut in_class = false;
    while let Some(char) = rest.next() {
        let next = rest.peek().copied();
        let is_known = match (char, in_class) {
            ('\\', _) => rest.next().is_some_and(|escaped| WITHIN_LINES.contains(escaped)),
            ('[', false) => {
                in_class = true;
                // `[]a]` begins with what ends others.
                !matches!(next, Some('^' | ']'))
            }
            (']', true) => {
                in_class = false;
                true
            }
            // Classes in classes, and what is done with them.
            ('[' | '&' | '~', true) => false,
            ('-', true) => next != Some('-'),
            // Groups with flags or names.
            ('(', false) => next != Some('?'),
            (char, _) => !char.is_control(),
        };
        if !is_known {
            return false;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Lines of a text that match, found as a map finds them.
    fn found(pattern: &str, text: &str) -> Vec<String> {
        let by_line = Regex::new(pattern).unwrap();
        let ahead = RegexBuilder::new(pattern).multi_line(true).build().unwrap();
        let mut grep = Grep { by_line, ahead: Some(ahead) };
        let (mut rest, mut found) = (text.as_bytes(), Vec::new());
        while !rest.is_empty() {
            let at = grep.look_ahead(rest);
            let start = memchr::memrchr(b'\n', &rest[..at]).map_or(0, |end| end + 1);
            let end = memchr::memchr(b'\n', &rest[start..]).map_or(rest.len(), |n| start + n);
            if start < rest.len() && grep.by_line.is_match(&rest[start..end]) {
                found.push(String::from_utf8(rest[start..end].to_vec()).unwrap());
            }
            rest = rest.get(end + 1..).unwrap_or_default();
        }
        found
    }

    /// Pieces of patterns, of which most stay within lines.
    fn patterns() -> impl Strategy<Value = String> {
        let pieces = [
            "a", "b", ".", "^", "$", "a*", "b+", "c?", r"\b", r"\B", r"\d", r"\w", r"\S", "[ab]",
            "[a-c]", "(a|b)", "(^b)", "(c$)", r"\.", "c{1,2}", r"\s", "[^a]", r"\D", "(?s).",
            r"\A", r"\z", "(?:a)", "|", " ",
        ];
        prop::collection::vec(prop::sample::select(pieces.to_vec()), 1..5)
            .prop_map(|all| all.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(800) })]

        #[test]
        fn among_many_lines_the_same_ones_match_as_by_themselves(
            pattern in patterns(),
            lines in prop::collection::vec("[abc .1]{0,6}", 1..8),
        ) {
            if !is_within_lines(&pattern) {
                return Ok(());
            }
            let by_line = Regex::new(&pattern).unwrap();
            let expected: Vec<_> =
                lines.iter().filter(|line| by_line.is_match(line.as_bytes())).cloned().collect();
            let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
            prop_assert_eq!(found(&pattern, &text), expected, "{}", pattern);
        }
    }

    #[test]
    fn only_patterns_that_cannot_reach_into_other_lines_look_ahead() {
        for pattern in
            ["howdah", "^a.*b$", r"\bword\b", "[a-z0-9_]+@[a-z]+", "(a|b){2,3}", r"1\.5", "ä"]
        {
            assert!(is_within_lines(pattern), "{pattern}");
        }
        for pattern in [
            r"a\s+b",
            "[^a]",
            r"\W",
            r"\D",
            "(?s)a.b",
            "(?-m:^a)",
            r"\Aa",
            r"a\z",
            r"\n",
            "a\nb",
            r"\x0a",
            "[[:^alpha:]]",
            "[\t- ]",
            r"\pZ",
            r"[\s]",
            "[a&&b]",
            "[]a]",
        ] {
            assert!(!is_within_lines(pattern), "{pattern}");
        }
    }
}
