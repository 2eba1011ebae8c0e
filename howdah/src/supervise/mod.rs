//! Whole clusters on loopback: one child process per daemon, the same binary and the same code paths as
//! on many hosts. `dev` keeps one in a folder; `demo` runs a job on one in a temporary folder.

mod by_hand;
mod children;
mod cluster;
pub(crate) mod demo;
mod layout;
mod left_out;
mod masters;
mod ports;
mod report;
mod settings;
mod top_words;

pub(crate) use children::end_with_this_process;
pub(crate) use cluster::{Cluster, ClusterOptions};
