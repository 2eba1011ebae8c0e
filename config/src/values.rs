//! Values with units: sizes like `64MiB`, times like `5s`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A value that is not of the accepted form.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{given:?} is not {wanted}")]
pub struct ValueError {
    given: String,
    wanted: &'static str,
}

/// A size, written like `64MiB`, `1GiB`, `4096B`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Bytes(pub u64);

/// A duration, written like `500ms`, `5s`, `2min`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Time(pub Duration);

impl FromStr for Bytes {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let has_unit = text.trim_end().ends_with(['B', 'b']);
        text.parse::<bytesize::ByteSize>().ok().filter(|_| has_unit).map(|size| Self(size.0)).ok_or(
            ValueError { given: text.to_owned(), wanted: "a size with a unit, like 64MiB or 1GiB" },
        )
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
        humantime::parse_duration(text).map(Self).map_err(|_| ValueError {
            given: text.to_owned(),
            wanted: "a time with a unit, like 500ms, 5s or 2min",
        })
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_duration(self.0).fmt(f)
    }
}

macro_rules! as_text {
    ($($value:ty),*) => {$(
        impl TryFrom<String> for $value {
            type Error = ValueError;

            fn try_from(text: String) -> Result<Self, ValueError> {
                text.parse()
            }
        }

        impl From<$value> for String {
            fn from(value: $value) -> Self {
                value.to_string()
            }
        }
    )*};
}
as_text!(Bytes, Time);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_times_need_a_unit_and_are_written_as_they_are_read() {
        for text in ["64MiB", "1GiB", "100B", "0B", "3KiB"] {
            assert_eq!(text.parse::<Bytes>().unwrap().to_string(), text);
        }
        assert_eq!("1.5KiB".parse::<Bytes>().unwrap().0, 1536);
        for text in ["500ms", "5s", "2m"] {
            assert_eq!(text.parse::<Time>().unwrap().to_string(), text);
        }
        for bad in ["", "64", "x", "-1MiB", "64 quarks"] {
            assert!(bad.parse::<Bytes>().is_err(), "{bad}");
            assert!(bad.parse::<Time>().is_err(), "{bad}");
        }
    }
}
