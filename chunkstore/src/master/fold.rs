//! The chunk master's state as the journal's fold: records and snapshots as bytes. Used at boot, and a
//! second time on the snapshot's own thread.

use chunkstore_core::master::{Durable, Record};
use event_loop::{decode_record, encode_record};
use journal::{Fold, FoldError};
use serde::{Deserialize, Serialize};

/// Version of the snapshot's encoding. Fields may be added with a serde default; whatever else changes
/// needs a new version, and a step from the old one in [`Fold::restore`].
const SNAPSHOT_FORMAT: u32 = 1;

/// The durable state, restored from a snapshot and moved by records.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MasterFold(pub Durable);

#[derive(Deserialize)]
struct SnapshotHead {
    format: u32,
}

#[derive(Deserialize)]
struct Snapshot {
    state: Durable,
}

#[derive(Serialize)]
struct SnapshotRef<'a> {
    format: u32,
    state: &'a Durable,
}

/// A snapshot of another release.
#[derive(Debug, thiserror::Error)]
#[error(
    "the chunk master's snapshot has format {found}, this release reads {SNAPSHOT_FORMAT}: start the release \
     that wrote it, or a newer one"
)]
struct UnknownFormat {
    found: u32,
}

impl Fold for MasterFold {
    fn restore(snapshot: Option<&[u8]>) -> Result<Self, FoldError> {
        let Some(bytes) = snapshot else { return Ok(Self::default()) };
        let SnapshotHead { format } = decode_record(bytes)?;
        if format != SNAPSHOT_FORMAT {
            return Err(FoldError::new(UnknownFormat { found: format }));
        }
        let Snapshot { state } = decode_record(bytes)?;
        Ok(Self(state))
    }

    fn apply(&mut self, record: &[u8]) -> Result<(), FoldError> {
        // Garbage is found again through the servers' reports.
        let _garbage = self.0.apply(&decode_record::<Record>(record)?);
        Ok(())
    }

    fn snapshot(&self) -> Vec<u8> {
        encode_record(&SnapshotRef { format: SNAPSHOT_FORMAT, state: &self.0 })
    }
}

#[cfg(test)]
mod tests {
    use chunkstore_core::master::{Adopted, Allotted, NewFolder, RequestDigest, Sealed, Stamp};
    use chunkstore_protocol::{ChunkId, FileId, ServerAddress, Version};
    use ids::{Epoch, UnixMillis};

    use super::*;

    fn stamp(sequence: u64) -> Stamp {
        let digest = RequestDigest(u64::MAX - sequence);
        Stamp { client: "client-1".parse().unwrap(), slot: 3, sequence, digest }
    }

    fn allotted(chunk: u64) -> Allotted {
        let server = ServerAddress {
            host: "host-1".parse().unwrap(),
            rack: "/rack-1".parse().unwrap(),
            address: "127.0.0.1:7871".to_owned(),
        };
        Allotted { chunk: ChunkId(chunk), version: Version(1), pipeline: vec![server] }
    }

    fn created(sequence: u64, name: &str, file: u64, chunk: u64) -> Record {
        Record::FileCreated {
            stamp: stamp(sequence),
            at: UnixMillis(10),
            parent: FileId(1),
            folders: Vec::new(),
            name: name.to_owned(),
            file: FileId(file),
            replication: 2,
            chunk_bytes: 1 << 20,
            allotted: allotted(chunk),
        }
    }

    /// One record of every kind, as one master could write them.
    fn one_of_each() -> Vec<Record> {
        let at = UnixMillis(10);
        let folder = |id, name: &str| NewFolder { id: FileId(id), name: name.to_owned() };
        let (file, version) = (FileId(2), Version(1));
        let sealed = |chunk| Sealed { chunk: ChunkId(chunk), version, length: 5, checksum: 7 };
        let (staged, parent) = (vec![folder(1, "staging")], FileId(0));
        vec![
            Record::ClusterInitialised { cluster: "cluster-1".parse().unwrap() },
            Record::Started { epoch: Epoch(1) },
            Record::FoldersMade { stamp: stamp(1), at, parent, folders: staged },
            created(2, "a", 2, 1),
            Record::ChunkAllocated {
                stamp: stamp(3),
                at,
                file,
                sealed: Some(sealed(1)),
                allotted: allotted(2),
            },
            Record::FileClosed { stamp: stamp(4), at, file, sealed: Some(sealed(2)) },
            created(5, "b", 3, 3),
            Record::FileAbandoned { stamp: stamp(6), at, file: FileId(3) },
            created(7, "c", 4, 4),
            Record::LeaseExpired { at, file: FileId(4) },
            Record::Renamed {
                stamp: stamp(8),
                at,
                entry: file,
                parent: FileId(1),
                name: "w".into(),
            },
            Record::WinnersGathered { winners: vec![Adopted(file, "part-r-00000".to_owned())] },
            Record::Published {
                stamp: stamp(9),
                at,
                staging: FileId(1),
                parent: FileId(0),
                folders: vec![folder(5, "out")],
                winners: Vec::new(),
                marker: "_SUCCESS".to_owned(),
                marker_file: FileId(6),
                replication: 2,
                chunk_bytes: 1 << 20,
            },
            Record::Deleted { stamp: stamp(10), at, entry: FileId(6) },
            Record::Reclaimed { entries: 1000 },
        ]
    }

    /// What this release's journals hold: it must be read for ever. A record that changes its bytes
    /// needs a serde default for what was added, and both forms here.
    const GOLDEN: &str = include_str!("golden_records.txt");

    fn hexadecimal(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn records_have_the_bytes_that_journals_hold() {
        let encoded: Vec<_> =
            one_of_each().iter().map(|record| hexadecimal(&encode_record(record))).collect();
        let golden: Vec<_> = GOLDEN.lines().collect();
        assert_eq!(encoded, golden, "a journal of the release before would not be read");
    }

    #[test]
    fn a_snapshot_at_any_point_and_the_records_after_it_give_the_same_state() {
        let records: Vec<_> = one_of_each().iter().map(encode_record).collect();
        let mut whole = MasterFold::default();
        for record in &records {
            whole.apply(record).unwrap();
            whole.0.check_invariants();
        }
        for cut in 0..=records.len() {
            let mut first = MasterFold::default();
            records[..cut].iter().for_each(|record| first.apply(record).unwrap());
            let mut second = MasterFold::restore(Some(&first.snapshot())).unwrap();
            assert_eq!(second, first);
            records[cut..].iter().for_each(|record| second.apply(record).unwrap());
            assert_eq!(second, whole, "cut at {cut}");
        }
    }

    #[test]
    fn a_snapshot_of_another_format_is_refused_by_its_number() {
        let durable = Durable::default();
        let bytes = encode_record(&SnapshotRef { format: 9, state: &durable });
        let error = format!("{:?}", MasterFold::restore(Some(&bytes)).unwrap_err());
        assert!(error.contains('9'), "{error}");
        assert!(MasterFold::restore(Some(b"\xc1")).is_err());
    }
}
