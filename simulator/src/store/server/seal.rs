//! What becomes of uploads that are cut off: they are kept, and their writer has them sealed at the
//! length that all servers of its pipeline have. As in the daemon, the core decides whether that is
//! allowed.

use chunkstore_core::replica::{FreezeAnswer, Input, ReplicaKey, ReplyTo, SealAnswer, Sealed};
use chunkstore_protocol::SealedChunk;

use super::{Server, host};
use crate::store::content::{length, units};
use crate::store::ground::{Answer, CallId, Ground, Timer, Who};
use crate::store::invariants::Watch;

/// A cut replica that is being sealed under its final name, and who asked for that.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sealing {
    replica: ReplicaKey,
    asker: (Who, CallId),
}

impl Server {
    /// A writer wants to know how much there is, and that nothing more is added.
    pub(super) fn freeze(
        &mut self,
        ground: &mut Ground,
        watch: &mut Watch,
        asker: (Who, CallId),
        replica: ReplicaKey,
    ) {
        self.next_number += 1;
        let to = ReplyTo(self.next_number);
        self.freezing.insert(to, asker);
        self.tell(ground, watch, Input::FreezeRequested { to, replica });
    }

    pub(super) fn frozen(&mut self, ground: &mut Ground, to: ReplyTo, answer: FreezeAnswer) {
        let Some((from, call)) = self.freezing.remove(&to) else { return };
        let answer = match answer {
            FreezeAnswer::Frozen(frozen) => Ok(frozen),
            FreezeAnswer::Unknown => Err("nothing is here"),
        };
        ground.answer(self.who(), from, call, Answer::Frozen(answer));
    }

    /// Ends the upload of this replica, if one is under way; one that is being synced ends on its
    /// own. A log's replica takes no more records.
    pub(super) fn end_upload(
        &mut self,
        ground: &mut Ground,
        watch: &mut Watch,
        replica: ReplicaKey,
    ) {
        if self.has_log(replica) {
            return self.end_log_here(ground, watch, replica);
        }
        let its = self.uploads.iter().find(|(_, upload)| upload.is_of(replica));
        let Some((stream, ended)) = its.map(|(stream, upload)| (*stream, upload.has_ended()))
        else {
            return;
        };
        match ended {
            true => self.without_downstream(ground, watch, stream),
            false => self.cut_off(ground, watch, stream, "frozen"),
        }
    }

    /// A writer wants a cut replica sealed.
    pub(super) fn seal_cut(
        &mut self,
        ground: &mut Ground,
        watch: &mut Watch,
        asker: (Who, CallId),
        (replica, length): (ReplicaKey, u64),
    ) {
        self.next_number += 1;
        let to = ReplyTo(self.next_number);
        self.tell(ground, watch, Input::SealRequested { to, replica, length });
        match self.sealing.take() {
            Some(SealAnswer::AlreadySealed(sealed)) => {
                self.told_sealed(ground, watch, asker, (replica, sealed));
            }
            Some(SealAnswer::Seal) => {
                self.disk.truncate(replica, units(length));
                if self.disk.begin_seal(replica).is_err() {
                    return self.not_sealed(ground, watch, asker, replica);
                }
                self.next_number += 1;
                self.cut_seals.insert(self.next_number, Sealing { replica, asker });
                self.later(ground, Timer::CutSealed(self.next_number));
            }
            Some(SealAnswer::SealLog) => self.seal_log(ground, watch, asker, (replica, length)),
            Some(
                SealAnswer::Differs { .. }
                | SealAnswer::Open
                | SealAnswer::Sealing
                | SealAnswer::Unknown,
            )
            | None => {
                ground.answer(self.who(), asker.0, asker.1, Answer::Sealed(Err("it can't be")));
            }
        }
    }

    /// A cut replica is on disk under its name, or the disk has failed.
    pub(super) fn cut_synced(&mut self, ground: &mut Ground, watch: &mut Watch, number: u64) {
        let Some(Sealing { replica, asker }) = self.cut_seals.remove(&number) else { return };
        match self.disk.end_seal(replica) {
            Ok(sealed) => {
                self.tell(ground, watch, Input::Sealed { replica, sealed });
                self.told_sealed(ground, watch, asker, (replica, sealed));
            }
            Err(_) => self.not_sealed(ground, watch, asker, replica),
        }
    }

    fn not_sealed(
        &mut self,
        ground: &mut Ground,
        watch: &mut Watch,
        (from, call): (Who, CallId),
        replica: ReplicaKey,
    ) {
        self.disk.discard(replica);
        self.tell(ground, watch, Input::Aborted { replica });
        ground.answer(self.who(), from, call, Answer::Sealed(Err("the disk did not sync")));
    }

    pub(super) fn told_sealed(
        &mut self,
        ground: &mut Ground,
        watch: &mut Watch,
        (from, call): (Who, CallId),
        (ReplicaKey { chunk, version }, Sealed { length, checksum }): (ReplicaKey, Sealed),
    ) {
        let told = SealedChunk { chunk, version, length, checksum, servers: vec![host(self.n)] };
        watch.see_sealed(self.n, &told, &self.disk);
        watch.see_log_sealed(ReplicaKey { chunk, version }, &self.disk);
        ground.say(format_args!("host-{} sealed what broke off: {told:?}", self.n));
        ground.answer(self.who(), from, call, Answer::Sealed(Ok(told)));
    }

    /// Keeps what an upload left for its writer to seal, if it left anything.
    pub(super) fn keep_cut(
        &mut self,
        ground: &mut Ground,
        watch: &mut Watch,
        replica: ReplicaKey,
        received: &[crate::store::content::Unit],
    ) {
        match length(received) {
            0 => {
                self.disk.discard(replica);
                self.tell(ground, watch, Input::Aborted { replica });
            }
            length => self.tell(ground, watch, Input::Cut { replica, length }),
        }
    }
}
