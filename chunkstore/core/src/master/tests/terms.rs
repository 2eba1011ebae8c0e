//! A master over an older copy of its journal: servers' reports reveal it, it changes nothing, and
//! the right journal goes on as if nothing had happened. An old journal that is accepted never
//! gives out an id or epoch of the lost one.

use super::*;
use crate::master::{Outdated, OutdatedBy};

/// A world before and after some work between two starts.
struct Split {
    world: World,
    /// The journal before the last start.
    copy: Vec<Record>,
    /// The term that servers were told to persist since.
    term: Term,
}

impl World {
    /// Registers with the term that the server has persisted, and completes its report; returns
    /// what it is to persist from then on.
    fn come(&mut self, n: usize, term: Option<Term>, held: Vec<ReplicaEvent>) -> Option<Term> {
        let registered = self.register_with(RegisterServer { term, ..registration(n) });
        let reply = self.beat(heartbeat(n, &registered, 1, held)).unwrap();
        assert!(reply.commands.is_empty(), "{:?}", reply.commands);
        reply.term_id.map(|id| Term { epoch: reply.epoch, id })
    }

    fn register_with(&mut self, request: RegisterServer) -> ServerRegistered {
        match self.run(Input::Register(ReplyTo(0), request)) {
            Some(Ok(Reply::Registered(registered))) => registered,
            other => panic!("{other:?}"),
        }
    }

    /// Starts a new process over another journal.
    fn start_over(&mut self, journal: Vec<Record>, accept_old_journal: bool) {
        self.journal = journal;
        self.master = Master::recover(self.settings, self.folded()).unwrap();
        self.serve(accept_old_journal);
    }

    fn outdated(&self) -> Option<Outdated> {
        let found = self.notices.iter().filter_map(|notice| match notice {
            Notice::JournalOutdated(outdated) => Some(outdated.clone()),
            _ => None,
        });
        let found: Vec<_> = found.collect();
        assert!(found.len() <= 1, "said once: {found:?}");
        found.into_iter().next()
    }

    fn refusal(&mut self) -> FsError {
        let request = Mkdir { stamp: self.stamp(), path: path("/d"), parents: false };
        self.mutate(Mutation::Mkdir(request)).unwrap_err()
    }
}

impl Split {
    /// Two servers, `/before`, a copy of the journal, a new start, and `/since` if `writes_since`.
    fn new(writes_since: bool) -> Self {
        let mut world = World::with_servers(2);
        world.put("/before", 5);
        let copy = world.journal.clone();
        world.restart_in_safe_mode();
        let before = world.chunk_of("/before");
        assert_eq!(world.come(1, None, vec![held(before, 5)]), None, "not sure yet");
        let term =
            world.come(2, None, vec![held(before, 5)]).expect("all have told what they hold");
        if writes_since {
            world.put("/since", 5);
        }
        Self { world, copy, term }
    }
}

impl World {
    fn chunk_of(&mut self, file: &str) -> ChunkId {
        self.locate(file).unwrap().chunks[0].chunk
    }
}

#[test]
fn a_term_that_the_journal_does_not_know_keeps_it_from_changing_anything() {
    let Split { mut world, copy, term } = Split::new(false);
    world.start_over(copy, false);
    assert_eq!(world.master.durable().epoch(), term.epoch, "the epoch alone would not tell");
    let before = world.chunk_of("/before");
    assert_eq!(world.come(1, Some(term), vec![held(before, 5)]), None);
    assert_eq!(world.come(2, Some(term), vec![held(before, 5)]), None);
    let outdated = Outdated { host: host(1), by: OutdatedBy::Term(term) };
    assert_eq!(world.outdated(), Some(outdated.clone()));
    let n_records = world.journal.len();
    let refused = world.refusal();
    assert_eq!(refused, FsError::JournalOutdated(outdated));
    assert_eq!(refused.kind(), ProblemKind::JournalOutdated);
    for part in ["host-1", &format!("epoch {}", term.epoch), "--accept-old-journal"] {
        assert!(refused.to_string().contains(part), "{refused}");
    }
    assert!(world.create("/new").is_err());
    world.pass(Duration::from_secs(3600));
    assert_eq!(world.journal.len(), n_records, "no lease ends, and nothing is emptied");
    assert_eq!((world.summary().safe_mode, world.summary().journal_outdated), (1, 1));
    assert_eq!(world.locate("/before").unwrap().chunks[0].chunk, before, "reads go on");
}

#[test]
fn an_old_copy_is_noticed_at_its_second_start_too() {
    let Split { mut world, copy, term } = Split::new(false);
    world.start_over(copy, false);
    world.restart_in_safe_mode();
    assert!(world.master.durable().epoch() > term.epoch);
    world.come(1, Some(term), vec![]);
    assert_eq!(world.outdated().map(|it| it.by), Some(OutdatedBy::Term(term)));
}

#[test]
fn a_chunk_that_was_never_given_out_keeps_it_from_changing_anything_and_nothing_is_deleted() {
    for as_log in [false, true] {
        let mut world = World::with_servers(2);
        world.put("/before", 5);
        let (copy, before) = (world.journal.clone(), world.chunk_of("/before"));
        world.delete("/before", false).unwrap();
        world.put("/since", 5);
        let since = world.chunk_of("/since");
        world.start_over(copy, false);
        // A server that has persisted no term.
        let version = Version(1);
        let told = match as_log {
            true => ReplicaEvent::LogHeld { chunk: since, version, ended: true },
            false => held(since, 5),
        };
        assert_eq!(world.come(1, None, vec![held(before, 5), told.clone()]), None);
        let by = OutdatedBy::Chunk { chunk: since, next: since };
        assert_eq!(world.outdated(), Some(Outdated { host: host(1), by }));
        assert_eq!(world.come(2, None, vec![told]), None);
        assert!(matches!(world.refusal(), FsError::JournalOutdated(_)));
    }
}

#[test]
fn evidence_that_comes_late_takes_the_master_back_into_safe_mode() {
    let Split { mut world, copy, term } = Split::new(false);
    let before = world.chunk_of("/before");
    world.start_over(copy, false);
    world.come(1, None, vec![held(before, 5)]);
    world.pass(settings().dead_after);
    assert_eq!(world.summary().safe_mode, 0, "the other one is silent");
    world.mkdirs("/meanwhile");
    world.come(2, Some(term), vec![held(before, 5)]);
    assert_eq!(world.summary().safe_mode, 1);
    assert!(matches!(world.refusal(), FsError::JournalOutdated(_)));
    world.pass(settings().dead_after);
    assert_eq!(world.summary().safe_mode, 1, "there it stays");
}

#[test]
fn the_right_journal_goes_on_after_an_old_one_was_started() {
    let Split { mut world, copy, term } = Split::new(true);
    let right = world.journal.clone();
    let (before, since) = (world.chunk_of("/before"), world.chunk_of("/since"));
    let held = || vec![held(before, 5), held(since, 5)];
    world.start_over(copy, false);
    // A server without a term: it must not take this term for the cluster's.
    assert_eq!(world.come(1, None, vec![]), None);
    assert_eq!(world.come(2, Some(term), held()), None);
    assert!(world.outdated().is_some());
    world.notices.clear();
    world.start_over(right, false);
    assert_eq!(world.come(1, None, held()), None);
    let next = world.come(2, Some(term), held()).expect("it takes changes");
    assert!(next.epoch > term.epoch);
    assert_eq!((world.outdated(), world.summary().safe_mode), (None, 0));
    assert_eq!(world.locate("/since").unwrap().chunks[0].servers.len(), 2);
    world.mkdirs("/d");
    world.restart_in_safe_mode();
    world.come(1, Some(term), held());
    assert!(world.come(2, Some(next), held()).is_some(), "servers that missed a term are welcome");
}

#[test]
fn an_old_journal_that_is_accepted_gives_out_nothing_again() {
    let Split { mut world, copy, term } = Split::new(true);
    let lost = world.chunk_of("/since");
    let before = world.chunk_of("/before");
    world.start_over(copy, true);
    assert!(world.master.durable().epoch().0 > term.epoch.0 + (1 << 20) - 2);
    world.come(1, Some(term), vec![held(before, 5), held(lost, 5)]);
    let registered = world.register_with(RegisterServer { term: Some(term), ..registration(2) });
    let report = vec![held(before, 5), held(lost, 5)];
    let reply = world.beat(heartbeat(2, &registered, 1, report)).unwrap();
    assert_eq!((world.outdated(), world.summary().safe_mode), (None, 0));
    // What only the lost journal knew is an orphan like any other.
    let version = Version(1);
    let commands: Vec<_> = reply.commands.into_iter().map(|command| command.item).collect();
    assert_eq!(commands, [ServerCommand::Delete { chunk: lost, version, orphan: true }]);
    world.put("/new", 5);
    assert!(world.chunk_of("/new").0 >= lost.0 + (1 << 32) - 1);
    assert!(world.create("/open").unwrap().file.0 > 1 << 32);
    let kept = reply.term_id.map(|id| Term { epoch: reply.epoch, id });
    world.restart_in_safe_mode();
    world.come(1, kept, vec![]);
    assert_eq!(world.outdated(), None, "once accepted, it is the cluster's");
}

/// The segment with the last records is gone, but what is left knows the term. Only a name changed.
#[test]
fn a_journal_without_its_last_records_is_noticed_by_their_number_and_changes_nothing() {
    let Split { mut world, term, .. } = Split::new(false);
    let before = world.chunk_of("/before");
    let cut = world.journal.clone();
    world.mkdirs("/a");
    let whole = world.journal.clone();
    let told = whole.len() as u64;
    let kept = |world: &mut World, n| {
        let request = RegisterServer { term: Some(term), last_record: told, ..registration(n) };
        let registered = world.register_with(request);
        let report = vec![held(before, 5)];
        world.beat(heartbeat(n, &registered, 1, report)).unwrap().last_record
    };
    let last = cut.len() as u64;
    world.start_over(cut, false);
    // The new starts make as many records as are missing, and more.
    for _ in 0..3 {
        assert_eq!((kept(&mut world, 1), kept(&mut world, 2)), (0, 0));
        let by = OutdatedBy::Record { told, last };
        assert_eq!(world.outdated(), Some(Outdated { host: host(1), by }));
        let refused = world.refusal().to_string();
        for part in [&format!("record {told}"), "newest segment", "--accept-old-journal"] {
            assert!(refused.contains(part), "{refused}");
        }
        world.notices.clear();
        world.restart_in_safe_mode();
    }
    // The complete journal goes on, and so does one that is accepted.
    world.start_over(whole.clone(), false);
    assert_eq!(kept(&mut world, 1), 0, "not sure yet");
    assert!(kept(&mut world, 2) > told, "on disk when it is told");
    world.mkdirs("/c");
    world.start_over(whole[..whole.len() - 1].to_vec(), true);
    assert_eq!((kept(&mut world, 1), world.outdated()), (0, None));
    kept(&mut world, 2);
    world.mkdirs("/d");
}

/// Like a snapshot of the file system: the copy has the very term that went on.
#[test]
fn a_copy_of_the_same_start_gives_out_no_id_that_was_given_out_since_and_is_noticed_late_too() {
    let mut world = World::with_servers(2);
    world.put("/before", 5);
    world.restart();
    (1..=2).for_each(|n| drop(world.register(n)));
    let copy = world.journal.clone();
    let term = Term { epoch: world.master.durable().epoch(), id: 2 };
    world.put("/lost", 5);
    let lost = world.chunk_of("/lost");
    world.start_over(copy, false);
    world.come(1, Some(term), vec![]);
    world.pass(settings().dead_after);
    (1..=2).for_each(|n| drop(world.register(n)));
    world.put("/new", 5);
    assert_ne!(world.chunk_of("/new"), lost, "a late server has other bytes by that name");
    assert_eq!(world.outdated(), None);
    world.come(2, Some(term), vec![held(lost, 5)]);
    // The copy's own start gave out no id, so that the skipped range begins before.
    let next = ChunkId(world.chunk_of("/before").0 + 1);
    let by = OutdatedBy::Chunk { chunk: lost, next };
    assert_eq!(world.outdated(), Some(Outdated { host: host(2), by }));
}
