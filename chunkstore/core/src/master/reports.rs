//! What chunkservers report: registrations, heartbeats, and the replica events in them. Decides
//! which replicas are wanted; how commands and events are delivered is the business of
//! `servers.rs`.

use chunkstore_protocol::{
    ChunkId, RegisterServer, ReplicaEvent, ServerHeartbeat, ServerHeartbeatReply, ServerRegistered,
};
use ids::{Monotonic, Now};

use super::durable::{ChunkState, SealedState};
use super::error::ServerError;
use super::record::Record;
use super::replicas::Claim;
use super::servers::{Heard, Holder, ServerId};
use super::{Effect, Master, Notice, Output, Reply, millis};

impl Master {
    pub(super) fn register(
        &mut self,
        now: Now,
        request: RegisterServer,
        out: &mut Output,
    ) -> Result<Reply, ServerError> {
        let (host, address) = (request.host.clone(), request.address.clone());
        self.durable.known().admit(&host)?;
        let kept = (request.term, request.last_record);
        let session = self.servers.register(now.monotonic, request, &self.cluster)?;
        self.compare_term(&host, kept, out);
        if !self.durable.known().contains(&host) {
            self.commit(now, Record::ServerJoined { host: host.clone() }, out);
        }
        self.servers.set_draining(&host, self.durable.known().is_draining(&host));
        if let Some(Holder { server, .. }) = self.servers.by_host(&host) {
            self.server_changed(server, now.monotonic);
        }
        out.effects.push(Effect::Tell(Notice::ServerRegistered { host, address, session }));
        Ok(Reply::Registered(ServerRegistered {
            cluster: self.cluster.clone(),
            epoch: self.durable.epoch(),
            session,
            heartbeat_interval_ms: millis(self.settings.heartbeat_interval),
        }))
    }

    pub(super) fn heartbeat(
        &mut self,
        now: Now,
        heartbeat: ServerHeartbeat,
        out: &mut Output,
    ) -> Result<Reply, ServerError> {
        let epoch = self.durable.epoch();
        let Heard { server, events, completed, is_all } =
            self.servers.hear(now.monotonic, heartbeat, epoch)?;
        let is_report = completed || !self.servers.is_report_complete(server);
        for event in &events {
            self.take_event(server, event, is_report, now.monotonic, out);
        }
        if is_all {
            self.drop_unconfirmed(server, now.monotonic);
        }
        if completed {
            let host = self.servers.host(server).clone();
            let by = Holder { server, session: self.servers.session(server) };
            self.judge_orphans(by, out);
            self.check_logs_on(by, now.monotonic);
            self.has_reported(&host, now.monotonic, out);
            self.sweep(now.monotonic);
        }
        if !self.in_safe_mode() {
            self.start_copies(server, now.monotonic);
            self.start_moves(server, now.monotonic);
            self.verify_next(server, now.monotonic);
        }
        let (events_received, commands) = self.servers.deliver(server, !self.in_safe_mode());
        let term_id = self.term_to_keep();
        let last_record = if term_id.is_some() { self.last_record } else { 0 };
        Ok(Reply::Heartbeat(ServerHeartbeatReply {
            epoch,
            term_id,
            last_record,
            events_received,
            commands,
        }))
    }

    fn take_event(
        &mut self,
        server: ServerId,
        event: &ReplicaEvent,
        is_report: bool,
        now: Monotonic,
        out: &mut Output,
    ) {
        let by = Holder { server, session: self.servers.session(server) };
        match *event {
            ReplicaEvent::Held { chunk, version, length, checksum } => {
                let claim = Claim { by, version, length, checksum };
                self.repairs.told_by_target(chunk, server);
                self.held_by(chunk, claim, is_report, out);
                self.move_arrived(chunk, server, now);
                self.log_touched(chunk, now);
                self.inspect(chunk, now);
            }
            ReplicaEvent::LogHeld { chunk, version, ended } => {
                self.log_held(by, (chunk, version), ended, is_report, now, out);
            }
            ReplicaEvent::Lost { chunk, version } => {
                self.log_touched(chunk, now);
                let sealed = self.sealed(chunk);
                self.repairs.told_by_target(chunk, server);
                self.replicas.broke(chunk, by, &self.servers);
                self.replicas.lost(chunk, server, version, sealed.as_ref());
                if matches!(self.durable.chunk(chunk), ChunkState::Open) {
                    self.replicas.lost_open(chunk, by);
                }
                self.move_lost(chunk, server, now);
                self.inspect(chunk, now);
            }
            ReplicaEvent::Broken { chunk, version } => {
                let is_it = |sealed: &SealedState| sealed.version == version;
                let has_good = self.replicas.all_holders(chunk).contains(&by);
                if self.sealed(chunk).as_ref().is_some_and(is_it) && !has_good {
                    self.keeps_broken(chunk, by, now);
                }
            }
            ReplicaEvent::Verified { chunk, version, whole } => {
                self.verified(by, (chunk, version), whole, now);
            }
            ReplicaEvent::CopyEnded { chunk, command, done } => {
                self.copy_ended(server, (chunk, command), done, now);
            }
        }
    }

    /// A server has reported everything: drops replicas that only others claimed it has.
    fn drop_unconfirmed(&mut self, server: ServerId, now: Monotonic) {
        for chunk in self.replicas.unconfirmed(server) {
            let Some(sealed) = self.sealed(chunk) else { continue };
            self.replicas.lost(chunk, server, sealed.version, Some(&sealed));
            self.move_lost(chunk, server, now);
            self.inspect(chunk, now);
        }
    }

    fn held_by(&mut self, chunk: ChunkId, claim: Claim, is_report: bool, out: &mut Output) {
        let Claim { by: Holder { server, .. }, version, .. } = claim;
        match self.durable.chunk(chunk) {
            ChunkState::Open => self.replicas.claim(chunk, claim, None, &self.servers),
            ChunkState::Sealed(sealed) => {
                self.replicas.claim(chunk, claim, Some(&sealed), &self.servers);
                if !claim.matches(&sealed) {
                    let host = self.servers.host(server).clone();
                    out.effects.push(Effect::Tell(Notice::StaleReplica { host, chunk }));
                }
            }
            ChunkState::Garbage => self.handle_garbage(server, (chunk, version), is_report),
            ChunkState::Foreign => {
                let host = self.servers.host(server).clone();
                self.found_foreign(&host, chunk, out);
            }
        }
    }

    pub(super) fn sealed(&self, chunk: ChunkId) -> Option<SealedState> {
        match self.durable.chunk(chunk) {
            ChunkState::Sealed(sealed) => Some(sealed),
            ChunkState::Open | ChunkState::Garbage | ChunkState::Foreign => None,
        }
    }
}
