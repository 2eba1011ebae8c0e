//! Values with units: sizes like `64MiB`, times like `5s`.

use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;
use std::time::{Duration, UNIX_EPOCH};

use serde::de::Visitor;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A value that is not of the accepted form.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{given:?} is not {wanted}")]
pub struct ValueError {
    given: String,
    wanted: &'static str,
}

/// A size, written like `64MiB`, `1GiB`, `4096B`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bytes(pub u64);

/// A duration, written like `500ms`, `5s`, `2min`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(pub Duration);

/// A share in whole percent, written like `10%`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Percent(pub u8);

/// A range of user ids without root's, written like `200000-200063`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UidRange {
    /// The lowest.
    pub first: u32,
    /// The highest, at least as high.
    pub last: u32,
}

/// A moment, milliseconds since 1970-01-01 UTC, written like `2026-11-30T12:00:00Z`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(pub u64);

impl FromStr for Moment {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let since =
            humantime::parse_rfc3339(text).ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok());
        let millis = since.and_then(|since| u64::try_from(since.as_millis()).ok());
        millis.map(Self).ok_or(ValueError { given: text.to_owned(), wanted: MOMENT })
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = UNIX_EPOCH + Duration::from_millis(self.0);
        match self.0 % 1000 {
            0 => humantime::format_rfc3339_seconds(at).fmt(f),
            _ => humantime::format_rfc3339_millis(at).fmt(f),
        }
    }
}

impl FromStr for UidRange {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let number = |text: &str| {
            let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
            text.parse::<u32>().ok().filter(|number| is_number && (1..u32::MAX).contains(number))
        };
        let range = text
            .split_once('-')
            .and_then(|(first, last)| Some(Self { first: number(first)?, last: number(last)? }));
        range
            .filter(|range| range.first <= range.last)
            .ok_or(ValueError { given: text.to_owned(), wanted: UIDS })
    }
}

impl fmt::Display for UidRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.first, self.last)
    }
}

impl FromStr for Percent {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let digits = text.strip_suffix('%').filter(|t| t.bytes().all(|b| b.is_ascii_digit()));
        let share = digits.and_then(|digits| digits.parse().ok()).filter(|share| *share <= 100);
        share.map(Self).ok_or(ValueError { given: text.to_owned(), wanted: PERCENT })
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", self.0)
    }
}

impl FromStr for Bytes {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let text = text.trim();
        let size = text.parse::<bytesize::ByteSize>().ok().map(|size| size.0);
        size.filter(|bytes| {
            text.ends_with(|last: char| last.is_ascii_alphabetic()) && *bytes < u64::MAX
        })
        .map(Self)
        .ok_or(ValueError { given: text.to_owned(), wanted: SIZE })
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [(&str, u32); 4] = [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)];
        for (unit, shift) in UNITS {
            if self.0 != 0 && self.0.trailing_zeros() >= shift {
                return write!(f, "{}{unit}", self.0 >> shift);
            }
        }
        write!(f, "{}B", self.0)
    }
}

impl FromStr for Time {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        humantime::parse_duration(text)
            .map(Self)
            .map_err(|_| ValueError { given: text.to_owned(), wanted: TIME })
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_duration(self.0).fmt(f)
    }
}

const SIZE: &str = "a size with a unit, like 64MiB or 1GiB";
const PERCENT: &str = "a share from 0% to 100%, like 10%";
const UIDS: &str = "a range of user ids above 0, like 200000-200063";
const MOMENT: &str = "a time like 2026-11-30T12:00:00Z";
const TIME: &str = "a time with a unit, like 500ms, 5s or 2min";

/// A visitor of its own instead of `try_from`: so a parser can tell the position of the value.
struct AsText<T> {
    wanted: &'static str,
    value: PhantomData<T>,
}

impl<T: FromStr<Err = ValueError>> Visitor<'_> for AsText<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.wanted)
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }
}

macro_rules! as_text {
    ($($value:ty: $wanted:ident),*) => {$(
        impl Serialize for $value {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $value {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_any(AsText { wanted: $wanted, value: PhantomData })
            }
        }
    )*};
}
as_text!(Bytes: SIZE, Time: TIME, Percent: PERCENT, UidRange: UIDS, Moment: MOMENT);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_times_need_a_unit_and_are_written_as_they_are_read() {
        for text in ["64MiB", "1GiB", "100B", "0B", "3KiB"] {
            assert_eq!(text.parse::<Bytes>().unwrap().to_string(), text);
        }
        for (text, bytes) in
            [("1.5KiB", 1536), ("512m", 512_000_000), ("2gib", 2 << 30), (" 3 Ki", 3072)]
        {
            assert_eq!(text.parse::<Bytes>().unwrap().0, bytes, "{text}");
        }
        for text in ["500ms", "5s", "2m"] {
            assert_eq!(text.parse::<Time>().unwrap().to_string(), text);
        }
        for text in ["0%", "10%", "100%"] {
            assert_eq!(text.parse::<Percent>().unwrap().to_string(), text);
        }
        let uids: UidRange = "200000-200063".parse().unwrap();
        assert_eq!(
            (uids.first, uids.last, uids.to_string().as_str()),
            (200_000, 200_063, "200000-200063")
        );
        for bad in ["", "5", "0-5", "6-5", "-5", "5-", "+1-5", "a-b", "1-4294967295"] {
            assert!(bad.parse::<UidRange>().is_err(), "{bad}");
        }
        for text in ["2026-11-30T12:00:00Z", "1970-01-01T00:00:00.001Z"] {
            assert_eq!(text.parse::<Moment>().unwrap().to_string(), text);
        }
        for bad in ["", "2026-11-30", "12:00", "1969-12-31T23:59:59Z", "2026-13-01T00:00:00Z"] {
            assert!(bad.parse::<Moment>().is_err(), "{bad}");
        }
        for bad in ["", "10", "%", "101%", "+1%", "0.5%", "999%"] {
            assert!(bad.parse::<Percent>().is_err(), "{bad}");
        }
        for bad in ["", "64", "x", "-1MiB", "64 quarks", "99999999999TiB"] {
            assert!(bad.parse::<Bytes>().is_err(), "{bad}");
            assert!(bad.parse::<Time>().is_err(), "{bad}");
        }
    }
}
