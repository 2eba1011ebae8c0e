//! Logs: which chunk of each is open, and that it ends when one of its servers fails. The chunks
//! themselves are written by their primaries; how one ends is settled among its servers
//! (`crate::log`), and the first of them to report it here is believed.
//!
//! A chunk whose primary has not begun holds nothing that was acknowledged, and is given up if it
//! fails. One that has begun is ended by the servers that are left: the master tells one of them
//! to, then another, until it is done.

use std::collections::BTreeMap;

use chunkstore_protocol::{
    Allocation, BeginLog, BegunLog, ChunkId, CreateLog, EndLog, FileId, OpenLog, OpenLogChunk,
    OpenedLog, SealedChunk, ServerAddress, ServerCommand, StorePath, Version,
};
use ids::{HostName, Monotonic, Now, UnixMillis};

use super::deadlines::Deadlines;
use super::durable::{ChunkState, OpenChunk};
use super::error::FsError;
use super::files::Order;
use super::layout::File;
use super::record::{Record, Sealed, Stamp};
use super::replicas::Claim;
use super::servers::{Holder, ServerId};
use super::{Effect, Master, Notice, Output, Reply};

/// Log chunks that servers are told to end in one call.
const ENDS_PER_CALL: usize = 100;
/// If a server has not ended a chunk after this many heartbeats, another one is told to.
const END_HEARTBEATS: u32 = 3;

/// A request about a log that carries no stamp: repeating it is safe, and gives the same answer or
/// the next thing to do.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "each variant is its request's name; the protocol documents those")]
pub enum LogRequest {
    Open(OpenLog),
    Begin(BeginLog),
    End(EndLog),
}

/// Logs whose open chunks are to be ended. Soft: after a restart, missing servers are noticed
/// again.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ends {
    due: Deadlines<FileId>,
    /// When a server may be told again to end a chunk; until then, the one that was told may be
    /// busy with it.
    again: BTreeMap<FileId, Monotonic>,
    /// Servers that failed at the end of a chunk, and until when they get no new ones if others
    /// can.
    suspects: BTreeMap<HostName, Monotonic>,
    /// Number of commands to end a chunk so far.
    n_told: usize,
}

impl Ends {
    /// When the next is due.
    pub(crate) fn next(&self) -> Option<Monotonic> {
        self.due.next()
    }

    /// The log's chunk has ended.
    pub(crate) fn remove(&mut self, log: FileId) {
        self.due.remove(log);
        self.again.remove(&log);
    }

    /// Suspects a server. There are at most as many suspects as servers.
    fn suspect(&mut self, host: HostName, until: Monotonic) {
        self.suspects.insert(host, until);
    }

    fn suspects(&mut self, now: Monotonic) -> Vec<HostName> {
        self.suspects.retain(|_, until| *until > now);
        self.suspects.keys().cloned().collect()
    }

    fn soon(&mut self, log: FileId, at: Monotonic) {
        let at = self.again.get(&log).map_or(at, |again| at.max(*again));
        if self.due.get(log).is_none_or(|before| before > at) {
            self.due.set(log, at);
        }
    }
}

impl Master {
    pub(super) fn plan_create_log(
        &mut self,
        at: UnixMillis,
        stamp: &Stamp,
        owner: &str,
        request: &CreateLog,
    ) -> Result<Record, FsError> {
        let CreateLog { stamp: _, path, parents, replication, chunk_bytes } = request;
        let replication = self.replication(*replication)?;
        let chunk_bytes = self.chunk_bytes(*chunk_bytes)?;
        let owner = self.admitted(owner)?;
        let spot = self.spot(path, *parents)?;
        let (parent, folders, name) = (spot.parent, spot.folders, spot.name.to_owned());
        let (file, stamp) = (self.next_file_after(&folders), stamp.clone());
        Ok(Record::LogCreated {
            stamp,
            at,
            parent,
            folders,
            name,
            file,
            replication,
            chunk_bytes,
            owner,
        })
    }

    pub(super) fn log_request(
        &mut self,
        now: Now,
        request: &LogRequest,
        out: &mut Output,
    ) -> Result<Reply, FsError> {
        self.leave_to_change()?;
        match request {
            LogRequest::Open(request) => self.open_log(now, request, out).map(Reply::OpenedLog),
            LogRequest::Begin(request) => self.begin_log(now, request, out).map(Reply::BegunLog),
            LogRequest::End(request) => self.end_log(now, request, out).map(|()| Reply::Done),
        }
    }

    fn open_log(
        &mut self,
        now: Now,
        request: &OpenLog,
        out: &mut Output,
    ) -> Result<OpenedLog, FsError> {
        let OpenLog { path, failed, exclude, writer_host } = request;
        let id = self.find(path)?;
        let file = self.durable.namespace().file(id);
        let file = file.ok_or_else(|| FsError::IsAFolder { path: path.clone() })?;
        if !file.log {
            return Err(FsError::NotALog { path: path.clone() });
        }
        let (replication, chunk_bytes) = (file.replication, file.chunk_bytes());
        if let Some(open) = self.durable.open_log(id).filter(|open| *failed == Some(open.chunk)) {
            match open.begun {
                Some(_) => self.ends.soon(id, now.monotonic),
                None => {
                    let at = now.wall;
                    self.commit(now, Record::LogChunkEnded { at, file: id, sealed: None }, out);
                }
            }
        }
        if self.durable.open_log(id).is_none() {
            let suspects = self.ends.suspects(now.monotonic);
            let exclude = &[exclude.as_slice(), &suspects].concat();
            let writer_host = writer_host.as_ref();
            let order = Order { path, replication, chunk_bytes, exclude, writer_host };
            let allotted = self.allot(&order)?;
            self.commit(now, Record::LogChunkAllotted { file: id, allotted }, out);
        }
        let open =
            self.durable.open_log(id).ok_or_else(|| FsError::NotALog { path: path.clone() })?;
        Ok(OpenedLog {
            file: id,
            chunk_bytes,
            allocation: Allocation {
                chunk: open.chunk,
                version: open.version,
                pipeline: open.servers.clone(),
                token: String::new(),
            },
        })
    }

    fn begin_log(
        &mut self,
        now: Now,
        request: &BeginLog,
        out: &mut Output,
    ) -> Result<BegunLog, FsError> {
        let BeginLog { chunk, version, beginning, made } = *request;
        let (log, open) = self.log_of(chunk, version)?;
        match open.begun {
            Some(before) if before != beginning || !made => {
                return Err(FsError::LogEnded { chunk });
            }
            None if made => {
                let begun = Record::LogChunkBegun { file: log, beginning, at: now.wall };
                self.commit(now, begun, out);
            }
            Some(_) | None => {}
        }
        let file = self.durable.namespace().file(log);
        let chunk_bytes = file.ok_or(FsError::LogEnded { chunk })?.chunk_bytes();
        Ok(BegunLog { chunk_bytes })
    }

    fn end_log(&mut self, now: Now, request: &EndLog, out: &mut Output) -> Result<(), FsError> {
        let EndLog { chunk, version, sealed, failed } = request;
        let (log, open) = self.log_of(*chunk, *version)?;
        let path = self.durable.namespace().path_of(log);
        let path = path.ok_or(FsError::LogEnded { chunk: *chunk })?;
        if let Some(sealed) = sealed {
            self.check_sealed(&path, log, open, sealed)?;
        } else if open.begun.is_some() && !failed.is_empty() {
            // A primary could not begin again: how its chunk ends, its servers must settle.
            self.ends.soon(log, now.monotonic);
            return Err(FsError::LogEnded { chunk: *chunk });
        }
        let is_there = |host: &HostName| sealed.as_ref().is_none_or(|it| it.servers.contains(host));
        let absent = open.servers.iter().map(|server| &server.host);
        let failed: Vec<_> =
            absent.filter(|host| failed.contains(host) || !is_there(host)).cloned().collect();
        let until = now.monotonic + self.settings.dead_after;
        failed.into_iter().for_each(|host| self.ends.suspect(host, until));
        let record = Record::LogChunkEnded {
            at: now.wall,
            file: log,
            sealed: sealed.as_ref().map(Sealed::from),
        };
        self.commit(now, record, out);
        if let Some(sealed) = sealed {
            self.learn(sealed, now.monotonic);
        }
        Ok(())
    }

    fn log_of(&self, chunk: ChunkId, version: Version) -> Result<(FileId, &OpenChunk), FsError> {
        let found = self.durable.log_of(chunk).filter(|(_, open)| open.version == version);
        found.ok_or(FsError::LogEnded { chunk })
    }

    fn check_sealed(
        &self,
        path: &StorePath,
        log: FileId,
        open: &OpenChunk,
        sealed: &SealedChunk,
    ) -> Result<(), FsError> {
        let (path, chunk, length) = (path.clone(), sealed.chunk, sealed.length);
        if (chunk, sealed.version) != (open.chunk, open.version) {
            return Err(FsError::NotAllotted { path, chunk });
        }
        let max = self.durable.namespace().file(log).map_or(0, File::chunk_bytes);
        if !(1..=max).contains(&length) {
            return Err(FsError::BadChunkLength { path, chunk, length, max });
        }
        if let Some(host) = sealed.servers.iter().find(|host| !open.is_on(host)) {
            return Err(FsError::NotInPipeline { path, chunk, host: host.clone() });
        }
        match sealed.servers.is_empty() {
            true => Err(FsError::TooFewReplicas { path, chunk, on: Vec::new(), needed: 1 }),
            false => Ok(()),
        }
    }

    /// What readers are told of a log's open chunk.
    pub(super) fn open_log_chunk(&self, log: FileId) -> Option<OpenLogChunk> {
        let open = self.durable.open_log(log)?;
        let primary = open.begun.and_then(|_| self.now_at(open.servers.first()?));
        let (chunk, version) = (open.chunk, open.version);
        Some(OpenLogChunk { chunk, version, primary, token: String::new() })
    }

    /// Whether servers were told to end the log's open chunk and have not done so.
    pub(super) fn has_been_ended_in_vain(&self, log: FileId) -> bool {
        self.ends.again.contains_key(&log)
    }

    /// The current address of a server that a chunk was allotted on.
    fn now_at(&self, allotted: &ServerAddress) -> Option<ServerAddress> {
        let now = self.servers.by_host(&allotted.host).map(|by| self.servers.address(by.server));
        Some(now.unwrap_or_else(|| allotted.clone()))
    }

    /// A server reports a replica of a log's open chunk.
    pub(super) fn log_held(
        &mut self,
        by: Holder,
        (chunk, version): (ChunkId, Version),
        ended: bool,
        is_report: bool,
        now: Monotonic,
        out: &mut Output,
    ) {
        let claim = Claim { by, version, length: 0, checksum: 0 };
        match self.durable.chunk(chunk) {
            ChunkState::Open => {
                self.replicas.claim(chunk, claim, None, &self.servers);
                if ended && let Some((log, _)) = self.durable.log_of(chunk) {
                    self.ends.soon(log, now);
                }
            }
            // The server that sealed the chunk may have reported it before this one did.
            ChunkState::Sealed(_) if self.replicas.all_holders(chunk).contains(&by) => {
                self.replicas.had_it_open(chunk, by.server);
            }
            ChunkState::Sealed(sealed) => {
                self.replicas.claim(chunk, claim, Some(&sealed), &self.servers);
                self.inspect(chunk, now);
            }
            ChunkState::Garbage => self.handle_garbage(by.server, (chunk, version), is_report),
            ChunkState::Foreign => {
                let host = self.servers.host(by.server).clone();
                self.found_foreign(&host, chunk, out);
            }
        }
    }

    /// A server of an open chunk has sealed or lost it. Unless the end is reported meanwhile, the
    /// chunk is ended.
    pub(super) fn log_touched(&mut self, chunk: ChunkId, now: Monotonic) {
        if let Some((log, OpenChunk { begun: Some(_), .. })) = self.durable.log_of(chunk) {
            self.ends.soon(log, now + self.tick());
        }
    }

    /// A server's report is complete: ends the log chunks that it should have and has not.
    pub(super) fn check_logs_on(&mut self, by: Holder, now: Monotonic) {
        let host = self.servers.host(by.server).clone();
        let replicas = &self.replicas;
        let missing = |open: &OpenChunk| !replicas.is_claimed_by(open.chunk, by);
        let missed = self.begun_logs_on(&host).filter(|(_, open)| missing(open));
        for log in missed.map(|(log, _)| log).collect::<Vec<_>>() {
            self.ends.soon(log, now);
        }
    }

    /// A server is dead, or is to be emptied: ends the log chunks on it.
    pub(super) fn end_logs_on(&mut self, host: &HostName, now: Monotonic) {
        for log in self.begun_logs_on(host).map(|(log, _)| log).collect::<Vec<_>>() {
            self.ends.soon(log, now);
        }
    }

    /// Ends the log chunks on servers that are missing after a start, which have no death to be
    /// noticed by.
    pub(super) fn end_logs_on_missing(&mut self, now: Monotonic) {
        let is_live = |server: &ServerAddress| self.servers.is_live_host(&server.host);
        let logs = self.durable.open_logs();
        let missing =
            logs.filter(|(_, open)| open.begun.is_some() && !open.servers.iter().all(is_live));
        for log in missing.map(|(log, _)| log).collect::<Vec<_>>() {
            self.ends.soon(log, now);
        }
    }

    fn begun_logs_on(&self, host: &HostName) -> impl Iterator<Item = (FileId, &OpenChunk)> {
        let logs = self.durable.open_logs();
        logs.filter(move |(_, open)| open.begun.is_some() && open.is_on(host))
    }

    /// Logs whose open chunks no server but this one may still have.
    fn logs_left_to(&self, host: &HostName) -> impl Iterator<Item = FileId> {
        let is_other =
            move |it: &ServerAddress| it.host != *host && self.durable.known().contains(&it.host);
        let left = self.begun_logs_on(host);
        left.filter(move |(_, open)| !open.servers.iter().any(is_other)).map(|(log, _)| log)
    }

    /// The path of one of these logs.
    pub(super) fn log_left_to(&self, host: &HostName) -> Option<StorePath> {
        self.logs_left_to(host).find_map(|log| self.durable.namespace().path_of(log))
    }

    /// Gives all their open chunks up.
    pub(super) fn give_up_logs_left_to(&mut self, now: Now, host: &HostName, out: &mut Output) {
        for log in self.logs_left_to(host).collect::<Vec<_>>() {
            self.give_up_log_chunk(now, log, out);
        }
    }

    /// Gives up a log's open chunk: no server has it, and none will come back with it.
    fn give_up_log_chunk(&mut self, now: Now, log: FileId, out: &mut Output) {
        let open = self.durable.open_log(log).map(|open| open.chunk);
        if let Some((chunk, path)) = open.zip(self.durable.namespace().path_of(log)) {
            out.effects.push(Effect::Tell(Notice::LogChunkLost { path, chunk }));
        }
        self.commit(now, Record::LogChunkEnded { at: now.wall, file: log, sealed: None }, out);
    }

    /// Tells servers to end the chunks that are due.
    pub(super) fn pass_ends(&mut self, now: Now, out: &mut Output) {
        for _ in 0..ENDS_PER_CALL {
            let Some(log) = self.ends.due.pop_passed(now.monotonic) else { return };
            let Some(open) = self.durable.open_log(log).cloned() else {
                self.ends.remove(log);
                continue;
            };
            if open.servers.iter().all(|server| !self.durable.known().contains(&server.host)) {
                self.give_up_log_chunk(now, log, out);
                continue;
            }
            self.tell_to_end(&open);
            let again = now.monotonic + self.tick() * END_HEARTBEATS;
            self.ends.again.insert(log, again);
            self.ends.due.set(log, again);
        }
    }

    /// The live servers of a chunk take turns: one may be alive and still unable to end it.
    fn tell_to_end(&mut self, open: &OpenChunk) {
        let live = |server: &&ServerAddress| self.servers.is_live_host(&server.host);
        let live: Vec<ServerId> = open
            .servers
            .iter()
            .filter(live)
            .filter_map(|server| self.servers.by_host(&server.host))
            .map(|by| by.server)
            .collect();
        if live.is_empty() {
            return;
        }
        // The chunk's end does not wait for servers that were forgotten.
        let known = open.servers.iter().filter(|it| self.durable.known().contains(&it.host));
        let servers = known.filter_map(|server| self.now_at(server)).collect();
        let (chunk, version) = (open.chunk, open.version);
        let command = ServerCommand::EndLog { chunk, version, servers, sealed: None };
        self.servers.command(live[self.ends.n_told % live.len()], command);
        self.ends.n_told += 1;
    }
}
