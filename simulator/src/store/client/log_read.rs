//! Reads a log from its beginning to the last acknowledged record with the real cursor, as the
//! client library does.

use std::collections::BTreeMap;
use std::time::Duration;

use chunkstore_core::log::{Cursor, Seen, Source};
use chunkstore_core::master::Reply;
use chunkstore_core::replica::ReplicaKey;
use chunkstore_protocol::{ChunkLocation, FileId, StorePath};

use super::ops::locate;
use super::read::servers;
use super::{Client, Outcome, Task};
use crate::store::content::{Content, length, units};
use crate::store::ground::{Ask, Ground};
use crate::store::invariants::Watch;
use crate::store::records::RecordId;
use crate::store::server::number;

/// The number of vain rounds after which a reader gives up.
const ROUNDS_MAX: u32 = 12;
const ROUND_PAUSE: Duration = Duration::from_millis(300);

/// A log being read.
pub(super) struct LogReading {
    path: StorePath,
    cursor: Cursor,
    seen: Seen,
    /// The records read so far, in their order.
    ids: Vec<RecordId>,
    /// The sealed chunks, as located last.
    chunks: Vec<ChunkLocation>,
    /// Servers of the next chunk that have not been asked in this round.
    untried: Option<Vec<usize>>,
    n_rounds: u32,
    /// How many records of each log were acknowledged when the read began.
    n_acknowledged: BTreeMap<FileId, usize>,
}

impl LogReading {
    pub(super) fn path(&self) -> &StorePath {
        &self.path
    }

    /// The sealed chunk that contains the next bytes.
    fn sealed(&self) -> Option<&ChunkLocation> {
        let at = self.cursor.at();
        self.chunks.iter().find(|it| (it.offset..it.offset + it.length).contains(&at))
    }
}

impl Client {
    pub(super) fn read_log(&mut self, ground: &mut Ground, watch: &mut Watch, path: StorePath) {
        let mut cursor = Cursor::default();
        cursor.begin();
        self.task = Task::ReadingLog(Box::new(LogReading {
            path,
            cursor,
            seen: Seen::default(),
            ids: Vec::new(),
            chunks: Vec::new(),
            untried: None,
            n_rounds: 0,
            n_acknowledged: watch.logs.n_acknowledged(),
        }));
        self.read_log_step(ground, watch);
    }

    /// Asks whichever process has the next bytes.
    pub(super) fn read_log_step(&mut self, ground: &mut Ground, watch: &mut Watch) {
        let Task::ReadingLog(reading) = &mut self.task else { return };
        match reading.cursor.next() {
            Source::Locate => {
                let ask = Ask::Query(locate(&reading.path));
                self.ask(ground, ask);
            }
            Source::Open { chunk, version, primary, offset, .. } => {
                let ask = Ask::ReadRecords { replica: ReplicaKey { chunk, version }, offset };
                self.ask_server(ground, number(&primary.host), ask);
            }
            Source::Sealed => {
                let Some(location) = reading.sealed().cloned() else {
                    return self.locate_log_again(ground);
                };
                let untried =
                    reading.untried.get_or_insert_with(|| servers(ground, Some(&location)));
                let (chunk, version) = (location.chunk, location.version);
                match untried.pop() {
                    Some(server) => {
                        let ask = Ask::Read(ReplicaKey { chunk, version });
                        self.ask_server(ground, server, ask);
                    }
                    None => self.locate_log_again(ground),
                }
            }
            Source::End => {
                if let Some(log) = reading.cursor.file() {
                    let n = reading.n_acknowledged.get(&log).copied().unwrap_or(0);
                    ground.say(format_args!("client-{} has read {log:?}: {n} at least", self.n));
                    watch.see_log_read(log, &reading.ids, n);
                }
                self.rest(ground);
            }
        }
    }

    /// What cannot be read is located again.
    fn locate_log_again(&mut self, ground: &mut Ground) {
        let Task::ReadingLog(reading) = &mut self.task else { return };
        reading.n_rounds += 1;
        if reading.n_rounds > ROUNDS_MAX {
            ground.say(format_args!("{} can't be read", reading.path));
            return self.rest(ground);
        }
        let ask = Ask::Query(locate(&reading.path));
        self.ask_later(ground, ask, ROUND_PAUSE);
    }

    pub(super) fn log_located(&mut self, ground: &mut Ground, watch: &mut Watch, outcome: Outcome) {
        let Task::ReadingLog(reading) = &mut self.task else { return };
        let Outcome::Done(Reply::Located(located)) = outcome else { return self.rest(ground) };
        if reading.cursor.handle_located(&located).is_err() {
            ground.say(format_args!("{} was replaced while it was read", reading.path));
            return self.rest(ground);
        }
        (reading.chunks, reading.untried) = (located.chunks, None);
        self.read_log_step(ground, watch);
    }

    /// A server has answered with bytes, or it has not.
    pub(super) fn read_log_on(
        &mut self,
        ground: &mut Ground,
        watch: &mut Watch,
        bytes: Result<Content, &'static str>,
    ) {
        let Task::ReadingLog(reading) = &mut self.task else { return };
        let is_sealed = reading.cursor.next() == Source::Sealed;
        let location = reading.sealed().cloned().filter(|_| is_sealed);
        let bytes = match (bytes, location) {
            (Ok(bytes), Some(location)) if length(&bytes) == location.length => {
                watch.see_read(location.chunk, &bytes);
                reading.untried = None;
                bytes[units(reading.cursor.at() - location.offset)..].to_vec()
            }
            (Ok(bytes), None) if !is_sealed => bytes,
            // Asks another server of the chunk, if there is one.
            (_, Some(_)) => return self.read_log_step(ground, watch),
            (_, None) => return self.locate_log_again(ground),
        };
        let (ids, n) = watch.logs.records.sound(&bytes);
        if n != bytes.len() {
            let what =
                format!("half a record was read of {} at {}", reading.path, reading.cursor.at());
            watch.broken("logs", what);
        }
        reading.cursor.handle_bytes(length(&bytes));
        for id in ids {
            let header = watch.logs.records.header(id);
            if reading.seen.is_new(header.writer, header.sequence) {
                reading.ids.push(id);
            }
        }
        self.read_log_step(ground, watch);
    }
}
