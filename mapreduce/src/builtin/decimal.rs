//! Decimal numbers without rounding, so that a sum does not depend on the order of its parts.

use std::fmt;

/// Digits behind the point, at most.
pub(super) const SCALE_MAX: u8 = 18;

/// A number as it is written: `digits / 10^scale`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Decimal {
    pub(super) digits: i128,
    pub(super) scale: u8,
}

impl Decimal {
    /// Reads `-12.5`, with white space around it.
    pub(super) fn parse(text: &[u8]) -> Result<Self, String> {
        let trimmed = text.trim_ascii();
        let read = || {
            let text = str::from_utf8(trimmed).ok()?;
            let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
            let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
            let fraction = fraction.trim_end_matches('0');
            let all = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
            let is_number = all(whole) && all(fraction) && unsigned.bytes().any(|b| b != b'.');
            let scale = u8::try_from(fraction.len()).ok().filter(|scale| *scale <= SCALE_MAX)?;
            if !is_number {
                return None;
            }
            let joined = format!("0{whole}{fraction}");
            // Room for the other digits behind the point, and for many to be added.
            let digits = joined.parse::<i128>().ok().filter(|digits| *digits < 10_i128.pow(27))?;
            let digits = if text.starts_with('-') { -digits } else { digits };
            Some(Self { digits, scale })
        };
        read().ok_or_else(|| {
            format!(
                "{:?} is no decimal number of at most 27 digits, {SCALE_MAX} of them behind the point",
                String::from_utf8_lossy(&trimmed[..trimmed.len().min(40)])
            )
        })
    }

    /// In units of `10^-scale`; `None` where that is too large.
    fn at(self, scale: u8) -> Option<i128> {
        self.digits.checked_mul(10_i128.pow(u32::from(scale - self.scale)))
    }

    /// In the smallest units there are, for comparisons: a number that was read always has room there but for the
    /// largest of the longest.
    pub(super) fn units(self) -> Result<i128, String> {
        let too_large = || format!("{self} is beyond 10^20, which can't be compared");
        self.at(SCALE_MAX).ok_or_else(too_large)
    }

    /// The exact sum; `None` where it is too large.
    pub(super) fn plus(self, other: Self) -> Option<Self> {
        let scale = self.scale.max(other.scale);
        let digits = self.at(scale)?.checked_add(other.at(scale)?)?;
        Some(Self { digits, scale })
    }

    /// As a floating-point number, divided by a count.
    pub(super) fn over(self, count: u64) -> f64 {
        self.digits as f64 / (10_f64.powi(i32::from(self.scale)) * count as f64)
    }
}

/// Without zeros at the end of a fraction.
impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = 10_u128.pow(u32::from(self.scale));
        let digits = self.digits.unsigned_abs();
        let sign = if self.digits < 0 { "-" } else { "" };
        write!(f, "{sign}{}", digits / unit)?;
        let fraction = digits % unit;
        if fraction > 0 {
            let text = format!("{fraction:0width$}", width = usize::from(self.scale));
            write!(f, ".{}", text.trim_end_matches('0'))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> Result<Decimal, String> {
        Decimal::parse(text.as_bytes())
    }

    #[test]
    fn numbers_are_written_as_they_were_read() {
        for (text, shown) in [
            ("0", "0"),
            ("-0.50", "-0.5"),
            ("+12", "12"),
            (" 7\r", "7"),
            (".25", "0.25"),
            ("3.", "3"),
            ("007.10", "7.1"),
            ("-0.000000000000000001", "-0.000000000000000001"),
        ] {
            assert_eq!(parse(text).unwrap().to_string(), shown, "{text}");
        }
        let long = "9".repeat(28);
        for text in
            ["", "-", ".", "1e5", "1,5", "0x1", "--1", "NaN", "0.0000000000000000001", &long]
        {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sums_are_exact_or_refused() {
        let sum = |a: &str, b: &str| parse(a).unwrap().plus(parse(b).unwrap());
        assert_eq!(sum("0.1", "0.2").unwrap().to_string(), "0.3");
        assert_eq!(sum("1", "-1.000000000000000001").unwrap().to_string(), "-0.000000000000000001");
        let large = Decimal { digits: i128::MAX, scale: 0 };
        assert_eq!(large.plus(parse("1").unwrap()), None);
        assert_eq!(large.plus(parse("0.1").unwrap()), None);
        assert!(parse(&"9".repeat(27)).unwrap().units().is_err());
    }

    proptest! {
        #[test]
        fn the_order_of_a_sum_does_not_matter(numbers in proptest::collection::vec((-1_000_000_i64..1_000_000, 0..7_u8), 1..20)) {
            let numbers: Vec<_> =
                numbers.iter().map(|(n, scale)| Decimal { digits: (*n).into(), scale: *scale }).collect();
            let sum = |it: &mut dyn Iterator<Item = &Decimal>| {
                it.fold(Decimal { digits: 0, scale: 0 }, |sum, n| sum.plus(*n).unwrap()).to_string()
            };
            let forth = sum(&mut numbers.iter());
            prop_assert_eq!(&forth, &sum(&mut numbers.iter().rev()));
            let units: i128 = numbers.iter().map(|n| n.units().unwrap()).sum();
            prop_assert_eq!(forth, Decimal { digits: units, scale: SCALE_MAX }.to_string());
        }
    }
}
