//! Serves map outputs to reduces: one partition of many maps in one answer, framed by
//! `mapreduce_protocol::shuffle`. Files are read on blocking threads; only so many requests at once.

use std::sync::Arc;

use axum::body::Body;
use bytes::Bytes;
use mapreduce_protocol::AttemptId;
use mapreduce_protocol::shuffle::SegmentHeader;
use tasktracker_core::Input;
use tokio::sync::{Semaphore, mpsc};

use crate::map_outputs::{MapOutput, MapOutputError, MapOutputs};
use crate::metrics;

/// Bytes read and sent at once; small segments share a piece.
const PIECE_BYTES: usize = 256 << 10;

/// Pieces of one answer that wait to be sent.
const PIECES_AHEAD: usize = 4;

/// Map outputs of this host, for the network.
#[derive(Debug)]
pub(crate) struct ShuffleServer {
    outputs: MapOutputs,
    inputs: mpsc::Sender<Input>,
    permits: Arc<Semaphore>,
}

impl ShuffleServer {
    /// Serves `requests_max` requests at once; others wait for their turn.
    pub(crate) fn new(outputs: MapOutputs, requests_max: u32, inputs: mpsc::Sender<Input>) -> Self {
        let permits = Arc::new(Semaphore::new(requests_max.max(1) as usize));
        Self { outputs, inputs, permits }
    }

    /// The body with `maps`' segments of `partition`, in that order. It breaks off if a file turns out to
    /// be cut after its length was sent.
    pub(crate) async fn serve(&self, partition: u32, maps: Vec<AttemptId>) -> Body {
        let permit = Arc::clone(&self.permits).acquire_owned().await;
        let (pieces, body) = mpsc::channel(PIECES_AHEAD);
        let answer = Answer {
            outputs: self.outputs.clone(),
            inputs: self.inputs.clone(),
            pieces,
            piece: Vec::with_capacity(PIECE_BYTES),
        };
        tokio::task::spawn_blocking(move || {
            answer.send(partition, &maps);
            drop(permit);
        });
        Body::from_stream(futures_util::stream::unfold(body, |mut body| async {
            body.recv().await.map(|piece| (piece, body))
        }))
    }
}

/// One answer while it is read.
struct Answer {
    outputs: MapOutputs,
    inputs: mpsc::Sender<Input>,
    pieces: mpsc::Sender<std::io::Result<Bytes>>,
    piece: Vec<u8>,
}

/// The reduce does not listen any more.
struct Gone;

impl Answer {
    fn send(mut self, partition: u32, maps: &[AttemptId]) {
        for map in maps {
            let sent = match self.outputs.open(*map) {
                Ok(output) => self.send_segment(*map, &output, partition),
                Err(error) => self.send_miss(*map, &error),
            };
            if let Err(Gone) = sent {
                return;
            }
        }
        // A reduce that went away in the end has what it wanted.
        let _ = self.flush();
    }

    fn send_segment(
        &mut self,
        map: AttemptId,
        output: &MapOutput,
        partition: u32,
    ) -> Result<(), Gone> {
        let segment = output.segment(partition);
        self.send_header(map, true, segment.length)?;
        let (mut at, end) = (segment.offset, segment.offset + segment.length);
        while at < end {
            if self.piece.len() == PIECE_BYTES {
                self.flush()?;
            }
            let start = self.piece.len();
            let left = usize::try_from(end - at).unwrap_or(usize::MAX);
            let length = left.min(PIECE_BYTES - start);
            self.piece.resize(start + length, 0);
            if let Err(error) = output.read(&mut self.piece[start..], at) {
                return self.break_off(map, error);
            }
            at += length as u64;
        }
        metrics::observe_shuffle_bytes(segment.length);
        Ok(())
    }

    fn send_miss(&mut self, map: AttemptId, error: &MapOutputError) -> Result<(), Gone> {
        metrics::observe_shuffle_miss();
        tracing::warn!(attempt = %map, %error, "asked for a map output that can't be served");
        self.report(map);
        self.send_header(map, false, 0)
    }

    /// The length is sent already: the reduce must see that the rest does not come.
    fn break_off(&mut self, map: AttemptId, error: std::io::Error) -> Result<(), Gone> {
        metrics::observe_shuffle_miss();
        tracing::warn!(attempt = %map, %error, "a map output can't be read to its end");
        self.report(map);
        let _ = self.pieces.blocking_send(Err(error));
        Err(Gone)
    }

    /// The core knows whether this output was held at all.
    fn report(&self, attempt: AttemptId) {
        // The loop is gone only when the daemon ends.
        let _ = self.inputs.blocking_send(Input::MapOutputBroken { attempt });
    }

    fn send_header(&mut self, map: AttemptId, found: bool, length: u64) -> Result<(), Gone> {
        let header = SegmentHeader { map: map.task.index, attempt: map.number, found, length };
        let header = header.encode();
        if self.piece.len() + header.len() > PIECE_BYTES {
            self.flush()?;
        }
        self.piece.extend_from_slice(&header);
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Gone> {
        let piece = std::mem::replace(&mut self.piece, Vec::with_capacity(PIECE_BYTES));
        self.pieces.blocking_send(Ok(piece.into())).map_err(|_| Gone)
    }
}
