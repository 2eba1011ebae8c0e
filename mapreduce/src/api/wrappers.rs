//! Types made of another one: [`Option`], and the order turned round.

use std::cmp::Ordering;
use std::marker::PhantomData;

use super::{Datum, DecodeError, Key, Visitor};

const NONE: u8 = 1;
const SOME: u8 = 2;

/// Nothing, or a value; nothing comes first. As text, nothing leaves no tab, but is an empty field among those of a tuple or
/// struct.
impl<D: Datum> Datum for Option<D> {
    type Ref<'a> = Option<D::Ref<'a>>;
    const WIDTH: Option<usize> = match D::WIDTH {
        Some(width) => Some(1 + width),
        None => None,
    };
    const ROUNDS: bool = D::ROUNDS;
    const COLUMNS: usize = D::COLUMNS;

    #[inline]
    fn encode(value: Option<D::Ref<'_>>, out: &mut Vec<u8>) {
        match value {
            Some(value) => {
                out.push(SOME);
                D::encode(value, out);
            }
            None => {
                out.push(NONE);
                out.resize(out.len() + D::WIDTH.unwrap_or(0), 0);
            }
        }
    }

    #[inline]
    fn decode(bytes: &[u8]) -> Result<Option<D::Ref<'_>>, DecodeError> {
        match bytes.split_first() {
            Some((&SOME, rest)) => D::decode(rest).map(Some),
            Some((&NONE, rest)) if rest.len() == D::WIDTH.unwrap_or(0) => Ok(None),
            _ => Err(DecodeError::new("Option", bytes)),
        }
    }

    fn write_text(value: Option<D::Ref<'_>>, out: &mut Vec<u8>) -> bool {
        value.is_some_and(|value| D::write_text(value, out))
    }

    fn visit(value: Option<D::Ref<'_>>, to: &mut dyn Visitor) {
        match value {
            Some(value) => D::visit(value, to),
            None => to.none(),
        }
    }
}

impl<K: Key> Key for Option<K> {
    fn compare(a: Option<K::Ref<'_>>, b: Option<K::Ref<'_>>) -> Ordering {
        match (a, b) {
            (Some(a), Some(b)) => K::compare(a, b),
            (a, b) => a.is_some().cmp(&b.is_some()),
        }
    }
}

/// The same keys, the last one first. What the author's code sees is what it sees of `K`.
///
/// Of what can be read from turned bits (numbers), the encoding has all bits turned. Of anything else it is the
/// encoding turned, with its zeros escaped and an end as a field has them, and then, raw, what can be borrowed.
pub struct Desc<K>(PhantomData<fn() -> K>);

impl<K: Key> Datum for Desc<K> {
    type Ref<'a> = K::Ref<'a>;
    const WIDTH: Option<usize> = match K::WIDTH {
        Some(width) if !K::READS_TURNED => Some(2 * width),
        width => width,
    };
    const ROUNDS: bool = K::ROUNDS;
    const COLUMNS: usize = K::COLUMNS;

    fn encode(value: K::Ref<'_>, out: &mut Vec<u8>) {
        let start = out.len();
        K::encode(value, out);
        if K::READS_TURNED {
            return turn(&mut out[start..]);
        }
        let raw = out.split_off(start);
        for byte in &raw {
            out.push(!byte);
            if *byte == 0 && K::WIDTH.is_none() {
                out.push(0);
            }
        }
        if K::WIDTH.is_none() {
            out.extend_from_slice(&[0xff; 2]);
        }
        out.extend_from_slice(&raw);
    }

    fn decode(bytes: &[u8]) -> Result<K::Ref<'_>, DecodeError> {
        if K::READS_TURNED {
            return K::decode_turned(bytes);
        }
        let at = match K::WIDTH {
            Some(width) => Some(width),
            None => raw_at(bytes),
        };
        let raw = at.and_then(|at| bytes.get(at..));
        K::decode(raw.ok_or_else(|| DecodeError::new("Desc", bytes))?)
    }

    fn write_text(value: K::Ref<'_>, out: &mut Vec<u8>) -> bool {
        K::write_text(value, out)
    }

    fn visit(value: K::Ref<'_>, to: &mut dyn Visitor) {
        K::visit(value, to);
    }
}

impl<K: Key> Key for Desc<K> {
    fn compare(a: K::Ref<'_>, b: K::Ref<'_>) -> Ordering {
        K::compare(b, a)
    }
}

fn turn(bytes: &mut [u8]) {
    bytes.iter_mut().for_each(|byte| *byte = !*byte);
}

/// Behind the `ff ff` that ends what was turned.
fn raw_at(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        at += memchr::memchr(0xff, &bytes[at..])? + 2;
        match bytes.get(at - 1)? {
            0xff => return Some(at),
            0 => {}
            _ => return None,
        }
    }
}
