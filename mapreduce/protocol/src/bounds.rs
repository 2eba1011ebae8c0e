//! How much of what attempts say of themselves is told and kept. The same on both sides of each wire: a task's runtime keeps
//! to it, TaskTrackers let no more pass, and the JobTracker can write that much down.

/// Length limit of a failure's message, bytes.
pub const FAILURE_BYTES_MAX: usize = 8 << 10;

/// Counters of one attempt, at most; the runtime's own come within a task's limit of 1000 and some.
pub const COUNTERS_MAX: usize = 1024;

/// Length limit of a counter's name with its group, bytes.
pub const COUNTER_NAME_BYTES_MAX: usize = 256;

/// Length limit of an output's digest, bytes: twice of what one has.
pub const DIGEST_BYTES_MAX: usize = 64;

/// Named outputs of one task, at most, beside the one of records that were left out.
pub const NAMED_OUTPUTS_MAX: usize = 32;

/// Length limit of an output's name, bytes.
pub const OUTPUT_NAME_BYTES_MAX: usize = 64;

/// Parts of one staged output, as the store's client has them.
pub const STAGED_PARTS_MAX: usize = 1024;

/// Length limit of an upload's id, and of a part's name, bytes.
pub const STAGED_NAME_BYTES_MAX: usize = 400;

/// Bytes that all of a success takes as JSON, at most: it goes into one record of the JobTracker's journal, of 1 MiB, beside
/// ids, hosts and times.
pub const RESULT_BYTES_MAX: usize = 768 << 10;
