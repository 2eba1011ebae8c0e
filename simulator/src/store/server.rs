//! A chunkserver's simulated shell: the real replica core over a simulated disk. As in the daemon,
//! uploads are written and passed on piece by piece, sealed with a sync that takes time, and
//! reported; removals and copies run at the same time.

mod assembly;
mod logs;
mod seal;
mod upload;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use chunkstore_core::master::{self, Reply};
use chunkstore_core::replica::{
    CommandNumber, Effect, Identity, Input, OpenAnswer, Refusal, ReplicaKey, Replicas, ReplyTo,
    SealAnswer,
};
use chunkstore_protocol::{ProblemKind, ServerAddress};
use ids::{HostName, Monotonic};

use crate::store::content::Content;
use crate::store::disk::{Disk, Health};
use crate::store::ground::{
    Answer, Ask, CallId, Event, Ground, Item, StreamId, Timer, Who, pieces,
};
use crate::store::invariants::Watch;
use crate::store::sabotage::Sabotage;

use assembly::Assemblies;
use logs::Logs;
use seal::Sealing;
pub(crate) use upload::Upload;

/// The most uploads that a server takes at once.
const UPLOADS_MAX: usize = 64;
/// How long a server waits for an answer.
const CALL_LIMIT: Duration = Duration::from_secs(2);
/// How long a cut-off upload is kept for its writer.
const KEEP_CUT_FOR: Duration = Duration::from_secs(10);
/// How long a copy may take.
const COPY_LIMIT: Duration = Duration::from_secs(6);
/// The time between two replicas that are read although no reader asks for them.
const SCRUB_INTERVAL: Duration = Duration::from_millis(800);

/// A copy on its way to another server.
struct Copying {
    command: CommandNumber,
    replica: ReplicaKey,
    sealed: chunkstore_core::replica::Sealed,
}

/// A chunkserver's machine; its disk survives its process.
pub(crate) struct Server {
    pub(crate) n: usize,
    rack: usize,
    sabotage: Option<Sabotage>,
    pub(crate) life: u32,
    pub(crate) disk: Disk,
    /// The most milliseconds that a sync of its disk takes.
    pub(crate) sync_millis: u64,
    core: Option<Replicas>,
    calls: BTreeSet<CallId>,
    pub(super) uploads: BTreeMap<StreamId, Upload>,
    /// The streams to servers downstream, and the upload that each belongs to.
    pub(super) forwards: BTreeMap<StreamId, StreamId>,
    copies: BTreeMap<StreamId, Copying>,
    removals: BTreeMap<u64, (CommandNumber, ReplicaKey)>,
    opening: Option<OpenAnswer>,
    sealing: Option<SealAnswer>,
    /// The callers that wait to hear how much of a replica there is.
    freezing: BTreeMap<ReplyTo, (Who, CallId)>,
    cut_seals: BTreeMap<u64, Sealing>,
    logs: Logs,
    assemblies: Assemblies,
    scrubbed: Option<ReplicaKey>,
    next_number: u64,
    timer: Option<Monotonic>,
}

pub(crate) fn host(n: usize) -> HostName {
    format!("host-{n}").parse().expect("a host's name")
}

/// The number of a simulated host.
pub(crate) fn number(host: &HostName) -> usize {
    host.as_str().trim_start_matches("host-").parse().unwrap_or_default()
}

impl Server {
    pub(crate) fn new(n: usize, rack: usize, disk: Disk, sabotage: Option<Sabotage>) -> Self {
        Self {
            n,
            rack,
            sabotage,
            life: 0,
            disk,
            sync_millis: 5,
            core: None,
            calls: BTreeSet::new(),
            uploads: BTreeMap::new(),
            forwards: BTreeMap::new(),
            copies: BTreeMap::new(),
            removals: BTreeMap::new(),
            opening: None,
            sealing: None,
            freezing: BTreeMap::new(),
            cut_seals: BTreeMap::new(),
            logs: Logs::default(),
            assemblies: Assemblies::default(),
            scrubbed: None,
            next_number: 0,
            timer: None,
        }
    }

    fn who(&self) -> Who {
        Who::Server(self.n)
    }

    pub(crate) fn is_up(&self) -> bool {
        self.core.is_some()
    }

    /// The process starts with what is on its disk.
    pub(crate) fn start(&mut self, ground: &mut Ground, watch: &mut Watch) {
        if self.core.is_some() {
            return;
        }
        let (n_files, n_broken) = (self.disk.files().count(), self.disk.broken().count());
        ground.say(format_args!("host-{} starts over {n_files} files, {n_broken} broken", self.n));
        let identity = Identity {
            cluster: self.disk.cluster.clone(),
            term: self.disk.term,
            host: host(self.n),
            rack: format!("/rack-{}", self.rack).parse().expect("a rack's name"),
            address: format!("host-{}:1", self.n),
            incarnation: ground.random.next(),
        };
        let held = self.disk.files().map(|(replica, file)| (replica, file.sealed()));
        let core = Replicas::new(identity, UPLOADS_MAX, held.collect::<Vec<_>>());
        let logs = self.find_logs(watch);
        self.core = Some(core.keeping_cuts_for(KEEP_CUT_FOR).with_logs(logs));
        self.tick(ground, watch);
        self.scrub(ground, watch);
    }

    /// Reads the next replica, so that rot is found even if nobody reads it.
    fn scrub(&mut self, ground: &mut Ground, watch: &mut Watch) {
        self.scrubbed = self.disk.next_after(self.scrubbed);
        if let Some(replica) = self.scrubbed {
            // If it is bad, reading it tells the master.
            let _ = self.read(ground, watch, replica);
        }
        let (who, life, timer) = (self.who(), self.life, Timer::Scrub);
        ground.after(SCRUB_INTERVAL, Event::Woken { who, life, timer });
    }

    /// The process ends, as by SIGKILL or a power failure.
    pub(crate) fn crash(&mut self, ground: &mut Ground) {
        if self.core.take().is_none() {
            return;
        }
        ground.say(format_args!("host-{} crashes", self.n));
        ground.break_all(self.who());
        self.disk.crash(&mut ground.random);
        self.calls.clear();
        self.uploads.clear();
        self.forwards.clear();
        self.copies.clear();
        self.removals.clear();
        self.freezing.clear();
        self.cut_seals.clear();
        self.logs = Logs::default();
        self.assemblies = Assemblies::default();
        self.timer = None;
        self.life += 1;
    }

    /// A process sends a request.
    pub(crate) fn receive(
        &mut self,
        ground: &mut Ground,
        watch: &mut Watch,
        (from, call): (Who, CallId),
        ask: &Ask,
    ) {
        if self.core.is_none() {
            return ground.refuse(from, call);
        }
        match ask {
            Ask::Read(replica) => {
                let bytes = self.read(ground, watch, *replica);
                ground.answer(self.who(), from, call, Answer::Bytes(bytes));
            }
            Ask::ReadBlocks(replica) => {
                let blocks = self.sound_blocks(*replica);
                ground.answer(self.who(), from, call, Answer::Blocks(blocks));
            }
            Ask::Freeze(replica) => self.freeze(ground, watch, (from, call), *replica),
            Ask::Seal(replica, length) => {
                self.seal_cut(ground, watch, (from, call), (*replica, *length));
            }
            Ask::AppendRecords { replica, followers, batch, frames } => {
                let what = (*replica, followers.as_slice(), *batch, frames.clone());
                self.append_records(ground, watch, (from, call), what);
            }
            Ask::Follow { replica, offset, frames } => {
                let what = (*replica, *offset, frames.clone());
                self.follow_log(ground, watch, (from, call), what);
            }
            Ask::ReadRecords { replica, offset } => {
                self.read_records(ground, watch, (from, call), (*replica, *offset));
            }
            _ => {}
        }
    }

    /// Reads and verifies a replica; a bad one is set aside.
    fn read(
        &mut self,
        ground: &mut Ground,
        watch: &mut Watch,
        replica: ReplicaKey,
    ) -> Result<Content, &'static str> {
        if self.disk.health == Health::Failing {
            return Err("the disk fails");
        }
        match self.disk.read(replica) {
            None => Err("not held"),
            Some(file) if file.is_whole() => Ok(file.content.clone()),
            Some(_) => {
                ground.say(format_args!("host-{} finds {} broken", self.n, replica.chunk));
                self.disk.set_aside(replica);
                self.tell(ground, watch, Input::Lost { replica });
                Err("broken")
            }
        }
    }

    /// A call was answered, or failed.
    pub(crate) fn answered(
        &mut self,
        ground: &mut Ground,
        watch: &mut Watch,
        call: CallId,
        answer: Option<Answer>,
    ) {
        if self.log_answered(ground, watch, call, answer.as_ref())
            || self.blocks_came(ground, watch, call, answer.as_ref())
            || !self.calls.remove(&call)
        {
            return;
        }
        let input = match answer {
            Some(Answer::Master(answer)) => match *answer {
                Ok(Reply::Registered(registered)) => {
                    let broken = self.disk.broken().collect();
                    self.tell(ground, watch, Input::BrokenKept(broken));
                    Input::Registered(registered)
                }
                Ok(Reply::Heartbeat(reply)) => Input::HeartbeatReplied(reply),
                Ok(_) => return,
                Err(refusal) => Input::MasterRefused(refused(&refusal)),
            },
            Some(
                Answer::Bytes(_)
                | Answer::Blocks(_)
                | Answer::Frozen(_)
                | Answer::Sealed(_)
                | Answer::Appended(_)
                | Answer::Followed(_),
            ) => return,
            None => Input::MasterSilent,
        };
        self.tell(ground, watch, input);
    }

    /// Handles one of its timers.
    pub(crate) fn wake(&mut self, ground: &mut Ground, watch: &mut Watch, timer: Timer) {
        match timer {
            Timer::Core => {
                self.timer = None;
                self.tick(ground, watch);
            }
            Timer::Sealed(stream) => self.upload_synced(ground, watch, stream),
            Timer::Patience(stream) => self.out_of_patience(ground, watch, stream),
            Timer::Removed(number) => self.removed(ground, watch, number),
            Timer::CutSealed(number) => self.cut_synced(ground, watch, number),
            Timer::Assembled(number) => self.assembled(ground, watch, number),
            Timer::Log(number) => self.log_due(ground, watch, number),
            Timer::Scrub => self.scrub(ground, watch),
            Timer::ClusterKept => {
                self.disk.cluster = Some("cluster-1".parse().expect("a cluster's id"));
                self.tell(ground, watch, Input::ClusterKept);
            }
            Timer::TermKept(term) => {
                self.disk.term = Some(term);
                self.tell(ground, watch, Input::TermKept(term));
            }
            _ => {}
        }
    }

    /// Runs the core's time-out if it is due; the disk's space is measured first.
    fn tick(&mut self, ground: &mut Ground, watch: &mut Watch) {
        let now = ground.now();
        let space = self.disk.space();
        let Some(core) = &mut self.core else { return };
        if core.poll_timeout().is_some_and(|due| due <= now.monotonic) {
            let mut effects = core.handle(now, Input::SpaceMeasured(space));
            effects.extend(core.handle_timeout(now));
            self.carry_out(ground, watch, effects);
        }
        self.set_timer(ground);
    }

    pub(super) fn tell(&mut self, ground: &mut Ground, watch: &mut Watch, input: Input) {
        let Some(core) = &mut self.core else { return };
        let effects = core.handle(ground.now(), input);
        self.carry_out(ground, watch, effects);
        self.set_timer(ground);
    }

    fn set_timer(&mut self, ground: &mut Ground) {
        let due = self.core.as_ref().and_then(Replicas::poll_timeout);
        let Some(due) = due.filter(|due| self.timer.is_none_or(|set| *due < set)) else { return };
        self.timer = Some(due);
        ground.at(due, Event::Woken { who: self.who(), life: self.life, timer: Timer::Core });
    }

    fn carry_out(&mut self, ground: &mut Ground, watch: &mut Watch, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Reply { answer, .. } => self.opening = Some(answer),
                Effect::ReplySeal { answer, .. } => self.sealing = Some(answer),
                Effect::ReplyFrozen { to, answer } => self.frozen(ground, to, answer),
                Effect::EndUpload { replica } => self.end_upload(ground, watch, replica),
                Effect::Register(request) => self.call(ground, &Ask::Register(*request)),
                Effect::Heartbeat(heartbeat) => {
                    if let Some(core) = &self.core {
                        let pending = core.summary().n_events_pending;
                        watch.check_pending("replica events", pending);
                    }
                    self.call(ground, &Ask::Heartbeat(*heartbeat));
                }
                Effect::KeepCluster(_) => self.later(ground, Timer::ClusterKept),
                Effect::KeepTerm(term) => self.later(ground, Timer::TermKept(term)),
                Effect::Delete { command, replica, .. } => {
                    self.drop_log(ground, replica);
                    self.next_number += 1;
                    self.removals.insert(self.next_number, (command, replica));
                    self.later(ground, Timer::Removed(self.next_number));
                }
                Effect::Copy { command, replica, to, .. } => {
                    self.copy(ground, watch, (command, replica), &to);
                }
                Effect::Assemble { command, replica, sealed, from } => {
                    self.assemble(ground, watch, command, (replica, sealed), &from);
                }
                Effect::Verify { command, replica } => {
                    let whole = self.sabotage == Some(Sabotage::VerifiedUnread)
                        || self.read(ground, watch, replica).is_ok();
                    self.tell(ground, watch, Input::Verified { command, replica, whole });
                }
                Effect::EndLog { command, replica, servers, sealed } => {
                    let hosts: Vec<HostName> = servers.into_iter().map(|it| it.host).collect();
                    self.end_log_as_told(ground, watch, (replica, sealed), &hosts, command);
                }
                Effect::Stop(reason) => {
                    watch.broken("fencing", format!("host-{} was told to stop: {reason}", self.n));
                }
            }
        }
    }

    fn call(&mut self, ground: &mut Ground, ask: &Ask) {
        let call = ground.call(self.who(), Who::Master, ask, CALL_LIMIT);
        self.calls.insert(call);
    }

    pub(super) fn later(&self, ground: &mut Ground, timer: Timer) {
        let pause = ground.random.millis(0..self.sync_millis);
        ground.after(pause, Event::Woken { who: self.who(), life: self.life, timer });
    }

    fn removed(&mut self, ground: &mut Ground, watch: &mut Watch, number: u64) {
        let Some((command, replica)) = self.removals.remove(&number) else { return };
        let truth = watch.truth.get(&replica.chunk);
        if truth.is_some_and(|truth| self.disk.has(replica, truth)) {
            watch.removed.push((self.n, replica));
        }
        ground.say(format_args!("host-{} removes {}", self.n, replica.chunk));
        self.disk.remove(replica);
        self.tell(ground, watch, Input::Deleted { command, replica });
    }

    fn copy(
        &mut self,
        ground: &mut Ground,
        watch: &mut Watch,
        (command, replica): (CommandNumber, ReplicaKey),
        to: &ServerAddress,
    ) {
        let Ok(content) = self.read(ground, watch, replica) else {
            return self.tell(ground, watch, Input::CopyEnded { command, replica, done: false });
        };
        ground.say(format_args!("host-{} copies {} to {}", self.n, replica.chunk, to.host));
        let put = Item::Put { replica, downstream: Vec::new(), passed_on: true, is_copy: true };
        let stream = ground.open(self.who(), number(&to.host), put);
        for piece in pieces(&content) {
            ground.send(stream, Item::Data(piece));
        }
        let file = crate::store::disk::File::new(content);
        let sealed = file.sealed();
        ground.send(stream, Item::End(sealed.checksum));
        self.copies.insert(stream, Copying { command, replica, sealed });
        let timer = Timer::Patience(stream);
        ground.after(COPY_LIMIT, Event::Woken { who: self.who(), life: self.life, timer });
    }

    /// Ends a copy, if the stream belongs to one; returns whether it did.
    pub(super) fn end_copy(
        &mut self,
        ground: &mut Ground,
        watch: &mut Watch,
        stream: StreamId,
        answer: Option<&chunkstore_protocol::SealedChunk>,
    ) -> bool {
        let Some(Copying { command, replica, sealed }) = self.copies.remove(&stream) else {
            return false;
        };
        let same = |told: &chunkstore_protocol::SealedChunk| {
            (told.length, told.checksum) == (sealed.length, sealed.checksum)
        };
        let done = answer.is_some_and(same);
        if answer.is_none() {
            ground.break_off(stream);
        }
        self.tell(ground, watch, Input::CopyEnded { command, replica, done });
        true
    }

    pub(super) fn may_open(
        &mut self,
        ground: &mut Ground,
        watch: &mut Watch,
        replica: ReplicaKey,
        is_copy: bool,
    ) -> Option<OpenAnswer> {
        self.next_number += 1;
        let to = ReplyTo(self.next_number);
        self.tell(ground, watch, Input::OpenRequested { to, replica, is_copy });
        self.opening.take()
    }

    pub(super) fn seals_short(&self) -> bool {
        self.sabotage == Some(Sabotage::SealedShort)
    }
}

fn refused(refusal: &master::Refusal) -> Refusal {
    match refusal.kind() {
        ProblemKind::NotRegistered => Refusal::NotRegistered,
        ProblemKind::WrongCluster => Refusal::WrongCluster,
        ProblemKind::WrongProtocol => Refusal::WrongProtocol,
        ProblemKind::HostNameTaken => Refusal::HostNameTaken,
        _ => Refusal::Other,
    }
}
