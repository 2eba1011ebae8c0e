//! Keys and values of fixed width: integers, floating-point numbers, `bool`, `char` and `()`. Big-endian; signed
//! ones with the sign bit turned, so that the order of bytes is the order of numbers.

use std::cmp::Ordering;
use std::io::Write;

use super::{Datum, DecodeError, Key, Visitor};

macro_rules! integer {
    ($($number:ty, $mask:expr);*) => {$(
        impl Datum for $number {
            type Ref<'a> = $number;
            const WIDTH: Option<usize> = Some(size_of::<$number>());

            #[inline]
            fn encode(value: $number, out: &mut Vec<u8>) {
                out.extend_from_slice(&(value ^ $mask).to_be_bytes());
            }

            #[inline]
            fn decode(bytes: &[u8]) -> Result<$number, DecodeError> {
                match bytes.try_into() {
                    Ok(bytes) => Ok(<$number>::from_be_bytes(bytes) ^ $mask),
                    Err(_) => Err(DecodeError::new(stringify!($number), bytes)),
                }
            }

            fn write_text(value: $number, out: &mut Vec<u8>) -> bool {
                write!(out, "{value}").expect("a Vec takes all bytes");
                true
            }

            fn visit(value: $number, to: &mut dyn Visitor) {
                to.literal(&value.to_string());
            }
        }

        impl Key for $number {
            const READS_TURNED: bool = true;

            fn compare(a: $number, b: $number) -> Ordering {
                a.cmp(&b)
            }

            #[inline]
            fn decode_turned(bytes: &[u8]) -> Result<$number, DecodeError> {
                // Of a number whose bits are all turned, all bits but the sign's mask are the other way round.
                Self::decode(bytes).map(|turned| !turned)
            }
        }
    )*};
}
integer!(
    u8, 0; u16, 0; u32, 0; u64, 0; u128, 0;
    i8, i8::MIN; i16, i16::MIN; i32, i32::MIN; i64, i64::MIN; i128, i128::MIN
);

/// The number of encoded bits.
macro_rules! read_float {
    ($number:ident, $bits:ident, $encoded:expr) => {{
        let encoded = $encoded;
        let was_negative = encoded >> ($bits::BITS - 1) == 0;
        let mask = if was_negative { $bits::MAX } else { 1 << ($bits::BITS - 1) };
        $number::from_bits(encoded ^ mask)
    }};
}
macro_rules! float {
    ($($number:ident, $bits:ident);*) => {$(
        /// Numbers in IEEE's total order: −NaN, −∞, …, −0, 0, …, ∞, NaN.
        impl Datum for $number {
            type Ref<'a> = Self;
            const WIDTH: Option<usize> = Some(size_of::<$number>());
            const ROUNDS: bool = true;

            #[inline]
            fn encode(value: Self, out: &mut Vec<u8>) {
                let bits = value.to_bits();
                // A negative number's other bits grow as it sinks: turn them all.
                let is_negative = bits >> ($bits::BITS - 1) == 1;
                let mask = if is_negative { $bits::MAX } else { 1 << ($bits::BITS - 1) };
                out.extend_from_slice(&(bits ^ mask).to_be_bytes());
            }

            #[inline]
            fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
                match bytes.try_into() {
                    Ok(bytes) => Ok(read_float!($number, $bits, $bits::from_be_bytes(bytes))),
                    Err(_) => Err(DecodeError::new(stringify!($number), bytes)),
                }
            }

            fn write_text(value: Self, out: &mut Vec<u8>) -> bool {
                write!(out, "{value:?}").expect("a Vec takes all bytes");
                true
            }

            fn visit(value: Self, to: &mut dyn Visitor) {
                let text = format!("{value:?}");
                // JSON has no others.
                if value.is_finite() { to.literal(&text) } else { to.bytes(text.as_bytes()) }
            }
        }

        impl Key for $number {
            const READS_TURNED: bool = true;

            fn compare(a: Self, b: Self) -> Ordering {
                a.total_cmp(&b)
            }

            #[inline]
            fn decode_turned(bytes: &[u8]) -> Result<Self, DecodeError> {
                match bytes.try_into() {
                    Ok(bytes) => Ok(read_float!($number, $bits, !$bits::from_be_bytes(bytes))),
                    Err(_) => Err(DecodeError::new(stringify!($number), bytes)),
                }
            }
        }
    )*};
}

float!(f32, u32; f64, u64);

/// `false` comes before `true`.
impl Datum for bool {
    type Ref<'a> = Self;
    const WIDTH: Option<usize> = Some(1);

    #[inline]
    fn encode(value: Self, out: &mut Vec<u8>) {
        out.push(u8::from(value));
    }

    #[inline]
    fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        match bytes {
            [0] => Ok(false),
            [1] => Ok(true),
            _ => Err(DecodeError::new("bool", bytes)),
        }
    }

    fn write_text(value: Self, out: &mut Vec<u8>) -> bool {
        write!(out, "{value}").expect("a Vec takes all bytes");
        true
    }

    fn visit(value: Self, to: &mut dyn Visitor) {
        to.literal(if value { "true" } else { "false" });
    }
}

impl Key for bool {
    const READS_TURNED: Self = true;

    fn compare(a: Self, b: Self) -> Ordering {
        a.cmp(&b)
    }

    fn decode_turned(bytes: &[u8]) -> Result<Self, DecodeError> {
        u8::decode_turned(bytes).and_then(|byte| match byte {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(DecodeError::new("bool", bytes)),
        })
    }
}

/// Characters by their code points.
impl Datum for char {
    type Ref<'a> = Self;
    const WIDTH: Option<usize> = u32::WIDTH;

    #[inline]
    fn encode(value: Self, out: &mut Vec<u8>) {
        u32::encode(value.into(), out);
    }

    #[inline]
    fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let point = u32::decode(bytes)?;
        Self::from_u32(point).ok_or_else(|| DecodeError::new("char", bytes))
    }

    fn write_text(value: Self, out: &mut Vec<u8>) -> bool {
        out.extend_from_slice(value.encode_utf8(&mut [0; 4]).as_bytes());
        true
    }
}

impl Key for char {
    const READS_TURNED: bool = true;

    fn compare(a: Self, b: Self) -> Ordering {
        a.cmp(&b)
    }

    fn decode_turned(bytes: &[u8]) -> Result<Self, DecodeError> {
        let point = u32::decode_turned(bytes)?;
        Self::from_u32(point).ok_or_else(|| DecodeError::new("char", bytes))
    }
}

/// Nothing (Hadoop: `NullWritable`): a line of output has no tab where it stands.
impl Datum for () {
    type Ref<'a> = ();
    const WIDTH: Option<usize> = Some(0);
    const COLUMNS: usize = 0;

    #[inline]
    fn encode((): (), _: &mut Vec<u8>) {}

    #[inline]
    fn decode(bytes: &[u8]) -> Result<(), DecodeError> {
        if bytes.is_empty() { Ok(()) } else { Err(DecodeError::new("()", bytes)) }
    }

    fn write_text((): (), _: &mut Vec<u8>) -> bool {
        false
    }
}

impl Key for () {
    const READS_TURNED: bool = true;

    fn compare((): (), (): ()) -> Ordering {
        Ordering::Equal
    }

    fn decode_turned(bytes: &[u8]) -> Result<(), DecodeError> {
        Self::decode(bytes)
    }
}
