//! TLS as the configuration asks for it: of a daemon, which needs a certificate of its own, or of a client, which trusts the
//! cluster's authority and shows none.

pub(crate) mod certs;

use std::path::{Path, PathBuf};

use config::Config;
use net::{ClientSettings, OwnFiles, Tls, TlsFiles};

use crate::exit::OrEarly;

/// A daemon that trusts others and can't prove who it is.
#[derive(Debug, thiserror::Error)]
#[error(
    "{file}: tls.ca is set, and a daemon needs tls.cert and tls.key too, to prove who it is: `howdah certs new` makes them"
)]
pub(crate) struct CertificateMissing {
    file: PathBuf,
}

/// Of a daemon; absent where the cluster speaks plain HTTP.
pub(crate) fn of_daemon(config: &Config, file: &Path) -> anyhow::Result<Option<Tls>> {
    let config::Tls { ca, cert, key } = config.tls.clone();
    let Some(ca) = ca else { return Ok(None) };
    let (Some(cert), Some(key)) = (cert, key) else {
        return Err(CertificateMissing { file: file.to_owned() }).or_early();
    };
    let files = TlsFiles { ca, own: Some(OwnFiles { cert, key }) };
    Tls::open(files).or_early().map(Some)
}

/// Of a client: people need not be able to read a daemon's key.
pub(crate) fn of_client(config: &Config) -> anyhow::Result<Option<Tls>> {
    let Some(ca) = config.tls.ca.clone() else { return Ok(None) };
    Tls::open(TlsFiles { ca, own: None }).or_early().map(Some)
}

/// Time limits of calls to daemons, and how they are made.
pub(crate) fn client_settings(client: &config::Client, tls: Option<Tls>) -> ClientSettings {
    ClientSettings {
        connect_timeout: client.connect_timeout.0,
        request_timeout: client.request_timeout.0,
        silence_timeout: client.silence_timeout.0,
        tls,
    }
}

/// What the URLs of this cluster's daemons begin with.
pub(crate) fn scheme(config: &Config) -> &'static str {
    if config.tls.ca.is_some() { "https" } else { "http" }
}
