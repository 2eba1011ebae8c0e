//! The daemons that Prometheus is to scrape, in the JSON of its `http_sd_config`. Each master lists
//! itself and the daemons that it knows, including dead ones: a daemon that is no longer a target
//! raises no alert.

use std::collections::BTreeMap;

use ids::{HostName, RackName};
use schemars::JsonSchema;
use serde::Serialize;

/// One daemon as a target, with the labels that its series get.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct TargetGroup {
    targets: [String; 1],
    labels: BTreeMap<&'static str, String>,
}

impl TargetGroup {
    /// The `daemon` on a host.
    #[must_use]
    pub fn of_host(
        daemon: &'static str,
        host: &HostName,
        rack: Option<&RackName>,
        address: &str,
    ) -> Self {
        let mut group = Self::labelled(daemon, host.to_string(), address);
        if let Some(rack) = rack {
            group.labels.insert("rack", rack.to_string());
        }
        group
    }

    /// A master; its host is its address without the port.
    #[must_use]
    pub fn of_master(daemon: &'static str, address: &str) -> Self {
        let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
        Self::labelled(daemon, host.trim_matches(['[', ']']).to_owned(), address)
    }

    /// The same target, scraped by TLS if the cluster uses it.
    #[must_use]
    pub fn by_tls(mut self, is_tls: bool) -> Self {
        if is_tls {
            self.labels.insert("__scheme__", "https".to_owned());
        }
        self
    }

    fn labelled(daemon: &'static str, host: String, address: &str) -> Self {
        let labels = [("daemon", daemon.to_owned()), ("host", host)];
        Self { targets: [address.to_owned()], labels: labels.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_written_as_prometheus_reads_them() {
        let host = "host-1".parse().unwrap();
        let rack = "/rack-1".parse().unwrap();
        let group = TargetGroup::of_host("tasktracker", &host, Some(&rack), "10.0.0.1:7881");
        let json = serde_json::to_string(&group).unwrap();
        let expected = r#"{"targets":["10.0.0.1:7881"],"labels":{"daemon":"tasktracker","host":"host-1","rack":"/rack-1"}}"#;
        assert_eq!(json, expected);
        assert_eq!(group.clone().by_tls(false), group);
        let json = serde_json::to_string(&group.by_tls(true)).unwrap();
        assert_eq!(json, expected.replace(r#""labels":{"#, r#""labels":{"__scheme__":"https","#));
    }

    #[test]
    fn a_master_is_on_the_host_of_its_address() {
        for (address, host) in
            [("master-1:7880", "master-1"), ("10.0.0.1:7880", "10.0.0.1"), ("[::1]:7880", "::1")]
        {
            assert_eq!(TargetGroup::of_master("jobtracker", address).labels["host"], host);
        }
    }
}
