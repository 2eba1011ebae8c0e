//! One chunkserver's replicas: which are open, sealed or being deleted, and what the chunk master must
//! be told of them, by numbered events over heartbeats. Not here: files, sockets, checksums; the
//! chunkserver's event loop calls this and carries out the [`Effect`]s.
//!
//! Nothing here is journaled: the sealed files on disk are the durable state, listed at start and
//! reported whole at each registration (GFS 4.1: the master asks the chunkservers what they hold).
//!
//! An upload that breaks off leaves its replica cut: nothing is added to it, and it waits for its writer to
//! seal it at the length that all servers of its pipeline have. Nothing of it was acknowledged, so that it
//! may go at a restart, and does when nobody has come for a while.

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

/// The question that an [`Effect::Reply`] answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ReplyTo(pub u64);

/// What can happen to a server's replicas.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// Someone wants to write a replica. Answered by [`OpenAnswer`].
    OpenRequested {
        /// Whom to answer.
        to: ReplyTo,
        /// What they want to write.
        replica: ReplicaKey,
        /// Whether it is a copy of one that is sealed elsewhere.
        is_copy: bool,
    },
    /// An open replica's file is synced and carries its final name.
    Sealed {
        /// What was written.
        replica: ReplicaKey,
        /// Its length and checksum.
        sealed: Sealed,
    },
    /// An open replica's upload ended early; its file is removed.
    Aborted {
        /// What was being written.
        replica: ReplicaKey,
    },
    /// An open replica's upload ended early; its file is kept, and takes no more.
    Cut {
        /// What was being written.
        replica: ReplicaKey,
        /// Verified bytes in the file, whole blocks: more than 0.
        length: u64,
    },
    /// Someone wants to write a replica of a log's open chunk. Answered by [`OpenAnswer`].
    LogRequested {
        /// Whom to answer.
        to: ReplyTo,
        /// What they want to write.
        replica: ReplicaKey,
    },
    /// A log's replica is there, empty and durable, and takes records.
    LogOpened {
        /// Which.
        replica: ReplicaKey,
    },
    /// A log's replica takes no more records; or it could not be sealed.
    LogEnded {
        /// Which.
        replica: ReplicaKey,
        /// What is there, synced.
        ended: Ended,
    },
    /// A log's chunk ended here, and its servers could not settle what it came to: the master is to see to it.
    LogStuck {
        /// Which.
        replica: ReplicaKey,
    },
    /// An [`Effect::EndLog`] was carried out, or tried.
    LogEndTried {
        /// The effect's command.
        command: CommandNumber,
    },
    /// Someone wants to know how much there is of a replica, and that nothing is added from then on.
    /// Answered by [`FreezeAnswer`].
    FreezeRequested {
        /// Whom to answer.
        to: ReplyTo,
        /// What to freeze.
        replica: ReplicaKey,
    },
    /// Someone wants a cut replica sealed at a length. Answered by [`SealAnswer`].
    SealRequested {
        /// Whom to answer.
        to: ReplyTo,
        /// What to seal.
        replica: ReplicaKey,
        /// Bytes that it is to have.
        length: u64,
    },
    /// A sealed replica was found missing or corrupt, and is set aside.
    Lost {
        /// What is lost.
        replica: ReplicaKey,
    },
    /// An [`Effect::Delete`] is carried out.
    Deleted {
        /// The effect's command.
        command: CommandNumber,
        /// What is gone.
        replica: ReplicaKey,
    },
    /// Broken replicas are kept, as looked for just now; the master is told with the next registration.
    BrokenKept(Vec<ReplicaKey>),
    /// An [`Effect::Copy`] or [`Effect::Assemble`] has ended.
    CopyEnded {
        /// The effect's command.
        command: CommandNumber,
        /// What was sent, or put together.
        replica: ReplicaKey,
        /// Whether it arrived: the other server sealed the same bytes. Or it is sealed here, which was told before.
        done: bool,
    },
    /// An [`Effect::Verify`] has ended. A replica that is broken was told to be lost before.
    Verified {
        /// The effect's command.
        command: CommandNumber,
        /// What was read.
        replica: ReplicaKey,
        /// Whether all of it is there, as it was sealed.
        whole: bool,
    },
    /// Size and room of all disks that work, bytes, as measured just now.
    SpaceMeasured(Space),
    /// Each disk, as looked at just now; the master is told with the next message.
    DisksMeasured(Vec<DiskState>),
    /// The master took the registration.
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
    /// Which registration of this process, from 1.
    pub registration: u64,
    /// The command's number within it.
    pub number: u64,
}

/// What the shell must do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Answer an [`Input::OpenRequested`].
    Reply {
        /// Whom.
        to: ReplyTo,
        /// With what.
        answer: OpenAnswer,
    },
    /// Answer an [`Input::FreezeRequested`].
    ReplyFrozen {
        /// Whom.
        to: ReplyTo,
        /// With what.
        answer: FreezeAnswer,
    },
    /// Answer an [`Input::SealRequested`].
    ReplySeal {
        /// Whom.
        to: ReplyTo,
        /// With what.
        answer: SealAnswer,
    },
    /// End the upload of this replica, if one is under way; then [`Input::Cut`] or [`Input::Aborted`].
    EndUpload {
        /// What is being written.
        replica: ReplicaKey,
    },
    /// Send this registration; report back what came of it.
    Register(Box<RegisterServer>),
    /// Keep this cluster's id in the data folder, durably; then [`Input::ClusterKept`].
    KeepCluster(ClusterId),
    /// Keep this in the data folders, durably; then [`Input::TermKept`].
    KeepTerm(KeptTerm),
    /// Send this heartbeat; report back what came of it.
    Heartbeat(Box<ServerHeartbeat>),
    /// Remove a replica's file; then [`Input::Deleted`]. A missing file counts as removed.
    Delete {
        /// To be given back.
        command: CommandNumber,
        /// What to remove.
        replica: ReplicaKey,
        /// It goes to the trash.
        orphan: bool,
    },
    /// Send a sealed replica to another server; then [`Input::CopyEnded`].
    Copy {
        /// To be given back.
        command: CommandNumber,
        /// What to send.
        replica: ReplicaKey,
        /// Where.
        to: ServerAddress,
        /// What for.
        purpose: CopyPurpose,
    },
    /// Put a replica together from the sound blocks of broken ones, and seal it, as an upload is; then
    /// [`Input::CopyEnded`].
    Assemble {
        /// To be given back.
        command: CommandNumber,
        /// What to make.
        replica: ReplicaKey,
        /// What it must be.
        sealed: Sealed,
        /// Servers that have broken ones too.
        from: Vec<ServerAddress>,
    },
    /// Read all of a sealed replica; then [`Input::Verified`].
    Verify {
        /// To be given back.
        command: CommandNumber,
        /// What to read.
        replica: ReplicaKey,
    },
    /// End the open chunk of a log on all of its servers; then [`Input::LogEndTried`].
    EndLog {
        /// To be given back.
        command: CommandNumber,
        /// The chunk.
        replica: ReplicaKey,
        /// Its servers.
        servers: Vec<ServerAddress>,
        /// Bytes that it was sealed with without these, if it was.
        sealed: Option<u64>,
    },
    /// Stop the daemon: going on could mix two clusters or versions.
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
    /// A server that holds `sealed` and has not registered yet. Not more than `uploads_max` uploads
    /// run at once. Call [`Self::handle_timeout`] next.
    #[must_use]
    pub fn new(
        identity: Identity,
        uploads_max: usize,
        sealed: impl IntoIterator<Item = (ReplicaKey, Sealed)>,
    ) -> Self {
        let (held, link) = (Held::new(uploads_max, sealed), Link::new(identity));
        Self { held, cuts: Cuts::default(), link }
    }

    /// The same, keeping uploads that broke off for so long, not for [`KEEP_CUT_FOR`].
    #[must_use]
    pub fn keeping_cuts_for(mut self, time: Duration) -> Self {
        self.cuts.keep_for(time);
        self
    }

    /// The same, with replicas of logs that the last process left: they take no more records.
    #[must_use]
    pub fn with_logs(mut self, logs: impl IntoIterator<Item = (ReplicaKey, Ended)>) -> Self {
        logs.into_iter().for_each(|(replica, ended)| self.held.find_log(replica, ended));
        self
    }

    /// Takes one input; the effects are to be carried out in order.
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

    /// When [`Self::handle_timeout`] is due; `None` while a message to the master is in flight and no upload
    /// that broke off waits.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Monotonic> {
        [self.link.due(), self.cuts.due()].into_iter().flatten().min()
    }

    /// Sends what is due, and gives up what nobody came for. May be called at any time.
    pub fn handle_timeout(&mut self, now: Now) -> Vec<Effect> {
        let mut effects = Vec::new();
        while let Some(replica) = self.cuts.pop_passed(now.monotonic) {
            effects.extend(self.drop_cut(replica));
        }
        effects.extend(self.link.timeout(now));
        effects
    }

    /// Removes what an upload left. The master has only sealed chunks copied: from then on no writer comes for it.
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

    /// The upload of a replica has ended: answers those who wait to hear what it came to.
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
