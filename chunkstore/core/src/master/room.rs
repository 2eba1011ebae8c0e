//! What the master takes while its journal's disk is full: whatever needs no record, and what makes space
//! as long as there is a reserve. Leases that expire, and removed folders that are taken apart, wait until there
//! is room; whether there is, the daemon's loop knows and says.

use ids::Room;

use super::error::{FsError, ServerError};
use super::replies::Seen;
use super::{Effect, Input, LogRequest, Master, Mutation, Stamp};

impl Master {
    /// The journal takes so much from now on.
    pub fn set_room(&mut self, room: Room) {
        self.room = room;
    }

    /// What to answer instead of handling an input while the room is not [`Room::Ample`]; gives the input
    /// back if it needs no record, or makes space and there is a reserve.
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
            // What was appended is known of only when its chunk's end is: that may take from the reserve.
            Input::Log(to, request) => {
                let ends = matches!(request, LogRequest::End(_)) && self.room != Room::None;
                match ends {
                    true => Ok(input),
                    false => Err(Effect::Reply(*to, Box::new(Err(FsError::JournalFull.into())))),
                }
            }
            // The first registration of a server leaves a record.
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
    /// Whether chunks go with it.
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
