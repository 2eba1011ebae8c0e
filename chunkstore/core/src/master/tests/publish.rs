//! Publish: all of a job's output in one transaction, or none of it.

use super::super::record::WINNER_BYTES_PER_RECORD;
use super::*;

fn publish(world: &mut World, winners: &[(&str, &str)]) -> Publish {
    let winner = |(staged, published): &(&str, &str)| Winner {
        staged: (*staged).to_owned(),
        published: (*published).to_owned(),
    };
    Publish {
        stamp: world.stamp(),
        staging: path("/staging/job"),
        winners: winners.iter().map(winner).collect(),
        target: path("/results/out"),
        marker: "_SUCCESS".to_owned(),
        owner: None,
    }
}

fn staged() -> World {
    let mut world = World::with_servers(2);
    world.mkdirs("/staging/job/sub");
    for name in ["attempt-1", "attempt-2", "loser"] {
        world.put(&format!("/staging/job/{name}"), 3);
    }
    world
}

#[test]
fn winners_marker_and_target_appear_together_and_the_losers_go() {
    let mut world = staged();
    let zombie = world.create("/staging/job/zombie").unwrap().file;
    let before = world.journal.len();
    let request = publish(&mut world, &[("attempt-2", "part-0"), ("attempt-1", "part-1")]);
    assert_eq!(world.mutate(Mutation::Publish(request.clone())), Ok(Reply::Done));
    assert_eq!(world.journal.len(), before + 1);
    let out = ["/results/out/_SUCCESS", "/results/out/part-0", "/results/out/part-1"];
    assert_eq!(world.names("/results/out"), out);
    assert!(world.names("/staging").is_empty());
    assert_eq!(world.locate("/results/out/part-0").unwrap().chunks.len(), 1);
    let marker = world.stat("/results/out/_SUCCESS").unwrap();
    assert!(matches!(marker.kind, FileKind::File { length: 0, open: false, .. }));
    assert_eq!(world.close(zombie, None), Err(FsError::LeaseLost { file: zombie }));
    let left = world.summary();
    assert_eq!((left.files, left.folders, left.chunks), (3, 4, 2), "losers are reclaimed");
    world.restart();
    assert_eq!(world.mutate(Mutation::Publish(request)), Ok(Reply::Done), "a retry");
    assert_eq!(world.names("/results/out"), out);
    assert_eq!(world.delete("/results", true), Ok(Reply::Done));
    assert_eq!(world.summary().files, 0);
}

#[test]
fn a_map_only_job_without_winners_still_gets_its_marker() {
    let mut world = staged();
    let request = publish(&mut world, &[]);
    assert_eq!(world.mutate(Mutation::Publish(request)), Ok(Reply::Done));
    assert_eq!(world.names("/results/out"), ["/results/out/_SUCCESS"]);
}

#[test]
fn a_publish_that_breaks_a_rule_changes_nothing() {
    let mut world = staged();
    world.create("/staging/job/open").unwrap();
    world.put("/file", 1);
    let before = world.master.durable().clone();
    let n_records = world.journal.len();
    let mut check = |winners: &[(&str, &str)], change: fn(&mut Publish), expected: FsError| {
        let mut request = publish(&mut world, winners);
        change(&mut request);
        let refused = world.mutate(Mutation::Publish(request));
        assert_eq!(refused, Err(expected));
        assert_eq!(world.master.durable(), &before);
    };
    let none = |_: &mut Publish| {};
    let open = path("/staging/job/open");
    check(&[("attempt-1", "p"), ("open", "q")], none, FsError::StillOpen { path: open });
    check(&[("sub", "p")], none, FsError::IsAFolder { path: path("/staging/job/sub") });
    let (folder, missing) = (path("/staging/job"), "gone".to_owned());
    let gone = FsError::NotFound { path: path("/staging/job/gone"), folder, missing };
    check(&[("gone", "p")], none, gone);
    for bad in ["", "a/b", "..", "a\0"] {
        check(&[("attempt-1", bad)], none, FsError::BadName { name: bad.to_owned() });
        check(&[(bad, "p")], none, FsError::BadName { name: bad.to_owned() });
    }
    let twice = |name: &str| FsError::NamedTwice { name: name.to_owned() };
    check(&[("attempt-1", "p"), ("attempt-2", "p")], none, twice("p"));
    check(&[("attempt-1", "p"), ("attempt-1", "q")], none, twice("attempt-1"));
    check(&[("attempt-1", "_SUCCESS")], none, twice("_SUCCESS"));
    let taken = FsError::AlreadyExists { path: path("/file") };
    check(&[], |p| p.target = path("/file"), taken);
    let blocked = FsError::NotAFolder { path: path("/file/out"), file: path("/file") };
    check(&[], |p| p.target = path("/file/out"), blocked);
    let blocked = FsError::NotAFolder { path: path("/file"), file: path("/file") };
    check(&[], |p| p.staging = path("/file"), blocked);
    let (from, to) = (path("/staging/job"), path("/staging/job/out"));
    let inside = FsError::RenameIntoItself { from, to };
    check(&[], |p| p.target = path("/staging/job/out"), inside);
    let (from, to) = (path("/"), path("/results/out"));
    check(&[], |p| p.staging = path("/"), FsError::RenameIntoItself { from, to });
    assert_eq!(world.journal.len(), n_records);
}

fn crowded(n: usize) -> (World, Publish) {
    let mut world = World::crowded(n);
    let mut request = publish(&mut world, &[]);
    let winner = |n| Winner { staged: format!("{n:06}"), published: format!("part-{n:06}") };
    request.winners = (0..n).map(winner).collect();
    (world, request)
}

#[test]
fn tens_of_thousands_of_winners_are_cut_into_records_that_fit_and_stay_one_transaction() {
    let (mut world, request) = crowded(40_000);
    let before = world.journal.len();
    assert_eq!(world.mutate(Mutation::Publish(request)), Ok(Reply::Done));
    let records = world.journal[before..].to_vec();
    assert!(records.len() > 1);
    for record in &records {
        let (Record::WinnersGathered { winners } | Record::Published { winners, .. }) = record
        else {
            panic!("{record:?}")
        };
        let bytes: usize = winners.iter().map(|winner| winner.1.len() + 16).sum();
        assert!(bytes <= WINNER_BYTES_PER_RECORD);
    }
    let page = world.list("/results/out", None, 10).unwrap();
    assert_eq!(page.entries[1].path, path("/results/out/part-000000"));
    assert_eq!(world.summary().files, 40_001);
}

#[test]
fn a_master_that_dies_between_the_records_of_a_publish_has_published_nothing() {
    let (mut world, request) = crowded(40_000);
    let before = world.journal.len();
    let unpublished = world.master.durable().clone();
    assert_eq!(world.mutate(Mutation::Publish(request.clone())), Ok(Reply::Done));
    world.journal.truncate(before + 1);
    assert!(matches!(world.journal[before], Record::WinnersGathered { .. }));
    world.master = Master::recover(settings(), world.folded()).unwrap();
    world.serve(false);
    let mut expected = unpublished;
    let (epoch, first_chunk) = (Epoch(3), (3 << 32) + (3 << 20));
    let after = before as u64 + 1;
    expected.apply(&Record::Started { epoch, id: 3, first_chunk, after });
    assert_eq!(world.master.durable(), &expected, "what was gathered is forgotten");
    assert_eq!(world.mutate(Mutation::Publish(request)), Ok(Reply::Done), "the retry goes through");
    assert_eq!(world.summary().files, 40_001);
}

#[test]
fn a_publish_beyond_the_bound_is_refused_with_the_bound() {
    let mut world = staged();
    let mut request = publish(&mut world, &[]);
    let winner = Winner { staged: "a".to_owned(), published: "p".to_owned() };
    request.winners = vec![winner; WINNERS_MAX + 1];
    let error = world.mutate(Mutation::Publish(request)).unwrap_err();
    assert!(error.to_string().contains("at most 50000"), "{error}");
}
