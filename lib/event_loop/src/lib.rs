//! One task owns a pure state machine; nothing is told before it is journaled.
