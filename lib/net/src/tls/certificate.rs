//! The contents of a certificate (X.509, RFC 5280), for people: errors, `howdah certs show`, and
//! the metric of its end. Whether to trust it is decided by the TLS library, not here.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use ids::UnixMillis;
use ring::digest::{SHA256, digest};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer as _, X509Certificate};
use x509_parser::time::ASN1Time;

const DAY_SECONDS: i64 = 24 * 3600;
/// Names shown of a certificate that has many.
const NAMES_SHOWN_MAX: usize = 8;

/// The contents of one certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// Its subject, like `CN=host-1`.
    pub subject: String,
    /// Who signed it.
    pub issuer: String,
    /// The host names and addresses that it is valid for; none for an authority.
    pub names: Vec<String>,
    /// Start of its validity.
    pub not_before: UnixMillis,
    /// End of its validity.
    pub not_after: UnixMillis,
    /// SHA-256 of the whole certificate, as `openssl x509 -fingerprint -sha256` prints it.
    pub fingerprint: String,
    /// Whether it may sign others.
    pub is_authority: bool,
}

/// The bytes are not an X.509 certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("what stands there is no X.509 certificate")]
pub struct NotACertificate;

/// Whether a certificate is valid at some time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Validity {
    /// It is valid.
    Valid,
    /// It is not valid yet.
    Early,
    /// It is not valid any more.
    Ended,
}

impl Certificate {
    /// Reads a certificate in DER.
    ///
    /// # Errors
    /// When it is not one.
    pub fn parse(der: &[u8]) -> Result<Self, NotACertificate> {
        let (_, parsed) = X509Certificate::from_der(der).map_err(|_| NotACertificate)?;
        let named = parsed.subject_alternative_name().ok().flatten();
        let names = named.map(|it| it.value.general_names.iter().filter_map(name_of).collect());
        let fingerprint = digest(&SHA256, der);
        let fingerprint: Vec<String> =
            fingerprint.as_ref().iter().map(|byte| format!("{byte:02X}")).collect();
        Ok(Self {
            subject: parsed.subject().to_string(),
            issuer: parsed.issuer().to_string(),
            names: names.unwrap_or_default(),
            not_before: millis(parsed.validity().not_before),
            not_after: millis(parsed.validity().not_after),
            fingerprint: fingerprint.join(":"),
            is_authority: parsed.is_ca(),
        })
    }

    /// Seconds until its end; negative afterwards.
    #[must_use]
    pub fn seconds_left(&self, now: UnixMillis) -> i64 {
        let (end, now) = (self.not_after.0 / 1000, now.0 / 1000);
        i64::try_from(end)
            .unwrap_or(i64::MAX)
            .saturating_sub(i64::try_from(now).unwrap_or(i64::MAX))
    }

    /// Whole days until its end; 0 on its last day and on the first after it.
    #[must_use]
    pub fn days_left(&self, now: UnixMillis) -> i64 {
        self.seconds_left(now) / DAY_SECONDS
    }

    /// Its validity at `now`.
    #[must_use]
    pub fn validity(&self, now: UnixMillis) -> Validity {
        if now < self.not_before {
            Validity::Early
        } else if now > self.not_after {
            Validity::Ended
        } else {
            Validity::Valid
        }
    }

    /// Why it is not valid at `now`, like `ended 3 days ago`; `None` if it is.
    #[must_use]
    pub fn fault_of_time(&self, now: UnixMillis) -> Option<String> {
        match self.validity(now) {
            Validity::Valid => None,
            Validity::Ended => Some(format!("ended {} ago", days(-self.seconds_left(now)))),
            Validity::Early => {
                let seconds = self.not_before.0.saturating_sub(now.0).div_ceil(1000);
                let until = days(i64::try_from(seconds).unwrap_or(i64::MAX));
                Some(format!("counts only in {until}, by this host's clock"))
            }
        }
    }
}

/// The time in days, or in smaller units if it is less than two days.
fn days(seconds: i64) -> String {
    let (n, unit) = match seconds {
        ..120 => (seconds, "seconds"),
        120..7200 => (seconds / 60, "minutes"),
        7200..172_800 => (seconds / 3600, "hours"),
        _ => (seconds / DAY_SECONDS, "days"),
    };
    format!("{n} {unit}")
}

/// Shows its subject and names.
impl fmt::Display for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.subject)?;
        if self.names.is_empty() {
            return Ok(());
        }
        let shown: Vec<&str> =
            self.names.iter().take(NAMES_SHOWN_MAX).map(String::as_str).collect();
        let more = if shown.len() < self.names.len() { ", …" } else { "" };
        write!(f, " (for {}{more})", shown.join(", "))
    }
}

fn name_of(name: &GeneralName<'_>) -> Option<String> {
    match *name {
        GeneralName::DNSName(name) => Some(name.to_owned()),
        GeneralName::IPAddress(bytes) => match *bytes {
            [a, b, c, d] => Some(Ipv4Addr::new(a, b, c, d).to_string()),
            _ => <[u8; 16]>::try_from(bytes).ok().map(|bytes| Ipv6Addr::from(bytes).to_string()),
        },
        _ => None,
    }
}

fn millis(time: ASN1Time) -> UnixMillis {
    let seconds = u64::try_from(time.timestamp()).unwrap_or(0);
    UnixMillis(seconds.saturating_mul(1000))
}
