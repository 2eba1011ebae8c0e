//! Who may inspect a daemon's process.

use rustix::process::{DumpableBehavior, set_dumpable_behavior};

/// Closes this process to others of the same user: they can't trace it, read its memory,
/// environment and descriptors in /proc, or walk through its folders there. (The superuser can.) It
/// leaves no core dump either. Called before it reads a secret.
pub fn close_memory() {
    // This can't fail for the calling process.
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
}
