//! Section `users`: who uses the cluster, and what they may change.

use serde::{Deserialize, Serialize};

use crate::rules::Fault;
use crate::{Config, Moment};

/// The name of whoever holds the cluster's secret: no user is called so.
const SUPERUSER: &str = "howdah";

/// One entry of `users`. Only the name is needed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct User {
    /// As tokens, jobs and files call them.
    pub name: String,
    /// What they may change.
    #[serde(default)]
    pub role: UserRole,
    /// Tokens that were signed before count no more; all count if absent.
    #[serde(default)]
    pub valid_from: Option<Moment>,
}

/// What a user may change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UserRole {
    /// Everything.
    Admin,
    /// Their own jobs and files.
    #[default]
    User,
    /// Nothing.
    Viewer,
}

impl User {
    /// An entry that says nothing but the name.
    #[must_use]
    pub fn named(name: impl Into<String>) -> Self {
        Self { name: name.into(), role: UserRole::default(), valid_from: None }
    }
}

/// A key of an entry, what it accepts, and the check.
struct UserRule {
    key: &'static str,
    accepted: &'static str,
    holds: fn(&User) -> bool,
}

const USER_RULES: &[UserRule] = &[
    UserRule {
        key: "name",
        accepted: "1 to 64 letters, digits, '-', '_', '.' and '@', beginning with a letter; not 'howdah', which is \
                   whoever holds the cluster's secret, nor 'task', 'jobtracker' or 'anonymous'",
        holds: |user| is_user_name(&user.name),
    },
    UserRule { key: "role", accepted: "admin, user or viewer", holds: |_| true },
    UserRule {
        key: "valid_from",
        accepted: "null, or a time like 2026-11-30T12:00:00Z",
        holds: |_| true,
    },
];

/// What the key of an entry accepts.
pub(crate) fn accepted_form(key: &str) -> &'static str {
    let user_key = key.split_once("].").map_or("", |(_, user_key)| user_key);
    let rule = USER_RULES.iter().find(|rule| rule.key == user_key);
    rule.map_or("the keys of a user: {name: ann}", |rule| rule.accepted)
}

/// The first entry that breaks a rule.
pub(crate) fn first_refused(config: &Config) -> Option<Fault> {
    config.users.iter().enumerate().find_map(|(index, user)| {
        let broken = USER_RULES.iter().find(|rule| !(rule.holds)(user))?;
        Some(Fault::Refused { key: format!("users[{index}].{}", broken.key) })
    })
}

fn is_user_name(name: &str) -> bool {
    let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'@');
    (1..=64).contains(&name.len())
        && name.bytes().all(fits)
        && name.starts_with(|c: char| c.is_ascii_alphabetic())
        && ![SUPERUSER, "task", "jobtracker", "anonymous"].contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse;

    fn error(users: &str) -> String {
        parse(&format!("users: [{users}]"), "c.yaml", &[]).unwrap_err().to_string()
    }

    #[test]
    fn a_name_is_enough_and_each_key_is_checked() {
        let text =
            "users: [{name: ann}, {name: b@x.org, role: admin, valid_from: 2026-11-30T12:00:00Z}]";
        let config = parse(text, "c", &[]).unwrap();
        assert_eq!(config.users[0], User::named("ann"));
        let told = (config.users[1].role, config.users[1].valid_from.unwrap().0);
        assert_eq!(told, (UserRole::Admin, 1_796_040_000_000));
        assert_eq!(parse(&config.to_yaml(), "printed", &[]).unwrap(), config);
        for (key, bad) in [
            ("users[0].name", "{name: ''}"),
            ("users[0].name", "{name: 'a b'}"),
            ("users[0].name", "{name: howdah}"),
            ("users[0].name", "{name: task}"),
            ("users[0].role", "{name: a, role: root}"),
            ("users[0].valid_from", "{name: a, valid_from: yesterday}"),
            ("users[1].name", "{name: a}, {name: a}"),
        ] {
            let error = error(bad);
            assert!(error.contains(key), "{bad}: {error}");
        }
    }

    #[test]
    fn who_has_no_token_is_nobody_where_users_are_told_apart() {
        let text = "cluster: {anonymous_loopback: true}\nusers: [{name: ann}]";
        let error = parse(text, "c.yaml", &[]).unwrap_err().to_string();
        for part in ["c.yaml:1:31: cluster.anonymous_loopback", "false where 'users'"] {
            assert!(error.contains(part), "{error}");
        }
    }
}
