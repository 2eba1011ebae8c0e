//! Who may look into a daemon's process.

use rustix::process::{DumpableBehavior, set_dumpable_behavior};

/// Closes this process to others of the same user: they can neither trace it, nor read its memory, environment and
/// descriptors in /proc, nor walk through its folders there. (The superuser can.) It leaves no core either. Called before
/// it reads a secret.
pub fn close_memory() {
    // Fails for no process.
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
}
