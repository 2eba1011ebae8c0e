//! How much a journal accepts.

/// What a master's journal accepts: the master's loop knows and says it, its core decides what to
/// refuse accordingly.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Room {
    /// Anything.
    #[default]
    Ample,
    /// Only what makes space.
    Reserve,
    /// Nothing; and what time-outs would do has to wait, if it can.
    None,
}
