//! Why files of TLS can't be used, and why another daemon is not trusted: with the file or the host, whose certificate it is,
//! and what to do.

use std::path::PathBuf;

use super::Certificate;

/// A file of the configuration's section `tls` that can't be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// It can't be read.
    #[error("the file {} ({key}): {source}; `howdah certs new` makes one", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Which key of the configuration names it.
        key: &'static str,
        /// Why.
        source: std::io::Error,
    },
    /// It holds something else.
    #[error("the file {} ({key}) holds no {expected} in PEM, as `howdah certs new` makes it", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
        /// Which key of the configuration names it.
        key: &'static str,
        /// What should be there.
        expected: &'static str,
    },
    /// What it holds is damaged, or of a kind that is not supported.
    #[error("the file {} ({key}) can't be used: {cause}", path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// Which key of the configuration names it.
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
    /// A certificate that does not count now.
    #[error(
        "the certificate {certificate} in {} ({key}) {when}: make a new one with `howdah certs new --replace` where the \
         cluster's authority is, and copy it here", path.display()
    )]
    Time {
        /// The file.
        path: PathBuf,
        /// Which key of the configuration names it.
        key: &'static str,
        /// Whose it is.
        certificate: Box<Certificate>,
        /// How long it has been over, or is not yet.
        when: String,
    },
    /// Where authorities should be there is the certificate of a host.
    #[error(
        "the certificate {certificate} in {} (tls.ca) is no authority's, and can't vouch for others: name the file ca.pem \
         that `howdah certs new` made", path.display()
    )]
    NoAuthority {
        /// The file.
        path: PathBuf,
        /// Whose it is.
        certificate: Box<Certificate>,
    },
    /// The key of another certificate.
    #[error(
        "the private key {} (tls.key) is not that of the certificate {certificate} in {} (tls.cert): copy both from the \
         same folder", key.display(), cert.display()
    )]
    Mismatch {
        /// The certificate's file.
        cert: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// Whose certificate it is.
        certificate: Box<Certificate>,
    },
    /// A certificate that this cluster's authority did not sign, or not for this.
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
        /// The authorities that there are.
        authorities: String,
        /// Whose certificate it is.
        certificate: Box<Certificate>,
        /// What the TLS library says.
        cause: String,
    },
}

/// Why the certificate that another host shows is not trusted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PeerFault {
    /// Its time is over, or has not come.
    #[error(
        "its certificate {certificate} {when}: make a new one with `howdah certs new --replace`, and copy it to that host"
    )]
    Time {
        /// What it shows.
        certificate: Box<Certificate>,
        /// How long it has been over, or is not yet.
        when: String,
    },
    /// It is another host's.
    #[error(
        "its certificate {certificate} is not for {asked}, which it is called here: make one with `howdah certs new \
         --replace --name NAME,{asked}`, or correct the address in the configuration"
    )]
    Name {
        /// What it shows.
        certificate: Box<Certificate>,
        /// What it was called.
        asked: String,
    },
    /// Another authority vouches for it.
    #[error(
        "its certificate {certificate} was signed by {}, and tls.ca here trusts {authorities}: both hosts need the ca.pem \
         of the same `howdah certs new`", certificate.issuer
    )]
    Authority {
        /// What it shows.
        certificate: Box<Certificate>,
        /// Who is trusted here.
        authorities: String,
    },
    /// Something else.
    #[error("its certificate can't be used: {0}")]
    Other(String),
}
