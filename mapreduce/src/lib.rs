//! MapReduce, as a job's author imports it: [`Mapper`], [`Reducer`], [`Combiner`], [`Partitioner`],
//! [`Job`] and [`main`](fn@main), and [`Job::run_on`] to try one in a test. What the binary calls is in [`runtime`]: the
//! runtime of the task process, the builtin programs, jobs of commands, the local runner and the sequential oracle.
//! Where tasks run is not decided here.
//!
//! ```
//! use mapreduce::{Bytes, Job, words};
//!
//! let job = Job::map::<Bytes, u64>(|line, out| {
//!     for word in words(line.value) {
//!         out.emit(word, 1);
//!     }
//!     Ok(())
//! })
//! .combine(|earlier, later, one| one.set(earlier + later))
//! .reduce::<Bytes, u64>(|word, counts, out| {
//!     out.emit(word, counts.sum());
//!     Ok(())
//! });
//! let _: Job = job.into();
//! ```

mod api;
mod builtin;
mod entry;
mod local;
mod oracle;
mod oracle_input;
mod oracle_output;
mod oracle_places;
mod program;
mod streaming;
mod task;
mod trial;

pub use api::*;
pub use entry::main;
pub use mapreduce_derive::{Counter, Datum, Key};
pub use trial::{Trial, TrialRun};

/// What the binary and its daemons call: the task runtime, the local runner, builtin programs and jobs of commands. A job's
/// author needs none of it, and it may change with each version.
pub mod runtime {
    pub use crate::builtin::{BuiltinError, TERA_RECORD_BYTES, builtin, tera_record};
    pub use crate::local::{LocalTraces, run_local, sample_local};
    pub use crate::streaming::streaming;
    pub use crate::task::{decoder, task_main};
}
