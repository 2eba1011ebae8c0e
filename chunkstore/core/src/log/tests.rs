//! Tables and properties of logs.

use chunkstore_protocol::{
    Allocation, ChunkId, FileId, Located, OpenLogChunk, OpenedLog, ServerAddress, Version, WriterId,
};
use ids::HostName;
use proptest::prelude::*;

use super::*;

fn batch(writer: u128, first: u64, last: u64, bytes: u64) -> Batch {
    Batch { writer: WriterId(writer), first, last, bytes }
}

fn host(n: usize) -> HostName {
    format!("host-{n}").parse().unwrap()
}

#[test]
fn batches_follow_one_another_and_one_that_comes_again_is_where_it_was() {
    let mut tail = Tail::new(100);
    assert_eq!(tail.admit(batch(1, 1, 3, 40)), Ok(Admission::Write { offset: 0 }));
    assert_eq!(tail.admit(batch(2, 1, 1, 20)), Ok(Admission::Write { offset: 40 }));
    assert_eq!(tail.admit(batch(1, 1, 3, 40)), Ok(Admission::Again { offset: 0 }));
    assert_eq!(tail.admit(batch(1, 4, 4, 20)), Ok(Admission::Write { offset: 60 }));
    let late = OutOfOrder { writer: WriterId(1), first: 1, last: 4 };
    assert_eq!(tail.admit(batch(1, 1, 3, 40)), Err(late), "a stray copy");
    assert!(tail.admit(batch(1, 4, 5, 20)).is_err(), "another batch under the same number");
    assert_eq!(tail.admit(batch(3, 9, 9, 21)), Ok(Admission::Full));
    assert_eq!(tail.admit(batch(3, 9, 9, 20)), Ok(Admission::Write { offset: 80 }));
    tail.acknowledge(60);
    tail.end(80);
    assert_eq!((tail.acknowledged(), tail.length()), (60, 80), "what was not written is not there");
    assert_eq!(tail.admit(batch(4, 1, 1, 1)), Ok(Admission::Ended));
}

#[test]
fn a_follower_takes_what_comes_next_and_nothing_else() {
    let mut tail = Tail::new(100);
    assert_eq!(tail.follow(0, 10), Ok(()));
    assert_eq!(tail.follow(20, 5), Err(Gap { length: 10, offset: 20 }));
    assert_eq!(tail.follow(0, 10), Err(Gap { length: 10, offset: 0 }));
    assert_eq!(tail.follow(10, 5), Ok(()));
    tail.end(15);
    assert!(tail.follow(15, 5).is_err(), "once frozen, nothing is added");
}

#[test]
fn what_the_survivors_have_in_common_is_sealed() {
    use Remains::{Damaged, Found, Sealed, Sound};
    let seal = |length, on: &[usize]| {
        Some(End::Seal { length, on: on.iter().map(|n| host(*n)).collect() })
    };
    let all_asked = [
        (vec![Sound(10), Sound(10), Sound(10)], seal(10, &[0, 1, 2])),
        (vec![Sound(30), Sound(20), Sound(10)], seal(10, &[0, 1, 2])),
        (vec![Sound(30)], seal(30, &[0])),
        // Bytes that were lost differ from bytes that were never there.
        (vec![Damaged(5), Sound(20)], seal(20, &[1])),
        (vec![Damaged(0), Sound(20)], seal(20, &[1])),
        (vec![Damaged(25), Sound(20)], seal(20, &[0, 1])),
        (vec![Damaged(5), Damaged(7)], seal(7, &[1])),
        (vec![Damaged(0)], Some(End::Empty)),
        // What is sealed stays as it is.
        (vec![Sealed(20), Sound(10), Sound(30)], seal(20, &[0, 2])),
        (vec![Sealed(20), Sealed(30), Sound(30)], seal(30, &[1, 2])),
        (vec![Sound(0), Sound(30)], Some(End::Empty)),
        (vec![Sound(0), Damaged(30)], Some(End::Empty)),
        // A process that has been there from the start counts more than a file found at its start.
        (vec![Found(0), Sound(30)], seal(30, &[1])),
        (vec![Found(10), Sound(30), Sound(20)], seal(20, &[1, 2])),
        // A write may have been under way, or some files were cut short.
        (vec![Found(10), Found(30), Found(20)], seal(30, &[1])),
        (vec![Found(9), Damaged(10)], seal(10, &[1])),
        (vec![Found(0), Found(30)], seal(30, &[1])),
        (vec![Found(0), Damaged(30)], seal(30, &[1])),
        (vec![Found(0), Damaged(0)], Some(End::Empty)),
        (vec![Found(0), Found(0)], Some(End::Empty)),
        (vec![], None),
    ];
    // Servers that may have lost something wait for those that can't be asked.
    let one_silent = [
        (vec![Damaged(5)], None),
        (vec![Damaged(5), Damaged(0)], None),
        (vec![Damaged(5), Sound(20)], seal(20, &[1])),
        (vec![Damaged(5), Sealed(20)], seal(20, &[1])),
        (vec![Sound(20)], seal(20, &[0])),
        (vec![Sound(0)], Some(End::Empty)),
        // A file that was cut short looks whole, so one is not enough.
        (vec![Found(20)], None),
        (vec![Found(20), Found(10)], seal(20, &[0])),
        (vec![Found(0), Found(0)], Some(End::Empty)),
        (vec![Found(20), Sound(10)], seal(10, &[0, 1])),
        (vec![Found(0), Sound(0)], Some(End::Empty)),
        (vec![Found(0), Damaged(30)], None),
        (vec![Found(20), Damaged(30)], None),
        (vec![Found(0), Found(30)], seal(30, &[1])),
        (vec![], None),
    ];
    let all_asked = all_asked.into_iter().map(|case| (0, case));
    for (n_silent, (remains, end)) in all_asked.chain(one_silent.map(|case| (1, case))) {
        let told: Vec<_> = remains.iter().enumerate().map(|(n, is)| (host(n), *is)).collect();
        assert_eq!(agree(&told, n_silent), end, "{remains:?}, {n_silent} silent");
    }
    // It was sealed at 20 bytes without these.
    let late = [
        (vec![Sound(20), Damaged(30), Sound(10), Sealed(20), Sealed(30)], seal(20, &[0, 1, 3])),
        (vec![Damaged(19)], None),
        (vec![], None),
    ];
    for (remains, end) in late {
        let told: Vec<_> = remains.iter().enumerate().map(|(n, is)| (host(n), *is)).collect();
        assert_eq!(catch_up(&told, 20), end, "{remains:?}");
    }
}

#[test]
fn a_reader_has_each_record_once_and_remembers_so_many_writers() {
    let mut seen = Seen::with_writers(2);
    let mut is_new = |writer, sequence| seen.is_new(WriterId(writer), sequence);
    assert!(is_new(1, 1) && is_new(1, 2) && !is_new(1, 1) && !is_new(1, 2) && is_new(1, 5));
    assert!(is_new(2, 1) && !is_new(1, 5), "writers have their own numbers");
    assert!(is_new(3, 1), "writer 2 is the one of which nothing was read for longest");
    assert!(!is_new(1, 5) && is_new(2, 1));
}

fn opened(chunk: u64) -> OpenedLog {
    let address = |n: usize| ServerAddress {
        host: host(n),
        rack: "/rack".parse().unwrap(),
        address: format!("host-{n}:1"),
    };
    let (version, token) = (Version(1), String::new());
    let pipeline = vec![address(chunk as usize), address(9)];
    let allocation = Allocation { chunk: ChunkId(chunk), version, pipeline, token };
    OpenedLog { file: FileId(7), chunk_bytes: 100, allocation }
}

#[test]
fn a_writer_names_the_chunk_that_failed_and_the_servers_that_are_silent_until_one_answers() {
    let mut route = Route::new("/log".parse().unwrap(), None);
    let asks = |route: &Route| (route.ask().failed, route.ask().exclude);
    assert_eq!((asks(&route), route.opened()), ((None, vec![]), None));
    route.handle_opened(opened(1));
    assert_eq!(route.opened(), Some(&opened(1)));
    route.handle_failed(true);
    assert_eq!((asks(&route), route.opened()), ((Some(ChunkId(1)), vec![host(1)]), None));
    route.handle_opened(opened(2));
    assert_eq!(asks(&route), (None, vec![host(1)]), "the next chunk has not failed");
    route.handle_failed(false);
    assert_eq!(asks(&route), (Some(ChunkId(2)), vec![host(1)]), "one that answers is there");
    route.handle_opened(opened(3));
    route.handle_appended();
    assert_eq!(asks(&route), (None, vec![]));
}

#[test]
fn a_reader_goes_from_sealed_chunks_to_the_open_one_and_looks_again_before_it_ends() {
    let located = |file: u64, length: u64, open: Option<u64>| Located {
        file: FileId(file),
        length,
        chunks: vec![],
        open_log: open.map(|chunk| {
            let primary = opened(chunk).allocation.pipeline.into_iter().next();
            OpenLogChunk {
                chunk: ChunkId(chunk),
                version: Version(1),
                primary,
                token: String::new(),
            }
        }),
    };
    let open_at = |source: Source| match source {
        Source::Open { chunk, offset, .. } => (chunk, offset),
        other => panic!("{other:?}"),
    };
    let mut cursor = Cursor::default();
    cursor.begin();
    assert_eq!(cursor.next(), Source::Locate);
    cursor.handle_located(&located(1, 20, Some(3))).unwrap();
    assert_eq!(cursor.next(), Source::Sealed);
    cursor.handle_bytes(20);
    assert_eq!(open_at(cursor.next()), (ChunkId(3), 0));
    cursor.handle_bytes(5);
    assert_eq!(open_at(cursor.next()), (ChunkId(3), 5));
    cursor.handle_bytes(0);
    assert_eq!((cursor.next(), cursor.at()), (Source::End, 25));
    // What was appended since then is asked for again.
    cursor.begin();
    assert_eq!(open_at(cursor.next()), (ChunkId(3), 5));
    cursor.handle_bytes(0);
    assert_eq!(cursor.next(), Source::Locate, "the chunk may have ended with more");
    cursor.handle_located(&located(1, 30, None)).unwrap();
    assert_eq!(cursor.next(), Source::Sealed);
    cursor.handle_bytes(5);
    assert_eq!(cursor.next(), Source::End);
    assert_eq!(cursor.handle_located(&located(2, 30, None)), Err(Replaced));
    assert_eq!((cursor.file(), Cursor::starting_at(8).at()), (Some(FileId(1)), 8));
}

proptest! {
    /// Whatever was acknowledged, whichever servers survive or restart, and whatever rots or is cut
    /// short on all but one of them: everything acknowledged is sealed, or the servers that may
    /// have it are waited for.
    #[test]
    fn nothing_acknowledged_is_lost(
        lengths in prop::collection::vec(0..100_u64, 1..6),
        survives in prop::collection::vec(any::<bool>(), 6),
        rots in prop::collection::vec(prop::option::of(0..100_u64), 6),
        restarts in prop::collection::vec(any::<bool>(), 6),
        cuts in prop::collection::vec(any::<bool>(), 6),
        sound in 0..6_usize,
        sealed_by in prop::option::of(prop::collection::vec(any::<bool>(), 6)),
    ) {
        let acknowledged = lengths.iter().copied().min().unwrap_or(0);
        let sound = sound % lengths.len();
        // Nobody can see which files were cut short; fewer than half of them are.
        let mut n_cuts = (lengths.len() - 1) / 2;
        let cuts: Vec<bool> = cuts
            .into_iter()
            .zip(&restarts)
            .map(|(cut, restarted)| {
                let cut = cut && *restarted && n_cuts > 0;
                n_cuts -= usize::from(cut);
                cut
            })
            .collect();
        let what = |(n, length): (usize, &u64)| match rots[n].filter(|at| n != sound && at < length) {
            Some(at) if cuts[n] => (host(n), Remains::Found(at)),
            Some(at) => (host(n), Remains::Damaged(at)),
            None if restarts[n] => (host(n), Remains::Found(*length)),
            None => (host(n), Remains::Sound(*length)),
        };
        let mut remains: Vec<_> = lengths.iter().enumerate().map(what).collect();
        if let Some(asked) = sealed_by {
            // Another server asked some of them before, and sealed what those had in common.
            let told: Vec<_> =
                remains.iter().zip(asked).filter(|(_, asked)| *asked).map(|(is, _)| is.clone()).collect();
            if let Some(End::Seal { length, on }) = agree(&told, remains.len() - told.len()) {
                for (host, is) in &mut remains {
                    if on.contains(host) {
                        *is = Remains::Sealed(length);
                    }
                }
            }
        }
        let told: Vec<_> =
            remains.iter().zip(survives).filter(|(_, lives)| *lives).map(|(is, _)| is.clone()).collect();
        let n_silent = remains.len() - told.len();
        match agree(&told, n_silent) {
            Some(End::Seal { length, on }) => {
                prop_assert!(length >= acknowledged);
                prop_assert!(!on.is_empty());
            }
            Some(End::Empty) => prop_assert_eq!(acknowledged, 0),
            None => {
                let knows = told.iter().any(|(_, is)| matches!(is, Remains::Sound(_) | Remains::Sealed(_)));
                prop_assert!(n_silent > 0 && !knows);
            }
        }
    }

    /// A group is acknowledged when every server has it, and not before.
    #[test]
    fn a_group_is_acknowledged_when_every_server_has_it(
        n_servers in 1..5_usize,
        said in prop::collection::vec((0..5_usize, any::<bool>()), 0..12),
    ) {
        let mut tail = Tail::new(1000);
        let mut group = Group::new(&tail, (0..n_servers).map(host));
        prop_assert_eq!(group.offer(&mut tail, batch(1, 1, 2, 30), "one"), Offered::Write);
        prop_assert_eq!(group.offer(&mut tail, batch(2, 1, 1, 20), "two"), Offered::Write);
        prop_assert_eq!(group.offer(&mut tail, batch(3, 1, 1, 960), "long"), Offered::Nothing);
        prop_assert!(group.is_full() && !group.takes_more());
        let mut have = std::collections::BTreeSet::new();
        for (n, right) in said.into_iter().filter(|(n, _)| *n < n_servers) {
            let _progress = group.synced(&host(n), if right { 50 } else { 30 });
            have.insert((n, right));
        }
        let is_everywhere =
            (0..n_servers).all(|n| have.contains(&(n, true))) && have.iter().all(|(_, right)| *right);
        prop_assert_eq!(group.progress() == Progress::Everywhere, is_everywhere);
        let Answers { appended, unknown } = group.end_with(&mut tail);
        match is_everywhere {
            true => {
                prop_assert_eq!((appended, unknown), (vec![("one", 0), ("two", 30)], vec!["long"]));
                prop_assert_eq!(tail.acknowledged(), 50);
            }
            false => {
                prop_assert_eq!((appended.len(), unknown), (0, vec!["long", "one", "two"]));
                prop_assert_eq!(tail.acknowledged(), 0);
            }
        }
    }

    /// However often batches are sent again, each is in the chunk once, in the order of its
    /// writer's numbers.
    #[test]
    fn a_tail_has_each_batch_once(sends in prop::collection::vec((0..3_u128, 0..3_u64), 1..60)) {
        let mut tail = Tail::new(1 << 20);
        let (mut last, mut written) = (std::collections::BTreeMap::new(), Vec::new());
        for (writer, back) in sends {
            let next: &mut u64 = last.entry(writer).or_default();
            let first = if back == 0 { *next + 1 } else { next.saturating_sub(back - 1).max(1) };
            match tail.admit(batch(writer, first, first, 10 + first)) {
                Ok(Admission::Write { offset }) => {
                    prop_assert_eq!(first, *next + 1);
                    *next = first;
                    written.push((offset, writer, first));
                }
                Ok(Admission::Again { offset }) => prop_assert!(written.contains(&(offset, writer, first))),
                Err(_) => prop_assert!(first < *next),
                Ok(Admission::Full | Admission::Ended) => prop_assert!(false),
            }
        }
        prop_assert!(written.windows(2).all(|two| two[0].0 + 10 + two[0].2 == two[1].0));
    }
}
