//! How a log's chunk ends: its servers are asked what they have, what they have in common is
//! sealed, and the master is told. Several servers may do this at the same time.

use std::collections::BTreeSet;

use chunkstore_core::log::{
    End, Remains, SETTLE_TRIES, SealedAs, TELL_LIMIT, agree, asked, catch_up,
};
use chunkstore_core::master::LogRequest;
use chunkstore_core::replica::{CommandNumber, Input, ReplicaKey};
use chunkstore_protocol::{EndLog, ProblemKind, SealedChunk};
use ids::{HostName, Monotonic};

use super::primary::is_transient;
use super::{Asker, Call, Due, Server};
use crate::store::ground::{Answer, Ask, Ground, Who};
use crate::store::invariants::Watch;
use crate::store::server::host;
use crate::store::server::number;

/// Why a server ends a chunk.
enum For {
    /// It is the primary, and these clients wait.
    Settling { n_tries: u32, askers: Vec<Asker> },
    /// The master has ordered it.
    Command(CommandNumber),
    /// The chunk could not begin, and these clients wait.
    GivingUp(Vec<Asker>),
}

enum Phase {
    Freezing {
        missing: BTreeSet<usize>,
        remains: Vec<(HostName, Remains)>,
        n_silent: usize,
    },
    Sealing {
        missing: BTreeSet<usize>,
        sealed: SealedAs,
    },
    Telling {
        request: EndLog,
        since: Monotonic,
    },
    /// Between two tries.
    Pausing,
}

/// One chunk's ending.
pub(super) struct Ending {
    replica: ReplicaKey,
    servers: Vec<usize>,
    /// Servers that were silent just now: they are not asked in the first try.
    silent: Vec<usize>,
    /// The number of bytes at which it was already sealed without these servers, if it was.
    sealed: Option<u64>,
    why: For,
    phase: Phase,
}

impl Server {
    pub(super) fn settle_log(
        &mut self,
        ground: &mut Ground,
        watch: &mut Watch,
        replica: ReplicaKey,
        (servers, silent): (Vec<usize>, Vec<usize>),
        askers: Vec<Asker>,
    ) {
        let (why, phase) = (For::Settling { n_tries: 0, askers }, Phase::Pausing);
        let ending = Ending { replica, servers, silent, sealed: None, why, phase };
        self.start_ending(ground, watch, ending);
    }

    /// The master orders this server to end a chunk.
    pub(in crate::store::server) fn end_log_as_told(
        &mut self,
        ground: &mut Ground,
        watch: &mut Watch,
        (replica, sealed): (ReplicaKey, Option<u64>),
        servers: &[HostName],
        command: CommandNumber,
    ) {
        let (why, phase) = (For::Command(command), Phase::Pausing);
        let servers = servers.iter().map(number).collect();
        let silent = Vec::new();
        let ending = Ending { replica, servers, silent, sealed, why, phase };
        self.start_ending(ground, watch, ending);
    }

    /// A chunk without records is useless: tells the master which servers failed.
    pub(super) fn give_up_log(
        &mut self,
        ground: &mut Ground,
        watch: &mut Watch,
        replica: ReplicaKey,
        failed: Vec<HostName>,
        askers: Vec<Asker>,
    ) {
        let ReplicaKey { chunk, version } = replica;
        let request = EndLog { chunk, version, sealed: None, failed };
        let phase = Phase::Telling { request, since: ground.now().monotonic };
        let why = For::GivingUp(askers);
        let (servers, silent) = (Vec::new(), Vec::new());
        let ending = Ending { replica, servers, silent, sealed: None, why, phase };
        self.start_ending(ground, watch, ending);
    }

    fn start_ending(&mut self, ground: &mut Ground, watch: &mut Watch, ending: Ending) {
        self.next_number += 1;
        let number = self.next_number;
        self.logs.endings.insert(number, ending);
        self.go_on_ending(ground, watch, number);
    }

    /// Starts a try, or tells the master again.
    pub(super) fn go_on_ending(&mut self, ground: &mut Ground, _watch: &mut Watch, number: u64) {
        let Some(ending) = self.logs.endings.get_mut(&number) else { return };
        match &ending.phase {
            Phase::Pausing => {
                let n_try = match &ending.why {
                    For::Settling { n_tries, .. } => *n_tries,
                    For::Command(_) | For::GivingUp(_) => 0,
                };
                let is_silent = |n: &usize| ending.silent.contains(n);
                let (asked, n_silent) = asked(&ending.servers, is_silent, n_try);
                let missing: BTreeSet<usize> = asked.copied().collect();
                let (replica, servers) = (ending.replica, missing.clone());
                ending.phase = Phase::Freezing { missing, remains: Vec::new(), n_silent };
                for n in servers {
                    let ask = Ask::Freeze(replica);
                    self.call_for_log(ground, Who::Server(n), &ask, Call::Freeze(number, n));
                }
            }
            Phase::Telling { request, .. } => {
                let ask = Ask::Log(LogRequest::End(request.clone()));
                self.call_for_log(ground, Who::Master, &ask, Call::Tell(number));
            }
            Phase::Freezing { .. } | Phase::Sealing { .. } => {}
        }
    }

    pub(super) fn end_frozen(
        &mut self,
        ground: &mut Ground,
        watch: &mut Watch,
        (number, n): (u64, usize),
        answer: Option<&Answer>,
    ) {
        let Some(ending) = self.logs.endings.get_mut(&number) else { return };
        let Phase::Freezing { missing, remains, n_silent } = &mut ending.phase else { return };
        missing.remove(&n);
        match answer {
            Some(Answer::Frozen(Ok(frozen))) => remains.push((host(n), (*frozen).into())),
            Some(_) => {}
            None => *n_silent += 1,
        }
        if !missing.is_empty() {
            return;
        }
        let replica = ending.replica;
        ground.say(format_args!("host-{} ends {}: {remains:?}", self.n, replica.chunk));
        let end = match ending.sealed {
            Some(length) => catch_up(remains, length),
            None => agree(remains, *n_silent),
        };
        match end {
            None => self.not_ended(ground, watch, number),
            Some(End::Empty) => self.tell_ended(ground, watch, number, None),
            Some(End::Seal { length, on }) => {
                let on: BTreeSet<usize> = on.iter().map(crate::store::server::number).collect();
                let sealed = SealedAs::default();
                ending.phase = Phase::Sealing { missing: on.clone(), sealed };
                for n in on {
                    let ask = Ask::Seal(replica, length);
                    self.call_for_log(ground, Who::Server(n), &ask, Call::Seal(number, n));
                }
            }
        }
    }

    pub(super) fn end_sealed(
        &mut self,
        ground: &mut Ground,
        watch: &mut Watch,
        (number, n): (u64, usize),
        answer: Option<&Answer>,
    ) {
        let Some(ending) = self.logs.endings.get_mut(&number) else { return };
        let Phase::Sealing { missing, sealed } = &mut ending.phase else { return };
        missing.remove(&n);
        if let Some(Answer::Sealed(Ok(told))) = answer {
            sealed.handle_sealed(host(n), told);
        }
        if !missing.is_empty() {
            return;
        }
        if let Some(differing) = sealed.differing.first() {
            let what = format!("{differing} sealed other bytes of {}", ending.replica.chunk);
            return watch.broken("logs", what);
        }
        match sealed.chunk.take() {
            None => self.not_ended(ground, watch, number),
            Some(sealed) => self.tell_ended(ground, watch, number, Some(sealed)),
        }
    }

    fn tell_ended(
        &mut self,
        ground: &mut Ground,
        watch: &mut Watch,
        number: u64,
        sealed: Option<SealedChunk>,
    ) {
        let Some(ending) = self.logs.endings.get_mut(&number) else { return };
        let ReplicaKey { chunk, version } = ending.replica;
        let request = EndLog { chunk, version, sealed, failed: Vec::new() };
        ending.phase = Phase::Telling { request, since: ground.now().monotonic };
        self.go_on_ending(ground, watch, number);
    }

    pub(super) fn end_told(
        &mut self,
        ground: &mut Ground,
        watch: &mut Watch,
        number: u64,
        answer: Option<&Answer>,
    ) {
        let Some(ending) = self.logs.endings.get(&number) else { return };
        let Phase::Telling { since, .. } = &ending.phase else { return };
        let is_over = match answer {
            Some(Answer::Master(answer)) => match &**answer {
                Ok(_) => true,
                Err(refusal) => refusal.kind() == ProblemKind::LogEnded,
            },
            Some(_) | None => false,
        };
        if is_over {
            self.ending_over(ground, watch, number);
        } else if is_transient(answer) && ground.now().monotonic.since(*since) < TELL_LIMIT {
            self.log_later(ground, Due::Ending(number));
        } else {
            self.not_ended(ground, watch, number);
        }
    }

    /// A try was in vain: a primary tries again, and after some tries leaves it to the master.
    fn not_ended(&mut self, ground: &mut Ground, watch: &mut Watch, number: u64) {
        let Some(ending) = self.logs.endings.get_mut(&number) else { return };
        let replica = ending.replica;
        if let For::Settling { n_tries, .. } = &mut ending.why {
            *n_tries += 1;
            if *n_tries < SETTLE_TRIES {
                ending.phase = Phase::Pausing;
                return self.log_later(ground, Due::Ending(number));
            }
            self.tell(ground, watch, Input::LogStuck { replica });
        }
        self.ending_over(ground, watch, number);
    }

    fn ending_over(&mut self, ground: &mut Ground, watch: &mut Watch, number: u64) {
        let Some(Ending { replica, why, .. }) = self.logs.endings.remove(&number) else { return };
        match why {
            For::Settling { askers, .. } => self.answer_ended(ground, askers),
            For::Command(command) => self.tell(ground, watch, Input::LogEndTried { command }),
            For::GivingUp(askers) => {
                self.tell(ground, watch, Input::Aborted { replica });
                self.answer_ended(ground, askers);
            }
        }
    }
}
