//! Section `stores`: the object stores beside the chunk store that `howdah fs` and jobs may name in URLs.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// The schemes that a store's URL may have, as errors list them.
const SCHEMES: [&str; 4] = ["s3", "gs", "az", "file"];

/// One entry of `stores`. Only the URL is needed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Store {
    /// What it is about: one bucket (`s3://bucket`), all buckets of a scheme that have no entry of their
    /// own (`s3://`), or for jobs a folder that all hosts share (`file:///mnt/shared`).
    pub url: String,
    /// Where its server is, like `https://minio.example.org:9000`; the scheme's own service if absent.
    #[serde(default)]
    pub endpoint: Option<String>,
    /// The region; `us-east-1` if absent.
    #[serde(default)]
    pub region: Option<String>,
    /// `s3`: the access key's id; `az`: the account. Requests are not signed without a key.
    #[serde(default)]
    pub key_id: Option<String>,
    /// File with the key's secret (`gs`: with the service account's JSON), readable by its owner alone.
    #[serde(default)]
    pub secret_file: Option<PathBuf>,
    /// Environment variable that holds it instead.
    #[serde(default)]
    pub secret_env: Option<String>,
    /// Whether its server may be spoken to without TLS.
    #[serde(default)]
    pub allow_http: bool,
    /// Whether jobs may use it: everybody who may submit a job can then do what the key can.
    #[serde(default)]
    pub jobs: bool,
}

impl Store {
    /// An entry that says nothing but the URL.
    #[must_use]
    pub fn named(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            endpoint: None,
            region: None,
            key_id: None,
            secret_file: None,
            secret_env: None,
            allow_http: false,
            jobs: false,
        }
    }

    /// `s3` of `s3://bucket`.
    fn scheme(&self) -> &str {
        self.url.split_once("://").map_or("", |(scheme, _)| scheme)
    }
}

/// A key of an entry, what it accepts, and the check.
pub(crate) struct StoreRule {
    pub(crate) key: &'static str,
    pub(crate) accepted: &'static str,
    pub(crate) holds: fn(&Store) -> bool,
}

pub(crate) const STORE_RULES: &[StoreRule] = &[
    StoreRule {
        key: "url",
        accepted: "s3://BUCKET, gs://BUCKET or az://CONTAINER, the scheme alone for all (s3://), or \
                   file:///FOLDER",
        holds: |store| is_store_url(&store.url),
    },
    StoreRule {
        key: "endpoint",
        accepted: "null, or http(s)://HOST[:PORT]; http only with allow_http: true",
        holds: |store| store.endpoint.as_deref().is_none_or(|url| is_endpoint(url, store)),
    },
    StoreRule {
        key: "region",
        accepted: "null, or a region's name, like eu-central-1",
        holds: |store| store.region.as_deref().is_none_or(is_word),
    },
    StoreRule {
        key: "key_id",
        accepted: "null, or the id of a key of s3 (with secret_file or secret_env), or the account of az",
        holds: |store| match &store.key_id {
            Some(id) => is_word(id) && matches!(store.scheme(), "s3" | "az"),
            None => store.scheme() == "gs" || !has_secret(store),
        },
    },
    StoreRule {
        key: "secret_file",
        accepted: "null, or an absolute path of a file that only its owner can read",
        holds: |store| store.secret_file.as_ref().is_none_or(|path| path.is_absolute()),
    },
    StoreRule {
        key: "secret_env",
        accepted: "null, or the name of an environment variable, where there is no secret_file; an s3 \
                   key_id needs one of the two",
        holds: |store| {
            let name = store.secret_env.as_deref();
            let alone = name.is_none() || store.secret_file.is_none();
            let complete = store.scheme() != "s3" || store.key_id.is_none() || has_secret(store);
            alone && complete && name.is_none_or(is_word)
        },
    },
    StoreRule { key: "allow_http", accepted: "true or false", holds: |_| true },
    StoreRule { key: "jobs", accepted: "true or false", holds: |_| true },
];

fn has_secret(store: &Store) -> bool {
    store.secret_file.is_some() || store.secret_env.is_some()
}

fn is_store_url(url: &str) -> bool {
    let Some((scheme, rest)) = url.split_once("://") else { return false };
    let is_bucket = |name: &str| {
        let of_bucket = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        name.len() <= 255 && name.bytes().all(of_bucket)
    };
    match scheme {
        "file" => rest.starts_with('/') && !rest.split('/').any(|part| matches!(part, "." | "..")),
        scheme => SCHEMES.contains(&scheme) && is_bucket(rest),
    }
}

fn is_endpoint(url: &str, store: &Store) -> bool {
    let host = match url.split_once("://") {
        Some(("https", host)) => host,
        Some(("http", host)) if store.allow_http => host,
        _ => return false,
    };
    let host = host.trim_end_matches('/');
    // A user or password in it would stand in logs.
    !host.is_empty() && host.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'@' | b'?'))
}

fn is_word(text: &str) -> bool {
    (1..=1024).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic())
}

/// What the key of an entry accepts.
pub(crate) fn accepted_form(key: &str) -> &'static str {
    let store_key = key.split_once("].").map_or("", |(_, store_key)| store_key);
    let rule = STORE_RULES.iter().find(|rule| rule.key == store_key);
    rule.map_or("the keys of a store: {url: 's3://bucket'}", |rule| rule.accepted)
}

#[cfg(test)]
mod tests {
    fn error_of(store: &str) -> Option<String> {
        let text = format!("stores: [{{{store}}}]");
        crate::parse(&text, "c.yaml", &[]).err().map(|error| error.to_string())
    }

    #[test]
    fn an_entry_is_taken_with_what_it_needs_and_refused_by_its_key() {
        for good in [
            "url: 's3://'",
            "url: 's3://b-1', endpoint: 'http://127.0.0.1:9000', allow_http: true",
            "url: 's3://b', key_id: AK, secret_env: S3_SECRET, region: eu-west-1, jobs: true",
            "url: 'gs://b', secret_file: /etc/howdah/gs.json",
            "url: 'az://c', key_id: account",
            "url: 'file:///mnt/shared', jobs: true",
        ] {
            assert_eq!(error_of(good), None, "{good}");
        }
        for (bad, key) in [
            ("url: 's3:/b'", "url"),
            ("url: 'ftp://b'", "url"),
            ("url: 's3://b/folder'", "url"),
            ("url: 'file://mnt'", "url"),
            ("url: 'file:///a/../b'", "url"),
            ("url: 's3://b', endpoint: 'http://h:1'", "endpoint"),
            ("url: 's3://b', endpoint: 'https://user:pw@h'", "endpoint"),
            ("url: 's3://b', key_id: AK", "secret_env"),
            ("url: 's3://b', secret_env: S", "key_id"),
            ("url: 'gs://b', key_id: AK", "key_id"),
            ("url: 's3://b', secret_file: rel, key_id: AK", "secret_file"),
            ("url: 's3://b', key_id: A, secret_file: /a, secret_env: B", "secret_env"),
            ("url: 's3://b', bucket: x", "bucket"),
        ] {
            let error = error_of(bad).expect(bad);
            assert!(error.contains(&format!("stores[0].{key}")), "{bad}: {error}");
        }
    }

    #[test]
    fn a_store_stands_once() {
        let text = "stores: [{url: 's3://b'}, {url: 's3://b'}]";
        let error = crate::parse(text, "c.yaml", &[]).unwrap_err().to_string();
        assert!(error.contains("stores[1].url") && error.contains("stores[0].url"), "{error}");
    }
}
