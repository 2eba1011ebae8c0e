//! One chunk on its way through its pipeline: a task that sends what comes out of a bounded
//! channel. Only `write` calls this.

use std::time::Duration;

use bytes::Bytes;
use chunkstore_core::writer::ServerFailure;
use chunkstore_protocol::{Allocation, ProblemKind, SealedChunk, ServerAddress};
use futures_util::stream;
use ids::HostName;
use net::{CallError, Client};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::transfer::{await_step, put_chunk, write_stall_limit};

/// Frames between writer and network: about 1 MiB of blocks.
const FRAMES_IN_FLIGHT: usize = 32;

/// The outcome of a chunk's pipeline, according to its head.
pub(crate) type Outcome = Result<SealedChunk, ServerFailure>;

/// An upload under way. Dropping it ends it; the servers keep what they have of the chunk for a
/// while.
#[derive(Debug)]
pub(crate) struct Upload {
    client: Client,
    head: ServerAddress,
    /// The server after the head, whose failure the head reports.
    next: Option<HostName>,
    stall_limit: Duration,
    frames: Option<mpsc::Sender<Bytes>>,
    n_sent: usize,
    task: JoinHandle<Result<SealedChunk, CallError>>,
}

impl Upload {
    /// Starts sending to `head`, the first server of the allocation's pipeline.
    pub(crate) fn start(client: &Client, allocation: &Allocation, head: &ServerAddress) -> Self {
        let (frames, receiver) = mpsc::channel(FRAMES_IN_FLIGHT);
        let client = client.with_token(allocation.token.clone());
        let task = tokio::spawn(send(client.clone(), allocation.clone(), head.clone(), receiver));
        Self {
            client,
            head: head.clone(),
            next: allocation.pipeline.get(1).map(|server| server.host.clone()),
            stall_limit: write_stall_limit(allocation.pipeline.len()),
            frames: Some(frames),
            n_sent: 0,
            task,
        }
    }

    /// Sends the frames of the chunk that were not sent yet. `Some` if the upload has ended
    /// instead.
    pub(crate) async fn push(&mut self, frames: &[Bytes]) -> Option<Outcome> {
        if self.task.is_finished() {
            return Some(self.outcome().await);
        }
        while let Some(frame) = frames.get(self.n_sent) {
            let sender = self.frames.as_ref()?;
            let taken = sender.send(frame.clone());
            let what = "took no bytes";
            match await_step(&self.client, &self.head, self.stall_limit, what, taken).await {
                Ok(Ok(())) => self.n_sent += 1,
                Ok(Err(_)) => return Some(self.outcome().await),
                Err(stalled) => return Some(Err(self.head_failed(stalled.to_string()))),
            }
        }
        None
    }

    /// The outcome of the chunk; the end mark must have been sent.
    pub(crate) async fn finish(&mut self) -> Outcome {
        self.frames = None;
        self.outcome().await
    }

    async fn outcome(&mut self) -> Outcome {
        let (limit, what) = (self.stall_limit, "did not seal the chunk");
        match await_step(&self.client, &self.head, limit, what, &mut self.task).await {
            Ok(Ok(Ok(sealed))) => Ok(sealed),
            Ok(Ok(Err(error))) => Err(self.failure(&error)),
            Ok(Err(error)) => Err(self.head_failed(format!("the upload was ended: {error}"))),
            Err(stalled) => Err(self.head_failed(stalled.to_string())),
        }
    }

    fn failure(&self, error: &CallError) -> ServerFailure {
        let is_next =
            error.problem_kind().and_then(ProblemKind::of) == Some(ProblemKind::NextServerFailed);
        let host = self.next.as_ref().filter(|_| is_next).unwrap_or(&self.head.host);
        ServerFailure { host: host.clone(), reason: error.to_string() }
    }

    fn head_failed(&self, reason: String) -> ServerFailure {
        ServerFailure { host: self.head.host.clone(), reason }
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn send(
    client: Client,
    allocation: Allocation,
    head: ServerAddress,
    frames: mpsc::Receiver<Bytes>,
) -> Result<SealedChunk, CallError> {
    let downstream = allocation.pipeline.get(1..).unwrap_or_default();
    let body = stream::unfold(frames, async |mut frames| {
        frames.recv().await.map(|frame| (Ok::<_, std::io::Error>(frame), frames))
    });
    put_chunk(&client, &head, downstream, allocation.replica(), body).await
}
