//! A client's side of the cluster: its configuration, its token, and the two masters it speaks to.
//! Commands that talk to the cluster open one; so does `demo`, on its own cluster.

use std::time::Duration;

use chunkstore_client::{ChunkStore, StoreError, StoreSettings};
use chunkstore_protocol::StorePath;
use config::Config;
use ids::RackName;
use net::{Capability, Client, ClientSettings, Keyring, Role, Secret};

use crate::exit::OrEarly;
use crate::jobs::Jobs;

/// How long the token of one command is good.
const TOKEN_LIFE: Duration = Duration::from_secs(7 * 24 * 3600);
/// How long calls to the chunk store go on when it has answered once and then does not.
const STORE_PATIENCE: Duration = Duration::from_secs(5);

/// A client of one cluster.
pub(crate) struct Session {
    config: Config,
    client: Client,
}

impl Session {
    /// A client with the cluster's secret, where the configuration names one; nothing is asked yet.
    pub(crate) fn open(config: Config) -> anyhow::Result<Self> {
        let client = Client::new(ClientSettings {
            connect_timeout: config.client.connect_timeout.0,
            request_timeout: config.client.request_timeout.0,
        });
        let client = match token(&config)? {
            Some(token) => client.with_token(token),
            None => client,
        };
        Ok(Self { config, client })
    }

    /// The chunk store, after it has answered once: a command says at once that nobody answers.
    pub(crate) async fn store(&self) -> Result<ChunkStore, StoreError> {
        let store = |retry_for| {
            let master = self.config.chunkmaster.address.clone();
            let rack = RackName::default_rack();
            ChunkStore::new(
                self.client.clone(),
                StoreSettings { master, host: None, rack, retry_for },
            )
        };
        store(Duration::ZERO).stat(&StorePath::root()).await?;
        Ok(store(STORE_PATIENCE))
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
        "howdah command",
        Role::User,
        clock::wall() + TOKEN_LIFE,
    ))))
}
