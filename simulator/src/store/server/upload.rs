//! One upload: its bytes arrive through a stream, are written and passed on at once, and are sealed
//! at its end. As in the daemon, a failure of the disk ends the upload, and before the end so does
//! a failure of the next server if this is the pipeline's first one. Any other failure downstream
//! only shortens the list of the servers that have it.

use std::time::Duration;

use chunkstore_core::replica::{Input, OpenAnswer, ReplicaKey, Sealed};
use chunkstore_protocol::SealedChunk;

use super::Server;
use crate::store::content::{Content, checksum, length};
use crate::store::ground::{Event, Ground, Item, StreamId, Timer};
use crate::store::invariants::Watch;

/// How long a server waits for those downstream after the end of a chunk.
const FORWARD_LIMIT: Duration = Duration::from_secs(3);

/// The outcome on the servers downstream.
#[derive(Debug)]
enum Downstream {
    /// They are still writing.
    Writing(StreamId),
    Ended(Option<SealedChunk>),
}

/// An upload under way.
#[derive(Debug)]
pub(crate) struct Upload {
    replica: ReplicaKey,
    received: Content,
    /// The replica was already here: the same bytes get the same answer.
    again: Option<Sealed>,
    /// All bytes have arrived, and the replica is being synced, or is on disk.
    ended: bool,
    sealed: Option<Sealed>,
    downstream: Downstream,
    /// It came from another server, which has it too.
    passed_on: bool,
}

impl Upload {
    pub(super) fn is_of(&self, replica: ReplicaKey) -> bool {
        self.replica == replica && self.again.is_none()
    }

    pub(super) fn has_ended(&self) -> bool {
        self.ended
    }
}

impl Server {
    /// An item arrived through a stream.
    pub(crate) fn streamed(
        &mut self,
        ground: &mut Ground,
        watch: &mut Watch,
        stream: StreamId,
        item: Item,
    ) {
        if !self.is_up() {
            return ground.break_off(stream);
        }
        match item {
            Item::Put { replica, downstream, passed_on, is_copy } => {
                let what = (replica, is_copy);
                self.begin(ground, watch, stream, what, (&downstream, passed_on));
            }
            Item::Data(piece) => self.data(ground, watch, stream, piece),
            Item::End(sum) => self.end(ground, watch, stream, sum),
            Item::Sealed(answer) => {
                let answer = answer.ok();
                if !self.end_copy(ground, watch, stream, answer.as_ref()) {
                    self.downstream_ended(ground, watch, stream, answer);
                }
            }
            Item::Broken => self.broken(ground, watch, stream),
        }
    }

    fn begin(
        &mut self,
        ground: &mut Ground,
        watch: &mut Watch,
        stream: StreamId,
        (replica, is_copy): (ReplicaKey, bool),
        (downstream, passed_on): (&[usize], bool),
    ) {
        let again = match self.may_open(ground, watch, replica, is_copy) {
            Some(OpenAnswer::Write) => None,
            Some(OpenAnswer::AlreadySealed(sealed)) => Some(sealed),
            Some(_) | None => return ground.reply(stream, Err("not now")),
        };
        if again.is_none() && self.disk.create(replica).is_err() {
            self.tell(ground, watch, Input::Aborted { replica });
            return ground.reply(stream, Err("the disk takes nothing"));
        }
        let downstream = match downstream.split_first() {
            Some((next, rest)) => {
                let downstream = rest.to_vec();
                let put = Item::Put { replica, downstream, passed_on: true, is_copy: false };
                let forward = ground.open(self.who(), *next, put);
                self.forwards.insert(forward, stream);
                Downstream::Writing(forward)
            }
            None => Downstream::Ended(None),
        };
        let received = Content::new();
        let (ended, sealed) = (false, None);
        let upload = Upload { replica, received, again, ended, sealed, downstream, passed_on };
        self.uploads.insert(stream, upload);
    }

    fn data(&mut self, ground: &mut Ground, watch: &mut Watch, stream: StreamId, piece: Content) {
        let Some(upload) = self.uploads.get_mut(&stream) else { return };
        upload.received.extend_from_slice(&piece);
        let written = match upload.again {
            Some(_) => Ok(()),
            None => self.disk.append(upload.replica, &piece),
        };
        if let Downstream::Writing(forward) = upload.downstream {
            ground.send(forward, Item::Data(piece));
        }
        if written.is_err() {
            self.give_up(ground, watch, stream, "the disk takes no more");
        }
    }

    fn end(&mut self, ground: &mut Ground, watch: &mut Watch, stream: StreamId, sum: u32) {
        let Some(upload) = self.uploads.get_mut(&stream) else { return };
        upload.ended = true;
        if checksum(&upload.received) != sum || upload.received.is_empty() {
            return self.give_up(ground, watch, stream, "other bytes than were sent");
        }
        if let Downstream::Writing(forward) = upload.downstream {
            ground.send(forward, Item::End(sum));
            let timer = Timer::Patience(forward);
            let (who, life) = (crate::store::ground::Who::Server(self.n), self.life);
            ground.after(FORWARD_LIMIT, Event::Woken { who, life, timer });
        }
        let got = Sealed { length: length(&upload.received), checksum: sum };
        match upload.again {
            Some(held) if held == got => {
                upload.sealed = Some(held);
                self.finish(ground, watch, stream);
            }
            Some(_) => self.give_up(ground, watch, stream, "sealed here with other bytes"),
            None => match self.disk.begin_seal(upload.replica) {
                Ok(()) => self.later(ground, Timer::Sealed(stream)),
                Err(_) => self.give_up(ground, watch, stream, "the disk does not sync"),
            },
        }
    }

    /// The replica is on disk under its name, or the disk has failed.
    pub(super) fn upload_synced(
        &mut self,
        ground: &mut Ground,
        watch: &mut Watch,
        stream: StreamId,
    ) {
        let short = self.seals_short();
        let Some(upload) = self.uploads.get_mut(&stream) else { return };
        let replica = upload.replica;
        if short {
            self.disk.cut_open(replica);
        }
        match self.disk.end_seal(replica) {
            Ok(_) => {
                let (length, checksum) = (length(&upload.received), checksum(&upload.received));
                upload.sealed = Some(Sealed { length, checksum });
                self.finish(ground, watch, stream);
            }
            Err(_) => self.give_up(ground, watch, stream, "the disk did not sync"),
        }
    }

    /// Answers once the replica is on disk and those downstream have answered too.
    fn finish(&mut self, ground: &mut Ground, watch: &mut Watch, stream: StreamId) {
        let Some(upload) = self.uploads.get(&stream) else { return };
        let (Some(sealed), Downstream::Ended(_)) = (upload.sealed, &upload.downstream) else {
            return;
        };
        let Some(upload) = self.uploads.remove(&stream) else { return };
        let replica = upload.replica;
        if upload.again.is_none() {
            self.tell(ground, watch, Input::Sealed { replica, sealed });
        }
        let Sealed { length, checksum } = sealed;
        let mut servers = vec![super::host(self.n)];
        if let Downstream::Ended(Some(theirs)) = upload.downstream
            && (theirs.length, theirs.checksum) == (length, checksum)
        {
            servers.extend(theirs.servers);
        }
        let (chunk, version) = (replica.chunk, replica.version);
        let told = SealedChunk { chunk, version, length, checksum, servers };
        watch.see_sealed(self.n, &told, &self.disk);
        ground.say(format_args!("host-{} sealed {told:?}", self.n));
        ground.reply(stream, Ok(told));
    }

    /// Ends an upload, and keeps nothing of it.
    fn give_up(
        &mut self,
        ground: &mut Ground,
        watch: &mut Watch,
        stream: StreamId,
        why: &'static str,
    ) {
        let Some(upload) = self.let_go(ground, stream, why) else { return };
        if upload.again.is_none() {
            self.disk.discard(upload.replica);
            self.tell(ground, watch, Input::Aborted { replica: upload.replica });
        }
        ground.reply(stream, Err(why));
    }

    /// Ends an upload, and keeps what has arrived for its writer.
    pub(super) fn cut_off(
        &mut self,
        ground: &mut Ground,
        watch: &mut Watch,
        stream: StreamId,
        why: &'static str,
    ) {
        let Some(upload) = self.let_go(ground, stream, why) else { return };
        if upload.again.is_none() {
            self.keep_cut(ground, watch, upload.replica, &upload.received);
        }
        ground.reply(stream, Err(why));
    }

    fn let_go(
        &mut self,
        ground: &mut Ground,
        stream: StreamId,
        why: &'static str,
    ) -> Option<Upload> {
        let upload = self.uploads.remove(&stream)?;
        let replica = upload.replica;
        ground.say(format_args!("host-{} gives up {}: {why}", self.n, replica.chunk));
        if let Downstream::Writing(forward) = upload.downstream {
            self.forwards.remove(&forward);
            ground.break_off(forward);
        }
        Some(upload)
    }

    /// Whoever freezes this server wants to know what it has, not what others have.
    pub(super) fn without_downstream(
        &mut self,
        ground: &mut Ground,
        watch: &mut Watch,
        stream: StreamId,
    ) {
        let Some(upload) = self.uploads.get_mut(&stream) else { return };
        if let Downstream::Writing(forward) = upload.downstream {
            upload.downstream = Downstream::Ended(None);
            self.forwards.remove(&forward);
            ground.break_off(forward);
        }
        self.finish(ground, watch, stream);
    }

    fn downstream_ended(
        &mut self,
        ground: &mut Ground,
        watch: &mut Watch,
        forward: StreamId,
        answer: Option<SealedChunk>,
    ) {
        let Some(stream) = self.forwards.remove(&forward) else { return };
        let Some(upload) = self.uploads.get_mut(&stream) else { return };
        let is_needed = answer.is_none() && !upload.ended && !upload.passed_on;
        upload.downstream = Downstream::Ended(answer);
        match is_needed {
            true => self.cut_off(ground, watch, stream, "the next server failed"),
            false => self.finish(ground, watch, stream),
        }
    }

    fn broken(&mut self, ground: &mut Ground, watch: &mut Watch, stream: StreamId) {
        if self.end_copy(ground, watch, stream, None) {
            return;
        }
        self.downstream_ended(ground, watch, stream, None);
        // What has arrived in full is sealed, whether or not anybody still waits for it.
        if self.uploads.get(&stream).is_some_and(|upload| !upload.ended) {
            self.cut_off(ground, watch, stream, "the writer is gone");
        }
    }

    pub(super) fn out_of_patience(
        &mut self,
        ground: &mut Ground,
        watch: &mut Watch,
        stream: StreamId,
    ) {
        if self.end_copy(ground, watch, stream, None) {
            return;
        }
        if self.forwards.contains_key(&stream) {
            ground.break_off(stream);
            self.downstream_ended(ground, watch, stream, None);
        }
    }
}
