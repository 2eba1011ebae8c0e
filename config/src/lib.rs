//! The typed YAML configuration: one file for all hosts, and the commented sample files that users
//! copy. Types and parsing only: nothing here opens a socket or decides a policy. Raw text becomes
//! [`Config`] in one step ([`load`]); each daemon is then passed its own section.
//!
//! A leaf: it depends on no other room, so names and addresses stay text here. They are checked by
//! the same rules as those rooms have; a drift test compares the two.

mod conflicts;
pub mod env;
mod error;
mod explain;
mod host_rules;
mod hosts;
mod keys;
mod load;
mod locate;
mod log;
mod model;
mod names;
mod pools;
mod rules;
mod stores;
mod users;
mod values;

pub use error::{ConfigError, Place};
pub use explain::{ExplainError, Explained, Origin, explain};
pub use hosts::{Host, HostChunkserver, HostConfig, HostTasktracker, UnknownHost};
pub use keys::keys_page;
pub use load::{load, parse, parse_override};
pub use log::{Log, LogFormat};
pub use model::*;
pub use names::{is_address, is_host_name, is_listen_address, is_loopback, is_rack_name};
pub use pools::{Pool, is_pool_name};
pub use rules::accepted_form;
pub use stores::Store;
pub use users::{User, UserRole};
pub use values::{Bytes, Moment, Percent, Time, UidRange, ValueError};
