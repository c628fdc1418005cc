//! `[stores.<name>]` with `kind = "objects"`.

use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::{AmazonS3Builder, S3ConditionalPut};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{Certificate, ClientOptions, ObjectStore, RetryConfig};
use serde::Deserialize;

use super::bucket::Bucket;
use super::failure::failed;
use super::lease::LIFETIME;
use crate::image::ImageError;
use crate::quantity::Seconds;
use crate::secret;

/// Repetitions of a request that the storage could not serve.
const RETRIES: usize = 5;

/// Blocks in a directory, or in a bucket of a storage that speaks S3.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ObjectsConfig {
    /// `s3://bucket/prefix`, or the path of a directory.
    pub url: String,
    /// Where the bucket is, as `https://host:port`; without: Amazon.
    #[serde(default)]
    pub endpoint: Option<String>,
    /// The region that requests are signed for.
    #[serde(default)]
    pub region: Option<String>,
    /// The name of the key; without: credentials from the environment (`AWS_ACCESS_KEY_ID` and the others) or the machine.
    #[serde(default)]
    pub access_key: Option<String>,
    /// The file with the key's secret.
    #[serde(default)]
    pub secret_key_file: Option<PathBuf>,
    /// PEM: who signs the endpoint's certificate; without: whom the system trusts.
    #[serde(default)]
    pub ca: Option<PathBuf>,
    /// How long one request may take.
    #[serde(default = "default_timeout")]
    pub timeout: Seconds,
}

fn default_timeout() -> Seconds {
    Seconds::new(15)
}

impl ObjectsConfig {
    /// Adds what is wrong to `faults`. `table` is the name of the table.
    pub fn validate(&self, table: &str, faults: &mut Vec<String>) {
        let mut fault = |key: &str, text: &str| faults.push(format!("{table}.{key}: {text}"));
        let is_bucket = self.url.starts_with("s3:");
        match self.bucket() {
            None if is_bucket => fault("url", "is written \"s3://bucket/prefix\""),
            None if self.url.is_empty() || self.url.contains("://") => {
                fault("url", "must be \"s3://bucket/prefix\" or the path of a directory");
            }
            _ => {}
        }
        let only_s3 = [
            ("endpoint", self.endpoint.is_some()),
            ("region", self.region.is_some()),
            ("access_key", self.access_key.is_some()),
            ("secret_key_file", self.secret_key_file.is_some()),
            ("ca", self.ca.is_some()),
        ];
        for (key, _) in only_s3.iter().filter(|(_, is_set)| *is_set && !is_bucket) {
            fault(key, "is for buckets (s3://), not for directories");
        }
        let schemes = ["https://", "http://"];
        if self.endpoint.as_ref().is_some_and(|endpoint| !schemes.iter().any(|scheme| endpoint.starts_with(scheme))) {
            fault("endpoint", "must begin with https:// (or http://, which anybody on the way can read)");
        }
        if self.access_key.is_some() != self.secret_key_file.is_some() {
            fault("access_key", "and secret_key_file are given together");
        }
        if !(Duration::from_secs(1)..=LIFETIME / 3).contains(&self.timeout.0) {
            fault("timeout", "must be from 1s to 20s");
        }
    }

    /// The directory, where it is one.
    #[must_use]
    pub fn directory(&self) -> Option<&FilePath> {
        self.bucket().is_none().then(|| FilePath::new(&self.url))
    }

    /// Bucket and prefix of an `s3://` URL.
    fn bucket(&self) -> Option<(&str, &str)> {
        let rest = self.url.strip_prefix("s3://")?;
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        (!bucket.is_empty()).then_some((bucket, prefix.trim_matches('/')))
    }

    /// The place for objects, and the directory where it is one.
    pub(super) fn open(&self) -> Result<(Bucket, Option<PathBuf>), ImageError> {
        match self.bucket() {
            Some((bucket, prefix)) => {
                let store = self.s3(bucket)?;
                Ok((Bucket::new(store, Path::from(prefix)), None))
            }
            None => {
                let path = PathBuf::from(&self.url);
                Ok((Bucket::new(directory(&path)?, Path::default()), Some(path)))
            }
        }
    }

    fn s3(&self, bucket: &str) -> Result<Arc<dyn ObjectStore>, ImageError> {
        let action = || format!("open the bucket {bucket}");
        let mut client = ClientOptions::new().with_timeout(self.timeout.0).with_connect_timeout(self.timeout.0);
        if let Some(ca) = &self.ca {
            for certificate in certificates(ca)? {
                client = client.with_root_certificate(certificate);
            }
        }
        let is_plain = self.endpoint.as_ref().is_some_and(|endpoint| endpoint.starts_with("http://"));
        let retry = RetryConfig { max_retries: RETRIES, retry_timeout: self.timeout.0, ..RetryConfig::default() };
        let mut builder = match &self.access_key {
            Some(key) => AmazonS3Builder::new().with_access_key_id(key),
            None => AmazonS3Builder::from_env(),
        };
        builder = builder
            .with_bucket_name(bucket)
            .with_client_options(client.with_allow_http(is_plain))
            .with_retry(retry)
            .with_conditional_put(S3ConditionalPut::ETagMatch);
        if let Some(file) = &self.secret_key_file {
            builder = builder.with_secret_access_key(secret_of(file)?);
        }
        if let Some(endpoint) = &self.endpoint {
            builder = builder.with_endpoint(endpoint);
        }
        if let Some(region) = &self.region {
            builder = builder.with_region(region);
        }
        Ok(Arc::new(builder.build().map_err(failed(action()))?))
    }
}

/// A directory whose objects are durable when they are written.
pub(super) fn directory(path: &FilePath) -> Result<Arc<dyn ObjectStore>, ImageError> {
    let action = || format!("open the store {}", path.display());
    std::fs::create_dir_all(path).map_err(|source| ImageError::Io { action: action(), source })?;
    let store = LocalFileSystem::new_with_prefix(path).map_err(failed(action()))?;
    Ok(Arc::new(store.with_fsync(true).with_automatic_cleanup(true)))
}

fn secret_of(file: &FilePath) -> Result<String, ImageError> {
    let fault = |source| ImageError::Io { action: "open a bucket".to_owned(), source: std::io::Error::other(source) };
    secret::read(file).map_err(fault)
}

fn certificates(file: &FilePath) -> Result<Vec<Certificate>, ImageError> {
    let action = || format!("read the certificates in {}", file.display());
    let text = std::fs::read(file).map_err(|source| ImageError::Io { action: action(), source })?;
    Certificate::from_pem_bundle(&text).map_err(failed(action()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(text: &str) -> Vec<String> {
        let config: ObjectsConfig = toml::from_str(text).unwrap();
        let mut faults = Vec::new();
        config.validate("stores.main", &mut faults);
        faults
    }

    #[test]
    fn a_place_is_enough() {
        for url in ["/srv/objects", "s3://bucket", "s3://bucket/a/b"] {
            assert_eq!(faults(&format!("url = \"{url}\"")), Vec::<String>::new());
        }
    }

    #[test]
    fn all_faults_name_their_key() {
        for (text, expected) in [
            ("url = \"\"", "stores.main.url"),
            ("url = \"s3:bucket\"", "stores.main.url"),
            ("url = \"s3:///prefix\"", "stores.main.url"),
            ("url = \"gs://bucket\"", "stores.main.url"),
            ("url = \"/srv\"\nregion = \"x\"", "stores.main.region"),
            ("url = \"s3://b\"\nendpoint = \"host\"", "stores.main.endpoint"),
            ("url = \"s3://b\"\naccess_key = \"k\"", "stores.main.access_key"),
            ("url = \"s3://b\"\ntimeout = \"5m\"", "stores.main.timeout"),
        ] {
            let found = faults(text);
            assert!(found.len() == 1 && found[0].starts_with(expected), "{text}: {found:?}");
        }
    }
}
