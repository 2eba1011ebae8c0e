//! The chunk master's state as kept in its journal; `event_loop` knows how.

use chunkstore_core::master::{Durable, Record};
use event_loop::{State, StateFold};

/// See [`MasterFold`].
#[derive(Debug)]
pub enum MasterState {}

/// The durable state, restored from a snapshot and advanced by records.
pub type MasterFold = StateFold<MasterState>;

impl State for MasterState {
    type Durable = Durable;
    type Record = Record;
    const DAEMON: &'static str = "chunk master";
    const SNAPSHOT_FORMAT: u32 = 1;

    fn apply(state: &mut Durable, record: &Record) {
        // Servers' reports will reveal the garbage again.
        let _garbage = state.apply(record);
    }
}

#[cfg(test)]
mod tests {
    use chunkstore_core::master::{
        Adopted, Allotted, Moved, NewFolder, RequestDigest, Sealed, Stamp,
    };
    use chunkstore_protocol::{ChunkId, FileId, IfWriterDies, ServerAddress, Version};
    use event_loop::encode_record;
    use ids::{Epoch, HostName, UnixMillis};
    use journal::Fold as _;

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
            if_writer_dies: IfWriterDies::Remove,
            owner: String::new(),
        }
    }

    fn reopened(sequence: u64, file: FileId, chunk: u64) -> Record {
        let (stamp, at) = (stamp(sequence), UnixMillis(10));
        Record::FileReopened { stamp, at, file, allotted: allotted(chunk) }
    }

    /// One record of each kind, as a single master could write them.
    fn every_kind() -> impl Iterator<Item = Record> {
        let first = one_of_each().into_iter().chain(servers());
        first
            .chain(logs())
            .chain(starts())
            .chain(owners())
            .chain(lapsed())
            .chain(timed())
            .chain(moved())
    }

    /// The records about logs.
    fn logs() -> [Record; 6] {
        let (at, file) = (UnixMillis(14), FileId(12));
        let sealed = Sealed { chunk: ChunkId(50), version: Version(1), length: 9, checksum: 8 };
        [
            Record::LogCreated {
                stamp: stamp(40),
                at,
                parent: FileId(7),
                folders: Vec::new(),
                name: "log".to_owned(),
                file,
                replication: 3,
                chunk_bytes: 1 << 20,
                owner: "alice".to_owned(),
            },
            Record::LogChunkAllotted { file, allotted: allotted(50) },
            Record::LogChunkBegun { file, beginning: u64::MAX, at: UnixMillis(0) },
            Record::LogChunkEnded { at, file, sealed: Some(sealed) },
            Record::LogChunkAllotted { file, allotted: allotted(51) },
            Record::LogChunkEnded { at, file, sealed: None },
        ]
    }

    /// Logs' chunks as they begin since that has a time.
    fn timed() -> [Record; 2] {
        let file = FileId(12);
        [
            Record::LogChunkAllotted { file, allotted: allotted(53) },
            Record::LogChunkBegun { file, beginning: 3, at: UnixMillis(16) },
        ]
    }

    /// A file that goes to another place as it is closed.
    fn moved() -> [Record; 2] {
        let (file, at) = (FileId(11), UnixMillis(17));
        let moved = Moved { parent: FileId(7), name: "moved".to_owned(), replaced: None };
        let moved = Some(Box::new(moved));
        let closed = Record::FileClosed { stamp: stamp(44), at, file, sealed: None, moved };
        [reopened(43, file, 54), closed]
    }

    fn lapsed() -> [Record; 2] {
        let file = FileId(11);
        [reopened(42, file, 52), Record::AppendLapsed { at: UnixMillis(10), file }]
    }

    /// Starts in the form that has random numbers.
    fn starts() -> [Record; 4] {
        [
            Record::OldJournalAccepted {
                epoch: Epoch(1 << 20),
                next_file: 1 << 32,
                next_chunk: 1 << 33,
            },
            Record::Started { epoch: Epoch((1 << 20) + 1), id: u64::MAX, first_chunk: 0, after: 0 },
            Record::Started { epoch: Epoch((1 << 20) + 2), id: 1, first_chunk: 1 << 52, after: 0 },
            Record::Started { epoch: Epoch((1 << 20) + 3), id: 2, first_chunk: 1 << 53, after: 99 },
        ]
    }

    /// The records about owners alone.
    fn owners() -> [Record; 1] {
        let (entry, owner) = (FileId(7), "bob".to_owned());
        [Record::OwnerSet { stamp: stamp(41), at: UnixMillis(15), entry, owner }]
    }

    /// The records about servers.
    fn servers() -> [Record; 3] {
        let host: HostName = "host-1".parse().unwrap();
        [
            Record::ServerJoined { host: host.clone() },
            Record::ServerDraining { stamp: stamp(30), host: host.clone(), on: true },
            Record::ServerForgotten { stamp: stamp(31), host },
        ]
    }

    /// One record of every other kind.
    fn one_of_each() -> Vec<Record> {
        [of_files(), of_whole_files()].concat()
    }

    fn of_files() -> Vec<Record> {
        let at = UnixMillis(10);
        let folder = |id, name: &str| NewFolder { id: FileId(id), name: name.to_owned() };
        let (file, version) = (FileId(2), Version(1));
        let sealed = |chunk| Sealed { chunk: ChunkId(chunk), version, length: 5, checksum: 7 };
        let (staged, parent) = (vec![folder(1, "staging")], FileId(0));
        vec![
            Record::ClusterInitialised { cluster: "cluster-1".parse().unwrap() },
            Record::Started { epoch: Epoch(1), id: 0, first_chunk: 0, after: 0 },
            Record::FoldersMade {
                stamp: stamp(1),
                at,
                parent,
                folders: staged,
                owner: String::new(),
            },
            created(2, "a", 2, 1),
            Record::ChunkAllocated {
                stamp: stamp(3),
                at,
                file,
                sealed: Some(sealed(1)),
                allotted: allotted(2),
            },
            Record::FileClosed { stamp: stamp(4), at, file, sealed: Some(sealed(2)), moved: None },
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
                replaced: None,
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
                owner: String::new(),
            },
            Record::Deleted { stamp: stamp(10), at, entry: FileId(6) },
            Record::Reclaimed { entries: 1000 },
            reopened(11, file, 5),
            Record::AppendAbandoned { stamp: stamp(12), at, file },
            reopened(13, file, 6),
            Record::WriterDied { at, file, cut: true },
        ]
    }

    fn copied(sequence: u64, file: u64, name: &str) -> Record {
        Record::Copied {
            stamp: stamp(sequence),
            at: UnixMillis(12),
            source: FileId(2),
            parent: FileId(7),
            folders: Vec::new(),
            name: name.to_owned(),
            file: FileId(file),
            replaced: None,
            owner: "alice".to_owned(),
        }
    }

    fn of_whole_files() -> Vec<Record> {
        let at = UnixMillis(10);
        vec![
            folders_of_alice(),
            copied(15, 8, "copy"),
            Record::ReplicationSet { stamp: stamp(16), file: FileId(8), replication: 3 },
            Record::ReplicationSpread { chunks: 1000 },
            copied(17, 9, "another"),
            Record::Renamed {
                stamp: stamp(18),
                at,
                entry: FileId(9),
                parent: FileId(7),
                name: "copy".into(),
                replaced: Some(FileId(8)),
            },
            Record::Trashed {
                stamp: stamp(19),
                at,
                entry: FileId(9),
                parent: FileId(0),
                folders: vec![NewFolder { id: FileId(10), name: "trash".to_owned() }],
                name: "copy".to_owned(),
                owner: "alice".to_owned(),
            },
            Record::TrashEmptied { at, folder: FileId(10) },
            concatenated(),
        ]
    }

    fn concatenated() -> Record {
        Record::Concatenated {
            stamp: stamp(20),
            at: UnixMillis(13),
            parts: vec![FileId(2)],
            parent: FileId(7),
            folders: Vec::new(),
            name: "whole".to_owned(),
            file: FileId(11),
            replaced: None,
            owner: "alice".to_owned(),
        }
    }

    fn folders_of_alice() -> Record {
        let folders = vec![NewFolder { id: FileId(7), name: "home".to_owned() }];
        let (stamp, at, parent, owner) = (stamp(14), UnixMillis(11), FileId(0), "alice".to_owned());
        Record::FoldersMade { stamp, at, parent, folders, owner }
    }

    /// What this release's journals hold, which must always be readable. If a record changes its
    /// bytes, the addition needs a serde default, and both forms must be here.
    const GOLDEN: &str = include_str!("golden_records.txt");

    fn hexadecimal(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn records_have_the_bytes_that_journals_hold() {
        let encoded: Vec<_> =
            every_kind().map(|record| hexadecimal(&encode_record(&record))).collect();
        let golden: Vec<_> = GOLDEN.lines().collect();
        assert_eq!(encoded, golden, "a journal of the release before would not be read");
    }

    #[test]
    fn a_snapshot_at_any_point_and_the_records_after_it_give_the_same_state() {
        let records: Vec<_> = every_kind().map(|record| encode_record(&record)).collect();
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
}
