//! A client's side of the cluster: its configuration, its token, and the two masters it speaks to.
//! Commands that talk to the cluster open one; so does `demo`, on its own cluster.

use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use chunkstore_client::stores::{StoreUrl, Stores};
use chunkstore_client::{ChunkStore, Descriptors, ReadSettings, StoreError, StoreSettings};
use chunkstore_protocol::StorePath;
use config::Config;
use ids::RackName;
use net::{CallError, Capability, Client, Keyring, Role, SUPERUSER, Secret};

use crate::exit::OrEarly;
use crate::jobs::Jobs;
use crate::masters::Patience;

/// How long the token of one command is good.
const TOKEN_LIFE: Duration = Duration::from_secs(7 * 24 * 3600);
/// How long calls to the chunk store go on when it has answered once and then does not: long enough for a host that was
/// cut off for a moment.
const STORE_PATIENCE: Duration = Duration::from_secs(15);

/// A client of one cluster.
pub(crate) struct Session {
    config: Config,
    client: Client,
    has_token: bool,
    patience: Patience,
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
        let tls = crate::tls::of_client(&config)?;
        let client = Client::new(crate::tls::client_settings(&config.client, tls));
        let token = token(&config)?;
        let has_token = token.is_some();
        let client = token.map_or_else(|| client.clone(), |token| client.with_token(token));
        let patience = Patience(config.client.wait_for_masters.0);
        Ok(Self { config, client, has_token, patience })
    }

    /// The error of a command, with what to do where the cluster did not know who asked.
    pub(crate) fn explain(&self, error: anyhow::Error) -> anyhow::Error {
        if !error.chain().any(is_unknown_caller) {
            return error;
        }
        // What the daemon says of a token of one's own names what to do.
        if token_file(&self.config).is_some() {
            return error;
        }
        let not_let_in = match self.config.cluster.secret_file.clone() {
            None => NotLetIn::NoSecret,
            Some(file) if self.has_token => NotLetIn::WrongSecret { file },
            Some(file) => NotLetIn::Unreadable { file },
        };
        not_let_in.into()
    }

    /// The same, which waits for nobody: for who asks whether they are there.
    pub(crate) fn prompt(self) -> Self {
        Self { patience: Patience::default(), ..self }
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
        let prompt = store(Duration::ZERO);
        match self.patience.look(async || prompt.stat(&StorePath::root()).await).await {
            // It has answered: a token that is limited to paths may not look at all of them.
            Err(StoreError::Forbidden { problem, .. }) if problem.status == 403 => {}
            answer => drop(answer?),
        }
        Ok(store(STORE_PATIENCE))
    }

    /// The object stores that `urls` are in.
    pub(crate) fn other_stores(&self, urls: &[&StoreUrl]) -> anyhow::Result<Stores> {
        crate::stores::for_command(&self.config, urls)
    }

    /// Speaks to any daemon, with the caller's token.
    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// The JobTracker.
    pub(crate) fn jobs(&self) -> Jobs {
        let retry_for = self.config.client.retry_for.0;
        let address = self.config.jobtracker.address.clone();
        Jobs::new(self.client.clone(), address, retry_for, self.patience)
    }
}

/// The token of a file, where one is named; else one minted with the cluster's secret, the superuser's. Where anonymous
/// requests may do as much, a secret that this user can't read is done without.
fn token(config: &Config) -> anyhow::Result<Option<String>> {
    if let Some(file) = token_file(config) {
        return read_token(&file).or_early().map(Some);
    }
    let Some(file) = &config.cluster.secret_file else { return Ok(None) };
    let secret = match Secret::read_file(file) {
        Err(_) if config.cluster.anonymous_loopback => return Ok(None),
        read => read.or_early()?,
    };
    Ok(Some(Keyring::new(&secret).mint(&Capability::unlimited(
        SUPERUSER,
        Role::User,
        clock::wall() + TOKEN_LIFE,
    ))))
}

/// Where the token of whoever gives commands is.
fn token_file(config: &Config) -> Option<PathBuf> {
    config::env::process().token_file().or_else(|| config.client.token_file.clone())
}

/// A file of a token that can't be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TokenFileError {
    /// It can't be read.
    #[error("the token file {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Others may read it.
    #[error(
        "the token file {} may be read by others (mode {mode:o}): run `chmod 600` on it",
        path.display()
    )]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// It holds something else.
    #[error(
        "the token file {} holds no token, which is one line as `howdah token` prints it",
        path.display()
    )]
    NoToken {
        /// The file.
        path: PathBuf,
    },
}

/// Bytes that a token file has at most.
const TOKEN_FILE_BYTES_MAX: u64 = 16 << 10;

fn read_token(path: &Path) -> Result<String, TokenFileError> {
    let io = |source| TokenFileError::Io { path: path.to_owned(), source };
    let file = File::open(path).map_err(io)?;
    let mode = file.metadata().map_err(io)?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(TokenFileError::Exposed { path: path.to_owned(), mode });
    }
    let mut text = String::new();
    file.take(TOKEN_FILE_BYTES_MAX).read_to_string(&mut text).map_err(io)?;
    let token = text.trim();
    let is_token = token.contains('.') && token.chars().all(|c| c.is_ascii_graphic());
    match is_token {
        true => Ok(token.to_owned()),
        false => Err(TokenFileError::NoToken { path: path.to_owned() }),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::OpenOptionsExt as _;

    use super::*;

    #[test]
    fn a_token_file_is_for_its_owner_alone_and_holds_a_token() {
        use std::io::Write as _;
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, mode, text: &str| {
            let path = folder.path().join(name);
            let mut options = std::fs::OpenOptions::new();
            let mut file = options.write(true).create_new(true).mode(mode).open(&path).unwrap();
            file.write_all(text.as_bytes()).unwrap();
            path
        };
        assert_eq!(read_token(&write("good", 0o600, "aa.bb\n")).unwrap(), "aa.bb");
        for (path, said) in [
            (write("open", 0o640, "aa.bb\n"), "chmod 600"),
            (write("prose", 0o600, "my token. Keep it\n"), "howdah token"),
            (write("empty", 0o600, ""), "howdah token"),
            (folder.path().join("none"), "No such file"),
        ] {
            let error = read_token(&path).unwrap_err().to_string();
            assert!(error.contains(said) && error.contains(path.to_str().unwrap()), "{error}");
        }
    }
}
