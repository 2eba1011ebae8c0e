//! `howdah secret`: makes the cluster's secret.

use std::path::{Path, PathBuf};

use anyhow::anyhow;
use clap::{Args, Subcommand};
use net::{Secret, SecretError};
use serde_json::json;

use super::{Format, Global};
use crate::exit::{OrEarly, early};

/// Arguments of `secret`.
#[derive(Debug, Args)]
pub(crate) struct SecretArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Write a new secret into a file that only its owner may read; one that exists is never replaced
    New {
        /// The file; that of cluster.secret_file if left out
        file: Option<PathBuf>,
    },
}

/// Runs `secret`.
pub(crate) fn run(args: SecretArgs, global: &Global) -> anyhow::Result<()> {
    let Action::New { file } = args.action;
    let file = file.map_or_else(|| configured(global), Ok)?;
    Secret::random().write_file(&file).map_err(|error| explained(&file, error)).or_early()?;
    match global.format {
        Format::Table => crate::say::tell!(
            "{}: a new secret; copy it to every host, for the daemons' user alone",
            file.display()
        ),
        Format::Json | Format::Yaml => global.format.print(&json!({"file": file}))?,
    }
    Ok(())
}

/// Where the configuration says that it is.
fn configured(global: &Global) -> anyhow::Result<PathBuf> {
    let config = global.config_file()?;
    super::config_file::load(&config)?.cluster.secret_file.ok_or_else(|| {
        let config = config.display();
        early(anyhow!("{config}: cluster.secret_file names no file; name one there, or here: `howdah secret new FILE`"))
    })
}

fn explained(file: &Path, error: SecretError) -> anyhow::Error {
    use std::io::ErrorKind::{AlreadyExists, NotFound};
    let SecretError::Io { source, .. } = &error else { return error.into() };
    let file = file.display();
    match source.kind() {
        AlreadyExists => anyhow!(
            "{file} exists, and is not replaced: daemons and tokens that know its secret would be refused; to have \
             another one all the same, stop the daemons and move the file away first"
        ),
        NotFound => anyhow!("{file}: make its folder first"),
        _ => error.into(),
    }
}
