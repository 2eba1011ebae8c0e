//! Capabilities: every request to every daemon carries a token that says who asks, in which role,
//! for which paths, with which rights, and until when; it is signed by HMAC-SHA256 with the
//! cluster's secret. A holder of the secret can mint any token; a holder of a token can do what it
//! says and nothing else.
//!
//! Wire form: `base64url(JSON).base64url(HMAC)`, without padding, as `Authorization: Bearer …`.

use std::fmt;
use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ids::UnixMillis;
use ring::hmac;
use serde::{Deserialize, Serialize};

use crate::users::{Standing, UserError, Users};
use crate::verified::{Known, Verified};

/// Minimum length of a secret, bytes.
pub const SECRET_BYTES_MIN: usize = 32;
const SECRET_BYTES_MAX: usize = 4096;
/// Maximum length of a token; a longer one is refused unread.
const TOKEN_BYTES_MAX: usize = 8192;
/// Length that a token with one grant usually stays within.
const TOKEN_BYTES_USUAL: usize = 256;

/// The cluster's secret. `Debug` doesn't show it.
#[derive(Clone)]
pub struct Secret(Vec<u8>);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Why a secret can't be used.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// Fewer bytes than [`SECRET_BYTES_MIN`], or absurdly many.
    #[error(
        "the cluster's secret has {bytes} bytes: it must have {SECRET_BYTES_MIN} to {SECRET_BYTES_MAX} (`howdah secret new` makes one)"
    )]
    Length {
        /// Bytes that it has.
        bytes: usize,
    },
    /// The file can't be read or written.
    #[error("the secret file {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// Others may read the file.
    #[error(
        "the secret file {} may be read by others (mode {mode:o}): run `chmod 600` on it",
        path.display()
    )]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
}

impl Secret {
    /// A new random secret of 32 bytes, in hexadecimal.
    #[must_use]
    pub fn random() -> Self {
        Self(crate::random_hex(SECRET_BYTES_MIN).into_bytes())
    }

    /// Takes bytes, without the white space around them.
    ///
    /// # Errors
    /// When there are too few or too many.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, SecretError> {
        let bytes = bytes.trim_ascii();
        if (SECRET_BYTES_MIN..=SECRET_BYTES_MAX).contains(&bytes.len()) {
            Ok(Self(bytes.to_vec()))
        } else {
            Err(SecretError::Length { bytes: bytes.len() })
        }
    }

    /// Reads a secret file, which must be readable by its owner alone.
    ///
    /// # Errors
    /// When it can't be read, others can read it, or its length is wrong.
    pub fn read_file(path: &Path) -> Result<Self, SecretError> {
        let io = |source| SecretError::Io { path: path.to_owned(), source };
        let mode = std::fs::metadata(path).map_err(io)?.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(SecretError::Exposed { path: path.to_owned(), mode });
        }
        Self::from_bytes(&std::fs::read(path).map_err(io)?)
    }

    /// Writes a new secret file with mode 0600.
    ///
    /// # Errors
    /// When it exists already or can't be written.
    pub fn write_file(&self, path: &Path) -> Result<(), SecretError> {
        let io = |source| SecretError::Io { path: path.to_owned(), source };
        let mut file = std::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)
            .map_err(io)?;
        file.write_all(&self.0).and_then(|()| file.write_all(b"\n")).map_err(io)?;
        file.sync_all().map_err(io)
    }
}

/// The kind of caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// A person or their program.
    User,
    /// One attempt of one task.
    Task,
    /// A TaskTracker.
    Tracker,
    /// A chunkserver.
    Server,
    /// The JobTracker or the chunk master.
    Master,
}

/// What may be done with a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Right {
    /// Read it.
    Read,
    /// Make, change or remove it.
    Write,
}

/// What may be done with one resource and everything below it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// The resource: a path. It covers others by whole parts: `/a/b` covers `/a/b/c` but not
    /// `/a/bc`; `/` covers everything.
    pub prefix: String,
    /// What may be done with it.
    pub rights: Vec<Right>,
    /// Whether it also covers siblings whose names continue with a `-`: then `/a/b` covers
    /// `/a/b-c`.
    #[serde(default, skip_serializing_if = "is_false")]
    pub family: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes fields by reference")]
fn is_false(it: &bool) -> bool {
    !it
}

impl Grant {
    /// Grants reading.
    pub fn read(prefix: impl Into<String>) -> Self {
        Self { prefix: prefix.into(), rights: vec![Right::Read], family: false }
    }

    /// Grants making, changing and removing, without reading.
    pub fn write(prefix: impl Into<String>) -> Self {
        Self { prefix: prefix.into(), rights: vec![Right::Write], family: false }
    }

    /// Grants both.
    pub fn all(prefix: impl Into<String>) -> Self {
        Self { prefix: prefix.into(), rights: vec![Right::Read, Right::Write], family: false }
    }

    /// Also covers siblings, as [`Self::family`] says.
    #[must_use]
    pub fn with_family(self) -> Self {
        Self { family: true, ..self }
    }

    fn permits(&self, right: Right, resource: &str) -> bool {
        let covers = match resource.strip_prefix(self.prefix.as_str()) {
            Some(rest) => {
                let is_below = rest.is_empty() || rest.starts_with('/');
                is_below || self.prefix.ends_with('/') || self.family && rest.starts_with('-')
            }
            None => false,
        };
        covers && self.rights.contains(&right)
    }
}

/// What a token says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capability {
    /// On whose behalf the holder acts: a user, a host, an attempt.
    pub subject: String,
    /// The role of the holder.
    pub role: Role,
    /// What the holder may do; nothing else.
    pub grants: Vec<Grant>,
    /// When it expires.
    pub expires: UnixMillis,
}

impl Capability {
    /// A capability for everything that the role may do, with every resource.
    pub fn unlimited(subject: impl Into<String>, role: Role, expires: UnixMillis) -> Self {
        Self { subject: subject.into(), role, grants: vec![Grant::all("/")], expires }
    }

    /// The capability of requests without a token, if the configuration admits them on loopback:
    /// that of a user.
    #[must_use]
    pub fn anonymous() -> Self {
        Self::unlimited("anonymous", Role::User, UnixMillis(u64::MAX))
    }

    /// Whether this allows `right` on `resource`.
    #[must_use]
    pub fn permits(&self, right: Right, resource: &str) -> bool {
        self.grants.iter().any(|grant| grant.permits(right, resource))
    }
}

/// Like [`Capability`], with borrowed parts.
#[derive(Serialize)]
struct CapabilityOf<'a> {
    subject: &'a str,
    role: Role,
    grants: [GrantOf<'a>; 1],
    expires: UnixMillis,
}

/// Like [`Grant`], with borrowed parts.
#[derive(Serialize)]
struct GrantOf<'a> {
    prefix: &'a str,
    rights: [Right; 1],
}

/// Why a token is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It does not have the wire form.
    #[error("the token is malformed")]
    Malformed,
    /// Signed with another secret, or changed.
    #[error("the token is not signed with this cluster's secret")]
    Forged,
    /// Its time is over.
    #[error("the token has expired: ask for a new one")]
    Expired,
    /// It would outlast every revocation of the user's tokens.
    #[error(
        "the token says that it was signed later than now: set the clock of the host that it was made on, or of this \
         one, and ask for a new one"
    )]
    FromTheFuture,
}

/// How far ahead the clock of a host that signs tokens may be.
const CLOCKS_DIFFER_MAX: Duration = Duration::from_secs(300);

/// Why a token is not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAdmitted {
    /// The token is not valid, or no longer.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The token is not valid for its user.
    #[error(transparent)]
    User(#[from] UserError),
}

/// The contents of a token: a capability, and when it was signed for a user.
#[derive(Serialize, Deserialize)]
struct Signed<C> {
    #[serde(flatten)]
    capability: C,
    /// 0 in tokens that are not a user's.
    #[serde(default)]
    issued: UnixMillis,
}

/// Mints and verifies tokens with the cluster's secret.
#[derive(Clone)]
pub struct Keyring {
    key: hmac::Key,
    verified: Arc<Verified>,
    users: Users,
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keyring(…)")
    }
}

impl Keyring {
    /// A keyring with this secret.
    #[must_use]
    pub fn new(secret: &Secret) -> Self {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &secret.0);
        Self { key, verified: Arc::default(), users: Users::default() }
    }

    /// Adds the users, who determine what a token is good for.
    #[must_use]
    pub fn with_users(self, users: Users) -> Self {
        Self { users, ..self }
    }

    /// The users of the cluster; if there are none, every holder of a user's token is a superuser.
    #[must_use]
    pub fn users(&self) -> &Users {
        &self.users
    }

    /// Signs a user's capability at `issued`: it is valid until that user's tokens of that time are
    /// revoked.
    #[must_use]
    pub fn mint_for_user(&self, capability: &Capability, issued: UnixMillis) -> String {
        self.sign(&Signed { capability, issued })
    }

    /// Signs a capability.
    #[must_use]
    pub fn mint(&self, capability: &Capability) -> String {
        self.sign(capability)
    }

    /// Signs a capability of `subject` in `role` for one right to one resource, without cloning or
    /// keeping its parts.
    #[must_use]
    pub fn mint_one(
        &self,
        subject: &str,
        role: Role,
        (right, prefix): (Right, &str),
        expires: UnixMillis,
    ) -> String {
        let grants = [GrantOf { prefix, rights: [right] }];
        self.sign(&CapabilityOf { subject, role, grants, expires })
    }

    fn sign(&self, capability: &impl Serialize) -> String {
        let mut body = Vec::with_capacity(TOKEN_BYTES_USUAL);
        serde_json::to_writer(&mut body, capability).expect("a capability is plain data");
        let mut token = String::with_capacity(body.len() * 4 / 3 + 64);
        URL_SAFE_NO_PAD.encode_string(body, &mut token);
        let signature = hmac::sign(&self.key, token.as_bytes());
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature.as_ref(), &mut token);
        token
    }

    /// Verifies a token and returns its capability.
    ///
    /// # Errors
    /// When it is malformed, not signed with this secret, or expired at `now`.
    pub fn verify(&self, token: &str, now: UnixMillis) -> Result<Capability, TokenError> {
        self.known(token, now).map(|known| Arc::unwrap_or_clone(known.capability))
    }

    /// Verifies a caller's token, without copying its capability. Also returns what the caller may
    /// change within it, and when the token was signed for them.
    ///
    /// # Errors
    /// See [`Self::verify`]; or the token is not valid for its user.
    pub fn admit(
        &self,
        token: &str,
        now: UnixMillis,
    ) -> Result<(Arc<Capability>, Standing, UnixMillis), NotAdmitted> {
        let Known { capability, issued } = self.known(token, now)?;
        let standing = self.users.standing(&capability, issued)?;
        Ok((capability, standing, issued))
    }

    fn known(&self, token: &str, now: UnixMillis) -> Result<Known, TokenError> {
        let known = match self.verified.find(token) {
            Some(known) => known,
            None => {
                let Signed { capability, issued } = self.read(token)?;
                let known = Known { capability: Arc::new(capability), issued };
                self.verified.keep(token, &known);
                known
            }
        };
        if known.capability.expires <= now {
            return Err(TokenError::Expired);
        }
        if known.issued > now + CLOCKS_DIFFER_MAX {
            return Err(TokenError::FromTheFuture);
        }
        Ok(known)
    }

    /// The contents of a token that is signed with this secret.
    fn read(&self, token: &str) -> Result<Signed<Capability>, TokenError> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(TokenError::Malformed);
        }
        let (body, signature) = token.split_once('.').ok_or(TokenError::Malformed)?;
        let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| TokenError::Malformed)?;
        hmac::verify(&self.key, body.as_bytes(), &signature).map_err(|_| TokenError::Forged)?;
        let body = URL_SAFE_NO_PAD.decode(body).map_err(|_| TokenError::Malformed)?;
        serde_json::from_slice(&body).map_err(|_| TokenError::Malformed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::users::User;

    fn capability() -> Capability {
        Capability {
            subject: "host-1".into(),
            role: Role::Tracker,
            grants: vec![Grant::read("/a/b")],
            expires: UnixMillis(1000),
        }
    }

    #[test]
    fn a_token_says_what_was_minted_until_it_expires() {
        let keyring = Keyring::new(&Secret::random());
        let token = keyring.mint(&capability());
        assert_eq!(keyring.verify(&token, UnixMillis(999)), Ok(capability()));
        assert_eq!(keyring.verify(&token, UnixMillis(1000)), Err(TokenError::Expired));
    }

    #[test]
    fn a_token_of_one_grant_is_the_same_however_it_is_minted() {
        let keyring = Keyring::new(&Secret::random());
        let Capability { subject, role, expires, .. } = capability();
        let one = keyring.mint_one(&subject, role, (Right::Read, "/a/b"), expires);
        assert_eq!(one, keyring.mint(&capability()));
    }

    #[test]
    fn a_users_token_counts_from_the_time_that_the_user_is_said_to_be_valid_from() {
        let users = Users::default();
        let keyring = Keyring::new(&Secret::random()).with_users(users.clone());
        let ann = Capability::unlimited("ann", Role::User, UnixMillis(1000));
        let token = keyring.mint_for_user(&ann, UnixMillis(50));
        let undated = keyring.mint(&ann);
        let valid_from = |at| {
            let user = User { standing: Standing::User, valid_from: UnixMillis(at) };
            users.replace([("ann".to_owned(), user)].into()).unwrap();
        };
        let now = UnixMillis(60);
        assert_eq!(keyring.admit(&token, now).unwrap().1, Standing::Superuser, "nobody is named");
        valid_from(50);
        assert_eq!(
            keyring.admit(&token, now),
            Ok((Arc::new(ann.clone()), Standing::User, UnixMillis(50)))
        );
        assert!(keyring.admit(&undated, now).is_err(), "of before there were users");
        valid_from(51);
        let refused = keyring.admit(&token, now).unwrap_err().to_string();
        for part in ["ann", "taken back", "howdah token --user ann"] {
            assert!(refused.contains(part), "{refused}");
        }
        assert!(keyring.verify(&token, now).is_ok(), "its text is sound");
    }

    #[test]
    fn a_token_that_was_signed_later_than_now_is_refused_but_for_what_clocks_differ() {
        let keyring = Keyring::new(&Secret::random());
        let ann = Capability::unlimited("ann", Role::User, UnixMillis(u64::MAX));
        let now = UnixMillis(1000);
        let most = now + CLOCKS_DIFFER_MAX;
        assert!(keyring.admit(&keyring.mint_for_user(&ann, most), now).is_ok());
        let later = keyring.mint_for_user(&ann, UnixMillis(most.0 + 1));
        assert_eq!(keyring.admit(&later, now), Err(TokenError::FromTheFuture.into()));
        assert!(
            keyring.admit(&later, UnixMillis(now.0 + 1)).is_ok(),
            "it is known, and judged anew"
        );
    }

    #[test]
    fn a_token_that_is_known_expires_all_the_same() {
        let keyring = Keyring::new(&Secret::random());
        let token = keyring.mint(&capability());
        assert!(keyring.admit(&token, UnixMillis(999)).is_ok());
        assert!(keyring.admit(&token, UnixMillis(999)).is_ok());
        assert_eq!(keyring.admit(&token, UnixMillis(1000)), Err(TokenError::Expired.into()));
        let other = Keyring::new(&Secret::random());
        assert_eq!(other.verify(&token, UnixMillis(0)), Err(TokenError::Forged));
    }

    #[test]
    fn no_single_character_of_a_token_can_be_changed() {
        let keyring = Keyring::new(&Secret::random());
        let token = keyring.mint(&capability());
        for at in 0..token.len() {
            let mut forged = token.clone().into_bytes();
            forged[at] = if forged[at] == b'A' { b'Q' } else { b'A' };
            let forged = String::from_utf8(forged).unwrap();
            if forged != token {
                assert!(keyring.verify(&forged, UnixMillis(0)).is_err(), "changed at {at}");
            }
        }
        let other = Keyring::new(&Secret::random());
        assert_eq!(other.verify(&token, UnixMillis(0)), Err(TokenError::Forged));
        for garbage in ["", ".", "a", "a.b", &"x".repeat(9000)] {
            assert!(keyring.verify(garbage, UnixMillis(0)).is_err());
        }
    }

    #[test]
    fn prefixes_match_by_whole_parts() {
        let mut c = capability();
        for (resource, expected) in
            [("/a/b", true), ("/a/b/c", true), ("/a/bc", false), ("/a", false), ("/", false)]
        {
            assert_eq!(c.permits(Right::Read, resource), expected, "{resource}");
        }
        assert!(!c.permits(Right::Write, "/a/b"));
        c.grants = vec![Grant::read("/")];
        assert!(c.permits(Right::Read, "/anything"));
        c.grants = vec![];
        assert!(!c.permits(Right::Read, "/"));
    }

    #[test]
    fn each_right_is_for_its_own_prefix() {
        let mut c = capability();
        c.grants = vec![Grant::read("/in"), Grant::write("/out/own"), Grant::all("/both")];
        for (resource, read, write) in [
            ("/in/a", true, false),
            ("/out/own", false, true),
            ("/out/other", false, false),
            ("/both/a", true, true),
        ] {
            assert_eq!(c.permits(Right::Read, resource), read, "{resource}");
            assert_eq!(c.permits(Right::Write, resource), write, "{resource}");
        }
    }

    #[test]
    fn a_secret_file_is_for_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        let secret = Secret::random();
        secret.write_file(&path).unwrap();
        assert_eq!(Secret::read_file(&path).unwrap().0, secret.0);
        assert!(matches!(secret.write_file(&path), Err(SecretError::Io { .. })), "not overwritten");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(Secret::read_file(&path), Err(SecretError::Exposed { .. })));
        assert!(!format!("{secret:?}").contains("61"));
        assert!(Secret::from_bytes(b"short").is_err());
    }
}
