//! Whether the stores answer, asked in the background so that a probe never waits for a disk, and whether the plugins that
//! transfers need are called.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::JoinSet;

use crate::id::StoreName;
use crate::image::ImageStore;
use crate::plugin::Plugins;

const INTERVAL: Duration = Duration::from_secs(5);
/// A store that needs longer than this to say how full it is will not take a transfer either.
const PATIENCE: Duration = Duration::from_secs(10);

/// Watches all stores and plugins.
#[derive(Debug)]
pub(super) struct Health {
    stores: Vec<(StoreName, Arc<dyn ImageStore>)>,
    plugins: Arc<Plugins>,
    fault: Arc<Mutex<Option<String>>>,
}

impl Health {
    pub(super) fn new(stores: &HashMap<StoreName, Arc<dyn ImageStore>>, plugins: Arc<Plugins>) -> Self {
        let stores = stores.iter().map(|(name, store)| (name.clone(), Arc::clone(store))).collect();
        Self { stores, plugins, fault: Arc::default() }
    }

    /// The latest finding, for the readiness probes.
    pub(super) fn probe(&self) -> Box<dyn Fn() -> Option<String> + Send + Sync> {
        let (fault, plugins) = (Arc::clone(&self.fault), Arc::clone(&self.plugins));
        Box::new(move || plugins.fault().or_else(|| fault.lock().unwrap_or_else(PoisonError::into_inner).clone()))
    }

    /// Asks again and again, until the answer is dropped, and tells each time whether all is well.
    pub(super) fn watch(self, tell: impl Fn(bool) + Send + 'static) -> JoinSet<()> {
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            loop {
                let found = self.check().await;
                tell(found.is_none());
                self.note(found);
                tokio::time::sleep(INTERVAL).await;
            }
        });
        tasks
    }

    /// Says so in the log when a fault begins, changes or ends.
    fn note(&self, found: Option<String>) {
        let mut fault = self.fault.lock().unwrap_or_else(PoisonError::into_inner);
        if *fault == found {
            return;
        }
        match &found {
            Some(found) => tracing::error!(fault = found, "not ready: no new transfers are sent here"),
            None => tracing::info!("ready again: all stores answer and no plugin is retired"),
        }
        *fault = found;
    }

    async fn check(&self) -> Option<String> {
        for (name, store) in &self.stores {
            match tokio::time::timeout(PATIENCE, store.free_bytes()).await {
                Ok(Ok(_)) => {}
                Ok(Err(fault)) => return Some(format!("store {name}: {fault}")),
                Err(_) => return Some(format!("store {name} has not answered for {PATIENCE:?}")),
            }
        }
        self.plugins.fault()
    }
}
