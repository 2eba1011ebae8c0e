//! Tables of a writer's next steps.

use chunkstore_protocol::{ServerAddress, Version};
use ids::RackName;

use super::*;

const SENT: Sent = Sent { length: 100, checksum: 7 };

fn at(millis: u64) -> Monotonic {
    Monotonic(Duration::from_millis(millis))
}

fn host(name: &str) -> HostName {
    name.parse().unwrap()
}

fn stamp() -> RequestStamp {
    RequestStamp { client: "client-1".parse().unwrap(), slot: 0, sequence: 1 }
}

fn allocation(chunk: u64, hosts: &[&str]) -> Allocation {
    let server = |name: &&str| ServerAddress {
        host: host(name),
        rack: RackName::default_rack(),
        address: format!("{name}:1"),
    };
    Allocation {
        chunk: ChunkId(chunk),
        version: Version(1),
        pipeline: hosts.iter().map(server).collect(),
        token: String::new(),
    }
}

fn writer(replication: u8, hosts: &[&str]) -> Writer {
    let created = Created {
        file: FileId(9),
        replication,
        chunk_bytes: 1000,
        lease_ms: 60_000,
        allocation: allocation(1, hosts),
    };
    Writer::new(&created, None, Duration::from_secs(1))
}

fn sealed(chunk: u64, servers: &[&str]) -> SealedChunk {
    SealedChunk {
        chunk: ChunkId(chunk),
        version: Version(1),
        length: SENT.length,
        checksum: SENT.checksum,
        servers: servers.iter().map(|name| host(name)).collect(),
    }
}

fn failure(name: &str) -> ServerFailure {
    ServerFailure { host: host(name), reason: "connection refused".into() }
}

/// Ends an upload whose pipeline, if it failed, left nothing while all of its servers answer.
fn uploaded(
    writer: &mut Writer,
    now: Monotonic,
    outcome: Result<SealedChunk, ServerFailure>,
) -> Next {
    match writer.handle_uploaded(SENT, outcome) {
        Next::Recover => {
            let pipeline = writer.broken().unwrap().pipeline.clone();
            let nothing: Vec<_> = pipeline.into_iter().map(|server| (server.host, Ok(0))).collect();
            writer.handle_frozen(now, &nothing)
        }
        next => next,
    }
}

#[test]
fn a_chunk_counts_as_sealed_on_two_servers_or_on_one_where_one_was_asked_for() {
    let pipeline = ["a", "b", "c"];
    for (replication, sealed_on, enough) in [
        (3, &["a", "b", "c"][..], true),
        (3, &["a", "b"], true),
        (3, &["a"], false),
        (2, &["a", "b"], true),
        (2, &["b"], false),
        (1, &["a"], true),
        (1, &[], false),
        (0, &[], false),
    ] {
        let mut writer = writer(replication, &pipeline);
        let next = uploaded(&mut writer, at(0), Ok(sealed(1, sealed_on)));
        assert_eq!(next == Next::Sealed, enough, "{replication} {sealed_on:?} {next:?}");
    }
}

#[test]
fn a_sealed_chunk_travels_with_the_next_allocation_or_with_the_close() {
    let mut writer = writer(2, &["a", "b"]);
    uploaded(&mut writer, at(0), Ok(sealed(1, &["a", "b"])));
    let request = writer.allocate(stamp());
    assert_eq!(request.sealed, Some(sealed(1, &["a", "b"])));
    assert_eq!(request.abandoned, None);
    assert_eq!(writer.close(stamp()).sealed, request.sealed, "until it is told");
    writer.handle_allocated(allocation(2, &["b", "c"]));
    let close = writer.close(stamp());
    assert_eq!((close.sealed, close.abandoned), (None, Some(ChunkId(2))), "an unused chunk goes");
}

#[test]
fn an_empty_file_closes_without_a_chunk() {
    let close = writer(2, &["a", "b"]).close(stamp());
    assert_eq!((close.sealed, close.abandoned), (None, Some(ChunkId(1))));
}

#[test]
fn a_dead_head_is_excluded_and_the_chunk_written_again_elsewhere() {
    let mut writer = writer(2, &["a", "b"]);
    let next = uploaded(&mut writer, at(5), Err(failure("a")));
    assert_eq!(next, Next::Allocate { not_before: at(5) }, "the first time at once");
    let request = writer.allocate(stamp());
    assert_eq!(request.abandoned, Some(ChunkId(1)));
    assert_eq!(request.exclude, [host("a")]);
    writer.handle_allocated(allocation(2, &["b", "c"]));
    let next = uploaded(&mut writer, at(6), Ok(sealed(2, &["b", "c"])));
    assert_eq!(next, Next::Sealed);
    assert_eq!(writer.close(stamp()).sealed, Some(sealed(2, &["b", "c"])));
}

#[test]
fn a_chunk_sealed_before_a_failure_is_still_told_to_the_master() {
    let mut writer = writer(2, &["a", "b"]);
    uploaded(&mut writer, at(0), Ok(sealed(1, &["a", "b"])));
    // The next allocation is refused for want of servers; the following request must repeat both
    // fields.
    let next = writer.handle_no_servers(at(1), false);
    assert_eq!(next, Next::Allocate { not_before: at(1) });
    assert_eq!(writer.allocate(stamp()).sealed, Some(sealed(1, &["a", "b"])));
}

#[test]
fn servers_missing_from_a_good_enough_seal_are_not_asked_for_again() {
    let mut writer = writer(3, &["a", "b", "c"]);
    uploaded(&mut writer, at(0), Ok(sealed(1, &["a", "c"])));
    assert_eq!(writer.allocate(stamp()).exclude, [host("b")]);
}

#[test]
fn a_seal_that_does_not_match_what_was_sent_is_a_failure_of_the_head() {
    let wrong = [
        SealedChunk { length: 99, ..sealed(1, &["a", "b"]) },
        SealedChunk { checksum: 8, ..sealed(1, &["a", "b"]) },
        SealedChunk { version: Version(2), ..sealed(1, &["a", "b"]) },
        sealed(5, &["a", "b"]),
    ];
    for answer in wrong {
        let mut writer = writer(2, &["a", "b"]);
        let next = uploaded(&mut writer, at(0), Ok(answer.clone()));
        assert!(matches!(next, Next::Allocate { .. }), "{answer:?}");
        assert_eq!(writer.allocate(stamp()).exclude, [host("a")]);
    }
}

#[test]
fn retries_end_with_the_time_and_name_each_server_but_never_before_three_tries() {
    let mut writer = writer(1, &["a"]);
    let mut now = 0;
    let mut tries = 0;
    let gave_up = loop {
        tries += 1;
        match uploaded(&mut writer, at(now), Err(failure("a"))) {
            Next::Allocate { not_before } => {
                assert!(not_before <= at(now + 2000));
                now = u64::try_from(not_before.0.as_millis()).unwrap();
                writer.handle_allocated(allocation(tries + 1, &["a"]));
            }
            Next::GiveUp(gave_up) => break gave_up,
            other => panic!("{other:?}"),
        }
    };
    assert!((1000..3000).contains(&now), "gave up after {now} ms");
    let text = gave_up.to_string();
    assert_eq!(text.matches("a: connection refused").count(), 1, "{text}");
    assert!(text.starts_with("chunk 0000"), "{text}");

    let mut late = self::writer(1, &["a"]);
    uploaded(&mut late, at(0), Err(failure("a")));
    late.handle_allocated(allocation(2, &["b"]));
    let next = uploaded(&mut late, at(60_000), Err(failure("b")));
    assert!(matches!(next, Next::Allocate { .. }), "the second try, however slow the first was");
}

#[test]
fn a_sealed_chunk_gives_the_next_one_its_full_time() {
    let mut writer = writer(1, &["a"]);
    for chunk in 1..200 {
        uploaded(&mut writer, at(chunk * 1000), Err(failure("a")));
        writer.handle_allocated(allocation(chunk, &["b"]));
        let next = uploaded(&mut writer, at(chunk * 1000), Ok(sealed(chunk, &["b"])));
        assert_eq!(next, Next::Sealed, "chunk {chunk}");
        writer.handle_allocated(allocation(chunk + 1, &["a"]));
    }
}

#[test]
fn a_cluster_without_servers_is_given_up_soon_and_one_that_starts_is_waited_for() {
    for (retry_for, starting, expected) in
        [(60, false, 5000..8500), (60, true, 60_000..63_000), (1, false, 1000..3000)]
    {
        let mut writer = writer(2, &["a", "b"]);
        writer.retry_for = Duration::from_secs(retry_for);
        uploaded(&mut writer, at(0), Ok(sealed(1, &["a", "b"])));
        let mut now = 0;
        while let Next::Allocate { not_before } = writer.handle_no_servers(at(now), starting) {
            now = u64::try_from(not_before.0.as_millis()).unwrap().max(now + 1);
        }
        assert!(expected.contains(&now), "{retry_for} {starting}: gave up after {now} ms");
    }
}

#[test]
fn the_patience_with_a_cluster_without_servers_begins_anew_when_it_had_some() {
    let mut writer = writer(2, &["a", "b"]);
    writer.retry_for = Duration::from_secs(60);
    for chunk in 1..10 {
        let now = at(chunk * 1500);
        uploaded(&mut writer, now, Err(failure("a")));
        let next = writer.handle_no_servers(now, false);
        assert!(matches!(next, Next::Allocate { .. }), "{chunk}");
        writer.handle_allocated(allocation(chunk + 1, &["a", "b"]));
    }
}
