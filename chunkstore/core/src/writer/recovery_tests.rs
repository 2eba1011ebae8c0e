//! How a writer recovers from failing pipelines: tables, and files whose every upload may fail
//! anywhere.

use std::collections::BTreeMap;

use chunkstore_protocol::Version;
use chunkstore_protocol::block::BLOCK_BYTES;
use ids::RackName;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use super::*;

const BLOCK: u64 = BLOCK_BYTES as u64;
const CHUNK_BYTES: u64 = 8 * BLOCK;

fn host(n: usize) -> HostName {
    format!("host-{n}").parse().unwrap()
}

fn allocation(chunk: u64, hosts: &[usize]) -> Allocation {
    let server = |n: &usize| ServerAddress {
        host: host(*n),
        rack: RackName::default_rack(),
        address: format!("host-{n}:1"),
    };
    Allocation {
        chunk: ChunkId(chunk),
        version: Version(1),
        pipeline: hosts.iter().map(server).collect(),
        token: String::new(),
    }
}

fn writer(replication: u8, hosts: &[usize]) -> Writer {
    let created = Created {
        file: FileId(9),
        replication,
        chunk_bytes: CHUNK_BYTES,
        lease_ms: 60_000,
        allocation: allocation(1, hosts),
    };
    Writer::new(&created, None, Duration::from_secs(3600))
}

fn stamp() -> RequestStamp {
    RequestStamp { client: "client-1".parse().unwrap(), slot: 0, sequence: 1 }
}

fn now() -> Monotonic {
    Monotonic::default()
}

fn failure(n: usize) -> ServerFailure {
    ServerFailure { host: host(n), reason: "connection lost".into() }
}

/// Each server's answer: bytes, or `-` for none at all.
fn answers(text: &str) -> Vec<(HostName, Result<u64, String>)> {
    let answer = |(n, word): (usize, &str)| {
        (host(n + 1), word.parse::<u64>().map_err(|_| "no answer".to_owned()))
    };
    text.split(' ').enumerate().map(answer).collect()
}

#[test]
fn survivors_seal_what_all_of_them_have_if_they_are_enough() {
    for (replication, text, expected) in [
        (3, "500 400 300", Some((300, vec![1, 2, 3]))),
        (3, "500 - 300", Some((300, vec![1, 3]))),
        (3, "- 400 300", Some((300, vec![2, 3]))),
        (3, "- - 300", None),
        (3, "500 0 300", Some((300, vec![1, 3]))),
        (3, "500 0 -", None),
        (2, "500 -", None),
        (2, "500 500", Some((500, vec![1, 2]))),
        (1, "500", Some((500, vec![1]))),
        (1, "-", None),
        (1, "0", None),
    ] {
        let hosts: Vec<usize> = (1..=text.split(' ').count()).collect();
        let mut writer = writer(replication, &hosts);
        let sent = Sent { length: 0, checksum: 0 };
        assert_eq!(writer.handle_uploaded(sent, Err(failure(1))), Next::Recover);
        let next = writer.handle_frozen(now(), &answers(text));
        match expected {
            Some((length, on)) => {
                let on = allocation(1, &on).pipeline;
                assert_eq!(next, Next::Seal { length, on }, "{replication} {text}");
            }
            None => {
                assert!(matches!(next, Next::Allocate { .. }), "{replication} {text} {next:?}");
                assert_eq!(writer.allocate(stamp()).abandoned, Some(ChunkId(1)));
            }
        }
    }
}

#[test]
fn who_does_not_answer_is_to_blame_and_otherwise_who_seemed_to_be() {
    for (text, excluded) in
        [("5 - 5", vec![2]), ("5 - -", vec![2, 3]), ("5 5 5", vec![1]), ("0 0 0", vec![1])]
    {
        let mut writer = writer(3, &[1, 2, 3]);
        writer.handle_uploaded(Sent { length: 0, checksum: 0 }, Err(failure(1)));
        writer.handle_frozen(now(), &answers(text));
        let hosts: Vec<_> = excluded.into_iter().map(host).collect();
        assert_eq!(writer.allocate(stamp()).exclude, hosts, "{text}");
    }
}

#[test]
fn a_prefix_counts_as_sealed_where_enough_servers_sealed_what_was_sent() {
    let prefix = Sent { length: 300, checksum: 7 };
    let sealed = |n: usize, length, checksum| {
        let (chunk, version) = (ChunkId(1), Version(1));
        Ok(SealedChunk { chunk, version, length, checksum, servers: vec![host(n)] })
    };
    let refused = || Err("no room".to_owned());
    let table = [
        (
            Some(prefix),
            vec![sealed(1, 300, 7), sealed(2, 300, 7), sealed(3, 300, 7)],
            Some(vec![1, 2, 3]),
        ),
        (Some(prefix), vec![sealed(1, 300, 7), refused(), sealed(3, 300, 7)], Some(vec![1, 3])),
        (Some(prefix), vec![sealed(1, 300, 7), sealed(2, 300, 8), sealed(3, 299, 7)], None),
        (Some(prefix), vec![refused(), refused(), sealed(3, 300, 7)], None),
        (None, vec![sealed(1, 300, 7), sealed(2, 300, 7), sealed(3, 300, 7)], None),
    ];
    for (prefix, told, expected) in table {
        let mut writer = writer(3, &[1, 2, 3]);
        writer.handle_uploaded(Sent { length: 0, checksum: 0 }, Err(failure(1)));
        writer.handle_frozen(now(), &answers("500 400 300"));
        let told: Vec<_> = (1..).map(host).zip(told).collect();
        let next = writer.handle_recovered(now(), prefix, told.clone());
        let request = writer.allocate(stamp());
        match expected {
            Some(on) => {
                assert_eq!(next, Next::Sealed, "{told:?}");
                let servers = request.sealed.unwrap().servers;
                assert_eq!(servers, on.into_iter().map(host).collect::<Vec<_>>());
            }
            None => {
                assert!(matches!(next, Next::Allocate { .. }), "{told:?}");
                assert_eq!((request.sealed, request.abandoned), (None, Some(ChunkId(1))));
            }
        }
    }
}

/// The outcome of one upload: how many blocks each server gets, which are dead after it, and which
/// can't seal.
#[derive(Clone, Debug)]
struct Fate {
    blocks: [u64; 3],
    dead: [bool; 3],
    no_seal: [bool; 3],
    /// The head seals everything it was sent before the writer learns of the failure.
    head_seals: bool,
}

fn fate() -> impl Strategy<Value = Fate> {
    let flags = || prop::array::uniform3(prop::bool::weighted(0.25));
    (prop::array::uniform3(0..=9_u64), flags(), flags(), any::<bool>())
        .prop_map(|(blocks, dead, no_seal, head_seals)| Fate { blocks, dead, no_seal, head_seals })
}

/// A stand-in for the checksum of a range of the file, which no other range has.
fn checksum(offset: u64, length: u64) -> u32 {
    u32::try_from(offset / 7 * 31 + length).unwrap()
}

/// A file of `left` bytes being written: where the writer believes its chunks to begin, and what
/// the master was told.
struct Put {
    writer: Writer,
    /// Offset of the chunk being sent.
    at: u64,
    end: u64,
    /// What servers have sealed: offset, length, servers.
    on_disk: BTreeMap<ChunkId, Vec<(HostName, u64, u64)>>,
    told: Vec<SealedChunk>,
}

impl Put {
    fn chunk_length(&self) -> u64 {
        (self.end - self.at).min(CHUNK_BYTES)
    }

    fn allocate(&mut self) {
        let request = self.writer.allocate(stamp());
        self.told.extend(request.sealed);
        let next = self.writer.allocation().map_or(0, |a| a.chunk.0) + self.told.len() as u64;
        let fresh = self.on_disk.keys().next_back().map_or(0, |chunk| chunk.0).max(next) + 1;
        self.on_disk.insert(ChunkId(fresh), Vec::new());
        self.writer.handle_allocated(allocation(fresh, &[1, 2, 3]));
    }

    /// One upload of the present chunk.
    fn upload(&mut self, fate: Option<&Fate>) {
        if self.writer.allocation().is_none() {
            self.allocate();
        }
        let open = self.writer.allocation().unwrap().clone();
        let (offset, length) = (self.at, self.chunk_length());
        let sent = Sent { length, checksum: checksum(offset, length) };
        let sealed = |servers| SealedChunk {
            chunk: open.chunk,
            version: open.version,
            length,
            checksum: sent.checksum,
            servers,
        };
        let Some(fate) = fate else {
            let servers: Vec<_> = open.pipeline.iter().map(|server| server.host.clone()).collect();
            let disk = servers.iter().map(|host| (host.clone(), offset, length)).collect();
            self.on_disk.insert(open.chunk, disk);
            assert_eq!(self.writer.handle_uploaded(sent, Ok(sealed(servers))), Next::Sealed);
            self.at += length;
            return;
        };
        let mut has = fate.blocks.map(|blocks| (blocks * BLOCK).min(length));
        let outcome = match fate.head_seals {
            true => {
                has[0] = length;
                Ok(sealed(vec![host(1)]))
            }
            false => Err(failure(1)),
        };
        match self.writer.handle_uploaded(sent, outcome) {
            Next::Recover => {}
            Next::Sealed => {
                self.on_disk.insert(open.chunk, vec![(host(1), offset, length)]);
                self.at += length;
                return;
            }
            other => panic!("{other:?}"),
        }
        let frozen: Vec<_> = (0..3)
            .map(|n| (host(n + 1), if fate.dead[n] { Err("dead".into()) } else { Ok(has[n]) }))
            .collect();
        if let Next::Seal { length, on } = self.writer.handle_frozen(now(), &frozen) {
            self.seal(&open, fate, &has, length, &on);
        }
    }

    fn seal(
        &mut self,
        open: &Allocation,
        fate: &Fate,
        has: &[u64; 3],
        length: u64,
        on: &[ServerAddress],
    ) {
        let mut told = Vec::new();
        for server in on {
            let n = (0..3).find(|n| host(n + 1) == server.host).unwrap();
            assert!(has[n] >= length && !fate.dead[n], "asked to seal what it has not");
            let sealed_longer = n == 0 && fate.head_seals && has[0] != length;
            let answer = match fate.no_seal[n] || sealed_longer {
                true => Err("refused".to_owned()),
                false => {
                    let disk = self.on_disk.entry(open.chunk).or_default();
                    disk.push((server.host.clone(), self.at, length));
                    let (chunk, version) = (open.chunk, open.version);
                    let (checksum, servers) =
                        (checksum(self.at, length), vec![server.host.clone()]);
                    Ok(SealedChunk { chunk, version, length, checksum, servers })
                }
            };
            told.push((server.host.clone(), answer));
        }
        let prefix = Some(Sent { length, checksum: checksum(self.at, length) });
        if self.writer.handle_recovered(now(), prefix, told) == Next::Sealed {
            self.at += length;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 500,
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(2003),
        ..ProptestConfig::default()
    })]

    #[test]
    fn no_byte_is_lost_or_there_twice_wherever_uploads_fail(
        bytes in 1..40 * BLOCK,
        replication in 1..=3_u8,
        fates in prop::collection::vec(prop::option::weighted(0.7, fate()), 0..20),
    ) {
        let writer = writer(replication, &[1, 2, 3]);
        let on_disk = BTreeMap::from([(ChunkId(1), Vec::new())]);
        let mut put = Put { writer, at: 0, end: bytes, on_disk, told: Vec::new() };
        let mut fates = fates.iter();
        while put.at < put.end {
            put.upload(fates.next().and_then(Option::as_ref));
        }
        put.told.extend(put.writer.close(stamp()).sealed);
        let mut at = 0;
        for sealed in &put.told {
            prop_assert_eq!(sealed.checksum, checksum(at, sealed.length), "other bytes");
            prop_assert!(sealed.servers.len() >= usize::from(replication.min(2)));
            for host in &sealed.servers {
                let copy = (host.clone(), at, sealed.length);
                prop_assert!(put.on_disk[&sealed.chunk].contains(&copy), "{} has it not", host);
            }
            at += sealed.length;
        }
        prop_assert_eq!(at, bytes);
    }
}
