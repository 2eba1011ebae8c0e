//! Whether a path that somebody names is in the chunk store. Paths in other stores are URLs.

/// An optional scheme for paths of the chunk store, to tell them from others.
pub const OWN_SCHEME: &str = "howdah://";

/// Whether a text is meant as the URL of another store.
#[must_use]
pub fn names_another_store(text: &str) -> bool {
    text.contains("://") && !text.starts_with('/') && !text.starts_with(OWN_SCHEME)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chunk_stores_own_paths_are_no_urls() {
        for (text, expected) in
            [("/in", false), ("/a://b", false), ("howdah:///in", false), ("s3://b", true)]
        {
            assert_eq!(names_another_store(text), expected, "{text}");
        }
    }
}
