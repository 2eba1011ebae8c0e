//! How a store is accessed, and with which key.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::AmazonS3Builder;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::{ClientOptions, Result, RetryConfig};

use super::http::Connector;
use super::local_files::LocalFiles;
use super::uploads::Uploads;
use super::{OtherStore, Scheme, StoreUrl};

/// Retries of one request after the first try.
const RETRIES_MAX: usize = 8;

/// The secret part of a key: it must not appear in a log, an argument or an error.
#[derive(Clone, PartialEq, Eq)]
pub struct StoreSecret(String);

impl StoreSecret {
    /// Takes the text without surrounding white space.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(text.trim().to_owned())
    }

    /// The secret, to be passed on to somebody who may have it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for StoreSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StoreSecret(…)")
    }
}

/// How the stores covered by a URL prefix are accessed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreAccess {
    /// `s3://bucket`, `s3://` for all buckets without an entry of their own, or `file:///folder`.
    pub url: String,
    /// The server; by default the scheme's own service.
    pub endpoint: Option<String>,
    /// The region.
    pub region: Option<String>,
    /// For `s3`, the key's id; for `az`, the account.
    pub key_id: Option<String>,
    /// The key's secret; for `gs`, the service account's JSON. Requests are not signed without it.
    pub secret: Option<StoreSecret>,
    /// Whether the server may be accessed without TLS.
    pub allow_http: bool,
}

impl StoreAccess {
    /// The files of this host.
    #[must_use]
    pub fn local_files() -> Self {
        Self {
            url: "file:///".to_owned(),
            endpoint: None,
            region: None,
            key_id: None,
            secret: None,
            allow_http: false,
        }
    }

    /// How well it fits `url`: the longer the prefix, the better; `None` if it covers other stores.
    #[must_use]
    pub fn covers(&self, url: &StoreUrl) -> Option<usize> {
        let (scheme, prefix) = self.url.split_once("://")?;
        if scheme != url.scheme().as_str() {
            return None;
        }
        let covers = match url.scheme() {
            Scheme::File => {
                let folder = prefix.trim_matches('/');
                let below = url.path().as_ref().strip_prefix(folder);
                below.is_some_and(|rest| {
                    folder.is_empty() || rest.is_empty() || rest.starts_with('/')
                })
            }
            _ => prefix.is_empty() || prefix == url.bucket(),
        };
        covers.then_some(prefix.len())
    }

    /// Opens the store of `url`; sends nothing yet.
    pub(super) fn open(&self, url: &StoreUrl, retry_for: Duration) -> Result<OtherStore> {
        let retry = RetryConfig {
            retry_timeout: retry_for,
            max_retries: RETRIES_MAX,
            ..RetryConfig::default()
        };
        let is_plain = self.endpoint.as_ref().is_some_and(|url| url.starts_with("http://"));
        let connector = Connector { tls: !is_plain };
        Ok(match url.scheme() {
            Scheme::S3 => {
                let s3 = Arc::new(self.s3(url, retry, connector)?);
                OtherStore::new(url, s3.clone(), Some(Uploads::of_s3(s3, connector)?))
            }
            Scheme::Gs => OtherStore::new(url, Arc::new(self.gs(url, retry, connector)?), None),
            Scheme::Az => OtherStore::new(url, Arc::new(self.az(url, retry, connector)?), None),
            Scheme::File => OtherStore::new(url, Arc::new(LocalFiles::new()), None),
        })
    }

    fn s3(
        &self,
        url: &StoreUrl,
        retry: RetryConfig,
        connector: Connector,
    ) -> Result<object_store::aws::AmazonS3> {
        let mut builder = AmazonS3Builder::new()
            .with_bucket_name(url.bucket())
            .with_region(self.region.as_deref().unwrap_or("us-east-1"))
            .with_allow_http(self.allow_http)
            .with_retry(retry)
            .with_http_connector(connector);
        if let Some(endpoint) = &self.endpoint {
            builder = builder.with_endpoint(endpoint.trim_end_matches('/'));
        }
        builder = match (&self.key_id, &self.secret) {
            (Some(id), Some(secret)) => {
                builder.with_access_key_id(id).with_secret_access_key(secret.reveal())
            }
            _ => builder.with_skip_signature(true),
        };
        builder.build()
    }

    fn gs(
        &self,
        url: &StoreUrl,
        retry: RetryConfig,
        connector: Connector,
    ) -> Result<object_store::gcp::GoogleCloudStorage> {
        let mut builder = GoogleCloudStorageBuilder::new()
            .with_bucket_name(url.bucket())
            .with_client_options(ClientOptions::new().with_allow_http(self.allow_http))
            .with_retry(retry)
            .with_http_connector(connector);
        if let Some(endpoint) = &self.endpoint {
            builder = builder.with_base_url(endpoint.trim_end_matches('/'));
        }
        match &self.secret {
            Some(secret) => builder.with_service_account_key(secret.reveal()).build(),
            None => builder.with_skip_signature(true).build(),
        }
    }

    fn az(
        &self,
        url: &StoreUrl,
        retry: RetryConfig,
        connector: Connector,
    ) -> Result<object_store::azure::MicrosoftAzure> {
        let mut builder = MicrosoftAzureBuilder::new()
            .with_container_name(url.bucket())
            .with_allow_http(self.allow_http)
            .with_retry(retry)
            .with_http_connector(connector);
        if let Some(account) = &self.key_id {
            builder = builder.with_account(account);
        }
        if let Some(endpoint) = &self.endpoint {
            builder = builder.with_endpoint(endpoint.trim_end_matches('/').to_owned());
        }
        match &self.secret {
            Some(secret) => builder.with_access_key(secret.reveal()).build(),
            None => builder.with_skip_signature(true).build(),
        }
    }
}
