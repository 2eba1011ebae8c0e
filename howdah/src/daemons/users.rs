//! The users of the configuration, as the daemons know them: read at the start, and again whenever the file changes, so
//! that a token is taken back without a restart.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use config::UserRole;
use ids::UnixMillis;
use net::{Standing, User, Users};

/// Time between two looks at the file.
const INTERVAL: Duration = Duration::from_secs(5);

/// What changes with every edit of a file.
type Stamp = Option<(u64, u64, i64, i64)>;

/// Gives `users` those of the configuration.
pub(super) fn take(users: &Users, configured: &[config::User]) {
    let table = configured.iter().map(|user| {
        let standing = match user.role {
            UserRole::Admin => Standing::Superuser,
            UserRole::User => Standing::User,
            UserRole::Viewer => Standing::Viewer,
        };
        let valid_from = UnixMillis(user.valid_from.map_or(0, |at| at.0));
        (user.name.clone(), User { standing, valid_from })
    });
    users.replace(table.collect());
}

/// Looks at the file again and again. What is wrong with it is said, once an edit; the users that were read before stay.
pub(super) async fn follow(users: Users, file: PathBuf, first: Vec<config::User>) {
    let mut last = (stamp_of(&file), first);
    loop {
        tokio::time::sleep(INTERVAL).await;
        let (users, file) = (users.clone(), file.clone());
        let look = tokio::task::spawn_blocking(move || {
            look(&users, &file, &mut last);
            last
        });
        match look.await {
            Ok(seen) => last = seen,
            Err(error) => {
                tracing::error!(%error, "the configuration is not looked at any more: restart to read its users");
                return;
            }
        }
    }
}

fn look(users: &Users, file: &Path, last: &mut (Stamp, Vec<config::User>)) {
    let stamp = stamp_of(file);
    if stamp == last.0 {
        return;
    }
    last.0 = stamp;
    match config::load(file, &[]) {
        Ok(config) if config.users == last.1 => {}
        Ok(config) => {
            take(users, &config.users);
            tracing::info!(
                users = config.users.len(),
                "took in the users of the changed configuration"
            );
            last.1 = config.users;
        }
        Err(error) => {
            tracing::error!(%error, "the changed configuration can't be used: the users that were read before stay");
        }
    }
}

fn stamp_of(file: &Path) -> Stamp {
    let file = std::fs::metadata(file).ok()?;
    Some((file.ino(), file.len(), file.mtime(), file.mtime_nsec()))
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
        take(&users, &read);
        let mut last = (stamp_of(&file), read);
        let standing = |name: &str| {
            let capability = Capability::unlimited(name, Role::User, UnixMillis(u64::MAX));
            users.standing(&capability, UnixMillis(1_000)).ok()
        };
        assert_eq!((standing("ann"), standing("ben")), (Some(Standing::User), None));
        write("users: [{name: ann, role: viewer}, {name: ben, role: admin}]");
        look(&users, &file, &mut last);
        assert_eq!(standing("ann"), Some(Standing::Viewer));
        assert_eq!(standing("ben"), Some(Standing::Superuser));
        write("users: [{name: ann, role: king}]");
        look(&users, &file, &mut last);
        assert_eq!(standing("ben"), Some(Standing::Superuser));
        write("users: [{name: ann, valid_from: 2026-11-30T12:00:00Z}]");
        look(&users, &file, &mut last);
        assert_eq!((standing("ann"), standing("ben")), (None, None));
    }
}
