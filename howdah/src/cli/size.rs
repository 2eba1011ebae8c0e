//! Sizes on the command line: with a unit like `64MiB`, or plain bytes.

/// Parses a size argument.
pub(super) fn parse_size(text: &str) -> Result<u64, config::ValueError> {
    match text.parse::<u64>() {
        Ok(bytes) => Ok(bytes),
        Err(_) => text.parse::<config::Bytes>().map(|bytes| bytes.0),
    }
}
