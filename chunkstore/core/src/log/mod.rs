//! Logs that many clients append to at once: where a writer's batches go ([`Route`]), what a
//! primary admits and in which order ([`Tail`]), when it is acknowledged ([`Group`]), what is
//! sealed of a chunk whose servers failed ([`agree`], [`SealedAs`]), where its readers are
//! ([`Cursor`]) and which records they have seen ([`Seen`]). Not here: frames and their checksums,
//! files, sockets. Which chunk of a log is open, the master knows.
//!
//! A batch is acknowledged once every server of the chunk has synced it. So any server that has
//! lost nothing has at least everything acknowledged, and a single survivor is enough to seal all
//! that was promised. Once one server takes no more, nothing more is acknowledged.

mod cursor;
mod ending;
mod group;
mod route;
mod seen;
mod tail;

pub use cursor::{Cursor, Replaced, Source};
pub use ending::{
    BEGIN_LIMIT, End, Remains, SETTLE_TRIES, SealedAs, TELL_LIMIT, agree, asked, catch_up,
};
pub use group::{Answers, GROUP_BYTES, GROUP_BYTES_MAX, Group, Offered, Progress};
pub use route::Route;
pub use seen::{SEEN_WRITERS_MAX, Seen};
pub use tail::{Admission, Batch, Gap, OutOfOrder, TAIL_WRITERS_MAX, Tail};

#[cfg(test)]
mod tests;
