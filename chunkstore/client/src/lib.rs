//! Reading and writing files of the chunk store.
