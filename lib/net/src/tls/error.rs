//! Why TLS files can't be used, and why another daemon is not trusted: each error names the file or
//! host, the certificate, and the remedy.

use std::path::PathBuf;

use super::Certificate;

/// A file of the configuration's `tls` section that can't be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// It can't be read.
    #[error("the file {} ({key}): {source}; `howdah certs new` makes one", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The configuration key that names it.
        key: &'static str,
        /// The system's error.
        source: std::io::Error,
    },
    /// It holds something else.
    #[error("the file {} ({key}) holds no {expected} in PEM, as `howdah certs new` makes it", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
        /// The configuration key that names it.
        key: &'static str,
        /// What should be there.
        expected: &'static str,
    },
    /// Its contents are damaged, or of an unsupported kind.
    #[error("the file {} ({key}) can't be used: {cause}", path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// The configuration key that names it.
        key: &'static str,
        /// What is wrong.
        cause: String,
    },
    /// Others may read a private key.
    #[error("the private key {} (tls.key) may be read by others (mode {mode:o}): run `chmod 600` on it", path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// A certificate that is not valid at present.
    #[error(
        "the certificate {certificate} in {} ({key}) {when}: make a new one with `howdah certs new --replace` where the \
         cluster's authority is, and copy it here", path.display()
    )]
    Time {
        /// The file.
        path: PathBuf,
        /// The configuration key that names it.
        key: &'static str,
        /// The certificate.
        certificate: Box<Certificate>,
        /// Since when it has expired, or when it becomes valid.
        when: String,
    },
    /// The file of authorities holds the certificate of a host.
    #[error(
        "the certificate {certificate} in {} (tls.ca) is no authority's, and can't vouch for others: name the file ca.pem \
         that `howdah certs new` made", path.display()
    )]
    NoAuthority {
        /// The file.
        path: PathBuf,
        /// The certificate.
        certificate: Box<Certificate>,
    },
    /// The key belongs to another certificate.
    #[error(
        "the private key {} (tls.key) is not that of the certificate {certificate} in {} (tls.cert): copy both from the \
         same folder", key.display(), cert.display()
    )]
    Mismatch {
        /// The certificate's file.
        cert: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// The certificate.
        certificate: Box<Certificate>,
    },
    /// A certificate that this cluster's authority did not sign, or not for this use.
    #[error(
        "the certificate {certificate} in {} (tls.cert) was signed by {}, and is not one that {authorities} in {} (tls.ca) \
         vouches for ({cause}): copy both from the folder that `howdah certs new` made for this host",
        path.display(), certificate.issuer, ca.display()
    )]
    OtherAuthority {
        /// The certificate's file.
        path: PathBuf,
        /// The authorities' file.
        ca: PathBuf,
        /// The authorities in it.
        authorities: String,
        /// The certificate.
        certificate: Box<Certificate>,
        /// The TLS library's reason.
        cause: String,
    },
}

/// Why the certificate that another host shows is not trusted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PeerFault {
    /// It has expired, or is not valid yet.
    #[error(
        "its certificate {certificate} {when}: make a new one with `howdah certs new --replace`, and copy it to that host"
    )]
    Time {
        /// The certificate that the host shows.
        certificate: Box<Certificate>,
        /// Since when it has expired, or when it becomes valid.
        when: String,
    },
    /// It is for another host.
    #[error(
        "its certificate {certificate} is not for {asked}, which it is called here: make one with `howdah certs new \
         --replace --name NAME,{asked}`, or correct the address in the configuration"
    )]
    Name {
        /// The certificate that the host shows.
        certificate: Box<Certificate>,
        /// The name by which it was called.
        asked: String,
    },
    /// It was signed by another authority.
    #[error(
        "its certificate {certificate} was signed by {}, and tls.ca here trusts {authorities}: both hosts need the ca.pem \
         of the same `howdah certs new`", certificate.issuer
    )]
    Authority {
        /// The certificate that the host shows.
        certificate: Box<Certificate>,
        /// The authorities trusted here.
        authorities: String,
    },
    /// Something else.
    #[error("its certificate can't be used: {0}")]
    Other(String),
}
