//! What the master accepts while its journal's disk is full: whatever needs no record, and, while
//! there is a reserve, what makes space. Expiring leases and the reclaiming of removed folders wait
//! until there is room; the daemon's event loop knows whether there is, and says so.

use ids::Room;

use super::error::{FsError, ServerError};
use super::replies::Seen;
use super::{Effect, Input, LogRequest, Master, Mutation, Stamp};

impl Master {
    /// Sets what the journal accepts from now on.
    pub fn set_room(&mut self, room: Room) {
        self.room = room;
    }

    /// The refusal of an input while the room is not [`Room::Ample`]. Gives the input back if it
    /// needs no record, or if it makes space and there is a reserve.
    ///
    /// # Errors
    /// With the refusal.
    pub fn refuse(&self, input: Input) -> Result<Input, Effect> {
        match &input {
            Input::Mutate(to, asker, request) => {
                let stamp = Stamp::new(request.stamp(), asker.digest);
                let is_new = matches!(self.durable.replies().seen(&stamp), Seen::New);
                let admitted = self.room != Room::None && request.makes_space();
                if is_new && !admitted {
                    return Err(Effect::Reply(*to, Box::new(Err(FsError::JournalFull.into()))));
                }
                Ok(input)
            }
            // What was appended becomes known only with its chunk's end, so that may use the
            // reserve.
            Input::Log(to, request) => {
                let ends = matches!(request, LogRequest::End(_)) && self.room != Room::None;
                match ends {
                    true => Ok(input),
                    false => Err(Effect::Reply(*to, Box::new(Err(FsError::JournalFull.into())))),
                }
            }
            // The first registration of a server makes a record.
            Input::Register(to, request) if !self.durable.known().contains(&request.host) => {
                let refusal = ServerError::JournalFull { host: request.host.clone() };
                Err(Effect::Reply(*to, Box::new(Err(refusal.into()))))
            }
            Input::Start(_)
            | Input::WriterGone(..)
            | Input::Query(..)
            | Input::Register(..)
            | Input::Heartbeat(..)
            | Input::Summarise(_) => Ok(input),
        }
    }
}

impl Mutation {
    /// Whether it removes chunks.
    fn makes_space(&self) -> bool {
        match self {
            Self::Delete(_) | Self::Abandon(_) => true,
            Self::Create(_)
            | Self::Append(_)
            | Self::CreateLog(_)
            | Self::Allocate(_)
            | Self::Close(_)
            | Self::Mkdir(_)
            | Self::Rename(_)
            | Self::Copy(_)
            | Self::Concat(_)
            | Self::SetReplication(_)
            | Self::SetOwner(_)
            | Self::Publish(_)
            | Self::Drain(_)
            | Self::Forget(_) => false,
        }
    }
}
