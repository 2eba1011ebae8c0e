//! The server's side of its link to the chunk master: registration, numbered heartbeats, and when the
//! next message is due. One message is in flight at a time. Only `replica::Replicas` calls this.

use std::collections::BTreeSet;
use std::time::Duration;

use chunkstore_protocol::{
    DiskState, EVENTS_PER_HEARTBEAT_MAX, PROTOCOL_VERSION, RegisterServer, ReplicaEvent,
    ServerCommand, ServerHeartbeat, ServerHeartbeatReply, ServerRegistered, Term,
};
use ids::{ClusterId, Epoch, HeartbeatNumber, HostName, Inbox, Monotonic, Now, Outbox, RackName};

use super::held::{Doom, Held, lost_event};
use super::{
    CommandNumber, Effect, Refusal, ReplicaKey, Sealed, Space, StopReason, copy_ended, verified,
};

/// Pause before the first retry; it doubles each time.
const RETRY_FIRST: Duration = Duration::from_millis(20);
/// Longest pause before a retry.
const RETRY_MAX: Duration = Duration::from_secs(1);
/// Shortest pause between heartbeats when there is nothing to tell.
const INTERVAL_MIN: Duration = Duration::from_millis(10);
/// The number of the master's last record is persisted at most this often: each time costs a sync
/// on every disk.
const RECORD_KEPT_EVERY: Duration = Duration::from_secs(5);

/// A term of the chunk master, as persisted in the data folders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeptTerm {
    /// The term.
    pub term: Term,
    /// The last record of the master's journal that was both told and persisted; not every one is.
    pub last_record: u64,
}

/// Who this server is, as it registers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The cluster of the data folder; `None` while it is new.
    pub cluster: Option<ClusterId>,
    /// The last term of the chunk master that was persisted.
    pub term: Option<KeptTerm>,
    /// Host name.
    pub host: HostName,
    /// Rack.
    pub rack: RackName,
    /// `host:port` where clients reach it.
    pub address: String,
    /// Random per process; also seeds the jitter of retries.
    pub incarnation: u64,
}

#[derive(Debug)]
enum State {
    /// A registration is due at this time.
    Unregistered { due: Monotonic },
    /// A registration is in flight.
    Registering,
    /// Registered, but the cluster's id is not on disk yet.
    Joining(ServerRegistered),
    /// Known to the master.
    Registered(Session),
    /// Nothing is sent any more.
    Stopped,
}

#[derive(Debug)]
struct Session {
    epoch: Epoch,
    session: u64,
    interval: Duration,
    /// Number of the last heartbeat sent.
    number: u64,
    /// When the next one is due; `None` while one is in flight.
    due: Option<Monotonic>,
    events: Outbox<ReplicaEvent>,
    /// Number of the last event of the chunk report.
    report_end: u64,
    commands: Inbox,
    /// Commands taken but not yet carried out.
    running: BTreeSet<u64>,
}

/// The link to the master.
#[derive(Debug)]
pub(super) struct Link {
    identity: Identity,
    space: Space,
    disks: Vec<DiskState>,
    state: State,
    /// Registrations so far.
    registration: u64,
    /// Failures in a row.
    n_failures: u32,
    jitter: u64,
    /// What was lost while a registration is in flight: a writer may already have told the master,
    /// within that very registration, that this server has it.
    lost: Vec<ReplicaEvent>,
    /// When the number of the master's last record may be persisted next.
    record_due: Monotonic,
    /// Broken replicas that the next registration reports to the master.
    broken: Vec<ReplicaKey>,
}

/// Broken replicas that are reported to the master, which remembers no more than these.
const BROKEN_TOLD_MAX: usize = 10_000;

impl Link {
    pub(super) fn new(identity: Identity) -> Self {
        let jitter = identity.incarnation | 1;
        let state = State::Unregistered { due: Monotonic::default() };
        let (space, disks) = (Space::default(), Vec::new());
        let (lost, broken) = (Vec::new(), Vec::new());
        let record_due = Monotonic::default();
        let (registration, n_failures) = (0, 0);
        Self {
            identity,
            space,
            disks,
            state,
            registration,
            n_failures,
            jitter,
            lost,
            record_due,
            broken,
        }
    }

    pub(super) fn due(&self) -> Option<Monotonic> {
        match &self.state {
            State::Unregistered { due } => Some(*due),
            State::Registered(session) => session.due,
            State::Registering | State::Joining(_) | State::Stopped => None,
        }
    }

    pub(super) fn is_registered(&self) -> bool {
        matches!(self.state, State::Registered(_))
    }

    pub(super) fn n_events_pending(&self) -> u64 {
        match &self.state {
            State::Registered(session) => session.events.len() as u64,
            _ => 0,
        }
    }

    pub(super) fn measure(&mut self, space: Space) {
        self.space = space;
    }

    pub(super) fn measure_disks(&mut self, disks: Vec<DiskState>) {
        self.disks = disks;
    }

    /// Sends nothing: the next registration reports them.
    pub(super) fn keep_broken(&mut self, mut broken: Vec<ReplicaKey>) -> Vec<Effect> {
        broken.truncate(BROKEN_TOLD_MAX);
        self.broken = broken;
        Vec::new()
    }

    /// Sends what is due at `now`.
    pub(super) fn timeout(&mut self, now: Now) -> Vec<Effect> {
        if self.due().is_none_or(|due| due > now.monotonic) {
            return Vec::new();
        }
        match &mut self.state {
            State::Unregistered { .. } => {
                self.state = State::Registering;
                self.lost.clear();
                vec![Effect::Register(Box::new(self.registration()))]
            }
            State::Registered(session) => {
                let heartbeat = session.heartbeat(&self.identity, self.space, &self.disks);
                vec![Effect::Heartbeat(Box::new(heartbeat))]
            }
            State::Registering | State::Joining(_) | State::Stopped => Vec::new(),
        }
    }

    /// Queues an event and sends it at once if no message is in flight.
    pub(super) fn tell(&mut self, now: Now, event: Option<ReplicaEvent>) -> Vec<Effect> {
        let Some(event) = event else { return Vec::new() };
        let session = match &mut self.state {
            State::Registered(session) => session,
            State::Registering | State::Joining(_) => {
                self.lost.extend(Some(event).filter(|it| matches!(it, ReplicaEvent::Lost { .. })));
                return Vec::new();
            }
            // The next registration reports everything held.
            State::Unregistered { .. } | State::Stopped => return Vec::new(),
        };
        session.events.push(event);
        // While the master is unreachable, its next retry comes soon enough.
        if session.due.is_some() && self.n_failures == 0 {
            session.due = Some(now.monotonic);
        }
        self.timeout(now)
    }

    /// Whether the command belongs to the current registration and was still running.
    pub(super) fn command_done(&mut self, command: CommandNumber) -> bool {
        match &mut self.state {
            State::Registered(session) if command.registration == self.registration => {
                session.running.remove(&command.number)
            }
            _ => false,
        }
    }

    /// The command number of a removal that no command asks for.
    pub(super) fn no_command(&self) -> CommandNumber {
        CommandNumber { registration: 0, number: 0 }
    }

    pub(super) fn registered(
        &mut self,
        now: Now,
        registered: ServerRegistered,
        held: &Held,
    ) -> Vec<Effect> {
        if !matches!(self.state, State::Registering) {
            return Vec::new();
        }
        let cluster = registered.cluster.clone();
        match &self.identity.cluster {
            Some(ours) if *ours == cluster => self.start_session(now, &registered, held),
            Some(_) => self.stop(StopReason::WrongCluster),
            None => {
                self.state = State::Joining(registered);
                vec![Effect::KeepCluster(cluster)]
            }
        }
    }

    pub(super) fn cluster_kept(&mut self, now: Now, held: &Held) -> Vec<Effect> {
        let State::Joining(registered) = &self.state else {
            return Vec::new();
        };
        let registered = registered.clone();
        self.identity.cluster = Some(registered.cluster.clone());
        self.start_session(now, &registered, held)
    }

    pub(super) fn replied(
        &mut self,
        now: Now,
        reply: ServerHeartbeatReply,
        held: &mut Held,
    ) -> Vec<Effect> {
        let registration = self.registration;
        let State::Registered(session) = &mut self.state else {
            return Vec::new();
        };
        if reply.epoch != session.epoch {
            return self.register_again(now);
        }
        self.n_failures = 0;
        let term = reply.term_id.map(|id| Term { epoch: reply.epoch, id });
        let told = term.map(|term| KeptTerm { term, last_record: reply.last_record });
        let kept = self.identity.term;
        if let Some(told) = told.filter(|told| kept.map(|kept| kept.term) != Some(told.term)) {
            // Nothing is done in a term that is not on disk yet. The master repeats its reply then.
            return vec![Effect::KeepTerm(told)];
        }
        session.events.acknowledge(reply.events_received);
        let mut effects = Vec::new();
        let grew = told.zip(kept).is_some_and(|(told, kept)| told.last_record > kept.last_record);
        if let Some(told) = told.filter(|_| grew && self.record_due <= now.monotonic) {
            self.record_due = now.monotonic + RECORD_KEPT_EVERY;
            effects.push(Effect::KeepTerm(told));
        }
        let mut number = session.commands.received();
        for command in session.commands.accept(reply.commands) {
            number += 1;
            match begin(command, CommandNumber { registration, number }, held) {
                Begun::Running(effect) => {
                    session.running.insert(number);
                    effects.push(effect);
                }
                Begun::Ended(event) => {
                    session.events.push(event);
                }
            }
        }
        let pause = if session.events.is_empty() { session.interval } else { Duration::ZERO };
        session.due = Some(now.monotonic + pause);
        effects.extend(self.timeout(now));
        effects
    }

    pub(super) fn term_kept(&mut self, now: Now, kept: KeptTerm) -> Vec<Effect> {
        let is_late = |now: KeptTerm| now.term.epoch > kept.term.epoch;
        if self.identity.term.is_some_and(is_late) {
            return Vec::new();
        }
        let before = self.identity.term.replace(kept);
        self.record_due = now.monotonic + RECORD_KEPT_EVERY;
        if before.is_some_and(|before| before.term == kept.term) {
            // Only the record number is new, and nobody waits for that.
            return Vec::new();
        }
        if let State::Registered(session) = &mut self.state {
            session.due.get_or_insert(now.monotonic);
        }
        self.timeout(now)
    }

    pub(super) fn refused(&mut self, now: Now, refusal: Refusal) -> Vec<Effect> {
        match refusal {
            Refusal::WrongCluster => self.stop(StopReason::WrongCluster),
            Refusal::WrongProtocol => self.stop(StopReason::WrongProtocol),
            Refusal::NotRegistered if self.is_registered() => self.register_again(now),
            Refusal::NotRegistered | Refusal::HostNameTaken | Refusal::Other => self.silent(now),
        }
    }

    pub(super) fn silent(&mut self, now: Now) -> Vec<Effect> {
        let due = now.monotonic + self.pause();
        match &mut self.state {
            State::Registering => self.state = State::Unregistered { due },
            State::Registered(session) => session.due = Some(due),
            State::Unregistered { .. } | State::Joining(_) | State::Stopped => {}
        }
        Vec::new()
    }

    fn register_again(&mut self, now: Now) -> Vec<Effect> {
        self.state = State::Unregistered { due: now.monotonic };
        self.timeout(now)
    }

    fn start_session(
        &mut self,
        now: Now,
        registered: &ServerRegistered,
        held: &Held,
    ) -> Vec<Effect> {
        self.registration += 1;
        self.n_failures = 0;
        let mut events = Outbox::default();
        // Losses go first: a replica that came back since is in the report.
        let lost = std::mem::take(&mut self.lost).into_iter();
        let broken = std::mem::take(&mut self.broken).into_iter();
        let broken = broken.filter(|replica| held.sealed(*replica).is_none()).map(broken_event);
        let told = lost.chain(held.report()).chain(broken).map(|event| events.push(event));
        let report_end = told.last().unwrap_or(0);
        let interval = Duration::from_millis(registered.heartbeat_interval_ms).max(INTERVAL_MIN);
        self.state = State::Registered(Session {
            epoch: registered.epoch,
            session: registered.session,
            interval,
            number: 0,
            due: Some(now.monotonic),
            events,
            report_end,
            commands: Inbox::default(),
            running: BTreeSet::new(),
        });
        self.timeout(now)
    }

    fn stop(&mut self, reason: StopReason) -> Vec<Effect> {
        self.state = State::Stopped;
        vec![Effect::Stop(reason)]
    }

    fn registration(&self) -> RegisterServer {
        let Identity { cluster, term: kept, host, rack, address, incarnation } =
            self.identity.clone();
        RegisterServer {
            protocol: PROTOCOL_VERSION,
            cluster,
            term: kept.map(|kept| kept.term),
            last_record: kept.map_or(0, |kept| kept.last_record),
            host,
            rack,
            address,
            incarnation,
            capacity_bytes: self.space.capacity,
            free_bytes: self.space.free,
            disks: self.disks.clone(),
        }
    }

    /// Pauses double, each shortened by up to a half, so that servers do not return in lockstep.
    fn pause(&mut self) -> Duration {
        let doubled = RETRY_FIRST.saturating_mul(1 << self.n_failures.min(16));
        self.n_failures += 1;
        self.jitter ^= self.jitter << 13;
        self.jitter ^= self.jitter >> 7;
        self.jitter ^= self.jitter << 17;
        let half = doubled.min(RETRY_MAX) / 2;
        half + half.mul_f64((self.jitter % 1024) as f64 / 1024.0)
    }
}

fn broken_event(ReplicaKey { chunk, version }: ReplicaKey) -> ReplicaEvent {
    ReplicaEvent::Broken { chunk, version }
}

/// What a command of the master leads to.
enum Begun {
    Running(Effect),
    /// There is nothing to do but to report this event.
    Ended(ReplicaEvent),
}

fn begin(told: ServerCommand, command: CommandNumber, held: &mut Held) -> Begun {
    match told {
        ServerCommand::Delete { chunk, version, orphan } => {
            let replica = ReplicaKey { chunk, version };
            match held.doom(replica) {
                Doom::Remove => Begun::Running(Effect::Delete { command, replica, orphan }),
                Doom::Nothing => Begun::Ended(lost_event(replica)),
            }
        }
        ServerCommand::Copy { chunk, version, to, purpose } => {
            let replica = ReplicaKey { chunk, version };
            match held.sealed(replica) {
                Some(_) => Begun::Running(Effect::Copy { command, replica, to, purpose }),
                None => Begun::Ended(copy_ended(command, replica, false)),
            }
        }
        ServerCommand::Verify { chunk, version } => {
            let replica = ReplicaKey { chunk, version };
            match held.sealed(replica) {
                Some(_) => Begun::Running(Effect::Verify { command, replica }),
                None => Begun::Ended(verified(replica, false)),
            }
        }
        ServerCommand::Assemble { chunk, version, length, checksum, from } => {
            let (replica, sealed) = (ReplicaKey { chunk, version }, Sealed { length, checksum });
            match held.sealed(replica) {
                Some(held) => Begun::Ended(copy_ended(command, replica, held == sealed)),
                None => Begun::Running(Effect::Assemble { command, replica, sealed, from }),
            }
        }
        ServerCommand::EndLog { chunk, version, servers, sealed } => {
            let replica = ReplicaKey { chunk, version };
            Begun::Running(Effect::EndLog { command, replica, servers, sealed })
        }
    }
}

impl Session {
    fn heartbeat(
        &mut self,
        identity: &Identity,
        space: Space,
        disks: &[DiskState],
    ) -> ServerHeartbeat {
        self.number += 1;
        self.due = None;
        let first_left_out = self.events.pending(usize::MAX).nth(EVENTS_PER_HEARTBEAT_MAX);
        let report_complete = first_left_out.is_none_or(|event| event.number > self.report_end);
        ServerHeartbeat {
            host: identity.host.clone(),
            epoch: self.epoch,
            session: self.session,
            number: HeartbeatNumber(self.number),
            capacity_bytes: space.capacity,
            free_bytes: space.free,
            disks: disks.to_vec(),
            events: self.events.pending(EVENTS_PER_HEARTBEAT_MAX).cloned().collect(),
            report_complete,
            commands_done: self.commands_done(),
        }
    }

    fn commands_done(&self) -> u64 {
        self.running.first().map_or(self.commands.received(), |first| first - 1)
    }
}
