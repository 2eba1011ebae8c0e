//! Whole jobs through the public API.

#![allow(clippy::unwrap_used)] // A test fails by panicking.

mod context;
mod derived;
mod examples;
mod failures;
mod formats;
mod keys;
mod local;
mod oracle;
mod outputs;
mod skips;
mod streaming;
