//! `howdah config check|print`, and how every other command finds its configuration.

use std::path::{Path, PathBuf};

use anyhow::anyhow;
use clap::{Args, Subcommand};
use config::Config;

use super::{Format, Global, print_json};
use crate::exit::{OrEarly, early};

/// Arguments of `config`.
#[derive(Debug, Args)]
pub(crate) struct ConfigArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Say whether a file is a valid configuration, or what is wrong where
    Check {
        /// The file; that of --config or HOWDAH_CONFIG if left out
        file: Option<PathBuf>,
    },
    /// Print the effective configuration: the file's values and the defaults
    Print {
        /// The file; that of --config or HOWDAH_CONFIG if left out; the defaults without either
        file: Option<PathBuf>,
    },
}

/// Runs `config`.
pub(crate) fn run(args: ConfigArgs, global: &Global) -> anyhow::Result<()> {
    match args.action {
        Action::Check { file } => {
            let file = file.map_or_else(|| global.config_file(), Ok)?;
            config::load(&file, &[]).or_early()?;
            match global.format {
                Format::Text => crate::say::tell!("{}: valid", file.display()),
                Format::Json => print_json(&serde_json::json!({"file": file, "valid": true}))?,
            }
        }
        Action::Print { file } => {
            let config = file.map_or_else(|| global.client_config(), |file| load(&file))?;
            match global.format {
                Format::Text => crate::say::tell!("{}", config.to_yaml().trim_end()),
                Format::Json => print_json(&config)?,
            }
        }
    }
    Ok(())
}

impl Global {
    /// The file that --config or HOWDAH_CONFIG names.
    fn named_config(&self) -> Option<PathBuf> {
        self.config.clone().or_else(|| config::env::process().config_file())
    }

    /// The file that must be named.
    pub(crate) fn config_file(&self) -> anyhow::Result<PathBuf> {
        self.named_config().ok_or_else(|| {
            early(anyhow!("no configuration file: name it with --config FILE or HOWDAH_CONFIG"))
        })
    }

    /// The configuration of a client: the named file, or the defaults.
    pub(crate) fn client_config(&self) -> anyhow::Result<Config> {
        match self.named_config() {
            Some(file) => load(&file),
            None => Ok(Config::default()),
        }
    }
}

/// Loads a configuration; what is wrong with it is decidable without the cluster.
pub(crate) fn load(file: &Path) -> anyhow::Result<Config> {
    config::load(file, &[]).or_early()
}
