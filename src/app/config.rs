//! The configuration file: the product of the modules' own tables, data and nothing else.
//!
//! Unknown keys are errors, because a misspelt limit that is silently ignored is found at the worst moment. All
//! faults are told at once, in the words of the file.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::id::{SiteName, StoreName};
use crate::image::{ObjectsConfig, RbdConfig};
use crate::{admin, cluster, http, net, plugin, tls, transfer};

/// The whole file.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    pub gateway: Gateway,
    pub listen: net::Config,
    pub tls: tls::Config,
    pub auth: http::auth::Config,
    /// Where the gateways of the site know each other from; `None`: there is one.
    pub etcd: Option<cluster::Config>,
    pub admin: admin::Config,
    pub limits: transfer::Config,
    pub uploads: transfer::UploadConfig,
    /// The storage backends, by the names that plugins are granted.
    pub stores: BTreeMap<StoreName, Store>,
    pub plugins: plugin::Config,
}

/// `[gateway]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Gateway {
    /// The site that this gateway belongs to; tickets are bound to it.
    pub site: SiteName,
    /// State of this gateway: generated certificate, token, ticket key, audit log, compiled plugins, default store.
    pub data: PathBuf,
}

/// `[stores.<name>]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub enum Store {
    /// Files in a directory.
    File { path: PathBuf },
    /// Images in a Ceph pool.
    Rbd(RbdConfig),
    /// Blocks in an object store.
    Objects(ObjectsConfig),
    /// Two of the other stores: what is committed is in both.
    Tee { stores: Vec<StoreName> },
    /// The memory of this process; gone when it ends. For tries and tests.
    Memory {},
    /// Keeps no data at all: measures everything else.
    Discard {},
}

impl Store {
    /// The stores that this one is made of.
    #[must_use]
    pub fn parts(&self) -> &[StoreName] {
        match self {
            Self::Tee { stores } => stores,
            _ => &[],
        }
    }
}

/// What the command line puts over the file.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    pub site: Option<SiteName>,
    pub data: Option<PathBuf>,
    pub listen: Option<SocketAddr>,
    pub admin: Option<SocketAddr>,
}

/// Where a configuration comes from, so that it can be read again.
#[derive(Debug, Clone, Default)]
pub struct Origin {
    pub file: Option<PathBuf>,
    pub overrides: Overrides,
}

impl Origin {
    /// As [`Config::load`].
    pub fn load(&self) -> Result<Config, ConfigError> {
        Config::load(self.file.as_deref(), &self.overrides)
    }
}

/// Why there is no valid configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("could not read the configuration {}: {source}", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error("the configuration {} is not valid: {detail}", path.display())]
    Parse { path: PathBuf, detail: String },
    #[error("the configuration has {} fault(s):\n  {}", .0.len(), .0.join("\n  "))]
    Faults(Vec<String>),
}

impl Default for Gateway {
    fn default() -> Self {
        Self { site: SiteName::local(), data: default_data() }
    }
}

impl Config {
    /// Reads `path`, or takes safe defaults without one: loopback only, everything else in the data directory.
    pub fn load(path: Option<&Path>, overrides: &Overrides) -> Result<Self, ConfigError> {
        let mut config = match path {
            Some(path) => Self::read(path)?,
            None => Self { listen: loopback(), ..Self::default() },
        };
        config.put_over(overrides);
        config.fill_in();
        let mut faults = Vec::new();
        config.validate(&mut faults);
        if faults.is_empty() { Ok(config) } else { Err(ConfigError::Faults(faults)) }
    }

    fn read(path: &Path) -> Result<Self, ConfigError> {
        let text =
            std::fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        toml::from_str(&text).map_err(|fault| ConfigError::Parse {
            path: path.to_owned(),
            detail: fault.to_string().trim_end().to_owned(),
        })
    }

    fn put_over(&mut self, overrides: &Overrides) {
        if let Some(site) = &overrides.site {
            self.gateway.site = site.clone();
        }
        if let Some(data) = &overrides.data {
            self.gateway.data.clone_from(data);
        }
        if let Some(address) = overrides.listen {
            self.listen.address = address;
        }
        if let Some(address) = overrides.admin {
            self.admin.address = address;
        }
    }

    /// A configuration without stores has one, `main`, in the data directory.
    fn fill_in(&mut self) {
        if self.stores.is_empty() {
            self.stores.insert(StoreName::main(), Store::File { path: self.gateway.data.join("store") });
        }
    }

    fn validate(&self, faults: &mut Vec<String>) {
        self.listen.validate(faults);
        self.tls.validate(faults);
        self.auth.validate(faults);
        self.limits.validate(faults);
        self.uploads.validate(faults);
        self.validate_etcd(faults);
        self.validate_certificates(faults);
        self.plugins.validate(faults);
        for name in self.plugins.writer.stores.iter().filter(|name| !self.stores.contains_key(*name)) {
            faults.push(format!("plugins.writer.stores: there is no [stores.{name}] table"));
        }
        for (name, store) in &self.stores {
            match store {
                Store::File { path } if path.as_os_str().is_empty() => {
                    faults.push(format!("stores.{name}.path: must name a directory"));
                }
                Store::Rbd(rbd) => rbd.validate(&format!("stores.{name}"), faults),
                Store::Objects(objects) => objects.validate(&format!("stores.{name}"), faults),
                Store::Tee { stores } => self.validate_tee(name, stores, faults),
                _ => {}
            }
        }
    }

    fn validate_tee(&self, name: &StoreName, parts: &[StoreName], faults: &mut Vec<String>) {
        let mut fault = |text: String| faults.push(format!("stores.{name}.stores: {text}"));
        if !matches!(parts, [first, second] if first != second) {
            fault("must name two stores".to_owned());
        }
        for part in parts {
            match self.stores.get(part) {
                None => fault(format!("there is no [stores.{part}] table")),
                Some(Store::Tee { .. }) => fault(format!("[stores.{part}] is a tee itself")),
                Some(_) if self.plugins.writer.stores.contains(part) => {
                    fault(format!(
                        "[stores.{part}] is written through this one only: take it out of plugins.writer.stores"
                    ));
                }
                Some(_) => {}
            }
        }
    }

    /// Who is known by a certificate must be asked for one.
    fn validate_certificates(&self, faults: &mut Vec<String>) {
        if !self.auth.certificates.is_empty() && self.tls.client_authorities.is_none() {
            let text = "tls.client_authorities: must be set with auth.certificates: who vouches for them";
            faults.push(text.to_owned());
        }
    }

    /// Gateways that stand together trust each other by their ticket keys, and write to what all of them see.
    fn validate_etcd(&self, faults: &mut Vec<String>) {
        let Some(etcd) = &self.etcd else {
            if !self.plugins.resolver.keys.is_empty() {
                faults.push("plugins.resolver.keys: there is no [etcd] table to read keys by".to_owned());
            }
            return;
        };
        etcd.validate(faults);
        if self.auth.ticket_keys.is_empty() {
            let text = "auth.ticket_keys: must be set with [etcd], the same on all gateways of the site";
            faults.push(text.to_owned());
        }
    }
}

fn loopback() -> net::Config {
    net::Config { address: SocketAddr::from(([127, 0, 0, 1], 8443)), ..net::Config::default() }
}

/// `/var/lib/rsnap` for root, else the user's data directory (XDG Base Directory specification).
fn default_data() -> PathBuf {
    if rustix::process::geteuid().is_root() {
        return PathBuf::from("/var/lib/rsnap");
    }
    let home = std::env::var_os("XDG_DATA_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let home = home.or_else(|| std::env::home_dir().map(|home| home.join(".local/share")));
    home.unwrap_or_else(std::env::temp_dir).join("rsnap")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Config, ConfigError> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("rsnap.toml");
        std::fs::write(&path, text).unwrap();
        Config::load(Some(&path), &Overrides::default())
    }

    #[test]
    fn nothing_at_all_is_a_valid_configuration_that_strangers_do_not_reach() {
        let config = Config::load(None, &Overrides::default()).unwrap();
        assert!(config.listen.address.ip().is_loopback());
        assert!(config.admin.address.ip().is_loopback());
        assert_eq!(config.stores.len(), 1);
    }

    #[test]
    fn a_misspelt_key_is_an_error_that_names_it() {
        for text in ["[gateway]\nsiet = \"x\"", "[limts]\n", "[stores.main]\nkind = \"file\"\npaht = \"/x\""] {
            let fault = parse(text).unwrap_err().to_string();
            assert!(fault.contains("siet") || fault.contains("limts") || fault.contains("paht"), "{fault}");
        }
    }

    #[test]
    fn a_tee_is_made_of_two_others() {
        let parts =
            "[stores.a]\nkind = \"memory\"\n[stores.b]\nkind = \"memory\"\n[plugins.writer]\ncomponent = \"image\"\n";
        let tee = |stores: &str, granted: &str| {
            parse(&format!("{parts}stores = [\"{granted}\"]\n[stores.t]\nkind = \"tee\"\nstores = {stores}\n"))
        };
        tee("[\"a\", \"b\"]", "t").unwrap();
        for (stores, granted) in [
            ("[\"a\"]", "t"),
            ("[\"a\", \"a\"]", "t"),
            ("[\"a\", \"c\"]", "t"),
            ("[\"a\", \"t\"]", "t"),
            ("[\"a\", \"b\"]", "a"),
        ] {
            let fault = tee(stores, granted).unwrap_err().to_string();
            assert!(fault.contains("stores.t.stores"), "{stores}: {fault}");
        }
    }

    #[test]
    fn all_faults_are_told_at_once() {
        let text =
            "[limits]\ndepth = 1\ntransfers = 0\n[plugins.writer]\ncomponent = \"image\"\nstores = [\"nowhere\"]";
        let fault = parse(text).unwrap_err().to_string();
        for part in ["limits.depth", "limits.transfers", "[stores.nowhere]"] {
            assert!(fault.contains(part), "{part} is not in: {fault}");
        }
    }
}
