//! Requests that change something, and what they have in common. What each leads to is planned in
//! `files.rs` and `tree.rs`; `Master::mutate` and the daemon's HTTP ask here.

use chunkstore_protocol::{
    Abandon, Allocate, Append, Close, Create, Delete, Mkdir, Publish, Rename, SealedChunk,
};
use ids::RequestStamp;
use serde::Serialize;

/// A stamped request: carried out once, however often it comes.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[allow(missing_docs, reason = "each variant is its request's name; the protocol documents those")]
pub enum Mutation {
    Create(Create),
    Append(Append),
    Allocate(Allocate),
    Close(Close),
    Abandon(Abandon),
    Mkdir(Mkdir),
    Rename(Rename),
    Delete(Delete),
    Publish(Publish),
}

impl Mutation {
    pub(super) fn stamp(&self) -> &RequestStamp {
        match self {
            Self::Create(request) => &request.stamp,
            Self::Append(request) => &request.stamp,
            Self::Allocate(request) => &request.stamp,
            Self::Close(request) => &request.stamp,
            Self::Abandon(request) => &request.stamp,
            Self::Mkdir(request) => &request.stamp,
            Self::Rename(request) => &request.stamp,
            Self::Delete(request) => &request.stamp,
            Self::Publish(request) => &request.stamp,
        }
    }

    /// The request's stamp, whose client the edge makes the caller's own.
    pub fn stamp_mut(&mut self) -> &mut RequestStamp {
        match self {
            Self::Create(request) => &mut request.stamp,
            Self::Append(request) => &mut request.stamp,
            Self::Allocate(request) => &mut request.stamp,
            Self::Close(request) => &mut request.stamp,
            Self::Abandon(request) => &mut request.stamp,
            Self::Mkdir(request) => &mut request.stamp,
            Self::Rename(request) => &mut request.stamp,
            Self::Delete(request) => &mut request.stamp,
            Self::Publish(request) => &mut request.stamp,
        }
    }

    pub(super) fn sealed(&self) -> Option<&SealedChunk> {
        match self {
            Self::Allocate(request) => request.sealed.as_ref(),
            Self::Close(request) => request.sealed.as_ref(),
            Self::Create(_)
            | Self::Append(_)
            | Self::Abandon(_)
            | Self::Mkdir(_)
            | Self::Rename(_)
            | Self::Delete(_)
            | Self::Publish(_) => None,
        }
    }
}
