//! Opening the configured storage backends.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::BuildError;
use super::config::Store;
use crate::id::StoreName;
use crate::image::{DiscardStore, FileStore, ImageError, ImageStore, MemoryStore, RbdStore};
use crate::metrics::Metrics;

/// Opens each store.
pub(super) fn open(
    config: &BTreeMap<StoreName, Store>,
    metrics: &Arc<Metrics>,
) -> Result<HashMap<StoreName, Arc<dyn ImageStore>>, BuildError> {
    let open = |(name, store): (&StoreName, &Store)| {
        let opened = open_one(store, metrics).map_err(|source| match store {
            Store::Rbd(_) => BuildError::Ceph { name: name.clone(), source },
            _ => BuildError::Store { name: name.clone(), source },
        })?;
        Ok((name.clone(), opened))
    };
    config.iter().map(open).collect()
}

fn open_one(store: &Store, metrics: &Arc<Metrics>) -> Result<Arc<dyn ImageStore>, ImageError> {
    Ok(match store {
        Store::File { path } => Arc::new(FileStore::open(path)?),
        Store::Rbd(rbd) => Arc::new(RbdStore::open(rbd.clone(), Arc::clone(metrics))?),
        Store::Memory {} => Arc::new(MemoryStore::new()),
        Store::Discard {} => Arc::new(DiscardStore::new()),
    })
}
