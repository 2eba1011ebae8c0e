//! The chunk master's simulated shell: the real core over a journal that is a list. As in the
//! daemon's loop, records are appended in their order, one sync runs at a time, and the effects of
//! an input, including answers to reads, are released once the last record before them is on disk.
//! A crash keeps what was synced, and a random part of the rest.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use chunkstore_core::master::{
    Asker, Authority, Durable, Effect, Input, Master, Mutation, Output, Query, Record, Refusal,
    Reply, ReplyTo, RequestDigest, Settings, Start,
};
use chunkstore_protocol::{ReplicaEvent, ServerHeartbeat};
use ids::{Monotonic, RequestStamp, Room};

use crate::store::ground::{Answer, Ask, CallId, Event, Ground, Timer, Who};
use crate::store::invariants::{Sent, Watch};
use crate::store::model::{STRANGE_SLOTS, StampKey};
use crate::store::sabotage::Sabotage;

/// What a request was, as far as the watch needs to know when it is answered.
#[derive(Clone, Debug)]
enum About {
    Mutation(StampKey),
    Query(Query),
    Log,
    Registration(usize),
    Heartbeat(Sent),
}

struct Asked {
    from: Who,
    call: CallId,
    about: About,
}

struct Untold {
    after: usize,
    effects: Vec<Effect>,
}

/// The master's machine; its journal survives its process.
pub(crate) struct MasterShell {
    settings: Settings,
    sabotage: Option<Sabotage>,
    pub(crate) life: u32,
    pub(crate) core: Option<Master>,
    journal: Vec<Record>,
    n_synced: usize,
    is_syncing: bool,
    untold: VecDeque<Untold>,
    asked: BTreeMap<ReplyTo, Asked>,
    next_reply: u64,
    timer: Option<Monotonic>,
    pub(crate) room: Room,
    /// The most milliseconds that a sync takes.
    pub(crate) sync_millis: u64,
    /// For a planted bug: the last publish, to be carried out again.
    published: Option<Mutation>,
}

impl MasterShell {
    /// A machine with the journal of a new cluster.
    pub(crate) fn new(settings: Settings, sabotage: Option<Sabotage>, watch: &mut Watch) -> Self {
        let cluster = "cluster-1".parse().expect("a cluster's id");
        let journal = vec![Record::ClusterInitialised { cluster }];
        watch.see_master_crash(&journal);
        Self {
            settings,
            sabotage,
            life: 0,
            core: None,
            n_synced: journal.len(),
            journal,
            is_syncing: false,
            untold: VecDeque::new(),
            asked: BTreeMap::new(),
            next_reply: 0,
            timer: None,
            room: Room::Ample,
            sync_millis: 5,
            published: None,
        }
    }

    /// The process starts: its state is the fold of its journal.
    pub(crate) fn start(&mut self, ground: &mut Ground, watch: &mut Watch) {
        if self.core.is_some() {
            return;
        }
        let mut durable = Durable::default();
        for record in &self.journal {
            durable.apply(record);
        }
        ground.say(format_args!("master starts over {} records", self.journal.len()));
        let Ok(core) = Master::recover(self.settings, durable) else {
            return watch.broken("fold", "the journal lost its cluster".to_owned());
        };
        self.core = Some(core);
        let term_id = ground.random.next().max(1);
        let last_record = self.journal.len() as u64;
        let start = Start { term_id, accept_old_journal: false, last_record };
        self.handle(ground, watch, Input::Start(start));
    }

    /// The process ends, as by SIGKILL or a power failure.
    pub(crate) fn crash(&mut self, ground: &mut Ground, watch: &mut Watch) {
        if self.core.take().is_none() {
            return;
        }
        let kept = ground.random.within(self.n_synced..self.journal.len() + 1);
        ground.say(format_args!(
            "master crashes: {} records, {} synced, {kept} kept",
            self.journal.len(),
            self.n_synced
        ));
        self.journal.truncate(kept);
        self.n_synced = kept;
        self.is_syncing = false;
        self.untold.clear();
        self.asked.clear();
        self.timer = None;
        self.life += 1;
        watch.see_master_crash(&self.journal);
    }

    /// A process sends a request.
    pub(crate) fn receive(
        &mut self,
        ground: &mut Ground,
        watch: &mut Watch,
        (from, call): (Who, CallId),
        ask: Ask,
    ) {
        if self.core.is_none() {
            return ground.refuse(from, call);
        }
        if self.sabotage == Some(Sabotage::PublishReplayed) {
            self.replay(ground, watch);
        }
        let ask = match ask {
            Ask::Gone(client, files) => {
                return self.handle(ground, watch, Input::WriterGone(client, files));
            }
            Ask::Query(query) => match self.look(ground, &query) {
                Some(answer) => {
                    watch.see_query(&query, &answer);
                    let answer = Answer::Master(Box::new(answer));
                    return ground.answer(Who::Master, from, call, answer);
                }
                None => Ask::Query(query),
            },
            ask => ask,
        };
        self.next_reply += 1;
        let to = ReplyTo(self.next_reply);
        let Some((about, input)) = self.input(watch, to, from, ask) else { return };
        self.asked.insert(to, Asked { from, call, about });
        self.handle(ground, watch, input);
    }

    /// Answers a query without handling it as an input, as the daemon does: only if it only reads,
    /// and if everything is on disk.
    fn look(&self, ground: &Ground, query: &Query) -> Option<Result<Reply, Refusal>> {
        let core = self.core.as_ref().filter(|_| self.n_synced == self.journal.len())?;
        core.look(ground.now().monotonic, query)
    }

    fn input(&mut self, watch: &Watch, to: ReplyTo, from: Who, ask: Ask) -> Option<(About, Input)> {
        let server = match from {
            Who::Server(server) => server,
            Who::Master | Who::Client(_) => 0,
        };
        Some(match ask {
            Ask::Mutate(mut request) => {
                let RequestStamp { client, slot, sequence } = request.stamp_mut().clone();
                let asker = Asker {
                    digest: digest_of(&request),
                    owner: client.to_string(),
                    may: Authority::All,
                };
                if matches!(request, Mutation::Publish(_)) {
                    self.published = Some(request.clone());
                }
                self.spoil_stamp(&mut request);
                let about = About::Mutation((client, slot, sequence));
                (about, Input::Mutate(to, asker, request))
            }
            Ask::Query(query) => (About::Query(query.clone()), Input::Query(to, query)),
            Ask::Log(request) => (About::Log, Input::Log(to, request)),
            Ask::Register(request) => (About::Registration(server), Input::Register(to, request)),
            Ask::Heartbeat(mut heartbeat) => {
                let ServerHeartbeat { epoch, session, .. } = heartbeat;
                self.spoil_heartbeat(watch, server, &mut heartbeat);
                let sent = Sent { server, epoch, session };
                (About::Heartbeat(sent), Input::Heartbeat(to, heartbeat))
            }
            Ask::Read(_)
            | Ask::ReadBlocks(_)
            | Ask::Freeze(_)
            | Ask::Seal(..)
            | Ask::AppendRecords { .. }
            | Ask::Follow { .. }
            | Ask::ReadRecords { .. }
            | Ask::Gone(..) => return None,
        })
    }

    /// Handles one input, as the daemon's loop does.
    pub(crate) fn handle(&mut self, ground: &mut Ground, watch: &mut Watch, input: Input) {
        let now = ground.now();
        let Some(core) = &mut self.core else { return };
        core.set_room(self.room);
        let accepted = match self.room {
            Room::Ample => Ok(input),
            Room::Reserve | Room::None => core.refuse(input),
        };
        let out = match accepted {
            Ok(input) => core.handle(now, input),
            Err(effect) => Output { records: Vec::new(), effects: vec![effect] },
        };
        self.take(ground, watch, out);
    }

    /// Handles one of its timers.
    pub(crate) fn wake(&mut self, ground: &mut Ground, watch: &mut Watch, timer: Timer) {
        match timer {
            Timer::Synced(upto) => {
                self.is_syncing = false;
                self.n_synced = upto;
                watch.see_sync(&self.journal, upto);
                self.let_out(ground, watch);
                self.sync(ground);
            }
            Timer::Core => {
                self.timer = None;
                let now = ground.now();
                let Some(core) = &mut self.core else { return };
                let due = core.poll_timeout().is_some_and(|at| at <= now.monotonic);
                if due && self.room != Room::None {
                    let out = core.handle_timeout(now);
                    self.take(ground, watch, out);
                }
                self.set_timer(ground);
            }
            _ => {}
        }
    }

    fn take(&mut self, ground: &mut Ground, watch: &mut Watch, out: Output) {
        for record in &out.records {
            ground.say(format_args!("record {} {record:?}", self.journal.len()));
            watch.see_record(record);
        }
        self.journal.extend(out.records);
        for effect in &out.effects {
            self.show(watch, effect);
        }
        if !out.effects.is_empty() {
            self.untold.push_back(Untold { after: self.journal.len(), effects: out.effects });
        }
        watch.check_untold(self.untold.len());
        self.let_out(ground, watch);
        self.sync(ground);
        self.set_timer(ground);
    }

    /// Checks the core's answers about its state, while that is the state that they describe.
    fn show(&self, watch: &mut Watch, effect: &Effect) {
        let Effect::Reply(to, answer) = effect else { return };
        match self.asked.get(to).map(|asked| &asked.about) {
            Some(About::Query(query)) => watch.see_query(query, answer),
            Some(About::Registration(server)) => watch.see_registered(*server, answer),
            Some(About::Heartbeat(sent)) => watch.see_heartbeat(*sent, answer),
            Some(About::Mutation(stamp)) => watch.see_decided(stamp, answer),
            Some(About::Log) | None => {}
        }
    }

    fn let_out(&mut self, ground: &mut Ground, watch: &mut Watch) {
        let unchecked = self.sabotage == Some(Sabotage::AcknowledgeBeforeSync);
        while self.untold.front().is_some_and(|it| unchecked || it.after <= self.n_synced) {
            for effect in self.untold.pop_front().map(|it| it.effects).unwrap_or_default() {
                match effect {
                    Effect::Reply(to, answer) => self.answer(ground, watch, to, *answer),
                    Effect::Tell(notice) => ground.say(format_args!("master: {notice:?}")),
                }
            }
        }
    }

    fn answer(
        &mut self,
        ground: &mut Ground,
        watch: &mut Watch,
        to: ReplyTo,
        answer: Result<Reply, Refusal>,
    ) {
        let Some(Asked { from, call, about }) = self.asked.remove(&to) else { return };
        if let (About::Mutation(stamp), Ok(_)) = (&about, &answer) {
            watch.acknowledge(stamp);
        }
        ground.answer(Who::Master, from, call, Answer::Master(Box::new(answer)));
    }

    fn sync(&mut self, ground: &mut Ground) {
        if self.is_syncing || self.n_synced == self.journal.len() {
            return;
        }
        self.is_syncing = true;
        let pause = ground.random.millis(0..self.sync_millis);
        let timer = Timer::Synced(self.journal.len());
        ground.after(pause, Event::Woken { who: Who::Master, life: self.life, timer });
    }

    fn set_timer(&mut self, ground: &mut Ground) {
        let due = self.core.as_ref().and_then(Master::poll_timeout);
        let due = due.filter(|_| self.room != Room::None);
        let Some(due) = due.filter(|due| self.timer.is_none_or(|set| *due < set)) else { return };
        // A little later, so that a timer that stays due does not stop the world's clock.
        let due = due.max(ground.now().monotonic + Duration::from_micros(10));
        self.timer = Some(due);
        ground.at(due, Event::Woken { who: Who::Master, life: self.life, timer: Timer::Core });
    }

    /// The journal's disk has this much space from now on.
    pub(crate) fn set_room(&mut self, ground: &mut Ground, room: Room) {
        self.room = room;
        if let Some(core) = &mut self.core {
            core.set_room(room);
        }
        self.set_timer(ground);
    }

    fn spoil_stamp(&mut self, request: &mut Mutation) {
        if self.sabotage == Some(Sabotage::ReplyCacheLost) {
            request.stamp_mut().slot += STRANGE_SLOTS * self.life;
        }
    }

    /// Publishes once more as soon as that is possible, although the request was answered long ago.
    fn replay(&mut self, ground: &mut Ground, watch: &mut Watch) {
        let Some(Mutation::Publish(asked)) = &self.published else { return };
        if !watch.was_published(asked) || !watch.can_publish(asked) {
            return;
        }
        let Some(mut request) = self.published.take() else { return };
        let asker =
            Asker { digest: digest_of(&request), owner: "nobody".to_owned(), may: Authority::All };
        request.stamp_mut().slot += STRANGE_SLOTS;
        self.handle(ground, watch, Input::Mutate(ReplyTo(0), asker, request));
    }

    fn spoil_heartbeat(&self, watch: &Watch, server: usize, heartbeat: &mut ServerHeartbeat) {
        match self.sabotage {
            Some(Sabotage::OldEpochAccepted) => {
                if let Some((epoch, session)) = watch.present(server) {
                    (heartbeat.epoch, heartbeat.session) = (epoch, session);
                }
            }
            Some(Sabotage::StaleVersionAccepted) => {
                for event in &mut heartbeat.events {
                    if let ReplicaEvent::Held { chunk, version, length, checksum } = &mut event.item
                        && let Some(wanted) = watch.model.sealed(*chunk)
                    {
                        (*version, *length, *checksum) =
                            (wanted.version, wanted.length, wanted.checksum);
                    }
                }
            }
            _ => {}
        }
    }
}

/// Takes the place of the digest of the whole request: FNV-1a over its text.
fn digest_of(request: &Mutation) -> RequestDigest {
    let mix = |sum: u64, byte: u8| (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3);
    RequestDigest(format!("{request:?}").bytes().fold(0xCBF2_9CE4_8422_2325, mix))
}
