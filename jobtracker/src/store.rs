//! The JobTracker's access to the chunk store: as a master, with a token that is renewed long
//! before it expires.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chunkstore_client::stores::{OtherStoreError, Stores};
use chunkstore_client::{ChunkStore, ReadSettings, StoreError, StoreSettings};
use ids::{RackName, UnixMillis};
use jobtracker_core::StoreOutcome;
use net::{Caller, Capability, Client, Keyring, Role};

use crate::JobtrackerSettings;

/// How long a token is valid; hosts' clocks differ.
const TOKEN_LIFE: Duration = Duration::from_hours(24);
/// How long a token is used before a new one is minted.
const TOKEN_USE: Duration = Duration::from_hours(12);
/// How long a token with a caller's rights is valid: the longest transfer of a file.
const CALLER_TOKEN_LIFE: Duration = Duration::from_hours(24);
/// The longest time that a client which submits a job is kept waiting, whatever the configuration
/// allows.
const ADMISSION_RETRY_MAX: Duration = Duration::from_secs(5);

/// Provides clients of the chunk store. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Store {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    client: Client,
    keyring: Keyring,
    master: String,
    retry_for: Duration,
    reads: ReadSettings,
    others: Stores,
    minted: Mutex<Option<Minted>>,
}

#[derive(Clone, Debug)]
struct Minted {
    client: Client,
    /// For calls that may take long.
    patient: ChunkStore,
    /// For calls that a client waits for.
    prompt: ChunkStore,
    renew_at: UnixMillis,
}

impl Store {
    pub(crate) fn new(settings: &JobtrackerSettings) -> Self {
        let whose =
            format!("the configuration of the JobTracker ({})", settings.jobtracker.address);
        let inner = Inner {
            client: Client::new(settings.client.clone()),
            keyring: settings.keyring.clone(),
            master: settings.chunkmaster.clone(),
            retry_for: settings.retry_for,
            reads: settings.reads,
            others: Stores::of(whose, settings.stores.clone(), settings.retry_for),
            minted: Mutex::new(None),
        };
        Self { inner: Arc::new(inner) }
    }

    /// `host:port` of the chunk master.
    pub(crate) fn master(&self) -> &str {
        &self.inner.master
    }

    /// Other stores that jobs may use.
    pub(crate) fn others(&self) -> &Stores {
        &self.inner.others
    }

    /// How long calls are retried.
    pub(crate) fn retry_for(&self) -> Duration {
        self.inner.retry_for
    }

    /// A client for calls that `ChunkStore` does not offer.
    pub(crate) fn client(&self) -> Client {
        self.minted().client
    }

    /// A client that waits for a restarting chunk master.
    pub(crate) fn patient(&self) -> ChunkStore {
        self.minted().patient
    }

    /// A client that soon reports that the chunk master is away.
    pub(crate) fn prompt(&self) -> ChunkStore {
        self.minted().prompt
    }

    /// A client with the rights of this caller and no more. The chunk master checks them; the
    /// client's token is revoked with the caller's own. It soon reports that the master is away.
    pub(crate) fn of_caller(&self, caller: &Caller) -> ChunkStore {
        let Inner { client, keyring, .. } = &*self.inner;
        let client = client.with_token(token_of(keyring, caller, clock::wall()));
        let client = match &caller.request_id {
            Some(id) => client.with_request_id(id),
            None => client,
        };
        self.client_of(client, self.inner.retry_for.min(ADMISSION_RETRY_MAX))
    }

    /// Whether a caller's token is still valid: it may be revoked while they listen.
    pub(crate) fn still_admits(&self, caller: &Caller) -> bool {
        let users = self.inner.keyring.users();
        caller.issued.is_none_or(|issued| users.standing(&caller.capability, issued).is_ok())
    }

    fn client_of(&self, client: Client, retry_for: Duration) -> ChunkStore {
        let Inner { master, reads, .. } = &*self.inner;
        let (master, rack) = (master.clone(), RackName::default_rack());
        let settings = StoreSettings { master, host: None, rack, retry_for, reads: *reads };
        ChunkStore::new(client, settings)
    }

    fn minted(&self) -> Minted {
        let now = clock::wall();
        let mut current = self.inner.minted.lock().unwrap_or_else(PoisonError::into_inner);
        match current.as_ref().filter(|minted| now < minted.renew_at) {
            Some(minted) => minted.clone(),
            None => current.insert(self.mint(now)).clone(),
        }
    }

    fn mint(&self, now: UnixMillis) -> Minted {
        let Inner { client, keyring, retry_for, .. } = &*self.inner;
        let client = client.with_token(keyring.mint(&Capability::unlimited(
            "jobtracker",
            Role::Master,
            now + TOKEN_LIFE,
        )));
        let store = |retry_for| self.client_of(client.clone(), retry_for);
        Minted {
            patient: store(*retry_for),
            prompt: store((*retry_for).min(ADMISSION_RETRY_MAX)),
            client: client.clone(),
            renew_at: now + TOKEN_USE,
        }
    }
}

/// A token with a caller's rights and the issue time of their own token, so that both are revoked
/// together.
fn token_of(keyring: &Keyring, caller: &Caller, now: UnixMillis) -> String {
    let expires = caller.capability.expires.min(now + CALLER_TOKEN_LIFE);
    let capability = Capability { expires, ..(*caller.capability).clone() };
    keyring.mint_for_user(&capability, caller.issued.unwrap_or(now))
}

/// The outcome of a failed call, for the core.
pub(crate) fn outcome_of<T>(error: &StoreError) -> StoreOutcome<T> {
    let reason = error.to_string();
    match error.is_transient() {
        true => StoreOutcome::Unavailable { reason },
        false => StoreOutcome::Refused { reason },
    }
}

/// The same for a call to another store.
pub(crate) fn outcome_of_other<T>(error: &OtherStoreError) -> StoreOutcome<T> {
    let reason = error.to_string();
    match error.is_transient() {
        true => StoreOutcome::Unavailable { reason },
        false => StoreOutcome::Refused { reason },
    }
}

#[cfg(test)]
mod tests {
    use net::{Secret, Standing, User, Users};

    use super::*;

    #[test]
    fn what_is_asked_for_a_user_is_taken_back_with_their_own_token() {
        let users = Users::default();
        let keyring = Keyring::new(&Secret::random()).with_users(users.clone());
        let valid_from = |at| {
            let user = User { standing: Standing::User, valid_from: UnixMillis(at) };
            users.replace([("ann".to_owned(), user)].into()).unwrap();
        };
        let ann = Capability::unlimited("ann", Role::User, UnixMillis(u64::MAX));
        let mut caller = Caller::of(ann);
        caller.issued = Some(UnixMillis(50));
        let now = UnixMillis(100);
        let token = token_of(&keyring, &caller, now);
        valid_from(50);
        assert!(keyring.admit(&token, now).is_ok());
        assert!(keyring.admit(&token, now + CALLER_TOKEN_LIFE).is_err(), "it ends by itself");
        valid_from(51);
        assert!(keyring.admit(&token, now).is_err(), "it is no younger than the caller's");
    }
}
