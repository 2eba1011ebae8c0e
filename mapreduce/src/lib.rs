//! MapReduce, as a job's author imports it: [`Mapper`], [`Reducer`], [`Combiner`], [`Partitioner`],
//! [`Job`] and main; the runtime of the task process, the builtin programs
//! ([`builtin`]), jobs of commands ([`streaming()`]), the local runner and the sequential oracle ([`run_local`]). Where tasks run is not
//! decided here.
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
mod program;
mod streaming;
mod task;

pub use api::*;
pub use builtin::{BuiltinError, TERA_RECORD_BYTES, builtin, tera_record};
pub use entry::main;
pub use mapreduce_derive::{Counter, Datum, Key};

pub use local::{LocalTraces, run_local, sample_local};
pub use streaming::streaming;
pub use task::{decoder, task_main};
