//! Which parts of a key count, and how: the options of sort(1) that Hadoop's `KeyFieldBasedPartitioner` and
//! `KeyFieldBasedComparator` know: `-k1,2`, `-k2.3,2.5nr`, `-n`, `-r`.

use std::str::FromStr;

/// Parts of a key, at most.
const PARTS_MAX: usize = 100;

/// The parts in their order; the whole key, if the options name none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyFields {
    /// At least one.
    pub parts: Vec<KeyPart>,
}

/// From one place of a key to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyPart {
    /// Where it begins.
    pub first: Place,
    /// Where it ends; absent: with the key.
    pub last: Option<Place>,
    /// Compared as a number.
    pub numeric: bool,
    /// The other way round.
    pub reverse: bool,
}

/// A byte of a field, both from 1. Byte 0, of a last place alone, is the field's last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Which field.
    pub field: u32,
    /// Which byte of it.
    pub byte: u32,
}

/// Options that can't be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{given:?} is not among the options of sort that are known: write -kFIELD[.BYTE][nr][,FIELD[.BYTE][nr]], -n, -r"
)]
pub struct KeyFieldsError {
    given: String,
}

impl KeyPart {
    const WHOLE: Self =
        Self { first: Place { field: 1, byte: 1 }, last: None, numeric: false, reverse: false };
}

impl FromStr for KeyFields {
    type Err = KeyFieldsError;

    fn from_str(text: &str) -> Result<Self, KeyFieldsError> {
        let refused = |given: &str| KeyFieldsError { given: given.chars().take(80).collect() };
        let (mut parts, mut numeric, mut reverse) = (Vec::new(), false, false);
        let mut words = text.split_whitespace();
        while let Some(word) = words.next() {
            let part = match word {
                // As in sort, the fields may stand apart.
                "-k" => words.next().ok_or_else(|| refused(word))?,
                _ => match word.strip_prefix("-k") {
                    Some(part) => part,
                    None => {
                        let flags = word.strip_prefix('-').filter(|it| !it.is_empty());
                        let (n, r) = flags.and_then(flags_of).ok_or_else(|| refused(word))?;
                        (numeric, reverse) = (numeric || n, reverse || r);
                        continue;
                    }
                },
            };
            parts.push(part_of(part).ok_or_else(|| refused(word))?);
            if parts.len() > PARTS_MAX {
                return Err(refused(text));
            }
        }
        if parts.is_empty() {
            parts.push(KeyPart::WHOLE);
        }
        // What stands alone counts for the parts that say nothing themselves.
        for part in parts.iter_mut().filter(|part| !part.numeric && !part.reverse) {
            (part.numeric, part.reverse) = (numeric, reverse);
        }
        Ok(Self { parts })
    }
}

fn flags_of(text: &str) -> Option<(bool, bool)> {
    let known = text.bytes().all(|flag| matches!(flag, b'n' | b'r'));
    known.then(|| (text.contains('n'), text.contains('r')))
}

/// `F[.C][nr][,F[.C][nr]]`.
fn part_of(text: &str) -> Option<KeyPart> {
    let (first, last) = match text.split_once(',') {
        Some((first, last)) => (first, Some(last)),
        None => (text, None),
    };
    let (first, first_flags) = place_of(first, 1)?;
    let last = match last {
        Some(last) => Some(place_of(last, 0)?),
        None => None,
    };
    let last_flags = last.map_or((false, false), |(_, flags)| flags);
    Some(KeyPart {
        first,
        last: last.map(|(place, _)| place),
        numeric: first_flags.0 || last_flags.0,
        reverse: first_flags.1 || last_flags.1,
    })
    .filter(|part| part.first.byte > 0)
}

fn place_of(text: &str, byte: u32) -> Option<(Place, (bool, bool))> {
    let numbers = text.trim_end_matches(['n', 'r']);
    let flags = flags_of(&text[numbers.len()..])?;
    let (field, byte) = match numbers.split_once('.') {
        Some((field, byte)) => (number(field)?, number(byte)?),
        None => (number(numbers)?, byte),
    };
    (field > 0).then_some((Place { field, byte }, flags))
}

fn number(text: &str) -> Option<u32> {
    let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(first: (u32, u32), last: Option<(u32, u32)>, flags: &str) -> KeyPart {
        let place = |(field, byte)| Place { field, byte };
        let (numeric, reverse) = (flags.contains('n'), flags.contains('r'));
        KeyPart { first: place(first), last: last.map(place), numeric, reverse }
    }

    #[test]
    fn the_options_of_sort_are_read() {
        for (text, expected) in [
            ("", vec![part((1, 1), None, "")]),
            ("-nr", vec![part((1, 1), None, "nr")]),
            ("-k1,2", vec![part((1, 1), Some((2, 0)), "")]),
            ("-k 1,1", vec![part((1, 1), Some((1, 0)), "")]),
            ("-k2", vec![part((2, 1), None, "")]),
            ("-k2,2nr", vec![part((2, 1), Some((2, 0)), "nr")]),
            ("-k2n,2r", vec![part((2, 1), Some((2, 0)), "nr")]),
            ("-k1.3,2.5", vec![part((1, 3), Some((2, 5)), "")]),
            (
                "-k1,1 -k3,3n -r",
                vec![part((1, 1), Some((1, 0)), "r"), part((3, 1), Some((3, 0)), "n")],
            ),
        ] {
            assert_eq!(text.parse(), Ok(KeyFields { parts: expected }), "{text}");
        }
        for text in [
            "-k", "-k0", "-kx", "-k1,", "-k1.0,1", "-k1,0", "-k1,2,3", "-k+1", "x", "-", "-f",
            "-k1f",
        ] {
            let refused = text.parse::<KeyFields>().unwrap_err().to_string();
            assert!(refused.contains("-kFIELD"), "{text}: {refused}");
        }
    }
}
