//! Logs, of which many clients write one at once: what a primary admits and in which order ([`Tail`]), what is sealed of
//! a chunk whose servers failed ([`agree`]), and which records its readers have seen ([`Seen`]). Not here: frames and
//! their checksums, files, sockets; which chunk is a log's open one is the master's to know.
//!
//! Acknowledged is what every server of the chunk has synced. So whatever any server of it has is at least that, and
//! one survivor is enough to seal all that anybody was promised; once one of them takes no more, nothing more is
//! acknowledged.

mod ending;
mod seen;
mod tail;

pub use ending::{End, Remains, agree};
pub use seen::{SEEN_WRITERS_MAX, Seen};
pub use tail::{Admission, Batch, Gap, OutOfOrder, TAIL_WRITERS_MAX, Tail};

#[cfg(test)]
mod tests;
