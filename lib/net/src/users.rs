//! The users of a cluster: who may change what is everybody's, who only what is their own, who only looks; and
//! from when on their tokens count. Where nobody is named, whoever has a token is the superuser, as far as it goes.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use ids::UnixMillis;
use serde::Serialize;

use crate::{Capability, Role};

/// Whom whoever holds the cluster's secret speaks for, if nothing else is said (Hadoop: the superuser). No user is
/// called so.
pub const SUPERUSER: &str = "howdah";

/// What somebody may change, as far as their token goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// Everything: the cluster's hosts and pools, everybody's jobs and files. Tasks and daemons too: what they may
    /// do, their tokens say to the path.
    Superuser,
    /// What is their own.
    User,
    /// Nothing: they look.
    Viewer,
}

/// One user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct User {
    /// What they may change.
    pub standing: Standing,
    /// Tokens that were signed before count no more.
    pub valid_from: UnixMillis,
}

/// Why a token that is sound is not good for its user.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UserError {
    /// Nobody is called so.
    #[error(
        "the token is for {name:?}, who is no user of this cluster: 'users' in its configuration names those who are; \
         who holds the cluster's secret makes a token with `howdah token --user NAME`"
    )]
    Unknown {
        /// As the token says.
        name: String,
    },
    /// It was taken back.
    #[error(
        "this token of {name} was taken back: it was signed before the time from which {name}'s tokens count \
         ('valid_from' of the user in the configuration); ask whoever holds the cluster's secret for a new one \
         (`howdah token --user {name}`)"
    )]
    TakenBack {
        /// Whose it is.
        name: String,
    },
}

/// Nobody whom files could belong to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{name:?} is no user of this cluster: 'users' in its configuration names {names}; there are no groups, and what is to \
     belong to nobody of these is given to {SUPERUSER}"
)]
pub struct NotAUser {
    /// As asked for.
    pub name: String,
    /// Who is one.
    pub names: String,
}

/// So many users are named to whoever names a wrong one.
const NAMES_TOLD: usize = 20;

type Table = BTreeMap<String, User>;

/// The users that a daemon knows; all clones are one, and may be given another table at any time.
#[derive(Clone, Debug, Default)]
pub struct Users(Arc<RwLock<Option<Arc<Table>>>>);

/// The users were to be replaced by none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "it names no users any more, with which whoever has a token would be the superuser: the users that were read \
     before stay; if the cluster is to have none, restart its daemons"
)]
pub struct WouldOpen;

impl Users {
    /// Gives all clones this table; an empty one is none.
    ///
    /// # Errors
    /// When it is empty, and the one before is not: that one stays. A slip in a file must not open the cluster.
    pub fn replace(&self, table: BTreeMap<String, User>) -> Result<(), WouldOpen> {
        let table = (!table.is_empty()).then(|| Arc::new(table));
        let mut current = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if table.is_none() && current.is_some() {
            return Err(WouldOpen);
        }
        *current = table;
        Ok(())
    }

    /// Whether files may be given to that name: to any, where the cluster has no users.
    ///
    /// # Errors
    /// When it has some, and this is none of them.
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

    /// What the holder of a token that was signed at `issued` may change.
    ///
    /// # Errors
    /// When its user is none of the cluster's, or older tokens of theirs count no more.
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

    /// What `name` may change now, in whose place a daemon asks: somebody who was a user once has what is their own.
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
