//! `[stores.<name>]` with `kind = "rbd"`.

use std::path::PathBuf;
use std::time::Duration;

use rsnap_rbd::{Features, Layout, Settings};
use serde::Deserialize;

use crate::quantity::{Bytes, Seconds};

/// Images in a Ceph pool.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RbdConfig {
    /// The pool with the images: the one that Cinder's back end names.
    pub pool: String,
    /// A namespace of the pool.
    #[serde(default)]
    pub namespace: Option<String>,
    /// The Ceph user, without `client.`; without: `admin`.
    #[serde(default)]
    pub user: Option<String>,
    /// The file with the user's key; without: as `configuration` says.
    #[serde(default)]
    pub keyring: Option<PathBuf>,
    /// The cluster's `ceph.conf`; without: where Ceph looks for it.
    #[serde(default)]
    pub configuration: Option<PathBuf>,
    /// Whether committed snapshots are protected, as clones of the first version need it.
    #[serde(default)]
    pub protect: bool,
    /// Size of the objects of images that rsnap makes; without: as the cluster says.
    #[serde(default)]
    pub object_bytes: Option<Bytes>,
    /// Features of images that rsnap makes, by the names of the `rbd` tool.
    #[serde(default = "default_features")]
    pub features: Vec<String>,
    /// How long the cluster may take for one operation before it is an error.
    #[serde(default = "default_timeout")]
    pub timeout: Seconds,
}

fn default_features() -> Vec<String> {
    ["layering", "exclusive-lock", "object-map", "fast-diff", "deep-flatten"].map(str::to_owned).to_vec()
}

fn default_timeout() -> Seconds {
    Seconds::new(30)
}

impl RbdConfig {
    /// Adds what is wrong to `faults`. `table` is the name of the table.
    pub fn validate(&self, table: &str, faults: &mut Vec<String>) {
        let mut fault = |key: &str, text: String| faults.push(format!("{table}.{key}: {text}"));
        if self.pool.is_empty() || self.pool.contains('/') {
            fault("pool", "must name a pool; a namespace has a key of its own".to_owned());
        }
        if self.namespace.as_ref().is_some_and(|name| name.is_empty() || name.contains('/')) {
            fault("namespace", "must name a namespace of the pool, or be left out".to_owned());
        }
        if self.user.as_ref().is_some_and(|user| user.is_empty() || user.starts_with("client.")) {
            fault("user", "is written without \"client.\"".to_owned());
        }
        let objects = self.object_bytes.map(|bytes| bytes.0);
        if objects.is_some_and(|bytes| !bytes.is_power_of_two() || !(64 << 10..=32 << 20).contains(&bytes)) {
            fault("object_bytes", "must be a power of two from 64KiB to 32MiB".to_owned());
        }
        for name in self.features.iter().filter(|name| Features::named(name).is_none()) {
            fault("features", format!("there is no feature {name:?}"));
        }
        if !self.features.iter().any(|name| name == "exclusive-lock") {
            fault(
                "features",
                "must have \"exclusive-lock\": it is what keeps two gateways from writing one image".to_owned(),
            );
        }
        if self.timeout.0 < Duration::from_secs(1) {
            fault("timeout", "must be at least 1s".to_owned());
        }
    }

    /// How images are made.
    pub(super) fn layout(&self) -> Layout {
        let features = self.features.iter().filter_map(|name| Features::named(name));
        let features = features.fold(Features::default(), |all, feature| all | feature);
        Layout { object_bytes: self.object_bytes.map(|bytes| bytes.0), features: Some(features), stripe: None }
    }

    /// How the cluster is reached.
    pub(super) fn settings(&self) -> Settings {
        Settings {
            configuration: self.configuration.clone(),
            user: self.user.clone(),
            keyring: self.keyring.clone(),
            options: Vec::new(),
            timeout: self.timeout.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(text: &str) -> Vec<String> {
        let config: RbdConfig = toml::from_str(text).unwrap();
        let mut faults = Vec::new();
        config.validate("stores.main", &mut faults);
        faults
    }

    #[test]
    fn a_pool_is_enough() {
        assert_eq!(faults("pool = \"volumes\""), Vec::<String>::new());
    }

    #[test]
    fn all_faults_name_their_key() {
        let text = "pool = \"a/b\"\nnamespace = \"\"\nuser = \"client.x\"\nobject_bytes = \"3MiB\"\n\
                    features = [\"layering\", \"speed\"]\ntimeout = \"10ms\"";
        let found = faults(text).join("\n");
        for key in ["pool", "namespace", "user", "object_bytes", "features: there is no", "exclusive-lock", "timeout"] {
            assert!(found.contains(key), "{key} is not in: {found}");
        }
    }
}
