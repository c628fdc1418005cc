//! What all instances of one plugin share.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use super::account::{Account, Usage};
use super::engine::Threads;
use super::fitness::Fitness;
use super::flood::Flood;
use super::host::STORAGE_CALLS;
use super::http::{Hosts, REQUESTS};
use super::keys::Keys;
use super::purse::Purse;
use super::state::HANDED_OVER;
use super::text::clean;
use super::{Kind, PluginError};
use crate::buffer::BufferPool;
use crate::id::StoreName;
use crate::image::ImageStore;

/// A loaded plugin without its code.
pub(super) struct Shared {
    pub(super) name: String,
    /// The plugin's own table.
    pub(super) settings: Settings,
    /// Bytes of one instance.
    pub(super) memory: usize,
    pub(super) call_timeout: Duration,
    pub(super) host_timeout: Duration,
    /// The stores that the operator granted.
    pub(super) stores: HashMap<StoreName, Arc<dyn ImageStore>>,
    /// The hosts that the operator granted.
    pub(super) hosts: Hosts,
    /// The keys that the operator granted.
    pub(super) keys: Keys,
    pub(super) pool: BufferPool,
    pub(super) depth: usize,
    /// Where the host's work for guests runs.
    pub(super) host: Handle,
    pub(super) threads: Arc<Threads>,
    /// Instances that it may have at once.
    pub(super) instances: usize,
    /// Those of them that are free.
    pub(super) places: Arc<Semaphore>,
    pub(super) purse: Purse,
    pub(super) flood: Flood,
    pub(super) account: Arc<Account>,
    /// To answer questions.
    pub(super) fitness: Fitness,
    /// To take transfers, which are several calls each; of a writer only.
    pub(super) transfers: Fitness,
}

impl Shared {
    /// Calls the plugin about `subject`, unless it is retired, and keeps account of it.
    pub(super) async fn call<T>(
        &self,
        subject: &str,
        work: impl Future<Output = Result<T, PluginError>>,
    ) -> Result<T, PluginError> {
        self.admit(&self.fitness)?;
        let result = self.account.call(work).await;
        self.fitness.note(subject, &result, Instant::now());
        result
    }

    /// Refuses what a retired plugin would be asked.
    pub(super) fn admit(&self, fitness: &Fitness) -> Result<(), PluginError> {
        let retired = |detail| PluginError::Unavailable { plugin: self.name.clone(), detail };
        fitness.admit(Instant::now()).map_err(retired)
    }

    /// Why it is retired; `None`: it is not.
    pub(super) fn retired(&self) -> Option<String> {
        let now = Instant::now();
        self.fitness.fault(now).or_else(|| self.transfers.fault(now))
    }

    /// Calls it however often it crashes.
    pub(super) fn tolerate(&self) {
        self.fitness.tolerate();
        self.transfers.tolerate();
    }

    /// Forgets why it was retired.
    pub(super) fn rehabilitate(&self) {
        self.fitness.reset();
        self.transfers.reset();
    }

    /// What the plugin says instead of an answer, fit for a log.
    pub(super) fn told(&self, text: &str) -> String {
        self.account.handed(text.len());
        clean(text)
    }

    pub(super) fn failed(&self, detail: impl Into<String>) -> PluginError {
        PluginError::Failed { plugin: self.name.clone(), detail: detail.into() }
    }

    fn limits(&self) -> PluginLimits {
        PluginLimits {
            instances: self.instances,
            memory_bytes: self.memory as u64,
            call_seconds: self.call_timeout.as_secs_f64(),
            host_seconds: self.host_timeout.as_secs_f64(),
            handed_over_bytes: HANDED_OVER as u64,
            storage_calls: STORAGE_CALLS,
            requests: REQUESTS,
        }
    }
}

/// The plugin's own table, as its guest may ask for it.
pub(super) struct Settings {
    pub(super) text: String,
    pub(super) values: BTreeMap<String, Value>,
}

impl Settings {
    pub(super) fn new(table: &toml::Table) -> Result<Self, serde_json::Error> {
        let text = serde_json::to_string(table)?;
        Ok(Self { values: serde_json::from_str(&text)?, text })
    }

    /// One value: a string as it is, anything else as JSON.
    pub(super) fn value(&self, key: &str) -> Option<String> {
        match self.values.get(key)? {
            Value::String(text) => Some(text.clone()),
            other => Some(other.to_string()),
        }
    }
}

/// What is known of a plugin and does not change while it is loaded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    pub name: String,
    pub kind: Kind,
    /// The component's file, or `compiled in`.
    pub source: String,
    /// Of the component, in hexadecimal; `None` for what is compiled in.
    pub sha256: Option<String>,
    /// The version of `rsnap:plugin` that it was built for; `None` for what is compiled in.
    pub interface: Option<String>,
    /// When it was loaded, RFC 3339.
    pub loaded: String,
}

/// What a plugin may use.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PluginLimits {
    /// At once.
    pub instances: usize,
    /// Of each instance.
    pub memory_bytes: u64,
    /// Of its own code, in each call.
    pub call_seconds: f64,
    /// Of the host's work for it, in each call.
    pub host_seconds: f64,
    /// Of what it hands over, in one answer or one call to the host.
    pub handed_over_bytes: u64,
    /// In each call; of a gateway that does not tell them: 0.
    #[serde(default)]
    pub storage_calls: u32,
    /// To servers, in each call.
    #[serde(default)]
    pub requests: u32,
}

/// A loaded plugin, for the admin listener.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PluginInfo {
    #[serde(flatten)]
    pub identity: Identity,
    /// Why it is not called at present: it crashed again and again.
    pub retired: Option<String>,
    #[serde(flatten)]
    pub usage: Usage,
    /// `None` for what is compiled in.
    pub limits: Option<PluginLimits>,
}

/// A loaded plugin and where its numbers are.
#[derive(Clone)]
pub(super) struct Entry {
    pub(super) identity: Identity,
    pub(super) account: Arc<Account>,
    /// `None` for what is compiled in.
    pub(super) shared: Option<Arc<Shared>>,
}

impl Entry {
    pub(super) fn info(&self) -> PluginInfo {
        let shared = self.shared.as_deref();
        PluginInfo {
            identity: self.identity.clone(),
            retired: shared.and_then(Shared::retired),
            usage: self.account.usage(),
            limits: shared.map(Shared::limits),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_one_text_or_single_values() {
        let table = toml::from_str("name = \"größe\"\ncount = 3\nlist = [1, 2]\n[inner]\nx = true").unwrap();
        let settings = Settings::new(&table).unwrap();
        assert_eq!(settings.values.keys().collect::<Vec<_>>(), ["count", "inner", "list", "name"]);
        let values = ["name", "count", "list", "inner", "nothing"].map(|key| settings.value(key));
        let values = values.each_ref().map(Option::as_deref);
        assert_eq!(values, [Some("größe"), Some("3"), Some("[1,2]"), Some("{\"x\":true}"), None]);
        assert_eq!(Settings::new(&toml::Table::new()).unwrap().text, "{}");
    }
}
