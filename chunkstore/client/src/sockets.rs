//! Which chunkservers on the reader's own host hand out descriptors, and on which socket: each
//! server is asked once. A failure here only costs the shortcut: the bytes then come over HTTP.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chunkstore_protocol::ServerAddress;
use chunkstore_protocol::descriptor::DescriptorSocket;
use ids::Monotonic;
use net::Client;

use crate::local_replica::{LocalError, LocalReplica};
use crate::replica_stream::Wanted;
use crate::{ChunkStore, Descriptors};

/// How long a server may take to name its socket.
const NAMING_LIMIT: Duration = Duration::from_secs(1);
/// How long a server without a working socket is not asked again.
const NONE_FOR: Duration = Duration::from_secs(30);

/// The sockets that one client knows, by its servers' addresses; all on one host.
#[derive(Debug, Default)]
pub(crate) struct Sockets {
    known: Mutex<BTreeMap<String, Known>>,
}

#[derive(Clone, Debug)]
enum Known {
    Named(String),
    None { until: Monotonic },
}

impl Sockets {
    /// Opens the replica's file, if its server is on this host and hands it over.
    pub(crate) async fn open(
        &self,
        store: &ChunkStore,
        server: &ServerAddress,
        wanted: &Wanted,
    ) -> Option<LocalReplica> {
        let settings = store.settings();
        let own = settings.host.as_ref() == Some(&server.host);
        let asked = match settings.reads.descriptors {
            Descriptors::Never => false,
            Descriptors::OwnHost => own,
            Descriptors::Loopback => own || is_loopback(&server.address),
        };
        if !asked {
            return None;
        }
        if let Some(socket) = self.find(&server.address) {
            match LocalReplica::open(socket?, wanted).await {
                // The server may have restarted with another socket.
                Err(LocalError::Io(_)) => {}
                opened => return said(server, opened),
            }
        }
        let client = store.client().with_token(wanted.location.token.clone());
        let opened = match ask(&client, &server.address).await {
            Some(socket) => {
                let opened = LocalReplica::open(socket.clone(), wanted).await;
                said(server, opened).map(|replica| (replica, socket))
            }
            None => None,
        };
        let (replica, known) = match opened {
            Some((replica, socket)) => (Some(replica), Known::Named(socket)),
            None => (None, Known::None { until: clock::monotonic() + NONE_FOR }),
        };
        self.lock().insert(server.address.clone(), known);
        replica
    }

    /// `None`: ask the server; `Some(None)`: it has no socket.
    fn find(&self, address: &str) -> Option<Option<String>> {
        match self.lock().get(address)? {
            Known::Named(socket) => Some(Some(socket.clone())),
            Known::None { until } if clock::monotonic() < *until => Some(None),
            Known::None { .. } => None,
        }
    }

    /// The lock is never held across an await.
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_loopback(address: &str) -> bool {
    address.parse::<std::net::SocketAddr>().is_ok_and(|address| address.ip().is_loopback())
}

fn said(server: &ServerAddress, opened: Result<LocalReplica, LocalError>) -> Option<LocalReplica> {
    opened
        .inspect_err(|error| {
            tracing::debug!(host = %server.host, %error, "no descriptor: reading over HTTP");
        })
        .ok()
}

async fn ask(client: &Client, address: &str) -> Option<String> {
    let asking = client.get::<DescriptorSocket>(address, "/v1/descriptor");
    match tokio::time::timeout(NAMING_LIMIT, asking).await {
        Ok(Ok(answer)) => answer.socket,
        Ok(Err(error)) => {
            tracing::debug!(address, %error, "a server of this host names no socket");
            None
        }
        Err(_) => None,
    }
}
