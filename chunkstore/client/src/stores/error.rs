//! Failures with another store, each with the URL that it is about.

use super::StoreUrl;

/// What an entry states besides its URL.
fn of_entry(scheme: &str) -> &'static str {
    if scheme == "file" { "" } else { ", with its endpoint and key" }
}

/// A call to another store that failed.
#[derive(Debug, thiserror::Error)]
pub enum OtherStoreError {
    /// The configuration has no entry for the URL.
    #[error(
        "no entry of `stores` in {whose} covers {url}: add one there, like {{url: '{scheme}://{bucket}'}}{}; for jobs \
         in the configuration of the JobTracker and of all TaskTrackers, and with `jobs: true`",
        of_entry(.scheme)
    )]
    NotConfigured {
        /// Whose configuration.
        whose: String,
        /// The URL.
        url: StoreUrl,
        /// Its scheme.
        scheme: &'static str,
        /// Its bucket.
        bucket: String,
    },
    /// The entry can't be used.
    #[error("the entry of `stores` for {url} can't be used: {source}")]
    BadEntry {
        /// The URL.
        url: StoreUrl,
        /// Why.
        source: Box<object_store::Error>,
    },
    /// There is no object at the URL.
    #[error("{url} does not exist")]
    Missing {
        /// The URL.
        url: StoreUrl,
    },
    /// The object is no longer the expected one.
    #[error("{url} was replaced meanwhile: begin again when it rests")]
    Replaced {
        /// The URL.
        url: StoreUrl,
    },
    /// An output file longer than an object may be.
    #[error("{url} would be longer than {limit} bytes, the limit of one uploaded object")]
    TooLong {
        /// The object to be written.
        url: StoreUrl,
        /// The limit, bytes.
        limit: u64,
    },
    /// More objects than one call examines.
    #[error("{url} holds more than {limit} objects: name a folder with fewer")]
    TooMany {
        /// The folder.
        url: StoreUrl,
        /// The limit.
        limit: usize,
    },
    /// The store refused.
    #[error("{url}: {source}")]
    Refused {
        /// The URL.
        url: StoreUrl,
        /// Why.
        source: Box<object_store::Error>,
    },
    /// The store does not answer, or answers wrongly.
    #[error("{url}: {source}")]
    Unavailable {
        /// The URL.
        url: StoreUrl,
        /// Why.
        source: Box<object_store::Error>,
    },
}

impl OtherStoreError {
    pub(super) fn of(url: StoreUrl, error: object_store::Error) -> Self {
        use object_store::Error;
        let source = Box::new(error);
        match *source {
            Error::NotFound { .. } => Self::Missing { url },
            Error::Precondition { .. } => Self::Replaced { url },
            Error::Generic { .. } | Error::JoinError { .. } => Self::Unavailable { url, source },
            _ => Self::Refused { url, source },
        }
    }

    /// Whether the same call may succeed later.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable { .. })
    }
}
