//! Which replica a reader asks first. Only `read` calls this.

use std::collections::BTreeSet;

use chunkstore_protocol::ServerAddress;
use ids::{HostName, RackName};

/// Where a reader stands, and which servers have failed it.
#[derive(Clone, Debug)]
pub(crate) struct Standpoint {
    pub(crate) host: Option<HostName>,
    pub(crate) rack: RackName,
    /// Differs from reader to reader, so that they spread over equally near replicas.
    pub(crate) rotation: usize,
    pub(crate) suspects: BTreeSet<HostName>,
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Distance {
    SameHost,
    SameRack,
    Far,
}

/// The order of replicas: the field order is the policy.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct ReplicaScore<'a> {
    suspect: bool,
    distance: Distance,
    turn: usize,
    host: &'a HostName,
}

impl Standpoint {
    /// The servers, best first.
    pub(crate) fn sort(&self, servers: &[ServerAddress]) -> Vec<ServerAddress> {
        let mut scored: Vec<_> = servers
            .iter()
            .enumerate()
            .map(|(index, server)| (self.score(index, servers.len(), server), server))
            .collect();
        scored.sort_by(|(a, _), (b, _)| a.cmp(b));
        scored.into_iter().map(|(_, server)| server.clone()).collect()
    }

    fn score<'a>(&self, index: usize, n: usize, server: &'a ServerAddress) -> ReplicaScore<'a> {
        let distance = if self.host.as_ref() == Some(&server.host) {
            Distance::SameHost
        } else if self.rack == server.rack {
            Distance::SameRack
        } else {
            Distance::Far
        };
        ReplicaScore {
            suspect: self.suspects.contains(&server.host),
            distance,
            turn: index.wrapping_add(self.rotation) % n,
            host: &server.host,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(host: &str, rack: &str) -> ServerAddress {
        ServerAddress {
            host: host.parse().unwrap(),
            rack: rack.parse().unwrap(),
            address: format!("{host}:1"),
        }
    }

    fn order(standpoint: &Standpoint, servers: &[ServerAddress]) -> String {
        let sorted = standpoint.sort(servers);
        sorted.iter().map(|server| server.host.as_str()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn the_own_host_comes_first_then_the_own_rack_and_whoever_failed_comes_last() {
        let servers =
            [server("a", "/r2"), server("b", "/r1"), server("c", "/r1"), server("d", "/r2")];
        let mut standpoint = Standpoint {
            host: Some("d".parse().unwrap()),
            rack: "/r1".parse().unwrap(),
            rotation: 0,
            suspects: BTreeSet::new(),
        };
        assert_eq!(order(&standpoint, &servers), "d b c a");
        standpoint.rotation = 2;
        assert_eq!(order(&standpoint, &servers), "d c b a", "equally near ones take turns");
        standpoint.suspects.insert("d".parse().unwrap());
        assert_eq!(order(&standpoint, &servers), "c b a d");
        standpoint.host = None;
        assert_eq!(order(&standpoint, &servers), "c b a d");
        assert_eq!(order(&standpoint, &[]), "");
    }
}
