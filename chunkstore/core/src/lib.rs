//! The pure state machines of the chunk store.

pub mod replica;
pub mod writer;
