//! Logs, as tables.

use chunkstore_protocol::WriterId;
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
    use Remains::{Damaged, Sealed, Sound};
    let seal = |length, on: &[usize]| {
        Some(End::Seal { length, on: on.iter().map(|n| host(*n)).collect() })
    };
    for (remains, end) in [
        (vec![Sound(10), Sound(10), Sound(10)], seal(10, &[0, 1, 2])),
        (vec![Sound(30), Sound(20), Sound(10)], seal(10, &[0, 1, 2])),
        (vec![Sound(30)], seal(30, &[0])),
        // Lost bytes are not what was never there.
        (vec![Damaged(5), Sound(20)], seal(20, &[1])),
        (vec![Damaged(0), Sound(20)], seal(20, &[1])),
        (vec![Damaged(25), Sound(20)], seal(20, &[0, 1])),
        (vec![Damaged(5), Damaged(7)], seal(7, &[1])),
        // What is sealed stays.
        (vec![Sealed(20), Sound(10), Sound(30)], seal(20, &[0, 2])),
        (vec![Sealed(20), Sealed(30), Sound(30)], seal(30, &[1, 2])),
        (vec![Sound(0), Sound(30)], Some(End::Empty)),
        (vec![], None),
    ] {
        let told: Vec<_> = remains.iter().enumerate().map(|(n, is)| (host(n), *is)).collect();
        assert_eq!(agree(&told), end, "{remains:?}");
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

proptest! {
    /// Whatever was acknowledged when servers had so much, and whoever survives, is sealed.
    #[test]
    fn nothing_acknowledged_is_lost(
        lengths in prop::collection::vec(0..100_u64, 1..6),
        survives in prop::collection::vec(any::<bool>(), 6),
        sealed_by in prop::option::of(prop::collection::vec(any::<bool>(), 6)),
    ) {
        let acknowledged = lengths.iter().copied().min().unwrap_or(0);
        let mut remains: Vec<_> =
            lengths.iter().enumerate().map(|(n, length)| (host(n), Remains::Sound(*length))).collect();
        if let Some(asked) = sealed_by {
            // Another one asked some of them before, and sealed there what these had in common.
            let told: Vec<_> =
                remains.iter().zip(asked).filter(|(_, asked)| *asked).map(|(is, _)| is.clone()).collect();
            if let Some(End::Seal { length, on }) = agree(&told) {
                for (host, is) in &mut remains {
                    if on.contains(host) {
                        *is = Remains::Sealed(length);
                    }
                }
            }
        }
        let told: Vec<_> =
            remains.iter().zip(survives).filter(|(_, lives)| *lives).map(|(is, _)| is.clone()).collect();
        match agree(&told) {
            Some(End::Seal { length, on }) => {
                prop_assert!(length >= acknowledged);
                prop_assert!(!on.is_empty());
            }
            Some(End::Empty) => prop_assert_eq!(acknowledged, 0),
            None => prop_assert!(told.is_empty()),
        }
    }

    /// Batches that are sent again any number of times are in the chunk once, in the order of each writer's numbers.
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
