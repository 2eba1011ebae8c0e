//! The users of a cluster: who may change what belongs to everybody, who only what is their own,
//! and who may only read; and from when on their tokens are valid. If no users are configured,
//! every holder of a token is a superuser, within the token's grants.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use ids::UnixMillis;
use serde::Serialize;

use crate::{Capability, Role};

/// The user on whose behalf a holder of the cluster's secret acts, unless they say otherwise
/// (Hadoop: the superuser). No user has this name.
pub const SUPERUSER: &str = "howdah";

/// What somebody may change, within the grants of their token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// Everything: the cluster's hosts and pools, everybody's jobs and files. Tasks and daemons
    /// have this too: their tokens limit them by path.
    Superuser,
    /// Only what is their own.
    User,
    /// Nothing: they may only read.
    Viewer,
}

/// One user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct User {
    /// What they may change.
    pub standing: Standing,
    /// Tokens signed before this time are not valid.
    pub valid_from: UnixMillis,
}

/// Why a valid token is not accepted for its user.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UserError {
    /// There is no user of this name.
    #[error(
        "the token is for {name:?}, who is no user of this cluster: 'users' in its configuration names those who are; \
         who holds the cluster's secret makes a token with `howdah token --user NAME`"
    )]
    Unknown {
        /// The name in the token.
        name: String,
    },
    /// It was revoked.
    #[error(
        "this token of {name} was taken back: it was signed before the time from which {name}'s tokens count \
         ('valid_from' of the user in the configuration); ask whoever holds the cluster's secret for a new one \
         (`howdah token --user {name}`)"
    )]
    TakenBack {
        /// Its user.
        name: String,
    },
}

/// A name that no files can belong to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{name:?} is no user of this cluster: 'users' in its configuration names {names}; there are no groups, and what is to \
     belong to nobody of these is given to {SUPERUSER}"
)]
pub struct NotAUser {
    /// The name in the request.
    pub name: String,
    /// The names of users.
    pub names: String,
}

/// Users that the error for a wrong name lists.
const NAMES_TOLD: usize = 20;

type Table = BTreeMap<String, User>;

/// The users that a daemon knows. Clones share one table, which may be replaced at any time.
#[derive(Clone, Debug, Default)]
pub struct Users(Arc<RwLock<Option<Arc<Table>>>>);

/// An attempt to replace the users by none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "it names no users any more, with which whoever has a token would be the superuser: the users that were read \
     before stay; if the cluster is to have none, restart its daemons"
)]
pub struct WouldOpen;

impl Users {
    /// Replaces the table of all clones; an empty table means no users.
    ///
    /// # Errors
    /// When it is empty and the previous one is not, which then stays: a slip in a file must not
    /// open the cluster.
    pub fn replace(&self, table: BTreeMap<String, User>) -> Result<(), WouldOpen> {
        let table = (!table.is_empty()).then(|| Arc::new(table));
        let mut current = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if table.is_none() && current.is_some() {
            return Err(WouldOpen);
        }
        *current = table;
        Ok(())
    }

    /// Checks that files may be given to that name; in a cluster without users, any name will do.
    ///
    /// # Errors
    /// When the cluster has users, and this is none of them.
    pub fn check_owner(&self, name: &str) -> Result<(), NotAUser> {
        let Some(table) = self.table() else { return Ok(()) };
        if name == SUPERUSER || table.contains_key(name) {
            return Ok(());
        }
        let names: Vec<&str> = table.keys().map(String::as_str).take(NAMES_TOLD).collect();
        let more = if table.len() > NAMES_TOLD { ", and more" } else { "" };
        Err(NotAUser { name: name.to_owned(), names: names.join(", ") + more })
    }

    fn table(&self) -> Option<Arc<Table>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What the holder of a token signed at `issued` may change.
    ///
    /// # Errors
    /// When its user is none of the cluster's, or the token was revoked.
    pub fn standing(
        &self,
        capability: &Capability,
        issued: UnixMillis,
    ) -> Result<Standing, UserError> {
        let Some(table) = self.table().filter(|_| capability.role == Role::User) else {
            return Ok(Standing::Superuser);
        };
        let name = &capability.subject;
        match table.get(name) {
            _ if name == SUPERUSER => Ok(Standing::Superuser),
            None => Err(UserError::Unknown { name: name.clone() }),
            Some(user) if issued < user.valid_from => {
                Err(UserError::TakenBack { name: name.clone() })
            }
            Some(user) => Ok(user.standing),
        }
    }

    /// What `name`, on whose behalf a daemon asks, may change now: a former user still may change
    /// what is their own.
    #[must_use]
    pub fn standing_of(&self, name: &str) -> Standing {
        match self.table() {
            Some(_) if name == SUPERUSER => Standing::Superuser,
            Some(table) => table.get(name).map_or(Standing::User, |user| user.standing),
            None => Standing::Superuser,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token_of(name: &str, role: Role) -> Capability {
        Capability::unlimited(name, role, UnixMillis(u64::MAX))
    }

    #[test]
    fn where_nobody_is_named_whoever_has_a_token_is_the_superuser() {
        let users = Users::default();
        let standing = |name| users.standing(&token_of(name, Role::User), UnixMillis(0));
        assert_eq!(standing("ann"), Ok(Standing::Superuser));
        assert_eq!(users.standing_of("ann"), Standing::Superuser);
        users.replace(BTreeMap::new()).unwrap();
        assert_eq!(standing("ann"), Ok(Standing::Superuser));
    }

    #[test]
    fn where_somebody_was_named_once_an_empty_table_opens_nothing() {
        let users = Users::default();
        let ann = User { standing: Standing::User, valid_from: UnixMillis(0) };
        users.replace([("ann".to_owned(), ann)].into()).unwrap();
        assert_eq!(users.replace(BTreeMap::new()), Err(WouldOpen));
        let standing = |name| users.standing(&token_of(name, Role::User), UnixMillis(0));
        assert_eq!(standing("ann"), Ok(Standing::User));
        assert!(standing("eve").is_err());
        assert_eq!(users.standing_of("ann"), Standing::User);
    }

    #[test]
    fn files_are_given_to_users_where_there_are_some() {
        let users = Users::default();
        assert_eq!(users.check_owner("anybody"), Ok(()));
        let user = User { standing: Standing::User, valid_from: UnixMillis(0) };
        users.replace([("ann".to_owned(), user), ("ben".to_owned(), user)].into()).unwrap();
        assert_eq!((users.check_owner("ben"), users.check_owner(SUPERUSER)), (Ok(()), Ok(())));
        let error = users.check_owner("ben:staff").unwrap_err().to_string();
        assert!(error.contains("ann, ben") && error.contains("no groups"), "{error}");
        let many = (0..30).map(|n| (format!("user-{n:02}"), user));
        users.replace(many.collect()).unwrap();
        let error = users.check_owner("eve").unwrap_err().to_string();
        assert!(error.contains("user-19, and more") && !error.contains("user-20"), "{error}");
    }

    #[test]
    fn users_have_their_standing_and_old_tokens_of_theirs_count_no_more() {
        let users = Users::default();
        let clone = users.clone();
        let user = |standing, valid_from| User { standing, valid_from: UnixMillis(valid_from) };
        let table = [
            ("ann".to_owned(), user(Standing::User, 100)),
            ("vic".to_owned(), user(Standing::Viewer, 0)),
            ("bea".to_owned(), user(Standing::Superuser, 0)),
        ];
        users.replace(table.into()).unwrap();
        let standing =
            |name, issued| clone.standing(&token_of(name, Role::User), UnixMillis(issued));
        assert_eq!(standing("ann", 100), Ok(Standing::User));
        assert_eq!(standing("ann", 99), Err(UserError::TakenBack { name: "ann".to_owned() }));
        assert_eq!(standing("vic", 0), Ok(Standing::Viewer));
        assert_eq!(standing("bea", 0), Ok(Standing::Superuser));
        assert_eq!(standing(SUPERUSER, 0), Ok(Standing::Superuser));
        assert!(matches!(standing("eve", 1), Err(UserError::Unknown { .. })));
        for role in [Role::Task, Role::Tracker, Role::Server, Role::Master] {
            let told = users.standing(&token_of("eve", role), UnixMillis(0));
            assert_eq!(told, Ok(Standing::Superuser), "{role:?} is no user");
        }
        assert_eq!(users.standing_of("eve"), Standing::User, "who was one keeps what is theirs");
        users.replace([("ann".to_owned(), user(Standing::User, 101))].into()).unwrap();
        assert!(standing("ann", 100).is_err(), "the next table counts at once");
    }
}
