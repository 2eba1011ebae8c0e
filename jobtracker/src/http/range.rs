//! The header `Range: bytes=…` of a request for a file's bytes (RFC 9110, section 14), as sent by
//! browsers and `curl -C -`. A range of another unit, or several ranges, are ignored, as that RFC
//! allows.

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use axum::http::header;
use axum::http::request::Parts;
use net::api::{Draft, Takes};

/// The bytes that a request wants of a file whose length it does not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// From this byte on, up to another one (inclusive) or to the end.
    From(u64, Option<u64>),
    /// The last bytes, this many.
    Last(u64),
}

impl Wanted {
    /// The first byte and the length of the range in a file of `whole` bytes; `None` if it contains
    /// none of them.
    pub(super) fn of(self, whole: u64) -> Option<(u64, u64)> {
        let (first, end) = match self {
            Self::From(first, last) => (first, last.map_or(whole, |last| last.saturating_add(1))),
            Self::Last(n) => (whole.saturating_sub(n), whole),
        };
        let length = end.min(whole).checked_sub(first)?;
        (length > 0).then_some((first, length))
    }
}

/// The header `Range`.
pub(super) struct RangeHeader(pub(super) Option<Wanted>);

impl<S: Send + Sync> FromRequestParts<S> for RangeHeader {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        // Files have no entity tags here, so an `If-Range` never matches, and the whole file is
        // wanted.
        let is_asked = !parts.headers.contains_key(header::IF_RANGE);
        let range = parts.headers.get(header::RANGE).filter(|_| is_asked);
        Ok(Self(range.and_then(|range| range.to_str().ok()).and_then(parse)))
    }
}

impl Takes for RangeHeader {
    fn take(draft: &mut Draft<'_>) {
        let words = "One range of bytes, such as `bytes=0-99`, `bytes=100-` or `bytes=-100`, where neither `offset` nor \
                     `length` is given.";
        draft.takes_header("Range", words);
    }
}

fn parse(text: &str) -> Option<Wanted> {
    let (unit, range) = text.trim().split_once('=')?;
    let (first, last) = range.trim().split_once('-')?;
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return None;
    }
    match (first.trim(), last.trim()) {
        ("", n) => number(n).map(Wanted::Last),
        (first, "") => Some(Wanted::From(number(first)?, None)),
        (first, last) => {
            let (first, last) = (number(first)?, number(last)?);
            (first <= last).then_some(Wanted::From(first, Some(last)))
        }
    }
}

fn number(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_what_the_rfc_says() {
        for (text, whole, expected) in [
            ("bytes=0-4", 10, Some((0, 5))),
            ("bytes=9-9", 10, Some((9, 1))),
            ("bytes=5-100", 10, Some((5, 5))),
            ("bytes=5-", 10, Some((5, 5))),
            ("bytes=-3", 10, Some((7, 3))),
            ("bytes=-30", 10, Some((0, 10))),
            ("Bytes = 1 - 2 ", 10, Some((1, 2))),
            ("bytes=10-", 10, None),
            ("bytes=0-", 0, None),
            ("bytes=-0", 10, None),
            ("bytes=0-18446744073709551615", 10, Some((0, 10))),
        ] {
            let wanted = parse(text).unwrap_or_else(|| panic!("{text} is a range"));
            assert_eq!(wanted.of(whole), expected, "{text} of {whole}");
        }
        for none in [
            "",
            "bytes",
            "bytes=",
            "bytes=-",
            "bytes=4-2",
            "bytes=0-1,3-4",
            "lines=0-1",
            "bytes=a-b",
            "bytes=+1-2",
        ] {
            assert_eq!(parse(none), None, "{none:?}");
        }
    }
}
