//! Names with rules: each is checked once, where it enters the system (`FromStr`, and serde through
//! it).

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize, Serializer};

/// A name that breaks its rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} {given:?} is not allowed: {rule}")]
pub struct NameError {
    /// Kind of name.
    what: &'static str,
    /// The text as given, cut to 80 characters.
    given: String,
    /// The accepted form.
    rule: &'static str,
}

macro_rules! checked_name {
    ($(#[$doc:meta])* $name:ident, $what:literal, $rule:literal, $pattern:literal, $check:expr) => {
        $(#[$doc])*
        ///
        /// Cheap to clone.
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
        #[serde(try_from = "String")]
        pub struct $name(Arc<str>);

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        $crate::text_schema!($name, $pattern, concat!("A ", $what, ": ", $rule, "."));

        impl $name {
            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                let check: fn(&str) -> bool = $check;
                if check(text) {
                    Ok(Self(text.into()))
                } else {
                    let given = text.chars().take(80).collect();
                    Err(NameError { what: $what, given, rule: $rule })
                }
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;

            fn try_from(text: String) -> Result<Self, NameError> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0.as_ref().to_owned()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

fn is_label(text: &str, extra: &[u8]) -> bool {
    text.bytes().all(|b| b.is_ascii_alphanumeric() || extra.contains(&b))
}

checked_name!(
    /// The name of a worker host: what locality compares. A chunkserver and a TaskTracker on one host
    /// bear the same name.
    HostName,
    "host name",
    "1 to 253 letters, digits, '-', '_' and '.', beginning with a letter or digit",
    r"^[A-Za-z0-9][A-Za-z0-9._-]{0,252}$",
    |t| (1..=253).contains(&t.len())
        && is_label(t, b"-_.")
        && t.as_bytes()[0].is_ascii_alphanumeric()
);

checked_name!(
    /// Where a host stands, as Hadoop's topology writes it: `/default-rack`, `/room-1/rack-7`.
    RackName,
    "rack name",
    "'/' and then 1 to 252 letters, digits, '-', '_', '.' and '/', without empty parts",
    r"^(/[A-Za-z0-9._-]+)+$",
    |t| (2..=253).contains(&t.len())
        && t.starts_with('/')
        && !t.ends_with('/')
        && !t.contains("//")
        && is_label(t, b"-_./")
);

checked_name!(
    /// Identity of a cluster: minted by `chunkmaster --init`, kept in every data folder, compared at
    /// every registration.
    ClusterId,
    "cluster id",
    "8 to 64 letters, digits and '-'",
    r"^[A-Za-z0-9-]{8,64}$",
    |t| (8..=64).contains(&t.len()) && is_label(t, b"-")
);

checked_name!(
    /// One client process, for idempotent requests and leases: random.
    ClientId,
    "client id",
    "8 to 128 letters, digits, '-', '_' and '.'",
    r"^[A-Za-z0-9._-]{8,128}$",
    |t| (8..=128).contains(&t.len()) && is_label(t, b"-_.")
);

checked_name!(
    /// Follows one request through the logs of all daemons (header `x-request-id`).
    RequestId,
    "request id",
    "1 to 64 letters, digits and '-'",
    r"^[A-Za-z0-9-]{1,64}$",
    |t| (1..=64).contains(&t.len()) && is_label(t, b"-")
);

impl RackName {
    /// The rack of hosts that name none: Hadoop's `/default-rack`.
    #[must_use]
    pub fn default_rack() -> Self {
        Self("/default-rack".into())
    }
}

impl Default for RackName {
    fn default() -> Self {
        Self::default_rack()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked_where_they_enter() {
        for good in ["host-1", "10.0.0.7", "a", "db_1.example.org"] {
            assert_eq!(good.parse::<HostName>().unwrap().to_string(), good);
        }
        for bad in ["", "-a", "a b", "a/b", "ä", "a\0"] {
            let error = bad.parse::<HostName>().unwrap_err().to_string();
            assert!(error.contains("host name") && error.contains("letters"), "{error}");
        }
        for bad in ["", "/", "rack", "/a//b", "/a/"] {
            assert!(bad.parse::<RackName>().is_err(), "{bad}");
        }
        assert!("/room-1/rack-7".parse::<RackName>().is_ok());
    }
}
