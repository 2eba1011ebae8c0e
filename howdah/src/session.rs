//! A client's side of the cluster: its configuration, its token, and the two masters it speaks to.
//! Commands that talk to the cluster open one; so does `demo`, on its own cluster.

use std::path::PathBuf;
use std::time::Duration;

use chunkstore_client::stores::{StoreUrl, Stores};
use chunkstore_client::{ChunkStore, Descriptors, ReadSettings, StoreError, StoreSettings};
use chunkstore_protocol::StorePath;
use config::Config;
use ids::RackName;
use net::{CallError, Capability, Client, ClientSettings, Keyring, Role, Secret};

use crate::exit::OrEarly;
use crate::jobs::Jobs;

/// How long the token of one command is good.
const TOKEN_LIFE: Duration = Duration::from_secs(7 * 24 * 3600);
/// Whom commands speak for: the owner of what they make.
const SUBJECT: &str = "howdah";
/// How long calls to the chunk store go on when it has answered once and then does not: long enough for a host that was
/// cut off for a moment.
const STORE_PATIENCE: Duration = Duration::from_secs(15);

/// A client of one cluster.
pub(crate) struct Session {
    config: Config,
    client: Client,
    has_token: bool,
}

/// The cluster does not know whoever asks: said in the words of the configuration.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotLetIn {
    /// No secret is named.
    #[error(
        "the cluster lets in only who has its secret: name a copy of its file with cluster.secret_file in the \
         configuration (--config)"
    )]
    NoSecret,
    /// This user can't read it.
    #[error(
        "the cluster lets in only who has its secret, and {file} (cluster.secret_file) can't be read"
    )]
    Unreadable {
        /// The file.
        file: PathBuf,
    },
    /// Another cluster's.
    #[error(
        "the secret in {file} (cluster.secret_file) is not that of this cluster: copy the cluster's there, or \
         name the right cluster's addresses"
    )]
    WrongSecret {
        /// The file.
        file: PathBuf,
    },
}

/// Whether a daemon does not know who asks (401).
fn is_unknown_caller(cause: &(dyn std::error::Error + 'static)) -> bool {
    let by_call = cause.downcast_ref::<CallError>().and_then(CallError::problem);
    let by_store = match cause.downcast_ref() {
        Some(StoreError::Forbidden { problem, .. }) => Some(problem),
        _ => None,
    };
    by_call.or(by_store).is_some_and(|problem| problem.status == 401)
}

impl Session {
    /// A client with the cluster's secret, where the configuration names one; nothing is asked yet.
    pub(crate) fn open(config: Config) -> anyhow::Result<Self> {
        let client = Client::new(ClientSettings {
            connect_timeout: config.client.connect_timeout.0,
            request_timeout: config.client.request_timeout.0,
            silence_timeout: config.client.silence_timeout.0,
        });
        let token = token(&config)?;
        let has_token = token.is_some();
        let client = token.map_or_else(|| client.clone(), |token| client.with_token(token));
        Ok(Self { config, client, has_token })
    }

    /// The error of a command, with what to do where the cluster did not know who asked.
    pub(crate) fn explain(&self, error: anyhow::Error) -> anyhow::Error {
        if !error.chain().any(is_unknown_caller) {
            return error;
        }
        let not_let_in = match self.config.cluster.secret_file.clone() {
            None => NotLetIn::NoSecret,
            Some(file) if self.has_token => NotLetIn::WrongSecret { file },
            Some(file) => NotLetIn::Unreadable { file },
        };
        not_let_in.into()
    }

    /// The chunk store, after it has answered once: a command says at once that nobody answers.
    pub(crate) async fn store(&self) -> Result<ChunkStore, StoreError> {
        let store = |retry_for| {
            let master = self.config.chunkmaster.address.clone();
            let rack = RackName::default_rack();
            let reads = ReadSettings {
                descriptors: Descriptors::Loopback,
                ..ReadSettings::hedged_after(self.config.client.hedge_after.0)
            };
            ChunkStore::new(
                self.client.clone(),
                StoreSettings { master, host: None, rack, retry_for, reads },
            )
        };
        store(Duration::ZERO).stat(&StorePath::root()).await?;
        Ok(store(STORE_PATIENCE))
    }

    /// The object stores that `urls` are in.
    pub(crate) fn other_stores(&self, urls: &[&StoreUrl]) -> anyhow::Result<Stores> {
        crate::stores::for_command(&self.config, urls)
    }

    /// The JobTracker.
    pub(crate) fn jobs(&self) -> Jobs {
        let retry_for = self.config.client.retry_for.0;
        Jobs::new(self.client.clone(), self.config.jobtracker.address.clone(), retry_for)
    }
}

/// A user's token, minted with the cluster's secret. Where anonymous requests may do as much, a secret
/// that this user can't read is done without.
fn token(config: &Config) -> anyhow::Result<Option<String>> {
    let Some(file) = &config.cluster.secret_file else { return Ok(None) };
    let secret = match Secret::read_file(file) {
        Err(_) if config.cluster.anonymous_loopback => return Ok(None),
        read => read.or_early()?,
    };
    Ok(Some(Keyring::new(&secret).mint(&Capability::unlimited(
        SUBJECT,
        Role::User,
        clock::wall() + TOKEN_LIFE,
    ))))
}
