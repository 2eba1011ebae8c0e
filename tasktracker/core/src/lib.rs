//! The pure part of the TaskTracker: slots, attempts, what to report until acknowledged.
