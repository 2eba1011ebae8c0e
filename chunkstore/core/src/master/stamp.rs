//! How a record identifies its request, so that retries are recognised.

use ids::{ClientId, RequestStamp};
use serde::{Deserialize, Serialize};

/// Digest of a whole request, computed where it comes in. The same stamp with another digest is not
/// a retry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestDigest(pub u64);

/// A request in a record: its stamp, and its digest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    /// Who asked.
    pub client: ClientId,
    /// The chain of its requests.
    pub slot: u32,
    /// Position in that chain.
    pub sequence: u64,
    /// Digest of the request.
    pub digest: RequestDigest,
}

impl Stamp {
    /// The stamp of the request with this digest.
    #[must_use]
    pub fn new(stamp: &RequestStamp, digest: RequestDigest) -> Self {
        let RequestStamp { client, slot, sequence } = stamp.clone();
        Self { client, slot, sequence, digest }
    }
}
