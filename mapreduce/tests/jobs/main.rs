//! Whole jobs through the public API.

#![allow(clippy::unwrap_used)] // A test fails by panicking.

mod derived;
mod failures;
mod keys;
mod local;
mod oracle;
mod streaming;
