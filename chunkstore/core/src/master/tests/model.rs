//! The tree against the simplest possible model: a sorted map of path texts. After every step the
//! journal must reproduce the state, and a refused request must have changed nothing.

use std::collections::BTreeMap;

use chunkstore_protocol::path::TRASH_FOLDER;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use super::*;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Folder,
    File(File),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct File {
    id: FileId,
    /// Its only chunk, which stands for its bytes. A marker has none.
    chunk: Option<ChunkId>,
    replication: u8,
}

/// Which file the new one may replace.
#[derive(Clone, Copy, Debug)]
enum Over {
    None,
    Any,
    That,
    Another,
}

#[derive(Clone, Debug)]
enum Op {
    Put(String, bool),
    Mkdir(String, bool),
    Rename(String, String, Over),
    Copy(String, String, Over, bool),
    SetReplication(String, u8),
    Delete {
        at: String,
        recursive: bool,
        skip_trash: bool,
    },
    /// Moves an entry out of the trash.
    Restore(usize, String),
    /// Removes an entry of the trash for good.
    Purge(usize),
    Publish(String, String),
    Concat([String; 2], String, Over),
    Restart,
}

fn some_path() -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(vec!["a", "b", "ab"]), 0..4)
        .prop_map(|parts| format!("/{}", parts.join("/")))
}

fn some_over() -> impl Strategy<Value = Over> {
    prop::sample::select(vec![Over::None, Over::Any, Over::That, Over::Another])
}

fn some_op() -> impl Strategy<Value = Op> {
    let yes_no = any::<bool>;
    prop_oneof![
        4 => (some_path(), yes_no()).prop_map(|(at, parents)| Op::Put(at, parents)),
        3 => (some_path(), yes_no()).prop_map(|(at, parents)| Op::Mkdir(at, parents)),
        4 => (some_path(), some_path(), some_over())
            .prop_map(|(from, to, over)| Op::Rename(from, to, over)),
        4 => (some_path(), some_path(), some_over(), yes_no())
            .prop_map(|(from, to, over, parents)| Op::Copy(from, to, over, parents)),
        1 => (some_path(), 1..4_u8).prop_map(|(at, replicas)| Op::SetReplication(at, replicas)),
        3 => (some_path(), yes_no(), yes_no())
            .prop_map(|(at, recursive, skip_trash)| Op::Delete { at, recursive, skip_trash }),
        2 => (0..4_usize, some_path()).prop_map(|(nth, to)| Op::Restore(nth, to)),
        1 => (0..4_usize).prop_map(Op::Purge),
        1 => (some_path(), some_path()).prop_map(|(from, to)| Op::Publish(from, to)),
        2 => (some_path(), some_path(), some_path(), some_over())
            .prop_map(|(one, other, to, over)| Op::Concat([one, other], to, over)),
        1 => Just(Op::Restart),
    ]
}

#[derive(Clone, Default)]
struct Model(BTreeMap<String, Kind>);

type Verdict = Result<(), ProblemKind>;

fn above(at: &str) -> Vec<String> {
    let mut folders = vec!["/".to_owned()];
    let mut text = String::new();
    let parts: Vec<&str> = at.split('/').filter(|part| !part.is_empty()).collect();
    for part in parts.iter().take(parts.len().saturating_sub(1)) {
        text = format!("{text}/{part}");
        folders.push(text.clone());
    }
    folders
}

fn is_below(at: &str, folder: &str) -> bool {
    folder == "/" && at != "/" || at.starts_with(&format!("{folder}/"))
}

impl Model {
    fn kind(&self, at: &str) -> Option<Kind> {
        if at == "/" { Some(Kind::Folder) } else { self.0.get(at).copied() }
    }

    fn look(&self, at: &str) -> Result<Kind, ProblemKind> {
        if above(at).iter().any(|folder| matches!(self.kind(folder), Some(Kind::File(_)))) {
            return Err(ProblemKind::NotAFolder);
        }
        self.kind(at).ok_or(ProblemKind::NotFound)
    }

    fn room_for(&self, at: &str, parents: bool) -> Verdict {
        match self.look(at) {
            Ok(_) => Err(ProblemKind::AlreadyExists),
            Err(ProblemKind::NotFound) => {
                let all_there = above(at).iter().all(|folder| self.kind(folder).is_some());
                if all_there || parents { Ok(()) } else { Err(ProblemKind::NotFound) }
            }
            Err(other) => Err(other),
        }
    }

    fn add(&mut self, at: &str, kind: Kind) {
        for folder in above(at).into_iter().skip(1) {
            self.0.entry(folder).or_insert(Kind::Folder);
        }
        self.0.insert(at.to_owned(), kind);
    }

    fn remove(&mut self, at: &str) -> Vec<(String, Kind)> {
        let gone = |key: &String| key == at || is_below(key, at);
        let taken = self.0.iter().filter(|(key, _)| gone(key)).map(|(k, v)| (k.clone(), *v));
        let taken: Vec<_> = taken.collect();
        self.0.retain(|key, _| !gone(key));
        taken
    }

    /// The `replace` of a request for something at `to`.
    fn replace(&self, to: &str, over: Over) -> Replace {
        match (over, self.kind(to)) {
            (Over::None, _) => Replace::Never,
            (Over::Any, _) => Replace::Always,
            (Over::That, Some(Kind::File(file))) => Replace::Only(file.id),
            (Over::That | Over::Another, _) => Replace::Only(FileId(u64::MAX)),
        }
    }

    fn target(&self, kind: Kind, to: &str, over: Over, parents: bool) -> Verdict {
        let there = self.look(to);
        match (there, over) {
            (Ok(_), Over::None) => Err(ProblemKind::AlreadyExists),
            (_, Over::Another) | (Err(_) | Ok(Kind::Folder), Over::That) => {
                Err(ProblemKind::Changed)
            }
            (Ok(Kind::Folder), _) => Err(ProblemKind::IsAFolder),
            (Ok(_), _) if kind == Kind::Folder => Err(ProblemKind::AlreadyExists),
            (Ok(_), _) => Ok(()),
            (Err(_), _) => self.room_for(to, parents),
        }
    }

    fn rename(&mut self, from: &str, to: &str, over: Over) -> Verdict {
        let kind = self.look(from)?;
        if from == "/" || to == "/" {
            return Err(ProblemKind::InvalidRequest);
        }
        if from == to {
            let is_that = matches!((over, kind), (Over::That, Kind::File(_)));
            let is_free = matches!(over, Over::None | Over::Any);
            return if is_that || is_free { Ok(()) } else { Err(ProblemKind::Changed) };
        }
        if kind == Kind::Folder && is_below(to, from) {
            return Err(ProblemKind::RenameIntoItself);
        }
        self.target(kind, to, over, false)?;
        self.move_to(from, to);
        Ok(())
    }

    fn move_to(&mut self, from: &str, to: &str) {
        for (key, kind) in self.remove(from) {
            self.0.insert(format!("{to}{}", &key[from.len()..]), kind);
        }
    }

    fn file(&self, at: &str) -> Result<File, ProblemKind> {
        match self.look(at)? {
            Kind::File(file) => Ok(file),
            Kind::Folder => Err(ProblemKind::IsAFolder),
        }
    }

    fn delete(&mut self, at: &str, recursive: bool, trash: Option<&str>) -> Verdict {
        self.look(at)?;
        if at == "/" {
            return Err(ProblemKind::InvalidRequest);
        }
        if !recursive && self.0.keys().any(|key| is_below(key, at)) {
            return Err(ProblemKind::FolderNotEmpty);
        }
        match trash {
            Some(folder) => {
                let to = format!("{folder}{at}");
                self.add(&to, Kind::Folder);
                self.move_to(at, &to);
            }
            None => drop(self.remove(at)),
        }
        Ok(())
    }

    /// The folders of the trash.
    fn trash(&self) -> Vec<String> {
        let inside = |key: &&String| above(key).last().is_some_and(|folder| folder == TRASH_FOLDER);
        self.0.keys().filter(inside).cloned().collect()
    }

    /// What was removed: one entry of the trash, with its old path.
    fn removed(&self, nth: usize) -> Option<String> {
        let mut at = self.trash().get(nth)?.clone();
        while let Some(below) = self.0.keys().find(|key| above(key).last() == Some(&at)) {
            at.clone_from(below);
        }
        Some(at)
    }

    /// Publishes all files directly in `from`, except an earlier marker.
    fn publish(&mut self, from: &str, to: &str, marker: Option<FileId>) -> Verdict {
        if matches!(self.look(from)?, Kind::File(_)) {
            return Err(ProblemKind::NotAFolder);
        }
        if to == from || is_below(to, from) {
            return Err(ProblemKind::RenameIntoItself);
        }
        self.room_for(to, true)?;
        let winners = self.files_in(from);
        // The target is made before the staging folder goes, so the folders above it stay.
        self.add(to, Kind::Folder);
        for name in &winners {
            let kind = self.0[&format!("{}/{name}", from.trim_end_matches('/'))];
            self.0.insert(format!("{to}/{name}"), kind);
        }
        let marker = File { id: marker.unwrap(), chunk: None, replication: 2 };
        self.0.insert(format!("{to}/_SUCCESS"), Kind::File(marker));
        self.remove(from);
        Ok(())
    }

    fn concat(
        &mut self,
        parts: &[String; 2],
        to: &str,
        over: Over,
        told: Option<FileId>,
    ) -> Verdict {
        let [first, second] = [self.file(&parts[0])?, self.file(&parts[1])?];
        if parts[0] == parts[1] || parts.iter().any(|part| part == to) {
            return Err(ProblemKind::InvalidRequest);
        }
        self.target(Kind::File(first), to, over, true)?;
        let whole = File {
            id: told.unwrap(),
            chunk: first.chunk.or(second.chunk),
            replication: first.replication.max(second.replication),
        };
        self.add(to, Kind::File(whole));
        parts.iter().for_each(|part| drop(self.remove(part)));
        Ok(())
    }

    fn files_in(&self, folder: &str) -> Vec<String> {
        let inside = self.0.iter().filter(|(key, kind)| {
            let inside = is_below(key, folder) && above(key).last().unwrap() == folder;
            matches!(kind, Kind::File(_)) && inside && !key.ends_with("/_SUCCESS")
        });
        inside.map(|(key, _)| key.rsplit_once('/').unwrap().1.to_owned()).collect()
    }

    /// `told`: what the master decided, from its answer or a look at its state.
    fn apply(&mut self, op: &Op, told: &Told) -> Verdict {
        match op {
            Op::Put(at, parents) => {
                self.room_for(at, *parents)?;
                let (id, chunk) = (told.file.unwrap(), told.chunk);
                self.add(at, Kind::File(File { id, chunk, replication: 2 }));
            }
            Op::Mkdir(at, parents) => {
                if *parents && self.look(at) == Ok(Kind::Folder) {
                    return Ok(());
                }
                self.room_for(at, *parents)?;
                self.add(at, Kind::Folder);
            }
            Op::Rename(from, to, over) => self.rename(from, to, *over)?,
            Op::Copy(from, to, over, parents) => {
                let source = self.file(from)?;
                self.target(Kind::File(source), to, *over, *parents)?;
                self.add(to, Kind::File(File { id: told.file.unwrap(), ..source }));
            }
            Op::SetReplication(at, replication) => {
                let file = File { replication: *replication, ..self.file(at)? };
                self.0.insert(at.clone(), Kind::File(file));
            }
            Op::Delete { at, recursive, skip_trash } => {
                let trash = told.trash.as_deref().filter(|_| !skip_trash);
                self.delete(at, *recursive, trash)?;
            }
            Op::Restore(nth, to) => {
                if let Some(from) = self.removed(*nth) {
                    self.rename(&from, to, Over::None)?;
                }
            }
            Op::Purge(nth) => {
                if let Some(at) = self.trash().get(*nth) {
                    self.delete(&at.clone(), true, None)?;
                }
            }
            Op::Publish(from, to) => self.publish(from, to, told.file)?,
            Op::Concat(parts, to, over) => self.concat(parts, to, *over, told.file)?,
            Op::Restart => {}
        }
        Ok(())
    }
}

/// What only the master can decide.
#[derive(Default)]
struct Told {
    file: Option<FileId>,
    chunk: Option<ChunkId>,
    trash: Option<String>,
}

fn id_of(world: &mut World, at: &str) -> Option<FileId> {
    match world.stat(at).ok()?.kind {
        FileKind::File { file, .. } => Some(file),
        FileKind::Folder => None,
    }
}

fn put(world: &mut World, at: &str, parents: bool) -> Result<Told, FsError> {
    let mut request = create(world.stamp(), at);
    request.parents = parents;
    match world.mutate(Mutation::Create(request))? {
        Reply::Created(created) => {
            let sealed = seal(&created.allocation, 3);
            world.close(created.file, Some(sealed))?;
            let chunk = Some(created.allocation.chunk);
            Ok(Told { file: Some(created.file), chunk, trash: None })
        }
        other => panic!("{other:?}"),
    }
}

fn publish(world: &mut World, from: &str, to: &str, model: &Model) -> Result<Told, FsError> {
    let winner = |name: String| Winner { staged: name.clone(), published: name };
    let request = Publish {
        stamp: world.stamp(),
        staging: path(from),
        winners: model.files_in(from).into_iter().map(winner).collect(),
        target: path(to),
        marker: "_SUCCESS".to_owned(),
        owner: None,
    };
    world.mutate(Mutation::Publish(request))?;
    let file = id_of(world, &format!("{to}/_SUCCESS"));
    Ok(Told { file, ..Told::default() })
}

fn delete(
    world: &mut World,
    (at, recursive, skip_trash): (&str, bool, bool),
    model: &Model,
) -> Result<Told, FsError> {
    let request = Delete { stamp: world.stamp(), path: path(at), recursive, skip_trash };
    world.mutate(Mutation::Delete(request))?;
    let known = model.trash();
    let folders = world.stat(TRASH_FOLDER).is_ok().then(|| world.names(TRASH_FOLDER));
    let trash = folders.into_iter().flatten().find(|folder| !known.contains(folder));
    Ok(Told { trash, ..Told::default() })
}

fn carry_out(world: &mut World, op: &Op, model: &Model) -> Result<Told, FsError> {
    let replied = match op {
        Op::Put(at, parents) => return put(world, at, *parents),
        Op::Publish(from, to) => return publish(world, from, to, model),
        Op::Delete { at, recursive, skip_trash } => {
            return delete(world, (at, *recursive, *skip_trash), model);
        }
        Op::Copy(from, to, over, parents) => {
            let (stamp, replace) = (world.stamp(), model.replace(to, *over));
            let (from, to) = (path(from), path(to));
            let request = Copy { stamp, from, to, replace, parents: *parents };
            match world.mutate(Mutation::Copy(request))? {
                Reply::Status(FileStatus { kind: FileKind::File { file, .. }, .. }) => {
                    return Ok(Told { file: Some(file), ..Told::default() });
                }
                other => panic!("{other:?}"),
            }
        }
        Op::Concat([one, other], to, over) => {
            let replace = model.replace(to, *over);
            match world.concat(&[one, other], to, replace)?.kind {
                FileKind::File { file, .. } => {
                    return Ok(Told { file: Some(file), ..Told::default() });
                }
                FileKind::Folder => panic!("{to}"),
            }
        }
        Op::Mkdir(at, parents) => {
            let request = Mkdir { stamp: world.stamp(), path: path(at), parents: *parents };
            world.mutate(Mutation::Mkdir(request))
        }
        Op::Rename(from, to, over) => {
            let (stamp, replace) = (world.stamp(), model.replace(to, *over));
            let request = Rename { stamp, from: path(from), to: path(to), replace };
            world.mutate(Mutation::Rename(request))
        }
        Op::SetReplication(at, replication) => world.set_replication(at, *replication),
        Op::Restore(nth, to) => match model.removed(*nth) {
            Some(from) => world.rename(&from, to),
            None => Ok(Reply::Done),
        },
        Op::Purge(nth) => match model.trash().get(*nth) {
            Some(at) => world.delete(at, true),
            None => Ok(Reply::Done),
        },
        Op::Restart => {
            world.restart();
            world.register(1);
            world.register(2);
            Ok(Reply::Done)
        }
    };
    replied.map(|_| Told::default())
}

/// Lists the whole tree at once.
fn listed(world: &mut World) -> BTreeMap<String, Kind> {
    let (path, limit) = (StorePath::root(), LIST_ENTRIES_MAX);
    let request = List { path, after: None, recursive: true, limit };
    let Ok(Reply::Listing(listing)) = world.query(Query::List(request)) else { panic!() };
    let entries = listing.entries.into_iter().map(|entry| {
        let text = entry.path.to_string();
        let kind = match entry.kind {
            FileKind::Folder => Kind::Folder,
            FileKind::File { file, replication, open, .. } => {
                assert!(!open);
                let chunk = world.locate(&text).unwrap().chunks.first().map(|place| place.chunk);
                Kind::File(File { id: file, chunk, replication })
            }
        };
        (text, kind)
    });
    entries.collect()
}

proptest! {
    // Use the same cases in every run.
    #![proptest_config(ProptestConfig {
        cases: 300,
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(2003),
        ..ProptestConfig::default()
    })]

    #[test]
    fn the_tree_behaves_like_a_sorted_map_of_paths(ops in prop::collection::vec(some_op(), 1..40)) {
        let kept = Settings { trash_interval: Duration::from_hours(24), ..settings() };
        let mut world = World::empty_with(kept);
        world.register(1);
        world.register(2);
        let mut model = Model::default();
        for op in &ops {
            let before = world.master.durable().clone();
            let got = carry_out(&mut world, op, &model);
            let told = got.as_ref().ok();
            let expected = model.apply(op, told.unwrap_or(&Told::default()));
            let verdict = got.as_ref().map(|_| ()).map_err(FsError::kind);
            prop_assert_eq!(verdict, expected, "{:?}", op);
            if got.is_err() {
                prop_assert_eq!(world.master.durable(), &before, "{:?} was refused", op);
            }
            prop_assert_eq!(&world.folded(), world.master.durable(), "{:?}", op);
            prop_assert_eq!(&listed(&mut world), &model.0, "{:?}", op);
        }
        let files = model.0.values().filter(|kind| matches!(kind, Kind::File(_)));
        prop_assert_eq!(world.summary().files, files.count() as u64);
    }
}
