//! The pure state machines of the chunk store.
