//! Records and snapshots as bytes: MessagePack with named fields, so that a field can be added with
//! a serde default and old records can still be read.

use journal::FoldError;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Bytes that do not decode to the expected record.
#[derive(Debug, thiserror::Error)]
#[error("not a record of this release: {0}")]
pub struct DecodeError(#[from] rmp_serde::decode::Error);

impl From<DecodeError> for FoldError {
    fn from(error: DecodeError) -> Self {
        Self::new(error)
    }
}

/// `record` (or a whole state, for a snapshot) as bytes.
///
/// # Panics
/// If `T` refuses to be serialized, which is a flaw of the type, not of the value.
pub fn encode_record<T: Serialize>(record: &T) -> Vec<u8> {
    rmp_serde::to_vec_named(record).expect("records are plain data and always serialize")
}

/// The inverse of [`encode_record`].
///
/// # Errors
/// The bytes are something else, or from a newer release.
pub fn decode_record<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, DecodeError> {
    Ok(rmp_serde::from_slice(bytes)?)
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    enum Old {
        Created { path: String },
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    enum New {
        Created {
            path: String,
            #[serde(default)]
            replicas: u8,
        },
        Removed(u64),
    }

    #[test]
    fn a_record_of_an_older_release_still_reads() {
        let bytes = encode_record(&Old::Created { path: "/in".to_owned() });
        let new: New = decode_record(&bytes).unwrap();
        assert_eq!(new, New::Created { path: "/in".to_owned(), replicas: 0 });
    }

    #[test]
    fn a_record_of_a_newer_release_is_refused() {
        let error = decode_record::<Old>(&encode_record(&New::Removed(7))).unwrap_err();
        assert!(error.to_string().contains("not a record of this release"), "{error}");
    }
}
