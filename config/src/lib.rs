//! The typed YAML configuration: one file for all hosts, and the commented sample files that users
//! copy. Types and parsing only: nothing here opens a socket or decides a policy. Raw text becomes
//! [`Config`] in one step; each daemon is then passed its own section.

mod model;
mod values;

pub use model::*;
pub use values::{Bytes, Time, ValueError};
