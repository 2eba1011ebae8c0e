//! Writes one file with the real writer core, as the client library does: creates it, sends each
//! chunk through its pipeline, after failures again and elsewhere, and closes it; meanwhile the
//! lease is renewed.

use std::time::Duration;

use chunkstore_core::master::{Mutation, Refusal, Reply};
use chunkstore_core::replica::ReplicaKey;
use chunkstore_core::writer::{Lease, Next, Sent, ServerFailure, Writer};
use chunkstore_protocol::{
    Append, Create, FileId, IfWriterDies, ProblemKind, Renew, SealedChunk, StorePath,
};
use ids::{Monotonic, RequestStamp};

use super::recovery::Recovery;
use super::{Client, Outcome, RETRY_FOR, Task};
use crate::store::content::{Content, checksum, length, units};
use crate::store::ground::{Answer, Ask, Event, Ground, Item, StreamId, Timer, Who, pieces};
use crate::store::invariants::Watch;
use crate::store::server::number;

/// How long a writer waits for a pipeline after the end of a chunk.
const STALL_LIMIT: Duration = Duration::from_secs(5);

/// What the writer is waiting for.
#[derive(Debug)]
pub(super) enum Phase {
    Opening {
        since: Option<Monotonic>,
    },
    /// The chunk's pieces are on their way; `n_sent` counts the units that have been sent.
    Sending {
        stream: StreamId,
        n_sent: usize,
    },
    /// The whole chunk has been sent.
    Sealing {
        stream: StreamId,
    },
    /// The servers of a broken pipeline are being asked what they have, or to seal it.
    Recovering(Recovery),
    /// Before the next chunk, or another try of the same one.
    Between,
    Allocating,
    Closing,
    Abandoning,
}

/// How a file is opened.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Opening {
    Create {
        replication: u8,
        if_writer_dies: IfWriterDies,
    },
    /// Opens a closed file to append to it.
    Append,
}

/// A file that is being written.
pub(crate) struct Writing {
    path: StorePath,
    /// What this writer adds to it.
    pub(super) content: Content,
    opening: Opening,
    pub(super) core: Option<Writer>,
    lease: Option<Lease>,
    lost: bool,
    pub(super) phase: Phase,
    /// The units in the chunks that are sealed.
    pub(super) n_sealed: usize,
}

impl Writing {
    pub(super) fn path(&self) -> &StorePath {
        &self.path
    }

    /// The units of the current chunk.
    pub(super) fn chunk(&self) -> &[crate::store::content::Unit] {
        let limit = self.core.as_ref().map_or(0, |core| units(core.chunk_bytes()));
        let end = (self.n_sealed + limit).min(self.content.len());
        &self.content[self.n_sealed..end]
    }

    /// The request that opens the file.
    fn request(&self, stamp: RequestStamp) -> Mutation {
        let (path, writer_host) = (self.path.clone(), None);
        match self.opening {
            Opening::Create { replication, if_writer_dies } => Mutation::Create(Create {
                stamp,
                path,
                parents: true,
                replication: Some(replication),
                chunk_bytes: None,
                writer_host,
                if_writer_dies,
            }),
            Opening::Append => Mutation::Append(Append { stamp, path, writer_host }),
        }
    }

    fn sent(&self) -> Sent {
        let chunk = self.chunk();
        Sent { length: length(chunk), checksum: checksum(chunk) }
    }
}

impl Client {
    pub(super) fn open(
        &mut self,
        ground: &mut Ground,
        watch: &mut Watch,
        path: StorePath,
        n_units: usize,
        opening: Opening,
    ) {
        let content = self.fresh(n_units);
        self.task = Task::Writing(Box::new(Writing {
            path,
            content,
            opening,
            core: None,
            lease: None,
            lost: false,
            phase: Phase::Opening { since: None },
            n_sealed: 0,
        }));
        self.write_step(ground, watch);
    }

    /// Takes the next step; no answer is on its way.
    pub(super) fn write_step(&mut self, ground: &mut Ground, watch: &mut Watch) {
        let stamp = self.stamp(ground);
        let Task::Writing(writing) = &mut self.task else { return };
        let request = match (&writing.phase, &writing.core) {
            (Phase::Opening { .. }, _) => writing.request(stamp),
            (Phase::Sending { .. }, Some(_)) => return self.send_piece(ground),
            (Phase::Sealing { .. } | Phase::Recovering(_), _) => return,
            (_, None) => return self.rest(ground),
            (_, Some(core)) if writing.lost => {
                let _gone = core;
                return self.rest(ground);
            }
            (Phase::Abandoning, Some(core)) => Mutation::Abandon(core.abandon(stamp)),
            (Phase::Closing, Some(core)) => Mutation::Close(core.close(stamp)),
            (Phase::Between | Phase::Allocating, Some(core)) => {
                if writing.chunk().is_empty() {
                    writing.phase = Phase::Closing;
                    Mutation::Close(core.close(stamp))
                } else if core.allocation().is_some() {
                    return self.begin_chunk(ground);
                } else {
                    writing.phase = Phase::Allocating;
                    Mutation::Allocate(core.allocate(stamp))
                }
            }
        };
        self.mutate(ground, watch, request);
    }

    /// The master has answered a request of the writer.
    pub(super) fn write_on(&mut self, ground: &mut Ground, watch: &mut Watch, outcome: Outcome) {
        let now = ground.now().monotonic;
        let host_less = None;
        let Task::Writing(writing) = &mut self.task else { return };
        match outcome {
            Outcome::Done(Reply::Created(created)) => {
                watch.see_intent(created.file, &self.id, &writing.content);
                let length = Duration::from_millis(created.lease_ms);
                let lease = Lease::new(now, length, super::CALL_LIMIT);
                writing.core = Some(Writer::new(&created, host_less, RETRY_FOR));
                writing.lease = Some(lease);
                writing.phase = Phase::Between;
                self.renew_at(ground, lease.poll_timeout());
                self.write_step(ground, watch);
            }
            Outcome::Done(Reply::Allocated(allocation)) => {
                if let Some(core) = &mut writing.core {
                    core.handle_allocated(allocation);
                }
                self.write_step(ground, watch);
            }
            Outcome::Refused(refusal) if has_no_servers(&refusal) => {
                let starting = refusal.kind() == ProblemKind::Starting;
                self.no_servers(ground, watch, starting);
            }
            // Closed or abandoned; or refused for good; or nobody knows, and the lease will expire.
            Outcome::Done(_) | Outcome::Refused(_) | Outcome::Silence => self.rest(ground),
        }
    }

    fn no_servers(&mut self, ground: &mut Ground, watch: &mut Watch, starting: bool) {
        let now = ground.now().monotonic;
        let Task::Writing(writing) = &mut self.task else { return };
        match (&mut writing.phase, &mut writing.core) {
            (Phase::Opening { since }, _) => {
                let since = *since.get_or_insert(now);
                match now.since(since) < RETRY_FOR {
                    true => self.step_after(ground, Duration::from_millis(500)),
                    false => self.rest(ground),
                }
            }
            (_, Some(core)) => {
                let next = core.handle_no_servers(now, starting);
                self.follow(ground, watch, next);
            }
            (_, None) => self.rest(ground),
        }
    }

    pub(super) fn follow(&mut self, ground: &mut Ground, watch: &mut Watch, next: Next) {
        let n_chunk = match &self.task {
            Task::Writing(writing) => writing.chunk().len(),
            _ => return,
        };
        let now = ground.now().monotonic;
        let Task::Writing(writing) = &mut self.task else { return };
        writing.phase = Phase::Between;
        match next {
            Next::Sealed => {
                writing.n_sealed += n_chunk;
                self.write_step(ground, watch);
            }
            Next::Recover => self.recover(ground, watch),
            Next::Seal { length, on } => self.seal_at(ground, watch, length, &on),
            Next::Allocate { not_before } => self.step_after(ground, not_before.since(now)),
            Next::GiveUp(why) => {
                writing.phase = Phase::Abandoning;
                ground.say(format_args!("client-{} gives up: {why}", self.n));
                self.write_step(ground, watch);
            }
        }
    }

    fn begin_chunk(&mut self, ground: &mut Ground) {
        let who = self.who();
        let Task::Writing(writing) = &mut self.task else { return };
        let Some(allocation) = writing.core.as_ref().and_then(Writer::allocation) else { return };
        let mut pipeline = allocation.pipeline.iter().map(|server| number(&server.host));
        let replica = ReplicaKey { chunk: allocation.chunk, version: allocation.version };
        let Some(head) = pipeline.next() else { return };
        let downstream = pipeline.collect();
        let put = Item::Put { replica, downstream, passed_on: false, is_copy: false };
        let stream = ground.open(who, head, put);
        writing.phase = Phase::Sending { stream, n_sent: 0 };
        self.send_piece(ground);
    }

    fn send_piece(&mut self, ground: &mut Ground) {
        let (who, life) = (self.who(), self.life);
        let Task::Writing(writing) = &mut self.task else { return };
        let Phase::Sending { stream, n_sent } = writing.phase else { return };
        let piece = pieces(&writing.chunk()[n_sent..]).next();
        if let Some(piece) = piece {
            writing.phase = Phase::Sending { stream, n_sent: n_sent + piece.len() };
            ground.send(stream, Item::Data(piece));
            let pause = ground.random.millis(0..3);
            return self.step_after(ground, pause);
        }
        ground.send(stream, Item::End(writing.sent().checksum));
        writing.phase = Phase::Sealing { stream };
        let timer = Timer::Patience(stream);
        ground.after(STALL_LIMIT, Event::Woken { who, life, timer });
    }

    /// The pipeline has sealed the chunk, or it has failed.
    pub(super) fn uploaded(
        &mut self,
        ground: &mut Ground,
        watch: &mut Watch,
        from: StreamId,
        answer: Result<SealedChunk, &'static str>,
    ) {
        let Task::Writing(writing) = &mut self.task else { return };
        let sent = match writing.phase {
            Phase::Sealing { stream } if stream == from => writing.sent(),
            // An answer before the end can only be a failure, as the chunk has not been sent in
            // full.
            Phase::Sending { stream, .. } if stream == from => Sent { length: 0, checksum: 0 },
            _ => return,
        };
        let Some(core) = &mut writing.core else { return };
        let head = core.allocation().and_then(|it| it.pipeline.first()).map(|it| it.host.clone());
        let Some(host) = head else { return };
        let outcome = answer.map_err(|why| ServerFailure { host, reason: why.to_owned() });
        let next = core.handle_uploaded(sent, outcome);
        self.follow(ground, watch, next);
    }

    pub(super) fn stalled(&mut self, ground: &mut Ground, watch: &mut Watch, stream: StreamId) {
        ground.break_off(stream);
        self.uploaded(ground, watch, stream, Err("did not seal in time"));
    }

    fn renew_at(&mut self, ground: &mut Ground, at: Monotonic) {
        let (who, life) = (self.who(), self.life);
        ground.at(at, Event::Woken { who, life, timer: Timer::Renew });
    }

    pub(super) fn open_file(&self) -> Option<FileId> {
        match &self.task {
            Task::Writing(writing) if !writing.lost => writing.core.as_ref().map(Writer::file),
            _ => None,
        }
    }

    pub(super) fn renew(&mut self, ground: &mut Ground) {
        let now = ground.now().monotonic;
        let due = match &self.task {
            Task::Writing(writing) => writing.lease.map(|lease| lease.poll_timeout()),
            _ => None,
        };
        // Timers of earlier files arrive here too.
        let is_due = self.renewing.is_none() && due.is_some_and(|due| due <= now);
        let Some(file) = self.open_file().filter(|_| is_due) else { return };
        let request = Renew { client: self.id.clone(), files: vec![file], wait_ms: 0 };
        let ask = Ask::Query(chunkstore_core::master::Query::Renew(request));
        let call = ground.call(self.who(), Who::Master, &ask, super::CALL_LIMIT);
        self.renewing = Some(call);
    }

    pub(super) fn renewed(&mut self, ground: &mut Ground, answer: Option<Answer>) {
        self.renewing = None;
        let now = ground.now().monotonic;
        let Task::Writing(writing) = &mut self.task else { return };
        let Some(lease) = &mut writing.lease else { return };
        match answer {
            Some(Answer::Master(answer)) => match *answer {
                Ok(_) => lease.handle_renewed(now),
                Err(refusal) if refusal.kind() == ProblemKind::LeaseLost => {
                    writing.lost = true;
                    return;
                }
                Err(_) => lease.handle_silent(now),
            },
            Some(_) | None => lease.handle_silent(now),
        }
        let due = lease.poll_timeout();
        self.renew_at(ground, due);
    }
}

fn has_no_servers(refusal: &Refusal) -> bool {
    matches!(refusal.kind(), ProblemKind::NoServers | ProblemKind::Starting)
}
