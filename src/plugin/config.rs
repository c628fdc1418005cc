//! The `[plugins]` tables of the configuration file.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::Kind;
use super::engine::INSTANCES;
use super::http::HostGrant;
use super::keys;
use super::recording::RecordingConfig;
use super::registry::RegistryConfig;
use super::signature::SignaturesConfig;
use crate::id::StoreName;
use crate::quantity::{Bytes, Seconds};

/// The largest memory that a plugin may be given: what a 32-bit guest can address.
const MEMORY_MAX: Bytes = Bytes(4 << 30);
const INSTANCES_MAX: usize = INSTANCES as usize;

/// `[plugins]`: which plugin decides what, and what it may reach.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Folders in which a component given by name is looked up; empty: the usual places, see [`Config::search_path`].
    pub path: Vec<PathBuf>,
    /// Hosts that a resolver may answer, exact or `*.example.org`; empty: any but link-local and unspecified ones.
    pub allow_hosts: Vec<String>,
    pub writer: PluginConfig,
    pub policy: PluginConfig,
    pub resolver: PluginConfig,
    /// Where the policy's decisions are recorded; `None`: nowhere.
    pub recording: Option<RecordingConfig>,
    pub registry: RegistryConfig,
    pub signatures: SignaturesConfig,
}

/// One plugin.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct PluginConfig {
    /// A name that is looked up in the path, a `.wasm` file, `oci://registry/repository@sha256:…`, or `builtin:image` for
    /// the compiled-in writer.
    pub component: String,
    /// The component's SHA-256 in hexadecimal: any other file is refused.
    #[serde(default)]
    pub sha256: Option<String>,
    /// The stores that a writer may open.
    #[serde(default)]
    pub stores: Vec<StoreName>,
    /// The hosts that a writer or a resolver may ask over HTTPS.
    #[serde(default)]
    pub http: Vec<HostGrant>,
    /// What the keys in etcd begin with that a resolver may read.
    #[serde(default)]
    pub keys: Vec<String>,
    /// Memory of one instance, in total.
    #[serde(default = "default_memory")]
    pub memory: Bytes,
    /// Instances at once: calls that run, and transfers whose chunks it takes.
    #[serde(default = "default_instances")]
    pub instances: usize,
    /// Time of the plugin's own code in one call.
    #[serde(default = "default_call_timeout")]
    pub call_timeout: Seconds,
    /// Time that the host works for the plugin (opening an image) in one call.
    #[serde(default = "default_host_timeout")]
    pub host_timeout: Seconds,
    /// The plugin's own table.
    #[serde(default)]
    pub settings: toml::Table,
}

fn default_memory() -> Bytes {
    Bytes::mib(64)
}

/// A third of what all may have, so that no plugin can keep the others from running.
fn default_instances() -> usize {
    INSTANCES_MAX / 3
}

fn default_call_timeout() -> Seconds {
    Seconds::new(5)
}

fn default_host_timeout() -> Seconds {
    Seconds::new(60)
}

impl PluginConfig {
    /// The plugin `component` with the default limits, nothing granted and no settings.
    #[must_use]
    pub fn new(component: impl Into<String>) -> Self {
        Self {
            component: component.into(),
            sha256: None,
            stores: Vec::new(),
            http: Vec::new(),
            keys: Vec::new(),
            memory: default_memory(),
            instances: default_instances(),
            call_timeout: default_call_timeout(),
            host_timeout: default_host_timeout(),
            settings: toml::Table::new(),
        }
    }

    fn validate(&self, kind: Kind, faults: &mut Vec<String>) {
        let table = format!("plugins.{}", kind.table());
        if self.component.is_empty() {
            faults.push(format!("{table}.component: must not be empty"));
        }
        if self.sha256.as_ref().is_some_and(|pin| pin.len() != 64 || !pin.bytes().all(|byte| byte.is_ascii_hexdigit()))
        {
            faults.push(format!("{table}.sha256: must be 64 hexadecimal digits, as `sha256sum` prints them"));
        }
        if self.memory < Bytes::kib(64) || self.memory > MEMORY_MAX {
            faults.push(format!("{table}.memory: must be between 64KiB and {MEMORY_MAX}, not {}", self.memory));
        }
        if !(1..=INSTANCES_MAX).contains(&self.instances) {
            let found = self.instances;
            faults.push(format!("{table}.instances: must be between 1 and {INSTANCES_MAX}, not {found}"));
        }
        for (key, time) in [("call_timeout", self.call_timeout), ("host_timeout", self.host_timeout)] {
            if time == Seconds::default() {
                faults.push(format!("{table}.{key}: must be longer than nothing"));
            }
        }
        if kind != Kind::Writer && !self.stores.is_empty() {
            faults.push(format!("{table}.stores: only a writer can use stores; remove the key"));
        }
        if kind == Kind::Policy && !self.http.is_empty() {
            faults.push(format!("{table}.http: a policy asks no hosts; remove the key"));
        }
        if kind != Kind::Resolver && !self.keys.is_empty() {
            faults.push(format!("{table}.keys: only a resolver reads keys; remove the key"));
        }
        keys::validate(&self.keys, &format!("{table}.keys"), faults);
        for (position, grant) in self.http.iter().enumerate() {
            grant.validate(&format!("{table}.http[{position}]"), faults);
            if self.http.iter().take(position).any(|other| other.host.eq_ignore_ascii_case(&grant.host)) {
                faults.push(format!("{table}.http[{position}].host: {:?} is there twice", grant.host));
            }
        }
    }
}

impl Default for Config {
    /// The shipped plugins; the writer may use the store `main`.
    fn default() -> Self {
        let mut writer = PluginConfig::new("image");
        writer.stores.extend("main".parse());
        Self {
            path: Vec::new(),
            allow_hosts: Vec::new(),
            writer,
            policy: PluginConfig::new("nearest-base"),
            resolver: PluginConfig::new("static"),
            recording: None,
            registry: RegistryConfig::default(),
            signatures: SignaturesConfig::default(),
        }
    }
}

impl Config {
    /// Pushes what is wrong in itself, in the terms of the file.
    pub fn validate(&self, faults: &mut Vec<String>) {
        self.writer.validate(Kind::Writer, faults);
        self.policy.validate(Kind::Policy, faults);
        self.resolver.validate(Kind::Resolver, faults);
        self.recording.iter().for_each(|recording| recording.validate(faults));
        if self.registry.timeout == Seconds::default() {
            faults.push("plugins.registry.timeout: must be longer than nothing".to_owned());
        }
        self.signatures.validate(faults);
    }

    /// Bytes of the largest instance.
    pub(super) fn memory(&self) -> u64 {
        let memory = [&self.writer, &self.policy, &self.resolver].map(|plugin| plugin.memory.0);
        memory.into_iter().max().unwrap_or_default()
    }

    /// Where components given by name are looked up: `RSNAP_PLUGIN_PATH` first, then [`Config::path`], or where that
    /// is empty beside the program and in the usual places of a system.
    #[must_use]
    pub fn search_path(&self) -> Vec<PathBuf> {
        let variable = std::env::var_os("RSNAP_PLUGIN_PATH").unwrap_or_default();
        let first = std::env::split_paths(&variable).filter(|path| !path.as_os_str().is_empty());
        let rest = if self.path.is_empty() { usual_places() } else { self.path.clone() };
        first.chain(rest).collect()
    }
}

fn usual_places() -> Vec<PathBuf> {
    let program = std::env::current_exe().ok();
    let folder = program.as_deref().and_then(std::path::Path::parent);
    let beside = folder.into_iter().flat_map(|folder| [folder.join("plugins"), folder.join("../plugins")]);
    let system = ["/usr/local/lib/rsnap/plugins", "/usr/lib/rsnap/plugins"];
    beside.chain(system.into_iter().map(PathBuf::from)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_table_is_the_default() {
        assert_eq!(toml::from_str::<Config>("").unwrap(), Config::default());
        let mut faults = Vec::new();
        Config::default().validate(&mut faults);
        assert!(faults.is_empty(), "{faults:?}");
    }

    #[test]
    fn a_full_table_is_read() {
        let text = r#"
            path = ["/srv/plugins"]
            allow_hosts = ["*.example.org"]
            [writer]
            component = "builtin:image"
            stores = ["main"]
            memory = "16MiB"
            call_timeout = "2s"
            settings = { store = "main" }
        "#;
        let config: Config = toml::from_str(text).unwrap();
        assert_eq!((config.writer.memory, config.writer.call_timeout), (Bytes::mib(16), Seconds::new(2)));
        assert_eq!(config.writer.settings.get("store").and_then(|value| value.as_str()), Some("main"));
        assert_eq!(config.policy, PluginConfig::new("nearest-base"));
        assert!(toml::from_str::<Config>("[writer]\ncomponent = \"x\"\nmemroy = 1").is_err());
    }

    #[test]
    fn all_faults_are_named_at_once() {
        let mut config = Config::default();
        config.writer.sha256 = Some("abc".to_owned());
        config.policy.memory = Bytes(0);
        config.policy.instances = 0;
        config.policy.call_timeout = Seconds::new(0);
        config.resolver.stores = config.writer.stores.clone();
        config.policy.http = vec![HostGrant::new("a.example")];
        config.policy.keys = vec!["/rsnap/sites/".to_owned()];
        config.resolver.keys = vec!["/rsnap/sites".to_owned()];
        config.resolver.http = vec![HostGrant::new("a.example"), HostGrant::new("A.example")];
        let mut faults = Vec::new();
        config.validate(&mut faults);
        let keys = [
            "plugins.writer.sha256",
            "plugins.policy.memory",
            "plugins.policy.instances",
            "plugins.policy.call_timeout",
            "plugins.policy.http",
            "plugins.policy.keys",
            "plugins.resolver.stores",
            "plugins.resolver.keys",
            "plugins.resolver.http[1].host",
        ];
        assert_eq!(faults.len(), keys.len());
        assert!(faults.iter().zip(keys).all(|(fault, key)| fault.starts_with(key)), "{faults:?}");
    }
}
