//! The order in which a reader asks replicas. Only `read` calls this.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chunkstore_protocol::ServerAddress;
use ids::{HostName, Monotonic, RackName};

/// How long a server that failed a reader, or was too slow for it, is asked last.
const SUSPECT_FOR: Duration = Duration::from_secs(60);

/// A reader's position in the network, and the servers that have failed it.
#[derive(Clone, Debug)]
pub(crate) struct Standpoint {
    pub(crate) host: Option<HostName>,
    pub(crate) rack: RackName,
    /// Differs between readers, so that they spread over equally near replicas.
    pub(crate) rotation: usize,
    suspects: BTreeMap<HostName, Monotonic>,
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Distance {
    SameHost,
    SameRack,
    Far,
}

/// The sort key of replicas: the order of the fields is the policy.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct ReplicaScore<'a> {
    suspect: bool,
    distance: Distance,
    turn: usize,
    host: &'a HostName,
}

impl Standpoint {
    /// The position of a reader that trusts all servers.
    pub(crate) fn new(host: Option<HostName>, rack: RackName, rotation: usize) -> Self {
        Self { host, rack, rotation, suspects: BTreeMap::new() }
    }

    /// `host` failed the reader, or was too slow.
    pub(crate) fn suspect(&mut self, now: Monotonic, host: HostName) {
        self.suspects.insert(host, now + SUSPECT_FOR);
    }

    /// Trusts all servers again.
    pub(crate) fn trust(&mut self) {
        self.suspects.clear();
    }

    /// The servers, the best first.
    pub(crate) fn sort(
        &self,
        now: Monotonic,
        servers: &[Arc<ServerAddress>],
    ) -> Vec<ServerAddress> {
        let mut scored: Vec<_> = servers
            .iter()
            .enumerate()
            .map(|(index, server)| (self.score(now, index, servers.len(), server), server))
            .collect();
        scored.sort_by(|(a, _), (b, _)| a.cmp(b));
        scored.into_iter().map(|(_, server)| ServerAddress::clone(server)).collect()
    }

    fn score<'a>(
        &self,
        now: Monotonic,
        index: usize,
        n: usize,
        server: &'a ServerAddress,
    ) -> ReplicaScore<'a> {
        let distance = if self.host.as_ref() == Some(&server.host) {
            Distance::SameHost
        } else if self.rack == server.rack {
            Distance::SameRack
        } else {
            Distance::Far
        };
        ReplicaScore {
            suspect: self.suspects.get(&server.host).is_some_and(|until| now < *until),
            distance,
            turn: index.wrapping_add(self.rotation) % n,
            host: &server.host,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(host: &str, rack: &str) -> Arc<ServerAddress> {
        let (name, rack) = (host.parse().unwrap(), rack.parse().unwrap());
        Arc::new(ServerAddress { host: name, rack, address: format!("{host}:1") })
    }

    const NOW: Monotonic = Monotonic(Duration::from_secs(7));

    fn order(standpoint: &Standpoint, servers: &[Arc<ServerAddress>]) -> String {
        order_at(NOW, standpoint, servers)
    }

    fn order_at(now: Monotonic, standpoint: &Standpoint, servers: &[Arc<ServerAddress>]) -> String {
        let sorted = standpoint.sort(now, servers);
        sorted.iter().map(|server| server.host.as_str()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn the_own_host_comes_first_then_the_own_rack_and_whoever_failed_comes_last() {
        let servers =
            [server("a", "/r2"), server("b", "/r1"), server("c", "/r1"), server("d", "/r2")];
        let host = Some("d".parse().unwrap());
        let mut standpoint = Standpoint::new(host, "/r1".parse().unwrap(), 0);
        assert_eq!(order(&standpoint, &servers), "d b c a");
        standpoint.rotation = 2;
        assert_eq!(order(&standpoint, &servers), "d c b a", "equally near ones take turns");
        standpoint.suspect(NOW, "d".parse().unwrap());
        assert_eq!(order(&standpoint, &servers), "c b a d");
        assert_eq!(order_at(NOW + SUSPECT_FOR, &standpoint, &servers), "d c b a", "forgiven");
        standpoint.host = None;
        assert_eq!(order(&standpoint, &servers), "c b a d");
        standpoint.trust();
        assert_eq!(order(&standpoint, &servers), "c b d a");
        assert_eq!(order(&standpoint, &[]), "");
    }
}
