//! The contents of the TLS files, checked together: once they are read, at start or later, they can
//! be used.

use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier as _;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::{NoServerSessionStorage, ServerConfig, WebPkiClientVerifier};
use rustls::sign::{CertifiedKey, SingleCertAndKey};

use super::{Certificate, TlsError};

const CA: &str = "tls.ca";
const CERT: &str = "tls.cert";
const KEY: &str = "tls.key";

/// Maximum length of a file.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Where the files are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The trusted authorities, in PEM; several while one replaces another.
    pub ca: PathBuf,
    /// A daemon's own certificate, with any intermediate ones, and its key.
    pub own: Option<OwnFiles>,
}

/// The files of a daemon's own certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnFiles {
    /// The certificate, in PEM.
    pub cert: PathBuf,
    /// Its private key, in PEM, readable by its owner alone.
    pub key: PathBuf,
}

/// The contents of the files.
pub(super) struct Material {
    /// The authorities as read.
    pub(super) ca_pem: String,
    pub(super) authorities: Vec<Certificate>,
    pub(super) own: Option<Own>,
    roots: Arc<RootCertStore>,
    /// Decides whether to trust a daemon that answers.
    pub(super) verifier: Arc<WebPkiServerVerifier>,
}

/// A daemon's own certificate.
pub(super) struct Own {
    pub(super) certificate: Certificate,
    pub(super) key: Arc<CertifiedKey>,
    pub(super) server: Arc<ServerConfig>,
}

/// The only cipher library used.
pub(super) fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

impl Material {
    pub(super) fn read(files: &TlsFiles) -> Result<Self, TlsError> {
        let pem = read(&files.ca, CA)?;
        let this = Self::of_authorities(&pem, &files.ca)?;
        let Some(own) = &files.own else { return Ok(this) };
        let own = Own::read(own, &files.ca, &this)?;
        Ok(Self { own: Some(own), ..this })
    }

    /// Builds a client's material from the text of its authorities; errors name `path` as their
    /// source.
    pub(super) fn of_authorities(pem: &str, path: &Path) -> Result<Self, TlsError> {
        let unusable = |cause: String| TlsError::Unusable { path: path.to_owned(), key: CA, cause };
        let chain = certificates(pem, path, CA)?;
        let mut authorities = Vec::with_capacity(chain.len());
        let mut roots = RootCertStore::empty();
        let mut over = None;
        for der in chain {
            let certificate = Certificate::parse(&der).map_err(|e| unusable(e.to_string()))?;
            if !certificate.is_authority {
                let certificate = Box::new(certificate);
                return Err(TlsError::NoAuthority { path: path.to_owned(), certificate });
            }
            // An expired authority may still be listed beside its successor, but vouches for
            // nobody.
            if let Some(when) = certificate.fault_of_time(clock::wall()) {
                over = Some((certificate, when));
                continue;
            }
            roots.add(der).map_err(|error| unusable(error.to_string()))?;
            authorities.push(certificate);
        }
        if let (true, Some((certificate, when))) = (authorities.is_empty(), over) {
            let (path, certificate) = (path.to_owned(), Box::new(certificate));
            return Err(TlsError::Time { path, key: CA, certificate, when });
        }
        let roots = Arc::new(roots);
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::clone(&roots), provider());
        let verifier = verifier.build().map_err(|error| unusable(error.to_string()))?;
        Ok(Self { ca_pem: pem.to_owned(), authorities, own: None, roots, verifier })
    }

    /// The authorities as text for people.
    pub(super) fn trusted(&self) -> String {
        let subjects: Vec<&str> = self.authorities.iter().map(|it| it.subject.as_str()).collect();
        subjects.join(", ")
    }
}

impl Own {
    fn read(files: &OwnFiles, ca: &Path, trusted: &Material) -> Result<Self, TlsError> {
        let path = files.cert.clone();
        let chain = certificates(&read(&path, CERT)?, &path, CERT)?;
        let unusable =
            |cause: String| TlsError::Unusable { path: files.cert.clone(), key: CERT, cause };
        let certificate = Certificate::parse(&chain[0]).map_err(|e| unusable(e.to_string()))?;
        let boxed = || Box::new(certificate.clone());
        if let Some(when) = certificate.fault_of_time(clock::wall()) {
            return Err(TlsError::Time { path, key: CERT, certificate: boxed(), when });
        }
        let key = private_key(&files.key)?;
        let certified = CertifiedKey::new(chain.clone(), key);
        if certified.keys_match().is_err() {
            let (cert, key) = (path, files.key.clone());
            return Err(TlsError::Mismatch { cert, key, certificate: boxed() });
        }
        let Some(name) =
            certificate.names.iter().find_map(|it| ServerName::try_from(it.as_str()).ok())
        else {
            return Err(unusable(format!(
                "{certificate} is for no host name and no address: `howdah certs new --name HOST,IP` makes one that is"
            )));
        };
        let refused = |error: rustls::Error| TlsError::OtherAuthority {
            path: files.cert.clone(),
            ca: ca.to_owned(),
            authorities: trusted.trusted(),
            certificate: boxed(),
            cause: error.to_string(),
        };
        let now = UnixTime::since_unix_epoch(std::time::Duration::from_millis(clock::wall().0));
        let verified = trusted.verifier.verify_server_cert(&chain[0], &chain[1..], &name, &[], now);
        verified.map_err(refused)?;
        let roots = Arc::clone(&trusted.roots);
        let clients = WebPkiClientVerifier::builder_with_provider(roots, provider());
        // A client without a certificate is admitted here; `entrance` requires one for a daemon's
        // token.
        let clients = clients.allow_unauthenticated().build();
        let clients = clients.map_err(|error| unusable(error.to_string()))?;
        // Other daemons will check the same of this one as a client.
        clients.verify_client_cert(&chain[0], &chain[1..], now).map_err(refused)?;
        let key = Arc::new(certified);
        let server = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|error| unusable(error.to_string()))?
            .with_client_cert_verifier(clients)
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(Arc::clone(&key))));
        Ok(Self { certificate, key, server: Arc::new(without_resumption(server)) })
    }
}

/// No session resumption: connections are kept for long anyway, and a resumed session would be
/// trusted by files that have changed since.
fn without_resumption(mut server: ServerConfig) -> ServerConfig {
    server.session_storage = Arc::new(NoServerSessionStorage {});
    server.send_tls13_tickets = 0;
    server
}

fn read(path: &Path, key: &'static str) -> Result<String, TlsError> {
    let io = |source| TlsError::Io { path: path.to_owned(), key, source };
    let mut text = String::new();
    File::open(path)
        .and_then(|file| file.take(FILE_BYTES_MAX).read_to_string(&mut text))
        .map_err(io)?;
    Ok(text)
}

fn certificates(
    pem: &str,
    path: &Path,
    key: &'static str,
) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    let all = all.map_err(|error| TlsError::Unusable {
        path: path.to_owned(),
        key,
        cause: error.to_string(),
    })?;
    match all.is_empty() {
        true => Err(TlsError::Empty { path: path.to_owned(), key, expected: "certificate" }),
        false => Ok(all),
    }
}

/// The certificates of a PEM file, in its order; at least one.
///
/// # Errors
/// When it can't be read, or holds none.
pub fn certificates_in(path: &Path) -> Result<Vec<Certificate>, TlsError> {
    const SHOWN: &str = "certificates";
    let all = certificates(&read(path, SHOWN)?, path, SHOWN)?;
    let parsed = all.iter().map(|der| Certificate::parse(der));
    parsed.collect::<Result<_, _>>().map_err(|error| TlsError::Unusable {
        path: path.to_owned(),
        key: SHOWN,
        cause: error.to_string(),
    })
}

fn private_key(path: &Path) -> Result<Arc<dyn rustls::sign::SigningKey>, TlsError> {
    let io = |source| TlsError::Io { path: path.to_owned(), key: KEY, source };
    let mode = std::fs::metadata(path).map_err(io)?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(TlsError::Exposed { path: path.to_owned(), mode });
    }
    let pem = read(path, KEY)?;
    let empty = |_| TlsError::Empty { path: path.to_owned(), key: KEY, expected: "private key" };
    let key = PrivateKeyDer::from_pem_slice(pem.as_bytes()).map_err(empty)?;
    provider().key_provider.load_private_key(key).map_err(|error| TlsError::Unusable {
        path: path.to_owned(),
        key: KEY,
        cause: error.to_string(),
    })
}
