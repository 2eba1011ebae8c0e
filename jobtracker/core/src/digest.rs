//! The digest of a task's output in memory, where there is one per finished task.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A digest, serialised as the text that the task reported. The 32 hexadecimal digits of an
/// XXH3-128, which tasks report, take 16 bytes in memory; any other text takes its length.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub(crate) enum Digest {
    Xxh3([u8; 16]),
    Other(Box<str>),
}

impl From<String> for Digest {
    fn from(text: String) -> Self {
        Self::from(text.as_str())
    }
}

impl From<&str> for Digest {
    fn from(text: &str) -> Self {
        parsed(text).map_or_else(|| Self::Other(text.into()), Self::Xxh3)
    }
}

/// The bytes of 32 lower-case hexadecimal digits; `None` for any other text.
fn parsed(text: &str) -> Option<[u8; 16]> {
    let digits: &[u8; 32] = text.as_bytes().try_into().ok()?;
    let mut bytes = [0; 16];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        for digit in pair {
            let value = match digit {
                b'0'..=b'9' => digit - b'0',
                b'a'..=b'f' => digit - b'a' + 10,
                _ => return None,
            };
            *byte = *byte << 4 | value;
        }
    }
    Some(bytes)
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.to_string()
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Xxh3(bytes) => write!(f, "{:032x}", u128::from_be_bytes(*bytes)),
            Self::Other(text) => f.write_str(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_the_text_that_was_told_however_it_is_kept() {
        let usual = "00f0e1d2c3b4a5968778695a4b3c2d1e";
        assert!(matches!(Digest::from(usual), Digest::Xxh3(_)));
        for text in [
            usual,
            "00000000000000000000000000000000",
            "",
            "0",
            "00F0E1D2C3B4A5968778695A4B3C2D1E",
            "+0f0e1d2c3b4a5968778695a4b3c2d1e",
            "no hexadecimal digits, 32 bytes.",
        ] {
            let digest = Digest::from(text);
            assert_eq!(digest.to_string(), text);
            let json = serde_json::to_string(&digest).unwrap();
            assert_eq!(json, format!("{text:?}"));
            assert_eq!(serde_json::from_str::<Digest>(&json).unwrap(), digest);
        }
        assert!(size_of::<Digest>() <= 24);
    }
}
