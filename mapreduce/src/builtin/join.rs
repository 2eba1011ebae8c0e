//! A reduce-side join of two inputs.

use super::BuiltinError;
use super::arguments::{Arguments, Lines};
use crate::{Bytes, Job, Mapper, Output, Record, Reducer, UserError, Values};

/// Memory for the left lines of one key, which are kept while the right ones pass.
const LEFT_BYTES_MAX: usize = 256 << 20;

/// Bytes of them that lie together.
const BLOCK_BYTES: usize = 64 << 10;

/// Which lines without a partner are written.
#[derive(Clone, Copy, Debug)]
struct Kind {
    pairs: bool,
    left: bool,
    right: bool,
}

/// What is sent of a line: each field but the key with a separator in front. The key comes with its side, so that the
/// left lines come first.
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
        move || Sides { field, side, lines: lines.clone(), others: Vec::new() }
    };
    let job = Job::input(left, mapper(left_field, LEFT, lines.clone()))
        .input(right, mapper(right_field, RIGHT, lines))
        .group_by::<1>()
        .reducer(move || Pairs {
            kind,
            empty: empty.clone(),
            lefts: Lefts::default(),
            line: Vec::new(),
        });
    Ok(job.into())
}

/// Sends the lines of one side.
struct Sides {
    field: usize,
    side: u8,
    lines: Lines,
    others: Vec<u8>,
}

impl Mapper for Sides {
    type Key = Side;
    type Value = Bytes;

    fn map(
        &mut self,
        record: Record<'_>,
        out: &mut Output<'_, Side, Bytes>,
    ) -> Result<(), UserError> {
        let made = self.lines.apart(record, self.field, &mut self.others);
        if let Some(key) = self.lines.unless_bad(made, record, out)? {
            out.emit((key, self.side), &self.others);
        }
        Ok(())
    }
}

/// Writes the lines of one key.
struct Pairs {
    kind: Kind,
    /// What stands in place of a missing line's fields.
    empty: Vec<u8>,
    lefts: Lefts,
    line: Vec<u8>,
}

/// Left lines of one key, each behind its length, in blocks: an allocation for each line would cost more than the join.
#[derive(Default)]
struct Lefts {
    blocks: Vec<Vec<u8>>,
    kept_bytes: usize,
}

impl Lefts {
    fn push(&mut self, line: &[u8]) {
        let length = u32::try_from(line.len()).expect("a record's length fits").to_le_bytes();
        let bytes = length.len() + line.len();
        let has_room = |block: &Vec<u8>| block.capacity() - block.len() >= bytes;
        if !self.blocks.last().is_some_and(has_room) {
            let block = Vec::with_capacity(bytes.max(BLOCK_BYTES));
            self.kept_bytes += block.capacity();
            self.blocks.push(block);
        }
        let block = self.blocks.last_mut().expect("the last one has room");
        block.extend_from_slice(&length);
        block.extend_from_slice(line);
    }

    fn is_empty(&self) -> bool {
        self.blocks.first().is_none_or(Vec::is_empty)
    }

    /// Forgets all; a block is kept.
    fn clear(&mut self) {
        self.blocks.truncate(1);
        self.blocks.iter_mut().for_each(Vec::clear);
        self.kept_bytes = self.blocks.iter().map(Vec::capacity).sum();
    }

    fn each(&self) -> impl Iterator<Item = &[u8]> {
        self.blocks.iter().flat_map(|block| {
            let mut rest = &block[..];
            std::iter::from_fn(move || {
                let (length, behind) = rest.split_first_chunk()?;
                let (line, behind) = behind.split_at(u32::from_le_bytes(*length) as usize);
                rest = behind;
                Some(line)
            })
        })
    }
}

impl Pairs {
    fn emit(line: &mut Vec<u8>, [key, left, right]: [&[u8]; 3], out: &mut Output<'_, Bytes, ()>) {
        line.clear();
        line.extend_from_slice(key);
        line.extend_from_slice(left);
        line.extend_from_slice(right);
        out.emit(line, ());
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
        let Self { kind, empty, lefts, line } = self;
        lefts.clear();
        let mut has_right = false;
        while let Some(((_, side), others)) = values.next_pair() {
            if side == LEFT {
                lefts.push(others);
                if lefts.kept_bytes > LEFT_BYTES_MAX {
                    let key = String::from_utf8_lossy(&key[..key.len().min(80)]);
                    return Err(format!(
                        "key {key:?} has more than 256 MiB of left lines: name the input that has fewer lines of a key 'left'"
                    )
                    .into());
                }
                continue;
            }
            has_right = true;
            if kind.pairs {
                lefts.each().for_each(|left| Self::emit(line, [key, left, others], out));
            }
            if kind.right && lefts.is_empty() {
                Self::emit(line, [key, empty, others], out);
            }
        }
        if kind.left && !has_right {
            lefts.each().for_each(|left| Self::emit(line, [key, left, empty], out));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn left_lines_come_as_they_went_in_whatever_their_length() {
        let mut lefts = Lefts::default();
        for n_lines in [0, 3, 700, 1] {
            let line = |n: usize| vec![n as u8; n * 37 % 1000 + n % 7 / 6 * 2 * BLOCK_BYTES];
            let lines: Vec<_> = (0..n_lines).map(line).collect();
            lefts.clear();
            lines.iter().for_each(|line| lefts.push(line));
            assert!(lefts.each().eq(lines.iter().map(Vec::as_slice)), "{n_lines} lines");
            assert_eq!(lefts.is_empty(), lines.is_empty());
            let bytes: usize = lines.iter().map(|line| line.len() + 4).sum();
            assert!(
                (bytes..=2 * bytes + BLOCK_BYTES).contains(&lefts.kept_bytes),
                "{n_lines} lines"
            );
        }
    }
}
