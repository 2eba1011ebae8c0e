//! Who may change what.

use chunkstore_protocol::path::TRASH_FOLDER;

use super::*;

/// Requests of a user who is no superuser.
struct By<'w>(&'w mut World, &'static str);

impl By<'_> {
    fn ask(&mut self, request: Mutation) -> Result<Reply, FsError> {
        let mut asker = asker(&request, self.1);
        asker.may = Authority::Own;
        let to = self.0.reply_to();
        fs(self.0.run(Input::Mutate(to, asker, request)))
    }

    fn mkdir(&mut self, at: &str) -> Result<Reply, FsError> {
        let request = Mkdir { stamp: self.0.stamp(), path: path(at), parents: true };
        self.ask(Mutation::Mkdir(request))
    }

    fn create(&mut self, at: &str) -> Result<Reply, FsError> {
        let request = Create { parents: true, ..create(self.0.stamp(), at) };
        self.ask(Mutation::Create(request))
    }

    fn rename(&mut self, from: &str, to: &str, replace: Replace) -> Result<Reply, FsError> {
        let stamp = self.0.stamp();
        self.ask(Mutation::Rename(Rename { stamp, from: path(from), to: path(to), replace }))
    }

    fn copy(&mut self, from: &str, to: &str, replace: Replace) -> Result<Reply, FsError> {
        let (stamp, parents) = (self.0.stamp(), false);
        self.ask(Mutation::Copy(Copy { stamp, from: path(from), to: path(to), replace, parents }))
    }

    fn delete(&mut self, at: &str) -> Result<Reply, FsError> {
        let stamp = self.0.stamp();
        let request = Delete { stamp, path: path(at), recursive: true, skip_trash: false };
        self.ask(Mutation::Delete(request))
    }

    fn may(&mut self, intent: Intent, at: &str) -> Result<Reply, FsError> {
        let (digest, owner) = (RequestDigest(0), self.1.to_owned());
        let asker = Asker { digest, owner, may: Authority::Own };
        self.0.query(Query::May(asker, intent, path(at)))
    }
}

fn is_not_yours(refused: &Result<Reply, FsError>) -> bool {
    matches!(refused, Err(FsError::NotYours(_)))
}

/// Folders of ann and of ben with a file each, one without an owner, and a world that keeps removed
/// entries.
fn world() -> World {
    let trash_interval = Duration::from_hours(24);
    let mut world = World::empty_with(Settings { trash_interval, ..settings() });
    world.pass(settings().dead_after);
    world.register(1);
    world.register(2);
    for (owner, file) in [("ann", "/ann/f"), ("ben", "/ben/f"), ("", "/old/f")] {
        world.owner = owner.to_owned();
        world.mkdirs(file.strip_suffix("/f").unwrap());
        world.put(file, 3);
    }
    world
}

#[test]
fn nobody_changes_what_is_anothers_and_everybody_what_is_their_own() {
    let mut world = world();
    let mut ann = By(&mut world, "ann");
    for other in ["/ben", "/old"] {
        let file = format!("{other}/f");
        let stamp = ann.0.stamp();
        let append = Append { stamp, path: path(&file), writer_host: None };
        assert!(is_not_yours(&ann.ask(Mutation::Append(append))), "{file}");
        let stamp = ann.0.stamp();
        let request = SetReplication { stamp, path: path(&file), replication: 1 };
        assert!(is_not_yours(&ann.ask(Mutation::SetReplication(request))), "{file}");
        assert!(is_not_yours(&ann.rename(&file, "/ann/g", Replace::Never)), "{file}");
        assert!(is_not_yours(&ann.rename("/ann/f", &file, Replace::Always)), "{file}");
        assert!(is_not_yours(&ann.copy("/ann/f", &file, Replace::Always)), "{file}");
        let (stamp, to) = (ann.0.stamp(), path("/ann/both"));
        let parts = vec![path("/ann/f"), path(&file)];
        let concat = Concat { stamp, parts, to, replace: Replace::Never, parents: false };
        assert!(is_not_yours(&ann.ask(Mutation::Concat(concat))), "{file}");
        for at in [file.as_str(), other] {
            assert!(is_not_yours(&ann.delete(at)), "{at}");
            assert!(is_not_yours(&ann.may(Intent::Change, at)), "{at}");
        }
        for made in [format!("{other}/new"), format!("{other}/a/b/new")] {
            assert!(is_not_yours(&ann.create(&made)), "{made}");
            assert!(is_not_yours(&ann.mkdir(&made)), "{made}");
            assert!(is_not_yours(&ann.copy("/ann/f", &made, Replace::Never)), "{made}");
            assert!(is_not_yours(&ann.rename("/ann/f", &made, Replace::Never)), "{made}");
            assert!(is_not_yours(&ann.may(Intent::Make, &made)), "{made}");
        }
    }
    let stamp = ann.0.stamp();
    let own = SetOwner { stamp, path: path("/ann"), owner: "ben".to_owned() };
    assert!(is_not_yours(&ann.ask(Mutation::SetOwner(own))), "that is a superuser's to do");
    assert!(ann.copy("/ben/f", "/ann/copy", Replace::Never).is_ok(), "everybody may look");
    assert!(ann.rename("/ann/copy", "/ann/f", Replace::Always).is_ok());
    assert!(ann.create("/ann/x/y").is_ok() && ann.create("/new/y").is_ok());
    assert!(ann.delete("/ann").is_ok());
    assert_eq!(ann.delete("/"), Err(FsError::RootStays));
    assert!(matches!(ann.delete("/none"), Err(FsError::NotFound { .. })), "before whose it is");
}

#[test]
fn a_file_that_is_closed_takes_no_name_that_its_writer_could_not_give_it_otherwise() {
    let mut world = world();
    let mut ann = By(&mut world, "ann");
    let Ok(Reply::Created(created)) = ann.create("/ann/.f.new") else { panic!("it is made") };
    let mut close_into = |to: &str, replace| {
        let (stamp, file) = (ann.0.stamp(), created.file);
        let sealed = Some(seal(&created.allocation, 5));
        let into = Some(CloseInto { path: path(to), replace });
        ann.ask(Mutation::Close(Close { stamp, file, sealed, abandoned: None, into }))
    };
    for (to, replace) in [
        ("/ben/f", Replace::Always),
        ("/old/f", Replace::Always),
        ("/ben/new", Replace::Never),
        ("/ben/new", Replace::Always),
    ] {
        assert!(is_not_yours(&close_into(to, replace)), "{to}");
    }
    assert!(close_into("/ann/f", Replace::Always).is_ok());
}

#[test]
fn the_owner_of_a_folder_may_take_away_what_others_have_in_it() {
    let mut world = world();
    world.owner = "ben".to_owned();
    world.mkdirs("/ann/bens");
    world.put("/ann/bens/f", 3);
    let mut ben = By(&mut world, "ben");
    assert!(ben.create("/ann/bens/g").is_ok());
    assert!(is_not_yours(&ben.create("/ann/g")));
    let mut ann = By(&mut world, "ann");
    assert!(ann.create("/ann/bens/h").is_ok());
    assert!(ann.delete("/ann/bens/f").is_ok());
    assert!(ann.delete("/ann").is_ok());
}

#[test]
fn a_refusal_names_whose_it_is_and_what_to_do() {
    let mut world = world();
    let mut ann = By(&mut world, "ann");
    let said = |refused: Result<Reply, FsError>| refused.unwrap_err().to_string();
    let text = said(ann.delete("/ben/f"));
    assert!(text.contains("/ben/f belongs to ben: ann may read it"), "{text}");
    let text = said(ann.create("/ben/a/b"));
    for part in ["the folder /ben belongs to ben", "howdah fs chown ann /ben"] {
        assert!(text.contains(part), "{text}");
    }
    let text = said(ann.delete("/old/f"));
    assert!(text.contains("belongs to nobody"), "{text}");
}

#[test]
fn the_first_who_has_something_in_the_trash_does_not_own_it() {
    let mut world = world();
    let folder_of = |world: &mut World, nth: usize| world.names(TRASH_FOLDER)[nth].clone();
    assert!(By(&mut world, "ann").delete("/ann/f").is_ok());
    world.pause(Duration::from_secs(1));
    assert!(By(&mut world, "ben").delete("/ben/f").is_ok());
    let (anns, bens) = (folder_of(&mut world, 0), folder_of(&mut world, 1));
    assert_eq!(world.stat(TRASH_FOLDER).unwrap().owner, "ann", "whose request made it");
    let mut ann = By(&mut world, "ann");
    assert!(is_not_yours(&ann.delete(&bens)));
    assert!(is_not_yours(&ann.rename(&format!("{bens}/ben/f"), "/ann/f", Replace::Never)));
    assert!(is_not_yours(&ann.delete(TRASH_FOLDER)));
    assert!(ann.rename(&format!("{anns}/ann/f"), "/ann/f", Replace::Never).is_ok());
    assert!(ann.delete(&anns).is_ok());
    let mut ben = By(&mut world, "ben");
    assert!(ben.create("/.howdah/programs/x").is_ok(), "which names, the edge says");
    assert!(By(&mut world, "ann").create("/.howdah/programs/y").is_ok());
    assert!(is_not_yours(&By(&mut world, "ann").delete("/.howdah/programs/x")));
}

#[test]
fn a_superuser_gives_things_to_others_and_the_job_of_a_user_writes_where_that_user_may() {
    let mut world = world();
    let (stamp, owner) = (world.stamp(), "ann".to_owned());
    let give = SetOwner { stamp, path: path("/old"), owner };
    assert_eq!(world.mutate(Mutation::SetOwner(give)), Ok(Reply::Done));
    assert_eq!(world.stat("/old").unwrap().owner, "ann");
    assert_eq!(world.stat("/old/f").unwrap().owner, "", "what is in it keeps its own");
    assert!(By(&mut world, "ann").delete("/old/f").is_ok());
    let (stamp, owner) = (world.stamp(), "ann".to_owned());
    let root = SetOwner { stamp, path: path("/"), owner };
    assert_eq!(world.mutate(Mutation::SetOwner(root)), Err(FsError::RootStays));

    world.mkdirs("/.howdah/staging/job");
    let publish = |world: &mut World, target: &str| Publish {
        stamp: world.stamp(),
        staging: path("/.howdah/staging/job"),
        winners: Vec::new(),
        target: path(target),
        marker: "_SUCCESS".to_owned(),
        owner: Some("ann".to_owned()),
    };
    let into_bens = publish(&mut world, "/ben/out");
    assert!(is_not_yours(&By(&mut world, "ann").ask(Mutation::Publish(into_bens))));
    let into_own = publish(&mut world, "/ann/out");
    assert!(By(&mut world, "ann").ask(Mutation::Publish(into_own)).is_ok());
    assert_eq!(world.stat("/ann/out/_SUCCESS").unwrap().owner, "ann");
}
