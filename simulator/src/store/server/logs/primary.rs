//! The first server of a log's chunk: makes the others follow, asks the master whether the chunk
//! may begin, and appends groups of batches.

use std::collections::{BTreeSet, VecDeque};

use chunkstore_core::log::{Answers, BEGIN_LIMIT, Batch, Group, Offered, Progress};
use chunkstore_core::master::{LogRequest, Reply};
use chunkstore_core::replica::{Input, OpenAnswer, ReplicaKey};
use chunkstore_protocol::{BeginLog, ProblemKind};
use ids::{HostName, Monotonic};

use super::{Asker, Call, Due, OpenLog, Server};
use crate::store::content::{Content, units};
use crate::store::ground::{Answer, Ask, Ground, LogFault, Who};
use crate::store::invariants::Watch;
use crate::store::sabotage::Sabotage;
use crate::store::server::host;

/// A client's batch.
struct Offer {
    by: Asker,
    batch: Batch,
    frames: Content,
}

/// What a primary is doing.
enum Phase {
    /// It asks the master whether the chunk may begin, before anything is made.
    Asking {
        since: Monotonic,
    },
    /// The others are making their replicas.
    Making {
        beginning: u64,
        missing: BTreeSet<usize>,
        failed: Vec<HostName>,
    },
    /// It tells the master that the replicas are made.
    Beginning {
        since: Monotonic,
    },
    Running,
}

/// A primary's side of a log's chunk.
pub(super) struct Primary {
    followers: Vec<usize>,
    phase: Phase,
    offers: VecDeque<Offer>,
    group: Option<Group<Asker>>,
    /// Whether a follower has not taken the group; `silent` has those that did not answer.
    is_failed: bool,
    silent: Vec<usize>,
    /// Callers that are told that the chunk has ended, once it is settled.
    unknown: Vec<Asker>,
}

impl Primary {
    pub(super) fn has_begun(&self) -> bool {
        matches!(self.phase, Phase::Running)
    }

    /// All callers that wait for an answer.
    pub(super) fn everyone(self) -> Vec<Asker> {
        let Self { offers, group, mut unknown, .. } = self;
        unknown.extend(offers.into_iter().map(|offer| offer.by));
        let mut tail = chunkstore_core::log::Tail::new(0);
        unknown.extend(group.map(|group| group.end_with(&mut tail).unknown).unwrap_or_default());
        unknown
    }
}

impl Server {
    /// A client sends a batch.
    pub(in crate::store::server) fn append_records(
        &mut self,
        ground: &mut Ground,
        watch: &mut Watch,
        by: Asker,
        (replica, followers, batch, frames): (ReplicaKey, &[usize], Batch, Content),
    ) {
        if !self.logs.open.contains_key(&replica) {
            self.begin_log(ground, replica, followers);
        }
        let log = self.logs.open.get_mut(&replica).filter(|log| log.ended.is_none());
        match log.and_then(|log| log.primary.as_mut()) {
            Some(primary) => {
                primary.offers.push_back(Offer { by, batch, frames });
                self.start_group(ground, watch, replica);
            }
            None => ground.answer(self.who(), by.0, by.1, Answer::Appended(Err(LogFault::Ended))),
        }
    }

    /// Asks the master whether the chunk may begin.
    fn begin_log(&mut self, ground: &mut Ground, replica: ReplicaKey, followers: &[usize]) {
        let since = ground.now().monotonic;
        let primary = Primary {
            followers: followers.to_vec(),
            phase: Phase::Asking { since },
            offers: VecDeque::new(),
            group: None,
            is_failed: false,
            silent: Vec::new(),
            unknown: Vec::new(),
        };
        self.logs.open.insert(replica, OpenLog::new(0, Some(primary)));
        let ReplicaKey { chunk, version } = replica;
        let beginning = ground.random.next();
        let request = BeginLog { chunk, version, beginning, made: false };
        self.ask_to_begin(ground, replica, request);
    }

    /// Creates the replica here, and has the others create theirs.
    fn make_all(
        &mut self,
        ground: &mut Ground,
        watch: &mut Watch,
        replica: ReplicaKey,
        beginning: u64,
    ) {
        match self.may_open_log(ground, watch, replica) {
            Some(OpenAnswer::Write) => {}
            Some(_) | None => return self.drop_log(ground, replica),
        }
        if self.disk.create_log(replica).is_err() {
            let Some(log) = self.logs.open.remove(&replica) else { return };
            let waiting = log.primary.map(Primary::everyone).unwrap_or_default();
            return self.give_up_log(ground, watch, replica, vec![host(self.n)], waiting);
        }
        let Some(primary) = self.primary(replica) else { return };
        let missing: BTreeSet<usize> = primary.followers.iter().copied().collect();
        let failed = Vec::new();
        primary.phase = Phase::Making { beginning, missing: missing.clone(), failed };
        for n in missing {
            let ask = Ask::Follow { replica, offset: 0, frames: Content::new() };
            self.call_for_log(ground, Who::Server(n), &ask, Call::Make(replica, n));
        }
        self.all_made(ground, watch, replica);
    }

    fn primary(&mut self, replica: ReplicaKey) -> Option<&mut Primary> {
        self.logs.open.get_mut(&replica)?.primary.as_mut()
    }

    pub(super) fn made(
        &mut self,
        ground: &mut Ground,
        watch: &mut Watch,
        (replica, n): (ReplicaKey, usize),
        answer: Option<&Answer>,
    ) {
        let Some(primary) = self.primary(replica) else { return };
        let Phase::Making { missing, failed, .. } = &mut primary.phase else { return };
        missing.remove(&n);
        if !matches!(answer, Some(Answer::Followed(Ok(0)))) {
            failed.push(host(n));
        }
        self.all_made(ground, watch, replica);
    }

    fn all_made(&mut self, ground: &mut Ground, watch: &mut Watch, replica: ReplicaKey) {
        let since = ground.now().monotonic;
        let Some(primary) = self.primary(replica) else { return };
        let Phase::Making { beginning, missing, failed } = &mut primary.phase else { return };
        if !missing.is_empty() {
            return;
        }
        let (beginning, failed) = (*beginning, std::mem::take(failed));
        if !failed.is_empty() {
            let Some(log) = self.logs.open.remove(&replica) else { return };
            self.disk.remove(replica);
            let waiting = log.primary.map(Primary::everyone).unwrap_or_default();
            return self.give_up_log(ground, watch, replica, failed, waiting);
        }
        primary.phase = Phase::Beginning { since };
        self.tell(ground, watch, Input::LogOpened { replica });
        let ReplicaKey { chunk, version } = replica;
        self.ask_to_begin(ground, replica, BeginLog { chunk, version, beginning, made: true });
    }

    pub(super) fn ask_to_begin(
        &mut self,
        ground: &mut Ground,
        replica: ReplicaKey,
        request: BeginLog,
    ) {
        let ask = Ask::Log(LogRequest::Begin(request.clone()));
        self.call_for_log(ground, Who::Master, &ask, Call::Begin(replica, request));
    }

    pub(super) fn begun(
        &mut self,
        ground: &mut Ground,
        watch: &mut Watch,
        (replica, request): (ReplicaKey, BeginLog),
        answer: Option<&Answer>,
    ) {
        let now = ground.now().monotonic;
        let Some(log) = self.logs.open.get_mut(&replica) else { return };
        let Some(primary) = &mut log.primary else { return };
        let since = match primary.phase {
            Phase::Asking { since } if !request.made => since,
            Phase::Beginning { since } if request.made => since,
            _ => return,
        };
        if let Some(Answer::Master(answer)) = answer
            && let Ok(Reply::BegunLog(begun)) = &**answer
        {
            if !request.made {
                return self.make_all(ground, watch, replica, request.beginning);
            }
            primary.phase = Phase::Running;
            log.tail.limit(begun.chunk_bytes);
            return self.start_group(ground, watch, replica);
        }
        if now.since(since) < BEGIN_LIMIT && is_transient(answer) {
            return self.log_later(ground, Due::Begin(replica, request));
        }
        if !request.made {
            return self.drop_log(ground, replica);
        }
        // The master may have agreed. Whoever ends the chunk will find it empty.
        primary.phase = Phase::Running;
        self.end_log_here(ground, watch, replica);
        self.tell(ground, watch, Input::LogStuck { replica });
    }

    /// Makes the next group of the batches that wait.
    fn start_group(&mut self, ground: &mut Ground, watch: &mut Watch, replica: ReplicaKey) {
        let who = self.who();
        let Some(log) = self.logs.open.get_mut(&replica).filter(|log| log.ended.is_none()) else {
            return;
        };
        let OpenLog { tail, primary: Some(primary), .. } = log else { return };
        if !primary.has_begun() || primary.group.is_some() || primary.offers.is_empty() {
            return;
        }
        let hosts = primary.followers.iter().map(|n| host(*n)).chain([host(self.n)]);
        let mut group = Group::new(tail, hosts);
        let mut frames = Content::new();
        while group.takes_more()
            && let Some(offer) = primary.offers.pop_front()
        {
            match group.offer(tail, offer.batch, offer.by) {
                Offered::Write => frames.extend(offer.frames),
                Offered::Nothing => {}
                Offered::Refused((to, call), _) => {
                    let answer = Answer::Appended(Err(LogFault::OutOfOrder));
                    ground.answer(who, to, call, answer);
                }
            }
        }
        let (progress, at) = (group.progress(), group.at());
        if self.sabotage == Some(Sabotage::LogAcknowledgedEarly) {
            let end = group.end();
            for n in &primary.followers {
                let _early = group.synced(&host(*n), end);
            }
        }
        (primary.group, primary.is_failed) = (Some(group), false);
        if progress == Progress::Everywhere {
            return self.advance_group(ground, watch, replica);
        }
        for n in primary.followers.clone() {
            let ask = Ask::Follow { replica, offset: at, frames: frames.clone() };
            self.call_for_log(ground, Who::Server(n), &ask, Call::Follow(replica, n, at));
        }
        if self.disk.write_log(replica, units(at), &frames).is_err() {
            return self.log_failed(ground, watch, replica, at);
        }
        if let Some(log) = self.logs.open.get_mut(&replica) {
            log.is_busy = true;
        }
        self.log_later(ground, Due::Synced(replica, at, None));
    }

    /// This server has synced the group.
    pub(super) fn group_synced(
        &mut self,
        ground: &mut Ground,
        watch: &mut Watch,
        replica: ReplicaKey,
    ) {
        let own = host(self.n);
        if let Some(group) = self.primary(replica).and_then(|primary| primary.group.as_mut()) {
            let end = group.end();
            let _progress = group.synced(&own, end);
        }
        self.advance_group(ground, watch, replica);
    }

    pub(super) fn followed(
        &mut self,
        ground: &mut Ground,
        watch: &mut Watch,
        (replica, n, at): (ReplicaKey, usize, u64),
        answer: Option<&Answer>,
    ) {
        let Some(primary) = self.primary(replica) else { return };
        let Some(group) = primary.group.as_mut().filter(|group| group.at() == at) else { return };
        match answer {
            Some(Answer::Followed(Ok(length))) => drop(group.synced(&host(n), *length)),
            Some(_) => primary.is_failed = true,
            None => {
                primary.is_failed = true;
                primary.silent.push(n);
            }
        }
        self.advance_group(ground, watch, replica);
    }

    /// Ends the group when all servers have it, or one has not taken it; a write of this server's
    /// must finish first.
    fn advance_group(&mut self, ground: &mut Ground, watch: &mut Watch, replica: ReplicaKey) {
        let who = self.who();
        let Some(log) = self.logs.open.get_mut(&replica).filter(|log| !log.is_busy) else { return };
        let OpenLog { tail, primary: Some(primary), .. } = log else { return };
        let Some(group) = &primary.group else { return };
        let is_full = group.is_full();
        match group.progress() {
            Progress::Everywhere => {}
            Progress::UnderWay if !primary.is_failed => return,
            Progress::UnderWay | Progress::Differs => {
                return self.end_log_here(ground, watch, replica);
            }
        }
        let Some(group) = primary.group.take() else { return };
        let Answers { appended, unknown } = group.end_with(tail);
        primary.unknown.extend(unknown);
        watch.see_log_acknowledged(replica, tail.acknowledged());
        for ((to, call), _) in appended {
            ground.answer(who, to, call, Answer::Appended(Ok(())));
        }
        match is_full {
            true => {
                let ended = log.end_at(log.tail.length());
                self.tell(ground, watch, Input::LogEnded { replica, ended });
                self.settle(ground, watch, replica);
            }
            false => self.start_group(ground, watch, replica),
        }
    }

    /// The replica here takes no more. If a group was under way, its outcome is unknown, and the
    /// chunk is settled. Otherwise that is up to whoever ended the replica.
    pub(super) fn primary_ended(
        &mut self,
        ground: &mut Ground,
        watch: &mut Watch,
        replica: ReplicaKey,
    ) {
        let Some(log) = self.logs.open.get_mut(&replica) else { return };
        let OpenLog { tail, primary: Some(primary), .. } = log else { return };
        match primary.group.take() {
            Some(group) => {
                let Answers { appended, unknown } = group.end_with(tail);
                primary.unknown.extend(unknown);
                primary.unknown.extend(appended.into_iter().map(|(by, _)| by));
                self.settle(ground, watch, replica);
            }
            None => {
                let askers = primary.take_askers();
                self.answer_ended(ground, askers);
            }
        }
    }

    fn settle(&mut self, ground: &mut Ground, watch: &mut Watch, replica: ReplicaKey) {
        let own = self.n;
        let Some(primary) = self.primary(replica) else { return };
        let servers = std::iter::once(own).chain(primary.followers.iter().copied()).collect();
        let (askers, silent) = (primary.take_askers(), std::mem::take(&mut primary.silent));
        self.settle_log(ground, watch, replica, (servers, silent), askers);
    }
}

impl Primary {
    fn take_askers(&mut self) -> Vec<Asker> {
        let mut askers = std::mem::take(&mut self.unknown);
        askers.extend(self.offers.drain(..).map(|offer| offer.by));
        askers
    }
}

/// Whether the master is asked again.
pub(super) fn is_transient(answer: Option<&Answer>) -> bool {
    match answer {
        Some(Answer::Master(answer)) => match &**answer {
            Ok(_) => false,
            Err(refusal) => {
                matches!(refusal.kind(), ProblemKind::Unavailable | ProblemKind::Starting)
            }
        },
        Some(_) | None => true,
    }
}
