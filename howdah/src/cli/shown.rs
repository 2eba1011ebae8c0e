//! Times as commands print them, and paths of the chunk store as people type them.

use std::time::Duration;

use chunkstore_protocol::{PathError, StorePath};
use ids::UnixMillis;

use crate::copy::Target;

/// Like `2026-11-22T10:00:00Z`.
pub(super) fn time(at: UnixMillis) -> String {
    let millis = i64::try_from(at.0).unwrap_or(i64::MAX);
    jiff::Timestamp::from_millisecond(millis)
        .map_or_else(|_| "-".to_owned(), |time| time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
}

/// Like `2.3s` or `1h 5m 2s`.
pub(super) fn duration(duration: Duration) -> String {
    if duration < Duration::from_secs(60) {
        return format!("{:.1}s", duration.as_secs_f64());
    }
    humantime::format_duration(Duration::from_secs(duration.as_secs())).to_string()
}

/// A path of the chunk store; a slash at its end, as shells complete folders, is left off.
pub(super) fn store_path(text: &str) -> Result<StorePath, PathError> {
    match text.trim_end_matches('/') {
        "" if !text.is_empty() => Ok(StorePath::root()),
        path => path.parse(),
    }
}

/// A path of the chunk store that something is to go to.
pub(super) fn target(text: &str) -> Result<Target, PathError> {
    Ok(Target { path: store_path(text)?, is_folder: text.ends_with('/') })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_short_and_paths_forgiving() {
        assert_eq!(time(UnixMillis(1_795_341_600_000)), "2026-11-22T10:00:00Z");
        for (millis, expected) in [(0, "0.0s"), (2345, "2.3s"), (3_902_999, "1h 5m 2s")] {
            assert_eq!(duration(Duration::from_millis(millis)), expected);
        }
        for (text, expected) in [("/", "/"), ("/in/", "/in"), ("/in", "/in"), ("//", "/")] {
            assert_eq!(store_path(text).unwrap().as_str(), expected);
        }
        for wrong in ["", "in/", "/a//b", "/a/../b/"] {
            assert!(store_path(wrong).is_err(), "{wrong}");
        }
    }
}
