//! Names in the folders that jobs read and write: what inputs leave out, what says that an output is whole.

/// Empty file that stands in an output folder once the output is whole.
pub const SUCCESS_MARKER: &str = "_SUCCESS";

/// Whether jobs leave out the entry of an input folder that has this name: it is nobody's data, but beside it, as
/// [`SUCCESS_MARKER`] is (Hadoop's hidden files).
#[must_use]
pub fn is_hidden(name: &str) -> bool {
    name.starts_with(['_', '.'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_beside_the_data_is_hidden() {
        for name in [SUCCESS_MARKER, "_logs", ".part.crc", "_", "."] {
            assert!(is_hidden(name), "{name}");
        }
        for name in ["part-00000", "a_b", "a.txt", "-_", ""] {
            assert!(!is_hidden(name), "{name}");
        }
    }
}
