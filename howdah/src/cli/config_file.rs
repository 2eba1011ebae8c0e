//! `howdah config check|explain|keys|print`, and how every other command finds its configuration.

use std::path::{Path, PathBuf};

use anyhow::anyhow;
use clap::{Args, Subcommand};
use config::Config;

use super::{Format, Global, shown};
use crate::exit::{OrEarly, early};
use crate::say::plain;

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
    /// Say of each effective value where it comes from: a line of the file, the environment, or the default. Of secrets the
    /// names of their files and variables are told, and no more
    Explain {
        /// The file; that of --config or HOWDAH_CONFIG if left out; the defaults without either
        file: Option<PathBuf>,
        /// The values that the daemons of this entry of `hosts` run with
        #[arg(long, value_name = "NAME")]
        host: Option<String>,
        /// Keys that begin so alone, like jobtracker; may be repeated
        #[arg(long = "key", value_name = "KEY")]
        keys: Vec<String>,
    },
    /// Print the page of all keys: their defaults, what they accept and what they mean
    Keys,
    /// Print the effective configuration: the file's values and the defaults
    Print {
        /// The file; that of --config or HOWDAH_CONFIG if left out; the defaults without either
        file: Option<PathBuf>,
        /// The value of one key alone, for scripts: jobtracker.address, cluster.secret_file
        #[arg(long, value_name = "KEY")]
        key: Option<String>,
    },
}

/// Runs `config`.
pub(crate) fn run(args: ConfigArgs, global: &Global) -> anyhow::Result<()> {
    match args.action {
        Action::Check { file } => {
            let file = file.map_or_else(|| global.config_file(), Ok)?;
            config::load(&file, &[]).or_early()?;
            match global.format {
                Format::Table => crate::say::tell!("{}: valid", file.display()),
                Format::Json | Format::Yaml => {
                    global.format.print(&serde_json::json!({"file": file, "valid": true}))?;
                }
            }
        }
        Action::Explain { file, host, keys } => {
            let file = file.or_else(|| global.named_config());
            explain(file.as_deref(), host.as_deref(), &keys, global.format)?;
        }
        Action::Keys => crate::say::tell!("{}", config::keys_page().trim_end()),
        Action::Print { file, key } => {
            let config = file.map_or_else(|| global.client_config(), |file| load(&file))?;
            match (key, global.format) {
                (None, Format::Table) => crate::say::tell!("{}", config.to_yaml().trim_end()),
                (None, format) => format.print(&config)?,
                (Some(key), format) => print_value(&config.value(&key).or_early()?, format)?,
            }
        }
    }
    Ok(())
}

fn explain(
    file: Option<&Path>,
    host: Option<&str>,
    keys: &[String],
    format: Format,
) -> anyhow::Result<()> {
    let is_below = |key: &str, above: &str| {
        key.strip_prefix(above).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
    };
    let mut all = config::explain(file, host).or_early()?;
    if let Some(none) = keys.iter().find(|key| !all.iter().any(|it| is_below(&it.key, key))) {
        return Err(early(anyhow!(
            "there is no key {none} here; `howdah config explain` shows all"
        )));
    }
    all.retain(|it| keys.is_empty() || keys.iter().any(|key| is_below(&it.key, key)));
    if format.is_document() {
        return format.print(&serde_json::json!({"values": all}));
    }
    let mut rows = vec![["KEY", "VALUE", "FROM"].map(str::to_owned)];
    rows.extend(
        all.into_iter()
            .map(|it| [it.key, it.value, it.origin.to_string()].map(|text| plain(&text))),
    );
    crate::say::tell!("{}", shown::table(&rows, [false; 3]).trim_end());
    Ok(())
}

/// Prints a text bare, without the quotes that YAML may need.
fn print_value(value: &serde_yaml::Value, format: Format) -> anyhow::Result<()> {
    match (format, value) {
        (Format::Json | Format::Yaml, _) => format.print(value)?,
        (Format::Table, serde_yaml::Value::String(text)) => crate::say::tell!("{text}"),
        (Format::Table, _) => crate::say::tell!("{}", serde_yaml::to_string(value)?.trim_end()),
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
