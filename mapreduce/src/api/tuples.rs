//! Tuples of two to eight fields, as keys and as values.

use std::cmp::Ordering;

use super::fields::{self, Encoder, Fields, TextWriter};
use super::{Datum, DecodeError, Key, Visitor};

macro_rules! tuple {
    ($n:literal: $($field:ident $value:ident),*; $last:ident $last_value:ident) => {
        impl<$($field: Datum,)* $last: Datum> Datum for ($($field,)* $last) {
            type Ref<'a> = ($($field::Ref<'a>,)* $last::Ref<'a>);
            const WIDTH: Option<usize> = fields::width(&[$($field::WIDTH,)* $last::WIDTH]);
            const ROUNDS: bool = $($field::ROUNDS ||)* $last::ROUNDS;
            const COLUMNS: usize = $($field::COLUMNS +)* $last::COLUMNS;

            #[inline]
            fn encode(($($value,)* $last_value): Self::Ref<'_>, out: &mut Vec<u8>) {
                let mut encoder = Encoder::new(out);
                $(encoder.field::<$field>($value);)*
                encoder.last::<$last>($last_value);
            }

            #[inline]
            fn decode(bytes: &[u8]) -> Result<Self::Ref<'_>, DecodeError> {
                let widths = [$($field::WIDTH,)* $last::WIDTH];
                let [$($value,)* $last_value] = fields::split(bytes, widths)
                    .ok_or_else(|| DecodeError::new(concat!("tuple of ", $n), bytes))?;
                Ok(($($field::decode($value)?,)* $last::decode($last_value)?))
            }

            fn write_text(($($value,)* $last_value): Self::Ref<'_>, out: &mut Vec<u8>) -> bool {
                let mut writer = TextWriter::new(out);
                $(writer.field::<$field>($value);)*
                writer.field::<$last>($last_value);
                writer.wrote()
            }

            fn visit(($($value,)* $last_value): Self::Ref<'_>, to: &mut dyn Visitor) {
                to.begin(&[]);
                $($field::visit($value, to);)*
                $last::visit($last_value, to);
                to.end();
            }
        }

        impl<$($field: Key,)* $last: Key> Key for ($($field,)* $last) {
            fn compare(a: Self::Ref<'_>, b: Self::Ref<'_>) -> Ordering {
                Self::compare_leading(a, b, $n)
            }
        }

        impl<$($field: Key,)* $last: Key> Fields for ($($field,)* $last) {
            const FIELDS: usize = $n;
            const WIDTHS: &'static [Option<usize>] = &[$($field::WIDTH,)* $last::WIDTH];

            #[allow(non_snake_case)] // A field of the second key has its type's name.
            fn compare_leading(a: Self::Ref<'_>, b: Self::Ref<'_>, n: usize) -> Ordering {
                let ($($value,)* $last_value) = a;
                let ($($field,)* $last) = b;
                let orders = [
                    $($field::compare($value, $field),)*
                    $last::compare($last_value, $last),
                ];
                orders.into_iter().take(n).find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
            }
        }
    };
}
tuple!(2: A a; B b);
tuple!(3: A a, B b; C c);
tuple!(4: A a, B b, C c; D d);
tuple!(5: A a, B b, C c, D d; E e);
tuple!(6: A a, B b, C c, D d, E e; F f);
tuple!(7: A a, B b, C c, D d, E e, F f; G g);
tuple!(8: A a, B b, C c, D d, E e, F f, G g; H h);
