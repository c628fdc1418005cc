//! Opening the configured storage backends.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::BuildError;
use super::config::Store;
use crate::id::StoreName;
use crate::image::{DiscardStore, FileStore, ImageError, ImageStore, MemoryStore, ObjectsStore, RbdStore};
use crate::metrics::Metrics;

/// Opens each store.
pub(super) async fn open(
    config: &BTreeMap<StoreName, Store>,
    metrics: &Arc<Metrics>,
) -> Result<HashMap<StoreName, Arc<dyn ImageStore>>, BuildError> {
    let mut stores = HashMap::new();
    for (name, store) in config {
        let opened = open_one(store, metrics).await.map_err(|source| match store {
            Store::Rbd(_) => BuildError::Ceph { name: name.clone(), source },
            Store::Objects(_) => BuildError::Objects { name: name.clone(), source },
            _ => BuildError::Store { name: name.clone(), source },
        })?;
        stores.insert(name.clone(), opened);
    }
    Ok(stores)
}

async fn open_one(store: &Store, metrics: &Arc<Metrics>) -> Result<Arc<dyn ImageStore>, ImageError> {
    Ok(match store {
        Store::File { path } => Arc::new(FileStore::open(path)?),
        Store::Rbd(rbd) => Arc::new(RbdStore::open(rbd.clone(), Arc::clone(metrics))?),
        Store::Objects(objects) => Arc::new(ObjectsStore::open(objects).await?),
        Store::Memory {} => Arc::new(MemoryStore::new()),
        Store::Discard {} => Arc::new(DiscardStore::new()),
    })
}
