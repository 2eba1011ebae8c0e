//! Serves map outputs to reduces: one partition of many maps in one answer, framed by
//! `mapreduce_protocol::shuffle`. Files are read on blocking threads; of each disk only by so many requests at once, so that
//! those that hang in one keep nobody from the others.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use chunkstore_client::batch::Filling;
use mapreduce_protocol::AttemptId;
use mapreduce_protocol::shuffle::SegmentHeader;
use tasktracker_core::{DiskNumber, Input};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use crate::map_outputs::{MapOutput, MapOutputError, MapOutputs};
use crate::metrics;

/// Bytes read and sent at once; small segments share a piece.
const PIECE_BYTES: usize = 256 << 10;

/// Pieces of one answer that wait to be sent.
const PIECES_AHEAD: usize = 4;

/// A reduce that takes nothing for so long is given up, and its turn is another's.
const STALL: Duration = Duration::from_secs(60);

/// Who waits for a turn at a disk looks so often whether the output is still there: a disk that hangs is left.
const LOOK: Duration = Duration::from_secs(1);

/// What is next in an answer; one that ends without `Complete` has broken off.
enum Piece {
    Bytes(Bytes),
    Complete,
}

/// Map outputs of this host, for the network.
#[derive(Debug)]
pub(crate) struct ShuffleServer {
    outputs: MapOutputs,
    inputs: mpsc::Sender<Input>,
    turns: Turns,
}

/// Who may read from which disk.
#[derive(Clone, Debug)]
struct Turns(Arc<[Arc<Semaphore>]>);

impl ShuffleServer {
    /// Lets `requests_max` requests read from each disk at once; others wait for their turn.
    pub(crate) fn new(outputs: MapOutputs, requests_max: u32, inputs: mpsc::Sender<Input>) -> Self {
        let turn = || Arc::new(Semaphore::new(requests_max.max(1) as usize));
        let turns = (0..outputs.n_disks()).map(|_| turn()).collect();
        Self { outputs, inputs, turns: Turns(turns) }
    }

    /// The body with `maps`' segments of `partition`, in that order. It breaks off if a file turns out to
    /// be cut after its length was sent.
    pub(crate) fn serve(&self, partition: u32, maps: Vec<AttemptId>) -> Body {
        let (pieces, body) = mpsc::channel(PIECES_AHEAD);
        let answer = Answer {
            outputs: self.outputs.clone(),
            inputs: self.inputs.clone(),
            pieces,
            piece: Filling::new(PIECE_BYTES),
            runtime: Handle::current(),
        };
        // A reduce that went away has what it wanted, or asks again.
        tokio::spawn(answer.send(self.turns.clone(), partition, maps));
        Body::from_stream(futures_util::stream::unfold(Some(body), next_piece))
    }
}

async fn next_piece(
    body: Option<mpsc::Receiver<Piece>>,
) -> Option<(io::Result<Bytes>, Option<mpsc::Receiver<Piece>>)> {
    let mut body = body?;
    match body.recv().await {
        Some(Piece::Bytes(piece)) => Some((Ok(piece), Some(body))),
        Some(Piece::Complete) => None,
        None => Some((Err(io::ErrorKind::UnexpectedEof.into()), None)),
    }
}

/// One answer while it is read.
struct Answer {
    outputs: MapOutputs,
    inputs: mpsc::Sender<Input>,
    pieces: mpsc::Sender<Piece>,
    piece: Filling,
    runtime: Handle,
}

/// The reduce does not listen any more.
struct Gone;

impl Turns {
    /// Waits for a turn at the disk of `map`, as long as it lies on one and somebody listens.
    async fn at_disk_of(
        &self,
        map: AttemptId,
        answer: &Answer,
    ) -> Result<Option<(DiskNumber, OwnedSemaphorePermit)>, Gone> {
        loop {
            let Some(disk) = answer.outputs.disk_of(map) else { return Ok(None) };
            tokio::select! {
                turn = Arc::clone(&self.0[disk.0]).acquire_owned() => {
                    return turn.map(|turn| Some((disk, turn))).map_err(|_| Gone);
                }
                () = tokio::time::sleep(LOOK) => {}
                () = answer.pieces.closed() => return Err(Gone),
            }
        }
    }
}

impl Answer {
    /// Sends the maps' segments, those that lie on one disk together with one turn at it.
    async fn send(
        mut self,
        turns: Turns,
        partition: u32,
        maps: Vec<AttemptId>,
    ) -> Result<(), Gone> {
        let mut rest = maps.into_iter().peekable();
        while let Some(first) = rest.next() {
            let turn = turns.at_disk_of(first, &self).await?;
            let disk = turn.as_ref().map(|(disk, _)| *disk);
            let mut together = vec![first];
            while let Some(map) = rest.next_if(|map| self.outputs.disk_of(*map) == disk) {
                together.push(map);
            }
            let sending = tokio::task::spawn_blocking(move || {
                let _turn = turn;
                self.send_all(partition, &together).map(|()| self)
            });
            self = sending.await.map_err(|_| Gone)??;
        }
        // No file is read any more: a slow reduce holds no thread.
        let last = self.take_piece();
        self.pass(last).await?;
        self.pass(Piece::Complete).await
    }

    fn send_all(&mut self, partition: u32, maps: &[AttemptId]) -> Result<(), Gone> {
        for map in maps {
            match self.outputs.open(*map) {
                Ok(output) => self.send_segment(*map, &output, partition)?,
                Err(error) => self.send_miss(*map, &error)?,
            }
        }
        Ok(())
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
            let left = usize::try_from(end - at).unwrap_or(usize::MAX);
            let length = left.min(PIECE_BYTES - self.piece.len());
            if let Err(error) = output.read(self.piece.next(length), at) {
                note_miss(map, &error);
                self.report(map);
                return Err(Gone);
            }
            at += length as u64;
        }
        metrics::observe_shuffle_bytes(segment.length);
        Ok(())
    }

    fn send_miss(&mut self, map: AttemptId, error: &MapOutputError) -> Result<(), Gone> {
        note_miss(map, error);
        if !error.passes() {
            self.report(map);
        }
        self.send_header(map, false, 0)
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
        self.piece.next(header.len()).copy_from_slice(&header);
        Ok(())
    }

    /// Blocks.
    fn flush(&mut self) -> Result<(), Gone> {
        let piece = self.take_piece();
        self.runtime.block_on(self.pass(piece))
    }

    fn take_piece(&mut self) -> Piece {
        Piece::Bytes(std::mem::replace(&mut self.piece, Filling::new(PIECE_BYTES)).freeze())
    }

    async fn pass(&self, piece: Piece) -> Result<(), Gone> {
        match tokio::time::timeout(STALL, self.pieces.send(piece)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(Gone),
        }
    }
}

fn note_miss(map: AttemptId, error: &(dyn std::error::Error + 'static)) {
    metrics::observe_shuffle_miss();
    tracing::warn!(attempt = %map, error, "asked for a map output that can't be served");
}

#[cfg(test)]
mod tests {
    use mapreduce_protocol::shuffle::SEGMENT_HEADER_BYTES;
    use mapreduce_protocol::{JobId, TaskKind};

    use super::*;
    use crate::map_outputs::tests::encode;

    const JOB: JobId = JobId { date: 20_261_122, ordinal: 1 };

    fn map(index: u32) -> AttemptId {
        JOB.task(TaskKind::Map, index).attempt(0)
    }

    fn outputs(folder: &tempfile::TempDir) -> MapOutputs {
        MapOutputs::new(vec![folder.path().to_owned()])
    }

    #[tokio::test]
    async fn segments_of_all_sizes_come_whole_and_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let outputs = outputs(&folder);
        let sizes = [
            0,
            1,
            PIECE_BYTES - SEGMENT_HEADER_BYTES,
            PIECE_BYTES - 1,
            3 * PIECE_BYTES + 7,
            PIECE_BYTES - 2 * SEGMENT_HEADER_BYTES,
            5,
        ];
        let mut expected = Vec::new();
        let mut maps = Vec::new();
        for (index, size) in (0..).zip(sizes) {
            let bytes: Vec<u8> = (0..size).map(|at| u8::try_from(at % 251).unwrap()).collect();
            outputs.put(map(index), &encode(&[b"other", &bytes]));
            let length = size as u64;
            let header = SegmentHeader { map: index, attempt: 0, found: true, length };
            expected.extend_from_slice(&header.encode());
            expected.extend_from_slice(&bytes);
            maps.push(map(index));
        }
        let (inputs, _reports) = mpsc::channel(8);
        let server = ShuffleServer::new(outputs, 1, inputs);
        for _ in 0..2 {
            let body = server.serve(1, maps.clone());
            let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
            assert!(body == expected, "{} bytes of {}", body.len(), expected.len());
        }
    }

    #[tokio::test]
    async fn requests_that_hang_in_one_disk_keep_nobody_from_another_and_go_when_it_is_left() {
        let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let outputs = MapOutputs::new(folders.iter().map(|it| it.path().to_owned()).collect());
        outputs.put(map(0), &encode(&[b"first"]));
        outputs.put_on(map(1), DiskNumber(1), &encode(&[b"second"]));
        let (inputs, _reports) = mpsc::channel(8);
        let server = ShuffleServer::new(outputs.clone(), 2, inputs);
        // As if two requests hung in the first disk.
        let hung = Arc::clone(&server.turns.0[0]).acquire_many_owned(2).await.unwrap();
        let wanted = |n: u32| {
            let read = axum::body::to_bytes(server.serve(0, vec![map(n)]), 1 << 20);
            tokio::time::timeout(Duration::from_secs(20), read)
        };
        let waiting: Vec<_> = (0..5).map(|_| tokio::spawn(wanted(0))).collect();
        let other = wanted(1).await.expect("nobody reads there").unwrap();
        assert!(other.ends_with(b"second"));
        assert!(waiting.iter().all(|it| !it.is_finished()), "they have to wait");
        let _lost = outputs.leave(DiskNumber(0));
        for waiting in waiting {
            let told = waiting.await.unwrap().expect("it is told that the output is gone").unwrap();
            assert_eq!(told.len(), SEGMENT_HEADER_BYTES);
        }
        drop(hung);
    }

    #[tokio::test]
    async fn a_file_cut_after_its_length_was_sent_breaks_the_answer_off_and_is_reported() {
        let folder = tempfile::tempdir().unwrap();
        let outputs = outputs(&folder);
        outputs.put(map(0), &encode(&[&[7; 100]]));
        let path = folder.path().join(format!("{JOB}/{}.map", map(0)));
        let opened = outputs.open(map(0)).unwrap();
        std::fs::File::options().write(true).open(&path).unwrap().set_len(50).unwrap();
        let (inputs, mut reports) = mpsc::channel(8);
        let (pieces, body) = mpsc::channel(PIECES_AHEAD);
        let runtime = Handle::current();
        let piece = Filling::new(PIECE_BYTES);
        let mut answer = Answer { outputs, inputs, pieces, piece, runtime };
        let sent = tokio::task::spawn_blocking(move || answer.send_segment(map(0), &opened, 0));
        assert!(sent.await.unwrap().is_err());
        let body = Body::from_stream(futures_util::stream::unfold(Some(body), next_piece));
        assert!(axum::body::to_bytes(body, usize::MAX).await.is_err());
        let report = reports.recv().await;
        assert!(matches!(report, Some(Input::MapOutputBroken { attempt }) if attempt == map(0)));
    }
}
