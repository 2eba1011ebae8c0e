//! What goes wrong with another store, told of the URL that it is about.

use super::StoreUrl;

/// What more than its URL an entry says.
fn of_entry(scheme: &str) -> &'static str {
    if scheme == "file" { "" } else { ", with its endpoint and key" }
}

/// A call to another store that failed.
#[derive(Debug, thiserror::Error)]
pub enum OtherStoreError {
    /// The configuration has no entry for it.
    #[error(
        "no entry of `stores` in {whose} covers {url}: add one there, like {{url: '{scheme}://{bucket}'}}{}; for jobs \
         in the configuration of the JobTracker and of all TaskTrackers, and with `jobs: true`",
        of_entry(.scheme)
    )]
    NotConfigured {
        /// Whose configuration it is.
        whose: String,
        /// What was named.
        url: StoreUrl,
        /// Its scheme.
        scheme: &'static str,
        /// Its bucket.
        bucket: String,
    },
    /// Its entry can't be used.
    #[error("the entry of `stores` for {url} can't be used: {source}")]
    BadEntry {
        /// What was named.
        url: StoreUrl,
        /// Why.
        source: Box<object_store::Error>,
    },
    /// Nothing stands there.
    #[error("{url} does not exist")]
    Missing {
        /// What was named.
        url: StoreUrl,
    },
    /// It is not the object any more that was meant.
    #[error("{url} was replaced meanwhile: begin again when it rests")]
    Replaced {
        /// What was named.
        url: StoreUrl,
    },
    /// What one file of an output may hold at most.
    #[error("{url} would be longer than {limit} bytes, the limit of one uploaded object")]
    TooLong {
        /// What was to be written.
        url: StoreUrl,
        /// Bytes.
        limit: u64,
    },
    /// More objects than one call looks at.
    #[error("{url} holds more than {limit} objects: name a folder with fewer")]
    TooMany {
        /// The folder.
        url: StoreUrl,
        /// Objects.
        limit: usize,
    },
    /// The store's no.
    #[error("{url}: {source}")]
    Refused {
        /// What was named.
        url: StoreUrl,
        /// Why.
        source: Box<object_store::Error>,
    },
    /// The store does not answer, or not as it should.
    #[error("{url}: {source}")]
    Unavailable {
        /// What was named.
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
