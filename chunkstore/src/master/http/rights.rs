//! Who may change which names. A token says so path by path. Beyond that, only masters change the
//! system's own folder, whatever prefix a token has: running jobs rely on its contents. Users may
//! put programs there, and may move or remove entries of the trash that they could change at their
//! old place; tasks write where their token allows.

use chunkstore_protocol::path::{PROGRAMS_FOLDER, SYSTEM_FOLDER, TRASH_FOLDER};
use chunkstore_protocol::{OWNER_CHARS_MAX, Replace, StorePath};
use net::{Caller, Problem, Right, Role, Users};

use super::error::{forbidden, invalid};

/// Hexadecimal digits of a program's digest.
const SHA256_DIGITS: usize = 64;

/// What a request does to a name.
#[derive(Clone, Copy, Debug)]
pub(super) enum Change<'a> {
    /// A file is created there.
    Put(&'a StorePath),
    /// A folder is created there.
    MakeFolder(&'a StorePath),
    /// The bytes of the file there change.
    Alter(&'a StorePath),
    /// The entry there is removed, with everything below it.
    Remove(&'a StorePath),
}

/// Checks that the caller may make this change.
///
/// # Errors
/// A 403 problem that names the subject and the path.
pub(super) fn may_change(caller: &Caller, change: Change<'_>) -> Result<(), Problem> {
    let (Change::Put(path) | Change::MakeFolder(path) | Change::Alter(path) | Change::Remove(path)) =
        change;
    let own = before_removal(path);
    caller.require(Right::Write, own.as_ref().unwrap_or(path).as_str())?;
    let system: StorePath = SYSTEM_FOLDER.parse().expect("the constant is a path");
    // Above it there is only the root, which nobody removes or moves.
    let permitted = match caller.capability.role {
        _ if !path.is_within(&system) => true,
        Role::Master => true,
        Role::Task => *path != system,
        Role::User if matches!(change, Change::Remove(_)) && own.is_some() => true,
        Role::User | Role::Tracker | Role::Server => puts_program(change),
    };
    if permitted {
        return Ok(());
    }
    let why = match path.as_str() {
        TRASH_FOLDER => {
            "the trash stays, and what is in it goes with its time, or by `howdah fs expunge`"
                .to_owned()
        }
        _ => format!(
            "what is in {SYSTEM_FOLDER} belongs to the jobs, and goes with them; to end one, kill it"
        ),
    };
    Err(forbidden(format!("{} may not change {path}: {why}", caller.capability.subject)))
}

/// Checks that files may be given to that name.
///
/// # Errors
/// A 400 problem that lists the possible names.
pub(super) fn check_owner(users: &Users, owner: &str) -> Result<(), Problem> {
    let n_chars = owner.chars().count();
    if !(1..=OWNER_CHARS_MAX).contains(&n_chars) || owner.chars().any(char::is_control) {
        let detail = format!("an owner's name has 1 to {OWNER_CHARS_MAX} printable characters");
        return Err(invalid(detail));
    }
    users.check_owner(owner).map_err(|error| invalid(error.to_string()))
}

/// Checks that the caller may read the entry at `path`.
///
/// # Errors
/// A 403 problem that names the subject and the path.
pub(super) fn may_look(caller: &Caller, path: &StorePath) -> Result<(), Problem> {
    let own = before_removal(path);
    caller.require(Right::Read, own.as_ref().unwrap_or(path).as_str())
}

/// Where an entry of the trash was before it was removed: rights to that path are rights to this
/// one. For the folder of a whole removal, that is the root.
fn before_removal(path: &StorePath) -> Option<StorePath> {
    let below = path.as_str().strip_prefix(TRASH_FOLDER)?.strip_prefix('/')?;
    match below.split_once('/') {
        Some((_removal, own)) => StorePath::root().join(own).ok(),
        None => Some(StorePath::root()),
    }
}

/// Checks that the caller may rename the entry at `from` to `to`, replacing a file there if that is
/// asked for.
///
/// # Errors
/// Like [`may_change`].
pub(super) fn may_move(
    caller: &Caller,
    from: &StorePath,
    to: &StorePath,
    replace: Replace,
) -> Result<(), Problem> {
    may_change(caller, Change::Remove(from))?;
    let finishes = program_of(from, Stage::Unfinished).filter(|_| replace.is_never());
    if finishes.is_some() && finishes == program_of(to, Stage::Whole) {
        return caller.require(Right::Write, to.as_str());
    }
    may_put(caller, to, replace)
}

/// Checks that the caller may create a file at `to`. Replacing a file also removes it.
///
/// # Errors
/// Like [`may_change`].
pub(super) fn may_put(caller: &Caller, to: &StorePath, replace: Replace) -> Result<(), Problem> {
    if !replace.is_never() {
        may_change(caller, Change::Remove(to))?;
    }
    may_change(caller, Change::Put(to))
}

/// Whether this is a step of installing a program: it is written as its digest with a suffix after
/// a dot, renamed to the digest alone when it is complete ([`may_move`]), and removed if another
/// was faster. A complete one stays, as others may run it. Nothing else can be put there.
fn puts_program(change: Change<'_>) -> bool {
    let in_programs =
        |path: &StorePath| path.parent().is_some_and(|folder| folder.as_str() == PROGRAMS_FOLDER);
    match change {
        Change::Put(path) => program_of(path, Stage::Unfinished).is_some(),
        Change::Alter(path) | Change::Remove(path) => {
            in_programs(path) && program_of(path, Stage::Whole).is_none()
        }
        Change::MakeFolder(_) => false,
    }
}

/// How complete a program is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Named by its digest and a suffix after a dot.
    Unfinished,
    /// Named by its digest.
    Whole,
}

/// The digest of the program that `path` names, if it names one at that stage.
fn program_of(path: &StorePath, stage: Stage) -> Option<&str> {
    let name = path.as_str().strip_prefix(PROGRAMS_FOLDER)?.strip_prefix('/')?;
    let (digest, found) = match name.split_once('.') {
        Some((digest, rest)) if !rest.contains('/') => (digest, Stage::Unfinished),
        Some(_) => return None,
        None => (name, Stage::Whole),
    };
    let is_digest = digest.len() == SHA256_DIGITS
        && digest.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    (is_digest && found == stage).then_some(digest)
}

#[cfg(test)]
mod tests {
    use ids::UnixMillis;
    use net::{Capability, Grant};

    use super::*;

    fn path(text: &str) -> StorePath {
        text.parse().unwrap()
    }

    fn may(role: Role, grant: &str, change: Change<'_>) -> bool {
        let subject = "tester".to_owned();
        let grants = vec![Grant::all(grant)];
        let caller = Caller::of(Capability { subject, role, grants, expires: UnixMillis(1) });
        match may_change(&caller, change) {
            Ok(()) => true,
            Err(problem) => {
                assert_eq!((problem.status, problem.kind.as_str()), (403, "forbidden"));
                assert!(problem.detail.contains("tester"), "{}", problem.detail);
                false
            }
        }
    }

    #[test]
    fn nobody_but_a_master_changes_what_jobs_rely_on() {
        for text in [
            "/.howdah",
            "/.howdah/programs",
            "/.howdah/staging",
            "/.howdah/staging/job_20261122_0001/part",
            "/.howdah/new",
        ] {
            let path = path(text);
            for change in [Change::Put(&path), Change::MakeFolder(&path), Change::Remove(&path)] {
                assert!(may(Role::Master, "/", change), "{change:?}");
                for role in [Role::User, Role::Tracker, Role::Server] {
                    assert!(!may(role, "/", change), "{role:?} {change:?}");
                }
            }
        }
        assert!(may(Role::User, "/", Change::Remove(&path("/.howdah2"))));
        assert!(may(Role::User, "/", Change::Remove(&path("/in/.howdah"))));
        assert!(!may(Role::Master, "/in", Change::Remove(&path("/.howdah"))), "tokens go first");
    }

    #[test]
    fn the_trash_is_open_to_those_who_may_change_what_was_removed() {
        let (mine, theirs) = ("/.howdah/trash/t-1/home/a/f", "/.howdah/trash/t-1/home/b/f");
        for (grant, at, permitted) in [
            ("/home/a", mine, true),
            ("/home/a", theirs, false),
            ("/home/a", "/.howdah/trash/t-1/home", false),
            ("/home/a", "/.howdah/trash/t-1", false),
            ("/", "/.howdah/trash/t-1", true),
            ("/", theirs, true),
            ("/", "/.howdah/trash", false),
            ("/", "/.howdah/trashy/t-1", false),
        ] {
            let at = path(at);
            assert_eq!(may(Role::User, grant, Change::Remove(&at)), permitted, "{grant} {at}");
            assert!(!may(Role::User, grant, Change::Put(&at)), "nothing is put there: {at}");
            assert!(!may(Role::User, grant, Change::MakeFolder(&at)), "nor made: {at}");
        }
        for (at, permitted) in [(mine, true), (theirs, false), ("/home/a", true)] {
            let grants = vec![Grant::read("/home/a")];
            let (subject, expires) = ("tester".to_owned(), UnixMillis(1));
            let caller = Caller::of(Capability { subject, role: Role::User, grants, expires });
            assert_eq!(may_look(&caller, &path(at)).is_ok(), permitted, "{at}");
        }
    }

    #[test]
    fn a_task_writes_where_its_token_sends_it() {
        let own = path("/.howdah/staging/job/attempt");
        assert!(may(Role::Task, own.as_str(), Change::Put(&own)));
        assert!(!may(Role::Task, own.as_str(), Change::Put(&path("/.howdah/staging/job/other"))));
        assert!(!may(Role::Task, "/", Change::Remove(&path("/.howdah"))));
    }

    #[test]
    fn a_user_puts_programs_and_removes_none_that_is_whole() {
        let digest = "5eed".repeat(16);
        let whole = path(&format!("/.howdah/programs/{digest}"));
        let beside = path(&format!("/.howdah/programs/{digest}.1"));
        let junk = path("/.howdah/programs/notes");
        for change in [Change::Put(&beside), Change::Remove(&beside), Change::Remove(&junk)] {
            assert!(may(Role::User, "/", change), "{change:?}");
        }
        let below = path(&format!("/.howdah/programs/{digest}.1/x"));
        let (remove, alter) = (Change::Remove(&whole), Change::Alter(&whole));
        let folder = Change::MakeFolder(&whole);
        let put = [&whole, &below, &junk].map(Change::Put);
        for change in put.into_iter().chain([remove, alter, folder]) {
            assert!(!may(Role::User, "/", change), "{change:?}");
        }
    }

    #[test]
    fn only_a_program_of_that_digest_gets_its_name() {
        let (subject, expires) = ("tester".to_owned(), UnixMillis(1));
        let grants = vec![Grant::all("/")];
        let user = Caller::of(Capability { subject, role: Role::User, grants, expires });
        let program = |name: String| path(&format!("/.howdah/programs/{name}"));
        let (one, other) = ("5eed".repeat(16), "c0de".repeat(16));
        let whole = program(one.clone());
        let moves = |from: &StorePath, replace| may_move(&user, from, &whole, replace).is_ok();
        assert!(moves(&program(format!("{one}.x")), Replace::Never));
        assert!(!moves(&program(format!("{one}.x")), Replace::Always), "others run it");
        assert!(!moves(&program(format!("{other}.x")), Replace::Never));
        assert!(!moves(&path("/home/folder"), Replace::Never));
        assert!(!moves(&program("notes".to_owned()), Replace::Never));
        assert!(
            may_move(&user, &program("notes".to_owned()), &path("/notes"), Replace::Never).is_ok()
        );
    }
}
