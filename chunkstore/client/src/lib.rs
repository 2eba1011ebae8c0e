//! Reading and writing files of the chunk store: the [`ChunkStore`] with its namespace calls, the
//! [`FileWriter`] and the [`FileReader`], whole local files ([`local`]), and the two ends of the block
//! stream in which chunk bytes travel ([`blocks`], [`transfer`]; the chunkserver uses them too). What a
//! writer does when servers fail is decided in `chunkstore_core::writer`.
//!
//! Other object stores are [`stores`].
//!
//! Called by the JobTracker, the TaskTracker, the task runtime and the command line; must be used within
//! a tokio runtime.

mod ahead;
pub mod batch;
pub mod blocks;
mod buffer;
mod candidates;
pub mod checksum;
mod counts;
mod error;
pub mod footer;
mod health;
mod hedge;
pub mod local;
mod local_replica;
mod locations;
mod log_append;
mod log_read;
mod names;
mod object_store;
mod order;
mod ranges;
mod read;
pub mod records;
mod recovery;
mod replica_stream;
mod settings;
mod sockets;
mod stamps;
mod store;
pub mod stores;
pub mod transfer;
mod unfinished;
mod upload;
mod write;

pub use crate::object_store::ChunkObjectStore;
pub use chunkstore_core::writer::{GaveUp, ServerFailure};
pub use chunkstore_protocol::IfWriterDies;
pub use counts::ReadCounts;
pub use error::StoreError;
pub use health::Losses;
pub use log_append::{LogOptions, LogWriter};
pub use log_read::{LogReader, LogRecord};
pub use read::FileReader;
pub use settings::{Descriptors, ReadSettings, StoreSettings};
pub use store::{ChunkStore, CreateOptions};
pub use write::FileWriter;
