//! A reduce-side join of two inputs.

use super::BuiltinError;
use super::arguments::{Arguments, Lines};
use crate::{Bytes, Job, Output, Reducer, UserError, Values};

/// Bytes of the left lines of one key, which are kept while the right ones pass; each counts what a list holds of it, too.
const LEFT_BYTES_MAX: usize = 256 << 20;

/// Which lines without a partner are written.
#[derive(Clone, Copy, Debug)]
struct Kind {
    pairs: bool,
    left: bool,
    right: bool,
}

/// What is sent of a line: each field but the key with a separator in front. The key comes with its side, so that the left lines come first.
type Side = (Bytes, u8);

const LEFT: u8 = 0;
const RIGHT: u8 = 1;

/// See the table of builtins.
pub(super) fn job(arguments: Arguments<'_>) -> Result<Job, BuiltinError> {
    let kind = |pairs, left, right| Kind { pairs, left, right };
    let kinds = [
        ("inner", kind(true, false, false)),
        ("left", kind(true, true, false)),
        ("right", kind(true, false, true)),
        ("full", kind(true, true, true)),
        ("anti", kind(false, true, false)),
    ];
    let kind = arguments.choice("kind", &kinds)?;
    let lines = arguments.lines()?;
    let left_field = arguments.field("left_field", 1)?;
    let right_field = arguments.field("right_field", 1)?;
    let (left, right) = (arguments.text("left"), arguments.text("right"));
    let (left, right) = (left.unwrap_or_default(), right.unwrap_or_default());
    let names = |text: &str| text.trim_matches('/').to_owned();
    for (argument, given, other) in [("left", left, right), ("right", right, left)] {
        if names(given).is_empty() || names(given) == names(other) {
            let wanted = "one of the job's inputs, or the last of its folders' names, another one than the other side's";
            return Err(arguments.wrong(argument, wanted));
        }
    }
    let empty = match arguments.text("empty").unwrap_or_default() {
        "" => Vec::new(),
        empty => [&lines.separator[..], empty.as_bytes()].concat(),
    };
    let mapper = |field: usize, side: u8, lines: Lines| {
        move |record: crate::Record<'_>, out: &mut Output<'_, Side, Bytes>| {
            let made = lines.field(record.value, field).map(|key| {
                let others = lines.fields(record.value).enumerate().filter(|(n, _)| *n != field);
                let others = others.flat_map(|(_, other)| [&lines.separator[..], other]);
                (key, others.collect::<Vec<_>>().concat())
            });
            if let Some((key, others)) = lines.unless_bad(made, record, out)? {
                out.emit((key, side), &others);
            }
            Ok(())
        }
    };
    let job = Job::map_input::<Side, Bytes>(left, mapper(left_field, LEFT, lines.clone()))
        .map_input(right, mapper(right_field, RIGHT, lines))
        .group_by::<1>()
        .reducer(move || Pairs { kind, empty: empty.clone(), line: Vec::new() });
    Ok(job.into())
}

/// Writes the lines of one key.
struct Pairs {
    kind: Kind,
    /// What stands in place of a missing line's fields.
    empty: Vec<u8>,
    line: Vec<u8>,
}

/// Memory that a line takes in a list: its bytes, and where they are.
fn kept_bytes(line: &[u8]) -> usize {
    line.len() + size_of::<Vec<u8>>()
}

impl Pairs {
    fn emit(&mut self, key: &[u8], left: &[u8], right: &[u8], out: &mut Output<'_, Bytes, ()>) {
        self.line.clear();
        self.line.extend_from_slice(key);
        self.line.extend_from_slice(left);
        self.line.extend_from_slice(right);
        out.emit(&self.line, ());
    }
}

impl Reducer for Pairs {
    type InKey = Side;
    type InValue = Bytes;
    type OutKey = Bytes;
    type OutValue = ();

    fn reduce(
        &mut self,
        (key, _): (&[u8], u8),
        values: &mut Values<'_, Side, Bytes>,
        out: &mut Output<'_, Bytes, ()>,
    ) -> Result<(), UserError> {
        let (mut lefts, mut bytes, mut has_right) = (Vec::new(), 0, false);
        let empty = self.empty.clone();
        while let Some(((_, side), others)) = values.next_pair() {
            if side == LEFT {
                bytes += kept_bytes(others);
                if bytes > LEFT_BYTES_MAX {
                    let key = String::from_utf8_lossy(&key[..key.len().min(80)]);
                    return Err(format!(
                        "key {key:?} has more than 256 MiB of left lines: name the input that has fewer lines of a key 'left'"
                    )
                    .into());
                }
                lefts.push(others.to_vec());
                continue;
            }
            has_right = true;
            if self.kind.pairs {
                lefts.iter().for_each(|left| self.emit(key, left, others, out));
            }
            if self.kind.right && lefts.is_empty() {
                self.emit(key, &empty, others, out);
            }
        }
        if self.kind.left && !has_right {
            lefts.iter().for_each(|left| self.emit(key, left, &empty, out));
        }
        Ok(())
    }
}
