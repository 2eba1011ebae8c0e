//! The users of the configuration, as the daemons know them: read at the start, and again whenever the file changes, so
//! that a token is taken back without a restart.

use std::path::{Path, PathBuf};
use std::time::Duration;

use config::UserRole;
use daemon::FileStamp;
use ids::UnixMillis;
use net::{Standing, User, Users, WouldOpen};

/// Time between two looks at the file. It is read once two of them find it the same.
const INTERVAL: Duration = Duration::from_secs(2);

/// What is known of the file.
struct Seen {
    /// At the last look.
    stamp: Option<FileStamp>,
    /// When it was last read.
    read: Option<FileStamp>,
    /// Who was in it then.
    users: Vec<config::User>,
}

/// Gives `users` those of the configuration.
///
/// # Errors
/// When these are none, and there are some.
pub(super) fn take(users: &Users, configured: &[config::User]) -> Result<(), WouldOpen> {
    let table = configured.iter().map(|user| {
        let standing = match user.role {
            UserRole::Admin => Standing::Superuser,
            UserRole::User => Standing::User,
            UserRole::Viewer => Standing::Viewer,
        };
        let valid_from = UnixMillis(user.valid_from.map_or(0, |at| at.0));
        (user.name.clone(), User { standing, valid_from })
    });
    users.replace(table.collect())
}

/// Looks at the file again and again. What is wrong with it is said, once an edit; the users that were read before stay.
pub(super) async fn follow(users: Users, file: PathBuf, first: Vec<config::User>) {
    let stamp = FileStamp::of(&file);
    let mut seen = Seen { stamp, read: None, users: first };
    loop {
        tokio::time::sleep(INTERVAL).await;
        let (users, file) = (users.clone(), file.clone());
        let look = tokio::task::spawn_blocking(move || {
            look(&users, &file, &mut seen);
            seen
        });
        match look.await {
            Ok(looked) => seen = looked,
            Err(error) => {
                tracing::error!(%error, "the configuration is not looked at any more: restart to read its users");
                return;
            }
        }
    }
}

/// Whoever writes the file in place may be half way: what is read is what stays the same from one look to the next, and
/// while it is read.
fn look(users: &Users, file: &Path, seen: &mut Seen) {
    let stamp = FileStamp::of(file);
    let is_still = stamp == std::mem::replace(&mut seen.stamp, stamp);
    if !is_still || stamp == seen.read {
        return;
    }
    let loaded = config::load(file, &[]);
    if FileStamp::of(file) != stamp {
        return;
    }
    seen.read = stamp;
    match loaded {
        Ok(config) if config.users == seen.users => {}
        Ok(config) => match take(users, &config.users) {
            Ok(()) => {
                tracing::info!(
                    users = config.users.len(),
                    "took in the users of the changed configuration"
                );
                seen.users = config.users;
            }
            Err(error) => {
                tracing::error!(%error, file = %file.display(), "the changed configuration is not taken in");
            }
        },
        Err(error) => {
            tracing::error!(%error, "the changed configuration can't be used: the users that were read before stay");
        }
    }
}

#[cfg(test)]
mod tests {
    use net::{Capability, Role};

    use super::*;

    #[test]
    fn a_changed_file_counts_and_a_bad_one_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("howdah.yaml");
        let write = |text: &str| {
            let beside = folder.path().join("new");
            std::fs::write(&beside, text).unwrap();
            std::fs::rename(&beside, &file).unwrap();
        };
        write("users: [{name: ann}]");
        let users = Users::default();
        let read = config::load(&file, &[]).unwrap().users;
        take(&users, &read).unwrap();
        let stamp = FileStamp::of(&file);
        let mut seen = Seen { stamp, read: stamp, users: read };
        let standing = |name: &str| {
            let capability = Capability::unlimited(name, Role::User, UnixMillis(u64::MAX));
            users.standing(&capability, UnixMillis(1_000)).ok()
        };
        assert_eq!((standing("ann"), standing("ben")), (Some(Standing::User), None));
        write("users: [{name: ann, role: viewer}, {name: ben, role: admin}]");
        look(&users, &file, &mut seen);
        assert_eq!(standing("ann"), Some(Standing::User), "it may be half way");
        look(&users, &file, &mut seen);
        assert_eq!(standing("ann"), Some(Standing::Viewer));
        assert_eq!(standing("ben"), Some(Standing::Superuser));
        write("users: [{name: ann, role: king}]");
        look(&users, &file, &mut seen);
        look(&users, &file, &mut seen);
        assert_eq!(standing("ben"), Some(Standing::Superuser));
        for opened in ["", "users: []", "pools: []"] {
            write(opened);
            look(&users, &file, &mut seen);
            look(&users, &file, &mut seen);
            assert_eq!(standing("ann"), Some(Standing::Viewer), "{opened:?} opens nothing");
            assert_eq!(standing("eve"), None, "{opened:?} opens nothing");
        }
        write("users: [{name: ann, valid_from: 2026-11-30T12:00:00Z}]");
        look(&users, &file, &mut seen);
        look(&users, &file, &mut seen);
        assert_eq!((standing("ann"), standing("ben")), (None, None));
    }
}
