//! The daemons' mains: each turns the configuration into its daemon's settings and calls its `run`.
//! What is the same for all (listener, secret, pid file, logs) is here too; what a daemon does is not.

mod listen;
mod name;
mod pid_file;

pub(crate) use name::DaemonName;
