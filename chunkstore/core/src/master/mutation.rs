//! Requests that change something, and what they have in common. What each leads to is planned
//! elsewhere, as in `files.rs` and `tree.rs`; `Master::mutate` and the daemon's HTTP layer call
//! this.

use chunkstore_protocol::{
    Abandon, Allocate, Allocation, Append, Close, Concat, Copy, Create, CreateLog, Created, Delete,
    DrainServer, ForgetServer, Mkdir, Publish, Rename, SealedChunk, SetOwner, SetReplication,
};
use ids::{Now, RequestStamp};
use serde::Serialize;

use super::error::FsError;
use super::record::{Allotted, Record, RequestDigest, Stamp};
use super::replies::{CachedReply, Seen};
use super::rights::Authority;
use super::{Master, Output, Reply, millis};

/// Who sent a request, as the HTTP layer knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asker {
    /// The digest of the whole request.
    pub digest: RequestDigest,
    /// Who asks, and who will own what the request makes.
    pub owner: String,
    /// What they may change.
    pub may: Authority,
}

/// A stamped request: carried out once, however often it is sent.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[allow(missing_docs, reason = "each variant is its request's name; the protocol documents those")]
pub enum Mutation {
    Create(Create),
    Append(Append),
    CreateLog(CreateLog),
    Allocate(Allocate),
    Close(Close),
    Abandon(Abandon),
    Mkdir(Mkdir),
    Rename(Rename),
    Copy(Copy),
    Concat(Concat),
    SetReplication(SetReplication),
    SetOwner(SetOwner),
    Delete(Delete),
    Publish(Publish),
    Drain(DrainServer),
    Forget(ForgetServer),
}

impl Mutation {
    pub(super) fn stamp(&self) -> &RequestStamp {
        match self {
            Self::Create(request) => &request.stamp,
            Self::Append(request) => &request.stamp,
            Self::CreateLog(request) => &request.stamp,
            Self::Allocate(request) => &request.stamp,
            Self::Close(request) => &request.stamp,
            Self::Abandon(request) => &request.stamp,
            Self::Mkdir(request) => &request.stamp,
            Self::Rename(request) => &request.stamp,
            Self::Copy(request) => &request.stamp,
            Self::Concat(request) => &request.stamp,
            Self::SetReplication(request) => &request.stamp,
            Self::SetOwner(request) => &request.stamp,
            Self::Delete(request) => &request.stamp,
            Self::Publish(request) => &request.stamp,
            Self::Drain(request) => &request.stamp,
            Self::Forget(request) => &request.stamp,
        }
    }

    /// The request's stamp; the HTTP layer qualifies its client with the caller.
    pub fn stamp_mut(&mut self) -> &mut RequestStamp {
        match self {
            Self::Create(request) => &mut request.stamp,
            Self::Append(request) => &mut request.stamp,
            Self::CreateLog(request) => &mut request.stamp,
            Self::Allocate(request) => &mut request.stamp,
            Self::Close(request) => &mut request.stamp,
            Self::Abandon(request) => &mut request.stamp,
            Self::Mkdir(request) => &mut request.stamp,
            Self::Rename(request) => &mut request.stamp,
            Self::Copy(request) => &mut request.stamp,
            Self::Concat(request) => &mut request.stamp,
            Self::SetReplication(request) => &mut request.stamp,
            Self::SetOwner(request) => &mut request.stamp,
            Self::Delete(request) => &mut request.stamp,
            Self::Publish(request) => &mut request.stamp,
            Self::Drain(request) => &mut request.stamp,
            Self::Forget(request) => &mut request.stamp,
        }
    }

    pub(super) fn sealed(&self) -> Option<&SealedChunk> {
        match self {
            Self::Allocate(request) => request.sealed.as_ref(),
            Self::Close(request) => request.sealed.as_ref(),
            Self::Create(_)
            | Self::Append(_)
            | Self::CreateLog(_)
            | Self::Abandon(_)
            | Self::Mkdir(_)
            | Self::Rename(_)
            | Self::Copy(_)
            | Self::Concat(_)
            | Self::SetReplication(_)
            | Self::SetOwner(_)
            | Self::Delete(_)
            | Self::Publish(_)
            | Self::Drain(_)
            | Self::Forget(_) => None,
        }
    }
}

impl Master {
    /// Carries out a request, once.
    pub(super) fn mutate(
        &mut self,
        now: Now,
        asker: &Asker,
        request: &Mutation,
        out: &mut Output,
    ) -> Result<Reply, FsError> {
        let stamp = &Stamp::new(request.stamp(), asker.digest);
        match self.durable.replies().seen(stamp) {
            Seen::Same(reply) => return Ok(self.reply(reply)),
            Seen::Reused => return Err(FsError::StampReused { sequence: stamp.sequence }),
            Seen::Older { last } => {
                return Err(FsError::StaleRequest { sequence: stamp.sequence, last });
            }
            Seen::New => {}
        }
        self.leave_to_change()?;
        self.check_rights(asker, request)?;
        let records = self.plan(now, stamp, &asker.owner, request)?;
        if let Mutation::Forget(ForgetServer { host, lose_records: true, .. }) = request {
            // Before the server is forgotten: if it comes back at once, it must not be one that a
            // log waits for.
            self.give_up_logs_left_to(now, host, out);
        }
        for record in records {
            self.commit(now, record, out);
        }
        if let Some(sealed) = request.sealed() {
            self.learn(sealed, now.monotonic);
        }
        // The first answer and that of a retry are both made from the stored reply.
        Ok(match self.durable.replies().seen(stamp) {
            Seen::Same(reply) => self.reply(reply),
            Seen::New | Seen::Reused | Seen::Older { .. } => Reply::Done,
        })
    }

    /// The records that carry out a request; none if everything is already as it asks.
    fn plan(
        &mut self,
        now: Now,
        stamp: &Stamp,
        owner: &str,
        request: &Mutation,
    ) -> Result<Vec<Record>, FsError> {
        let at = now.wall;
        match request {
            Mutation::Create(request) => {
                self.plan_create(at, stamp, owner, request).map(|r| vec![r])
            }
            Mutation::Append(request) => self.plan_append(at, stamp, request).map(|r| vec![r]),
            Mutation::CreateLog(request) => {
                self.plan_create_log(at, stamp, owner, request).map(|r| vec![r])
            }
            Mutation::Allocate(request) => self.plan_allocate(at, stamp, request).map(|r| vec![r]),
            Mutation::Close(request) => self.plan_close(at, stamp, request).map(|r| vec![r]),
            Mutation::Abandon(request) => self.plan_abandon(at, stamp, request).map(|r| vec![r]),
            Mutation::Mkdir(request) => self.plan_mkdir(at, stamp, owner, request),
            Mutation::Rename(request) => self.plan_rename(at, stamp, request),
            Mutation::Copy(request) => self.plan_copy(at, stamp, owner, request).map(|r| vec![r]),
            Mutation::Concat(request) => {
                self.plan_concat(at, stamp, owner, request).map(|r| vec![r])
            }
            Mutation::SetReplication(request) => self.plan_set_replication(stamp, request),
            Mutation::SetOwner(request) => self.plan_set_owner(at, stamp, request).map(|r| vec![r]),
            Mutation::Delete(request) => {
                self.plan_delete(at, stamp, owner, request).map(|r| vec![r])
            }
            Mutation::Publish(request) => self.plan_publish(at, stamp, owner, request),
            Mutation::Drain(request) => self.plan_drain(stamp, request),
            Mutation::Forget(request) => Ok(vec![self.plan_forget(stamp, request)?]),
        }
    }

    fn reply(&self, cached: &CachedReply) -> Reply {
        let allocation = |allotted: &Allotted| {
            let Allotted { chunk, version, pipeline } = allotted.clone();
            Allocation { chunk, version, pipeline, token: String::new() }
        };
        match cached {
            CachedReply::Created { file, replication, chunk_bytes, allotted } => {
                Reply::Created(Created {
                    file: *file,
                    replication: *replication,
                    chunk_bytes: *chunk_bytes,
                    lease_ms: millis(self.settings.lease),
                    allocation: allocation(allotted),
                })
            }
            CachedReply::Allocated { allotted } => Reply::Allocated(allocation(allotted)),
            CachedReply::Closed(closed) => Reply::Status(closed.status()),
            CachedReply::Done => Reply::Done,
        }
    }
}
