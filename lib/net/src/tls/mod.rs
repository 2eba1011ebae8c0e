//! TLS of the cluster: what the configuration's files hold, how daemons show it to one another, and how it is taken in anew
//! while they run. TLS 1.2 and 1.3 (RFC 8446) by rustls. Clients verify daemons by the cluster's authority; daemons verify
//! one another too: what a token of a daemon's role may do takes a client certificate of that authority (`entrance`).

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

/// The TLS of one process. Clones are one: what is [taken in anew](Self::reload) counts for all of them, from the next
/// connection on.
#[derive(Clone)]
pub struct Tls {
    files: Option<Arc<TlsFiles>>,
    current: Current,
    client: Arc<ClientConfig>,
}

/// Seconds that certificates have left; less than 0 after their end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Remaining {
    /// The authority's, the last one's of several.
    pub authority: i64,
    /// This daemon's own.
    pub own: Option<i64>,
}

/// What counts now. Locked for moments.
type Current = Arc<RwLock<Arc<Material>>>;

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("files", &self.files).finish_non_exhaustive()
    }
}

impl Tls {
    /// Reads the files: they are there, belong together, and count now.
    ///
    /// # Errors
    /// With the file, whose certificate it is, and what to do.
    pub fn open(files: TlsFiles) -> Result<Self, TlsError> {
        let material = Material::read(&files)?;
        Ok(Self::of(material, Some(Arc::new(files))))
    }

    /// Of a client that trusts these authorities, as [`Self::authorities`] gives them: a task, which reads no files.
    ///
    /// # Errors
    /// When they are none, or none counts now.
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

    /// Reads the files again. Where they can't be used, what was there before stays.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn reload(&self) -> Result<(), TlsError> {
        let Some(files) = &self.files else { return Ok(()) };
        let material = Arc::new(Material::read(files)?);
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = material;
        Ok(())
    }

    /// Where the files are; a task has none.
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

    /// How long what counts now will count.
    #[must_use]
    pub fn remaining(&self) -> Remaining {
        let (material, now) = (self.current(), clock::wall());
        // While one authority follows another, it is the later one's end that matters.
        let authority = material.authorities.iter().map(|it| it.seconds_left(now)).max();
        let own = material.own.as_ref().map(|own| own.certificate.seconds_left(now));
        Remaining { authority: authority.unwrap_or_default(), own }
    }

    /// How to serve the next connection; absent for who has no certificate.
    pub(crate) fn server(&self) -> Option<Arc<ServerConfig>> {
        self.current().own.as_ref().map(|own| Arc::clone(&own.server))
    }

    /// How to connect, by whatever counts at that moment.
    pub(crate) fn client(&self) -> ClientConfig {
        ClientConfig::clone(&self.client)
    }
}

pub(crate) use peers::fault_of;

/// How a client connects that has no TLS: never by TLS, so that what it trusts does not matter. Given to the HTTP library so
/// that it does not read the system's authorities.
pub(crate) fn none() -> ClientConfig {
    peers::trusting_nobody()
}
