//! What tells one request from another in a record, for whoever asks again.

use ids::{ClientId, RequestStamp};
use serde::{Deserialize, Serialize};

/// Digest of all that a request says, made where requests come in. The same stamp with another digest is
/// not a retry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestDigest(pub u64);

/// A request in a record: its stamp, and its digest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    /// Who asked.
    pub client: ClientId,
    /// In which chain of its requests.
    pub slot: u32,
    /// Position in that chain.
    pub sequence: u64,
    /// What it asked.
    pub digest: RequestDigest,
}

impl Stamp {
    /// Of the request with this digest.
    #[must_use]
    pub fn new(stamp: &RequestStamp, digest: RequestDigest) -> Self {
        let RequestStamp { client, slot, sequence } = stamp.clone();
        Self { client, slot, sequence, digest }
    }
}
