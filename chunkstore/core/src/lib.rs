//! The pure state machines of the chunk store: no I/O and no clock, and no knowledge of jobs. The
//! daemons of `chunkstore`, `chunkstore-client` (`writer` and `log`) and `simulator` call them.

pub mod log;
pub mod master;
pub mod replica;
pub mod writer;
