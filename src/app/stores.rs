//! Opening the configured storage backends.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::BuildError;
use super::config::Store;
use crate::id::StoreName;
use crate::image::{DiscardStore, FileStore, ImageError, ImageStore, MemoryStore, ObjectsStore, RbdStore, TeeStore};
use crate::metrics::Metrics;

/// Opens each store.
pub(super) async fn open(
    config: &BTreeMap<StoreName, Store>,
    metrics: &Arc<Metrics>,
) -> Result<HashMap<StoreName, Arc<dyn ImageStore>>, BuildError> {
    let mut stores: HashMap<StoreName, Arc<dyn ImageStore>> = HashMap::new();
    // A tee after what it is made of.
    let (tees, single): (Vec<_>, Vec<_>) = config.iter().partition(|(_, store)| matches!(store, Store::Tee { .. }));
    for (name, store) in single.into_iter().chain(tees) {
        let opened = open_one(store, &stores, metrics).await.map_err(|source| match store {
            Store::Rbd(_) => BuildError::Ceph { name: name.clone(), source },
            Store::Objects(_) => BuildError::Objects { name: name.clone(), source },
            _ => BuildError::Store { name: name.clone(), source },
        })?;
        stores.insert(name.clone(), opened);
    }
    Ok(stores)
}

async fn open_one(
    store: &Store,
    opened: &HashMap<StoreName, Arc<dyn ImageStore>>,
    metrics: &Arc<Metrics>,
) -> Result<Arc<dyn ImageStore>, ImageError> {
    Ok(match store {
        Store::File { path } => Arc::new(FileStore::open(path)?),
        Store::Rbd(rbd) => Arc::new(RbdStore::open(rbd.clone(), Arc::clone(metrics))?),
        Store::Objects(objects) => Arc::new(ObjectsStore::open(objects).await?),
        Store::Tee { stores } => {
            let parts: Vec<_> = stores.iter().filter_map(|name| opened.get(name).cloned()).collect();
            let [first, second] = <[_; 2]>::try_from(parts).map_err(|_| ImageError::Io {
                action: "make a tee".to_owned(),
                source: std::io::Error::other("the two stores that it names are not there"),
            })?;
            Arc::new(TeeStore::new(first, second))
        }
        Store::Memory {} => Arc::new(MemoryStore::new()),
        Store::Discard {} => Arc::new(DiscardStore::new()),
    })
}
