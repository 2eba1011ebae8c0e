//! A core's durable state as the journal's fold: records and snapshots as bytes. Used at boot, and
//! again on the snapshot's own thread.

use std::fmt;

use journal::{Fold, FoldError};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::{decode_record, encode_record};

/// A durable state, and how a record changes it.
pub trait State: 'static {
    /// The state. Its default is the state before the first record.
    type Durable: Default + PartialEq + Serialize + DeserializeOwned + Send;
    /// What changes the state.
    type Record: DeserializeOwned;
    /// The daemon's name in messages to operators.
    const DAEMON: &'static str;
    /// Version of the snapshot's encoding. Fields may be added with a serde default; any other
    /// change needs a new version, and a migration from the old one.
    const SNAPSHOT_FORMAT: u32;

    /// Applies one record: the same function as in the live core.
    fn apply(state: &mut Self::Durable, record: &Self::Record);
}

/// The state, restored from a snapshot and advanced by records.
pub struct StateFold<S: State>(pub S::Durable);

impl<S: State> Default for StateFold<S> {
    fn default() -> Self {
        Self(S::Durable::default())
    }
}

impl<S: State> PartialEq for StateFold<S> {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl<S: State> fmt::Debug for StateFold<S> {
    /// States are large, so this only names the daemon.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "state of the {}", S::DAEMON)
    }
}

#[derive(Deserialize)]
struct SnapshotHead {
    format: u32,
}

#[derive(Deserialize)]
struct Snapshot<D> {
    state: D,
}

#[derive(Serialize)]
struct SnapshotRef<'a, D> {
    format: u32,
    state: &'a D,
}

/// A snapshot from another release.
#[derive(Debug, thiserror::Error)]
#[error(
    "the {daemon}'s snapshot has format {found}, this release reads {expected}: start the release that wrote \
     it, or a newer one"
)]
struct UnknownFormat {
    daemon: &'static str,
    found: u32,
    expected: u32,
}

impl<S: State> Fold for StateFold<S> {
    fn restore(snapshot: Option<&[u8]>) -> Result<Self, FoldError> {
        let Some(bytes) = snapshot else { return Ok(Self::default()) };
        let SnapshotHead { format: found } = decode_record(bytes)?;
        let (daemon, expected) = (S::DAEMON, S::SNAPSHOT_FORMAT);
        if found != expected {
            return Err(FoldError::new(UnknownFormat { daemon, found, expected }));
        }
        let Snapshot { state } = decode_record(bytes)?;
        Ok(Self(state))
    }

    fn apply(&mut self, record: &[u8]) -> Result<(), FoldError> {
        S::apply(&mut self.0, &decode_record::<S::Record>(record)?);
        Ok(())
    }

    fn snapshot(&self) -> Vec<u8> {
        encode_record(&SnapshotRef { format: S::SNAPSHOT_FORMAT, state: &self.0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A sum, in the snapshot's format `FORMAT`.
    struct Sum<const FORMAT: u32>;

    impl<const FORMAT: u32> State for Sum<FORMAT> {
        type Durable = u64;
        type Record = u64;
        const DAEMON: &'static str = "adder";
        const SNAPSHOT_FORMAT: u32 = FORMAT;

        fn apply(sum: &mut u64, record: &u64) {
            *sum += record;
        }
    }

    #[test]
    fn a_snapshot_and_the_records_after_it_give_the_state() {
        let mut first = StateFold::<Sum<1>>::restore(None).unwrap();
        first.apply(&encode_record(&5_u64)).unwrap();
        let mut second = StateFold::<Sum<1>>::restore(Some(&first.snapshot())).unwrap();
        assert_eq!(second, first);
        second.apply(&encode_record(&2_u64)).unwrap();
        assert_eq!(second.0, 7);
        assert!(second.apply(b"\xc1").is_err());
    }

    #[test]
    fn a_snapshot_of_another_format_is_refused_by_its_number() {
        let bytes = StateFold::<Sum<9>>::default().snapshot();
        let error = StateFold::<Sum<1>>::restore(Some(&bytes)).unwrap_err().to_string();
        assert!(error.contains("adder's snapshot has format 9"), "{error}");
        assert!(StateFold::<Sum<1>>::restore(Some(b"\xc1")).is_err());
    }
}
