//! The next server of a pipeline, as the one before it sees it: bytes go on at once. Two servers are what
//! a close needs, so that the head needs its next one, and says so when that fails; the others go on without
//! theirs. Only `upload` calls this.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use chunkstore_client::transfer::{await_step, pass_chunk_on, write_stall_limit};
use chunkstore_core::replica::ReplicaKey;
use chunkstore_protocol::{SealedChunk, ServerAddress};
use futures_util::stream;
use ids::HostName;
use net::{CallError, Client};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Frames between this server and the next.
const FRAMES_IN_FLIGHT: usize = 32;

/// A chunk on its way to the servers downstream. Dropping it ends it, and nothing is kept there.
#[derive(Debug)]
pub(super) struct Forward {
    client: Client,
    replica: ReplicaKey,
    next: ServerAddress,
    limit: Duration,
    /// `None` after a failure.
    frames: Option<mpsc::Sender<Bytes>>,
    task: JoinHandle<Result<SealedChunk, CallError>>,
    is_needed: bool,
}

/// The next server has failed, and is needed.
#[derive(Debug, thiserror::Error)]
#[error("the next chunkserver of the pipeline, {next}, failed: {reason}")]
pub(super) struct NextFailed {
    next: HostName,
    reason: String,
}

impl Forward {
    /// Starts to send to the first of `downstream`; `None` if this is the pipeline's last server.
    /// `client` bears the writer's token; `is_needed`: the bytes must not stay with this server alone.
    pub(super) fn start(
        client: Client,
        replica: ReplicaKey,
        downstream: &[ServerAddress],
        is_needed: bool,
    ) -> Option<Self> {
        let (next, rest) = downstream.split_first()?;
        let (frames, receiver) = mpsc::channel(FRAMES_IN_FLIGHT);
        let (sender, server, rest) = (client.clone(), next.clone(), rest.to_vec());
        let task = tokio::spawn(async move {
            let body = stream::unfold(receiver, async |mut frames: mpsc::Receiver<Bytes>| {
                frames.recv().await.map(|frame| (Ok::<_, io::Error>(frame), frames))
            });
            pass_chunk_on(&sender, &server, &rest, replica, body).await
        });
        let limit = write_stall_limit(downstream.len());
        let (next, frames) = (next.clone(), Some(frames));
        Some(Self { client, replica, next, limit, frames, task, is_needed })
    }

    /// Passes on a frame, if downstream is alive; waits while it is slow.
    pub(super) async fn send(&mut self, frame: Bytes) -> Result<(), NextFailed> {
        let Some(frames) = &self.frames else {
            return Ok(());
        };
        let (limit, what, taken) = (self.limit, "took no bytes", frames.send(frame));
        let reason = match await_step(&self.client, &self.next, limit, what, taken).await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(_)) => match self.answer().await {
                Ok(sealed) => format!("answered before the end: {sealed:?}"),
                Err(reason) => reason,
            },
            Err(stalled) => stalled.to_string(),
        };
        self.give_up(&reason);
        match self.is_needed {
            true => Err(NextFailed { next: self.next.host.clone(), reason }),
            false => Ok(()),
        }
    }

    /// After the last frame: what downstream sealed, if it did.
    pub(super) async fn finish(mut self) -> Option<SealedChunk> {
        self.frames.take()?;
        match self.answer().await {
            Ok(sealed) => Some(sealed),
            Err(reason) => {
                self.give_up(&reason);
                None
            }
        }
    }

    async fn answer(&mut self) -> Result<SealedChunk, String> {
        let (limit, what) = (self.limit, "did not seal");
        match await_step(&self.client, &self.next, limit, what, &mut self.task).await {
            Ok(Ok(answer)) => answer.map_err(|error| error.to_string()),
            Ok(Err(error)) => Err(error.to_string()),
            Err(stalled) => Err(stalled.to_string()),
        }
    }

    fn give_up(&mut self, reason: &str) {
        tracing::warn!(chunk = %self.replica.chunk, next = %self.next.host, reason,
            "the servers downstream are given up");
        self.frames = None;
        self.task.abort();
    }
}

impl Drop for Forward {
    fn drop(&mut self) {
        self.task.abort();
    }
}
