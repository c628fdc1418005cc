//! What all instances of one plugin share.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::Serialize;
use tokio::runtime::Handle;

use super::engine::Threads;
use super::flood::Flood;
use super::{Kind, PluginError};
use crate::buffer::BufferPool;
use crate::id::StoreName;
use crate::image::ImageStore;

/// A loaded plugin without its code.
pub(super) struct Shared {
    pub(super) name: String,
    /// The plugin's own table as JSON.
    pub(super) settings: String,
    /// Bytes of one instance.
    pub(super) memory: usize,
    pub(super) call_timeout: Duration,
    pub(super) host_timeout: Duration,
    /// The stores that the operator granted.
    pub(super) stores: HashMap<StoreName, Arc<dyn ImageStore>>,
    pub(super) pool: BufferPool,
    pub(super) depth: usize,
    /// Where the host's work for guests runs.
    pub(super) host: Handle,
    pub(super) threads: Arc<Threads>,
    pub(super) flood: Flood,
    pub(super) counters: Arc<Counters>,
}

impl Shared {
    pub(super) fn failed(&self, detail: impl Into<String>) -> PluginError {
        PluginError::Failed { plugin: self.name.clone(), detail: detail.into() }
    }
}

/// How often a plugin was called, and how that ended.
#[derive(Debug, Default)]
pub(super) struct Counters {
    calls: AtomicU64,
    failures: AtomicU64,
    traps: AtomicU64,
}

impl Counters {
    /// Counts one call by its result.
    pub(super) fn count<T>(&self, result: Result<T, PluginError>) -> Result<T, PluginError> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        if let Err(error) = &result {
            self.failures.fetch_add(1, Ordering::Relaxed);
            if matches!(error, PluginError::Failed { .. }) {
                self.traps.fetch_add(1, Ordering::Relaxed);
            }
        }
        result
    }
}

/// A loaded plugin, for the admin listener.
#[derive(Debug, Clone, Serialize)]
pub struct PluginInfo {
    pub name: String,
    pub kind: Kind,
    /// The component's file, or `compiled in`.
    pub source: String,
    /// Of the component, in hexadecimal; `None` for what is compiled in.
    pub sha256: Option<String>,
    /// The version of `rsnap:plugin` that it was built for; `None` for what is compiled in.
    pub interface: Option<String>,
    pub calls: u64,
    /// Calls that ended with an error of any kind.
    pub failures: u64,
    /// Those of the failures that are the plugin's fault: traps, limits, timeouts, breaches of the contract.
    pub traps: u64,
}

/// What of a [`PluginInfo`] does not change, with the counters that do.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) fixed: PluginInfo,
    pub(super) counters: Arc<Counters>,
}

impl Entry {
    pub(super) fn info(&self) -> PluginInfo {
        let mut info = self.fixed.clone();
        info.calls = self.counters.calls.load(Ordering::Relaxed);
        info.failures = self.counters.failures.load(Ordering::Relaxed);
        info.traps = self.counters.traps.load(Ordering::Relaxed);
        info
    }
}
