//! No message of an earlier term or registration has an effect.

use chunkstore_core::master::{Refusal, Reply};
use ids::Epoch;

use super::Watch;

/// The term and registration that a server put in its heartbeat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sent {
    pub(crate) server: usize,
    pub(crate) epoch: Epoch,
    pub(crate) session: u64,
}

impl Watch {
    /// The registration that the master knows of a server.
    pub(crate) fn present(&self, server: usize) -> Option<(Epoch, u64)> {
        self.present.get(&server).copied()
    }

    /// The master answers a server's registration.
    pub(crate) fn see_registered(&mut self, server: usize, answer: &Result<Reply, Refusal>) {
        if let Ok(Reply::Registered(registered)) = answer {
            self.present.insert(server, (registered.epoch, registered.session));
        }
    }

    /// The master's core has accepted or refused a heartbeat.
    pub(crate) fn see_heartbeat(&mut self, sent: Sent, answer: &Result<Reply, Refusal>) {
        let present = self.present.get(&sent.server);
        if answer.is_ok() && present != Some(&(sent.epoch, sent.session)) {
            let what = format!("{sent:?} was taken, and registered is {present:?}");
            self.broken("fencing", what);
        }
    }
}
