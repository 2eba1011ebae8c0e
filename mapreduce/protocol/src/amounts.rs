//! Times and shares as job files write them: `2h`, `0.8`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A length of time, written with its unit: `90s`, `20min`, `2h 30min`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TimeSpan(pub Duration);

ids::text_schema!(
    TimeSpan,
    r"^\s*([0-9]+\s*[A-Za-z]+\s*)+$",
    "A length of time with its unit, like `90s`, `20min` or `2h 30min`."
);

/// A text that is no [`TimeSpan`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{given:?} is not a time with a unit, like 90s, 20min or 2h")]
pub struct TimeSpanError {
    given: String,
}

impl FromStr for TimeSpan {
    type Err = TimeSpanError;

    /// As the configuration reads times.
    fn from_str(text: &str) -> Result<Self, TimeSpanError> {
        let span = humantime::parse_duration(text).ok();
        span.map(Self).ok_or_else(|| TimeSpanError { given: text.to_owned() })
    }
}

impl fmt::Display for TimeSpan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_duration(self.0).fmt(f)
    }
}

impl Serialize for TimeSpan {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for TimeSpan {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// A share from 0 to 1, to a millionth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, JsonSchema)]
#[schemars(with = "f64")]
pub struct Share(u32);

const MILLION: f64 = 1e6;

/// A number that is no [`Share`].
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[error("{given} is not a number from 0 to 1")]
pub struct ShareError {
    given: f64,
}

impl Share {
    /// The number.
    #[must_use]
    pub fn get(self) -> f64 {
        f64::from(self.0) / MILLION
    }
}

impl TryFrom<f64> for Share {
    type Error = ShareError;

    fn try_from(given: f64) -> Result<Self, ShareError> {
        if !(0.0..=1.0).contains(&given) {
            return Err(ShareError { given });
        }
        #[expect(clippy::cast_possible_truncation, reason = "a million at most")]
        #[expect(clippy::cast_sign_loss, reason = "at least 0")]
        let millionths = (given * MILLION).round() as u32;
        Ok(Self(millionths))
    }
}

impl Serialize for Share {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.get())
    }
}

impl<'de> Deserialize<'de> for Share {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::try_from(f64::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_units_and_shares_are_from_0_to_1() {
        for (text, again) in [("90s", "1m 30s"), ("2h", "2h"), ("1h 5min", "1h 5m")] {
            let span: TimeSpan = text.parse().unwrap();
            assert_eq!(span.to_string(), again);
            assert_eq!(again.parse::<TimeSpan>().unwrap(), span);
        }
        for text in ["", "90", "-1s", "1 fortnight"] {
            let refused = text.parse::<TimeSpan>().unwrap_err().to_string();
            assert!(refused.contains("20min"), "{text}: {refused}");
        }
        let share = |json: &str| serde_json::from_str::<Share>(json);
        for (json, again) in [("0.8", "0.8"), ("1", "1.0"), ("0", "0.0"), ("0.05", "0.05")] {
            assert_eq!(serde_json::to_string(&share(json).unwrap()).unwrap(), again);
        }
        for json in ["1.1", "-0.1", "\"0.5\""] {
            assert!(share(json).is_err(), "{json}");
        }
    }
}
