//! The pure state machines of the chunk store.

pub mod log;
pub mod master;
pub mod replica;
pub mod writer;
