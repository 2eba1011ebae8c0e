//! Replicas of logs' open chunks, as in the daemon's `server/logs`. `chunkstore_core::log` decides
//! which batches form a group, when it is acknowledged, and what is sealed at the end. This module
//! is about the files and the followers; the rest is in `logs/primary.rs` and `logs/ending.rs`.

mod ending;
mod primary;

use std::collections::{BTreeMap, VecDeque};

use chunkstore_core::log::Tail;
use chunkstore_core::replica::{Ended, Input, OpenAnswer, ReplicaKey, ReplyTo};
use chunkstore_protocol::{BeginLog, CHUNK_BYTES_MAX};

use super::Server;
use crate::store::content::{Content, length, units};
use crate::store::disk::Health;
use crate::store::ground::{Answer, Ask, CallId, Ground, LogFault, Timer, Who};
use crate::store::invariants::Watch;
use crate::store::records::Records;
use crate::store::sabotage::Sabotage;

use ending::Ending;
use primary::Primary;

/// The caller that waits for an answer.
type Asker = (Who, CallId);

/// All logs' replicas of one server's process.
#[derive(Default)]
pub(super) struct Logs {
    open: BTreeMap<ReplicaKey, OpenLog>,
    /// Those that are being sealed under their final names.
    sealing: BTreeMap<ReplicaKey, OpenLog>,
    endings: BTreeMap<u64, Ending>,
    calls: BTreeMap<CallId, Call>,
    timers: BTreeMap<u64, Due>,
}

struct OpenLog {
    tail: Tail,
    ended: Option<Ended>,
    /// Bytes are being written: whoever wants to add some or to end it must wait.
    is_busy: bool,
    ends_next: bool,
    waiting: VecDeque<(Asker, u64, Content)>,
    primary: Option<Primary>,
}

/// What another process was asked to do for a log.
#[derive(Clone, Debug)]
enum Call {
    Make(ReplicaKey, usize),
    Begin(ReplicaKey, BeginLog),
    /// At this many bytes.
    Follow(ReplicaKey, usize, u64),
    /// By the number of the ending.
    Freeze(u64, usize),
    Seal(u64, usize),
    Tell(u64),
}

/// What a timer of a log is for.
#[derive(Clone, Debug)]
enum Due {
    /// What was written at this many bytes is synced; for a follower, with the caller that waits
    /// for it.
    Synced(ReplicaKey, u64, Option<Asker>),
    /// The master is to be asked again whether a chunk may begin.
    Begin(ReplicaKey, BeginLog),
    Sealed(ReplicaKey, u64, Asker),
    /// An ending is to be tried again, or the master to be told again.
    Ending(u64),
}

impl OpenLog {
    fn new(chunk_bytes: u64, primary: Option<Primary>) -> Self {
        Self {
            tail: Tail::new(chunk_bytes),
            ended: None,
            is_busy: false,
            ends_next: false,
            waiting: VecDeque::new(),
            primary,
        }
    }

    /// A replica that the previous process left.
    fn found(ended: Ended) -> Self {
        let mut log = Self::new(0, None);
        log.tail.end(0);
        log.ended = Some(ended);
        log
    }

    /// Ends it: it takes no more, and of what it took only `written` bytes are written.
    fn end_at(&mut self, written: u64) -> Ended {
        *self.ended.get_or_insert_with(|| {
            self.tail.end(written);
            Ended { length: self.tail.length(), damaged: false, found: false }
        })
    }
}

/// What a file that the previous process left contains.
fn scan(records: &Records, content: &Content) -> Ended {
    let sound = records.sound(content).1;
    Ended { length: length(&content[..sound]), damaged: sound < content.len(), found: true }
}

impl Server {
    /// Finds what the previous process left.
    pub(super) fn find_logs(&mut self, watch: &Watch) -> Vec<(ReplicaKey, Ended)> {
        let scan = |(replica, content)| (replica, scan(&watch.logs.records, content));
        let found: Vec<_> = self.disk.logs().map(scan).collect();
        let open = found.iter().map(|(replica, ended)| (*replica, OpenLog::found(*ended)));
        self.logs = Logs { open: open.collect(), ..Logs::default() };
        found
    }

    /// Whether a replica of a log is here, and is made.
    pub(super) fn has_log(&self, replica: ReplicaKey) -> bool {
        let log = self.logs.open.get(&replica);
        log.is_some_and(|log| log.primary.as_ref().is_none_or(Primary::has_begun))
    }

    /// How many units all servers have of a chunk that takes records and whose primary is this
    /// server.
    pub(crate) fn n_acknowledged(&self, replica: ReplicaKey) -> Option<usize> {
        let log = self.logs.open.get(&replica).filter(|log| log.ended.is_none())?;
        log.primary.as_ref().map(|_| units(log.tail.acknowledged()))
    }

    fn log_later(&mut self, ground: &mut Ground, due: Due) {
        self.next_number += 1;
        self.logs.timers.insert(self.next_number, due);
        self.later(ground, Timer::Log(self.next_number));
    }

    pub(super) fn log_due(&mut self, ground: &mut Ground, watch: &mut Watch, number: u64) {
        match self.logs.timers.remove(&number) {
            Some(Due::Synced(replica, at, by)) => self.synced(ground, watch, (replica, at, by)),
            Some(Due::Begin(replica, request)) => self.ask_to_begin(ground, replica, request),
            Some(Due::Sealed(replica, length, by)) => {
                self.log_sealed(ground, watch, (replica, length), by);
            }
            Some(Due::Ending(number)) => self.go_on_ending(ground, watch, number),
            None => {}
        }
    }

    fn call_for_log(&mut self, ground: &mut Ground, to: Who, ask: &Ask, call: Call) {
        let id = ground.call(self.who(), to, ask, super::CALL_LIMIT);
        self.logs.calls.insert(id, call);
    }

    /// Handles an answer to a call for a log; returns whether it was one.
    pub(super) fn log_answered(
        &mut self,
        ground: &mut Ground,
        watch: &mut Watch,
        call: CallId,
        answer: Option<&Answer>,
    ) -> bool {
        let Some(call) = self.logs.calls.remove(&call) else { return false };
        match call {
            Call::Make(replica, n) => self.made(ground, watch, (replica, n), answer),
            Call::Begin(replica, request) => {
                self.begun(ground, watch, (replica, request), answer);
            }
            Call::Follow(replica, n, at) => self.followed(ground, watch, (replica, n, at), answer),
            Call::Freeze(number, n) => self.end_frozen(ground, watch, (number, n), answer),
            Call::Seal(number, n) => self.end_sealed(ground, watch, (number, n), answer),
            Call::Tell(number) => self.end_told(ground, watch, number, answer),
        }
        true
    }

    fn may_open_log(
        &mut self,
        ground: &mut Ground,
        watch: &mut Watch,
        replica: ReplicaKey,
    ) -> Option<OpenAnswer> {
        self.next_number += 1;
        let to = ReplyTo(self.next_number);
        self.tell(ground, watch, Input::LogRequested { to, replica });
        self.opening.take()
    }

    /// A primary sends the next bytes, or wants a replica made.
    pub(super) fn follow_log(
        &mut self,
        ground: &mut Ground,
        watch: &mut Watch,
        by: Asker,
        (replica, offset, frames): (ReplicaKey, u64, Content),
    ) {
        if frames.is_empty() {
            let made = self.make_follower(ground, watch, replica).map(|()| 0);
            return ground.answer(self.who(), by.0, by.1, Answer::Followed(made));
        }
        let who = self.who();
        let Some(log) = self.logs.open.get_mut(&replica).filter(|log| log.ended.is_none()) else {
            return ground.answer(who, by.0, by.1, Answer::Followed(Err(LogFault::Ended)));
        };
        if log.is_busy {
            return log.waiting.push_back((by, offset, frames));
        }
        if log.tail.follow(offset, length(&frames)).is_err() {
            return ground.answer(who, by.0, by.1, Answer::Followed(Err(LogFault::Failed)));
        }
        if self.disk.write_log(replica, units(offset), &frames).is_err() {
            ground.answer(who, by.0, by.1, Answer::Followed(Err(LogFault::Failed)));
            return self.log_failed(ground, watch, replica, offset);
        }
        log.is_busy = true;
        let mut by = Some(by);
        if self.sabotage == Some(Sabotage::FollowedBeforeSync) {
            let length = log.tail.length();
            let answer = Answer::Followed(Ok(length));
            if let Some((to, call)) = by.take() {
                ground.answer(who, to, call, answer);
            }
        }
        self.log_later(ground, Due::Synced(replica, offset, by));
    }

    fn make_follower(
        &mut self,
        ground: &mut Ground,
        watch: &mut Watch,
        replica: ReplicaKey,
    ) -> Result<(), LogFault> {
        match self.may_open_log(ground, watch, replica) {
            Some(OpenAnswer::Write) => {}
            Some(_) | None => return Err(LogFault::Ended),
        }
        if self.disk.create_log(replica).is_err() {
            self.tell(ground, watch, Input::Aborted { replica });
            return Err(LogFault::Failed);
        }
        self.logs.open.insert(replica, OpenLog::new(CHUNK_BYTES_MAX, None));
        self.tell(ground, watch, Input::LogOpened { replica });
        Ok(())
    }

    /// What was written is synced, or the disk has failed.
    fn synced(
        &mut self,
        ground: &mut Ground,
        watch: &mut Watch,
        (replica, at, by): (ReplicaKey, u64, Option<Asker>),
    ) {
        let is_synced = self.disk.sync_log(replica).is_ok();
        let who = self.who();
        let Some(log) = self.logs.open.get_mut(&replica) else { return };
        log.is_busy = false;
        let told = match is_synced {
            true => Ok(log.tail.length()),
            false => Err(LogFault::Failed),
        };
        if let Some((to, call)) = by {
            ground.answer(who, to, call, Answer::Followed(told));
        }
        let ends = std::mem::take(&mut log.ends_next);
        let is_primary = log.primary.is_some();
        match is_synced {
            true if is_primary => self.group_synced(ground, watch, replica),
            true => {}
            false => self.log_failed(ground, watch, replica, at),
        }
        if ends {
            self.end_log_here(ground, watch, replica);
        }
        let Some(log) = self.logs.open.get_mut(&replica).filter(|log| !log.is_busy) else { return };
        if let Some((by, offset, frames)) = log.waiting.pop_front() {
            self.follow_log(ground, watch, by, (replica, offset, frames));
        }
    }

    /// The disk did not take what was to be written at `at`.
    fn log_failed(&mut self, ground: &mut Ground, watch: &mut Watch, replica: ReplicaKey, at: u64) {
        let Some(log) = self.logs.open.get_mut(&replica) else { return };
        let ended = log.end_at(at);
        self.tell(ground, watch, Input::LogEnded { replica, ended });
        self.primary_ended(ground, watch, replica);
    }

    /// A replica takes no more.
    pub(super) fn end_log_here(
        &mut self,
        ground: &mut Ground,
        watch: &mut Watch,
        replica: ReplicaKey,
    ) {
        let Some(log) = self.logs.open.get_mut(&replica) else { return };
        if log.is_busy {
            log.ends_next = true;
            return;
        }
        let ended = log.end_at(log.tail.length());
        self.tell(ground, watch, Input::LogEnded { replica, ended });
        self.primary_ended(ground, watch, replica);
    }

    /// A replica's file is about to be removed.
    pub(super) fn drop_log(&mut self, ground: &mut Ground, replica: ReplicaKey) {
        let Some(log) = self.logs.open.remove(&replica) else { return };
        if let Some(primary) = log.primary {
            self.answer_ended(ground, primary.everyone());
        }
    }

    fn answer_ended(&self, ground: &mut Ground, askers: Vec<Asker>) {
        for (to, call) in askers {
            ground.answer(self.who(), to, call, Answer::Appended(Err(LogFault::Ended)));
        }
    }

    /// A reader wants what is acknowledged from an offset on.
    pub(super) fn read_records(
        &mut self,
        ground: &mut Ground,
        watch: &mut Watch,
        by: Asker,
        (replica, offset): (ReplicaKey, u64),
    ) {
        let answer = match self.acknowledged_from(watch, replica, offset) {
            Ok(frames) => Ok(frames),
            Err(is_broken) => {
                if is_broken {
                    self.end_log_here(ground, watch, replica);
                    self.tell(ground, watch, Input::LogStuck { replica });
                }
                Err("not here, or not sound")
            }
        };
        ground.answer(self.who(), by.0, by.1, Answer::Bytes(answer));
    }

    /// The error says whether the bytes are there but are not records.
    fn acknowledged_from(
        &self,
        watch: &Watch,
        replica: ReplicaKey,
        offset: u64,
    ) -> Result<Content, bool> {
        let log = self.logs.open.get(&replica).ok_or(false)?;
        let is_here = log.primary.as_ref().is_some_and(Primary::has_begun);
        let content = self.disk.log(replica).filter(|_| is_here).ok_or(false)?;
        if self.disk.health == Health::Failing {
            return Err(false);
        }
        let end = units(log.tail.acknowledged());
        let wanted = content.get(units(offset).min(end)..end).ok_or(false)?;
        let sound = watch.logs.records.sound(wanted).1;
        match sound == 0 && !wanted.is_empty() {
            true => Err(true),
            false => Ok(wanted[..sound].to_vec()),
        }
    }

    /// A log's replica is to be sealed, if its first bytes are records.
    pub(super) fn seal_log(
        &mut self,
        ground: &mut Ground,
        watch: &mut Watch,
        by: Asker,
        (replica, length): (ReplicaKey, u64),
    ) {
        let Some(log) = self.logs.open.remove(&replica) else {
            return self.log_not_sealed(
                ground,
                watch,
                (replica, Ended { length, damaged: true, found: false }),
                by,
            );
        };
        let n = units(length);
        let content = self.disk.log(replica).map_or(&[][..], Vec::as_slice);
        let sound = watch.logs.records.sound(&content[..n.min(content.len())]).1;
        let held = crate::store::content::length(&content[..sound]);
        if sound != n || self.disk.begin_seal_log(replica, n).is_err() {
            self.logs.open.insert(replica, log);
            let ended = Ended { length: held, damaged: true, found: false };
            return self.log_not_sealed(ground, watch, (replica, ended), by);
        }
        self.logs.sealing.insert(replica, log);
        self.log_later(ground, Due::Sealed(replica, length, by));
    }

    fn log_sealed(
        &mut self,
        ground: &mut Ground,
        watch: &mut Watch,
        (replica, length): (ReplicaKey, u64),
        by: Asker,
    ) {
        let Some(log) = self.logs.sealing.remove(&replica) else { return };
        match self.disk.end_seal_log(replica) {
            Ok(sealed) => {
                self.tell(ground, watch, Input::Sealed { replica, sealed });
                self.told_sealed(ground, watch, by, (replica, sealed));
            }
            Err(_) => {
                self.logs.open.insert(replica, log);
                let ended = Ended { length, damaged: true, found: false };
                self.log_not_sealed(ground, watch, (replica, ended), by);
            }
        }
    }

    fn log_not_sealed(
        &mut self,
        ground: &mut Ground,
        watch: &mut Watch,
        (replica, ended): (ReplicaKey, Ended),
        (to, call): Asker,
    ) {
        self.tell(ground, watch, Input::LogEnded { replica, ended });
        ground.answer(self.who(), to, call, Answer::Sealed(Err("it can't be")));
    }
}
