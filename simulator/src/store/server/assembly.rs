//! Replicas that are assembled from the sound blocks of broken ones: this server's own, and those
//! that others send. As in the daemon, the result is sealed only if it is exactly the chunk, and is
//! reported as an upload is.

use std::collections::{BTreeMap, BTreeSet};

use chunkstore_core::replica::{CommandNumber, Input, OpenAnswer, ReplicaKey, Sealed};
use chunkstore_protocol::ServerAddress;

use super::{CALL_LIMIT, Server, number};
use crate::store::content::{Content, checksum, length};
use crate::store::disk::Health;
use crate::store::ground::{Answer, Ask, CallId, Ground, Timer, Who};
use crate::store::invariants::Watch;

/// The replicas that a server is assembling.
#[derive(Default)]
pub(super) struct Assemblies {
    gathering: Vec<Gathering>,
    /// Those that are being sealed under their final names.
    sealing: BTreeMap<u64, (CommandNumber, ReplicaKey)>,
}

/// A replica whose blocks are being gathered.
struct Gathering {
    command: CommandNumber,
    replica: ReplicaKey,
    sealed: Sealed,
    blocks: Vec<Option<Content>>,
    awaited: BTreeSet<CallId>,
}

impl Server {
    /// The sound blocks of a replica, if the disk can be read.
    pub(super) fn sound_blocks(&self, replica: ReplicaKey) -> Vec<Option<Content>> {
        match self.disk.health {
            Health::Good | Health::Full => self.disk.sound_blocks(replica),
            Health::Failing => Vec::new(),
        }
    }

    /// The master wants a replica assembled.
    pub(super) fn assemble(
        &mut self,
        ground: &mut Ground,
        watch: &mut Watch,
        command: CommandNumber,
        (replica, sealed): (ReplicaKey, Sealed),
        from: &[ServerAddress],
    ) {
        ground.say(format_args!("host-{} puts {} together", self.n, replica.chunk));
        let blocks = self.sound_blocks(replica);
        let ask = Ask::ReadBlocks(replica);
        let ask = |server: &ServerAddress| {
            ground.call(self.who(), Who::Server(number(&server.host)), &ask, CALL_LIMIT)
        };
        let awaited = from.iter().map(ask).collect();
        self.assemblies.gathering.push(Gathering { command, replica, sealed, blocks, awaited });
        self.seal_if_all_came(ground, watch);
    }

    /// Handles an answer with blocks; returns whether it was awaited.
    pub(super) fn blocks_came(
        &mut self,
        ground: &mut Ground,
        watch: &mut Watch,
        call: CallId,
        answer: Option<&Answer>,
    ) -> bool {
        let mut all = self.assemblies.gathering.iter_mut();
        let Some(gathering) = all.find_map(|it| it.awaited.remove(&call).then_some(it)) else {
            return false;
        };
        if let Some(Answer::Blocks(theirs)) = answer {
            let n = gathering.blocks.len().max(theirs.len());
            gathering.blocks.resize(n, None);
            for (block, theirs) in gathering.blocks.iter_mut().zip(theirs) {
                *block = block.take().or_else(|| theirs.clone());
            }
        }
        self.seal_if_all_came(ground, watch);
        true
    }

    fn seal_if_all_came(&mut self, ground: &mut Ground, watch: &mut Watch) {
        let all = &self.assemblies.gathering;
        let Some(at) = all.iter().position(|it| it.awaited.is_empty()) else { return };
        let Gathering { command, replica, sealed, blocks, .. } =
            self.assemblies.gathering.remove(at);
        let whole: Option<Vec<Content>> = blocks.into_iter().collect();
        let content = whole.unwrap_or_default().concat();
        let is_it = Sealed { length: length(&content), checksum: checksum(&content) } == sealed;
        let begins =
            is_it && self.may_open(ground, watch, replica, true) == Some(OpenAnswer::Write);
        if !begins {
            return self.tell(ground, watch, Input::CopyEnded { command, replica, done: false });
        }
        let created = self.disk.create(replica);
        let written = created.and_then(|()| self.disk.append(replica, &content));
        if written.and_then(|()| self.disk.begin_seal(replica)).is_err() {
            return self.not_assembled(ground, watch, command, replica);
        }
        self.next_number += 1;
        self.assemblies.sealing.insert(self.next_number, (command, replica));
        self.later(ground, Timer::Assembled(self.next_number));
    }

    /// The assembled replica is on disk under its name, or the disk has failed.
    pub(super) fn assembled(&mut self, ground: &mut Ground, watch: &mut Watch, number: u64) {
        let Some((command, replica)) = self.assemblies.sealing.remove(&number) else { return };
        match self.disk.end_seal(replica) {
            Ok(sealed) => {
                ground.say(format_args!("host-{} has put {} together", self.n, replica.chunk));
                self.tell(ground, watch, Input::Sealed { replica, sealed });
                self.tell(ground, watch, Input::CopyEnded { command, replica, done: true });
            }
            Err(_) => self.not_assembled(ground, watch, command, replica),
        }
    }

    fn not_assembled(
        &mut self,
        ground: &mut Ground,
        watch: &mut Watch,
        command: CommandNumber,
        replica: ReplicaKey,
    ) {
        self.disk.discard(replica);
        self.tell(ground, watch, Input::Aborted { replica });
        self.tell(ground, watch, Input::CopyEnded { command, replica, done: false });
    }
}
