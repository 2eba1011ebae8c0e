//! The tree against the simplest thing that could be right: a sorted map of path texts.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use super::*;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Folder,
    File,
}

#[derive(Clone, Debug)]
enum Op {
    Put(String, bool),
    Mkdir(String, bool),
    Rename(String, String),
    Delete(String, bool),
    Publish(String, String),
    Restart,
}

fn some_path() -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(vec!["a", "b", "ab"]), 0..4)
        .prop_map(|parts| format!("/{}", parts.join("/")))
}

fn some_op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => (some_path(), any::<bool>()).prop_map(|(at, parents)| Op::Put(at, parents)),
        4 => (some_path(), any::<bool>()).prop_map(|(at, parents)| Op::Mkdir(at, parents)),
        4 => (some_path(), some_path()).prop_map(|(from, to)| Op::Rename(from, to)),
        2 => (some_path(), any::<bool>()).prop_map(|(at, all)| Op::Delete(at, all)),
        1 => (some_path(), some_path()).prop_map(|(from, to)| Op::Publish(from, to)),
        1 => Just(Op::Restart),
    ]
}

#[derive(Default)]
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
        if above(at).iter().any(|folder| self.kind(folder) == Some(Kind::File)) {
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

    fn rename(&mut self, from: &str, to: &str) -> Verdict {
        let kind = self.look(from)?;
        if from == "/" || to == "/" {
            return Err(ProblemKind::InvalidRequest);
        }
        if kind == Kind::Folder && is_below(to, from) {
            return Err(ProblemKind::RenameIntoItself);
        }
        if from == to {
            return Ok(());
        }
        self.room_for(to, false)?;
        for (key, kind) in self.remove(from) {
            self.0.insert(format!("{to}{}", &key[from.len()..]), kind);
        }
        Ok(())
    }

    fn delete(&mut self, at: &str, recursive: bool) -> Verdict {
        self.look(at)?;
        if at == "/" {
            return Err(ProblemKind::InvalidRequest);
        }
        if !recursive && self.0.keys().any(|key| is_below(key, at)) {
            return Err(ProblemKind::FolderNotEmpty);
        }
        self.remove(at);
        Ok(())
    }

    /// Publishes all files that stand directly in `from`, but for an earlier marker.
    fn publish(&mut self, from: &str, to: &str) -> Verdict {
        if self.look(from)? == Kind::File {
            return Err(ProblemKind::NotAFolder);
        }
        if to == from || is_below(to, from) {
            return Err(ProblemKind::RenameIntoItself);
        }
        self.room_for(to, true)?;
        let winners = self.files_in(from);
        // The target is made before the staging folder goes: what is above it stays.
        self.add(to, Kind::Folder);
        for name in winners.iter().map(String::as_str).chain(["_SUCCESS"]) {
            self.0.insert(format!("{to}/{name}"), Kind::File);
        }
        self.remove(from);
        Ok(())
    }

    fn files_in(&self, folder: &str) -> Vec<String> {
        let inside = self.0.iter().filter(|(key, kind)| {
            let inside = is_below(key, folder) && above(key).last().unwrap() == folder;
            **kind == Kind::File && inside && !key.ends_with("/_SUCCESS")
        });
        inside.map(|(key, _)| key.rsplit_once('/').unwrap().1.to_owned()).collect()
    }

    fn apply(&mut self, op: &Op) -> Verdict {
        match op {
            Op::Put(at, parents) => {
                self.room_for(at, *parents)?;
                self.add(at, Kind::File);
            }
            Op::Mkdir(at, parents) => {
                if *parents && self.look(at) == Ok(Kind::Folder) {
                    return Ok(());
                }
                self.room_for(at, *parents)?;
                self.add(at, Kind::Folder);
            }
            Op::Rename(from, to) => self.rename(from, to)?,
            Op::Delete(at, recursive) => self.delete(at, *recursive)?,
            Op::Publish(from, to) => self.publish(from, to)?,
            Op::Restart => {}
        }
        Ok(())
    }
}

fn carry_out(world: &mut World, op: &Op, model: &Model) -> Verdict {
    let result = match op {
        Op::Put(at, parents) => {
            let mut request = create(world.stamp(), at);
            request.parents = *parents;
            match world.mutate(Mutation::Create(request)) {
                Ok(Reply::Created(created)) => {
                    let sealed = seal(&created.allocation, 3);
                    world.close(created.file, Some(sealed)).map(|_| Reply::Done)
                }
                other => other,
            }
        }
        Op::Mkdir(at, parents) => {
            let request = Mkdir { stamp: world.stamp(), path: path(at), parents: *parents };
            world.mutate(Mutation::Mkdir(request))
        }
        Op::Rename(from, to) => world.rename(from, to),
        Op::Delete(at, recursive) => world.delete(at, *recursive),
        Op::Publish(from, to) => {
            let winner = |name: String| Winner { staged: name.clone(), published: name };
            let request = Publish {
                stamp: world.stamp(),
                staging: path(from),
                winners: model.files_in(from).into_iter().map(winner).collect(),
                target: path(to),
                marker: "_SUCCESS".to_owned(),
            };
            world.mutate(Mutation::Publish(request))
        }
        Op::Restart => {
            world.restart();
            world.register(1);
            world.register(2);
            Ok(Reply::Done)
        }
    };
    result.map(drop).map_err(|error| error.kind())
}

fn walk(world: &mut World, at: &str, into: &mut BTreeMap<String, Kind>) {
    for entry in world.list(at, None, LIST_ENTRIES_MAX).unwrap().entries {
        let text = entry.path.to_string();
        match entry.kind {
            FileKind::Folder => {
                walk(world, &text, into);
                into.insert(text, Kind::Folder);
            }
            FileKind::File { open, .. } => {
                assert!(!open);
                into.insert(text, Kind::File);
            }
        }
    }
}

proptest! {
    // The same cases at every run.
    #![proptest_config(ProptestConfig {
        cases: 300,
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(2003),
        ..ProptestConfig::default()
    })]

    #[test]
    fn the_tree_behaves_like_a_sorted_map_of_paths(ops in prop::collection::vec(some_op(), 1..40)) {
        let mut world = World::with_servers(2);
        let mut model = Model::default();
        for op in &ops {
            let got = carry_out(&mut world, op, &model);
            let expected = model.apply(op);
            prop_assert_eq!(got, expected, "{:?}", op);
            let mut listed = BTreeMap::new();
            walk(&mut world, "/", &mut listed);
            prop_assert_eq!(&listed, &model.0, "{:?}", op);
        }
        let files = model.0.values().filter(|kind| **kind == Kind::File).count() as u64;
        prop_assert_eq!(world.summary().files, files);
    }
}
