//! Keys and values of fixed width: integers, `f64` and `()`. Big-endian; signed ones with the sign bit
//! turned, so that the order of bytes is the order of numbers.

use std::cmp::Ordering;
use std::io::Write;

use super::{Datum, DecodeError, Key};

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
        }

        impl Key for $number {
            fn compare(a: $number, b: $number) -> Ordering {
                a.cmp(&b)
            }
        }
    )*};
}
integer!(u8, 0; u16, 0; u32, 0; u64, 0; i32, i32::MIN; i64, i64::MIN);

/// Numbers in IEEE's total order: −NaN, −∞, …, −0, 0, …, ∞, NaN.
impl Datum for f64 {
    type Ref<'a> = Self;
    const WIDTH: Option<usize> = Some(8);

    #[inline]
    fn encode(value: Self, out: &mut Vec<u8>) {
        let bits = value.to_bits();
        // A negative number's other bits grow as it sinks: turn them all.
        let mask = if bits >> 63 == 1 { u64::MAX } else { 1 << 63 };
        out.extend_from_slice(&(bits ^ mask).to_be_bytes());
    }

    #[inline]
    fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let Ok(bytes) = bytes.try_into() else {
            return Err(DecodeError::new("f64", bytes));
        };
        let bits = u64::from_be_bytes(bytes);
        let mask = if bits >> 63 == 1 { 1 << 63 } else { u64::MAX };
        Ok(Self::from_bits(bits ^ mask))
    }

    fn write_text(value: Self, out: &mut Vec<u8>) -> bool {
        write!(out, "{value:?}").expect("a Vec takes all bytes");
        true
    }
}

impl Key for f64 {
    fn compare(a: Self, b: Self) -> Ordering {
        a.total_cmp(&b)
    }
}

/// Nothing (Hadoop: `NullWritable`): a line of output has no tab where it stands.
impl Datum for () {
    type Ref<'a> = ();
    const WIDTH: Option<usize> = Some(0);

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
    fn compare((): (), (): ()) -> Ordering {
        Ordering::Equal
    }
}
