//! A client's view: whom to trust, by the material in use at each handshake; and the reasons why
//! not.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use ids::UnixMillis;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ResolvesClientCert, Resumption};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::{
    AlertDescription, CertificateError, ClientConfig, DigitallySignedStruct, Error, OtherError,
    RootCertStore, SignatureScheme,
};

use super::material::{Material, provider};
use super::{Certificate, Current, PeerFault};

pub(super) fn current(current: &Current) -> Arc<Material> {
    Arc::clone(&current.read().unwrap_or_else(PoisonError::into_inner))
}

pub(super) fn client_config(current: &Current) -> ClientConfig {
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .expect("the provider has ciphers for all versions")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Peers(Arc::clone(current))))
        .with_client_cert_resolver(Arc::new(Own(Arc::clone(current))));
    // As on the server's side (`material`).
    config.resumption = Resumption::disabled();
    config
}

pub(super) fn trusting_nobody() -> ClientConfig {
    ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .expect("the provider has ciphers for all versions")
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth()
}

/// Shows this daemon's certificate to a peer that asks for it.
struct Own(Current);

impl fmt::Debug for Own {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Own")
    }
}

impl ResolvesClientCert for Own {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        current(&self.0).own.as_ref().map(|own| Arc::clone(&own.key))
    }

    fn has_certs(&self) -> bool {
        current(&self.0).own.is_some()
    }
}

/// The TLS library's verification, with errors for people.
struct Peers(Current);

impl fmt::Debug for Peers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Peers")
    }
}

impl ServerCertVerifier for Peers {
    fn verify_server_cert(
        &self,
        shown: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let material = current(&self.0);
        let verified = material.verifier.verify_server_cert(shown, intermediates, name, ocsp, now);
        verified.map_err(|error| {
            let fault = fault(&error, shown, name, now, &material);
            Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(fault))))
        })
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        current(&self.0).verifier.verify_tls12_signature(message, cert, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        current(&self.0).verifier.verify_tls13_signature(message, cert, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        current(&self.0).verifier.supported_verify_schemes()
    }
}

fn fault(
    error: &Error,
    shown: &CertificateDer<'_>,
    name: &ServerName<'_>,
    now: UnixTime,
    trusted: &Material,
) -> PeerFault {
    let Ok(certificate) = Certificate::parse(shown) else {
        return PeerFault::Other(error.to_string());
    };
    let now = Duration::from_secs(now.as_secs()).as_millis();
    let now = UnixMillis(u64::try_from(now).unwrap_or(u64::MAX));
    let certificate = Box::new(certificate);
    match error {
        Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => PeerFault::Name { certificate, asked: name.to_str().into_owned() },
        Error::InvalidCertificate(
            CertificateError::UnknownIssuer | CertificateError::BadSignature,
        ) => PeerFault::Authority { certificate, authorities: trusted.trusted() },
        _ => match certificate.fault_of_time(now) {
            Some(when) => PeerFault::Time { certificate, when },
            None => PeerFault::Other(error.to_string()),
        },
    }
}

/// Why TLS failed, if that is why a call failed.
pub(crate) fn fault_of(error: &(dyn StdError + 'static)) -> Option<String> {
    let error = of_tls(error)?;
    Some(match error {
        Error::InvalidCertificate(CertificateError::Other(OtherError(fault))) => fault.to_string(),
        Error::InvalidMessage(_) => {
            "it does not speak TLS, as the configuration here says with its section tls".to_owned()
        }
        Error::AlertReceived(alert) => match alert {
            AlertDescription::CertificateExpired => refused("its time is over"),
            AlertDescription::UnknownCA | AlertDescription::DecryptError => {
                refused("another authority signed it")
            }
            AlertDescription::BadCertificate
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateRequired
            | AlertDescription::AccessDenied => refused(&format!("{alert:?}")),
            _ => format!("it ended the TLS handshake ({alert:?})"),
        },
        other => format!("TLS with it failed: {other}"),
    })
}

fn refused(why: &str) -> String {
    format!(
        "it does not accept this host's own certificate, tls.cert ({why}): `howdah certs show` tells what that is"
    )
}

fn of_tls<'e>(error: &'e (dyn StdError + 'static)) -> Option<&'e Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<Error>() {
            return Some(found);
        }
        // The error that an I/O error wraps is not its source; only the wrapped error's source is.
        let wrapped = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        next = match wrapped {
            Some(wrapped) => Some(wrapped as &(dyn StdError + 'static)),
            None => error.source(),
        };
    }
    None
}
