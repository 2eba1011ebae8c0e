//! One chunkserver's replicas: which are open, sealed or being deleted, and what the chunk master
//! must be told of them, by numbered events in heartbeats. Not here: files, sockets, checksums. The
//! chunkserver's event loop calls this and carries out the [`Effect`]s.
//!
//! Nothing here is journaled: the sealed files on disk are the durable state. They are listed at
//! start and reported in full at each registration (GFS 4.1: the master asks the chunkservers what
//! they hold).
//!
//! An upload that breaks off leaves its replica cut: nothing is added to it, and it waits for its
//! writer to seal it at the length that all servers of its pipeline have. As nothing of it was
//! acknowledged, a restart may drop it, and so does a timeout when no writer has come for it.

mod answers;
mod cuts;
mod disk;
mod held;
mod link;
mod refusal;
mod watch;

use std::time::Duration;

use chunkstore_protocol::{
    CopyPurpose, DiskState, RegisterServer, ReplicaEvent, ServerAddress, ServerHeartbeat,
    ServerHeartbeatReply, ServerRegistered,
};
use ids::{ClusterId, Monotonic, Now};

pub use chunkstore_protocol::ReplicaKey;

pub use answers::{FreezeAnswer, OpenAnswer, SealAnswer, Summary};
pub use cuts::KEEP_CUT_FOR;
pub use disk::{DiskRoom, Space, choose_disk};
pub use held::Ended;
pub use link::{Identity, KeptTerm};
pub use refusal::{Refusal, StopReason};
pub use watch::{DiskCall, DiskNews, DiskWatch};

use cuts::Cuts;
use held::{CutOff, Freeze, Held};
use link::Link;

/// What a sealed replica is, as its footer says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sealed {
    /// Bytes of the chunk.
    pub length: u64,
    /// CRC32C of its bytes.
    pub checksum: u32,
}

/// The request that an [`Effect::Reply`] answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ReplyTo(pub u64);

/// What can happen to a server's replicas.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// A caller wants to write a replica. Answered by [`OpenAnswer`].
    OpenRequested {
        /// The request to answer.
        to: ReplyTo,
        /// The replica to write.
        replica: ReplicaKey,
        /// Whether it is a copy of one that is sealed elsewhere.
        is_copy: bool,
    },
    /// An open replica's file is synced and has its final name.
    Sealed {
        /// What was written.
        replica: ReplicaKey,
        /// Its length and checksum.
        sealed: Sealed,
    },
    /// An open replica's upload ended early, and its file is removed.
    Aborted {
        /// What was being written.
        replica: ReplicaKey,
    },
    /// An open replica's upload ended early; its file is kept and takes no more bytes.
    Cut {
        /// What was being written.
        replica: ReplicaKey,
        /// Verified bytes in the file, in whole blocks; more than 0.
        length: u64,
    },
    /// A caller wants to write a replica of a log's open chunk. Answered by [`OpenAnswer`].
    LogRequested {
        /// The request to answer.
        to: ReplyTo,
        /// The replica to write.
        replica: ReplicaKey,
    },
    /// A log's replica exists, empty and durable, and takes records.
    LogOpened {
        /// Which.
        replica: ReplicaKey,
    },
    /// A log's replica takes no more records, or sealing it failed.
    LogEnded {
        /// Which.
        replica: ReplicaKey,
        /// What is there, synced.
        ended: Ended,
    },
    /// A log's chunk ended here and its servers could not settle how: the master must see to it.
    LogStuck {
        /// Which.
        replica: ReplicaKey,
    },
    /// An [`Effect::EndLog`] was carried out, or attempted.
    LogEndTried {
        /// The effect's command.
        command: CommandNumber,
    },
    /// A caller wants to know how much there is of a replica, and that nothing is added from then
    /// on. Answered by [`FreezeAnswer`].
    FreezeRequested {
        /// The request to answer.
        to: ReplyTo,
        /// The replica to freeze.
        replica: ReplicaKey,
    },
    /// A caller wants a replica whose upload broke off sealed at a length. Answered by
    /// [`SealAnswer`].
    SealRequested {
        /// The request to answer.
        to: ReplyTo,
        /// The replica to seal.
        replica: ReplicaKey,
        /// The length to seal it at, bytes.
        length: u64,
    },
    /// A sealed replica was found missing or corrupt, and its file is set aside.
    Lost {
        /// The replica.
        replica: ReplicaKey,
    },
    /// An [`Effect::Delete`] was carried out.
    Deleted {
        /// The effect's command.
        command: CommandNumber,
        /// The replica that was deleted.
        replica: ReplicaKey,
    },
    /// The broken replicas that are kept on disk, as just listed. The next registration reports
    /// them.
    BrokenKept(Vec<ReplicaKey>),
    /// An [`Effect::Copy`] or [`Effect::Assemble`] has ended.
    CopyEnded {
        /// The effect's command.
        command: CommandNumber,
        /// The replica that was sent or assembled.
        replica: ReplicaKey,
        /// Whether it succeeded: the other server sealed the same bytes or, for an assembly, it is
        /// sealed here, which was reported before.
        done: bool,
    },
    /// An [`Effect::Verify`] has ended. If the replica is broken, [`Input::Lost`] came before.
    Verified {
        /// The effect's command.
        command: CommandNumber,
        /// The replica that was read.
        replica: ReplicaKey,
        /// Whether all of it is there as it was sealed.
        whole: bool,
    },
    /// Size and free space of all working disks together, bytes, as just measured.
    SpaceMeasured(Space),
    /// The state of each disk, as just measured. The next message reports it to the master.
    DisksMeasured(Vec<DiskState>),
    /// The master accepted the registration.
    Registered(ServerRegistered),
    /// The cluster's id is on disk, as [`Effect::KeepCluster`] asked.
    ClusterKept,
    /// The term is on disk, as [`Effect::KeepTerm`] asked.
    TermKept(KeptTerm),
    /// The master answered the heartbeat in flight.
    HeartbeatReplied(ServerHeartbeatReply),
    /// The master refused the message in flight.
    MasterRefused(Refusal),
    /// The message in flight got no answer.
    MasterSilent,
}

/// A command of the master within one registration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CommandNumber {
    /// The number of the registration in this process, from 1.
    pub registration: u64,
    /// The command's number within it.
    pub number: u64,
}

/// What the shell must do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Answer [`Input::OpenRequested`].
    Reply {
        /// The request.
        to: ReplyTo,
        /// The answer.
        answer: OpenAnswer,
    },
    /// Answer [`Input::FreezeRequested`].
    ReplyFrozen {
        /// The request.
        to: ReplyTo,
        /// The answer.
        answer: FreezeAnswer,
    },
    /// Answer [`Input::SealRequested`].
    ReplySeal {
        /// The request.
        to: ReplyTo,
        /// The answer.
        answer: SealAnswer,
    },
    /// End the upload of this replica, if one is under way; then report [`Input::Cut`] or
    /// [`Input::Aborted`].
    EndUpload {
        /// The replica being written.
        replica: ReplicaKey,
    },
    /// Send this registration and report its outcome.
    Register(Box<RegisterServer>),
    /// Persist this cluster's id in the data folder; then report [`Input::ClusterKept`].
    KeepCluster(ClusterId),
    /// Persist this term in the data folders; then report [`Input::TermKept`].
    KeepTerm(KeptTerm),
    /// Send this heartbeat and report its outcome.
    Heartbeat(Box<ServerHeartbeat>),
    /// Remove a replica's file; then report [`Input::Deleted`]. A missing file counts as removed.
    Delete {
        /// Goes into the report.
        command: CommandNumber,
        /// The replica to remove.
        replica: ReplicaKey,
        /// Whether it goes to the trash.
        orphan: bool,
    },
    /// Send a sealed replica to another server; then report [`Input::CopyEnded`].
    Copy {
        /// Goes into the report.
        command: CommandNumber,
        /// The replica to send.
        replica: ReplicaKey,
        /// Where to.
        to: ServerAddress,
        /// What for.
        purpose: CopyPurpose,
    },
    /// Assemble a replica from the sound blocks of broken ones and seal it like an upload; then
    /// report [`Input::CopyEnded`].
    Assemble {
        /// Goes into the report.
        command: CommandNumber,
        /// The replica to make.
        replica: ReplicaKey,
        /// The length and checksum that it must have.
        sealed: Sealed,
        /// Other servers that have broken replicas of it.
        from: Vec<ServerAddress>,
    },
    /// Read all of a sealed replica; then report [`Input::Verified`].
    Verify {
        /// Goes into the report.
        command: CommandNumber,
        /// The replica to read.
        replica: ReplicaKey,
    },
    /// End the open chunk of a log on all of its servers; then report [`Input::LogEndTried`].
    EndLog {
        /// Goes into the report.
        command: CommandNumber,
        /// The chunk.
        replica: ReplicaKey,
        /// Its servers.
        servers: Vec<ServerAddress>,
        /// The length at which other servers have sealed it already, if they have.
        sealed: Option<u64>,
    },
    /// Stop the daemon: to go on could mix two clusters or protocol versions.
    Stop(StopReason),
}

/// The state of one server's replicas.
#[derive(Debug)]
pub struct Replicas {
    held: Held,
    cuts: Cuts,
    link: Link,
}

impl Replicas {
    /// A server that holds `sealed` and has not registered yet; it runs at most `uploads_max`
    /// uploads at once. Call [`Self::handle_timeout`] next.
    #[must_use]
    pub fn new(
        identity: Identity,
        uploads_max: usize,
        sealed: impl IntoIterator<Item = (ReplicaKey, Sealed)>,
    ) -> Self {
        let (held, link) = (Held::new(uploads_max, sealed), Link::new(identity));
        Self { held, cuts: Cuts::default(), link }
    }

    /// Keeps uploads that broke off for `time` instead of [`KEEP_CUT_FOR`].
    #[must_use]
    pub fn keeping_cuts_for(mut self, time: Duration) -> Self {
        self.cuts.keep_for(time);
        self
    }

    /// Adds log replicas that an earlier process left; they take no more records.
    #[must_use]
    pub fn with_logs(mut self, logs: impl IntoIterator<Item = (ReplicaKey, Ended)>) -> Self {
        logs.into_iter().for_each(|(replica, ended)| self.held.find_log(replica, ended));
        self
    }

    /// Takes one input. The effects must be carried out in order.
    #[must_use = "what follows from an input is to be carried out"]
    pub fn handle(&mut self, now: Now, input: Input) -> Vec<Effect> {
        match input {
            Input::OpenRequested { to, replica, is_copy } => {
                let mut effects = vec![Effect::Reply { to, answer: self.held.open(replica) }];
                if is_copy {
                    effects.extend(self.drop_cut(replica));
                }
                effects
            }
            Input::Sealed { replica, sealed } => self.handle_sealed(now, replica, sealed),
            Input::Aborted { replica } => {
                self.held.abort(replica);
                self.thaw(replica)
            }
            Input::Cut { replica, length } => self.handle_cut(now, replica, length),
            Input::LogRequested { to, replica } => {
                vec![Effect::Reply { to, answer: self.held.open_log(replica) }]
            }
            Input::LogOpened { replica } | Input::LogStuck { replica } => {
                let event = self.held.log_event(replica);
                self.link.tell(now, event)
            }
            Input::LogEnded { replica, ended } => self.handle_log_ended(replica, ended),
            Input::LogEndTried { command } => {
                self.link.command_done(command);
                Vec::new()
            }
            Input::FreezeRequested { to, replica } => match self.held.freeze(replica) {
                Freeze::Now(answer) => vec![Effect::ReplyFrozen { to, answer }],
                Freeze::WhenEnded => {
                    self.cuts.wait(replica, to);
                    vec![Effect::EndUpload { replica }]
                }
            },
            Input::SealRequested { to, replica, length } => {
                vec![Effect::ReplySeal { to, answer: self.held.seal_cut(replica, length) }]
            }
            Input::Lost { replica } => {
                let event = self.held.lose(replica);
                self.link.tell(now, event)
            }
            Input::Deleted { command, replica } => {
                let event = self.held.deleted(replica);
                self.link.command_done(command);
                self.link.tell(now, event)
            }
            Input::CopyEnded { command, replica, done } => {
                let asked = self.link.command_done(command);
                self.link.tell(now, asked.then(|| copy_ended(command, replica, done)))
            }
            Input::Verified { command, replica, whole } => {
                let asked = self.link.command_done(command);
                let whole = whole && self.held.sealed(replica).is_some();
                self.link.tell(now, asked.then(|| verified(replica, whole)))
            }
            Input::SpaceMeasured(space) => {
                self.link.measure(space);
                Vec::new()
            }
            Input::DisksMeasured(disks) => {
                self.link.measure_disks(disks);
                Vec::new()
            }
            Input::BrokenKept(replicas) => self.link.keep_broken(replicas),
            Input::Registered(registered) => self.link.registered(now, registered, &self.held),
            Input::ClusterKept => self.link.cluster_kept(now, &self.held),
            Input::TermKept(kept) => self.link.term_kept(now, kept),
            Input::HeartbeatReplied(reply) => self.link.replied(now, reply, &mut self.held),
            Input::MasterRefused(refusal) => self.link.refused(now, refusal),
            Input::MasterSilent => self.link.silent(now),
        }
    }

    /// When [`Self::handle_timeout`] is due; `None` while a message to the master is in flight and
    /// no upload that broke off is kept.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Monotonic> {
        [self.link.due(), self.cuts.due()].into_iter().flatten().min()
    }

    /// Sends what is due, and drops uploads that broke off and that nobody came for. May be called
    /// at any time.
    pub fn handle_timeout(&mut self, now: Now) -> Vec<Effect> {
        let mut effects = Vec::new();
        while let Some(replica) = self.cuts.pop_passed(now.monotonic) {
            effects.extend(self.drop_cut(replica));
        }
        effects.extend(self.link.timeout(now));
        effects
    }

    /// Removes what an upload left. The master copies only sealed chunks, so a copy means that no
    /// writer will come for it.
    fn drop_cut(&mut self, replica: ReplicaKey) -> Option<Effect> {
        let command = self.link.no_command();
        self.held.expire(replica).then_some(Effect::Delete { command, replica, orphan: false })
    }

    /// What a sealed replica is; `None` if it is not held.
    #[must_use]
    pub fn sealed(&self, replica: ReplicaKey) -> Option<Sealed> {
        self.held.sealed(replica)
    }

    /// Numbers for metrics.
    #[must_use]
    pub fn summary(&self) -> Summary {
        let count = self.held.count();
        Summary {
            n_sealed: count.n_sealed,
            n_open: count.n_open as u64,
            n_cut: count.n_cut as u64,
            n_logs: count.n_logs as u64,
            sealed_bytes: count.sealed_bytes,
            n_events_pending: self.link.n_events_pending(),
            registered: self.link.is_registered(),
        }
    }

    fn handle_sealed(&mut self, now: Now, replica: ReplicaKey, sealed: Sealed) -> Vec<Effect> {
        let mut effects = match self.held.seal(replica, sealed) {
            held::Seal::Kept(event) => self.link.tell(now, Some(event)),
            held::Seal::Doomed => {
                vec![Effect::Delete { command: self.link.no_command(), replica, orphan: false }]
            }
            held::Seal::Unknown => Vec::new(),
        };
        effects.extend(self.thaw(replica));
        effects
    }

    fn handle_cut(&mut self, now: Now, replica: ReplicaKey, length: u64) -> Vec<Effect> {
        let mut effects = Vec::new();
        match self.held.cut(replica, length) {
            CutOff::Kept => self.cuts.keep(now.monotonic, replica),
            CutOff::Dropped => {
                effects.push(Effect::Delete {
                    command: self.link.no_command(),
                    replica,
                    orphan: false,
                });
            }
            CutOff::Unknown => {}
        }
        effects.extend(self.thaw(replica));
        effects
    }

    fn handle_log_ended(&mut self, replica: ReplicaKey, ended: Ended) -> Vec<Effect> {
        let mut effects = Vec::new();
        if self.held.end_log(replica, ended) == CutOff::Dropped {
            let command = self.link.no_command();
            effects.push(Effect::Delete { command, replica, orphan: false });
        }
        effects.extend(self.thaw(replica));
        effects
    }

    /// The upload of a replica has ended: answers those who wait to freeze it.
    fn thaw(&mut self, replica: ReplicaKey) -> Vec<Effect> {
        let answer = match self.held.freeze(replica) {
            Freeze::Now(answer) => answer,
            Freeze::WhenEnded => return Vec::new(),
        };
        let waiting = self.cuts.waiting(replica);
        waiting.into_iter().map(|to| Effect::ReplyFrozen { to, answer }).collect()
    }
}

fn verified(ReplicaKey { chunk, version }: ReplicaKey, whole: bool) -> ReplicaEvent {
    ReplicaEvent::Verified { chunk, version, whole }
}

fn copy_ended(command: CommandNumber, replica: ReplicaKey, done: bool) -> ReplicaEvent {
    ReplicaEvent::CopyEnded { chunk: replica.chunk, command: command.number, done }
}

#[cfg(test)]
mod tests;
