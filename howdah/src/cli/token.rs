//! `howdah token`: a user's token, for REST on a cluster with a secret.

use std::time::Duration;

use anyhow::{Context, anyhow};
use chunkstore_protocol::StorePath;
use clap::Args;
use ids::UnixMillis;
use net::{Capability, Grant, Keyring, Role, Secret};
use serde_json::json;

use super::{Format, Global, print_json, shown};
use crate::exit::{OrEarly, early};

const SUBJECT_CHARS_MAX: usize = 200;

/// Arguments of `token`.
#[derive(Debug, Args)]
pub(crate) struct TokenArgs {
    /// Whom the holder speaks for; logs and refusals name it
    #[arg(long, value_name = "NAME", default_value = "user")]
    subject: String,
    /// How long it is good, like 30min, 12h or 7days
    #[arg(long, value_name = "TIME", default_value = "12h")]
    expires: config::Time,
    /// Good for looking at files only, and for no job
    #[arg(long)]
    read_only: bool,
    /// Good for this file or folder and what is in it; may be repeated. Without it, for all
    #[arg(long = "path", value_name = "PATH", value_parser = shown::store_path)]
    paths: Vec<StorePath>,
}

/// Prints the token alone.
pub(crate) fn run(args: &TokenArgs, global: &Global) -> anyhow::Result<()> {
    let now = clock::wall();
    let capability = capability(args, now).or_early()?;
    let file = global.config_file()?;
    let config = super::config_file::load(&file)?;
    let Some(secret_file) = &config.cluster.secret_file else {
        return Err(early(anyhow!(
            "{}: cluster.secret_file names no secret to sign a token with; on loopback, \
             cluster.anonymous_loopback lets requests pass without one",
            file.display()
        )));
    };
    let keyring = Keyring::new(&Secret::read_file(secret_file).or_early()?);
    let token = keyring.mint(&capability);
    // As every daemon will: one that is too long would be refused unread.
    keyring.verify(&token, now).context("the paths are too many for one token").or_early()?;
    match global.format {
        Format::Text => crate::say::tell!("{token}"),
        Format::Json => print_json(&json!({"token": token, "expires": capability.expires}))?,
    }
    Ok(())
}

fn capability(args: &TokenArgs, now: UnixMillis) -> anyhow::Result<Capability> {
    let subject = &args.subject;
    let n_chars = subject.chars().count();
    if !(1..=SUBJECT_CHARS_MAX).contains(&n_chars) || subject.chars().any(char::is_control) {
        return Err(anyhow!("--subject takes 1 to {SUBJECT_CHARS_MAX} printable characters"));
    }
    if args.expires.0 < Duration::from_millis(1) {
        return Err(anyhow!("--expires {} leaves no time to use the token", args.expires));
    }
    let everything = [StorePath::root()];
    let paths = if args.paths.is_empty() { everything.as_slice() } else { &args.paths };
    let grant = if args.read_only { Grant::read } else { Grant::all };
    Ok(Capability {
        subject: subject.clone(),
        role: Role::User,
        grants: paths.iter().map(|path| grant(path.as_str())).collect(),
        expires: now + args.expires.0,
    })
}
