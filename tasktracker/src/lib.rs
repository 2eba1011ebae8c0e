//! The TaskTracker: runs attempts on one host and serves map outputs.
