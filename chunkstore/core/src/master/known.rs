//! The servers of this cluster: every one that has ever registered, until it is forgotten. Durable,
//! so that a master that starts knows which servers to wait for (`safe_mode.rs`), and which of them
//! are to be emptied (`drain.rs`). Which of them are alive, `servers.rs` knows.

use std::collections::BTreeMap;
use std::ops::Bound;

use chunkstore_protocol::ForgetServer;
use ids::HostName;
use serde::{Deserialize, Serialize};

use super::Master;
use super::error::{ForgetError, ServerError};
use super::record::{Record, Stamp};
use super::servers::SERVERS_MAX;

/// All of them, by host name; [`SERVERS_MAX`] at most.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct KnownServers(BTreeMap<HostName, KnownServer>);

/// What is kept of one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct KnownServer {
    draining: bool,
}

impl KnownServers {
    /// A server registered; adds it if it is not known yet.
    pub(crate) fn join(&mut self, host: &HostName) {
        self.0.entry(host.clone()).or_default();
    }

    /// The server no longer belongs to the cluster.
    pub(crate) fn forget(&mut self, host: &HostName) {
        self.0.remove(host);
    }

    pub(crate) fn contains(&self, host: &HostName) -> bool {
        self.0.contains_key(host)
    }

    /// Whether the server is to be emptied.
    pub(crate) fn is_draining(&self, host: &HostName) -> bool {
        self.0.get(host).is_some_and(|server| server.draining)
    }

    /// The server is to be emptied, or no longer is.
    pub(crate) fn set_draining(&mut self, host: &HostName, on: bool) {
        if let Some(server) = self.0.get_mut(host) {
            server.draining = on;
        }
    }

    /// The servers whose names come after `after`.
    pub(crate) fn hosts_after(&self, after: Option<&HostName>) -> impl Iterator<Item = &HostName> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.0.range::<HostName, _>((from, Bound::Unbounded)).map(|(host, _)| host)
    }

    pub(crate) fn hosts(&self) -> impl Iterator<Item = &HostName> {
        self.0.keys()
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a server of that name may register.
    pub(crate) fn admit(&self, host: &HostName) -> Result<(), ServerError> {
        match self.contains(host) || self.len() < SERVERS_MAX {
            true => Ok(()),
            false => Err(ServerError::TooManyServers { host: host.clone(), max: SERVERS_MAX }),
        }
    }
}

impl Master {
    /// Forgets a dead server: nobody waits for it any more. If it comes back, it joins anew, and
    /// its replicas count again. Unless the request says so, the last server that may have some
    /// chunk is not forgotten, nor the last one of a log's open chunk, whose newest records would
    /// be lost with it.
    pub(super) fn plan_forget(
        &self,
        stamp: &Stamp,
        request: &ForgetServer,
    ) -> Result<Record, ForgetError> {
        let host = request.host.clone();
        if !self.durable.known().contains(&host) {
            return Err(ForgetError::UnknownServer { host });
        }
        if self.servers.is_live_host(&host) {
            return Err(ForgetError::ServerLives { host });
        }
        if !request.lose_records
            && let Some(path) = self.log_left_to(&host)
        {
            return Err(ForgetError::LastWithRecords { host, path });
        }
        if !request.lose_chunks {
            self.refuse_last_with_chunks(&host)?;
        }
        Ok(Record::ServerForgotten { stamp: stamp.clone(), host })
    }
}
