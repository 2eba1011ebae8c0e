//! What clients, the JobTracker, the TaskTrackers and the task processes say to one another: serde
//! types, the grammar of ids and shuffle requests, the layout of map outputs. No rules: what runs where
//! is decided in `jobtracker-core`.

pub mod amounts;
pub mod bounds;
mod builtin_table;
pub mod builtins;
pub mod channel;
pub mod events;
pub mod explain;
pub mod failure;
pub mod folders;
pub mod formats;
pub mod health;
pub mod history;
pub mod hosts;
pub mod ids;
pub mod input_format;
pub mod job;
pub mod limits;
pub mod map_output;
pub mod output_format;
pub mod output_sizes;
pub mod packing;
pub mod pools;
pub mod problem;
pub mod shuffle;
pub mod skipping;
pub mod status;
pub mod stores;
pub mod streaming;
pub mod timeline;
pub mod trackers;
mod words;

pub use self::ids::*;
pub use amounts::*;
pub use bounds::*;
pub use builtins::ProgramError;
pub use channel::*;
pub use events::*;
pub use explain::*;
pub use failure::*;
pub use folders::*;
pub use formats::*;
pub use health::*;
pub use history::*;
pub use hosts::*;
pub use input_format::*;
pub use job::*;
pub use limits::*;
pub use output_format::*;
pub use output_sizes::*;
pub use pools::*;
pub use problem::ProblemKind;
pub use skipping::*;
pub use status::*;
pub use stores::*;
pub use streaming::{ShippedFile, Streaming, StreamingError};
pub use timeline::*;
pub use trackers::*;
pub use words::is_argument;

/// Version of the messages between JobTracker and TaskTrackers; compared at registration.
pub const PROTOCOL_VERSION: u32 = 6;
