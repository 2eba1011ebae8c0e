//! TLS within the cluster: what the configured files hold, how daemons use it with one another, and
//! how it is reloaded while they run. TLS 1.2 and 1.3 (RFC 8446) by rustls. Clients verify daemons
//! by the cluster's authority. Daemons verify one another too: a token with a daemon's role
//! requires a client certificate of that authority (`entrance`).

mod certificate;
mod error;
mod material;
mod peers;

use std::fmt;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

use rustls::{ClientConfig, ServerConfig};

pub use certificate::{Certificate, NotACertificate, Validity};
pub use error::{PeerFault, TlsError};
use material::Material;
pub use material::{OwnFiles, TlsFiles, certificates_in};

/// The TLS of one process. Clones share it: what is [reloaded](Self::reload) applies to all of
/// them, from the next connection on.
#[derive(Clone)]
pub struct Tls {
    files: Option<Arc<TlsFiles>>,
    current: Current,
    client: Arc<ClientConfig>,
}

/// Seconds until certificates expire; negative afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Remaining {
    /// That of the authority; with several, the last one to expire.
    pub authority: i64,
    /// That of this daemon's own certificate.
    pub own: Option<i64>,
}

/// The material in use. Locked only briefly.
type Current = Arc<RwLock<Arc<Material>>>;

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("files", &self.files).finish_non_exhaustive()
    }
}

impl Tls {
    /// Reads the files, and checks that they belong together and are valid now.
    ///
    /// # Errors
    /// Names the file, the certificate, and the remedy.
    pub fn open(files: TlsFiles) -> Result<Self, TlsError> {
        let material = Material::read(&files)?;
        Ok(Self::of(material, Some(Arc::new(files))))
    }

    /// The TLS of a client that trusts these authorities, as returned by [`Self::authorities`]: a
    /// task, which reads no files.
    ///
    /// # Errors
    /// When there are none, or none is valid now.
    pub fn of_authorities(pem: &str) -> Result<Self, TlsError> {
        let material = Material::of_authorities(pem, Path::new("the task's description"))?;
        Ok(Self::of(material, None))
    }

    fn of(material: Material, files: Option<Arc<TlsFiles>>) -> Self {
        let current: Current = Arc::new(RwLock::new(Arc::new(material)));
        let client = Arc::new(peers::client_config(&current));
        Self { files, current, client }
    }

    fn current(&self) -> Arc<Material> {
        peers::current(&self.current)
    }

    /// Reads the files again. If they can't be used, the previous material stays in use.
    ///
    /// # Errors
    /// Like [`Self::open`].
    pub fn reload(&self) -> Result<(), TlsError> {
        let Some(files) = &self.files else { return Ok(()) };
        let material = Arc::new(Material::read(files)?);
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = material;
        Ok(())
    }

    /// The files' paths; a task has none.
    #[must_use]
    pub fn files(&self) -> Option<&TlsFiles> {
        self.files.as_deref()
    }

    /// The trusted authorities, in PEM.
    #[must_use]
    pub fn authorities(&self) -> String {
        self.current().ca_pem.clone()
    }

    /// This daemon's own certificate.
    #[must_use]
    pub fn own_certificate(&self) -> Option<Certificate> {
        self.current().own.as_ref().map(|own| own.certificate.clone())
    }

    /// How long the material in use remains valid.
    #[must_use]
    pub fn remaining(&self) -> Remaining {
        let (material, now) = (self.current(), clock::wall());
        // While one authority replaces another, the end of the later one matters.
        let authority = material.authorities.iter().map(|it| it.seconds_left(now)).max();
        let own = material.own.as_ref().map(|own| own.certificate.seconds_left(now));
        Remaining { authority: authority.unwrap_or_default(), own }
    }

    /// The configuration to serve the next connection; `None` without a certificate.
    pub(crate) fn server(&self) -> Option<Arc<ServerConfig>> {
        self.current().own.as_ref().map(|own| Arc::clone(&own.server))
    }

    /// The configuration to connect, which always uses the current material.
    pub(crate) fn client(&self) -> ClientConfig {
        ClientConfig::clone(&self.client)
    }
}

pub(crate) use peers::fault_of;

/// The configuration of a client without TLS, which never uses it, so that what it trusts does not
/// matter. Given to the HTTP library so that it does not read the system's authorities.
pub(crate) fn none() -> ClientConfig {
    peers::trusting_nobody()
}
