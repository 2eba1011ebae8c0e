//! How much room a journal has.

/// What a master's journal takes: its loop knows and says, its core decides what is refused for that.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Room {
    /// Anything.
    #[default]
    Ample,
    /// What makes space.
    Reserve,
    /// Nothing, and what can wait for time-outs waits.
    None,
}
