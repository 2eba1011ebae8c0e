//! The certificates of this host, where the cluster speaks TLS: whether they can be read, and how long they are good.

use std::path::Path;

use config::Config;
use ids::UnixMillis;
use net::TlsError;
use net::tls::{Certificate, certificates_in};

use super::Finding;

const CERTIFICATE: &str = "certificate";
/// With fewer days left it is said.
const DAYS_USUAL: i64 = 14;

/// One finding for each file that the configuration names; nothing where the cluster speaks plain HTTP.
pub(super) fn all(config: &Config, now: UnixMillis) -> Vec<Finding> {
    let files = [&config.tls.ca, &config.tls.cert].into_iter().flatten();
    files.map(|file| judge(file, &certificates_in(file), now)).collect()
}

fn judge(file: &Path, read: &Result<Vec<Certificate>, TlsError>, now: UnixMillis) -> Finding {
    let about = file.display();
    let renewed = "make new ones (`howdah certs new --replace`) and copy them; daemons take them without a restart";
    let certificates = match read {
        Ok(certificates) => certificates,
        Err(error) => {
            let remedy = "copy this host's folder of what `howdah certs new` has made, readable by the daemons' user";
            return Finding::failed(CERTIFICATE, about, error.to_string(), remedy);
        }
    };
    if let Some(fault) = certificates.iter().find_map(|it| it.fault_of_time(now)) {
        return Finding::failed(CERTIFICATE, about, fault, renewed);
    }
    let days = certificates.iter().map(|it| it.days_left(now)).min().unwrap_or_default();
    match days {
        days if days < DAYS_USUAL => {
            Finding::warning(CERTIFICATE, about, format!("is good for {days} more days"), renewed)
        }
        days => Finding::ok(CERTIFICATE, about, format!("is good for {days} more days")),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::Verdict;
    use super::*;
    use crate::tls::certs::{Order, make};

    #[test]
    fn a_certificate_that_ends_or_is_none_is_said_with_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().to_owned();
        make(&Order { dir, hosts: vec![vec!["a".to_owned()]], days: 30, replace: false }).unwrap();
        let file = folder.path().join("a/cert.pem");
        let after = |days: u64| {
            let now = clock::wall() + Duration::from_hours(24 * days);
            judge(&file, &certificates_in(&file), now)
        };
        let table = [(1, Verdict::Ok), (20, Verdict::Warning), (31, Verdict::Failed)];
        for (days, verdict) in table {
            let finding = after(days);
            assert_eq!(finding.verdict, verdict, "{finding:?}");
            let remedy = finding.remedy.unwrap_or_default();
            assert_eq!(remedy.contains("--replace"), verdict != Verdict::Ok, "{remedy}");
        }
        let none = folder.path().join("none.pem");
        let missing = judge(&none, &certificates_in(&none), clock::wall());
        assert_eq!(missing.verdict, Verdict::Failed);
        assert!(missing.remedy.unwrap().contains("howdah certs new"));
    }
}
