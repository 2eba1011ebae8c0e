//! What a job's author writes against: [`Mapper`], [`Reducer`], [`Combiner`], [`Partitioner`], the types
//! of keys and values, and [`Job`], which ties them together. No file is touched here: the task
//! runtime (`crate::task`) and the oracle (`crate::oracle`) call what is written against this.

mod bytes;
mod combine;
mod context;
mod counters;
mod csv;
mod datum;
mod error;
pub mod fields;
mod functions;
mod grouping;
mod inputs;
mod job;
mod map;
mod named;
mod numbers;
mod partition;
mod ranges;
mod reduce;
mod tuples;
mod visit;
mod words;
mod wrappers;

pub use bytes::{Bytes, Text};
pub use combine::{Combined, Combiner};
pub use context::TaskContext;
pub use counters::Counter;
pub use csv::CsvFields;
pub use datum::{Datum, DecodeError, Key};
pub use error::UserError;
pub use fields::Fields;
pub use functions::{CombineFn, MapFn, ReduceFn};
pub use inputs::InputMappers;
pub use job::{Job, JobOf};
pub use map::{Mapper, Output, Record};
pub use named::NamedOutput;
pub use partition::{HashPartitioner, Partitioner};
pub use ranges::{RangePartitioner, RangesError, Window};
pub use reduce::{Identity, Reducer, Values};
pub use visit::Visitor;
pub use words::{Words, words};
pub use wrappers::Desc;

pub(crate) use combine::{Folding, NoCombiner};
pub(crate) use context::StatusSink;
pub(crate) use counters::{Counters, OWN_GROUP};
pub(crate) use grouping::{Compare, GroupFields, Grouping};
pub(crate) use inputs::Inputs;
pub(crate) use map::Sink;
pub(crate) use named::NamedOutputs;
pub(crate) use reduce::ValueSource;
pub(crate) use visit::{Pair, TypedPair};
