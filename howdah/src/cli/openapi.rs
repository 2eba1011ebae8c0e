//! `howdah openapi`: the description of a master's interface, made from the routes in its code.

use clap::{Args, ValueEnum};

/// Arguments of `openapi`.
#[derive(Debug, Args)]
#[command(arg(super::idle_config()))]
pub(crate) struct OpenapiArgs {
    /// Whose interface
    #[arg(value_enum)]
    daemon: Described,
}

/// The daemons whose interface is described.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Described {
    /// Jobs, hosts, pools, and files for browsers and curl
    Jobtracker,
    /// Files, folders and chunkservers
    Chunkmaster,
}

/// Prints the document that this release's daemon serves as `/v1/openapi.json`.
pub(crate) fn run(args: &OpenapiArgs) {
    let document = match args.daemon {
        Described::Jobtracker => jobtracker::openapi(),
        Described::Chunkmaster => chunkstore::master::openapi(),
    };
    crate::say::tell!("{}", document.trim_end());
}
