//! The configuration's `stores` → the registry of object stores, with the secrets that it only names.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use chunkstore_client::stores::{StoreAccess, StoreSecret, StoreUrl, Stores};
use config::{Config, Store};

use crate::exit::OrEarly as _;

/// How long a command goes on trying.
const COMMAND_PATIENCE: Duration = Duration::from_secs(10);

/// What jobs may use, with secrets.
pub(crate) fn for_jobs(config: &Config) -> anyhow::Result<Vec<StoreAccess>> {
    let entries = config.stores.iter().filter(|entry| entry.jobs);
    entries.map(with_secret).collect::<Result<_, _>>().or_early()
}

/// What a command needs for `urls`, with the secrets of these alone; and the files of this host.
pub(crate) fn for_command(config: &Config, urls: &[&StoreUrl]) -> anyhow::Result<Stores> {
    let is_meant = |entry: &&Store| {
        let access = without_secret(entry);
        urls.iter().any(|url| access.covers(url).is_some())
    };
    let entries = config.stores.iter().filter(is_meant).map(with_secret);
    let mut accesses: Vec<_> = entries.collect::<Result<_, _>>().or_early()?;
    accesses.push(StoreAccess::local_files());
    Ok(Stores::new(accesses, COMMAND_PATIENCE))
}

fn without_secret(entry: &Store) -> StoreAccess {
    StoreAccess {
        url: entry.url.clone(),
        endpoint: entry.endpoint.clone(),
        region: entry.region.clone(),
        key_id: entry.key_id.clone(),
        secret: None,
        allow_http: entry.allow_http,
    }
}

fn with_secret(entry: &Store) -> anyhow::Result<StoreAccess> {
    let secret = match (&entry.secret_file, &entry.secret_env) {
        (Some(file), _) => Some(read(file).with_context(|| {
            format!("the secret of {} (stores, secret_file) can't be used", entry.url)
        })?),
        (None, Some(name)) => {
            let value = config::env::process().store_secret(name);
            let value = value.as_ref().and_then(|value| value.to_str());
            Some(StoreSecret::new(value.ok_or_else(|| {
                let url = &entry.url;
                anyhow!("the environment variable {name} (secret_env of {url}) is not set: set it, or name a secret_file")
            })?))
        }
        (None, None) => None,
    };
    Ok(StoreAccess { secret, ..without_secret(entry) })
}

fn read(file: &Path) -> anyhow::Result<StoreSecret> {
    let shown = file.display();
    let found = std::fs::metadata(file).with_context(|| format!("cannot read {shown}"))?;
    let mode = found.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(anyhow!(
            "{shown} may be read by others (mode {mode:o}): run `chmod 600` on it"
        ));
    }
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {shown}"))?;
    match text.trim().is_empty() {
        true => Err(anyhow!("{shown} is empty")),
        false => Ok(StoreSecret::new(&text)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_come_from_files_that_only_their_owner_reads_and_only_those_that_are_needed() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("secret");
        std::fs::write(&file, "sesame\n").unwrap();
        let entry = |url: &str| Store {
            key_id: Some("AK".to_owned()),
            secret_file: Some(file.clone()),
            ..Store::named(url)
        };
        let config = Config { stores: vec![entry("s3://b")], ..Config::default() };
        let mode =
            |mode| std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
        mode(0o644);
        let url = "s3://b/x".parse().unwrap();
        let error = format!("{:#}", for_command(&config, &[&url]).unwrap_err());
        assert!(error.contains("chmod 600") && error.contains("s3://b"), "{error}");
        for_command(&config, &[&"gs://b/x".parse().unwrap()]).unwrap();
        mode(0o600);
        let stores = for_command(&config, &[&url]).unwrap();
        let access = stores.access(&url).unwrap();
        assert_eq!(access.secret.as_ref().map(StoreSecret::reveal), Some("sesame"));
        let unset =
            Store { secret_env: Some("HOWDAH_NO_SUCH".to_owned()), ..Store::named("s3://c") };
        let error = format!("{:#}", with_secret(&unset).unwrap_err());
        assert!(error.contains("HOWDAH_NO_SUCH"), "{error}");
        let entries =
            |jobs| Config { stores: vec![Store { jobs, ..entry("s3://b") }], ..Config::default() };
        let access = &for_jobs(&entries(true)).unwrap()[0];
        assert_eq!(access.secret.as_ref().map(StoreSecret::reveal), Some("sesame"));
        assert!(for_jobs(&entries(false)).unwrap().is_empty());
    }
}
