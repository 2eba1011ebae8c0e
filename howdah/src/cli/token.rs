//! `howdah token`: a user's token, for REST on a cluster with a secret.

use std::time::Duration;

use anyhow::{Context, anyhow};
use chunkstore_protocol::StorePath;
use clap::Args;
use ids::UnixMillis;
use net::{Capability, Grant, Keyring, Role, SUPERUSER, Secret};
use serde_json::json;

use super::{Format, Global, shown};
use crate::exit::{OrEarly, early};

const SUBJECT_CHARS_MAX: usize = 200;

/// Arguments of `token`.
#[derive(Debug, Args)]
pub(crate) struct TokenArgs {
    /// Whom the holder speaks for: the owner of the jobs and files that are made with it. One of 'users' in the
    /// configuration, where that names any, or howdah, the superuser
    #[arg(long, visible_alias = "subject", value_name = "NAME")]
    user: Option<String>,
    /// How long it is good, like 30min, 12h or 7days
    #[arg(long = "for", visible_alias = "expires", value_name = "TIME", default_value = "12h")]
    lasts: config::Time,
    /// Good for looking at files and jobs, not for changing any
    #[arg(long)]
    read_only: bool,
    /// Good for this file or folder and what is in it; may be repeated. Without it, for all
    #[arg(long = "path", value_name = "PATH", value_parser = shown::store_path)]
    paths: Vec<StorePath>,
}

/// Prints the token alone.
pub(crate) fn run(args: &TokenArgs, global: &Global) -> anyhow::Result<()> {
    let now = clock::wall();
    check_shape(args).or_early()?;
    let file = global.config_file()?;
    let config = super::config_file::load(&file)?;
    let capability = capability(args, user(args, &config.users).or_early()?, now);
    let Some(secret_file) = &config.cluster.secret_file else {
        return Err(early(anyhow!(
            "{}: cluster.secret_file names no secret to sign a token with; on loopback, \
             cluster.anonymous_loopback lets requests pass without one",
            file.display()
        )));
    };
    let keyring = Keyring::new(&Secret::read_file(secret_file).or_early()?);
    let token = keyring.mint_for_user(&capability, now);
    // As every daemon will: one that is too long would be refused unread.
    keyring.verify(&token, now).context("the paths are too many for one token").or_early()?;
    match global.format {
        Format::Table => crate::say::tell!("{token}"),
        Format::Json | Format::Yaml => {
            global.format.print(&json!({"token": token, "expires": capability.expires}))?;
        }
    }
    Ok(())
}

/// Whom a token is for where nobody is told apart and nothing is said.
const SOMEBODY: &str = "user";

/// Whom the token is for.
fn user<'a>(args: &'a TokenArgs, users: &[config::User]) -> anyhow::Result<&'a str> {
    let is_known = |name: &str| name == SUPERUSER || users.iter().any(|user| user.name == name);
    match args.user.as_deref() {
        None if users.is_empty() => Ok(SOMEBODY),
        Some(name) if users.is_empty() || is_known(name) => Ok(name),
        named => {
            let what = match named {
                Some(name) => format!("--user {name} is no user of this cluster"),
                None => "whom is the token for? add --user NAME".to_owned(),
            };
            let names: Vec<&str> = users.iter().map(|user| user.name.as_str()).collect();
            Err(anyhow!("{what}: 'users' in the configuration has {}", names.join(", ")))
        }
    }
}

fn check_shape(args: &TokenArgs) -> anyhow::Result<()> {
    let subject = args.user.as_deref().unwrap_or(SOMEBODY);
    let n_chars = subject.chars().count();
    if !(1..=SUBJECT_CHARS_MAX).contains(&n_chars) || subject.chars().any(char::is_control) {
        return Err(anyhow!("--user takes 1 to {SUBJECT_CHARS_MAX} printable characters"));
    }
    if args.lasts.0 < Duration::from_millis(1) {
        return Err(anyhow!("--for {} leaves no time to use the token", args.lasts));
    }
    Ok(())
}

fn capability(args: &TokenArgs, subject: &str, now: UnixMillis) -> Capability {
    let everything = [StorePath::root()];
    let paths = if args.paths.is_empty() { everything.as_slice() } else { &args.paths };
    let grant = if args.read_only { Grant::read } else { Grant::all };
    Capability {
        subject: subject.to_owned(),
        role: Role::User,
        grants: paths.iter().map(|path| grant(path.as_str())).collect(),
        expires: now + args.lasts.0,
    }
}
