//! The chunk store's two daemons: chunkmaster and chunkserver.

pub mod master;
pub mod server;
