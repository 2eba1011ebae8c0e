//! HTTP plumbing that knows nothing of chunks or jobs: capabilities, problem documents, a router
//! that refuses by default, a client with retries. The daemons' `http/` modules are built on it;
//! the chunk store's client and the task processes make their calls through it.

pub mod api;
pub mod as_written;
pub mod audit;
pub mod capability;
pub mod client;
mod entrance;
mod origin;
mod path;
pub mod problem;
mod query;
pub mod random;
mod retry;
pub mod schema_words;
pub mod serve;
pub mod server;
mod strangers;
pub mod tls;
pub mod users;
mod verified;

pub use as_written::{Rewritten, rewritten};
pub use capability::{
    Capability, Grant, Keyring, NotAdmitted, Right, Role, Secret, SecretError, TokenError,
};
pub use client::{CallError, Client, ClientSettings};
pub use entrance::Observer;
pub use path::Path;
pub use problem::{Advice, Problem, Remedy};
pub use query::Query;
pub use random::{hex, random_hex, random_u64};
pub use reqwest;
pub use retry::{Backoff, retrying, retrying_while};
pub use schema_words::{nearest, schema_words};
pub use serve::{ConnectionLimits, Listener, serve, serve_within};
pub use server::{Access, Caller, Guard, Json, Routes};
pub use tls::{OwnFiles, Tls, TlsError, TlsFiles};
pub use users::{NotAUser, SUPERUSER, Standing, User, UserError, Users, WouldOpen};
